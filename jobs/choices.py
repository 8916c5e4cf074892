"""What each choice in TSSTN's design is worth: trained anew with one made otherwise, judged on validation matches.

Where results are judged on later years, choices are judged on the second half of the years before, which no result is
judged on, by three seeds each. Where results are judged in folds, choices are judged in three folds of what the first
of those learns from, each with a seed of its own. Differences come with a 95 % interval over matches, in pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from jobs.afterwards import averaged, smoothed
from jobs.baselines import TrainedTSSTN
from jobs.datasets import MatchSet, frame_matches, frame_outcomes
from jobs.intervals import Frames, judge
from jobs.splits import Fold, Plan, fit_and_answer
from jobs.trials import Trial
from models.metrics import log_loss

if TYPE_CHECKING:
    from jobs.recipes.win_tsstn import WinTSSTN

Floats = npt.NDArray[np.float64]
Results = Mapping[tuple[str, ...], Any]

SMOOTHING_S = 60.0
DEFAULT = "default"
_SEEDS = 3
_HELD_OUT = 0.15  # share of the matches that a choice needs which looks at some while it trains
_MEASURES = ("log_loss", "accuracy", "ece")


@dataclass(frozen=True)
class Run:
    """One training: on what, judged on what, with which seed."""

    fold: Fold
    seed: int


def validation_runs(plan: Plan) -> tuple[Run, ...]:
    """Three trainings and judgements within what the plan's first fold learns from."""
    past = plan.folds[0].train
    if len(plan.folds) == 1:
        cut = len(past) // 2
        return tuple(Run(Fold(past[:cut], past[cut:]), seed) for seed in range(_SEEDS))
    return tuple(
        Run(Fold(tuple(p for i, p in enumerate(past) if i % _SEEDS != seed), past[seed::_SEEDS]), seed)
        for seed in range(_SEEDS)
    )


def design_choices(recipe: WinTSSTN, *, heroes: bool) -> list[TrainedTSSTN]:
    """TSSTN by the recipe, and with one choice of its design made otherwise."""
    sizes, optim = recipe.sizes, recipe.optim
    words = {"table": "T0, table over the clock", "gru": "T1, GRU", "attention": "T2, causal attention"}
    made: list[tuple[str, str, WinTSSTN]] = [(DEFAULT, "as it is", recipe)]
    made += [
        (f"temporal_{kind}", f"temporal: {words[kind]}", replace(recipe, sizes=replace(sizes, temporal=kind)))
        for kind in words
        if kind != sizes.temporal
    ]
    looking = replace(recipe, validation=max(recipe.validation, _HELD_OUT))
    made += [
        (
            "two_stage" if not recipe.two_stage else "joint",
            "two stages, one after the other" if not recipe.two_stage else "both stages at once",
            replace(recipe, two_stage=not recipe.two_stage),
        ),
        (
            "calibrated" if not recipe.calibrate else "not_calibrated",
            f"temperature by clock, fitted to {_HELD_OUT:.0%}" if not recipe.calibrate else "without temperature",
            replace(looking, calibrate=not recipe.calibrate),
        ),
        (
            "last_epoch" if optim.early_stop else "early_stop",
            "the last epoch" if optim.early_stop else f"the best epoch on {_HELD_OUT:.0%} held out",
            replace(looking, optim=replace(optim, early_stop=not optim.early_stop)),
        ),
        (
            "no_home" if sizes.home else "home",
            "without home advantage" if sizes.home else "with home advantage",
            replace(recipe, sizes=replace(sizes, home=not sizes.home)),
        ),
    ]
    if heroes:
        dim = 0 if sizes.hero_dim else 2
        said = f"with line-ups, {dim} numbers a hero" if dim else "without line-ups"
        made.append(("line_ups", said, replace(looking, sizes=replace(sizes, hero_dim=dim))))
    return [TrainedTSSTN(name, said, changed) for name, said, changed in made]


def choice_trials(name: str, choices: Sequence[TrainedTSSTN], runs: Sequence[Run]) -> list[Trial]:
    """One trial per choice and run on the set `name`; keys ("choice", name, choice, run)."""
    return [
        Trial(
            ("choice", name, choice.name, str(number)),
            f"choice: {choice.words}, run {number + 1} of {len(runs)}",
            fit_and_answer,
            (name, TrainedTSSTN(choice.name, choice.words, replace(choice.recipe, seed=run.seed)), run.fold),
        )
        for choice in choices
        for number, run in enumerate(runs)
    ]


def choices_report(
    matches: MatchSet, name: str, choices: Sequence[TrainedTSSTN], runs: Sequence[Run], results: Results
) -> dict[str, Any]:
    """Figures of every choice over all runs, and what can be made of the default's answers afterwards."""
    parts = [matches.take(torch.tensor(run.fold.judged)) for run in runs]
    answers = {
        choice.name: [results["choice", name, choice.name, str(number)] for number in range(len(runs))]
        for choice in choices
    }
    words = {choice.name: choice.words for choice in choices}
    default = answers[DEFAULT]
    answers["smoothed"] = [
        smoothed(part, probs, half_life_s=SMOOTHING_S) for part, probs in zip(parts, default, strict=True)
    ]
    words["smoothed"] = f"log-odds smoothed, half-life {SMOOTHING_S:.0f} s"
    same_matches = len({run.fold for run in runs}) == 1
    if same_matches:
        answers["ensemble"] = [averaged(default)] * len(runs)
        words["ensemble"] = f"mean log-odds of {len(runs)} seeds"
    positions, match = np.unique(
        np.concatenate([np.array(run.fold.judged)[frame_matches(part)] for run, part in zip(runs, parts, strict=True)]),
        return_inverse=True,
    )
    won = [frame_outcomes(part) for part in parts]
    frames = Frames(np.concatenate(won), match, len(positions))
    judged = judge(frames, {key: np.concatenate(of) for key, of in answers.items()}, measures=_MEASURES)
    return {
        "learned_from": sorted({len(run.fold.train) for run in runs}),
        "matches": len(positions),
        "runs": len(runs),
        "same_matches": same_matches,
        "rows": [
            {
                "name": key,
                "words": words[key],
                **{measure: round(judged[key].values[measure], 5) for measure in _MEASURES},
                "log_loss_by_run": [round(log_loss(*pair), 5) for pair in zip(answers[key], won, strict=True)],
                "difference": None
                if key == DEFAULT
                else [round(value, 5) for value in judged[DEFAULT].difference(judged[key], "log_loss") or ()],
            }
            for key in answers
        ],
    }
