"""Train a recipe and store the model as a new version: the library of `sightline train`, and a Ray job of its own.

    ray job submit --working-dir . -- python -m jobs.train win-tsstn --data PATH --alias live --set optim.lr=3e-4

The data is any source that `jobs.datasets.load_matches` takes. Training runs on Ray Train, or in this very process
where the recipe asks for no workers.
"""

from __future__ import annotations

import math
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.recipes.win_tsstn import SIMULATED, WinTSSTN
from jobs.threads import beside

if TYPE_CHECKING:
    from jobs.datasets import Split
    from jobs.fit_tsstn import EpochReport, Fitted
    from models.store import Manifest

RECIPES = {"win-tsstn": WinTSSTN(data=""), "win-tsstn-simulated": SIMULATED}
OnEpoch = Callable[["EpochReport"], None]

_FEW_MATCHES = 100


@dataclass(frozen=True)
class TrainResult:
    """A stored model and how its training went."""

    manifest: Manifest
    metrics: dict[str, Any]  # as stored with it
    reports: tuple[EpochReport, ...]
    best: EpochReport
    matches: int  # to learn from
    frames: int


def train(
    recipe: WinTSSTN,
    *,
    store: Path | str,
    name: str | None = None,
    alias: str | None = None,
    on_epoch: OnEpoch = lambda report: None,
    on_step: Callable[[str], None] = lambda words: None,
) -> TrainResult:
    """Load the data, train, store a new version, and point the alias at it.

    Args:
        recipe: what to train on what.
        store: root folder or URL of the model store.
        name: of the model; by default "tsstn-TITLE".
        alias: to move to the new version; None moves none.
        on_epoch: told after every epoch.
        on_step: told what begins, in words.

    Raises:
        UsageProblem, ImportProblem: the data cannot be used; nothing is stored.
        RuntimeError: a training worker failed.
    """
    from jobs.commit import code_commit
    from jobs.datasets import load_matches, split_by_match
    from models._registry import config_to_json
    from models.store import SHIPPED, ModelStore

    on_step(f"reading {recipe.data}")
    matches = load_matches(recipe.data, recipe.title or None)
    for problem in matches.skipped:
        on_step(problem)
    matches = matches.of_years(since=recipe.since or None, until=recipe.until or None)
    # The versions that ship count, too: a number means one model, wherever it lies.
    roots = [store] if Path(store).resolve() == SHIPPED.resolve() else [store, SHIPPED]
    models, name = ModelStore(*roots), name or f"tsstn-{matches.title}"
    models.prepare(name, alias)
    live = models.alias_state(name)
    split = split_by_match(matches, share=recipe.validation, seed=recipe.seed)
    on_step(f"training on {len(split.train):,} matches, {split.train.frames:,} frames of {matches.title}")
    if len(split.train) < _FEW_MATCHES:
        on_step(f"so few say little about others: {_FEW_MATCHES} are a start, a thousand are better")
    fitted = fit_here(split, recipe, on_epoch) if recipe.scaling.workers == 0 else fit_on_ray(split, recipe, on_epoch)

    metrics = {
        "validation": _rounded(fitted.best.validation),
        "validation_matches": len(split.held_out),
        "best_epoch": fitted.best.epoch,
        "train_s": round(fitted.reports[-1].elapsed_s, 1),
        "recipe": asdict(recipe),
    }
    manifest = models.save(
        name,
        fitted.model(),
        config_to_json(fitted.config),
        metrics=metrics,
        title=matches.title,
        trained_on=_trained_on(matches.source, len(matches), recipe),
        data_fingerprint=matches.fingerprint,
        code_version=code_version(),
        training_matches=matches.marks,
        parent="" if live is None else f"{name}@{live.version}",
        recipe={"name": "win-tsstn", "config": asdict(recipe)},
        commit=code_commit() or code_version(),
    )
    if alias is not None:
        models.set_alias(manifest.name, alias, manifest.version, why="trained with --alias")
    return TrainResult(manifest, metrics, fitted.reports, fitted.best, len(split.train), split.train.frames)


def fit_here(split: Split, recipe: WinTSSTN, on_epoch: OnEpoch) -> Fitted:
    """Train in this process, without Ray."""
    from jobs.fit_tsstn import fit

    return fit(split.train, split.held_out, recipe, on_epoch=on_epoch)


def fit_on_ray(split: Split, recipe: WinTSSTN, on_epoch: OnEpoch) -> Fitted:
    """Train on Ray Train workers, on the cluster at RAY_ADDRESS or an own one on this machine.

    Raises:
        RuntimeError: a worker failed; the message is the worker's own.
    """
    from jobs.ray_session import ray_session

    workers = recipe.scaling.workers
    with _training_ray(ray_session, workers):
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.base_trainer import TrainingFailedError
        from ray.train.torch import TorchTrainer
        from ray.util.queue import Queue

        reports = Queue(actor_options={"num_cpus": 0})
        with tempfile.TemporaryDirectory(prefix="sightline-train-") as scratch:
            trainer = TorchTrainer(
                _train_worker,
                train_loop_config={"split": ray.put(split), "recipe": recipe, "reports": reports},
                scaling_config=ScalingConfig(num_workers=workers),
                run_config=RunConfig(name="win-tsstn", storage_path=recipe.scaling.storage or scratch),
            )
            try:
                with _forwarding(reports, on_epoch):
                    result = trainer.fit()
            except TrainingFailedError as failure:
                raise RuntimeError(f"training failed: {failure}") from failure
            finally:
                reports.shutdown(force=True)
            if result.checkpoint is None:
                raise RuntimeError("training ended without a checkpoint: see the worker's log in Ray")
            return _read_fitted(result.checkpoint)


def _train_worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker runs; rank 0 reports, and hands its best weights over in the one checkpoint."""
    import ray
    import ray.train
    from ray.train.torch import prepare_model

    from jobs.fit_tsstn import fit

    split, recipe, reports = ray.get(config["split"]), config["recipe"], config["reports"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    fitted = fit(
        split.train,
        split.held_out,
        recipe,
        on_epoch=reports.put if rank == 0 else lambda report: None,
        rank=rank,
        world=world,
        # In two stages, and with a temporal net that does not look back, some parameters get no gradient.
        wrap=lambda module: prepare_model(
            module, move_to_device=False, parallel_strategy_kwargs={"find_unused_parameters": True}
        ),
    )
    metrics = {"epoch": fitted.best.epoch, **fitted.best.validation}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_fitted(fitted, Path(folder))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _write_fitted(fitted: Fitted, folder: Path) -> None:
    import json

    from safetensors.torch import save_file

    from models._registry import config_to_json

    save_file(fitted.weights, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(config_to_json(fitted.config)), "utf-8")
    (folder / "reports.json").write_text(json.dumps([report._asdict() for report in fitted.reports]), "utf-8")


def _read_fitted(checkpoint: Any) -> Fitted:
    import json

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


def _forwarding(reports: Any, on_epoch: OnEpoch) -> AbstractContextManager[None]:
    """Hand what workers put into the queue to `on_epoch` while the body runs, and the rest after it."""
    from ray.util.queue import Empty

    def drain(over: threading.Event) -> None:
        while True:
            finishing = over.is_set()
            try:
                while True:
                    on_epoch(reports.get(block=not finishing, timeout=0.2))
            except Empty:
                if finishing:
                    return

    return beside(drain, "train-reports")


def user_store() -> str:
    """The root folder or URL of the user's own models, as the settings say.

    Raises:
        SettingsError: a setting is wrong.
    """
    from jobs.settings import load_settings

    return load_settings().settings.models.store


def code_version() -> str:
    """Version of this project; "source" where it runs from a folder that was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sightline")
    except PackageNotFoundError:
        return "source"


def _trained_on(source: str, matches: int, recipe: WinTSSTN) -> str:
    words = source if source.startswith("simulator") else f"{source}, {matches:,} matches"
    if recipe.since:
        words += f", since {recipe.since}"
    return words + (f", until {recipe.until}" if recipe.until else "")


def _rounded(figures: dict[str, float]) -> dict[str, float | None]:
    """For JSON: None where only one outcome was held out and AUC means nothing."""
    return {name: None if math.isnan(value) else round(value, 5) for name, value in figures.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry for `python -m jobs.train`: the same command as `sightline train`."""
    from jobs.cli import main as cli

    return cli(["train", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
