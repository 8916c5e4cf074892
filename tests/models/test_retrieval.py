"""CMC and mAP: lists ranked by hand, Market-1501's own procedure step by step, and what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.retrieval import AP_TRAPEZOID, JUNK, rank, rank_single_shot


def test_a_list_ranked_by_hand() -> None:
    # In this order: the same person in the same camera (left out), a stranger, right, junk, a stranger, right.
    ids, cameras = [7, 3, 7, JUNK, 4, 7], [1, 2, 2, 2, 1, 3]
    found = rank([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5]], [7], ids, [1], cameras)
    assert found.first.tolist() == [2]
    assert found.average_precision.tolist() == [(1 / 2 + 2 / 4) / 2]
    assert [found.cmc(k) for k in (1, 2, 5)] == [0, 1, 1]
    # Lines between (recall 0, precision 1 … 0 ahead of the first right one) and so on.
    area = rank([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5]], [7], ids, [1], cameras, average_precision=AP_TRAPEZOID)
    assert area.average_precision.tolist() == [((0 / 1 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2]


def test_across_cameras_strangers_of_the_query_camera_are_left_out_too() -> None:
    ids, cameras = [3, 4, 7], [1, 2, 2]
    distance = [[0.1, 0.2, 0.3]]
    assert rank(distance, [7], ids, [1], cameras).first.tolist() == [3]
    assert rank(distance, [7], ids, [1], cameras, other_cameras_only=True).first.tolist() == [2]


def test_of_equal_distances_the_earlier_ranks_first() -> None:
    assert rank([[0.5, 0.5]], [7], [3, 7], [1], [2, 2]).first.tolist() == [2]
    assert rank([[0.5, 0.5]], [7], [7, 3], [1], [2, 2]).first.tolist() == [1]


def test_a_query_without_a_right_image_is_in_no_mean() -> None:
    found = rank([[0.1, 0.2], [0.1, 0.2]], [7, 9], [7, 9], [1, 1], [2, 1])
    assert found.judged == 1 and found.mean_average_precision == 1 and found.cmc(1) == 1
    nobody = rank([[0.1]], [7], [8], [1], [2])
    assert nobody.judged == 0 and np.isnan(nobody.mean_average_precision) and np.isnan(nobody.cmc(1))
    assert rank(np.empty((2, 0)), [7, 8], [], [1, 1], []).judged == 0


@given(seed=st.integers(0, 10_000), trapezoid=st.booleans(), across=st.booleans())
@settings(max_examples=60)
def test_figures_are_those_of_the_published_procedure(seed: int, trapezoid: bool, across: bool) -> None:
    distance, q, g, qc, gc = random_case(seed)
    kind = AP_TRAPEZOID if trapezoid else "step"
    found = rank(distance, q, g, qc, gc, other_cameras_only=across, average_precision=kind)
    for row in range(len(q)):
        ap, first = by_procedure(distance[row], q[row], g, qc[row], gc, trapezoid=trapezoid, across=across)
        np.testing.assert_allclose(found.average_precision[row], ap)
        np.testing.assert_equal(found.first[row], first)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_figures_do_not_depend_on_the_order_of_the_gallery_or_the_scale(seed: int) -> None:
    distance, q, g, qc, gc = random_case(seed, ties=False)
    mixed = np.random.default_rng(seed).permutation(len(g))
    found, again = rank(distance, q, g, qc, gc), rank(3 * distance[:, mixed] + 1, q, g[mixed], qc, gc[mixed])
    np.testing.assert_array_equal(found.first, again.first)
    np.testing.assert_array_equal(found.average_precision, again.average_precision)
    cmc = [found.cmc(k) for k in range(1, len(g) + 1)]
    if found.judged:
        assert cmc == sorted(cmc) and cmc[-1] == 1
        assert 0 < found.mean_average_precision <= 1


def test_a_perfect_ranking_is_perfect_and_the_reverse_is_the_worst() -> None:
    ids, cameras = [1, 1, 2, 2], [2, 2, 2, 2]
    best, worst = rank([[0, 0, 1, 1]], [1], ids, [1], cameras), rank([[1, 1, 0, 0]], [1], ids, [1], cameras)
    assert best.mean_average_precision == best.cmc(1) == 1
    assert worst.mean_average_precision == (1 / 3 + 2 / 4) / 2 and worst.cmc(2) == 0 and worst.cmc(3) == 1


def test_single_shot_leaves_one_image_of_each_person() -> None:
    # Whatever is drawn, there are one stranger, who is nearer, and one right image.
    ids, cameras = [3, 3, 3, 7, 7, 7], [2, 2, 2, 2, 3, 1]
    drawn = rank_single_shot([[0, 1, 2, 3, 4, 5]], [7], ids, [1], cameras, repeats=7, seed=1)
    assert len(drawn) == 7
    assert all(found.first.tolist() == [2] and found.average_precision.tolist() == [0.5] for found in drawn)


def test_single_shot_draws_every_image_as_often_as_another() -> None:
    ids, cameras = [3, 7, 7], [2, 2, 3]  # a right image before the stranger, and one behind
    drawn = rank_single_shot([[1, 0, 2]], [7], ids, [1], cameras, repeats=400, seed=3)
    assert 160 < sum(found.first[0] == 1 for found in drawn) < 240
    again = rank_single_shot([[1, 0, 2]], [7], ids, [1], cameras, repeats=400, seed=3)
    assert [found.first[0] for found in drawn] == [found.first[0] for found in again]


@pytest.mark.parametrize(
    ("distance", "labels", "message"),
    [
        ([[0.1]], ([7], [7, 8], [1], [2, 2]), "must be"),
        ([[0.1, 0.2]], ([7], [7, 8], [1], [2]), "must be"),
        ([[0.1, np.nan]], ([7], [7, 8], [1], [2, 2]), "NaN"),
        ([[0.1]], ([JUNK], [7], [1], [2]), "cannot be asked for"),
    ],
)
def test_what_does_not_fit_is_refused(distance: list[list[float]], labels: tuple[list[int], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank(distance, *labels)


def random_case(seed: int, *, ties: bool = True) -> tuple[np.ndarray, ...]:
    chance = np.random.default_rng(seed)
    queries, images = int(chance.integers(1, 5)), int(chance.integers(1, 15))
    q, g = chance.integers(0, 4, queries), chance.integers(-1, 4, images)
    qc, gc = chance.integers(0, 3, queries), chance.integers(0, 3, images)
    distance = chance.integers(0, 6, (queries, images)) / 4 if ties else chance.random((queries, images))
    return distance, q, g, qc, gc


def by_procedure(
    distance: np.ndarray, q: int, g: np.ndarray, qc: int, gc: np.ndarray, *, trapezoid: bool, across: bool
) -> tuple[float, float]:
    """One ranked list walked from its beginning, as Market-1501's evaluation does."""
    away = (g == JUNK) | ((gc == qc) & (across | (g == q)))
    good = (g == q) & ~away
    if not good.any():
        return float("nan"), float("nan")
    ap, seen, place, first, precision_before = 0.0, 0, 0, float("nan"), 1.0
    for image in np.argsort(distance, kind="stable"):
        if away[image]:
            continue
        place += 1
        seen += bool(good[image])
        precision = seen / place
        if good[image]:
            first = place if seen == 1 else first
            ap += (precision + precision_before) / 2 if trapezoid else precision
        precision_before = precision
    return ap / good.sum(), first
