"""The main job against real parts: events on a real Kafka, answers back through Ray Data and Ray Serve.

The pipeline runs as it does for a user, as a process of its own, and is killed and stopped as users kill and stop it.
"""

from __future__ import annotations

import contextlib
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

from streaming import topics
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.match_fold import fold_events
from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.simulators.match import simulate

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    """A broker of this module's own: the pipeline's topics have fixed names."""
    broker = EmbeddedBroker(tmp_path_factory.mktemp("kafka"))
    try:
        settings = KafkaSettings(bootstrap_servers=str(broker.start().bootstrap_servers))
        ensure_topics(settings, [*topics.TOPICS, topics.state_topic("win-prediction")])
        yield settings
    finally:
        broker.stop()


class Pipeline:
    """`sightline run win-prediction` as a process."""

    def __init__(self, kafka: KafkaSettings, home: Path) -> None:
        environment = {
            "SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "SIGHTLINE_HOME": str(home),
            "SIGHTLINE_PIPELINE__EPOCH_S": "6",  # several epochs in one test
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

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> int:
        self._process.terminate()
        return self._process.wait(60)

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
    assert publisher.flush(30)
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


def read_all(source: KafkaSource) -> pl.DataFrame:
    decoder = Decoder("match-insights", PackagedRegistry())
    frames, end = [], dict(source.end_offsets())
    reader = source.open(dict.fromkeys(end, 0))
    at = dict.fromkeys(end, 0)
    while any(at[p] < end[p] for p in end):
        fetched = reader.poll(0.5, 10_000)
        if fetched is not None:
            at[fetched.range.partition] = fetched.range.end
            if len(fetched.records):
                decoded = decoder.decode(fetched.records)
                assert not decoded.bad
                frames.append(decoded.frame)
    reader.close()
    return pl.concat(frames) if frames else pl.DataFrame()


def wait_for(what: Callable[[], Any], pipeline: Pipeline, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        pipeline.check_alive()
        assert time.monotonic() < deadline, pipeline.log.read_text()[-4_000:]
        time.sleep(0.2)


def caught_up(source: KafkaSource) -> Callable[[], bool]:
    return lambda: dict(source.committed()) == dict(source.end_offsets())


def answered(source: KafkaSource, at_least: int) -> Callable[[], bool]:
    return lambda: sum(source.end_offsets().values()) >= at_least


def test_every_frame_is_answered_once_across_a_kill_a_poison_record_and_a_stop(
    kafka: KafkaSettings, start: Callable[[], Pipeline], source_of: Opener
) -> None:
    events_source = source_of("match.events", "sightline.win-prediction")
    insights_source = source_of("match.insights", "reader")
    events = simulate("lol", matches=12, seed=3).events.sort("event_time_ms", maintain_order=True)
    third = events.height // 3
    first, second, last = events[:third], events[third : 2 * third], events[2 * third :]

    pipeline = start()
    publish(kafka, first)
    wait_for(answered(insights_source, 20), pipeline)
    publish(kafka, second)  # still on its way through when the driver is killed
    pipeline.kill()

    pipeline = start()
    poison = Publisher(kafka)
    poison.send("match.events", [b"poison"], [b"\x00\x00\x00\x00\x01 not a match event"])
    poison.flush(10)
    poison.close()
    publish(kafka, last)
    wait_for(caught_up(events_source), pipeline)
    assert pipeline.terminate() == 0

    insights = read_all(insights_source)
    expected = fold_events(events)
    key = ["match_id", "attempt", "frame"]
    assert insights.select(pl.struct(key).is_duplicated().sum()).item() == 0
    assert insights.select(key).sort(key).equals(expected.select(key).sort(key))
    joined = insights.sort(key).join(expected.sort(key), on=key, suffix="_expected")
    np.testing.assert_allclose(joined["gold"], joined["gold_expected"])
    contributions = insights.select(pl.sum_horizontal(pl.col("^contribution_.*$").cast(pl.Float64)))
    np.testing.assert_allclose(contributions.to_series(), insights["logit"], atol=1e-4)
    ends = insights.filter(pl.col("status") == "ended")
    assert sorted(ends["match_id"]) == sorted(events["match_id"].unique())
    assert ends["commentary_en"].null_count() == 0

    dead = source_of("match.events.dead-letters", "reader")
    assert sum(dead.end_offsets().values()) >= 1
    fetched = None
    reader = dead.open({0: 0})
    while fetched is None:
        fetched = reader.poll(1.0, 10)
    reader.close()
    assert fetched.records.values[0].as_py() == b"\x00\x00\x00\x00\x01 not a match event"
    headers = dict((fetched.records.headers or [[]])[0])
    assert headers["__streams.errors.topic"] == b"match.events"
    assert headers["sightline.pipeline"] == b"win-prediction"
