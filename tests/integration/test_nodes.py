"""A Ray cluster of several nodes on this machine, and one of them is killed: the pipeline goes on elsewhere, by either
live runner, and every event is answered once, in key order.

Runners are in the driver's node, which has no room for workers and read tasks: these are on the other two.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import ray
from ray.cluster_utils import Cluster

from jobs.ray_session import ENVIRONMENT, ray_session
from streaming.kafka.settings import KafkaSettings
from streaming.runners import micro_batch as micro_batch_runner
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.epoch import ReadLimits
from streaming.runners.micro_batch import MicroBatchRunner
from streaming.runners.planner import Planner
from tests.counting import OnKafka, Stream, continuous, micro_batch, running

pytestmark = [
    pytest.mark.ray,
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray does not wait for the processes that it ends
]

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


class NotingStream(Stream):
    """A counting pipeline whose every transform notes on which node it ran, as a file of that name."""

    def __init__(self, kafka: str, prefix: str, notes: Path) -> None:
        def note_node(frame: pl.DataFrame) -> pl.DataFrame:
            (notes / ray.get_runtime_context().get_node_id()).touch()
            return frame

        self.kafka, self.notes = OnKafka(KafkaSettings(kafka)), notes
        super().__init__(self.kafka, prefix, transforms=(note_node,), partitions=2)

    def nodes(self) -> set[str]:
        """Where transforms have run."""
        return {path.name for path in self.notes.iterdir()}

    def goes_on_after_its_node_is_killed(self, cluster: Cluster, runner: MicroBatchRunner | ContinuousRunner) -> None:
        def all_answered() -> bool:
            return self.answered() >= self.written

        with closing(self.kafka), running(runner) as run:
            self.feed(300)
            run.wait_for(all_answered, pause_s=0.1)
            (first,) = self.nodes()
            (node,) = (node for node in cluster.worker_nodes if node.node_id == first)
            self.feed(300)
            cluster.remove_node(node, allow_graceful=False)
            while not self.nodes() - {first}:  # processes outlive their node by some seconds, and answer
                self.feed(30)
                run.wait_for(all_answered, pause_s=0.1)
        assert len(self.nodes() - {first}) == 1, "it went on elsewhere"
        self.check()


def test_a_worker_whose_node_is_killed_is_replaced_on_another(
    cluster: Cluster, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    stream = NotingStream(kafka, topic_prefix, tmp_path)
    stream.goes_on_after_its_node_is_killed(cluster, continuous(stream))


@pytest.mark.long
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

    monkeypatch.setattr(micro_batch_runner, "Planner", NotedPlanner)
    stream = NotingStream(kafka, topic_prefix, read)
    runner = micro_batch(stream, limits=ReadLimits(0.05, 100), max_commit_records=5_000)
    stream.goes_on_after_its_node_is_killed(cluster, runner)
    here = ray.get_runtime_context().get_node_id()
    assert [path.name for path in planned.iterdir()] == [here], "the plan is where only the driver's own end ends it"
