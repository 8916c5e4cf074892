"""The training loop of TSSTN on Ray Train workers: started, watched, and started again where one is lost."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.threads import beside

if TYPE_CHECKING:
    from jobs.checkpoints import CheckpointError
    from jobs.datasets import Split
    from jobs.fit_tsstn import EpochReport, Fitted
    from jobs.recipes.win_tsstn import WinTSSTN


def fit_on_ray(
    split: Split, recipe: WinTSSTN, *, folder: Path, subject: str, on_epoch: Callable[[EpochReport], None]
) -> Fitted:
    """Train on Ray Train workers, on the cluster at RAY_ADDRESS or an own one on this machine.

    Where a worker is lost, all begin anew from the last checkpoint, as often as the recipe's `restarts` say.

    Args:
        split: what to learn from, and what to watch.
        recipe: how.
        folder: for checkpoints; exists. Workers on other machines must see it under this path.
        subject: as of `Checkpoints`.
        on_epoch: told after every epoch. After a loss the last one may be left out.

    Raises:
        RuntimeError: workers failed too often; the message is the worker's own.
        CheckpointError: a checkpoint cannot be written or used.
    """
    from jobs.checkpoints import CheckpointError
    from jobs.ray_session import ray_session

    workers = recipe.scaling.workers
    with _training_ray(ray_session, workers):
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.base_trainer import TrainingFailedError
        from ray.train.torch import TorchTrainer
        from ray.util.queue import Queue

        from jobs.fit_tsstn import EpochReport

        reports = Queue(actor_options={"num_cpus": 0})
        problems: list[CheckpointError] = []

        def on_report(report: dict[str, Any] | str) -> None:
            problems.append(CheckpointError(report)) if isinstance(report, str) else on_epoch(EpochReport(**report))

        # A name of its own each time: Ray Train would take up what it finds under an old one.
        with tempfile.TemporaryDirectory(prefix="ray-", dir=folder) as scratch:
            trainer = TorchTrainer(
                _train_worker,
                train_loop_config={
                    "split": ray.put(split),
                    "recipe": recipe,
                    "reports": reports,
                    "folder": str(folder),
                    "subject": subject,
                },
                scaling_config=ScalingConfig(num_workers=workers),
                run_config=RunConfig(
                    name="train",
                    storage_path=scratch,
                    failure_config=FailureConfig(max_failures=recipe.scaling.restarts),
                ),
            )
            try:
                with _forwarding(reports, on_report):
                    result = trainer.fit()
            except TrainingFailedError as failure:
                raise RuntimeError(f"training failed: {failure}") from failure
            finally:
                reports.shutdown(force=True)
            if problems:
                raise problems[0]
            if result.checkpoint is None:
                raise RuntimeError("training ended without a model: see the worker's log in Ray")
            return _read_fitted(result.checkpoint)


def _train_worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker runs; rank 0 reports, and hands its best weights over in the one Ray checkpoint."""
    import ray
    import ray.train
    from ray.train.torch import prepare_model

    from jobs.checkpoints import CheckpointError, Checkpoints
    from jobs.fit_tsstn import fit

    split, recipe, reports = ray.get(config["split"]), config["recipe"], config["reports"]

    # In plain values: to open a class of ours the queue's own process would import torch first, a second in which the
    # first report holds the training up.
    def tell(report: EpochReport) -> None:
        reports.put(report._asdict())

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    try:
        fitted = fit(
            split.train,
            split.held_out,
            recipe,
            on_epoch=tell if rank == 0 else lambda report: None,
            rank=rank,
            world=world,
            # In two stages, and with a temporal net that does not look back, some parameters get no gradient.
            wrap=lambda module: prepare_model(
                module, move_to_device=False, parallel_strategy_kwargs={"find_unused_parameters": True}
            ),
            checkpoints=Checkpoints(Path(config["folder"]), config["subject"], rank=rank, world=world),
        )
    except CheckpointError as problem:  # on all workers alike; to begin anew would not help
        if rank == 0:
            reports.put(str(problem))
        return
    metrics = {"epoch": fitted.best.epoch, **fitted.best.validation}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_fitted(fitted, Path(folder))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _write_fitted(fitted: Fitted, folder: Path) -> None:
    from safetensors.torch import save_file

    from models._registry import config_to_json

    save_file(fitted.weights, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(config_to_json(fitted.config)), "utf-8")
    (folder / "reports.json").write_text(json.dumps([report._asdict() for report in fitted.reports]), "utf-8")


def _read_fitted(checkpoint: Any) -> Fitted:
    from safetensors.torch import load_file

    from jobs.fit_tsstn import EpochReport, Fitted
    from models._registry import config_from_json
    from models.tsstn import TSSTNConfig

    with checkpoint.as_directory() as folder:
        reports = json.loads((Path(folder) / "reports.json").read_text("utf-8"))
        config = config_from_json(json.loads((Path(folder) / "config.json").read_text("utf-8")))
        assert isinstance(config, TSSTNConfig)  # as `_write_fitted` left it
        weights = load_file(Path(folder) / "weights.safetensors")
        return Fitted(config, weights, tuple(EpochReport(**report) for report in reports))


@contextmanager
def _training_ray(ray_session: Callable[..., Any], workers: int) -> Iterator[None]:
    """The Ray that is connected already, else a session for as long as the training lasts."""
    import ray

    connected = ray.is_initialized()
    with nullcontext() if connected else ray_session(None, logical_cpus=workers + 1, object_store_mb=512):
        yield


def _forwarding(reports: Any, on_report: Callable[[Any], None]) -> AbstractContextManager[None]:
    """Hand what workers put into the queue to `on_report` while the body runs, and the rest after it."""
    from ray.util.queue import Empty

    def drain(over: threading.Event) -> None:
        while True:
            finishing = over.is_set()
            try:
                while True:
                    on_report(reports.get(block=not finishing, timeout=0.2))
            except Empty:
                if finishing:
                    return

    return beside(drain, "train-reports")
