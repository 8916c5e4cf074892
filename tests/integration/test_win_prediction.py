"""The main job against real parts: events on a real Kafka, answers back through Ray Data and Ray Serve.

The pipeline runs as it does for a user, as a process of its own, and is killed and stopped as users kill and stop it.
Its broker is killed, stopped and started under it; KAFKA_AWAY_S says for how long (10 unless set, 60 to be thorough).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jobs import cli
from models.store import SHIPPED, ModelStore
from streaming import topics
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.match_fold import fold_events
from streaming.kafka import admin
from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.simulators.match import simulate
from streaming.transport import TransportUnavailable
from tests.stored_models import save_turned
from tests.visible import until_visible
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.ray]

ROOT = Path(__file__).parents[2]


AWAY_S = float(os.environ.get("KAFKA_AWAY_S", "10"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of each test's own: the pipeline's topics have fixed names."""
    broker = EmbeddedBroker(tmp_path / "kafka")
    try:
        broker.start(timeout_s=PATIENCE_S)
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def kafka(broker: EmbeddedBroker) -> KafkaSettings:
    settings = KafkaSettings(bootstrap_servers=str(broker.status().bootstrap_servers))
    ensure_topics(settings, [*topics.TOPICS, topics.state_topic("win-prediction")])
    return settings


class Pipeline:
    """`sightline run win-prediction` as a process."""

    def __init__(self, kafka: KafkaSettings, home: Path) -> None:
        environment = {
            "SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "SIGHTLINE_HOME": str(home),
            "SIGHTLINE_PIPELINE__EPOCH_S": "6",  # several epochs in one test
            "SIGHTLINE_PIPELINE__MAX_BATCH_RECORDS": "100",  # many commits, so that whatever breaks breaks between two
        }
        self.log = home / f"pipeline-{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jobs.run", "win-prediction"],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def suspend(self) -> None:
        os.killpg(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> int:
        self._process.terminate()
        return self._process.wait(PATIENCE_S)

    def check_alive(self) -> None:
        assert self._process.poll() is None, self.log.read_text()[-4_000:]


@pytest.fixture
def start(kafka: KafkaSettings, tmp_path: Path) -> Iterator[Callable[[], Pipeline]]:
    started: list[Pipeline] = []

    def begin() -> Pipeline:
        started.append(Pipeline(kafka, tmp_path))
        return started[-1]

    yield begin
    for pipeline in started:
        with contextlib.suppress(ProcessLookupError):
            pipeline.kill()


def publish(kafka: KafkaSettings, events: pl.DataFrame) -> None:
    encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
    publisher = Publisher(kafka)
    publisher.send("match.events", [m.encode() for m in events["match_id"]], encoder.encode(events).to_pylist())
    assert publisher.flush(PATIENCE_S)
    publisher.close()
    assert publisher.failed == 0


Opener = Callable[[str, str], KafkaSource]


@pytest.fixture
def source_of(kafka: KafkaSettings) -> Iterator[Opener]:
    """Sources by (topic, group), closed at the end: an open one would go on asking for its broker after the test."""
    opened: list[KafkaSource] = []

    def open_source(topic: str, group: str) -> KafkaSource:
        opened.append(KafkaSource(kafka, topic, group))
        return opened[-1]

    yield open_source
    for source in opened:
        source.close()


def read_all(kafka: KafkaSettings, topic: str, schema: str) -> pl.DataFrame:
    decoder = Decoder(schema, PackagedRegistry())
    frames = []
    for records in admin.read_all(kafka, topic).values():
        decoded = decoder.decode(records)
        assert not decoded.bad
        frames.append(decoded.frame)
    return pl.concat(frames)


def wait_for(what: Callable[[], Any], pipeline: Pipeline) -> None:
    def has_come() -> bool:
        pipeline.check_alive()
        return bool(what())

    wait_until(has_come, pause_s=0.01, otherwise=lambda: pipeline.log.read_text()[-4_000:])


def caught_up(source: KafkaSource) -> Callable[[], bool]:
    def is_caught_up() -> bool:
        try:
            return dict(source.committed()) == dict(source.end_offsets())
        except TransportUnavailable:  # so offsets are told that a killed pipeline's open transaction has in its hands
            return False

    return is_caught_up


def moved(source: KafkaSource) -> Callable[[], bool]:
    """Whether a commit has been made since this call."""
    before = dict(source.committed())
    return lambda: dict(source.committed()) != before


def require_answered_once(kafka: KafkaSettings, events: pl.DataFrame) -> pl.DataFrame:
    """Check that the frames of these events are answered once each, with their values; returns the answers."""
    until_visible(kafka, "match.insights")
    insights = read_all(kafka, "match.insights", "match-insights")
    expected = fold_events(events)
    key = ["match_id", "attempt", "frame"]
    assert insights.select(pl.struct(key).is_duplicated().sum()).item() == 0
    assert insights.select(key).sort(key).equals(expected.select(key).sort(key))
    joined = insights.sort(key).join(expected.sort(key), on=key, suffix="_expected")
    np.testing.assert_allclose(joined["gold"], joined["gold_expected"])
    return insights


def test_every_frame_is_answered_once_across_a_kill_a_poison_record_and_a_stop(
    kafka: KafkaSettings, start: Callable[[], Pipeline], source_of: Opener
) -> None:
    source = source_of("match.events", "sightline.win-prediction")
    events = simulate("lol", matches=12, seed=3).events.sort("event_time_ms", maintain_order=True)
    third = events.height // 3
    first, second, last = events[:third], events[third : 2 * third], events[2 * third :]

    pipeline = start()
    publish(kafka, first)
    wait_for(caught_up(source), pipeline)
    some_of_second = moved(source)
    publish(kafka, second[:-20])
    wait_for(some_of_second, pipeline)  # on its way through
    pipeline.suspend()
    publish(kafka, second[-20:])  # however fast it is: these it has not answered
    pipeline.kill()
    assert not caught_up(source)()

    pipeline = start()
    poison = Publisher(kafka)
    poison.send("match.events", [b"poison"], [b"\x00\x00\x00\x00\x01 not a match event"])
    assert poison.flush(PATIENCE_S)
    poison.close()
    publish(kafka, last)
    wait_for(caught_up(source), pipeline)
    assert pipeline.terminate() == 0

    insights = require_answered_once(kafka, events)
    contributions = insights.select(pl.sum_horizontal(pl.col("^contribution_.*$").cast(pl.Float64)))
    np.testing.assert_allclose(contributions.to_series(), insights["logit"], atol=1e-4)
    ends = insights.filter(pl.col("status") == "ended")
    assert sorted(ends["match_id"]) == sorted(events["match_id"].unique())
    assert ends["commentary_en"].null_count() == 0

    (dead,) = admin.read_all(kafka, "match.events.dead-letters").values()
    assert dead.values.to_pylist() == [b"\x00\x00\x00\x00\x01 not a match event"]
    headers = dict((dead.headers or [[]])[0])
    assert headers["__streams.errors.topic"] == b"match.events"
    assert headers["sightline.pipeline"] == b"win-prediction"


def test_a_promotion_and_its_rollback_change_the_version_once_a_partition_and_no_frame_is_missed(
    kafka: KafkaSettings,
    start: Callable[[], Pipeline],
    source_of: Opener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    source = source_of("match.events", "sightline.win-prediction")
    events = simulate("lol", matches=8, seed=5).events.sort("event_time_ms", maintain_order=True)
    fifth = events.height // 5
    parts = [events[number * fifth : None if number == 4 else (number + 1) * fifth] for number in range(5)]
    store = ModelStore(tmp_path / "models", SHIPPED)
    old, new = store.resolve("tsstn-lol")[1], save_turned(store)
    store.set_alias("tsstn-lol", "live", old)

    pipeline = start()
    publish(kafka, parts[0])
    wait_for(caught_up(source), pipeline)
    assert {version for turns in versions_by_partition(kafka) for version in turns} == {str(old)}
    assert cli.main(["models", "promote", f"tsstn-lol@{new}", "--force", "--reason", "a test"]) == 0
    wait_for(says(kafka, lambda last: version_of(last) == str(new)), pipeline)
    publish(kafka, parts[1])
    wait_for(caught_up(source), pipeline)
    assert cli.main(["models", "rollback", "tsstn-lol"]) == 0
    wait_for(says(kafka, lambda last: version_of(last) == str(old)), pipeline)
    publish(kafka, parts[2])
    wait_for(caught_up(source), pipeline)
    pipeline.kill()

    broken = save_turned(store)
    (tmp_path / "models" / "tsstn-lol" / str(broken) / "weights.safetensors").write_bytes(b"torn")
    store.set_alias("tsstn-lol", "live", broken)
    pipeline = start()
    publish(kafka, parts[3])
    wait_for(says(kafka, lambda last: any(f"tsstn-lol@{broken}" in alert for alert in last["alerts"])), pipeline)
    publish(kafka, parts[4])
    wait_for(caught_up(source), pipeline)
    assert pipeline.terminate() == 0

    require_answered_once(kafka, events)
    told, whole = versions_by_partition(kafka), [str(old), str(new), str(old)]
    assert whole in told
    # A partition may have had no match in one of the three stretches.
    assert all(any(turns == whole[a:b] for a in range(3) for b in range(a + 1, 4)) for turns in told), told
    entities = [key for part in admin.read_all(kafka, "sightline.control").values() for key in part.keys.to_pylist()]
    assert entities == [b"tsstn-lol@live"] * 2


def versions_by_partition(kafka: KafkaSettings) -> list[list[str]]:
    """The versions that answered each partition of the source, one after another."""
    answers = read_all(kafka, "match.insights", "match-insights").sort("source_partition", "source_offset", "frame")
    return [
        [version for version, _ in itertools.groupby(part["model_version"].to_list())]
        for part in answers.partition_by("source_partition")
    ]


def says(kafka: KafkaSettings, what: Callable[[dict[str, Any]], bool]) -> Callable[[], bool]:
    """Whether the pipeline says so of itself in its last status."""
    return lambda: what(read_all(kafka, "sightline.status", "pipeline-status").sort("time_ms").row(-1, named=True))


def version_of(status: dict[str, Any]) -> str:
    return next((str(model["version"]) for model in status["models"] if model["title"] == "lol"), "")


@contextlib.contextmanager
def killed(broker: EmbeddedBroker) -> Iterator[None]:
    os.kill(pid_of(broker), signal.SIGKILL)
    yield
    broker.start(timeout_s=PATIENCE_S)


@contextlib.contextmanager
def suspended(broker: EmbeddedBroker) -> Iterator[None]:
    pid = pid_of(broker)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def pid_of(broker: EmbeddedBroker) -> int:
    pid = broker.status().pid
    assert pid is not None
    return pid


@pytest.mark.parametrize("away", [killed, pytest.param(suspended, marks=pytest.mark.long)])
def test_a_broker_that_goes_away_in_mid_stream_is_waited_for_and_nothing_is_lost_or_doubled(
    broker: EmbeddedBroker,
    kafka: KafkaSettings,
    start: Callable[[], Pipeline],
    source_of: Opener,
    away: Callable[[EmbeddedBroker], contextlib.AbstractContextManager[None]],
) -> None:
    source = source_of("match.events", "sightline.win-prediction")
    events = simulate("lol", matches=12, seed=4).events.sort("event_time_ms", maintain_order=True)
    third = events.height // 3
    pipeline = start()
    publish(kafka, events[:third])
    wait_for(caught_up(source), pipeline)
    under_way = moved(source)
    publish(kafka, events[third : 2 * third])
    wait_for(under_way, pipeline)
    left_ms = time.time_ns() // 1_000_000
    with away(broker):
        time.sleep(AWAY_S)
        pipeline.check_alive()
    back_ms = time.time_ns() // 1_000_000
    publish(kafka, events[2 * third :])
    wait_for(caught_up(source), pipeline)
    assert pipeline.terminate() == 0
    require_answered_once(kafka, events)

    status = read_all(kafka, "sightline.status", "pipeline-status").sort("time_ms")
    meanwhile = status.filter(pl.col("time_ms").dt.epoch("ms").is_between(left_ms, back_ms + 15_000))
    waited = meanwhile.filter(pl.col("state") == "waiting")
    assert waited.height, meanwhile.select("time_ms", "state", "reason")
    assert waited["reason"].str.contains("Kafka at 127.0.0.1:").all()
