"""Matches that a model has learned from are recognised, and only these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.datasets import MatchSet, load_matches
from jobs.errors import UsageProblem
from jobs.evaluate import evaluate_win
from jobs.overlap import overlap, refuse_overlap
from jobs.recipes.win_tsstn import Optim, Scaling, WinTSSTN
from jobs.train import train
from models.store import TRAINING_MATCHES, BrokenModelError, ModelStore

SOURCE = "simulator:lol?matches=12&seed=3"


@pytest.fixture(scope="module")
def matches() -> MatchSet:
    return load_matches(SOURCE)


def test_a_set_overlaps_itself_and_no_other(matches: MatchSet) -> None:
    assert overlap(matches, matches.marks) == list(matches.match_ids)
    assert overlap(load_matches("simulator:lol?matches=12&seed=4"), matches.marks) == []
    assert len(np.unique(matches.marks)) == 24


def test_a_part_of_a_set_is_found_whatever_else_its_file_holds(matches: MatchSet) -> None:
    part = matches.take(torch.tensor([3, 5]))
    assert overlap(part, matches.marks) == [matches.match_ids[3], matches.match_ids[5]]


def test_new_ids_hide_nothing(matches: MatchSet) -> None:
    renamed = replace(matches, match_ids=tuple(f"new-{i}" for i in range(12)), teams=(("", ""),) * 12)
    assert len(overlap(renamed, matches.marks)) == 12


def test_corrected_values_hide_nothing(matches: MatchSet) -> None:
    corrected = replace(matches, features=matches.features + 1.0)
    assert len(overlap(corrected, matches.marks)) == 12


def test_form_is_no_part_of_a_mark(matches: MatchSet) -> None:
    """It depends on which earlier matches a file holds."""
    features = matches.features.clone()
    features[..., matches.spec.features.index("form")] += 0.5
    assert np.array_equal(replace(matches, features=features).marks, matches.marks)


def test_the_same_number_in_another_table_is_another_match(matches: MatchSet) -> None:
    """Tables number their matches from 0: an id alone says nothing."""
    other = load_matches("simulator:lol?matches=12&seed=4")
    numbered = replace(matches, match_ids=tuple(f"gold-{i}" for i in range(12)))
    theirs = replace(other, match_ids=numbered.match_ids, teams=(("X", "Y"),) * 12)
    assert overlap(theirs, numbered.marks) == []


def test_matches_that_say_nothing_are_told_apart_by_name(matches: MatchSet) -> None:
    silent = replace(matches, features=torch.zeros_like(matches.features))
    assert len(np.unique(silent.marks[:, 1])) == 12


def test_the_refusal_counts_and_names(matches: MatchSet) -> None:
    with pytest.raises(UsageProblem, match=r"mine@1 has learned from 2 of these 12 matches \(lol-sim-3-000000, .*\)"):
        refuse_overlap(matches, matches.marks[:2], "mine@1")


def test_a_trained_model_refuses_its_own_matches(tmp_path: Path) -> None:
    recipe = WinTSSTN(data=SOURCE, optim=Optim(epochs=1), scaling=Scaling(workers=0))
    train(recipe, store=tmp_path, runs=tmp_path / "runs", name="mine")
    with pytest.raises(UsageProblem, match="mine@1 has learned from 12 of these 12 matches"):
        evaluate_win("mine@candidate", SOURCE, store=tmp_path, baselines=[])
    report = evaluate_win("mine@candidate", "simulator:lol?matches=6&seed=9", store=tmp_path, baselines=[])
    assert report["data"]["matches"] == 6 and report["model"]["training_matches_known"]
    kept = ModelStore(tmp_path).load("mine@1").training_matches
    assert len(kept) == 24 and (np.diff(kept.astype(object)) > 0).all()
    file = tmp_path / "mine" / "1" / TRAINING_MATCHES
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(BrokenModelError, match="is not the file that was saved"):
        ModelStore(tmp_path).load("mine@1")
