"""Who is in the store by what was seen of them: gaps of sight are filled, and of two names in one place one counts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.store.carry import Carry
from streaming.store.figures import StoreMetrics
from streaming.store.presence import bridged, doubles
from tests.store_walks import START_MS, Feed, Walk, person, plan, sightings

GONE_S = 6  # of the plan
SECOND = (pl.col("captured_ms").to_physical() - START_MS) / 1000


def at(*steps: str) -> tuple[np.ndarray, np.ndarray]:
    """People by what was seen of them at each step: a digit is x in metres on y = 0, ? somewhere, . nothing."""
    seen = np.array([[step != "." for step in person] for person in steps])
    x = np.array([[float(step) if step.isdigit() else np.nan for step in person] for person in steps])
    return seen, np.stack([x, np.where(np.isnan(x), np.nan, 0.0)], axis=-1)


def nobody(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Is another's double, or far from the door."""
    return np.zeros(seen.shape, bool), np.zeros(seen.shape, bool)


def test_who_is_seen_again_walked_straight_on_meanwhile() -> None:
    seen, floor = at(".1...5..", "3.?.9...", "2....7..")
    present, places = bridged(seen, floor, *nobody(seen), 3, 0)
    assert present.tolist() == at(".11111..", "11111...", "1....1..")[0].tolist(), "a gap of four steps stays one"
    assert places[0, 1:6, 0].tolist() == [1, 2, 3, 4, 5]
    assert places[1, :5, 0].tolist() == [3, 4.5, 6, 7.5, 9], "also where they were seen and nobody could tell where"
    assert np.isnan(places[2, 1:5]).all() and np.isnan(places[:, 6:]).all()


def test_who_is_lost_and_found_far_from_the_door_has_not_left() -> None:
    seen, floor = at("1....6..", "6....1..", "6....7..", "6.....9.", "6.?..9..")
    is_inside = seen & (floor[..., 0] > 3)
    present, places = bridged(seen, floor, np.zeros(seen.shape, bool), is_inside, 2, 4)
    there = at("1....1..", "1....1..", "111111..", "1.....1.", "111111..")[0]
    assert present.tolist() == there.tolist(), "two were near the door, a gap of five steps is too long"
    assert places[2, :6, 0].round(6).tolist() == [6, 6.2, 6.4, 6.6, 6.8, 7]
    assert places[4, :6, 0].round(6).tolist() == [6, 6.6, 7.2, 7.8, 8.4, 9]
    assert np.isnan(places[[0, 1, 3], 1:5]).all()


def test_a_gap_in_which_the_name_was_a_second_one_is_not_known_to_be_anybody() -> None:
    seen, floor = at("1.....2.3")
    double = np.zeros(seen.shape, bool)
    double[0, 3] = True
    assert bridged(seen, floor, double, double, 9, 0)[0].tolist() == at("1.....111")[0].tolist()


def test_of_names_in_one_place_that_no_camera_shows_side_by_side_one_counts() -> None:
    floor = np.array([[0.0, 0.0], [0.3, 0.4], [0.85, 0.5], [5.0, 5.0]])[:, None]
    alone = np.eye(4, dtype=bool)[..., None]  # each is seen by a camera of their own
    assert doubles(alone, floor).T.tolist() == [[False, True, False, False]], "the third is near the second alone"
    together = alone.copy()
    together[0, 1] = True  # the first camera shows the first two
    assert doubles(together, floor).T.tolist() == [[False, False, True, False]]
    alone[1, 1], floor[1] = False, np.nan
    assert not doubles(alone, floor).any(), "nobody can tell where the second stands"


@settings(max_examples=60, deadline=None)
@given(
    seen=st.lists(st.text("123456789?.", min_size=12, max_size=12), min_size=1, max_size=5),
    most=st.integers(0, 8),
)
def test_what_was_seen_stays_and_nobody_is_there_before_or_after(seen: list[str], most: int) -> None:
    known, floor = at(*seen)
    present, places = bridged(known, floor, *nobody(known), most, 0)
    for row, person_at in enumerate(seen):
        steps = [step for step, what in enumerate(person_at) if what != "."]
        assert present[row, steps].all()
        assert (
            not present[row, : steps[0] if steps else 12].any()
            and not present[row, steps[-1] + 1 if steps else 0 :].any()
        )
        gaps = [later - step - 1 for step, later in pairwise(steps)]
        assert present[row].sum() == len(steps) + sum(gap for gap in gaps if gap <= most)
    kept = ~np.isnan(floor)
    assert (places[kept] == floor[kept]).all()
    assert np.isnan(places[~present]).all()


def latest(*batches: pl.DataFrame, until_s: float = 30, **changed: Any) -> pl.DataFrame:
    """The revision that holds of the store and its zones, a row each and window, after 90 s of silence."""
    stage = StoreMetrics(plan(**changed))
    state = stage.new_state()
    quiet = Feed([], until_s + 90).rows().filter(until_s <= SECOND)
    said = pl.concat([stage(rows, state) for rows in (*batches, quiet)])
    newest = said.sort("revision").unique(("zone_id", "window_start_ms"), keep="last")
    return newest.sort("window_start_ms", "zone_id")


def unseen(rows: pl.DataFrame, from_s: float, to_s: float) -> pl.DataFrame:
    """Nobody is found from one time to the other."""
    empty = [name for name in person(0, 0, 0) if name in rows.columns]
    is_gap = SECOND.is_between(from_s, to_s, closed="left")
    return rows.with_columns(pl.when(~is_gap).then(pl.col(name)).otherwise(None).alias(name) for name in empty)


def seconds(figures: pl.DataFrame, zone: str) -> float:
    return 10 * float(figures.filter(zone_id=zone)["occupancy_mean"].sum())


WALK = Walk([(0.5, 4), (18.5, 4)], start_s=2)  # for 15 s, from the entrance over shelves to the till


@settings(max_examples=12, deadline=None)
@given(from_s=st.floats(3, 15), gap_s=st.floats(0.1, GONE_S - 1))
def test_a_blind_gap_is_presence_where_it_was_whatever_windows_it_lies_in(from_s: float, gap_s: float) -> None:
    rows = Feed([WALK], 30).rows()
    whole, blind = latest(rows), latest(unseen(rows, from_s, min(from_s + gap_s, 16)))
    assert seconds(whole, "store") == 15.5
    assert seconds(blind, "store") == seconds(whole, "store")
    for zone in ("entrance", "shelf", "till"):
        assert abs(seconds(blind, zone) - seconds(whole, zone)) <= 0.5, "a step at the border"
    assert blind.filter(zone_id="store").select("entered", "left").sum().row(0) == (1, 1)
    assert blind.filter(zone_id="paths")["counts"].to_list() == whole.filter(zone_id="paths")["counts"].to_list()


def test_a_window_that_ended_in_a_gap_is_issued_again_once_they_are_seen() -> None:
    stage = StoreMetrics(plan())
    state = stage.new_state()
    rows = unseen(Feed([WALK], 30).rows(), 7, 11)
    early = stage(rows.filter(SECOND < 14), state).filter(zone_id="store")
    assert early.select("revision", "occupancy_mean").rows() == [(0, 0.5)]
    late = stage(rows.filter(SECOND >= 14), state).filter(zone_id="store")
    assert late.select("revision", "occupancy_mean").rows() == [(1, 0.8), (0, 0.75)]


@settings(max_examples=8, deadline=None)
@given(told_s=st.floats(14, 25))
def test_crossings_that_are_kept_are_those_that_are_counted_again(told_s: float) -> None:
    """Somebody is out of sight as a window ends, and of somebody else is told late: some windows keep who crossed."""
    rows = unseen(Feed([WALK], 30).rows(), 7, 11)
    late = Feed([Walk([(0.5, 7), (6, 7), (0.5, 7)])], 30).rows().drop_nulls("track_id")
    late = late.with_columns(track_id=pl.lit(3, pl.Int64), person_id=pl.lit("r"))
    batches = (rows.filter(told_s > SECOND), late, rows.filter(told_s <= SECOND))
    kept = latest(*batches)
    with pytest.MonkeyPatch.context() as patch:
        text = Carry.to_json
        patch.setattr(Carry, "to_json", lambda carry: text(replace(carry, crossed=None)))
        assert kept.equals(latest(*batches))
    assert kept.filter(zone_id="door").select("crossed_in", "crossed_out").sum().row(0) == (2, 1)


def test_who_is_not_seen_again_in_time_was_not_there() -> None:
    figures = latest(unseen(Feed([WALK], 30).rows(), 5, 5 + GONE_S + 1))
    assert seconds(figures, "store") == 15.5 - (GONE_S + 1)
    assert figures.filter(zone_id="store")["entered"].sum() == 2


@pytest.mark.parametrize(
    ("entrances", "corner_x", "inside"), [(True, 18.5, True), (True, 4.0, False), (False, 18.5, False)]
)
def test_who_stands_unseen_far_from_the_door_is_there(entrances: bool, corner_x: float, inside: bool) -> None:
    door = {"name": "door", "start": [2, 10], "end": [2, 0], "band": 0.3, "entrance": entrances}
    walk = Walk([(0.5, 4), (corner_x, 4), (0.5, 4)], pause_s=20)
    rows = Feed([walk], 60).rows()
    away_s = (corner_x - 0.5) / 1.2
    blind = unseen(rows, away_s + 1, away_s + 19)  # 18 s, thrice `gone_s`
    whole, with_gap = (latest(some, until_s=60, line=[door]) for some in (rows, blind))
    lacks_s = seconds(whole, "store") - seconds(with_gap, "store")
    assert abs(lacks_s - (0 if inside else 18)) <= 0.5
    assert seconds(with_gap, "till") == seconds(whole, "till") or not inside


def test_a_link_that_is_taken_back_takes_back_the_presence_it_gave() -> None:
    """The second track is somebody else, as it turns out after the windows closed."""
    right = unseen(Feed([WALK], 30).rows(), 7, 11)
    right = right.with_columns(track_id=pl.when(SECOND >= 11).then(pl.col("track_id") + 5).otherwise("track_id"))
    other = pl.when(pl.col("track_id") == 5).then(pl.lit("q")).otherwise("person_id")
    undone = [
        {"camera_id": camera, "captured_ms": START_MS + 29_000, "frame": 0, "track_id": 5, "person_id": "q",
         "corrects_person_id": "p0", "corrects_from_ms": START_MS + 11_000}
        for camera in ("cam-1", "cam-2")
    ]  # fmt: skip
    wrong = latest(right)
    assert seconds(wrong, "store") == 15.5
    figures = ["zone_id", "window_start_ms", "people", "occupancy_mean", "entered", "left", "cells", "counts"]
    mended = latest(right, sightings(undone)).select(figures)
    assert mended.equals(latest(right.with_columns(person_id=other)).select(figures))
    assert not mended.equals(wrong.select(figures))


@settings(max_examples=10, deadline=None)
@given(aside_m=st.floats(-0.4, 0.4), from_s=st.floats(0, 4), until_s=st.floats(5, 8))
def test_a_second_name_that_another_camera_gives_counts_nobody(aside_m: float, from_s: float, until_s: float) -> None:
    """Somebody stands where both cameras see them, and for a while one of them takes them for somebody else."""
    rows = Feed([Walk([(9.4, 3), (9.5, 3)], pause_s=10)], 30).rows()
    mistaken = (pl.col("_partition") == 1) & SECOND.is_between(from_s, until_s) & pl.col("track_id").is_not_null()
    doubled = rows.with_columns(
        person_id=pl.when(mistaken).then(pl.lit("q")).otherwise("person_id"),
        track_id=pl.when(mistaken).then(9).otherwise("track_id"),
        y_m=pl.when(mistaken).then(pl.col("y_m") + aside_m).otherwise("y_m"),
    )
    once, twice = latest(rows), latest(doubled)
    for zone in ("store", "shelf"):
        assert seconds(twice, zone) == seconds(once, zone) > 0
    assert twice.filter(zone_id="store")["people"].to_list() == once.filter(zone_id="store")["people"].to_list()


def test_two_whom_one_camera_shows_side_by_side_are_two() -> None:
    figures = latest(Feed([Walk([(4, 3), (8, 3)]), Walk([(4, 3.3), (8, 3.3)])], 30).rows())
    assert figures.filter(zone_id="store")["occupancy_max"].max() == 2
    assert seconds(figures, "store") == 2 * 3.5
