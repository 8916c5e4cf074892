"""Counts at a line, by walks along x over a door at x = 0 from (0, 2) to (0, -2): in is towards larger x."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.store.crossings import Crossing, fold_line
from streaming.store.geometry import Floats
from streaming.store.plan import Line

DOOR = Line("door", start=(0.0, 2.0), end=(0.0, -2.0), band=0.3)
UNSEEN = float("nan")


def walk(*xs: float, y: float = 0.0) -> Floats:
    """(T, 2), one position a step of half a second."""
    return np.array([(x, y if x == x else x) for x in xs])


def count(**people: Floats) -> list[Crossing]:
    names = sorted(people)
    points = np.array([people[name] for name in names])
    return fold_line(DOOR, 0, names, points, np.ones(points.shape[:2], bool), np.zeros(len(names), bool), ())[0]


def ways(crossings: Sequence[Crossing]) -> list[int]:
    return [crossing.direction for crossing in crossings]


THROUGH = (-1.2, -0.6, 0.0, 0.6, 1.2, 1.8)


def test_who_walks_through_is_counted_once_when_clear_of_the_line() -> None:
    assert count(a=walk(*THROUGH)) == [Crossing("door", 1_500, "a", 1)]
    assert count(a=walk(*reversed(THROUGH))) == [Crossing("door", 2_000, "a", -1)]


def test_trembling_on_the_line_counts_nothing_and_turning_back_neither() -> None:
    assert count(a=walk(-0.6, -0.1, 0.2, -0.2, 0.25, -0.25, 0.1)) == []
    assert count(a=walk(-1.2, -0.6, 0.0, 0.2, -0.6, -1.2)) == []
    assert ways(count(a=walk(-1.2, 0.2, -0.2, 0.2, 0.7, 0.1, -0.2, 0.5))) == [1]


def test_around_an_end_of_the_line_is_not_over_it() -> None:
    assert count(a=walk(*THROUGH, y=2.6)) == []
    assert ways(count(a=walk(*THROUGH, y=1.9))) == [1]


def test_who_appears_within_the_band_has_not_crossed() -> None:
    assert count(a=walk(0.1, 0.5, 1.1)) == []


def test_a_gap_in_sight_at_the_line_changes_nothing() -> None:
    assert ways(count(a=walk(-1.2, -0.6, UNSEEN, UNSEEN, 1.2, 1.8))) == [1]


@pytest.mark.parametrize("step", range(1, 6))
def test_a_new_identity_at_the_line_changes_no_count(step: int) -> None:
    before = [x if number < step else UNSEEN for number, x in enumerate(THROUGH)]
    after = [x if number >= step else UNSEEN for number, x in enumerate(THROUGH)]
    assert ways(count(a=walk(*before), b=walk(*after))) == [1]


@pytest.mark.parametrize("step", range(2, 6))
def test_identities_that_are_swapped_at_the_line_change_no_count(step: int) -> None:
    back = tuple(reversed(THROUGH))
    one = [(back if number >= step else THROUGH)[number] for number in range(6)]
    other = [(THROUGH if number >= step else back)[number] for number in range(6)]
    assert sorted(ways(count(a=walk(*one), b=walk(*other, y=0.1)))) == [-1, 1]


def test_a_new_identity_within_one_step_changes_no_count() -> None:
    """Both were seen in the third step; only the second to its end."""
    points = np.array([walk(-1.2, -0.6, 0.0, UNSEEN, UNSEEN), walk(UNSEEN, UNSEEN, 0.2, 0.8, 1.4)])
    to_the_end = np.ones(points.shape[:2], bool)
    to_the_end[0, 2] = False
    found, _ = fold_line(DOOR, 0, ["a", "b"], points, to_the_end, np.zeros(2, bool), ())
    assert found == [Crossing("door", 1_500, "b", 1)]


def test_another_person_who_appears_beyond_the_line_is_not_the_one_who_left() -> None:
    left = walk(-0.6, -1.2, -1.8, -2.4, UNSEEN, UNSEEN)
    came = walk(UNSEEN, UNSEEN, UNSEEN, UNSEEN, 0.5, 1.1)
    assert count(a=left, b=came) == []
    assert count(a=walk(*([-0.6] * 6)), b=came) == [], "who is still there is nobody else"


def test_who_is_seen_elsewhere_is_not_the_one_who_appears_beyond_the_line() -> None:
    left = np.array([(-0.6, 0.0), (-0.6, 0.0), (-0.6, 4.0), (-0.6, 4.0)])
    assert count(a=left, b=walk(UNSEEN, UNSEEN, 0.5, 1.1)) == []


def test_walkers_go_on_from_window_to_window() -> None:
    first, walkers = fold_line(DOOR, 0, ["a"], walk(-1.2, -0.6)[None], np.ones((1, 2), bool), np.zeros(1, bool), ())
    kept = [walker.seen_ms for walker in walkers]
    second, _ = fold_line(DOOR, 1_000, ["b"], walk(0.0, 0.6)[None], np.ones((1, 2), bool), np.zeros(1, bool), walkers)
    assert (first, second) == ([], [Crossing("door", 1_500, "b", 1)])
    assert [walker.seen_ms for walker in walkers] == kept, "what was handed in is as it was"


def test_a_walker_who_was_lost_for_too_long_is_nobody() -> None:
    gone = [UNSEEN] * 8
    assert count(a=walk(-0.6, *gone, 0.6)) == []


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    crossings=st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.floats(-1.5, 1.5)), min_size=1, max_size=4),
)
def test_flicker_dropouts_and_switches_of_lone_walkers_change_no_count(
    seed: int, crossings: list[tuple[int, bool, float]]
) -> None:
    """One after another over the door with 4 cm of jitter; each loses their identity once at the line."""
    random = np.random.default_rng(seed)
    steps = len(crossings) * 40
    people, truth = {}, []
    for number, (delay, is_in, y) in enumerate(crossings):
        way = np.full((2, steps, 2), np.nan)
        start, switch = number * 40 + delay % 20, int(random.integers(1, 9))
        for step in range(10):
            x = -2.7 + 0.6 * step
            identity = 0 if step < switch else 1
            way[identity, start + step] = (x if is_in else -x, y)
        people |= {f"{number}-{identity}": way[identity] + random.normal(0, 0.04, (steps, 2)) for identity in (0, 1)}
        truth.append(1 if is_in else -1)
    assert ways(count(**people)) == truth
