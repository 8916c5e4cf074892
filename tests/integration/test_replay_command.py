"""`sightline replay` as a person calls it, over a real Kafka: its answers, and that nothing live notices it."""

from __future__ import annotations

import gc
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from jobs import cli
from jobs.errors import Exit
from streaming import topics
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.match_fold import fold_events
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.clients import open_admin
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipelines.store_metrics import store_metrics
from streaming.simulators.match import simulate
from streaming.store.plan import parse_plan
from streaming.store.plan_file import to_toml
from streaming.topics import MATCH_EVENTS, PERSON_SIGHTINGS, identity, state_topic
from tests.store_walks import PLAN, START_MS, as_told, watched_rows
from tests.streaming.test_store_pipelines import answers, latest, on_log
from tests.waiting import PATIENCE_S

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
]

GROUP = identity("win-prediction")
APART_MS = 2 * topics.DAY_MS  # between two matches; all three are younger than what the topic keeps
BEGIN_MS = time.time_ns() // 1_000_000 - 3 * APART_MS
POISON = b"\x00\x00\x00\x00\x01 not a match event"
FRAME = ["match_id", "attempt", "frame"]

Run = Callable[..., tuple[int, str, str]]


class World:
    """A Kafka with three matches, days apart, a record that nobody can read, and a live pipeline that has answered a
    part."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        ensure_topics(kafka, [*topics.TOPICS, state_topic("win-prediction")])
        self.matches = simulate("lol", matches=3, seed=5).events.partition_by("match_id", maintain_order=True)
        encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
        with closing(Publisher(kafka)) as publisher:
            for number, match in enumerate(self.matches):
                keys = [name.encode() for name in match["match_id"]]
                values = encoder.encode(match).to_pylist()
                publisher.send(MATCH_EVENTS.name, keys, values, BEGIN_MS + number * APART_MS)
            publisher.send(MATCH_EVENTS.name, [b"poison"], [POISON], BEGIN_MS + APART_MS)
            assert publisher.flush(PATIENCE_S)
            assert publisher.failed == 0
        with closing(KafkaSink(kafka, GROUP, GROUP, MATCH_EVENTS.name)) as live:
            live.open()
            live.commit(answers=[], dead_letters=[], state=[], offsets={0: 1, 1: 2, 2: 3, 3: 4})
            live.open()  # a commit returns before everyone can see it, an opening waits for that

    def standing(self) -> dict[str, object]:
        """All that belongs to live pipelines: offsets and lag, other groups but replays', and where each topic ends."""
        every = [topic.name for topic in (*topics.TOPICS, state_topic("win-prediction"))]
        with closing(KafkaSource(self.kafka, MATCH_EVENTS.name, GROUP)) as live:
            committed, ends = dict(live.committed()), dict(live.end_offsets())
        with open_admin(self.kafka) as admin:
            groups = {group["group_id"] for group in admin.list_groups()}
        groups = {group for group in groups if not group.startswith("sightline.replay.")}  # where a replay leaves notes
        return {
            "committed": committed,
            "lag": {partition: end - committed[partition] for partition, end in ends.items()},
            "groups": groups,
            "ends": {topic: self.ends(topic) for topic in every},
        }

    def ends(self, topic: str) -> dict[int, int]:
        with closing(KafkaSource(self.kafka, topic, "")) as source:
            return dict(source.end_offsets())

    def answers_in(self, topic: str) -> pl.DataFrame:
        decoder = Decoder("match-insights", PackagedRegistry())
        return pl.concat([decoder.decode(records).frame for records in read_all(self.kafka, topic).values()])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """On a broker of its own: the pipeline's topics and its group have fixed names."""
    broker = EmbeddedBroker(Path(tmp_path_factory.mktemp("replay")))
    try:
        address = broker.start(timeout_s=PATIENCE_S).bootstrap_servers
        assert address is not None
        yield World(KafkaSettings(address))
    finally:
        broker.stop()


@pytest.fixture
def run(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """Runs `sightline replay PIPELINE …` here, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")

    def replay(*arguments: str, pipeline: str = "win-prediction") -> tuple[int, str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes that it ends
            code = cli.main(["replay", pipeline, "--brokers", world.kafka.bootstrap_servers, *arguments])
            gc.collect()
        told = capsys.readouterr()
        return code, told.out, told.err

    yield replay


def of_matches(*matches: pl.DataFrame) -> pl.DataFrame:
    """The frames that are to be answered."""
    return pl.concat([fold_events(match) for match in matches]).select(FRAME).sort(FRAME)


def at(time_ms: int) -> str:
    """As one writes it, to the millisecond, in UTC."""
    return datetime.fromtimestamp(time_ms / 1e3, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1_000:03}"


def test_all_of_the_past_into_another_topic_and_the_live_group_notices_nothing(world: World, run: Run) -> None:
    before = world.standing()
    # From long before the first record: nobody may look at every minute since.
    code, out, err = run("--to-topic", "again", "--from", "1990-01-01", "--json")
    assert code == Exit.OK, err
    answers = world.answers_in("again")
    assert answers.select(FRAME).sort(FRAME).equals(of_matches(*world.matches))
    records = sum(match.height for match in world.matches) + 1
    assert json.loads(out) == {"records": records, "answers": answers.height, "rejected": 1}
    assert world.standing() == before

    filled = world.ends("again")
    code, _, err = run("--to-topic", "again")
    assert code == Exit.BAD_INPUT and "--to-topic again: has records already; name a new one" in err
    assert world.ends("again") == filled


@pytest.mark.long
def test_a_range_of_time_into_a_parquet_file(world: World, run: Run, tmp_path: Path) -> None:
    before = world.standing()
    second_ms = BEGIN_MS + APART_MS
    code, out, err = run("--parquet", "one.parquet", "--from", at(second_ms), "--to", at(second_ms + 1))
    assert code == Exit.OK, err
    assert out == "" and "1 rejected; in one.parquet" in err
    file = pl.read_parquet(tmp_path / "one.parquet")
    assert file.select(FRAME).sort(FRAME).equals(of_matches(world.matches[1]))
    assert file["source_topic"].unique().to_list() == [MATCH_EVENTS.name]
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".parquet" and path.name != "home"] == []
    assert world.standing() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--from", "soon"], "--from soon: write a time or PARTITION:OFFSET,…"),
        (["--to", "0:end"], "--to 0:end: write a time or PARTITION:OFFSET,…"),
        (["--from", "2023-11-31"], "--from 2023-11-31: write a time as 2026-11-22T18:00"),
        (["--to", "0:1,9:1"], "--to: match.events has no partition 9"),
        (["--from", "2100-01-01"], "there are no records of match.events in this range"),
        (["--from", at(BEGIN_MS), "--to", at(BEGIN_MS)], "there are no records of match.events in this range"),
        (["--from", at(BEGIN_MS + 1), "--to", "2001-01-01"], "there are no records of match.events in this range"),
        (["--to", "0:0,1:0,2:0,3:0"], "there are no records of match.events in this range"),
    ],
)
def test_a_range_that_is_none_is_said_and_nothing_is_written(
    run: Run, tmp_path: Path, options: list[str], said: str
) -> None:
    code, out, err = run("--parquet", "none.parquet", *options)
    assert (code, out) == (Exit.BAD_INPUT, "")
    assert err.startswith("sightline: ") and err.count("\n") == 1 and said in err
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


@pytest.mark.long
def test_a_store_is_counted_again_by_a_plan_that_was_moved(world: World, run: Run, tmp_path: Path) -> None:
    """Sightings of a minute, days ago; the log got them by the second."""
    shift_ms = (BEGIN_MS - START_MS) // 60_000 * 60_000
    rows = watched_rows().with_columns(
        pl.col("captured_ms") + pl.duration(milliseconds=shift_ms), pl.col("_ingest_time_ms") + shift_ms
    )
    encoder = Encoder(load_schema("person-sightings"), PackagedRegistry().id_of("person-sightings"))
    with closing(Publisher(world.kafka)) as publisher:
        for (second,), part in rows.group_by(pl.col("captured_ms").dt.truncate("1s"), maintain_order=True):
            for (number,), mine in part.group_by("_partition", maintain_order=True):
                keys = [name.encode() for name in mine["camera_id"]]
                values = encoder.encode(as_told(mine)).to_pylist()
                at_ms = round(second.timestamp() * 1000) + 999
                publisher.send(PERSON_SIGHTINGS.name, keys, values, at_ms, partition=number)
        assert publisher.flush(PATIENCE_S) and publisher.failed == 0
    moved = {**PLAN, "line": [{"name": "door", "start": [6, 10], "end": [6, 0], "band": 0.3}]}
    (tmp_path / "moved.toml").write_text(to_toml(moved))

    before = world.standing()
    code, _, err = run(
        "--set", "store.plan=moved.toml", "--parquet", "counts.parquet", "--json", pipeline="store-metrics"
    )
    assert code == Exit.OK, err
    in_memory = on_log(store_metrics(parse_plan(moved)), rows).run()
    in_memory.tick(START_MS + shift_ms + 100_000)
    found = pl.read_parquet(tmp_path / "counts.parquet")
    assert latest(found).equals(latest(answers(in_memory)))
    assert found.filter(zone_id="door").select("crossed_in", "crossed_out").sum().row(0) != (0, 0)
    assert world.standing() == before


LIVE = [topic.name for topic in (*topics.TOPICS, state_topic("win-prediction"))]


@pytest.mark.parametrize(
    "topic", [pytest.param(name, marks=() if name in LIVE[:1] + LIVE[-1:] else pytest.mark.long) for name in LIVE]
)
def test_no_live_topic_is_written_to(world: World, run: Run, topic: str) -> None:
    before = world.standing()
    code, _, err = run("--to-topic", topic)
    assert code == Exit.BAD_INPUT and f"--to-topic {topic}: it is a live one; name a new one" in err
    assert world.standing() == before
