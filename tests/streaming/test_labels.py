"""Frames with the outcome of their match: which matches count, and that it does not matter how frames are cut."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.features.labels import AWAITING, JOINED, OUTSIDE, REMADE, Labeller, LabelRule
from streaming.features.match import events_frame
from streaming.features.match_fold import MatchFold, fold_events

T0 = 1_700_000_000_000
HOUR = 3_600_000


def row(match: str, sequence: int, kind: str, clock_s: float, at_ms: int | None = None, **more: Any) -> dict[str, Any]:
    time_ms = T0 + round(clock_s * 1000) if at_ms is None else T0 + at_ms
    given = {"match_id": match, "sequence": sequence, "event_time_ms": time_ms, "kind": kind, "clock_s": clock_s}
    return {"title": "lol", **given, **more}


def labelled(rows: list[dict[str, Any]], rule: LabelRule = LabelRule()) -> tuple[pl.DataFrame, Counter[str]]:  # noqa: B008
    labeller = Labeller(rule)
    frames = labeller.add(fold_events(events_frame(rows)))
    labeller.finish()
    return frames, labeller.left_out


PLAYED = [
    row("m", 0, "start", 0),
    row("m", 1, "snapshot", 60, gold=100.0),
    row("m", 2, "snapshot", 120, gold=200.0),
    row("m", 3, "end", 150, side="B"),
]


def test_a_finished_match_has_its_winner_beside_every_frame_before_the_end() -> None:
    frames, left_out = labelled(PLAYED)
    assert frames["clock_s"].to_list() == [0.0, 60.0, 120.0] and left_out == {}
    assert frames["winner"].to_list() == ["B"] * 3
    assert frames["result_time_ms"].to_physical().unique().to_list() == [T0 + 150_000]
    assert frames["result_offset"].unique().to_list() == [3] and frames["offset"].to_list() == [0, 1, 2]
    assert frames["began_ms"].to_physical().unique().to_list() == [T0]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (PLAYED[:3], AWAITING),
        (PLAYED[1:], JOINED),
        ([*PLAYED[:3], row("m", 3, "remake", 150)], REMADE),
    ],
)
def test_a_match_that_teaches_nothing_is_left_out_with_the_reason(rows: list[dict[str, Any]], reason: str) -> None:
    frames, left_out = labelled(rows)
    assert frames.is_empty() and left_out == {reason: 1}


@pytest.mark.parametrize(
    ("rule", "frames", "left_out"),
    [
        (LabelRule(T0, None, None), 3, {}),
        (LabelRule(T0 + 1, None, None), 0, {JOINED: 1}),
        (LabelRule(None, T0, T0 + HOUR), 0, {OUTSIDE: 1}),
        (LabelRule(None, T0 + 120_000, T0 + 150_001), 2, {}),
        (LabelRule(None, T0 + 120_001, T0 + 150_001), 3, {}),
        (LabelRule(None, T0 + 120_000, T0 + 150_000), 0, {AWAITING: 1}),
    ],
)
def test_the_window_bounds_beginnings_frames_and_results(
    rule: LabelRule, frames: int, left_out: dict[str, int]
) -> None:
    made, reasons = labelled(PLAYED, rule)
    assert (made.height, reasons) == (frames, left_out)


def test_an_attempt_that_was_restarted_never_gets_a_result() -> None:
    again = [
        row("m", 3, "start", 0, 200_000),
        row("m", 4, "snapshot", 60, 260_000),
        row("m", 5, "end", 90, 290_000, side="A"),
    ]
    frames, left_out = labelled([*PLAYED[:3], *again])
    assert frames["attempt"].unique().to_list() == [1] and frames.height == 2 and left_out == {AWAITING: 1}


def test_a_window_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="begins, ends, and then waits"):
        LabelRule(5, 4, 6)


STEP = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["start", "snapshot", "snapshot", "snapshot", "end", "remake"]),
    st.sampled_from([1_000, 40_000, 9 * 60_000]),
    st.integers(1, 30),  # so often, as time only passes in small steps
)


@settings(max_examples=60)
@given(steps=st.lists(STEP, max_size=25), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_how_frames_are_cut_does_not_matter(steps: list[tuple[str, str, int, int]], cuts: list[int]) -> None:
    """Restarts, silence of hours, results that never come."""
    rows, now_ms, clock = [], 0, Counter[str]()
    for match, kind, pause_ms, often in steps:
        for _ in range(often if kind == "snapshot" else 1):
            now_ms += pause_ms
            clock[match] = 0 if kind == "start" else clock[match] + min(pause_ms, 40_000)
            side = {"side": "A"} if kind == "end" else {}
            rows.append(row(match, len(rows), kind, clock[match] / 1000, now_ms, **side))
    events = events_frame(rows)
    events = events.with_columns(
        _partition=pl.lit(0, pl.Int32),
        _offset=pl.int_range(pl.len(), dtype=pl.Int64),
        _ingest_time_ms=pl.lit(0, pl.Int64),
        _schema_id=pl.lit(0, pl.Int32),
    )
    rule = LabelRule(T0, T0 + 2 * HOUR, T0 + 3 * HOUR)
    results = []
    for bounds in ([0, len(events)], sorted({0, len(events), *(min(cut, len(events)) for cut in cuts)})):
        fold, labeller = MatchFold(), Labeller(rule)
        state, made = fold.new_state(), []
        for first, end in pairwise(bounds):
            made.append(labeller.add(fold(events.slice(first, end - first), state)))
        labeller.finish()
        frames = pl.concat(made).sort("offset") if made else None
        results.append((frames.rows() if frames is not None else [], sorted(labeller.left_out.items())))
    assert repr(results[0]) == repr(results[1])
