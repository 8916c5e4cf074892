"""Who learns from what and is judged on what: by time or by match, never by frame or by camp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from jobs.errors import UsageProblem
from jobs.trials import Trial

if TYPE_CHECKING:
    from jobs.baselines import Predictor
    from jobs.datasets import MatchSet

Floats = npt.NDArray[np.float64]
Positions = tuple[int, ...]
FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """Positions of matches in one set; the two never meet."""

    train: Positions
    judged: Positions


@dataclass(frozen=True)
class Plan:
    """How a set is split. Every judged match is in exactly one fold; no fold at all: nothing to learn from."""

    folds: tuple[Fold, ...]
    judged: Positions  # rising
    words: str  # what is learned from


def plan_split(matches: MatchSet, *, since: int | None, until: int | None, folds: int | None) -> Plan:
    """By time where `since` leaves earlier matches to learn from, else, or where `folds` is given, in folds by match.

    Raises:
        UsageProblem: no match in these years, or fewer than two folds.
    """
    if folds is not None and folds < 2:
        raise UsageProblem(f"--folds {folds}: at least 2 are needed, to learn from one and judge on the other")
    matches.of_years(since=since, until=until)  # says which years there are, if none fits
    in_years = torch.ones(len(matches), dtype=torch.bool)
    if since is not None:
        in_years &= matches.year >= since
    if until is not None:
        in_years &= matches.year <= until
    judged = _positions(in_years)
    if folds is None and since is not None and (earlier := _positions(matches.year < since)):
        return Plan((Fold(earlier, judged),), judged, f"{len(earlier):,} matches until {since - 1}")
    count = folds or FOLDS
    if len(judged) < count:
        return Plan((), judged, f"nothing: {len(judged)} match(es) are too few for {count} folds")
    number = torch.randperm(len(judged), generator=torch.Generator().manual_seed(0)) % count
    parts = tuple(
        Fold(
            tuple(p for p, n in zip(judged, number.tolist(), strict=True) if n != fold),
            tuple(p for p, n in zip(judged, number.tolist(), strict=True) if n == fold),
        )
        for fold in range(count)
    )
    return Plan(parts, judged, f"the other folds of {count}, by match")


def fold_trials(name: str, predictors: Sequence[Predictor], plan: Plan) -> list[Trial]:
    """One trial per predictor and fold of the set `name`; keys (name, predictor, fold)."""
    return [
        Trial(
            (name, predictor.name, str(number)),
            f"{predictor.words}" + (f", fold {number + 1} of {len(plan.folds)}" if len(plan.folds) > 1 else ""),
            fit_and_answer,
            (name, predictor, fold),
        )
        for predictor in predictors
        for number, fold in enumerate(plan.folds)
    ]


def fit_and_answer(sets: Mapping[str, MatchSet], name: str, predictor: Predictor, fold: Fold) -> Floats:
    """The predictor's answers for the fold's judged matches, after it learned from the fold's others."""
    matches = sets[name]
    return predictor.fit(matches.take(torch.tensor(fold.train))).probs(matches.take(torch.tensor(fold.judged)))


def joined(
    matches: MatchSet, plan: Plan, results: Mapping[tuple[str, ...], Floats], name: str, predictor: str
) -> Floats:
    """Answers of all folds, in the order of the frames of `matches.take(plan.judged)`."""
    frames = matches.mask.sum(dim=1).numpy()
    starts = np.zeros(len(matches), np.int64)
    judged = np.array(plan.judged)
    starts[judged] = np.concatenate([[0], np.cumsum(frames[judged])[:-1]])
    probs = np.empty(int(frames[judged].sum()))
    for number, fold in enumerate(plan.folds):
        answers, place = results[name, predictor, str(number)], 0
        for match in fold.judged:
            probs[starts[match] : starts[match] + frames[match]] = answers[place : place + frames[match]]
            place += frames[match]
    return probs


def _positions(chosen: torch.Tensor) -> Positions:
    return tuple(torch.nonzero(chosen).squeeze(1).tolist())
