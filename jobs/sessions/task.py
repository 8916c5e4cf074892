"""What a recipe of sessions brings to `jobs.train`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from jobs.checkpoints import Checkpoints
from jobs.recipes.sessions import SessionRecipe
from jobs.sessions.clicks import ClickSet, SessionRules, load_clicks
from jobs.sessions.fit import FittedSession, fit
from jobs.sessions.judge import WITH, WITHOUT, judged
from jobs.sessions.split import DaySplit, queries, split_last_day, whole
from jobs.task import OnEpoch, Task
from models.session_model import SessionModel

TITLE = "session"
"""Of the manifest of every model of sessions."""

_FEW_SESSIONS = 1000
_WHERE_IT_RUNS = ("data", "threads")


def session_task(recipe: SessionRecipe) -> Task:
    """The clicks of the recipe, read, with the last day held out to watch, or nothing.

    Raises:
        UsageProblem: the clicks cannot be used.
    """
    clicks = recipe_clicks(recipe)
    split = split_last_day(clicks, days=recipe.validation) if recipe.validation else whole(clicks)
    watch = watching(split) if recipe.validation else (lambda model: {})

    def fitted(folder: Path, on_epoch: OnEpoch) -> FittedSession:
        checkpoints = Checkpoints(folder, subject(recipe, clicks))
        return fit(split, recipe, watch=watch, on_epoch=on_epoch, checkpoints=checkpoints)

    train, held = split.train, split.held_out.sessions
    few = f"{train.sessions} sessions say little about others: {_FEW_SESSIONS} are a start, 100,000 are better"
    told = f", {'; '.join(clicks.left_out)} left out" if clicks.left_out else ""
    return Task(
        recipe_name=f"session-{recipe.encoder.kind}",
        model_name=f"session-{recipe.encoder.kind}",
        title=TITLE,
        source=clicks.source,
        fingerprint=clicks.fingerprint,
        counts={"sessions": train.sessions, "clicks": len(train), "items": split.seen, "held_out": held},
        words=f"{train.sessions:,} sessions, {len(train):,} clicks on {split.seen:,} items{told}",
        trained_on=f"{clicks.source}, {train.sessions:,} sessions, {len(train):,} clicks",
        fit=fitted,
        held_out={"validation_sessions": held},
        marks=train.marks,
        doubt=few if train.sessions < _FEW_SESSIONS else "",
    )


def recipe_clicks(recipe: SessionRecipe) -> ClickSet:
    """The sessions of the recipe's file that its rules admit.

    Raises:
        UsageProblem: as `load_clicks`.
    """
    return load_clicks(recipe.data, SessionRules(recipe.min_clicks, recipe.max_clicks, recipe.gap_s))


def watching(split: DaySplit) -> Callable[[SessionModel], dict[str, float]]:
    """Recall@20 and MRR@20 on the day held out, every click judged."""
    asked = queries(split)

    def figures(model: SessionModel) -> dict[str, float]:
        found = judged(asked, model.probabilities)
        told = {WITH: "", WITHOUT: "_without_repeats"}
        return {
            f"{measure}{told[repeats]}": float(each.values()[measure].mean())
            for repeats, each in found.items()
            for measure in ("recall", "mrr")
        }

    return figures


def subject(recipe: SessionRecipe, clicks: ClickSet) -> str:
    """Digest of what decides the weights: neither where it runs nor where the data lies."""
    told = {name: value for name, value in asdict(recipe).items() if name not in _WHERE_IT_RUNS}
    return hashlib.sha256(json.dumps([told, clicks.fingerprint], sort_keys=True).encode()).hexdigest()
