"""Neighbours by cosine, and k-reciprocal re-ranking against the paper's definitions written out in sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.embedding import cosine_distances, nearest
from models.k_reciprocal import re_ranked, re_ranked_among


def units(seed: int, count: int, dim: int = 4) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
@settings(max_examples=40)
def test_the_nearest_are_those_of_a_full_sort(seed: int, k: int) -> None:
    query, gallery = units(seed, 3), units(seed + 1, 9)
    gallery[4] = gallery[2]  # equals: the earlier first
    found, cosines = nearest(query, gallery, k)
    order = np.argsort(-(query @ gallery.T), axis=1, kind="stable")[:, :k]
    assert np.array_equal(found, order)
    np.testing.assert_allclose(cosines, np.take_along_axis(1 - cosine_distances(query, gallery), order, 1), atol=1e-6)


def test_an_empty_gallery_has_no_neighbours_and_k_must_be_one_at_least() -> None:
    found, cosines = nearest(units(0, 2), units(0, 0), 3)
    assert found.shape == cosines.shape == (2, 0)
    with pytest.raises(ValueError, match="k=0"):
        nearest(units(0, 2), units(0, 2), 0)


@given(seed=st.integers(0, 10_000), k1=st.integers(1, 8), k2=st.integers(1, 4))
@settings(max_examples=25)
def test_re_ranking_is_that_of_the_paper(seed: int, k1: int, k2: int) -> None:
    features = units(seed, 14)
    wanted = by_sets(features, k1=k1, k2=k2, weight=0.3)
    np.testing.assert_allclose(re_ranked_among(features, k1=k1, k2=k2, weight=0.3), wanted, atol=1e-5)
    np.testing.assert_allclose(re_ranked(features[:5], features[5:], k1=k1, k2=k2), wanted[:5, 5:], atol=1e-5)


def test_all_weight_on_the_first_distance_changes_no_order() -> None:
    features = units(3, 12)
    again = re_ranked_among(features, k1=4, k2=2, weight=1.0)
    assert np.array_equal(np.argsort(again, axis=1), np.argsort(cosine_distances(features, features), axis=1))


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"weight": 1.5}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        re_ranked_among(units(0, 4), **wrong)


def by_sets(features: np.ndarray, *, k1: int, k2: int, weight: float) -> np.ndarray:
    """Equations 1 to 12, one pair after the other."""
    count = len(features)
    distance = np.array([[np.square(a - b).sum() for b in features.astype(np.float64)] for a in features])
    distance = (distance / distance.max(axis=0)).T
    order = np.argsort(distance, axis=1, kind="stable")

    def circle(p: int, k: int) -> set[int]:
        return {int(q) for q in order[p, : k + 1] if p in order[q, : k + 1]}

    encoding = np.zeros((count, count))
    for p in range(count):
        wide = circle(p, k1)
        whole = set(wide)
        for q in wide:
            small = circle(q, round(k1 / 2))
            if len(small & wide) > 2 / 3 * len(small):
                whole |= small
        for q in whole:
            encoding[p, q] = np.exp(-distance[p, q])
        encoding[p] /= encoding[p].sum()
    encoding = np.array([encoding[order[p, :k2]].mean(axis=0) for p in range(count)])
    jaccard = [[1 - np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in encoding] for a in encoding]
    return (1 - weight) * np.array(jaccard) + weight * distance
