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


def test_what_is_not_seen_is_known_less_and_its_velocity_dies_away() -> None:
    motion = Motion.begin(np.array([[0.0, 0.0, 40.0, 100.0]]))._replace(
        mean=np.array([[[20.0, 60.0]] * 3 + [[100.0, 0.0]]])
    )
    later = motion.after(np.full(1, 2.0))
    e = np.exp(-1.0)  # of the velocity, which falls by half its size a second
    np.testing.assert_allclose(later.mean[0, 0], [20 + 60 * 2 * (1 - e), 60 * e])
    var_velocity = 6400 * e**2 + 2500 * (1 - e**2)  # what is left of the first one, and the noise that came
    assert later.cov[0, 0, 2] == pytest.approx(var_velocity)
    far = motion.after(np.full(1, 1e3))
    assert far.cov[0, 0, 2] == pytest.approx(2500)  # where they balance: half a height a second
    assert far.mean[0, 0, 0] == pytest.approx(140.0)  # two seconds' way is all that it ever goes


def test_a_steady_walk_is_foreseen() -> None:
    motion = Motion.begin(np.array([[0.0, 0.0, 40.0, 100.0]]))
    for frame in range(1, 31):
        box = np.array([[30.0 * frame, 0.0, 30.0 * frame + 40.0, 100.0]])
        motion = motion.after(np.full(1, 0.2)).measured(box)
    np.testing.assert_allclose(motion.after(np.full(1, 0.2)).boxes, [[930, 0, 970, 100]], atol=8.0)


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


def test_one_edge_may_be_hidden_and_a_neighbour_is_strange() -> None:
    seen = np.array([[100.0, 100.0, 140.0, 200.0]])
    known = Motion.begin(seen).measured(seen).measured(seen)
    cut, beside = seen + np.array([0, 0, 0, -60.0]), seen + np.array([40.0, 0, 40.0, 0])
    strange, vague = known.strangeness(np.concatenate([seen, cut, beside]))
    assert strange.shape == (1, 3)
    assert strange[0, 0] == pytest.approx(0.0)
    assert strange[0, 1] == pytest.approx(3.0)  # as much as an edge can be
    assert 5.0 < strange[0, 2] <= 6.0  # two edges
    later = known.after(np.array([2.0])).strangeness(beside)
    assert later[0][0, 0] < strange[0, 2]
    assert later[1][0, 0] > vague[0, 2]  # what may be anywhere fits all, and says little
