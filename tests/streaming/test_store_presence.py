"""Who is in the store by what was seen of them: gaps of sight are filled, and of two names in one place one counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.store.carry import Carry
from streaming.store.figures import StoreMetrics
from streaming.store.presence import bridged, doubles, elsewhere
from streaming.store.reappearing import Runs
from tests.store_walks import START_MS, Feed, Walk, person, plan, sightings

GONE_S = 6  # of the plan
SECOND = (pl.col("captured_ms").to_physical() - START_MS) / 1000


def at(*steps: str, apart_m: float = 50.0) -> tuple[np.ndarray, np.ndarray]:
    """People by what was seen of them at each step: a digit is x in metres, ? somewhere, . nothing. Each has a y of
    their own, so far apart that nobody walks from one to the other."""
    seen = np.array([[step != "." for step in person] for person in steps])
    x = np.array([[float(step) if step.isdigit() else np.nan for step in person] for person in steps])
    y = np.where(np.isnan(x), np.nan, apart_m * np.arange(len(steps))[:, None])
    return seen, np.stack([x, y], axis=-1)


def nobody(seen: np.ndarray) -> np.ndarray:
    """No second names."""
    return np.zeros(seen.shape, bool)


def test_who_is_seen_again_walked_straight_on_meanwhile() -> None:
    seen, floor = at(".1...5..", "3.?.7...", "2....7..")
    present, places = bridged(seen, floor, nobody(seen), seen, 0, 3)
    assert present.tolist() == at(".11111..", "11111...", "1....1..")[0].tolist(), "a gap of four steps stays one"
    assert places[0, 1:6, 0].tolist() == [1, 2, 3, 4, 5]
    assert places[1, :5, 0].tolist() == [3, 4, 5, 6, 7], "also where they were seen and nobody could tell where"
    assert np.isnan(places[2, 1:5]).all() and np.isnan(places[:, 6:]).all()


def test_who_is_lost_at_the_door_and_comes_again_was_away() -> None:
    seen, floor = at("1....1..", "9....9..", "?....?..", "1.1.....")
    present, places = bridged(seen, floor, nobody(seen), seen & (floor[..., 0] > 3), 9, 0)
    assert present.tolist() == at("1....1..", "111111..", "111111..", "111.....")[0].tolist()
    assert places[1, :6, 0].tolist() == [9] * 6
    assert np.isnan(places[2]).all(), "whose place nobody can tell is known by name"


def test_who_swap_their_names_out_of_sight_stand_where_they_were_lost() -> None:
    """Two people 50 m apart, the second out of sight for a step."""
    seen = np.array([[1, 1, 0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0, 0, 1]], bool)
    x = np.array([[3.0] * 2 + [53.0] * 7, [53.0] * 8 + [3.0]])
    floor = np.where(seen[..., None], np.stack([x, np.ones(x.shape)], axis=-1), np.nan)
    present, places = bridged(seen, floor, nobody(seen), seen, 0, 9)
    assert present.sum(axis=0).tolist() == [2] * 9
    assert np.sort(places[..., 0], axis=0).T.tolist() == [[3, 53]] * 9
    assert present[0].all(), "by the first name until that is seen elsewhere"


def test_who_is_seen_as_the_second_name_of_somebody_is_not_out_of_sight() -> None:
    seen, floor = at("1...1...", "44444444")
    is_double = at("..11....", "........")[0]
    present, places = bridged(seen, floor, is_double, seen, 0, 9)
    assert present.tolist() == at("11..1...", "44444444")[0].tolist()
    assert places[0, 1, 0] == 1 and np.isnan(places[0, 2:4]).all()


def test_whoever_goes_on_by_another_name_is_not_out_of_sight_as_a_second_name_by_either() -> None:
    seen, floor = at("11......", ".....11.", "44444444", apart_m=0.0)
    assert bridged(seen, floor, nobody(seen), seen, 0, 9)[0].sum(axis=0).tolist() == [2] * 7 + [1]
    for doubles_of in (("...1....", "........", "........"), ("........", "...1....", "........")):
        present, _ = bridged(seen, floor, at(*doubles_of)[0], seen, 0, 9)
        assert present.sum(axis=0).tolist() == [2, 2, 2, 1, 2, 2, 2, 1]


def test_a_second_name_of_somebody_who_is_seen_all_the_time_is_nobody_who_was_lost() -> None:
    seen = np.zeros((3, 16), bool)
    seen[0, 0], seen[1, 10:12], seen[2] = True, True, True
    floor = np.where(seen[..., None], np.array([[0.0, 0.0], [8.0, 0.0], [8.9, 0.0]])[:, None], np.nan)
    # Ten steps and 8 m by another name cost 2 ln 10 + 8 / 2.5 + 3 = 10.8: more than 6 + 4, less than 6 + 6.
    assert (bridged(seen, floor, nobody(seen), seen, 0, 40)[0] == seen).all()
    floor[2] += 0.2
    assert bridged(seen, floor, nobody(seen), seen, 0, 40)[0].sum() == seen.sum() + 9


def test_of_names_in_one_place_that_no_camera_shows_side_by_side_one_counts() -> None:
    floor = np.array([[0.0, 0.0], [0.3, 0.4], [0.85, 0.5], [5.0, 5.0]])[:, None]
    alone = np.eye(4, dtype=bool)[..., None]  # each is seen by a camera of their own
    assert doubles(alone, floor).T.tolist() == [[False, True, False, False]], "the third is near the second alone"
    together = alone.copy()
    together[0, 1] = True  # the first camera shows the first two
    assert doubles(together, floor).T.tolist() == [[False, False, True, False]]
    alone[1, 1], floor[1] = False, np.nan
    assert not doubles(alone, floor).any(), "nobody can tell where the second stands"


def test_whom_a_name_puts_in_two_places_at_once_are_two() -> None:
    person, step = np.array([0, 0, 0, 1]), np.array([[0, 1, 1], [1, 1, 2], [1, 1, 1], [1, 1, 1]])
    x = np.array([[4.0, 9.0, 4.0], [9.0, 5.1, 4.0], [9.0, 9.0, 5.3], [9.0, 9.0, 9.0]])
    placed = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1]], bool)  # of a step the last
    stray = elsewhere(person, step, np.stack([x, x * 0], axis=-1), placed)
    assert stray.tolist() == [[False] * 3, [False] * 3, [True] * 3, [False] * 3], "1.3 m from the first, and 1.1 m"


@settings(max_examples=60, deadline=None)
@given(seen=st.lists(st.text("5.", min_size=12, max_size=12), min_size=1, max_size=5))
def test_new_names_after_every_gap_change_neither_how_many_there_are_nor_where(seen: list[str]) -> None:
    known, floor = at(*seen)
    runs = Runs.of(known)
    renamed, moved = np.zeros((len(runs.person), 12), bool), np.full((len(runs.person), 12, 2), np.nan)
    for row, (person_row, first, last) in enumerate(zip(*runs, strict=True)):
        renamed[row, first : last + 1] = True
        moved[row, first : last + 1] = floor[person_row, first : last + 1]
    by_new_names = bridged(renamed, moved, nobody(renamed), renamed, 12, 12)
    for present, places in (bridged(known, floor, nobody(known), known, 12, 12), by_new_names):
        for step in range(12):
            there = [row for row, steps in enumerate(seen) if "5" in steps[: step + 1] and "5" in steps[step:]]
            assert sorted(places[present[:, step], step].tolist()) == [[5.0, 50.0 * row] for row in there]


@settings(max_examples=60, deadline=None)
@given(
    seen=st.lists(st.text("123456789?.", min_size=12, max_size=12), min_size=1, max_size=5),
    apart_m=st.sampled_from([0.0, 1.0, 50.0]),
    most=st.integers(0, 8),
)
def test_what_was_seen_stays_and_nobody_is_there_before_or_after_all(
    seen: list[str], apart_m: float, most: int
) -> None:
    known, floor = at(*seen, apart_m=apart_m)
    present, places = bridged(known, floor, nobody(known), known, most, most)
    assert present[known].all()
    steps = np.flatnonzero(known.any(axis=0))
    outside = np.setdiff1d(np.arange(12), np.arange(steps[0], steps[-1] + 1) if len(steps) else [])
    assert not present[:, outside].any()
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


def test_who_turns_out_to_have_stood_elsewhere_is_counted_there_in_windows_that_had_closed() -> None:
    """Somebody is lost before a shelf; as somebody else appears at the entrance, they seem to have gone there."""
    stands = [Walk([(6, 3), (6, 3.1), (6, 3)], start_s=start_s, pause_s=8) for start_s in (0, 37)]
    other = Walk([(4, 3), (4, 3.1), (4, 3)], start_s=22, pause_s=26)
    rows = Feed([*stands, other], 50, names={0: "p", 1: "p", 2: "q"}).rows()
    stage = StoreMetrics(plan(gone_s=30))
    state = stage.new_state()
    early = stage(rows.filter(SECOND < 36), state)
    assert seconds(early.sort("revision").unique(("zone_id", "window_start_ms"), keep="last"), "entrance") > 12
    figures = latest(rows, until_s=50, gone_s=30)
    assert abs(seconds(figures, "entrance") - other.duration_s) <= 0.5
    assert abs(seconds(figures, "shelf") - (37 + stands[1].duration_s)) <= 0.5


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


def test_one_name_in_two_places_at_once_is_two_people() -> None:
    walks = [Walk([(3, 3), (5, 3)], pause_s=4), Walk([(15, 3), (17, 3)], pause_s=4)]
    rows = Feed(walks, 30).rows()
    one_name = rows.with_columns(person_id=pl.when(pl.col("person_id").is_not_null()).then(pl.lit("p0")))
    for zone in ("store", "entrance", "shelf", "till"):
        assert abs(seconds(latest(one_name), zone) - seconds(latest(rows), zone)) <= 0.5


def test_two_whom_one_camera_shows_side_by_side_are_two() -> None:
    figures = latest(Feed([Walk([(4, 3), (8, 3)]), Walk([(4, 3.3), (8, 3.3)])], 30).rows())
    assert figures.filter(zone_id="store")["occupancy_max"].max() == 2
    assert seconds(figures, "store") == 2 * 3.5
