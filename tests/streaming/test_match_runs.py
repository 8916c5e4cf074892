from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming.features.runs import Runs


def test_places_put_each_groups_head_before_its_rows() -> None:
    runs = Runs(np.array([0, 0, 0, 1, 1]))
    assert runs.place(np.array([10, 20]), np.array([1, 2, 3, 4, 5])).tolist() == [10, 1, 2, 3, 20, 4, 5]
    assert runs.of.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert (runs.first.tolist(), runs.end.tolist()) == ([0, 3], [3, 5])
    assert (runs.head.tolist(), runs.last.tolist()) == ([0, 4], [3, 6])
    assert runs.place(7, np.zeros((5, 2), dtype=np.int64))[runs.head].tolist() == [[7, 7], [7, 7]]


def test_a_running_maximum_starts_from_the_head_and_does_not_cross_groups() -> None:
    runs = Runs(np.array([0, 0, 1, 1]))
    largest = runs.running_max(np.array([3, -1]), np.array([2, 9, -1, 4]), bits=8)
    assert largest.tolist() == [3, 3, 9, -1, -1, 4]


def test_the_latest_marked_row_is_found_by_column_and_else_the_head() -> None:
    runs = Runs(np.array([0, 0, 1]))
    found = runs.latest(np.array([[True, False], [False, False], [False, True]]))
    assert found.tolist() == [[0, 0], [1, 0], [1, 0], [3, 3], [3, 4]]


def test_counting_before_a_row_leaves_the_row_out() -> None:
    runs = Runs(np.array([0, 0, 0, 1, 1]))
    assert runs.count_before(np.array([True, True, False, True, False])).tolist() == [0, 1, 2, 0, 1]


@given(st.lists(st.lists(st.integers(-1, 14), min_size=1, max_size=6), min_size=1, max_size=6))
def test_a_running_maximum_is_that_of_each_group_alone(groups: list[list[int]]) -> None:
    rows = np.array([value for group in groups for value in group[1:]], dtype=np.int64)
    group = np.repeat(np.arange(len(groups)), [len(values) - 1 for values in groups])
    if len(np.unique(group)) < len(groups):  # a group without rows has no head either
        return
    largest = Runs(group).running_max(np.array([values[0] for values in groups]), rows, bits=4)
    expected = [max(values[: i + 1]) for values in groups for i in range(len(values))]
    assert largest.tolist() == expected
