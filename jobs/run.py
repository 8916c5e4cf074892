"""Run a pipeline against any Kafka and Ray: `sightline run NAME`, or on a cluster

ray job submit --working-dir . -- python -m jobs.run win-prediction
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jobs.ray_session import ray_session
from jobs.signals import signals_set

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.runners.micro_batch import MicroBatchRunner

log = logging.getLogger(__name__)

PIPELINES = ("win-prediction",)

Step = Callable[[str], None]
"""Told what is being done now, in words."""


def run_pipeline(name: str, settings: Settings, on_step: Step = log.info) -> None:
    """Run one pipeline until SIGTERM or SIGINT; everything under way is finished or left untouched on the log.

    Raises:
        KeyError: no pipeline of that name.
        Fenced, OffsetsExpired, StateLayoutChanged: as `MicroBatchRunner.run`.
    """
    if name not in PIPELINES:
        raise KeyError(f"no pipeline {name!r}; there are: {', '.join(PIPELINES)}")
    stopping = threading.Event()
    with (
        ray_session(
            settings.ray.address,
            logical_cpus=settings.ray.num_cpus,
            object_store_mb=settings.ray.object_store_mb,
        ),
        signals_set(stopping),  # after Ray's start, which sets handlers of its own
    ):
        _run_win_prediction(settings, on_step, stopping)


def _run_win_prediction(settings: Settings, on_step: Step, stopping: threading.Event) -> None:
    import ray

    from jobs.status import StatusReporter
    from serve.win import ServePredict, deploy
    from streaming import topics
    from streaming.kafka.admin import ensure_topics, read_all
    from streaming.kafka.publisher import Publisher
    from streaming.kafka.sink import KafkaSink
    from streaming.kafka.source import KafkaSource
    from streaming.pipelines.win_prediction import win_prediction
    from streaming.runners.epoch import ReadLimits
    from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner

    on_step("loading the models into Ray Serve")
    handle = deploy(
        settings.models.store_roots,
        settings.models.titles,
        replicas=settings.serve.replicas,
        gpus_per_replica=settings.serve.gpus_per_replica,
    )
    on_step("preparing topics")
    pipeline = win_prediction(ServePredict(handle, max_batch=settings.serve.max_batch))
    kafka = settings.kafka.connection()
    state_topic = topics.state_topic(pipeline.name)
    ensure_topics(kafka, [*topics.TOPICS, state_topic]).require_agreement()
    source = KafkaSource(kafka, pipeline.source.name, settings.pipeline.group)
    runner = MicroBatchRunner(
        pipeline,
        source,
        KafkaSink(kafka, f"sightline.{pipeline.name}", settings.pipeline.group, pipeline.source.name),
        settings.registry.open(),
        changelog=lambda: read_all(kafka, state_topic.name).values(),
        config=MicroBatchConfig(
            epoch_s=settings.pipeline.epoch_s,
            read_tasks=settings.pipeline.read_tasks,
            limits=ReadLimits(settings.pipeline.interval_ms / 1e3, settings.pipeline.max_batch_records),
            max_commit_records=settings.pipeline.max_batch_records,
            max_unanswered_records=settings.pipeline.max_unanswered_records,
        ),
    )

    def cluster() -> dict[str, Any]:
        described = handle.describe.remote().result(timeout_s=5)
        fields = ("title", "name", "version", "weight_hash", "trained_on")
        return {
            "models": [{field: model[field] for field in fields} for model in described],
            "broken_total": sum(model["broken"] for model in described),
            "replicas": _running_replicas(),
            "ray_nodes": sum(bool(node["Alive"]) for node in ray.nodes()),  # type: ignore[no-untyped-call]  # untyped in Ray,
        }

    reporter = StatusReporter(
        pipeline.name, source, runner.progress, Publisher(kafka), cluster, lambda: time.time_ns() // 1_000_000
    )
    reporter.start()
    on_step("running")
    state, reason = "stopped", ""
    try:
        with _stops_on(stopping, runner):
            runner.run()
    except BaseException as failure:
        state, reason = "failed", f"{type(failure).__name__}: {failure}"
        raise
    finally:
        reporter.stop(state, reason)
        source.close()


def _running_replicas() -> int:
    from ray import serve as ray_serve

    from serve.win import APP

    app = ray_serve.status().applications.get(APP)
    if app is None:
        return 0
    states = [item for deployment in app.deployments.values() for item in deployment.replica_states.items()]
    return sum(count for state, count in states if state == "RUNNING")


@contextlib.contextmanager
def _stops_on(event: threading.Event, runner: MicroBatchRunner) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if event.wait(0.2):
                runner.stop()
                return

    thread = threading.Thread(target=watch, name="stop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry for `python -m jobs.run`: the same command as `sightline run`."""
    from jobs.cli import main as cli

    return cli(["run", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
