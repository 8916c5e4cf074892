"""Splits by time and by match, and answers put together again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from jobs.baselines import GoldSign
from jobs.datasets import MatchSet, frame_matches, load_matches
from jobs.errors import UsageProblem
from jobs.splits import fold_trials, joined, plan_split
from jobs.trials import Trial, run_trials
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture(scope="module")
def matches() -> MatchSet:
    found = load_matches("simulator:lol?matches=14&seed=3")
    return replace(found, year=torch.tensor([2014] * 4 + [2015] * 4 + [2016] * 6))


class Echo:
    """Answers with the position of each match in the whole set, as its `year` says."""

    name, words = "echo", "echo"

    def fit(self, train: MatchSet) -> Echo:
        return self

    def probs(self, matches: MatchSet) -> np.ndarray:
        return matches.year.numpy()[frame_matches(matches)].astype(float)


def test_the_past_teaches_and_the_years_asked_for_judge(matches: MatchSet) -> None:
    plan = plan_split(matches, since=2015, until=2015, folds=None)
    (fold,) = plan.folds
    assert fold.train == (0, 1, 2, 3) and fold.judged == plan.judged == (4, 5, 6, 7)
    assert plan.words == "4 matches until 2014"


def test_folds_share_no_match_and_judge_each_once(matches: MatchSet) -> None:
    plan = plan_split(matches, since=None, until=None, folds=4)
    assert sorted(match for fold in plan.folds for match in fold.judged) == list(range(14))
    for fold in plan.folds:
        assert not set(fold.train) & set(fold.judged) and len(fold.train) + len(fold.judged) == 14


def test_folds_that_are_asked_for_stay_within_the_judged_years(matches: MatchSet) -> None:
    plan = plan_split(matches, since=2016, until=None, folds=2)
    assert {match for fold in plan.folds for match in fold.train} == set(range(8, 14))


def test_no_past_means_folds(matches: MatchSet) -> None:
    assert len(plan_split(matches, since=2014, until=None, folds=None).folds) == 5


@pytest.mark.parametrize(("asked", "said"), [({"folds": 1}, "at least 2"), ({"since": 2020}, "its years: 2014, 2015")])
def test_what_cannot_be_split_says_why(matches: MatchSet, asked: dict[str, int], said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        plan_split(matches, **({"since": None, "until": None, "folds": None} | asked))


def test_answers_of_folds_come_back_in_the_order_of_frames(matches: MatchSet) -> None:
    numbered = replace(matches, year=torch.arange(14))
    plan = plan_split(numbered, since=None, until=None, folds=3)
    results = run_trials(fold_trials("data", [Echo()], plan), {"data": numbered}, workers=0)
    assert joined(numbered, plan, results, "data", "echo").tolist() == frame_matches(numbered).tolist()


def test_processes_change_no_figure(matches: MatchSet) -> None:
    plan = plan_split(matches, since=None, until=None, folds=2)
    trials, done = fold_trials("data", [GoldSign()], plan), list[tuple[int, int]]()
    here = run_trials(trials, {"data": matches}, workers=0)
    there = run_trials(trials, {"data": matches}, workers=1, on_done=lambda trial, n, of: done.append((n, of)))
    assert {key: value.tolist() for key, value in here.items()} == {k: v.tolist() for k, v in there.items()}
    assert done == [(1, 2), (2, 2)]


def _fails(sets: Mapping[str, MatchSet]) -> None:
    raise UsageProblem("no such luck")


def test_a_trial_that_fails_is_heard() -> None:
    with pytest.raises(UsageProblem, match="no such luck"):
        run_trials([Trial(("x",), "x", _fails)], {}, workers=0)


def _waits(sets: Mapping[str, MatchSet], file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = (
        "from jobs.trials import Trial, run_trials; from tests.jobs.test_splits import _waits;"
        f"run_trials([Trial(('x',), 'x', _waits, ({str(file)!r},))], {{}}, workers=1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])

    def has_begun() -> bool:
        assert parent.poll() is None
        return file.is_file() and bool(file.read_text())

    wait_until(has_begun, pause_s=0.05)
    worker = psutil.Process(int(file.read_text()))
    parent.kill()
    parent.wait()
    worker.wait(PATIENCE_S)
