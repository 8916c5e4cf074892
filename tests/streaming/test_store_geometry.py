"""Points, polygons and lines: hand-drawn cases, and what holds of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.store.geometry import area_of, contains, distance_to, passes_between, problem_of, side_of

SQUARE = np.array([(0, 0), (4, 0), (4, 4), (0, 4)], float)
HORSESHOE = np.array([(0, 0), (6, 0), (6, 6), (4, 6), (4, 2), (2, 2), (2, 6), (0, 6)], float)


def test_a_point_is_inside_by_the_crossing_number() -> None:
    points = np.array([(1, 1), (5, 1), (-1, 1), (1, 5), (np.nan, 1), (1, np.nan)])
    assert contains(SQUARE, points).tolist() == [True, False, False, False, False, False]
    assert contains(SQUARE[::-1], points).tolist() == [True, False, False, False, False, False]
    arms = np.array([(1, 5), (3, 5), (5, 5), (3, 1)])
    assert contains(HORSESHOE, arms).tolist() == [True, False, True, True]


def test_of_its_edge_a_polygon_owns_the_left_and_the_top() -> None:
    edges = np.array([(0, 2), (4, 2), (2, 0), (2, 4), (0, 0), (4, 0), (0, 4), (4, 4)], float)
    assert contains(SQUARE, edges).tolist() == [True, False, True, False, True, False, False, False]


def test_points_keep_their_shape() -> None:
    assert contains(SQUARE, np.ones((3, 5, 2))).shape == (3, 5)


COORDINATE = st.floats(0.0, 10.0, allow_nan=False)


@given(middle=st.tuples(COORDINATE, COORDINATE), points=st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1))
def test_zones_that_share_edges_share_no_point_and_leave_none_out(
    middle: tuple[float, float], points: list[tuple[float, float]]
) -> None:
    corners = [(-1.0, -1.0), (11.0, -1.0), (11.0, 11.0), (-1.0, 11.0)]
    asked = np.array([*points, middle, (middle[0], 5.0), (5.0, middle[1])])
    parts = [contains(np.array([corners[i], corners[(i + 1) % 4], middle]), asked).astype(int) for i in range(4)]
    assert np.sum(parts, axis=0).tolist() == [1] * len(asked)


@pytest.mark.parametrize(
    ("polygon", "said"),
    [
        ([(0, 0), (1, 1)], "has 2 corners"),
        ([(0, 0), (4, 4), (4, 0), (0, 4)], "crosses itself: the edge (0, 0)-(4, 4) meets (4, 0)-(0, 4)"),
        ([(0, 0), (4, 0), (4, 4), (0, 0)], "corner (0, 0) twice"),
        ([(0, 0), (2, 0), (4, 0)], "crosses itself"),
        ([(0, 0), (4, 0), (2, 0), (2, 4)], "crosses itself"),
        ([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)], "crosses itself"),
        ([(0, 0), (4, 0), (4, float("nan"))], "not finite"),
    ],
)
def test_what_is_no_polygon_is_said(polygon: list[tuple[float, float]], said: str) -> None:
    assert said in (problem_of(polygon) or "")


@pytest.mark.parametrize("polygon", [SQUARE, HORSESHOE, [(0, 0), (2, 0), (4, 0), (4, 4)]])
def test_polygons_may_be_concave_and_have_corners_on_an_edge(polygon: list[tuple[float, float]]) -> None:
    assert problem_of([(float(x), float(y)) for x, y in polygon]) is None


def test_area() -> None:
    assert area_of([(0, 0), (4, 0), (4, 4), (0, 4)]) == 16.0
    assert area_of([tuple(corner) for corner in HORSESHOE.tolist()]) == 28.0


def test_right_of_a_line_is_above_zero() -> None:
    # Looking along x with y down, the right hand is where y grows.
    assert side_of((0, 0), (10, 0), np.array([(5, 2), (5, -3), (5, 0)])).tolist() == [2.0, -3.0, 0.0]


def test_distance_is_to_the_segment_and_not_to_the_line() -> None:
    assert distance_to((0, 0), (10, 0), np.array([(5, 2), (13, 4), (-3, 4)])).tolist() == [2.0, 5.0, 5.0]


def test_a_way_around_an_end_does_not_pass_between() -> None:
    assert passes_between((0, 0), (10, 0), (5, -1), (6, 1))
    assert not passes_between((0, 0), (10, 0), (11, -1), (11, 1))
    assert not passes_between((0, 0), (10, 0), (9, -1), (13, 1))
