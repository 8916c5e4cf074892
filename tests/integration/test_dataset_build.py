"""`sightline dataset build` over a real broker and Ray: the set, what training makes of it, and what stops it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from jobs.datasets import frames_to_matches, load_matches
from jobs.errors import UsageProblem
from jobs.settings import Settings, load_settings
from jobs.stream_set import build as building
from jobs.stream_set.manifest import BrokenSet, check, read_manifest
from jobs.stream_set.partition import SchemaChanged
from jobs.stream_set.staging import staging
from streaming.features.match_fold import fold_events
from streaming.kafka.admin import ensure_topics
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.records import Records
from streaming.simulators.match import simulate
from streaming.topics import Topic
from tests.counting import encoded
from tests.stream_sets import TOPIC
from tests.waiting import PATIENCE_S

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("own_ray"),
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
]

MATCHES = 12


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return simulate("lol", MATCHES, seed=9).events.sort("event_time_ms", maintain_order=True)


@pytest.fixture
def settings_(kafka: str) -> Settings:
    return load_settings({"kafka.bootstrap_servers": (kafka, "test"), "ray.num_cpus": (4, "test")}).settings


@pytest.fixture
def topic(kafka: str, topic_prefix: str, events: pl.DataFrame) -> Iterator[Topic]:
    """A topic of its own with the events."""
    made = replace(TOPIC, name=f"{topic_prefix}.events", partitions=3)
    ensure_topics(KafkaSettings(kafka), [made])
    send(kafka, made, encoded(events))
    yield made


def send(kafka: str, topic: Topic, records: Records) -> None:
    publisher = Publisher(KafkaSettings(kafka))
    publisher.send(topic.name, records.keys.to_pylist(), records.values.to_pylist())
    assert publisher.flush(PATIENCE_S)
    assert publisher.failed == 0
    publisher.close()


def test_a_set_is_built_resumed_checked_and_learned_from(
    events: pl.DataFrame, settings_: Settings, topic: Topic, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    plan = building.planned(settings_, topic, None, None, None)
    progress: list[building.Progress] = []
    manifest = building.build(plan, settings_, topic, out, tasks=2, on_progress=progress.append)
    assert manifest.records == len(events) == progress[-1].records
    assert manifest.matches["lol"]["matches"] == MATCHES and progress[-1].rows == manifest.rows
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    check(out, read_manifest(out))

    ours, theirs = load_matches(str(out)), frames_to_matches(fold_events(events), "lol", "importer")
    assert ours.fingerprint == theirs.fingerprint and ours.match_ids == theirs.match_ids

    # Cut short when one partition was not done: the next build of the same goes on, and makes the same.
    with pytest.raises(UsageProblem, match="is there already"):
        building.build(plan, settings_, topic, out, tasks=1)
    again, said = tmp_path / "again", list[str]()

    def stop(progress: building.Progress) -> None:
        if progress.finishing:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        building.build(plan, settings_, topic, again, tasks=1, on_progress=stop)
    assert not again.exists()
    shutil.rmtree(tmp_path / ".again.building" / "partition-1")
    resumed = building.build(plan, settings_, topic, again, tasks=1, say=said.append)
    assert said == ["going on where a build was cut short: 2 of 3 partitions are done"]
    assert resumed.content_fingerprint == manifest.content_fingerprint and resumed.files == manifest.files

    file = out / manifest.files[0].path
    pl.read_parquet(file, hive_partitioning=False).with_columns(gold=pl.lit(0.0, pl.Float32)).write_parquet(file)
    with pytest.raises(BrokenSet, match="not those that were written"):
        load_matches(str(out))


def test_what_happened_in_a_task_is_said_as_it_was(
    events: pl.DataFrame, settings_: Settings, topic: Topic, kafka: str, tmp_path: Path
) -> None:
    value = encoded(events.head(1)).values[0].as_py()
    strange = value[:1] + (999_999).to_bytes(4, "big") + value[5:]
    send(kafka, topic, Records.of([b"strange"], [strange]))
    plan = building.planned(settings_, topic, None, None, None)
    with pytest.raises(SchemaChanged, match="UnknownSchema"):
        building.build(plan, settings_, topic, tmp_path / "set", tasks=2)
    assert not (tmp_path / "set").exists()


def test_a_range_without_a_result_makes_no_set(settings_: Settings, topic: Topic, tmp_path: Path) -> None:
    plan = building.planned(settings_, topic, None, "0:5,1:5,2:5", None)
    with pytest.raises(UsageProblem, match=r"no match of .* has a result to learn from: .*awaiting result"):
        building.build(plan, settings_, topic, tmp_path / "set", tasks=2)
    assert list(tmp_path.iterdir()) == []


def test_one_outcome_alone_makes_no_set(
    events: pl.DataFrame, settings_: Settings, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    won = events.filter(pl.col("kind") == "end", pl.col("side") == "A").select("match_id")
    topic = replace(TOPIC, name=f"{topic_prefix}.won", partitions=1)
    ensure_topics(KafkaSettings(kafka), [topic])
    send(kafka, topic, encoded(events.join(won, on="match_id", maintain_order="left")))
    plan = building.planned(settings_, topic, None, None, None)
    with pytest.raises(UsageProblem, match=rf"the same camp won all {len(won)} match\(es\) of .*teaches nothing"):
        building.build(plan, settings_, topic, tmp_path / "set", tasks=1)
    assert list(tmp_path.iterdir()) == []


def test_a_range_that_makes_no_sense_is_refused(settings_: Settings, topic: Topic, tmp_path: Path) -> None:
    for begin, end, message in (
        ("2026-01-02", "2026-01-01", "is not before"),
        (None, "2001-01-01", "no records of .* in this range; its oldest record is of 20"),
        (None, "0:99999999", "partition 0 of .* ends at"),
        ("9:1", None, "has no partition 9"),
    ):
        with pytest.raises(UsageProblem, match=message):
            building.planned(settings_, topic, begin, end, None)
    with pytest.raises(UsageProblem, match="another build of it is under way"), staging(tmp_path / "set"):
        building.build(
            building.planned(settings_, topic, None, None, None), settings_, topic, tmp_path / "set", tasks=1
        )
