"""Sightings to counts by window, against walks whose truth is known: exact without noise, and the same in every cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.state import StateTable
from streaming.store import memory
from streaming.store.figures import StoreMetrics
from tests.store_walks import PLAN, START_MS, Feed, Walk, person, plan, sightings


class Metrics:
    """The stage with its state, windows of 10 s."""

    def __init__(self, **options: Any) -> None:
        self.stage = StoreMetrics(plan(), **options)
        self.state = self.stage.new_state()
        self.said: list[pl.DataFrame] = []

    def see(self, rows: pl.DataFrame) -> pl.DataFrame:
        self.said.append(self.stage(rows, self.state))
        return self.said[-1]

    def tick(self, second: float, partitions: Sequence[int] = (0, 1)) -> pl.DataFrame:
        self.said.append(self.stage.tick(START_MS + round(second * 1000), partitions, self.state))
        return self.said[-1]

    @property
    def issued(self) -> pl.DataFrame:
        start_s = (pl.col("window_start_ms").to_physical() - START_MS) // 1000
        return pl.concat(self.said).filter(pl.col("_reject").is_null()).with_columns(start_s=start_s)

    @property
    def latest(self) -> pl.DataFrame:
        """The revision that holds of each window."""
        newest = self.issued.sort("revision").unique(("zone_id", "start_s"), keep="last")
        return newest.sort("start_s", "zone_id")

    def total(self, zone: str, figure: str) -> float:
        return float(self.latest.filter(pl.col("zone_id") == zone)[figure].sum())


def metrics_of(rows: pl.DataFrame, **options: Any) -> Metrics:
    metrics = Metrics(**options)
    metrics.see(rows)
    return metrics


def figures(metrics: Metrics) -> list[tuple[Any, ...]]:
    """All but where a window was issued, which hangs on who came last."""
    origin = ("_partition", "_offset", "_ingest_time_ms", "source_partition", "source_offset", "ingest_time_ms")
    return metrics.latest.drop(*origin, "revision", "closed_by").rows()


SHOPPERS = [
    Walk([(0.5, 5), (8, 3), (18, 5), (8, 8), (0.5, 5)], start_s=1, pause_s=5),
    Walk([(0.5, 6), (12, 2), (17, 3)], start_s=4, pause_s=8),
    Walk([(3.5, 5), (0.5, 5)], start_s=8),
    Walk([(1, 2), (3, 2), (1, 2.5), (3, 3), (1, 4)], start_s=10),
]


def test_one_walk_by_hand() -> None:
    """In at 1 s at (0.5, 5); over the door at x = 2 after 1.5 m, that is 1.25 s; at x = 5 after 4.5 m."""
    metrics = metrics_of(Feed([Walk([(0.5, 5), (9.5, 5)], start_s=1)], 25).rows())
    first = metrics.issued.filter(pl.col("start_s") == 0).rows_by_key("zone_id", named=True, unique=True)
    assert (first["door"]["crossed_in"], first["door"]["crossed_out"]) == (1, 0)
    # x < 5 for 3.75 s from 1 s on; positions are taken at the end of each half second: 1.0 to 4.5 in the entrance.
    assert (first["entrance"]["dwell_mean_s"], first["entrance"]["entered"], first["entrance"]["left"]) == (3.5, 1, 1)
    # 9 m take 7.5 s: at 8.5 s nobody is there any more.
    assert first["store"]["occupancy_mean"] == 15 / 20
    cells = dict(zip(first["heat"]["cells"], first["heat"]["cell_s"], strict=True))
    # Cells of a metre, 20 a row. A step's last frame is 0.4 s into it, or 0.3 s: x = 0.98, 1.46, 2.18, 2.66, 3.38, ...
    assert cells == {100: 0.5, 101: 0.5, 102: 1.0, 103: 1.0, 104: 0.5, 105: 1.0, 106: 1.0, 107: 0.5, 108: 1.0, 109: 0.5}
    second = metrics.issued.filter(pl.col("start_s") == 10).rows_by_key("zone_id", named=True, unique=True)
    assert (second["store"]["left"], second["store"]["dwell_mean_s"]) == (1, 7.5)
    assert (second["paths"]["labels"], second["paths"]["counts"]) == (["entrance"], [1])
    assert second["buys"]["counts"] == [1, 0, 0]


def truth_of_the_door(walks: Sequence[Walk], length_s: float) -> tuple[int, int]:
    """Crossings of x = 2 clear by 0.3 m on both sides, by brute force on a fine grid."""
    ways = {1: 0, -1: 0}
    for walk in walks:
        x = walk.at(np.arange(0, length_s, 0.01))[:, 0]
        sides = [1 if value >= 2.3 else -1 for value in x[np.abs(x - 2) >= 0.3].tolist()]
        for before, after in pairwise(sides):
            ways[after] += before != after
    return ways[1], ways[-1]


def crowd(seed: int, people: int, length_s: float) -> list[Walk]:
    random = np.random.default_rng(seed)
    walks = []
    for number in range(people):
        y = 0.5 + 9 * random.random()
        inner = [(3 + 16 * random.random(), 0.5 + 9 * random.random()) for _ in range(random.integers(1, 4))]
        start_s = length_s * 0.8 * number / people
        walks.append(Walk([(0.3, y), *inner, (0.3, y)], start_s, pause_s=float(random.integers(0, 6))))
    return walks


@pytest.mark.parametrize(
    ("jitter_m", "dropped", "linked", "error"),
    [(0.0, 0.0, True, 0.0), (0.0, 0.0, False, 0.0), (0.08, 0.1, True, 0.02), (0.08, 0.1, False, 0.02)],
)
def test_counts_are_exact_without_noise_and_within_two_percent_with_it(
    jitter_m: float, dropped: float, linked: bool, error: float
) -> None:
    walks = crowd(seed=3, people=60, length_s=180)
    # Without identities each camera counts for itself, so the door, which one camera sees, is right still.
    metrics = metrics_of(Feed(walks, 240, jitter_m, dropped, linked=linked).rows())
    came_in, went_out = truth_of_the_door(walks, 228)
    assert came_in >= 60
    assert abs(metrics.total("door", "crossed_in") - came_in) <= error * came_in
    assert abs(metrics.total("door", "crossed_out") - went_out) <= error * went_out
    if linked:
        assert metrics.total("store", "entered") == len(walks)
        assert metrics.total("store", "left") == len([walk for walk in walks if walk.start_s + walk.duration_s < 220])


def test_identity_switches_at_the_door_change_no_count() -> None:
    """Every walk has another track and identity from the step on at which it is nearest to the door."""
    walks = crowd(seed=5, people=30, length_s=120)
    rows = Feed(walks, 160).rows()
    switched = pl.col("x_m").is_between(1.7, 20) & pl.col("track_id").is_not_null()
    rows = rows.with_columns(
        track_id=pl.when(switched).then(pl.col("track_id") + 1_000).otherwise("track_id"),
        person_id=pl.when(switched).then(pl.col("person_id") + "x").otherwise("person_id"),
    )
    came_in, went_out = truth_of_the_door(walks, 148)
    metrics = metrics_of(rows)
    assert (metrics.total("door", "crossed_in"), metrics.total("door", "crossed_out")) == (came_in, went_out)


def test_visits_are_counted_at_the_entrance_whatever_people_are_called() -> None:
    """Everybody has another name every five seconds; who is in the store from the beginning did not come."""
    walks = [*crowd(seed=6, people=20, length_s=100), Walk([(8, 5), (18, 5)], pause_s=60)]
    rows = Feed(walks, 160).rows()
    later = (pl.col("frame") // 25).cast(pl.String)
    rows = rows.with_columns(person_id=pl.when(pl.col("person_id").is_not_null()).then(pl.col("person_id") + later))
    came_in, went_out = truth_of_the_door(walks, 148)
    stage = StoreMetrics(plan(line=[{**PLAN["line"][0], "entrance": True}]))
    store = stage(rows, stage.new_state()).sort("revision").unique(("zone_id", "window_start_ms"), keep="last")
    store = store.filter(zone_id="store")
    assert (store["entered"].sum(), store["left"].sum()) == (came_in, went_out)
    by_name = metrics_of(rows)
    assert by_name.total("store", "entered") > 2 * came_in


def test_frames_that_show_nobody_count_nobody_and_close_windows() -> None:
    metrics = metrics_of(Feed([], 25).rows())
    assert metrics.issued["start_s"].unique().sort().to_list() == [0, 10]
    assert metrics.issued.select("people", "entered", "crossed_in").sum().row(0) == (0, 0, 0)


def test_who_is_in_two_cameras_is_one_person() -> None:
    """Between x = 9 and 10 both cameras see them."""
    metrics = metrics_of(Feed([Walk([(8, 3), (12, 3)], start_s=0)], 15).rows())
    assert metrics.latest.filter(zone_id="store").item(0, "occupancy_max") == 1
    assert sum(metrics.latest.filter(zone_id="heat").item(0, "cell_s")) == 3.5


def test_a_track_that_is_linked_later_was_that_person_from_the_start() -> None:
    rows = Feed([Walk([(0.5, 5), (9.5, 5)], start_s=0)], 15).rows()
    late = pl.col("captured_ms").to_physical() - START_MS >= 3_000
    metrics = metrics_of(rows.with_columns(person_id=pl.when(late).then("person_id")))
    assert metrics.total("store", "people") == 1
    assert figures(metrics) == figures(metrics_of(rows))


def test_a_track_that_is_linked_after_its_window_closed_corrects_it() -> None:
    rows = Feed([Walk([(0.5, 5), (8, 5)], pause_s=0), Walk([(3, 3), (9, 3), (3, 3), (9, 3)])], 40).rows()
    late = pl.col("captured_ms").to_physical() - START_MS >= 13_000
    metrics = metrics_of(rows.with_columns(person_id=pl.when(late).then("person_id")))
    assert figures(metrics) == figures(metrics_of(rows))


CASES = {
    "as they came": lambda rows: rows,
    "twice": lambda rows: pl.concat([rows, rows]).sort("captured_ms", maintain_order=True),
    "a second out of order": lambda rows: rows.with_columns(
        _key=pl.col("captured_ms").to_physical() + (pl.int_range(pl.len()) * 7_919 % 1_000)
    ).sort("_key", maintain_order=True).drop("_key"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_order_and_repeats_do_not_change_figures(case: str) -> None:
    rows = Feed(SHOPPERS, 70).rows()
    assert figures(metrics_of(CASES[case](rows))) == figures(metrics_of(rows))


def test_of_a_step_the_newest_sighting_holds_whenever_it_came() -> None:
    metrics = Metrics()
    for ms, x in ((400, 3.0), (0, 7.0), (600, 5.0)):
        row = {"camera_id": "cam-1", "captured_ms": START_MS + ms, "frame": ms // 200, **person(1, x, 5.0, "p")}
        metrics.see(sightings([row]))
    metrics.see(Feed([], 20).rows())
    heat = metrics.latest.filter(zone_id="heat", start_s=0)
    assert heat.item(0, "cells").to_list() == [103, 105]


def test_a_zone_that_is_new_or_gone_at_a_restart_leaves_the_rest_as_it_was() -> None:
    rows = Feed([Walk([(6, 3), (6, 4), (6, 3), (7, 3)] * 30)], 60).rows()
    before, after = rows[:300], rows[300:]
    metrics = metrics_of(before)
    metrics.stage = StoreMetrics(plan(zone=[PLAN["zone"][1], {**PLAN["zone"][2], "name": "new"}], funnel=[], line=[]))
    metrics.see(after)
    last = metrics.latest.filter(start_s=40)
    assert last["zone_id"].to_list() == ["heat", "new", "paths", "shelf", "store"]
    whole = metrics_of(rows).latest.filter(start_s=40)
    for zone in ("shelf", "store"):
        assert last.filter(zone_id=zone).item(0, "longest_s") == whole.filter(zone_id=zone).item(0, "longest_s") == 50.0


def test_interleavings_of_partitions_do_not_change_figures() -> None:
    rows = Feed(SHOPPERS, 60).rows()
    one, other = rows.partition_by("_partition", maintain_order=True)
    # One camera is read 20 s of event time at a time, ahead of the other.
    first = metrics_of(
        pl.concat([part for at in range(0, len(one), 100) for part in (one[at : at + 100], other[at : at + 100])])
    )
    tail = 250
    second = metrics_of(pl.concat([other[:tail], one, other[tail:]]))
    assert figures(first) == figures(second)
    assert first.stage.facts(first.state).totals == {"late": 0}


@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, 650), max_size=12), twice=st.booleans(), seed=st.integers(0, 3))
def test_cuts_change_nothing_of_what_leaves_nor_of_the_state(cuts: list[int], twice: bool, seed: int) -> None:
    rows = Feed(SHOPPERS, 50, jitter_m=0.1, dropped=0.2, seed=seed).rows()
    late = rows.filter(pl.col("captured_ms").to_physical() - START_MS < 3_000)
    rows = pl.concat([rows[:400], sightings([corrects("p0", "p1", 20.0)]), rows[400:], late])
    rows = rows.with_columns(_offset=pl.int_range(pl.len(), dtype=pl.Int64))
    whole = metrics_of(rows)
    parts = Metrics()
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, end in pairwise(edges):
        if start < end:
            parts.see(rows[start:end])
    assert pl.concat(parts.said).equals(whole.said[0])
    assert content(parts.state) == content(whole.state)


def content(state: StateTable) -> dict[str, bytes]:
    state.touch(state.keys())
    keys, rows, _ = state.drain()
    return dict(zip(keys, rows, strict=True))


def corrects(
    old: str | None, new: str | None, second: float, camera: str = "cam-1", track: int | None = None
) -> dict[str, Any]:
    return {
        "camera_id": camera,
        "captured_ms": START_MS + round(second * 1000),
        "frame": 0,
        "track_id": track,
        "person_id": new,
        "corrects_person_id": old,
        "corrects_from_ms": START_MS + round(second * 1000),
    }


def test_a_merge_counts_closed_windows_again() -> None:
    """One walk that cam-2 took for somebody else."""
    walk = Walk([(0.5, 5), (18, 5), (0.5, 5)])
    right = Feed([walk], 40).rows()
    wrong = right.with_columns(
        person_id=pl.when(pl.col("_partition") == 1).then(pl.col("person_id") + "-too").otherwise("person_id")
    )
    metrics = metrics_of(wrong)
    assert metrics.total("store", "entered") == 3, "out, as somebody else, and in again"
    metrics.see(sightings([corrects("p0-too", "p0", 0.0)]))
    assert metrics.said[-1].is_empty(), "corrections wait for the next window"
    after = Feed([], 65).rows().filter(pl.col("captured_ms").to_physical() >= START_MS + 40_000)
    metrics.see(after)
    assert figures(metrics) == figures(metrics_of(pl.concat([right, after])))
    again = metrics.issued.filter(pl.col("revision") == 1)
    assert set(again["zone_id"]) <= {"store", "paths", "buys", "entrance", "shelf", "till", "heat"}
    assert "door" not in set(again["zone_id"]), "what did not change is not issued again"


def test_a_merge_that_is_undone_leaves_the_counts_of_before() -> None:
    """The windows are closed when two side by side become one, and closed again when they become two."""
    right = Feed([Walk([(3, 3), (8, 3)]), Walk([(3, 3.5), (8, 3.5), (3, 3.5)])], 15).rows()
    rest = Feed([], 50).rows()
    first, second = (
        rest.filter((pl.col("captured_ms").to_physical() - START_MS).is_between(a, b, closed="left"))
        for a, b in ((15_000, 30_000), (30_000, 50_000))
    )
    metrics = metrics_of(right)
    metrics.see(pl.concat([sightings([corrects("p1", "p0", 0.0, track=1)]), first]))
    assert metrics.latest.filter(zone_id="store", start_s=0).item(0, "people") == 1
    metrics.see(pl.concat([sightings([corrects("p0", "p1", 0.0, track=1)]), second]))
    assert metrics.latest.filter(zone_id="store", start_s=0).item(0, "people") == 2
    assert figures(metrics) == figures(metrics_of(pl.concat([right, first, second])))


def test_a_split_gives_back_what_a_merge_took_and_no_more() -> None:
    """Two people were one; cam-1's second track is taken out again from 2 s on."""
    right = Feed([Walk([(3, 3), (8, 3)]), Walk([(3, 3.5), (8, 3.5), (3, 3.5)])], 15).rows()
    merged = right.with_columns(person_id=pl.when(pl.col("track_id").is_not_null()).then(pl.lit("p0")))
    rest = Feed([], 30).rows().filter(pl.col("captured_ms").to_physical() >= START_MS + 15_000)
    metrics = metrics_of(pl.concat([merged, sightings([corrects("p0", "p1", 0.0, track=1)]), rest]))
    assert figures(metrics) == figures(metrics_of(pl.concat([right, rest])))
    partly = metrics_of(pl.concat([merged, sightings([corrects("p0", "p1", 1.0, track=1)]), rest]))
    # They walk for 9 and 17 steps; of the first two they were one, and one they stay.
    store = partly.latest.filter(zone_id="store", start_s=0)
    assert store.select("people", "occupancy_mean").row(0) == (2, 24 / 20)
    assert figures(partly) != figures(metrics)


def test_corrections_reach_no_further_than_the_horizon_but_the_visit_goes_on_as_one() -> None:
    rows = Feed([Walk([(3, 3), (8, 3)] * 20)], 100).rows()
    late = pl.col("captured_ms").to_physical() - START_MS >= 50_000
    other = pl.when(pl.col("track_id").is_not_null() & late).then(pl.lit("q"))
    rows = rows.with_columns(
        person_id=other.otherwise("person_id"),
        track_id=pl.when(pl.col("track_id").is_not_null() & late).then(9).otherwise("track_id"),
    )
    at = rows["captured_ms"].to_physical().search_sorted(START_MS + 52_000)
    merge = sightings([corrects("p0", "q", 0.0)])
    metrics = metrics_of(pl.concat([rows[:at], merge, rows[at:]]), horizon_s=10.0)
    corrected = metrics.issued.filter(pl.col("revision") > 0)
    assert corrected.is_empty() or corrected["start_s"].min() >= 30
    assert metrics.latest.filter(zone_id="store", start_s=70).item(0, "longest_s") == 80.0
    assert metrics.total("store", "entered") == 1


def test_late_rows_correct_a_window_within_the_horizon_and_are_counted() -> None:
    rows = Feed(SHOPPERS, 70).rows()
    second = (pl.col("captured_ms").to_physical() - START_MS) // 1000
    is_held = (pl.col("_partition") == 0) & second.is_between(3, 5)
    held = rows.filter(is_held)
    offline = pl.concat([rows.filter(~is_held & (second < 30)), held, rows.filter(second >= 30)])
    metrics = metrics_of(offline)
    assert figures(metrics) == figures(metrics_of(rows))
    assert metrics.stage.facts(metrics.state).totals == {"late": held.height}
    strict = metrics_of(offline, horizon_s=0.0)
    assert figures(strict) != figures(metrics)
    assert strict.issued["revision"].max() == 0
    assert strict.stage.facts(strict.state).totals == {"late": held.height}


def test_a_camera_whose_clock_is_set_back_counts_nothing_until_it_has_caught_up() -> None:
    rows = Feed(SHOPPERS, 70).rows()
    second = (pl.col("captured_ms").to_physical() - START_MS) // 1000
    jumps = (pl.col("_partition") == 0) & second.is_between(40, 44)
    back = rows.with_columns(
        captured_ms=pl.when(jumps).then(pl.col("captured_ms") - pl.duration(seconds=30)).otherwise("captured_ms")
    )
    metrics = metrics_of(back)
    without = metrics_of(rows.filter(~jumps))
    assert figures(metrics) == figures(without)
    refused = pl.concat(metrics.said).filter(pl.col("_reject").is_not_null())
    assert refused.height == rows.filter(jumps).height
    assert refused["_reject"].str.starts_with("CameraClockWentBack: captured_ms is").all()
    assert refused["_offset"].to_list() == rows.filter(jumps)["_offset"].to_list()


def test_a_camera_an_hour_behind_disturbs_nobody() -> None:
    rows = Feed(SHOPPERS, 90).rows()
    hour = pl.duration(hours=1)
    is_behind = pl.col("_partition") == 1
    behind = rows.with_columns(
        captured_ms=pl.when(is_behind).then(pl.col("captured_ms") - hour).otherwise("captured_ms")
    )
    metrics = Metrics(hold_s=10.0)
    metrics.see(behind)
    alone = Metrics(hold_s=10.0)
    alone.see(rows.filter(~is_behind))
    assert figures(metrics) == figures(alone)
    assert metrics.stage.facts(metrics.state).totals["late"] > 300


def test_windows_close_by_themselves_when_nothing_comes() -> None:
    metrics = metrics_of(Feed([Walk([(3, 3), (4, 3)])], 12).rows())
    assert metrics.issued.is_empty()
    # The last frame was at 11.8 s, its record 50 ms later; windows close 2 s after their end, ticks are 5 s behind.
    assert metrics.tick(17.1).is_empty()
    assert set(metrics.tick(17.3)["closed_by"]) == {"tick"}
    assert metrics.issued["start_s"].unique().to_list() == [0]
    assert metrics.tick(18.0).is_empty()
    metrics.tick(27.3)
    assert metrics.issued["start_s"].unique().sort().to_list() == [0, 10]
    assert metrics.issued.select("_partition", "_offset").unique().height == 1


def test_a_tick_of_partitions_without_a_camera_of_the_plan_says_nothing() -> None:
    """As after a restart by a plan without the camera that was behind: the store's time is ahead of what it reached."""
    one, other = Feed(SHOPPERS, 30).rows().partition_by("_partition", maintain_order=True)
    metrics = metrics_of(pl.concat([one[:20], other]))
    cameras = [camera for camera in PLAN["camera"] if camera["name"] == "cam-2"]
    metrics.stage = StoreMetrics(plan(camera=cameras))
    assert metrics.tick(20.0, partitions=[0, 3]).is_empty()
    assert set(metrics.tick(20.0, partitions=[1])["closed_by"]) == {"tick"}


def test_state_does_not_grow_with_time() -> None:
    rows = Feed([Walk([(3, 3), (9, 3)] * 40)], 240).rows()
    metrics = Metrics(horizon_s=20.0)
    sizes = []
    for start in range(0, len(rows), 200):
        metrics.see(rows[start : start + 200])
        sizes.append(len(metrics.state))
    assert max(sizes[5:]) <= max(sizes[:5]) + 4


@pytest.mark.parametrize(
    ("options", "said"),
    [({"window_s": 3.0}, "multiple of 2"), ({"horizon_s": 15.0}, "multiple of window_s"), ({"hold_s": 0.0}, "hold_s")],
)
def test_durations_that_do_not_fit_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StoreMetrics(plan(), **options)  # type: ignore[arg-type]


def test_windows_of_a_minute_are_the_same_count() -> None:
    rows = Feed(SHOPPERS, 90).rows()
    minute, short = metrics_of(rows, window_s=60.0, horizon_s=60.0), metrics_of(rows)
    up_to = pl.col("start_s") < 40
    assert minute.latest["start_s"].unique().to_list() == [-20]
    for figure in ("crossed_in", "crossed_out"):
        assert (
            minute.latest.filter(up_to, zone_id="door")[figure].sum()
            == short.latest.filter(up_to, zone_id="door")[figure].sum()
        )


def test_zones_in_a_camera_without_a_floor_are_in_its_pixels() -> None:
    shelf = {"name": "rack", "camera": "cam-1", "polygon": [[0, 0], [960, 0], [960, 1080], [0, 1080]]}
    stage = StoreMetrics(plan(zone=[shelf], line=[], funnel=[], floor=None))
    state = stage.new_state()
    rows = []
    for frame in range(100):
        x = 10.0 * frame
        box = {"x0_px": x, "x1_px": x + 100, "y0_px": 200.0, "y1_px": 500.0, "x_m": None, "y_m": None}
        rows.append(
            {"camera_id": "cam-1", "captured_ms": START_MS + 200 * frame, "frame": frame, **person(1, 0, 0), **box}
        )
        rows.append(
            {"camera_id": "cam-2", "captured_ms": START_MS + 200 * frame, "frame": frame, **person(1, 0, 0), **box}
        )
    issued = stage(sightings(rows), state).filter(zone_id="rack")
    # The feet pass x = 960 at frame 91, in the second window; the other camera's pixels are not in the zone.
    assert issued["people"].to_list() == [1]
    assert issued["occupancy_mean"].to_list() == [1.0]


def test_places_of_the_layout_before_are_taken_over_at_their_times() -> None:
    """It had four places a slice, one for each half second."""
    at_ms = np.array([[400, -1, 1_000, 1_990]], np.int32)
    x = np.array([[1.0, np.nan, 2.0, 3.0]], np.float32)
    older = {"at_ms": at_ms, "x": x, "y": x + 5, "is_floor": at_ms >= 0, "slice_ms": np.array([START_MS])}
    taken = memory.taken_over(older)
    assert taken["at_ms"].tolist() == [[-1, -1, 400, -1, -1, 1_000, -1, -1, -1, 1_990]]
    assert taken["x"][0, [2, 5, 9]].tolist() == [1.0, 2.0, 3.0] and np.isnan(taken["x"]).sum() == 7
    assert taken["is_floor"].sum() == 3
    assert taken["slice_ms"] is older["slice_ms"]
    assert memory.taken_over(taken) is taken
