"""Train a recipe and store the model as a new version: the library of `sightline train`, and a Ray job of its own.

    ray job submit --working-dir . -- python -m jobs.train win-tsstn --data PATH --set optim.lr=3e-4

A recipe brings its task (`jobs.task`): data, a training loop, and words about both. For win prediction the data is any
source that `jobs.datasets.load_matches` takes, and training runs on Ray Train, or in this very process where the recipe
asks for no workers; for people it is a file that `jobs.reid.crops` reads, for sessions of shoppers one that
`jobs.sessions.clicks` does. Either way the run leaves a folder
(`jobs.runs`), from which it goes on where it was cut short.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import UsageProblem
from jobs.recipes.as_gan import AS_GAN, AS_GAN_FULL, ASGANRecipe
from jobs.recipes.overrides import restored
from jobs.recipes.reid import OSNET, RESNET50, SMALL, ReID
from jobs.recipes.reid_aifl import REID_AIFL, REID_AIFL_RESNET50, ReIDAIFL
from jobs.recipes.session_gru4rec import GRU4REC
from jobs.recipes.session_sasrec import SASREC
from jobs.recipes.session_two_tower import TWO_TOWER
from jobs.recipes.sessions import SessionRecipe
from jobs.recipes.win_tsstn import SIMULATED, WinTSSTN
from jobs.task import OnEpoch, Report, Task

if TYPE_CHECKING:
    from jobs.datasets import MatchSet, Split
    from jobs.fit_tsstn import Fitted
    from jobs.runs.folder import OpenRun
    from models.store import Manifest, ModelStore

Recipe = WinTSSTN | ReID | ASGANRecipe | SessionRecipe
RECIPES: dict[str, Recipe] = {
    "win-tsstn": WinTSSTN(data=""),
    "win-tsstn-simulated": SIMULATED,
    "reid-osnet": OSNET,
    "reid-small": SMALL,
    "reid-resnet50": RESNET50,
    "reid-aifl": REID_AIFL,
    "reid-aifl-resnet50": REID_AIFL_RESNET50,
    "as-gan": AS_GAN,
    "as-gan-full": AS_GAN_FULL,
    "session-gru4rec": GRU4REC,
    "session-sasrec": SASREC,
    "session-two-tower": TWO_TOWER,
}

_FEW_MATCHES = 100


@dataclass(frozen=True)
class TrainResult:
    """A stored model and how its training went."""

    run: str
    store: str
    alias: str | None  # that means it now
    manifest: Manifest
    metrics: dict[str, Any]  # as stored with it
    reports: tuple[Report, ...]
    best: Report
    counts: Mapping[str, int]  # of what there was to learn from


def train(
    recipe: Recipe,
    *,
    store: Path | str,
    runs: Path,
    name: str | None = None,
    alias: str | None = "candidate",
    force: str = "",
    on_epoch: OnEpoch = lambda report: None,
    on_step: Callable[[str], None] = lambda words: None,
) -> TrainResult:
    """Load the data, train, store a new version, and point the alias at it. What happens is noted as a run.

    Args:
        recipe: what to train on what.
        store: root folder or URL of the model store.
        runs: folder of all runs (`jobs.runs`).
        name: of the model; by default "tsstn-TITLE", or that of the recipe.
        alias: to move to the new version; None moves none. All but "candidate" ask for a gate's verdict
            (`models.store.promotion`), which nothing has that is only just trained.
        force: why such an alias is to move all the same; kept in its history.
        on_epoch: told after every epoch.
        on_step: told what begins, in words.

    Raises:
        UsageProblem, ImportProblem: the recipe, the alias or the data cannot be used; nothing is stored, and there is
            no run.
        CheckpointError: there is no room for a checkpoint; `resume` goes on from the one before.
        RuntimeError: training workers failed more often than the recipe allows; the same.
    """
    from jobs.runs.environment import environment
    from jobs.runs.folder import begun
    from jobs.runs.record import RunRecord

    _refuse_without_verdict(name, alias, force)
    task = _task(recipe, store, on_step)
    name = name or task.model_name
    _store(store).prepare(name, alias)

    def record(run: str) -> RunRecord:
        return RunRecord(
            run=run,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            recipe_name=task.recipe_name,
            recipe=asdict(recipe),
            store=str(store) if "://" in str(store) else str(Path(store).absolute()),
            name=name,
            alias=alias,
            force=force,
            data={"source": task.source, "title": task.title, "fingerprint": task.fingerprint, **task.counts},
            environment=environment(),
        )

    with begun(runs, record) as run:
        return _trained(run, recipe, task, on_epoch, on_step)


def resume(
    run: str,
    *,
    runs: Path,
    on_epoch: OnEpoch = lambda report: None,
    on_step: Callable[[str], None] = lambda words: None,
) -> TrainResult:
    """Go on with a run that was cut short, from its last checkpoint, to the same weights as if it had not been.

    Args:
        run: its name, or the beginning of it.
        runs: folder of all runs.
        on_epoch: as of `train`.
        on_step: as of `train`.

    Raises:
        UsageProblem: there is no such run, it is done or at work, or the data is not what it began with.
        CheckpointError: the checkpoint cannot be used; also as of `train`.
        RuntimeError: as of `train`.
    """
    from jobs.runs.folder import continued

    with continued(runs, run) as opened:
        record = opened.record
        if record.recipe_name not in RECIPES:
            raise UsageProblem(f"{record.run}: of a recipe {record.recipe_name!r}, which this version does not have")
        recipe = restored(RECIPES[record.recipe_name], record.recipe, str(opened.folder / "run.json"))
        task = _task(recipe, record.store, on_step)
        if task.fingerprint != record.data["fingerprint"]:
            raise UsageProblem(
                f"{recipe.data}: not the data that {record.run} began with (fingerprint {task.fingerprint}, then "
                f"{record.data['fingerprint']}); train anew"
            )
        return _trained(opened, recipe, task, on_epoch, on_step)


def _task(recipe: Recipe, store: Path | str, on_step: Callable[[str], None]) -> Task:
    """What the recipe brings, with its data read; models that it builds on come from this store."""
    recipe.check()
    on_step(f"reading {recipe.data}")
    if isinstance(recipe, WinTSSTN):
        return _win_task(recipe, on_step)
    if isinstance(recipe, ReID | ASGANRecipe):
        from jobs.reid.task import aifl_task, as_gan_task, person_task

        if isinstance(recipe, ASGANRecipe):
            return as_gan_task(recipe, _store(store))
        return aifl_task(recipe, _store(store)) if isinstance(recipe, ReIDAIFL) else person_task(recipe)
    from jobs.sessions.task import session_task

    return session_task(recipe)


def _win_task(recipe: WinTSSTN, on_step: Callable[[str], None]) -> Task:
    matches, split = _read(recipe, on_step)
    few = f"so few say little about others: {_FEW_MATCHES} are a start, a thousand are better"
    frames = split.train.frames
    return Task(
        recipe_name="win-tsstn",
        model_name=f"tsstn-{matches.title}",
        title=matches.title,
        source=matches.source,
        fingerprint=matches.fingerprint,
        counts={"matches": len(split.train), "held_out": len(split.held_out), "frames": frames},
        words=f"{len(split.train):,} matches, {frames:,} frames of {matches.title}",
        trained_on=_trained_on(matches.source, len(matches), recipe),
        fit=lambda folder, on_epoch: _fit(folder, recipe, matches, split, on_epoch),
        held_out={"validation_matches": len(split.held_out)},
        marks=matches.marks,
        doubt=few if len(split.train) < _FEW_MATCHES else "",
    )


def _refuse_without_verdict(name: str | None, alias: str | None, force: str) -> None:
    """Before hours of training, not after.

    Raises:
        UsageProblem: a gate's verdict is asked for.
    """
    from models.store import CANDIDATE

    if alias not in (None, CANDIDATE) and not force:
        raise UsageProblem(
            f"--alias {alias}: no gate can have judged a model that is yet to be trained. Train it without: it becomes "
            f"{CANDIDATE}, which `sightline models gate {name or 'NAME'}@{CANDIDATE} --data PATH --promote` judges; or "
            "--force --reason TEXT, which is kept in the alias's history"
        )


def _read(recipe: WinTSSTN, on_step: Callable[[str], None]) -> tuple[MatchSet, Split]:
    """The matches of the recipe, and which of them are held out."""
    from jobs.datasets import load_matches, split_by_match, split_by_time

    matches = load_matches(recipe.data, recipe.title or None)
    for problem in matches.skipped:
        on_step(problem)
    matches = matches.of_years(since=recipe.since or None, until=recipe.until or None).of_patch(recipe.patch)
    if recipe.hold_back:
        matches = split_by_time(matches, share=recipe.hold_back).train
    split = split_by_match(matches, share=recipe.validation, seed=recipe.seed)
    won = split.train.won
    if bool((won == won[0]).all()):
        raise UsageProblem(
            f"{matches.source}: camp {'A' if won[0] else 'B'} won all {len(split.train):,} matches to learn "
            "from, which tells nothing of what decides; both outcomes are needed"
        )
    return matches, split


def _store(store: Path | str) -> ModelStore:
    """Versions that ship count, too: a number means one model, wherever it lies."""
    from models.store import SHIPPED, ModelStore

    return ModelStore(*([store] if Path(store).resolve() == SHIPPED.resolve() else [store, SHIPPED]))


def _trained(
    run: OpenRun,
    recipe: Recipe,
    task: Task,
    on_epoch: OnEpoch,
    on_step: Callable[[str], None],
) -> TrainResult:
    """The run's training and what follows."""
    from jobs.commit import code_commit, code_version
    from models._registry import config_to_json
    from models.store import promote

    models, name, alias = _store(run.record.store), run.record.name, run.record.alias
    live = models.alias_state(name)
    verb = "going on" if run.record.resumed else "training"
    on_step(f"run {run.record.run}: {verb} on {task.words}")
    if task.doubt:
        on_step(task.doubt)

    def noted(report: Report) -> None:
        run.epoch(report._asdict())
        on_epoch(report)

    fitted = task.fit(run.folder, noted)
    validation = _rounded(fitted.best.validation)
    metrics = {
        "validation": validation,
        **task.held_out,
        "best_epoch": fitted.best.epoch,
        "train_s": round(fitted.reports[-1].elapsed_s, 1),
        "recipe": asdict(recipe),
    }
    manifest = models.save(
        name,
        fitted.model(),
        config_to_json(fitted.config),
        metrics=metrics,
        title=task.title,
        trained_on=task.trained_on,
        data_fingerprint=task.fingerprint,
        code_version=code_version(),
        training_matches=task.marks,
        parent="" if live is None else f"{name}@{live.version}",
        recipe={"name": task.recipe_name, "config": asdict(recipe)},
        commit=code_commit() or code_version(),
    )
    run.registered(f"{manifest.name}@{manifest.version}")
    if alias is not None:
        promote(models, manifest.reference, alias=alias, force=bool(run.record.force), reason=run.record.force)
    kept = {**validation, "best_epoch": fitted.best.epoch, "train_s": metrics["train_s"]}
    run.done(kept, [report._asdict() for report in fitted.reports])
    return TrainResult(
        run=run.record.run,
        store=run.record.store,
        alias=alias,
        manifest=manifest,
        metrics=metrics,
        reports=fitted.reports,
        best=fitted.best,
        counts=task.counts,
    )


def _fit(folder: Path, recipe: WinTSSTN, matches: MatchSet, split: Split, on_epoch: OnEpoch) -> Fitted:
    """Train where the recipe says, with checkpoints in the run's folder or one of its name in that of the recipe."""
    from jobs.checkpoints import Checkpoints
    from jobs.fit_on_ray import fit_on_ray
    from jobs.fit_tsstn import fit

    subject = _subject(recipe, matches.fingerprint)
    if recipe.scaling.workers == 0:
        return fit(split.train, split.held_out, recipe, on_epoch=on_epoch, checkpoints=Checkpoints(folder, subject))
    if not recipe.scaling.storage:
        return fit_on_ray(split, recipe, folder=folder, subject=subject, on_epoch=on_epoch)
    shared = Path(recipe.scaling.storage) / folder.name
    shared.mkdir(parents=True, exist_ok=True)
    fitted = fit_on_ray(split, recipe, folder=shared, subject=subject, on_epoch=on_epoch)
    shutil.rmtree(shared, ignore_errors=True)
    return fitted


def _subject(recipe: WinTSSTN, fingerprint: str) -> str:
    """Digest of what decides the weights: neither where it runs nor where the data lies."""
    told = {name: value for name, value in asdict(recipe).items() if name not in ("data", "scaling")}
    return hashlib.sha256(json.dumps([told, fingerprint], sort_keys=True).encode()).hexdigest()


def user_store() -> str:
    """The root folder or URL of the user's own models, as the settings say.

    Raises:
        SettingsError: a setting is wrong.
    """
    from jobs.settings import load_settings

    return load_settings().settings.models.store


def _trained_on(source: str, matches: int, recipe: WinTSSTN) -> str:
    words = source if source.startswith("simulator") else f"{source}, {matches:,} matches"
    if recipe.since:
        words += f", since {recipe.since}"
    if recipe.until:
        words += f", until {recipe.until}"
    return words + (f", patch {recipe.patch}" if recipe.patch else "")


def _rounded(figures: dict[str, float]) -> dict[str, float | None]:
    """For JSON: None where only one outcome was held out and AUC means nothing."""
    return {name: None if math.isnan(value) else round(value, 5) for name, value in figures.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry for `python -m jobs.train`: the same command as `sightline train`."""
    from jobs.cli import main as cli

    return cli(["train", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    sys.exit(main())
