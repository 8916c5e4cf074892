"""Counts at a line, by walks along x over a door at x = 0 from (0, 2) to (0, -2): in is towards larger x."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.store.crossings import Crossing, fold_line
from streaming.store.geometry import Floats
from streaming.store.observed import Observed
from streaming.store.plan import Line

DOOR = Line("door", start=(0.0, 2.0), end=(0.0, -2.0), band=0.3)
STEP_MS = 500
UNSEEN = float("nan")


def walk(*xs: float, y: float = 0.0) -> Floats:
    """(T, 2), one position a step of half a second."""
    return np.array([(x, y if x == x else x) for x in xs])


def observed(start_ms: int = 0, camera: str = "cam", **people: Floats) -> Observed:
    """What one camera sees of people, each a track of their own."""
    rows = [
        (start_ms + step * STEP_MS, track, name, xy)
        for track, (name, way) in enumerate(sorted(people.items()))
        for step, xy in enumerate(way.tolist())
        if xy[0] == xy[0]
    ]
    rows.sort(key=lambda row: row[:2])
    at_ms, track, name, points = zip(*rows, strict=True) if rows else ((), (), (), ())
    cameras = [camera] * len(rows)
    return Observed(
        np.array(at_ms, np.int64), cameras, np.array(track, np.int64), list(name), np.array(points).reshape(-1, 2)
    )


def count(**people: Floats) -> list[Crossing]:
    steps = max(len(way) for way in people.values())
    return fold_line(DOOR, steps * STEP_MS, observed(**people), ())[0]


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


def test_who_appears_within_the_band_comes_from_the_side_on_which_they_appeared() -> None:
    assert count(a=walk(0.1, 0.5, 1.1)) == []
    assert ways(count(a=walk(-0.15, 0.2, 0.7, 1.2))) == [1]
    on_it = walk(-0.05, 0.2, 0.7, 1.2)
    assert count(a=on_it) == [], "as near to the line it is luck on which side they were put"
    entrance = replace(DOOR, entrance=True)
    assert ways(fold_line(entrance, 2_000, observed(a=on_it), ())[0]) == [1], (
        "but nobody begins in a door who does not come in"
    )
    assert fold_line(entrance, 2_000, observed(a=walk(0.05, -0.2, -0.7, -1.2)), ())[0] == []


def test_who_is_last_seen_on_the_way_over_the_line_has_gone_over_it() -> None:
    out = walk(1.8, 1.2, 0.6, 0.0, -0.2)
    found, left = fold_line(DOOR, 2_500, observed(a=out), ())
    assert found == [] and len(left) == 1, "they may come back yet"
    later, left = fold_line(DOOR, 10_000, observed(), left)
    assert (later, left) == ([Crossing("door", 2_000, "a", -1)], [])


def test_who_stands_near_the_line_and_is_lost_has_not_crossed() -> None:
    stands = walk(1.2, 0.6, 0.1, *([-0.2] * 8), *([UNSEEN] * 12))
    assert count(a=stands) == []
    before = walk(1.8, 1.5, 1.2, *([UNSEEN] * 12))
    assert count(a=before) == [], "nor who is lost well before it"


def test_who_is_last_seen_on_the_way_to_an_entrance_has_left() -> None:
    """Behind a door nobody looks; behind a line in the store they would be seen again."""
    entrance, lost = replace(DOOR, entrance=True), [UNSEEN] * 8
    towards, away, stands = walk(1.1, 0.7, 0.35, *lost), walk(1.2, 1.6, 2.0, *lost), walk(0.4, 0.4, 0.4, *lost)
    turns = np.array([(0.8, -1.2), (0.75, -0.6), (0.45, 0.0)] + [(UNSEEN, UNSEEN)] * 8)
    for way, out in ((towards, [-1]), (turns, [-1]), (away, []), (stands, [])):
        seen = observed(a=way)
        assert ways(fold_line(entrance, 6_000, seen, ())[0]) == out
        assert fold_line(DOOR, 6_000, seen, ())[0] == []


def test_who_walks_on_from_an_entrance_as_they_appear_has_come_in() -> None:
    """They are seen from half a metre within; who comes from elsewhere stands, or walks along it or towards it."""
    entrance = replace(DOOR, entrance=True)
    along = np.array([(0.5, y) for y in (-1.0, -0.4, 0.2, 0.8)])
    beside = np.array([(0.5 + 0.4 * step, 3.0 + 0.4 * step) for step in range(4)])
    for way, ways_in in (
        (walk(0.5, 0.9, 1.3, 1.7), [1]),
        (walk(0.9, 1.3, 1.7, 2.1), []),
        (walk(0.5, 0.5, 0.5, 0.5), []),
        (walk(1.0, 0.8, 0.6, 0.5), []),
        (along, []),
        (beside, []),
    ):
        assert ways(fold_line(entrance, 2_000, observed(a=way), ())[0]) == ways_in
        assert fold_line(DOOR, 2_000, observed(a=way), ())[0] == [], "in the store they come from this side"


def test_a_gap_in_sight_at_the_line_changes_nothing() -> None:
    assert ways(count(a=walk(-1.2, -0.6, UNSEEN, UNSEEN, 1.2, 1.8))) == [1]


def test_who_was_seen_to_walk_is_known_again_behind_a_line_that_no_camera_sees() -> None:
    before, behind = (-3.0, -2.4, -1.8), (0.6, 1.2)
    blind = [UNSEEN] * 3
    assert ways(count(a=walk(*before, *blind, *[UNSEEN] * 2), b=walk(*[UNSEEN] * 3, *blind, *behind))) == [1]


def test_who_was_long_out_of_sight_is_known_again_by_name_where_they_can_have_walked() -> None:
    """3 s at 1.2 m/s, of which .7 s are taken to lead straight on: too far away for a stranger."""
    before, blind, behind = (-2.7, -2.1, -1.5), [UNSEEN] * 5, (2.1, 2.7)
    a, b = walk(*before, *blind, *[UNSEEN] * 2), walk(*[UNSEEN] * 3, *blind, *behind)
    assert count(a=a, b=b) == [], "a stranger"
    again = observed(a=a, b=b)._replace(person=["a"] * 5)
    assert fold_line(DOOR, 5_000, again, ())[0] == [Crossing("door", 4_000, "a", 1)]
    assert fold_line(replace(DOOR, entrance=True), 5_000, again, ())[0] == [], "who has left comes back later"
    ran = observed(a=walk(-1.8, -1.2, -0.6, UNSEEN), b=walk(*[UNSEEN] * 4, 2.9))._replace(person=["a"] * 4)
    assert fold_line(DOOR, 2_500, ran, ())[0] == [], "3.5 m in a second"


def test_who_turned_round_out_of_sight_has_not_crossed() -> None:
    """Lost on the way over the line, which would count, and seen again on this side."""
    lost = walk(1.5, 0.9, 0.3, *[UNSEEN] * 12)
    assert ways(count(a=lost)) == [-1]
    back = walk(*[UNSEEN] * 7, 1.2, 1.8, *[UNSEEN] * 6)
    assert count(a=lost, b=back) != [], "a stranger's coming says nothing"
    seen = observed(a=lost, b=back)
    assert fold_line(DOOR, 7_500, seen._replace(person=["a"] * 5), ())[0] == []


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


def both(*seen: Observed) -> Observed:
    """What several cameras see."""
    at_ms, track, points = (
        np.concatenate([getattr(one, name) for one in seen]) for name in ("at_ms", "track", "points")
    )
    camera, person = (np.array([name for one in seen for name in getattr(one, of)]) for of in ("camera", "person"))
    order = np.lexsort([track, camera, at_ms])
    return Observed(at_ms[order], camera[order].tolist(), track[order], person[order].tolist(), points[order])


def test_whom_several_cameras_see_crosses_once_whatever_they_are_called() -> None:
    off = walk(*(x + 0.2 for x in THROUGH), y=0.2)
    seen = both(observed(a=walk(*THROUGH)), observed(camera="other", b=off), observed(camera="third", a=off))
    assert ways(fold_line(DOOR, 3_000, seen, ())[0]) == [1]


def test_whom_cameras_put_far_apart_at_first_crosses_once() -> None:
    """The other camera sees them at the picture's edge, nearly a metre away, until they are well in it."""
    off = np.array([(x + max(0.9 - 0.3 * step, 0.0), 0.0) for step, x in enumerate((-2.4, -1.8, *THROUGH))])
    seen = both(observed(a=walk(-2.4, -1.8, *THROUGH)), observed(camera="other", b=off))
    assert ways(fold_line(DOOR, 4_000, seen, ())[0]) == [1]


def test_a_new_track_of_the_next_is_not_taken_for_who_was_lost_there() -> None:
    """Two leave one after another. As the first is gone, another camera begins to see the second, and puts them .7 m
    ahead of where they are, which is where the first was lost."""
    first = walk(1.8, 1.2, 0.6, 0.1, *[UNSEEN] * 16)
    second = walk(3.0, 2.4, 1.9, 1.4, 0.9, *[0.6] * 4, 0.3, -0.3, -0.9, *[UNSEEN] * 8)
    late = second.copy()
    late[:4], late[4, 0] = UNSEEN, 0.2
    seen = both(observed(a=first, b=second), observed(camera="other", c=late))
    assert ways(fold_line(DOOR, 10_000, seen, ())[0]) == [-1, -1]


def test_two_who_walk_side_by_side_cross_twice() -> None:
    left, right = walk(*THROUGH, y=-0.4), walk(*THROUGH, y=0.4)
    seen = both(observed(a=left, b=right), observed(camera="other", c=left, d=right))
    assert ways(fold_line(DOOR, 3_000, seen, ())[0]) == [1, 1]


def test_who_is_missed_for_a_frame_is_not_taken_for_a_stranger_across_the_line() -> None:
    a = walk(-0.5, UNSEEN, -0.5, -0.5, -0.5)
    b = walk(UNSEEN, UNSEEN, 0.5, 0.5, 0.5)
    assert count(a=a, b=b) == []


def test_another_person_who_appears_beyond_the_line_is_not_the_one_who_left() -> None:
    left = walk(-0.6, -1.2, -1.8, -2.4, UNSEEN, UNSEEN)
    came = walk(UNSEEN, UNSEEN, UNSEEN, UNSEEN, 0.5, 1.1)
    assert count(a=left, b=came) == []
    assert count(a=walk(*([-0.6] * 6)), b=came) == [], "who is still there is nobody else"


def test_who_is_seen_elsewhere_is_not_the_one_who_appears_beyond_the_line() -> None:
    left = np.array([(-0.6, 0.0), (-0.6, 0.0), (-0.6, 4.0), (-0.6, 4.0)])
    assert count(a=left, b=walk(UNSEEN, UNSEEN, 0.5, 1.1)) == []


def test_walkers_go_on_from_window_to_window() -> None:
    first, walkers = fold_line(DOOR, 1_000, observed(a=walk(-1.2, -0.6)), ())
    kept = [walker.seen_ms for walker in walkers]
    second, _ = fold_line(DOOR, 2_000, observed(1_000, b=walk(0.0, 0.6)), walkers)
    assert (first, second) == ([], [Crossing("door", 1_500, "b", 1)])
    assert [walker.seen_ms for walker in walkers] == kept, "what was handed in is as it was"


def test_a_walker_who_was_lost_for_too_long_is_nobody() -> None:
    gone = [UNSEEN] * 8
    assert count(a=walk(-0.6, *gone, 0.6)) == []


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    crossings=st.lists(
        st.tuples(st.integers(0, 30), st.booleans(), st.floats(-1.5, 1.5), st.integers(1, 3)), min_size=1, max_size=4
    ),
)
def test_flicker_dropouts_and_switches_of_lone_walkers_change_no_count(
    seed: int, crossings: list[tuple[int, bool, float, int]]
) -> None:
    """One after another over the door with 4 cm of jitter, before one to three cameras. Each camera loses the track
    once at the line, and overlooks them once."""
    random = np.random.default_rng(seed)
    steps = len(crossings) * 40
    seen, truth = [], []
    for number, (delay, is_in, y, cameras) in enumerate(crossings):
        start = number * 40 + delay % 20
        for camera in range(cameras):
            way = np.full((2, steps, 2), np.nan)
            switch, overlooked = int(random.integers(1, 9)), int(random.integers(1, 9))
            for step in range(10):
                x = -2.7 + 0.6 * step
                if step != overlooked:
                    way[0 if step < switch else 1, start + step] = (x if is_in else -x, y)
            noise = random.normal(0, 0.04, (2, steps, 2))
            people = {f"{number}-{camera}-{identity}": way[identity] + noise[identity] for identity in (0, 1)}
            one = observed(camera=f"cam-{camera}", **people)
            seen.append(one._replace(track=one.track + 10 * number))
        truth.append(1 if is_in else -1)
    assert ways(fold_line(DOOR, steps * STEP_MS, both(*seen), ())[0]) == truth


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=4), st.integers(0, 1_000))
def test_windows_cut_anywhere_count_the_same(cuts: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    back = walk(*reversed(THROUGH), y=0.8) + random.normal(0, 0.05, (6, 2))
    seen = both(observed(a=walk(*THROUGH), b=back), observed(camera="other", c=walk(*THROUGH)))
    whole, walkers = fold_line(DOOR, 3_000, seen, ())
    found, left = [], []
    for start, end in pairwise(sorted({0, *(500 * cut for cut in cuts), 3_000})):
        within = np.flatnonzero((seen.at_ms >= start) & (seen.at_ms < end))
        part = Observed(*(np.array(column)[within] for column in seen))
        crossed, left = fold_line(DOOR, end, part._replace(camera=list(part.camera), person=list(part.person)), left)
        found += crossed
    assert (found, left) == (whole, walkers)
