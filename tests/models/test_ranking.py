"""Recall, MRR, NDCG, coverage and popularity bias: lists ranked by hand, ties, and what must always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics.ranking import (
    NOTHING,
    coverage,
    ndcg,
    places,
    popularity_bias,
    ranked,
    recall,
    reciprocal_rank,
)


def test_three_lists_ranked_by_hand() -> None:
    place = places([[4, 2, 9], [1, 3, 5], [7, 8, NOTHING]], [4, 5, 6])
    assert place.tolist() == [1, 3, math.inf]
    assert recall(place, 3).tolist() == [1, 1, 0] and recall(place, 2).tolist() == [1, 0, 0]
    assert reciprocal_rank(place, 3).tolist() == [1, 1 / 3, 0] and reciprocal_rank(place, 2).tolist() == [1, 0, 0]
    assert ndcg(place, 3).tolist() == [1, 0.5, 0]  # 1/log₂ 2, 1/log₂ 4
    assert ndcg(place, 2).tolist() == [1, 0, 0]


def test_of_equal_scores_the_lower_number_comes_first() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]])
    assert ranked(scores, 3).tolist() == [[1, 0, 2], [0, 1, 2]]
    assert ranked(scores, 9).tolist() == [[1, 0, 2, 3], [0, 1, 2, 3]]


def test_what_is_minus_infinity_is_no_candidate() -> None:
    scores = np.array([[-np.inf, 1.0, -np.inf]])
    assert ranked(scores, 2).tolist() == [[1, NOTHING]]
    assert places(ranked(scores, 2), [0]).tolist() == [math.inf]


def test_coverage_and_popularity_bias_by_hand() -> None:
    lists = [[0, 1], [0, NOTHING]]
    assert coverage(lists, 4, 2) == 0.5 and coverage(lists, 4, 1) == 0.25
    # Clicks 10, 5: shown are 0, 1, 0.
    assert popularity_bias(lists, [10, 5, 1, 0], 2) == pytest.approx((1 + 0.5 + 1) / 3)
    assert math.isnan(popularity_bias([[NOTHING]], [10], 1))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ranked(np.array([[np.nan]]), 1)
    with pytest.raises(ValueError, match="k=0"):
        ranked(np.array([[1.0]]), 0)
    with pytest.raises(ValueError, match="must be"):
        places([[1, 2]], [1, 2])
    with pytest.raises(ValueError, match="empty place"):
        places([[1, NOTHING]], [NOTHING])


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
def test_ranked_is_a_stable_sort_and_figures_follow_its_places(seed: int, k: int) -> None:
    chance = np.random.default_rng(seed)
    scores = chance.integers(0, 4, (6, 9)).astype(float)  # many ties
    lists = ranked(scores, k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(lists, expected)
    target = chance.integers(0, 9, 6)
    place = places(lists, target)
    above = (scores > np.take_along_axis(scores, target[:, None], 1)).sum(axis=1)
    before = [int((scores[row, : target[row]] == scores[row, target[row]]).sum()) for row in range(6)]
    whole = above + before + 1
    np.testing.assert_array_equal(place, np.where(whole <= k, whole, np.inf))
    assert (recall(place, k) >= ndcg(place, k)).all() and (ndcg(place, k) >= reciprocal_rank(place, k)).all()
