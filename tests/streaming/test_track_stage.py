"""The tracking stage: whatever the cuts, the order of boxes and the restarts, the same rows and the same state."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.state import StateTable
from streaming.testing import Changelog, every_row
from streaming.tracking import ByteTrack, TrackStage
from streaming.tracking.late import BRIDGED_MS, OWN, RECENT, Held, between
from streaming.tracking.stage import REWIND_MS

NOW_MS = 1_700_000_000_000
PARTITION = {"door": 0, "till": 1}
SCHEMA = {
    "camera_id": pl.String,
    "captured_ms": pl.Int64,
    "frame": pl.Int64,
    **dict.fromkeys(("x0_px", "y0_px", "x1_px", "y1_px", "score", "x_m"), pl.Float32),
    "_partition": pl.Int32,
    "_offset": pl.Int64,
    "_ingest_time_ms": pl.Int64,
}


def frames(*seen: tuple[str, int, list[float]], score: float = 0.9) -> pl.DataFrame:
    """(camera, time in ms, left edges of the boxes there): a frame each."""
    rows: list[dict[str, Any]] = []
    for offset, (camera, at_ms, edges) in enumerate(seen):
        frame = {
            "camera_id": camera,
            "captured_ms": NOW_MS + at_ms,
            "frame": offset,
            "_partition": PARTITION[camera],
            "_offset": offset,
            "_ingest_time_ms": NOW_MS + at_ms + 40,
        }
        boxes = [{"x0_px": x, "y0_px": 10.0, "x1_px": x + 40, "y1_px": 110.0} for x in edges]
        rows += [frame | box | {"score": score, "x_m": box["x0_px"] / 100} for box in boxes] or [frame]
    return pl.DataFrame(rows, schema=SCHEMA)


def shop(count: int = 40, seed: int = 0) -> pl.DataFrame:
    """Two cameras, people to and fro, boxes missing and false ones here and there, now and then nobody."""
    chance = np.random.default_rng(seed)
    seen = []
    for n in range(count):
        for camera in PARTITION:
            edges = [float(20 * n), float(900 - 15 * n), float(2000 + 5 * n)]
            kept = [x + float(chance.normal(0, 1.5)) for x in edges if chance.random() > 0.15]
            if chance.random() < 0.3:
                kept.append(float(chance.uniform(3000, 9000)))
            seen.append((camera, 200 * n + (0 if camera == "door" else 70), kept if n % 11 else []))
    return frames(*seen)


def cut(rows: pl.DataFrame, offsets: list[int]) -> list[pl.DataFrame]:
    """Batches that begin with these frames."""
    edges = sorted({0, *offsets, 10**9})
    return [rows.filter(pl.col("_offset").is_between(a, b, closed="left")) for a, b in pairwise(edges)]


def answered(batches: list[pl.DataFrame], stage: TrackStage, state: StateTable) -> pl.DataFrame:
    return pl.concat([stage(batch, state) for batch in batches])


def test_one_row_for_each_sighting_of_a_confirmed_track_and_one_for_a_frame_without() -> None:
    stage = TrackStage()
    state = stage.new_state()
    rows = frames(*(("door", 200 * n, [300.0, 20.0]) for n in range(3)), ("door", 600, []))
    out = stage(rows, state)
    assert out.select("frame", "track_id", "x0_px").rows() == [
        (0, None, None), (1, None, None),
        (0, 1, 20.0), (0, 2, 300.0), (1, 1, 20.0), (1, 2, 300.0),  # told late, with the frame that confirmed them
        (2, 1, 20.0), (2, 2, 300.0), (3, None, None),
    ]  # fmt: skip
    assert out["_offset"].to_list() == [0, 1, 2, 2, 2, 2, 2, 2, 3]
    assert out["captured_ms"].to_list()[2:6] == [NOW_MS, NOW_MS, NOW_MS + 200, NOW_MS + 200]
    own = [np.float32(0.2), np.float32(3.0)]
    assert out["x_m"].to_list()[2:] == [*own, *own, *own, None]  # what is a box's own goes with it
    assert out["captured_ms"].to_list()[-1] == NOW_MS + 600
    assert out.columns == [*rows.columns, "track_id", "_incomplete"]
    assert out["_incomplete"].to_list() == [True, True, *[False] * 6, True]


def test_cameras_count_for_themselves() -> None:
    stage = TrackStage()
    seen = [(camera, 200 * n + (camera == "till"), [50.0]) for n in range(4) for camera in PARTITION]
    out = stage(frames(*seen), stage.new_state()).drop_nulls("track_id")
    assert set(out.select("camera_id", "track_id").rows()) == {("door", 1), ("till", 1)}


@given(st.lists(st.integers(1, 79), max_size=8), st.integers(0, 2))
@settings(max_examples=12, deadline=None)
def test_cuts_do_not_matter(offsets: list[int], seed: int) -> None:
    rows, stage = shop(seed=seed), TrackStage()
    whole, parts = stage.new_state(), stage.new_state()
    expected = stage(rows, whole)
    assert expected["track_id"].n_unique() > 3
    assert answered(cut(rows, offsets), stage, parts).equals(expected)
    assert every_row(parts).equals(every_row(whole))


@given(st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_the_order_of_boxes_within_a_frame_does_not_matter(random: Any) -> None:
    rows, stage = shop(), TrackStage()
    order = sorted(range(rows.height), key=lambda row: (rows["_offset"][row], random.random()))
    first, second = stage.new_state(), stage.new_state()
    assert stage(rows[order], first).equals(stage(rows, second))
    assert every_row(first).equals(every_row(second))


@given(st.integers(1, 79))
@settings(max_examples=6, deadline=None)
def test_a_restart_does_not_matter(offset: int) -> None:
    rows, stage = shop(), TrackStage()
    state, log, whole = stage.new_state(), Changelog(), stage.new_state()
    expected = stage(rows, whole)
    before, after = cut(rows, [offset])
    out = [stage(before, state)]
    log.drain(state)
    resumed = stage.new_state()
    log.restore(resumed)
    out.append(stage(after, resumed))
    assert pl.concat(out).equals(expected)
    log.drain(resumed)
    assert every_row(resumed).equals(every_row(whole))
    assert log.rows(resumed).equals(every_row(whole))  # what was drained is all there is


@given(st.lists(st.integers(1, 79), max_size=8), st.integers(0, 2), st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_all_of_a_believed_track_is_told_once_and_nothing_of_one_that_never_was(
    offsets: list[int], seed: int, confirm_hits: int
) -> None:
    rows, stage = shop(seed=seed), TrackStage(ByteTrack(confirm_hits=confirm_hits))
    out = answered(cut(rows, offsets), stage, stage.new_state()).drop_nulls("track_id")
    assert not out.select("camera_id", "frame", "track_id").is_duplicated().any()
    sightings = out.group_by("camera_id", "track_id").agg(pl.len(), pl.col("frame").n_unique().alias("frames"))
    assert (sightings["frames"] >= confirm_hits).all()
    box = ["camera_id", "frame", "captured_ms", "x0_px", "y0_px", "x1_px", "y1_px", "score", "x_m"]
    found, filled = out.drop_nulls("score"), out.filter(pl.col("score").is_null())
    assert found.join(rows, on=box, how="anti").is_empty(), "as it was found, with the time at which it was found"
    believed = found.group_by("camera_id", "track_id").agg(at_ms=pl.col("_ingest_time_ms").min() - 40)
    late = found.join(believed, on=["camera_id", "track_id"]).filter(pl.col("captured_ms") < pl.col("at_ms"))
    assert late.height == (confirm_hits - 1) * believed.height, "told with the frame in which it was believed"
    frame = ["camera_id", "frame", "captured_ms"]
    assert filled.join(rows, on=frame, how="anti").is_empty(), "in frames that were taken"
    gaps = found.sort("frame").with_columns(
        frames=pl.col("frame").diff().over("camera_id", "track_id") // 2 - 1,
        for_ms=pl.col("captured_ms").diff().over("camera_id", "track_id"),
    )
    assert filled.height == gaps.filter(pl.col("for_ms") <= BRIDGED_MS)["frames"].sum()
    assert filled.height > 0


def test_who_is_missed_is_told_with_the_next_sighting_on_the_straight_way() -> None:
    stage = TrackStage(ByteTrack(confirm_hits=2))
    state = stage.new_state()
    walk = [("door", 200 * n, [] if n in (2, 3) else [10.0 * n]) for n in range(6)]
    out = stage(frames(*walk), state)
    mine = out.drop_nulls("track_id")
    assert mine.select("frame", "_offset").rows() == [(0, 1), (1, 1), (2, 4), (3, 4), (4, 4), (5, 5)]
    np.testing.assert_allclose(mine["x0_px"], 10.0 * np.arange(6), rtol=1e-6)
    np.testing.assert_allclose(mine["x1_px"], 40 + 10.0 * np.arange(6), rtol=1e-6)
    np.testing.assert_allclose(mine["x_m"], 0.1 * np.arange(6), rtol=1e-6)
    assert mine["score"].is_null().to_list() == [False, False, True, True, False, False]
    assert mine["captured_ms"].to_list() == [NOW_MS + 200 * n for n in range(6)]
    nobody = out.filter(pl.col("track_id").is_null())
    assert nobody.select("frame", "_incomplete").rows() == [(0, True), (2, True), (3, True)]


def test_who_is_missed_for_long_may_have_been_anywhere() -> None:
    stage = TrackStage(ByteTrack(confirm_hits=2, lost_s=3.0))
    missed = (BRIDGED_MS + 200) // 200
    walk = [("door", 200 * n, [] if 2 <= n < 1 + missed else [50.0]) for n in range(missed + 3)]
    out = stage(frames(*walk), stage.new_state()).drop_nulls("track_id")
    assert out["track_id"].n_unique() == 1
    assert out["frame"].to_list() == [0, 1, 1 + missed, 2 + missed]


def test_more_frames_than_are_remembered_are_not_filled_in() -> None:
    held = [Held(at_ms, at_ms // 10, np.zeros(len(OWN), np.float32)) for at_ms in (0, 500)]
    frames_ms = [(at_ms, at_ms // 10) for at_ms in range(0, 500, 10)]
    assert [one.frame for one in between(*held, frames_ms)] == list(range(1, 50))
    assert between(*held, frames_ms[-RECENT:]) == []
    assert between(*held, []) == []


def test_what_is_held_of_a_track_on_trial_goes_with_it() -> None:
    stage = TrackStage()
    state = stage.new_state()
    stage(frames(("door", 0, [50.0]), ("door", 200, [])), state)
    assert (state["held_ms"] > 0).sum() == 1
    out = stage(frames(("door", 5_000, []), *(("door", 6_000 + 200 * n, [50.0]) for n in range(3))), state)
    assert out.drop_nulls("track_id")["captured_ms"].to_list() == [NOW_MS + 6_000 + 200 * n for n in range(3)]
    assert state["held_ms"][state["held_ms"] > 0].tolist() == [NOW_MS + 6_400]  # the last sighting of who is believed
    stage(frames(("door", 60_000, [])), state)
    assert (state["held_ms"] > 0).sum() == 0


def test_ids_are_never_used_again_and_the_state_stays_small() -> None:
    stage = TrackStage()
    state, told = stage.new_state(), []
    for visit in range(40):
        at_ms = 20_000 * visit
        out = stage(frames(*(("door", at_ms + 200 * n, [50.0]) for n in range(4))), state)
        told += sorted(set(out["track_id"].drop_nulls()))
    assert told == sorted(set(told))
    assert len(told) == 40
    assert len(state) == 2  # the camera and its last visitor
    assert np.count_nonzero(state["track_id"]) == 1


def test_a_repeated_frame_is_passed_over_and_counted() -> None:
    stage = TrackStage()
    state = stage.new_state()
    seen = [("door", 200 * n, [50.0 + n]) for n in range(4)]
    expected = stage(frames(*seen), copy.deepcopy(state))
    out = stage(frames(*seen[:3], seen[1], seen[2], seen[3]), state)
    assert out.select("captured_ms", "track_id", "x0_px").equals(expected.select("captured_ms", "track_id", "x0_px"))
    assert stage.facts(state).totals["frames repeated"] == 2


def test_a_clock_set_back_ends_tracks_and_time_goes_on() -> None:
    stage = TrackStage()
    state = stage.new_state()
    stage(frames(*(("door", 3_600_000 + 200 * n, [50.0]) for n in range(5))), state)
    out = stage(frames(*(("door", 200 * n, [50.0]) for n in range(5))), state)
    assert out["track_id"].to_list() == [None, None, 2, 2, 2, 2, 2]
    assert stage.facts(state).totals["camera clocks set back"] == 1
    edge = stage(frames(("door", 800 - REWIND_MS, [50.0])), state)
    assert edge.is_empty()  # just a repeat


def test_after_a_clock_was_set_back_no_frame_of_before_is_remembered_however_the_stream_is_cut() -> None:
    before = [("door", 3_600_000 + 200 * n, [50.0]) for n in range(RECENT + 4)]
    after = [("door", 200 * n, [] if n in (6, 7) else [50.0]) for n in range(9)]
    rows, stage = frames(*before, *after), TrackStage()
    whole, parts = stage.new_state(), stage.new_state()
    expected = stage(rows, whole)
    filled = expected.filter(pl.col("score").is_null() & pl.col("track_id").is_not_null())
    assert filled["frame"].to_list() == [RECENT + 10, RECENT + 11]
    assert answered(cut(rows, list(range(len(before), len(before) + len(after)))), stage, parts).equals(expected)
    assert every_row(parts).equals(every_row(whole))


def test_a_frame_from_the_future_moves_nothing() -> None:
    stage = TrackStage()
    state = stage.new_state()
    rows = frames(*(("door", 200 * n, [50.0]) for n in range(6)))
    wrong = rows.with_columns(
        captured_ms=pl.when(pl.col("frame") == 3).then(pl.col("captured_ms") + 3_600_000).otherwise("captured_ms")
    )
    assert stage(wrong, state)["track_id"].to_list() == [None, None, 1, 1, 1, 1, 1]
    assert stage.facts(state).totals["frames from the future"] == 1


def test_boxes_that_are_none_are_passed_over_and_counted() -> None:
    stage = TrackStage()
    state = stage.new_state()
    rows = frames(*(("door", 200 * n, [50.0, 500.0, 900.0, 1300.0]) for n in range(4)))
    broken = rows.with_columns(
        x1_px=pl.when(pl.col("x0_px") == 500).then("x0_px").otherwise("x1_px"),  # of no width
        y1_px=pl.when(pl.col("x0_px") == 900).then(float("inf")).otherwise("y1_px"),
        score=pl.when(pl.col("x0_px") == 1300).then(float("nan")).otherwise("score"),
    )
    out = stage(broken, state)
    assert out["track_id"].to_list() == [None, None, 1, 1, 1, 1]
    assert stage.facts(state).totals["boxes refused"] == 12


def test_no_rows_are_no_rows() -> None:
    stage = TrackStage()
    assert stage(frames(), stage.new_state()).schema["track_id"] == pl.Int64
