"""Run a pipeline against any Kafka and Ray: `sightline run NAME`, or on a cluster

ray job submit --working-dir . -- python -m jobs.run win-prediction
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jobs.autoscaling import Autoscaler, autoscaled
from jobs.ray_session import ray_session
from jobs.signals import signals_set
from jobs.threads import beside
from streaming.topics import identity, shadow_of

if TYPE_CHECKING:
    from jobs.pipelines import Served
    from jobs.settings import Settings
    from streaming.codec import SchemaRegistry
    from streaming.kafka.settings import KafkaSettings
    from streaming.kafka.source import KafkaSource
    from streaming.pipeline import Pipeline
    from streaming.runners.micro_batch import MicroBatchRunner
    from streaming.runners.progress import Progress
    from streaming.transport import Fetched, Sink

log = logging.getLogger(__name__)

_KAFKA_PATIENCE_S = 60.0
_RETRY_S = 0.2
_REPLICA_START_UP_S = 15.0  # a process, torch and the weights, and until `AppKeeper` looks again


def run_pipeline(name: str, settings: Settings, candidate: str | None = None) -> None:
    """Run one pipeline until SIGTERM or SIGINT; everything under way is finished or left untouched on the log.

    Args:
        name: of `jobs.pipelines.PIPELINES`.
        settings: its models among them.
        candidate: NAME@ALIAS or NAME@VERSION; then not the pipeline itself is run but its shadow, by this model.

    Raises:
        KeyError: no pipeline of that name.
        UsageProblem, SettingsError: not a candidate (see `jobs.shadow.candidate.shadowed`), or a file that the pipeline
            needs is not named or cannot be used.
        TransportUnavailable: Kafka did not answer for a minute.
        AccessDenied: Kafka does not let us in, or do something that the run needs.
        TopicMissing: a topic cannot be created.
        ModelNotFoundError, BrokenModelError, DeploymentFailed: the models cannot be served.
        Fenced, OffsetsExpired, LogCorrupt, CommitRefused, StateCorrupt, StateLayoutChanged, StateTooLarge: as
            `MicroBatchRunner.run`.
        EmbeddingChanged: people are remembered who were embedded by another model.
    """
    from jobs.pipelines import PIPELINES, require_shadow

    if name not in PIPELINES:
        raise KeyError(f"no pipeline {name!r}; there are: {', '.join(PIPELINES)}")
    if candidate is not None:
        from jobs.shadow.candidate import shadowed

        require_shadow(name)
        name, settings = shadow_of(name), shadowed(settings, candidate)
    stopping = threading.Event()
    where = "starting Ray" if settings.ray.address is None else f"connecting to Ray at {settings.ray.address}"
    log.info(where, extra={"step": "process"})
    with (
        ray_session(
            settings.ray.address,
            logical_cpus=settings.ray.num_cpus,
            object_store_mb=settings.ray.object_store_mb,
        ) as shared,
        signals_set(stopping),  # after Ray's start, which sets handlers of its own
    ):
        run_on_ray(name, settings, stopping, shared=shared)


def run_on_ray(name: str, settings: Settings, stopping: threading.Event, *, shared: bool) -> None:
    """Run one pipeline on the Ray that this process is connected to, by the runner that is set, until `stopping`.

    Args:
        name: of `jobs.pipelines.PIPELINES`, or the shadow of one.
        settings: all of them.
        stopping: set when it is time.
        shared: whether this Ray outlives the process.

    Raises:
        as `run_pipeline`.
    """
    run = _run_by_micro_batch
    if settings.pipeline.runner == "continuous":
        from jobs.run_continuous import run_with_processes

        run = run_with_processes
    run(name, settings, stopping, shared=shared)


def _run_by_micro_batch(name: str, settings: Settings, stopping: threading.Event, *, shared: bool) -> None:
    """Models load on the cluster while topics are prepared, state is restored and the first events are read."""
    from jobs.pipelines import served
    from streaming.kafka.source import KafkaSource

    kafka = settings.kafka.connection()
    made = served(name, settings, on_failure=stopping.set)
    pipeline, keeper = made.pipeline, made.keeper

    def check() -> None:
        if keeper is not None and keeper.failure is not None:
            raise keeper.failure

    if keeper is not None:
        log.info("loading the models into Ray Serve", extra={"step": "ray"})
        keeper.start()
    try:
        if prepare_topics(kafka, pipeline, stopping):
            registry, restored = settings.registry.open(), threading.Event()

            def starting() -> str:
                waits_for = "" if keeper is None or keeper.loading.done() else keeper.waits_for
                return waits_for or ("" if restored.is_set() else "restoring the state")

            with closing(KafkaSource(kafka, pipeline.source.name, identity(name))) as source:
                runner = _runner(pipeline, settings, kafka, registry, source, restored)
                told = Told(name, source, registry, cluster=lambda: _cluster(made), starting=starting, check=check)
                with autoscaled(_autoscaler(settings, runner.progress, made)):
                    run_and_tell(runner, told, kafka, stopping)
    finally:
        made.close()
        if keeper is not None:
            keeper.stop(delete=shared)
    check()


def prepare_topics(kafka: KafkaSettings, pipeline: Pipeline, stopping: threading.Event) -> bool:
    """Create the pipeline's topics that are missing, and wait for a Kafka that is not up yet; False when it is time to
    stop.

    A topic with another number of partitions than ours is used as it is: the number only matters where it changes.

    Raises:
        TransportUnavailable: Kafka did not answer for a minute.
        AccessDenied: Kafka does not let us in, or do something that the run needs.
        TopicMissing: a topic cannot be created.
    """
    from streaming import topics
    from streaming.kafka.admin import ensure_topics
    from streaming.transport import TransportUnavailable

    wanted = topics.pipeline_topics(pipeline.name, pipeline.source, pipeline.sink, pipeline.looks_up)
    deadline, said = time.monotonic() + _KAFKA_PATIENCE_S, False
    while not stopping.is_set():
        try:
            report = ensure_topics(kafka, wanted)
        except TransportUnavailable as away:
            if time.monotonic() > deadline:
                raise
            if not said:
                log.warning("waiting: %s", away)
                said = True
            stopping.wait(_RETRY_S)
            continue
        for line in report.mismatched:
            log.warning("%s", line)
        log.info("topics are there", extra={"step": "topics"})
        return True
    return False


class Runner(Protocol):
    """What runs a pipeline."""

    @property
    def progress(self) -> Progress:
        """Its counters."""

    def run(self) -> None:
        """Until `stop`."""

    def stop(self) -> None:
        """Safe from another thread."""


@dataclass(frozen=True)
class Told:
    """What `sightline.status` says beside a runner's counters; see `jobs.status.StatusReporter`."""

    pipeline: str
    source: KafkaSource
    registry: SchemaRegistry
    cluster: Callable[[], dict[str, Any]]
    starting: Callable[[], str]
    check: Callable[[], None] = lambda: None  # raises what ended the run, if the runner itself does not know


def run_and_tell(runner: Runner, told: Told, kafka: KafkaSettings, stopping: threading.Event) -> None:
    """Read, answer and report until it is time to stop."""
    from jobs.status import StatusReporter
    from streaming.kafka.publisher import Publisher

    with closing(Publisher(kafka)) as publisher:
        reporter = StatusReporter(
            told.pipeline,
            told.source,
            runner.progress,
            publisher,
            told.registry,
            cluster=told.cluster,
            starting=told.starting,
            clock=lambda: time.time_ns() // 1_000_000,
        )
        reporter.start()
        state, reason = "stopped", ""
        try:
            with _stops_on(stopping, runner):
                runner.run()
            told.check()
        except BaseException as failure:
            state, reason = "failed", f"{type(failure).__name__}: {failure}"
            raise
        finally:
            reporter.stop(state, reason)


def _runner(
    pipeline: Pipeline,
    settings: Settings,
    kafka: KafkaSettings,
    registry: SchemaRegistry,
    source: KafkaSource,
    restored: threading.Event,
) -> MicroBatchRunner:
    from jobs.pipelines import holding
    from streaming.changelog import Lanes
    from streaming.kafka.admin import read_changelog
    from streaming.runners.epoch import ReadLimits
    from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner

    name, most = pipeline.name, holding(pipeline, settings)

    def changelog() -> Lanes:
        found = read_changelog(kafka, name)

        def told() -> Iterator[Fetched]:
            yield from found.pieces
            restored.set()
            log.info("state restored", extra={"step": "state"})

        return Lanes(found.partitions, told())

    return MicroBatchRunner(
        pipeline,
        source,
        sink_of(settings, kafka, identity(name), identity(name), pipeline.source.name),
        registry,
        changelog=changelog,
        config=MicroBatchConfig(
            epoch_s=settings.pipeline.epoch_s,
            read_tasks=settings.pipeline.read_tasks,
            limits=ReadLimits(settings.pipeline.interval_ms / 1e3, most.batch),
            max_commit_records=most.batch,
            max_unanswered_records=most.unanswered,
            state=settings.pipeline.state_limits(),
        ),
    )


def sink_of(
    settings: Settings, kafka: KafkaSettings, transactional_id: str, group: str, source_topic: str, producers: int = 1
) -> Sink:
    """Where a pipeline writes, by the delivery that is set."""
    from streaming.kafka.plain_sink import KafkaPlainSink
    from streaming.kafka.sink import KafkaSink

    if settings.pipeline.delivery == "at_least_once":
        return KafkaPlainSink(kafka, group, source_topic)
    return KafkaSink(kafka, transactional_id, group, source_topic, producers=producers)


def _autoscaler(settings: Settings, progress: Progress, made: Served) -> Autoscaler | None:
    """Of the replicas of the model, if there is one and their number is to change."""
    from streaming.runners.autoscaling import AutoscalingPolicy

    app, keeper = made.app, made.keeper
    if settings.serve.min_replicas is None or app is None or keeper is None:
        return None
    policy = AutoscalingPolicy(
        settings.serve.min_replicas,
        settings.serve.replicas,
        start_up_s=_REPLICA_START_UP_S,
        target_lag_s=settings.pipeline.target_lag_s,
    )
    return Autoscaler(policy, progress, ready=lambda: keeper.state.replicas, scale=app.scale, what="replicas")


def _cluster(made: Served) -> dict[str, Any]:
    """Every model that answers, and what there is to answer with."""
    return cluster_facts(made.describe(), 0 if made.keeper is None else made.keeper.state.replicas)


def cluster_facts(described: Sequence[Mapping[str, Any]], replicas: int) -> dict[str, Any]:
    """What `sightline.status` says of the models and the cluster."""
    import ray

    fields = ("title", "name", "version", "weight_hash", "trained_on")
    return {
        "models": [{field: model[field] for field in fields} for model in described],
        "replicas": replicas,
        "ray_nodes": sum(bool(node["Alive"]) for node in ray.nodes()),  # type: ignore[no-untyped-call]  # untyped in Ray
    }


def _stops_on(event: threading.Event, runner: Runner) -> AbstractContextManager[None]:
    def watch(over: threading.Event) -> None:
        while not over.is_set():
            if event.wait(0.2):
                runner.stop()
                return

    return beside(watch, "stop")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry for `python -m jobs.run`: the same command as `sightline run`."""
    from jobs.cli import main as cli

    return cli(["run", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
