"""A Ray cluster of several nodes on this machine, and one of them is killed: the pipeline goes on elsewhere, by either
live runner, and every event is answered once, in key order.

Runners are in the driver's node, which has no room for workers and read tasks: these are on the other two.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import ray
from ray.cluster_utils import Cluster

from jobs.ray_session import ENVIRONMENT, ray_session
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.runners import micro_batch
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.epoch import ReadLimits
from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner
from streaming.runners.planner import Planner
from streaming.runners.progress import Progress
from streaming.runners.worker import Worker
from streaming.simulators.match import simulate
from streaming.state import Column, StateTable
from streaming.topics import Topic, state_topic

pytestmark = [
    pytest.mark.ray,
    pytest.mark.kafka,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray does not wait for the processes that it ends
]

PATIENCE_S = 120.0
MATCHES = 7
OBJECT_STORE_BYTES = 80 << 20


@pytest.fixture(scope="module")
def driver_alone() -> Iterator[Cluster]:
    """A cluster of one node without room."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, os.environ.get(name, value))
        patch.setenv("RAY_health_check_period_ms", "500")  # a node is taken for dead within seconds
        patch.setenv("RAY_health_check_failure_threshold", "4")
        head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=head)
        try:
            with ray_session(made.address, logical_cpus=1, object_store_mb=80):
                yield made
        finally:
            made.shutdown()  # type: ignore[no-untyped-call]  # untyped in Ray


@pytest.fixture
def cluster(driver_alone: Cluster) -> Cluster:
    """With two nodes beside the driver's."""
    while len(driver_alone.worker_nodes) < 2:
        driver_alone.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    return driver_alone


class Count:
    """Answers every event with itself, numbered within its match: a lost or doubled state would show."""

    name = "count"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {"seen": Column(np.int64)}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        matches = rows["match_id"].to_list()
        numbers = np.empty(len(matches))
        for row, slot in enumerate(state.slots(matches, rows["_partition"].to_list())):
            state["seen"][slot] += 1
            numbers[row] = state["seen"][slot]
        state.touch(matches)
        ingested = pl.from_epoch("_ingest_time_ms", time_unit="ms").dt.replace_time_zone("UTC")
        return rows.with_columns(ingested.alias("ingest_time_ms"), clock_s=pl.Series(numbers))


class Stream:
    """The topics of a counting pipeline, a feed, and a runner in a thread. Every transform notes on which node it
    ran, as a file of that name."""

    def __init__(self, kafka: str, prefix: str, notes: Path) -> None:
        self.settings, self.prefix, self.notes = KafkaSettings(kafka), prefix, notes
        self.topic = Topic(f"{prefix}.in", key="match_id", schema="match-events", partitions=2)
        self.out = Topic(f"{prefix}.out", key="match_id", schema="match-events", partitions=1)
        ensure_topics(self.settings, [self.topic, self.topic.dead_letters, self.out, state_topic(prefix)])
        self.publisher, self.written = Publisher(self.settings), 0
        self.source = KafkaSource(self.settings, self.topic.name, prefix)
        self.failure: BaseException | None = None

        def note_node(frame: pl.DataFrame) -> pl.DataFrame:
            (notes / ray.get_runtime_context().get_node_id()).touch()
            return frame

        self.pipeline = Pipeline(prefix, self.topic, (note_node,), (Count(),), self.out)

    def worker(self) -> Callable[[int, Progress], Worker]:
        settings, prefix, pipeline = self.settings, self.prefix, self.pipeline

        def make(number: int, progress: Progress) -> Worker:
            return Worker(
                pipeline,
                KafkaSource(settings, pipeline.source.name, prefix),
                KafkaSink(settings, f"{prefix}.{number}", prefix, pipeline.source.name, producers=2),
                PackagedRegistry(),
                changelog=lambda owners: read_changelog(settings, prefix, owners),
                progress=progress,
            )

        return make

    def micro_batch(self) -> MicroBatchRunner:
        return MicroBatchRunner(
            self.pipeline,
            self.source,
            KafkaSink(self.settings, self.prefix, self.prefix, self.topic.name),
            PackagedRegistry(),
            changelog=lambda: read_changelog(self.settings, self.prefix),
            config=MicroBatchConfig(limits=ReadLimits(0.05, 100)),
        )

    def close(self) -> None:
        self.publisher.close()
        self.source.close()

    def nodes(self) -> set[str]:
        """Where transforms have run."""
        return {path.name for path in self.notes.iterdir()}

    def feed(self, count: int) -> None:
        numbers = pl.Series(range(self.written, self.written + count), dtype=pl.Int64)
        base = simulate("lol", matches=1, seed=1).events.head(1)
        frame = base[np.zeros(count, np.int64)].with_columns(
            match_id=pl.Series([f"m{n % MATCHES}" for n in numbers]), sequence=numbers // MATCHES
        )
        values = Encoder(load_schema("match-events"), 1).encode(frame).to_pylist()
        self.publisher.send(self.topic.name, [match.encode() for match in frame["match_id"]], values)
        assert self.publisher.flush(PATIENCE_S)
        self.written += count

    def goes_on_after_its_node_is_killed(self, cluster: Cluster, runner: MicroBatchRunner | ContinuousRunner) -> None:
        def run() -> None:
            try:
                runner.run()
            except BaseException as failure:
                self.failure = failure

        thread = threading.Thread(target=run)
        thread.start()
        try:
            self.feed(300)
            self.wait_until_answered()
            (first,) = self.nodes()
            (node,) = (node for node in cluster.worker_nodes if node.node_id == first)
            self.feed(300)
            cluster.remove_node(node, allow_graceful=False)
            while not self.nodes() - {first}:  # processes outlive their node by some seconds, and answer
                self.feed(30)
                self.wait_until_answered()
        finally:
            runner.stop()
            thread.join(PATIENCE_S)
            self.close()
        assert self.failure is None
        assert len(self.nodes() - {first}) == 1, "it went on elsewhere"
        self.check()

    def wait_until_answered(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (answered := self.answers().height) < self.written:
            assert self.failure is None, self.failure
            assert time.monotonic() < deadline, (answered, self.written)
            time.sleep(0.1)

    def answers(self) -> pl.DataFrame:
        decoder = Decoder("match-events", PackagedRegistry())
        return pl.concat([decoder.decode(part).frame for part in read_all(self.settings, self.out.name).values()])

    def check(self) -> None:
        answers = self.answers()
        assert Counter(answers["match_id"]) == Counter(f"m{n % MATCHES}" for n in range(self.written))
        for (match,), mine in answers.group_by("match_id", maintain_order=True):
            assert mine["sequence"].to_list() == list(range(mine.height)), match
            assert mine["clock_s"].to_list() == [float(n + 1) for n in range(mine.height)], match


def test_a_worker_whose_node_is_killed_is_replaced_on_another(
    cluster: Cluster, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    stream = Stream(kafka, topic_prefix, tmp_path)
    stream.goes_on_after_its_node_is_killed(cluster, ContinuousRunner(stream.worker(), 1))


def test_a_read_task_whose_node_is_killed_is_run_again_on_another(
    cluster: Cluster, kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, read = tmp_path / "planned", tmp_path / "read"
    planned.mkdir()
    read.mkdir()

    class NotedPlanner(Planner):
        def __init__(self, *arguments: Any) -> None:
            (planned / ray.get_runtime_context().get_node_id()).touch()
            super().__init__(*arguments)

    monkeypatch.setattr(micro_batch, "Planner", NotedPlanner)
    stream = Stream(kafka, topic_prefix, read)
    stream.goes_on_after_its_node_is_killed(cluster, stream.micro_batch())
    here = ray.get_runtime_context().get_node_id()
    assert [path.name for path in planned.iterdir()] == [here], "the plan is where only the driver's own end ends it"
