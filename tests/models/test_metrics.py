"""Metrics, on values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics import accuracy, auc, brier, ece, log_loss

PROBS, WON = [0.8, 0.4, 0.5, 0.1], [1, 1, 0, 0]


def test_accuracy_counts_one_half_as_half_right() -> None:
    assert accuracy(PROBS, WON) == pytest.approx((1 + 0 + 0.5 + 1) / 4)


def test_log_loss() -> None:
    assert log_loss(PROBS, WON) == pytest.approx(-sum(map(math.log, (0.8, 0.4, 0.5, 0.9))) / 4)


def test_log_loss_of_a_sure_mistake_is_finite() -> None:
    assert log_loss([1.0], [0]) == pytest.approx(-math.log(1e-12), rel=1e-3)


def test_brier() -> None:
    assert brier(PROBS, WON) == pytest.approx((0.04 + 0.36 + 0.25 + 0.01) / 4)


def test_auc_counts_pairs() -> None:
    # yes: .8, .4; no: .5, .1. Pairs won: .8>.5, .8>.1, .4>.1 of 4
    assert auc(PROBS, WON) == pytest.approx(3 / 4)
    assert auc([0.5, 0.5], [1, 0]) == 0.5
    assert math.isnan(auc([0.5, 0.6], [1, 1]))


def test_ece_is_the_gap_per_slice_by_count() -> None:
    # two slices: {.2, .4} with outcomes {0, 1}, gap .2; {.9} with outcome 1, gap .1
    assert ece([0.2, 0.4, 0.9], [0, 1, 1], bins=2) == pytest.approx((2 * 0.2 + 1 * 0.1) / 3)
    assert ece([1.0], [1]) == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=50))
def test_auc_agrees_with_every_pair_compared(rows: list[tuple[float, bool]]) -> None:
    probs, won = np.array([p for p, _ in rows]), np.array([w for _, w in rows], dtype=float)
    yes, no = probs[won == 1], probs[won == 0]
    if len(yes) == 0 or len(no) == 0:
        return
    pairs = (yes[:, None] > no).mean() + 0.5 * (yes[:, None] == no).mean()
    assert auc(probs, won) == pytest.approx(pairs)


@pytest.mark.parametrize(
    ("probs", "won", "message"),
    [
        ([], [], "no predictions"),
        ([0.5], [1, 0], "one length"),
        ([1.5], [1], r"\[0, 1\]"),
        ([math.nan], [1], r"\[0, 1\]"),
    ],
)
def test_nonsense_is_refused(probs: list[float], won: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_loss(probs, won)
