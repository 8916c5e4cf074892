"""The same log through all three runners, cut as each likes: the same answers, byte for byte."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from models.store import SHIPPED
from serve.win import LocalPredict
from streaming import topics
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.pipelines.win_prediction import win_prediction
from streaming.records import Records
from streaming.runners.epoch import ReadLimits
from streaming.runners.flow import Commit
from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner
from streaming.runners.replay import ReplayRunner, plan
from streaming.runners.worker import Worker, WorkerConfig
from streaming.simulators.feed import MatchFeed
from streaming.simulators.match import simulate
from streaming.topics import Topic, state_topic

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("own_ray"),
    pytest.mark.kafka,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
]

PATIENCE_S = 90.0
NOW_MS = 1_700_000_000_000
MATCHES = 5
Answers = dict[bytes, list[bytes]]
"""By key, the answers in their order."""


def events() -> pl.DataFrame:
    """Matches on air side by side, so that no result is a question of which partition is read first."""
    played = simulate("lol", MATCHES, seed=3).events
    feed = MatchFeed([played], concurrent=MATCHES, speed=1.0, epoch_ms=NOW_MS - 7_200_000)
    return feed.take(7_200.0)


class World:
    """One source topic with the events, and the pipeline over it."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.settings, self.prefix = KafkaSettings(kafka), prefix
        self.source = replace(topics.MATCH_EVENTS, name=f"{prefix}.in")
        models = LocalPredict(str(SHIPPED), {"lol": "tsstn-lol@live"}, store_must_exist=True)
        self._pipeline = win_prediction(models)
        ensure_topics(self.settings, [self.source, self.source.dead_letters])
        played = events()
        values = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events")).encode(played)
        publisher = Publisher(self.settings)
        publisher.send(self.source.name, [match.encode() for match in played["match_id"]], values.to_pylist())
        assert publisher.flush(PATIENCE_S)
        publisher.close()

    def pipeline(self, name: str) -> Pipeline:
        """The same pipeline into a topic of its own."""
        sink: Topic = replace(topics.MATCH_INSIGHTS, name=f"{self.prefix}.{name}")
        made = replace(self._pipeline, name=f"{self.prefix}-{name}", source=self.source, sink=sink)
        ensure_topics(self.settings, [sink, state_topic(made.name)])
        return made

    def kafka_source(self, name: str) -> KafkaSource:
        return KafkaSource(self.settings, self.source.name, f"{self.prefix}-{name}")

    def sink(self, name: str) -> KafkaSink:
        own = f"{self.prefix}-{name}"
        return KafkaSink(self.settings, own, own, self.source.name)

    def answers(self, pipeline: Pipeline) -> Answers:
        return by_key(read_all(self.settings, pipeline.sink.name).values())

    def finish(self, name: str, run: Callable[[], None], stop: Callable[[], None]) -> None:
        """Run in a thread until the group has committed all there is."""
        thread = threading.Thread(target=run)
        thread.start()
        source, deadline = self.kafka_source(name), time.monotonic() + PATIENCE_S
        try:
            while dict(source.committed()) != dict(source.end_offsets()):
                assert thread.is_alive() and time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            stop()
            thread.join(PATIENCE_S)
            source.close()


def by_key(parts: object) -> Answers:
    found: Answers = {}
    for records in parts:  # type: ignore[attr-defined]
        for key, value in zip(records.keys.to_pylist(), records.values.to_pylist(), strict=True):
            found.setdefault(key, []).append(value)
    return found


def micro_batch(world: World) -> Answers:
    pipeline = world.pipeline("micro")
    runner = MicroBatchRunner(
        pipeline,
        world.kafka_source("micro"),
        world.sink("micro"),
        PackagedRegistry(),
        changelog=lambda: read_changelog(world.settings, pipeline.name),
        config=MicroBatchConfig(read_tasks=2, limits=ReadLimits(0.02, 40), max_commit_records=90),
        clock=lambda: NOW_MS,
    )
    world.finish("micro", runner.run, runner.stop)
    return world.answers(pipeline)


def continuous(world: World) -> Answers:
    """Two workers, one after the other: the second goes on from the changelog."""
    pipeline = world.pipeline("continuous")

    def worker() -> Worker:
        return Worker(
            pipeline,
            world.kafka_source("continuous"),
            world.sink("continuous"),
            PackagedRegistry(),
            changelog=lambda owners: read_changelog(world.settings, pipeline.name, owners),
            config=WorkerConfig(max_commit_records=70, idle_poll_s=0.05),
            clock=lambda: NOW_MS,
        )

    first = worker()
    deadline = time.monotonic() + PATIENCE_S
    while sum(len(values) for values in world.answers(pipeline).values()) < 30:
        assert time.monotonic() < deadline
        first.step()
    first.leave()
    second = worker()
    world.finish("continuous", second.run, second.stop)
    return world.answers(pipeline)


class Kept:
    def __init__(self) -> None:
        self.records: list[Records] = []

    def write(self, commit: Commit) -> None:
        self.records += [output.records for output in commit.answers]


def replay(world: World) -> Answers:
    pipeline, kept = world.pipeline("replay"), Kept()
    source = KafkaSource(world.settings, world.source.name, "")
    slices = plan([source.beginning_offsets(), source.end_offsets()], max_records=130)
    ReplayRunner(pipeline, source, PackagedRegistry(), slices, kept, tasks=2, clock=lambda: NOW_MS).run()
    source.close()
    return by_key(kept.records)


def test_all_runners_give_the_same_answers_byte_for_byte(kafka: str, topic_prefix: str) -> None:
    world = World(kafka, topic_prefix)
    expected = micro_batch(world)
    assert len(expected) == MATCHES
    assert min(len(values) for values in expected.values()) > 20
    assert continuous(world) == expected
    assert replay(world) == expected
