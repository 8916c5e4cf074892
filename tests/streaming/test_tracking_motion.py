"""The filter and the association, on values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.tracking.association import assign, overlaps
from streaming.tracking.motion import Motion, centres


def test_overlap_of_boxes_by_hand() -> None:
    a = np.array([[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 5.0, 9.0]])
    b = np.array([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 4.0, 2.0]])
    # one of 4 + 4 - 1; itself; they touch. A box without width has nothing in common with any.
    np.testing.assert_allclose(overlaps(a, b), [[1 / 7, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert overlaps(a, b[:0]).shape == (2, 0)


def test_a_margin_lets_boxes_meet_that_do_not_touch() -> None:
    a, b = np.array([[0.0, 0.0, 10.0, 10.0]] * 2), np.array([[12.0, 0.0, 22.0, 10.0]])
    # By a fifth each way: -2 to 12 against 10 to 24, 2 of 14 + 14 - 2 wide and of the same height.
    np.testing.assert_allclose(overlaps(a, b, np.array([0.0, 0.2])), [[0.0], [2 / 26]])


def test_assignment_takes_the_greatest_sum_not_the_greatest_pair() -> None:
    found = assign(np.array([[0.9, 0.8], [0.8, 0.1]]), least=0.05)
    assert found.rows.tolist() == [0, 1]
    assert found.columns.tolist() == [1, 0]  # 1.6 against 1.0


def test_a_pair_below_the_least_keeps_nobody_from_a_partner() -> None:
    # With the worthless pair counted, (0, 1) + (1, 0) = 1.0 would beat (0, 0) = 0.6, and leave one pair of 0.55.
    found = assign(np.array([[0.6, 0.55], [0.45, 0.0]]), least=0.5)
    assert (found.rows.tolist(), found.columns.tolist()) == ([0], [0])
    assert (found.rows_left.tolist(), found.columns_left.tolist()) == ([1], [1])


def test_a_measurement_is_weighed_by_the_variances() -> None:
    motion = Motion.begin(np.array([[0.0, 0.0, 40.0, 100.0]]))
    np.testing.assert_allclose(motion.mean[0], [[20, 0], [50, 0], [40, 0], [100, 0]])
    np.testing.assert_allclose(motion.cov[0], [[25, 0, 6400]] * 4)
    at_once = motion.after(np.zeros(1)).measured(np.array([[10.0, 0.0, 50.0, 100.0]]))
    assert at_once.mean[0, 0, 0] == pytest.approx(25.0)  # two measurements of the same weight: half way
    assert at_once.cov[0, 0, 0] == pytest.approx(12.5)
    later = motion.after(np.ones(1))
    # of the centre: 25 + 6400 and the noise, 50² / 3
    np.testing.assert_allclose(later.cov[0, 0], [25 + 6400 + 2500 / 3, 6400 + 1250, 6400 + 2500])


def test_a_steady_walk_is_foreseen() -> None:
    motion = Motion.begin(np.array([[0.0, 0.0, 40.0, 100.0]]))
    for second in range(1, 12):
        box = np.array([[30.0 * second, 0.0, 30.0 * second + 40.0, 100.0]])
        motion = motion.after(np.ones(1)).measured(box)
    np.testing.assert_allclose(motion.after(np.full(1, 2.0)).boxes, [[390, 0, 430, 100]], atol=1.0)


@given(st.lists(st.floats(0.01, 5.0), min_size=1, max_size=6))
def test_many_short_steps_are_one_long_step(steps: list[float]) -> None:
    begun = Motion.begin(np.array([[10.0, 20.0, 60.0, 140.0]])).measured(np.array([[20.0, 20.0, 70.0, 140.0]]))
    walked = begun
    for step in steps:
        walked = walked.after(np.array([step]))
    at_once = begun.after(np.array([sum(steps)]))
    np.testing.assert_allclose(walked.mean, at_once.mean, rtol=1e-9)
    np.testing.assert_allclose(walked.cov, at_once.cov, rtol=1e-9)


def test_a_box_never_turns_inside_out() -> None:
    shrinking = Motion.begin(np.array([[0.0, 0.0, 40.0, 100.0]]))._replace(
        mean=np.array([[[0.0, 0.0]] * 2 + [[2, -9]] * 2])
    )
    size = centres(shrinking.after(np.ones(1)).boxes)[:, 2:]
    np.testing.assert_allclose(size, 1.0)
