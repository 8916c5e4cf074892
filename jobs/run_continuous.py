"""Run a pipeline by the continuous runner: workers on Ray that hold the models themselves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from jobs.autoscaling import Autoscaler, autoscaled
from jobs.errors import UsageProblem
from jobs.run import Told, cluster_facts, prepare_topics, run_and_tell, sink_of
from streaming.topics import identity

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.kafka.settings import KafkaSettings
    from streaming.pipeline import Pipeline
    from streaming.runners.continuous import ContinuousRunner, MakeWorker
    from streaming.runners.progress import Progress
    from streaming.runners.worker import Worker

log = logging.getLogger(__name__)

Described = list[dict[str, Any]]
"""Every model, as `LocalPredict.describe` has it."""

_WORKER_START_UP_S = 8.0  # a process, joining the group, and the state of the partitions it takes


def processes_for(settings: Settings) -> list[Any]:
    """Of the first workers, to be started before all else: their way to the first answer is the longest."""
    from streaming.runners.continuous import standby

    return standby(_fewest(settings), _load_imports)


def _load_imports() -> None:
    """For their time, not for their names."""
    import torch  # noqa: F401

    import serve.win  # noqa: F401
    import streaming.pipelines.win_prediction
    import streaming.runners.worker  # noqa: F401


def run_with_processes(name: str, settings: Settings, stopping: threading.Event, *, shared: bool) -> None:
    """As `run_continuously`, with the processes of the first workers started before all else. Nothing is left on a
    shared cluster either way."""
    run_continuously(name, settings, stopping, processes_for(settings))


def _fewest(settings: Settings) -> int:
    return settings.pipeline.min_workers or settings.pipeline.workers


def run_continuously(name: str, settings: Settings, stopping: threading.Event, processes: Sequence[Any] = ()) -> None:
    """Until it is time to stop. Whether the models can be loaded is found out here, while the workers start, so that
    one that is missing ends the run.

    Args:
        name: of the pipeline.
        settings: all of them.
        stopping: set when it is time.
        processes: of `processes_for`.

    Raises:
        UsageProblem: more workers than the pipeline can have; also as of `jobs.pipelines.local`.
        ModelNotFoundError, BrokenModelError: the models cannot be loaded.
        others: as `jobs.run.run_pipeline`.
    """
    from jobs.pipelines import local
    from streaming.kafka.source import KafkaSource
    from streaming.runners.continuous import ContinuousRunner

    kafka, made = settings.kafka.connection(), local(name, settings)
    pipeline = made.pipeline
    if settings.pipeline.workers > 1 and pipeline.shared:
        raise UsageProblem(
            f"pipeline.workers is {settings.pipeline.workers}, but the state of {name} belongs to all partitions "
            f"(stages {', '.join(pipeline.shared)}): one worker reads them"
        )
    runner = ContinuousRunner(make_worker(pipeline, settings, kafka), _fewest(settings), standby=processes)
    registry = settings.registry.open()

    def cluster() -> dict[str, Any]:
        return cluster_facts(made.describe() if _are_loaded(models) else [], len(runner.actors))

    def starting() -> str:
        return "" if any(runner.owned.values()) else "starting the workers"

    with closing(made), _loading(made.load, stopping) as models:
        if prepare_topics(kafka, pipeline, stopping):
            with closing(KafkaSource(kafka, pipeline.source.name, identity(name))) as source:
                told = Told(
                    name,
                    source,
                    registry,
                    cluster=cluster,
                    starting=starting,
                    check=lambda: _raise_failure(models),
                )
                with autoscaled(worker_autoscaler(runner, settings, partitions=len(source.partitions()))):
                    run_and_tell(runner, told, kafka, stopping)
        _raise_failure(models)


@contextmanager
def _loading(describe: Callable[[], Described], stopping: threading.Event) -> Iterator[Future[Described]]:
    """The models, loaded beside the body of the `with`, which is to stop if that fails."""

    def look(loaded: Future[Described]) -> None:
        if not loaded.cancelled() and loaded.exception() is not None:
            stopping.set()

    log.info("loading the models", extra={"step": "ray"})
    with ThreadPoolExecutor(1, "models") as pool:
        models = pool.submit(describe)
        models.add_done_callback(look)
        yield models


def _are_loaded(models: Future[Described]) -> bool:
    """Whether they could be loaded, as far as is known by now."""
    return models.done() and models.exception() is None


def _raise_failure(models: Future[Described]) -> None:
    if models.done():
        models.result()


def worker_autoscaler(runner: ContinuousRunner, settings: Settings, partitions: int) -> Autoscaler | None:
    """Of a runner's workers, if their number is to change: never more than the topic has partitions."""
    from streaming.runners.autoscaling import AutoscalingPolicy

    fewest = settings.pipeline.min_workers
    if fewest is None:
        return None
    policy = AutoscalingPolicy(
        fewest,
        max(fewest, min(settings.pipeline.workers, partitions)),
        start_up_s=_WORKER_START_UP_S,
        target_lag_s=settings.pipeline.target_lag_s,
    )
    return Autoscaler(policy, runner.progress, ready=lambda: sum(map(bool, runner.owned.values())), scale=runner.scale)


def make_worker(pipeline: Pipeline, settings: Settings, kafka: KafkaSettings) -> MakeWorker:
    """How to make a worker of this pipeline, where it is to run."""

    def make(number: int, progress: Progress) -> Worker:
        from jobs.pipelines import holding
        from streaming.kafka.admin import read_changelog
        from streaming.kafka.source import KafkaSource
        from streaming.runners.worker import Worker, WorkerConfig

        # Number 0 has the name of the micro-batch runner's sink: whoever starts last, by whichever runner, is the one.
        name, own = pipeline.name, identity(pipeline.name)
        transactional_id = own + (f".worker-{number}" if number else "")
        return Worker(
            pipeline,
            KafkaSource(kafka, pipeline.source.name, own),
            sink_of(settings, kafka, transactional_id, own, pipeline.source.name, producers=2),
            settings.registry.open(),
            changelog=lambda owners: read_changelog(kafka, name, owners),
            config=WorkerConfig(holding(pipeline, settings).batch, state=settings.pipeline.state_limits()),
            progress=progress,
        )

    return make
