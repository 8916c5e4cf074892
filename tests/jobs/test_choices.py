"""What each choice of the design is worth: one change at a time, on validation matches, by pairs."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from jobs.choices import DEFAULT, Run, choice_trials, choices_report, design_choices, validation_runs
from jobs.datasets import MatchSet, load_matches
from jobs.recipes.win_tsstn import ModelSizes, Optim, Scaling, WinTSSTN
from jobs.splits import Fold, Plan

RECIPE = WinTSSTN(data="", sizes=ModelSizes(hidden=4, state=4), optim=Optim(epochs=1), scaling=Scaling(workers=0))


@pytest.fixture(scope="module")
def matches() -> MatchSet:
    return load_matches("simulator:lol?matches=12&seed=4")


def test_choices_differ_from_the_recipe_and_from_each_other() -> None:
    names = [choice.name for choice in design_choices(RECIPE, heroes=True)]
    assert len(set(names)) == len(names) and names[0] == DEFAULT
    assert {"temporal_table", "temporal_attention", "two_stage", "early_stop", "no_home", "line_ups"} <= set(names)
    assert "line_ups" not in [choice.name for choice in design_choices(RECIPE, heroes=False)]


def test_choices_change_one_thing_each() -> None:
    changed = {}
    for choice in design_choices(RECIPE, heroes=True):
        ours, theirs = asdict(RECIPE), asdict(replace(choice.recipe, validation=RECIPE.validation))
        changed[choice.name] = [key for key in ours if ours[key] != theirs[key]]
    assert changed.pop(DEFAULT) == []
    assert all(len(keys) == 1 for keys in changed.values()), changed


def test_what_stops_or_calibrates_by_matches_held_out_holds_out_enough() -> None:
    held_out = {choice.name: choice.recipe.validation for choice in design_choices(RECIPE, heroes=False)}
    assert held_out["early_stop"] == held_out["calibrated"] == 0.15 > held_out[DEFAULT]


def test_by_time_the_later_part_of_the_past_judges_three_seeds() -> None:
    plan = Plan((Fold(tuple(range(10)), (10, 11)),), (10, 11), "")
    later = Fold((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
    assert validation_runs(plan) == (Run(later, 0), Run(later, 1), Run(later, 2))


def test_in_folds_three_parts_of_the_first_folds_training_judge_once_each() -> None:
    plan = Plan((Fold((0, 1, 2, 3, 4, 5, 6), (7, 8)), Fold((7, 8), (0, 1))), tuple(range(9)), "")
    runs = validation_runs(plan)
    assert sorted(position for run in runs for position in run.fold.judged) == [0, 1, 2, 3, 4, 5, 6]
    assert all(not set(run.fold.train) & set(run.fold.judged) for run in runs)
    assert [run.seed for run in runs] == [0, 1, 2]


def test_every_run_trains_with_its_own_seed() -> None:
    runs = validation_runs(Plan((Fold(tuple(range(10)), (10,)),), (10,), ""))
    trials = choice_trials("lol", design_choices(RECIPE, heroes=False)[:2], runs)
    assert [trial.arguments[1].recipe.seed for trial in trials] == [0, 1, 2, 0, 1, 2]
    assert len({trial.key for trial in trials}) == 6


def test_differences_are_of_pairs_and_a_coin_is_worse(matches: MatchSet) -> None:
    fold = Fold(tuple(range(6)), tuple(range(6, 12)))
    runs = (Run(fold, 0), Run(fold, 1))
    choices = design_choices(RECIPE, heroes=False)[:2]
    won = np.concatenate([np.full(int(matches.mask[p].sum()), float(matches.won[p])) for p in fold.judged])
    knows, coin = np.where(won > 0, 0.8, 0.2), np.full(len(won), 0.5)
    results = {("choice", "lol", DEFAULT, str(run)): knows for run in range(2)}
    results |= {("choice", "lol", choices[1].name, str(run)): coin for run in range(2)}
    report = choices_report(matches, "lol", choices, runs, results)
    rows = {row["name"]: row for row in report["rows"]}
    assert (report["matches"], report["learned_from"], report["same_matches"]) == (6, [6], True)
    assert rows[DEFAULT]["log_loss"] == pytest.approx(-np.log(0.8), abs=1e-5) and rows[DEFAULT]["difference"] is None
    assert rows[choices[1].name]["log_loss_by_run"] == pytest.approx([np.log(2)] * 2, abs=1e-5)
    expected = np.log(2) + np.log(0.8)  # the same in every match, so the interval has no width
    assert rows[choices[1].name]["difference"] == pytest.approx([expected] * 3, abs=1e-5)
    assert rows["ensemble"]["log_loss"] == rows[DEFAULT]["log_loss"]
