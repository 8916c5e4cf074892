"""Every pipeline of the project over one log, through all three runners, cut as each likes: the same answers."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import polars as pl
import pytest

from streaming.codec import PackagedRegistry
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.records import Records
from streaming.runners.epoch import ReadLimits
from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner
from streaming.runners.replay import ReplayRunner, plan
from streaming.runners.worker import Worker, WorkerConfig
from streaming.topics import state_topic
from tests.pipeline_cases import CASES, NOW_MS, PipelineCase
from tests.visible import until_visible
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("own_ray"),
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
]


class World:
    """One source topic, and the pipeline over it."""

    def __init__(self, case: PipelineCase, kafka: str, prefix: str) -> None:
        self.case, self.settings, self.prefix = case, KafkaSettings(kafka), prefix
        self._pipeline = case.pipeline()
        self.source = replace(self._pipeline.source, name=f"{prefix}.in")
        ensure_topics(self.settings, [self.source, self.source.dead_letters])
        self._publisher, self._reader = (
            Publisher(self.settings, max_block_s=PATIENCE_S),
            KafkaSource(self.settings, self.source.name, ""),
        )
        self.ends = [self._reader.end_offsets()]
        # The clocks of live runners stand still here, so nothing is ever quiet; no more may it be in the log.
        self._log_ms = time.time_ns() // 1_000_000

    def feed(self, records: Records) -> None:
        """Append these, and return when the log has them; where it ends then is one more of `ends`."""
        self._publisher.send(self.source.name, records.keys.to_pylist(), records.values.to_pylist(), self._log_ms)
        assert self._publisher.flush(PATIENCE_S) and not self._publisher.failed
        self.ends.append(self._reader.end_offsets())

    def close(self) -> None:
        self._publisher.close()
        self._reader.close()

    def pipeline(self, name: str) -> Pipeline:
        """The same pipeline into a topic of its own."""
        sink = replace(self._pipeline.sink, name=f"{self.prefix}.{name}")
        made = replace(self._pipeline, name=f"{self.prefix}-{name}", source=self.source, sink=sink)
        ensure_topics(self.settings, [sink, state_topic(made.name)])
        return made

    def kafka_source(self, name: str) -> KafkaSource:
        return KafkaSource(self.settings, self.source.name, f"{self.prefix}-{name}")

    def sink(self, name: str) -> KafkaSink:
        own = f"{self.prefix}-{name}"
        return KafkaSink(self.settings, own, own, self.source.name)

    def answers(self, pipeline: Pipeline) -> pl.DataFrame:
        until_visible(self.settings, pipeline.sink.name)
        return self.case.answers(list(read_all(self.settings, pipeline.sink.name).values()))

    def wait(self, name: str, thread: threading.Thread) -> None:
        """Until the group has committed all there is."""
        source = self.kafka_source(name)

        def is_done() -> bool:
            assert thread.is_alive()
            return dict(source.committed()) == dict(source.end_offsets())

        try:
            wait_until(is_done, PATIENCE_S)
        finally:
            source.close()


class Live:
    """A live runner in a thread, until the block ends."""

    def __init__(self, name: str, runner: MicroBatchRunner | Worker) -> None:
        self.name, self._runner = name, runner
        self.thread = threading.Thread(target=runner.run)

    def __enter__(self) -> Live:
        self.thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._runner.stop()
        self.thread.join(PATIENCE_S)


def micro_batch(world: World, pipeline: Pipeline) -> MicroBatchRunner:
    return MicroBatchRunner(
        pipeline,
        world.kafka_source("micro"),
        world.sink("micro"),
        PackagedRegistry(),
        changelog=lambda: read_changelog(world.settings, pipeline.name),
        config=MicroBatchConfig(read_tasks=2, limits=ReadLimits(0.02, 40), max_commit_records=90),
        clock=lambda: NOW_MS,
    )


def worker(world: World, pipeline: Pipeline) -> Worker:
    return Worker(
        pipeline,
        world.kafka_source("continuous"),
        world.sink("continuous"),
        PackagedRegistry(),
        changelog=lambda owners: read_changelog(world.settings, pipeline.name, owners),
        config=WorkerConfig(max_commit_records=70, idle_poll_s=0.05),
        clock=lambda: NOW_MS,
    )


class Kept:
    def __init__(self) -> None:
        self.records: list[Records] = []

    def write(self, answers: Records) -> None:
        self.records.append(answers)


def replayed(world: World) -> pl.DataFrame:
    pipeline, kept = world.pipeline("replay"), Kept()
    source = KafkaSource(world.settings, world.source.name, "")
    slices = plan(world.ends, max_records=130)
    ReplayRunner(pipeline, source, PackagedRegistry(), slices, kept, tasks=2, clock=lambda: NOW_MS).run()
    source.close()
    return world.case.answers(kept.records)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_all_runners_give_the_same_answers(case: PipelineCase, kafka: str, topic_prefix: str) -> None:
    world = World(case, kafka, topic_prefix)
    batches, answers = world.pipeline("micro"), world.pipeline("continuous")
    waves = list(case.waves())
    with Live("micro", micro_batch(world, batches)) as one:
        # Two workers, one after the other: the second goes on from the changelog.
        for part in (waves[: len(waves) // 2], waves[len(waves) // 2 :]):
            with Live("continuous", worker(world, answers)) as other:
                for wave in part:
                    world.feed(wave)
                    for live in (one, other):
                        world.wait(live.name, live.thread)
    world.close()
    expected = world.answers(batches)
    assert expected.height >= case.least
    assert world.answers(answers).equals(expected)
    assert replayed(world).equals(expected)
