"""Windows on streams written by hand; times in seconds, the answers worked out on paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from streaming.pipeline import FactualStage, TickingStage
from streaming.state import StateTable
from streaming.testing import Changelog, every_row
from streaming.windows import Aggregate, Corrections, Session, Sliding, Tumbling, Windows, WindowStage

TIME = pl.Datetime("ms", "UTC")
FIGURES = (
    Aggregate("rows", "count"),
    Aggregate("known", "count", "amount"),
    Aggregate("total", "sum", "amount"),
    Aggregate("least", "min", "amount"),
    Aggregate("most", "max", "amount"),
    Aggregate("mean", "mean", "amount"),
    Aggregate("first", "first", "amount"),
    Aggregate("last", "last", "amount"),
)
COUNT = (Aggregate("rows", "count"),)

Row = tuple[Any, ...]


def stage(windows: Windows, aggregates: Sequence[Aggregate] = COUNT, **options: Any) -> WindowStage:
    return WindowStage("zones", "zone", "time", windows, aggregates, **options)


def feed(*rows: Row, first: int = 0) -> pl.DataFrame:
    """Rows of (zone, time_s[, amount[, partition[, log_s]]]) as a runner hands them over; logged when they happen."""
    filled = [(*row, *(None, 0, row[1])[len(row) - 2 :]) for row in rows]
    zone, time_s, amount, partition, log_s = zip(*filled, strict=True)

    def in_ms(times: Sequence[float | None]) -> list[int | None]:
        return [None if time is None else round(time * 1000) for time in times]

    return pl.DataFrame(
        {
            "zone": pl.Series(zone, dtype=pl.String),
            "time": pl.Series(in_ms(time_s), dtype=pl.Int64).cast(TIME),
            "amount": pl.Series(amount, dtype=pl.Float64),
            "_partition": pl.Series(partition, dtype=pl.Int32),
            "_offset": pl.Series(range(first, first + len(rows)), dtype=pl.Int64),
            "_ingest_time_ms": pl.Series(in_ms(log_s), dtype=pl.Int64),
            "_schema_id": pl.Series([7] * len(rows), dtype=pl.Int32),
        }
    )


def told(out: pl.DataFrame, *columns: str) -> list[Row]:
    """(zone, start_s, end_s, and these columns) of each row."""
    seconds = [(pl.col(f"window_{end}_ms").to_physical() / 1000) for end in ("start", "end")]
    return out.select("zone", *seconds, *columns).rows()


def test_a_tumbling_window_closes_at_the_second_row_beyond_its_end() -> None:
    windows = stage(Tumbling(10), FIGURES)
    state = windows.new_state()
    rows = feed(
        ("hall", 0.0, 4.0), ("hall", 9.999, -2.5), ("door", 3.0), ("hall", 3.0, float("nan")), ("hall", 5.0, 1.0),
        ("hall", 10.0, 8.0),  # the end is not in the window; a single row does not move the watermark
        ("door", 12.0, 9.0),
    )  # fmt: skip
    out = windows(rows, state)
    names = [figure.name for figure in FIGURES]
    assert told(out, *names) == [
        ("door", 0.0, 10.0, 1, 0, None, None, None, None, None, None),
        ("hall", 0.0, 10.0, 4, 3, 2.5, -2.5, 4.0, 2.5 / 3, 4.0, -2.5),
    ]
    assert out.select("revision", "closed_by", "late", "_reject").unique().rows() == [(0, "data", False, None)]
    assert out.select("_partition", "_offset", "_ingest_time_ms", "_schema_id").unique().rows() == [(0, 6, 12_000, 7)]
    assert dict(out.schema) == dict(windows.schema)
    assert sorted(state.keys()) == ["0/10000-20000/door", "0/10000-20000/hall", "@watermark/0"]


def test_sliding_windows_count_a_row_in_each_that_it_falls_into() -> None:
    windows = stage(Sliding(10, 4))
    out = windows(feed(("hall", 8.0), ("hall", 11.9), ("hall", 30.0), ("hall", 30.0)), windows.new_state())
    # 8.0 falls into [0, 10), [4, 14), [8, 18); 11.9 into [4, 14), [8, 18)
    assert told(out, "rows", "_offset") == [
        ("hall", 0.0, 10.0, 1, 2),  # by 11.9 and 30.0, both beyond
        ("hall", 4.0, 14.0, 2, 3),
        ("hall", 8.0, 18.0, 2, 3),
    ]


def test_a_row_may_miss_one_sliding_window_and_be_in_time_for_the_next() -> None:
    windows = stage(Sliding(10, 5))
    state = windows.new_state()
    out = windows(feed(("hall", 12.0), ("hall", 12.0), ("hall", 8.0), ("hall", 15.0), ("hall", 15.0)), state)
    assert told(out, "rows", "late", "_offset") == [
        ("hall", 0.0, 10.0, 1, True, 2),
        ("hall", 5.0, 15.0, 3, False, 4),
    ]
    assert windows.facts(state).totals == {"late": 1}


def test_a_session_ends_with_the_gap_and_not_before() -> None:
    windows = stage(Session(5), FIGURES)
    rows = feed(
        ("ann", 1.0, 1.0), ("ann", 5.999, 2.0),  # closer than the gap
        ("bob", 4.0, 7.0),
        ("ann", 10.999, 3.0),  # as far as the gap: another session
        ("bob", 30.0), ("bob", 30.0),
    )  # fmt: skip
    out = windows(rows, windows.new_state())
    assert told(out, "rows", "total", "first", "last", "_offset") == [
        ("bob", 4.0, 9.0, 1, 7.0, 7.0, 7.0, 4),
        ("ann", 1.0, 10.999, 2, 3.0, 1.0, 2.0, 4),
        ("ann", 10.999, 15.999, 1, 3.0, 3.0, 3.0, 5),
    ]


def test_a_row_between_two_sessions_joins_them() -> None:
    windows = stage(Session(5), FIGURES, lateness_s=20)
    state = windows.new_state()
    windows(feed(("ann", 10.0, 1.0), ("ann", 18.0, 2.0), ("ann", 26.0, 4.0)), state)
    assert sorted(state.keys()) == ["0/s0/ann", "0/s1/ann", "0/s2/ann", "@watermark/0"]
    windows(feed(("ann", 14.0, 8.0), first=3), state)
    assert sorted(state.keys()) == ["0/s0/ann", "0/s1/ann", "@watermark/0"]
    out = windows(feed(("ann", 90.0), ("ann", 90.0), first=4), state)
    assert told(out, "rows", "total", "first", "last") == [
        ("ann", 10.0, 23.0, 3, 11.0, 1.0, 2.0),
        ("ann", 26.0, 31.0, 1, 4.0, 4.0, 4.0),
    ]
    assert sorted(state.keys()) == ["0/s0/ann", "@watermark/0"]


def test_rows_inside_a_long_session_belong_to_it_however_far_apart_they_are() -> None:
    windows = stage(Session(5), lateness_s=60)
    state = windows.new_state()
    windows(feed(*[("ann", float(second)) for second in range(10, 50, 4)]), state)
    windows(feed(("ann", 11.0), ("ann", 30.0), ("ann", 45.0), first=10), state)
    assert sorted(state.keys()) == ["0/s0/ann", "@watermark/0"]
    assert state["n"][state.slots(["0/s0/ann"])].tolist() == [13]


def test_a_row_for_a_session_that_is_open_is_late_all_the_same_beyond_the_lateness() -> None:
    windows = stage(Session(100), lateness_s=5)
    state = windows.new_state()
    out = windows(feed(("ann", 50.0), ("ann", 60.0), ("ann", 70.0), ("ann", 55.0), ("ann", 54.999)), state)
    assert told(out, "rows", "late", "_offset") == [("ann", 54.999, 154.999, 1, True, 4)]
    assert state["end_ms"][state.slots(["0/s0/ann"])].tolist() == [170_000]
    assert windows.facts(state).totals == {"late": 1}


def test_rows_within_the_lateness_count_and_those_beyond_go_aside() -> None:
    windows = stage(Tumbling(10), FIGURES, lateness_s=5)
    state = windows.new_state()
    rows = feed(
        ("hall", 1.0, 1.0), ("hall", 14.999, 0.0), ("hall", 14.999, 0.0), ("hall", 2.0, 2.0),  # watermark 14.999
        ("hall", 15.0, 0.0), ("hall", 15.0, 0.0),  # 15: closed
        ("hall", 3.0, 4.0), ("hall", 4.0, 8.0),
    )  # fmt: skip
    out = windows(rows, state)
    assert told(out, "rows", "total", "revision", "closed_by", "late", "_offset") == [
        ("hall", 0.0, 10.0, 2, 3.0, 0, "data", False, 5),
        ("hall", 0.0, 10.0, 1, 4.0, None, None, True, 6),
        ("hall", 0.0, 10.0, 1, 8.0, None, None, True, 7),
    ]
    assert windows.facts(state).totals == {"late": 2}


def test_late_rows_are_gathered_to_corrections_up_to_the_horizon() -> None:
    windows = stage(Tumbling(10), FIGURES, corrections=Corrections(horizon_s=20, every_s=10))
    state = windows.new_state()

    def at(time_s: float) -> list[Row]:
        return [("door", time_s), ("door", time_s)]  # takes the watermark there

    rows = feed(
        ("hall", 1.0, 1.0), *at(10.0),  # closed by row 2
        ("hall", 2.0, 2.0), ("hall", 3.0, 4.0), *at(19.999), ("hall", 4.0, 8.0), *at(20.0),  # corrected by row 9
        *at(29.0), ("hall", 5.0, 16.0), *at(45.0),  # corrected by row 14, and final
        ("hall", 6.0, 32.0),
    )  # fmt: skip
    out = windows(rows, state)
    hall = out.filter(zone="hall")
    assert told(hall, "rows", "total", "revision", "late", "_offset") == [
        ("hall", 0.0, 10.0, 1, 1.0, 0, False, 2),
        ("hall", 0.0, 10.0, 4, 15.0, 1, False, 9),
        ("hall", 0.0, 10.0, 5, 31.0, 2, False, 14),
        ("hall", 0.0, 10.0, 1, 32.0, None, True, 15),
    ]
    assert windows.facts(state).totals == {"late": 5}, "the fact counts those corrected as well"
    assert "0/0-10000/hall" not in state


def test_without_late_rows_there_is_no_correction() -> None:
    windows = stage(Tumbling(10), corrections=Corrections(horizon_s=20, every_s=5))
    state = windows.new_state()
    out = windows(feed(("hall", 1.0), ("hall", 11.0), ("hall", 11.0), ("hall", 29.9), ("hall", 29.9)), state)
    assert told(out, "revision") == [("hall", 0.0, 10.0, 0), ("hall", 10.0, 20.0, 0)]
    assert sorted(state.keys()) == [
        "0/0-10000/hall", "0/10000-20000/hall", "0/20000-30000/hall", "@watermark/0",
    ]  # fmt: skip
    windows(feed(("hall", 30.0), ("hall", 30.0), first=5), state)
    assert "0/0-10000/hall" not in state


def test_a_window_that_only_late_rows_fall_into_is_issued_as_revision_0() -> None:
    windows = stage(Tumbling(10), corrections=Corrections(horizon_s=20, every_s=5))
    out = windows(
        feed(("door", 12.0), ("door", 12.0), ("hall", 1.0), ("door", 15.0), ("door", 15.0)), windows.new_state()
    )
    assert told(out, "rows", "revision", "_offset") == [("hall", 0.0, 10.0, 1, 0, 4)]


def test_one_partition_does_not_close_the_windows_of_another() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    out = windows(feed(("hall", 1.0, None, 0), ("door", 50.0, None, 1), ("door", 51.0, None, 1)), state)
    assert told(out) == []
    out = windows(feed(("hall", 10.0, None, 0), ("hall", 10.0, None, 0), first=3), state)
    assert told(out, "_partition") == [("hall", 0.0, 10.0, 0)]


def test_a_key_in_two_partitions_has_a_window_in_each() -> None:
    windows = stage(Tumbling(10))
    rows = feed(*[("hall", time_s, None, partition) for time_s in (1.0, 10.0, 10.0) for partition in (0, 1)])
    assert told(windows(rows, windows.new_state()), "rows", "_partition") == [
        ("hall", 0.0, 10.0, 1, 0),
        ("hall", 0.0, 10.0, 1, 1),
    ]


def test_a_single_clock_that_is_ahead_closes_nothing() -> None:
    windows = stage(Tumbling(10), ahead_s=60)
    state = windows.new_state()
    rows = feed(("hall", 1.0), ("door", 61.0, None, 0, 1.0), ("hall", 2.0), ("hall", 3.0))
    assert told(windows(rows, state)) == []
    assert state["watermark_ms"][state.slots(["@watermark/0"])].tolist() == [2_000]


def test_event_times_beyond_the_log_time_are_rejected_and_move_nothing() -> None:
    windows = stage(Tumbling(10), ahead_s=60)
    state = windows.new_state()
    year_2099 = 4_070_908_800.0
    rows = feed(("hall", 1.0), *[("door", year_2099, None, 0, 1.0)] * 3, ("hall", 2.0), ("door", 62.001, None, 0, 2.0))
    out = windows(rows, state)
    assert out["_offset"].to_list() == [1, 2, 3, 5]
    assert out.item(0, "_reject") == (
        "EventFromTheFuture: time is 4070908800000, 4070908799000 ms after the record reached the log; "
        "60000 ms are allowed"
    )
    assert out.row(3, named=True) == {
        **dict.fromkeys(windows.schema),
        "zone": "door",
        "_partition": 0,
        "_offset": 5,
        "_ingest_time_ms": 2_000,
        "_schema_id": 7,
        "_reject": "EventFromTheFuture: time is 62001, 60001 ms after the record reached the log; 60000 ms are allowed",
    }
    assert sorted(state.keys()) == ["0/0-10000/hall", "@watermark/0"]
    assert state["watermark_ms"][state.slots(["@watermark/0"])].tolist() == [1_000]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((None, 1.0), "zone is missing"),
        (("", 1.0), "zone is missing"),
        (("hall", None, 1.0, 0, 1.0), "time is missing"),
        (("hall", -0.001), "time is -1, not a time from 1970 to 2248"),
        (("hall", 2.0**43 / 1000), "time is 8796093022208, not a time from 1970 to 2248"),
        (("hall", 1.0, float("inf")), "amount is inf, not below 8.79609e+12 in size"),
        (("hall", 1.0, -(2.0**43)), "amount is -8796093022208.0, not below 8.79609e+12 in size"),
    ],
)
def test_a_row_that_cannot_be_counted_is_rejected_with_the_reason(row: Row, reason: str) -> None:
    windows = stage(Tumbling(10), FIGURES)
    state = windows.new_state()
    out = windows(feed(row, ("hall", 1.0, 2.0**43 - 1)), state)
    assert out.select("_offset", "_reject").rows() == [(0, f"InvalidEvent: {reason}")]
    assert state["n"][state.slots(["0/0-10000/hall"])].tolist() == [1]


def test_sums_are_exact_where_floats_are_not() -> None:
    amounts = [1e12, 0.1, 0.2, -1e12, 1e-7]
    sums = set()
    for order in (amounts, amounts[::-1], sorted(amounts)):
        windows = stage(Tumbling(10), FIGURES)
        rows = feed(*[("hall", 1.0, amount) for amount in order], ("hall", 10.0), ("hall", 10.0))
        sums.add(windows(rows, windows.new_state())["total"][0])
    (total,) = sums
    assert total == pytest.approx(0.3000001, abs=3 * 2.0**-33)
    assert sum(amounts) != pytest.approx(0.3000001, abs=1e-6), "a plain sum would not do"


def test_of_equal_times_the_first_and_the_last_go_by_offset() -> None:
    windows = stage(Tumbling(10), FIGURES)
    state = windows.new_state()
    windows(feed(("hall", 5.0, 1.0), ("hall", 5.0, 2.0), ("hall", 5.0, None)), state)
    windows(feed(("hall", 5.0, 3.0), first=3), state)
    out = windows(feed(("hall", 10.0), ("hall", 10.0), first=4), state)
    assert told(out, "first", "last") == [("hall", 0.0, 10.0, 1.0, 3.0)]


def test_there_is_one_zero() -> None:
    windows = stage(Tumbling(10), FIGURES)
    state = windows.new_state()
    windows(feed(("hall", 1.0, -0.0), ("hall", 2.0, 0.0)), state)
    other = windows.new_state()
    windows(feed(("hall", 1.0, 0.0), ("hall", 2.0, -0.0)), other)
    assert every_row(state).equals(every_row(other))


def test_whole_numbers_and_booleans_can_be_aggregated() -> None:
    rows = feed(*[("hall", 1.0)] * 3, ("hall", 10.0), ("hall", 10.0)).with_columns(
        hits=pl.Series([3, 4, None, 0, 0]), inside=pl.Series([True, False, True, None, None])
    )
    windows = stage(Tumbling(10), [Aggregate("hits", "sum", "hits"), Aggregate("share", "mean", "inside")])
    assert told(windows(rows, windows.new_state()), "hits", "share") == [("hall", 0.0, 10.0, 7.0, 2 / 3)]


# What ticks do. A live feed: rows reach the log when they happen.

IDLE_MS = 60_000


@pytest.mark.parametrize("shape", [Tumbling(10), Session(7)])
def test_a_quiet_partition_closes_at_end_lateness_and_idle_time_and_not_before(shape: Windows) -> None:
    windows = stage(shape, FIGURES, lateness_s=5, idle_s=60)
    state = windows.new_state()
    windows(feed(("hall", 1.0, 1.0), ("hall", 3.0, 2.0)), state)
    before = every_row(state)
    assert windows.tick(15_000 + IDLE_MS - 1, [0], state).is_empty()
    assert every_row(state).equals(before)
    out = windows.tick(15_000 + IDLE_MS, [0], state)
    start, end = (0.0, 10.0) if isinstance(shape, Tumbling) else (1.0, 10.0)
    assert told(out, "rows", "total", "revision", "closed_by", "late") == [
        ("hall", start, end, 2, 3.0, 0, "tick", False)
    ]
    assert out.select("_partition", "_offset", "_ingest_time_ms", "_schema_id").rows() == [(0, 1, 3_000, 7)]
    assert state.keys() == ["@watermark/0"]


def test_a_tick_says_what_data_would_have_said() -> None:
    rows = [("hall", 1.0, 0.1), ("door", 3.0, 0.2), ("hall", 12.0, 0.7)]
    by_data, by_tick = stage(Sliding(10, 5), FIGURES), stage(Sliding(10, 5), FIGURES)
    said = by_data(feed(*rows, ("x", 40.0), ("x", 40.0)), by_data.new_state())
    state = by_tick.new_state()
    ticked = pl.concat([by_tick(feed(*rows), state), by_tick.tick(20_000 + IDLE_MS, [0], state)])
    when = ["closed_by", "_offset", "_ingest_time_ms"]
    order = ["window_end_ms", "zone"]
    assert ticked["closed_by"].unique().to_list() == ["tick"]
    assert ticked.drop(when).sort(order).equals(said.drop(when).sort(order))


def test_a_single_row_ever_is_closed_by_tick() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    windows(feed(("hall", 4.0)), state)
    assert told(windows.tick(10_000 + IDLE_MS, [0], state), "rows") == [("hall", 0.0, 10.0, 1)]


def test_what_comes_after_a_tick_is_late() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    windows(feed(("hall", 4.0)), state)
    windows.tick(15_000 + IDLE_MS, [0], state)
    out = windows(feed(("hall", 5.0), ("hall", 12.0), first=1), state)
    assert told(out, "late") == [("hall", 0.0, 10.0, True)]
    assert "0/10000-20000/hall" in state, "a tick moves the watermark no further than it must"


def test_what_comes_after_a_tick_is_corrected_to_what_a_replay_would_say() -> None:
    corrected = stage(Tumbling(10), FIGURES, corrections=Corrections(60, 60))
    state = corrected.new_state()
    corrected(feed(("hall", 4.0, 1.0)), state)
    corrected.tick(10_000 + IDLE_MS, [0], state)
    corrected(feed(("hall", 5.0, 2.0), first=1), state)
    out = corrected.tick(300_000, [0], state)
    replay = stage(Tumbling(10), FIGURES, corrections=Corrections(60, 60))
    said = replay(feed(("hall", 4.0, 1.0), ("hall", 5.0, 2.0), ("x", 20.0), ("x", 20.0)), replay.new_state())
    names = [figure.name for figure in FIGURES]
    assert told(out, *names, "revision") == [(*told(said, *names)[0], 1)]


def test_only_partitions_that_have_been_read_to_the_end_are_quiet() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    windows(feed(("hall", 4.0, None, 0), ("door", 4.0, None, 1)), state)
    assert told(windows.tick(1_000_000, [1, 2], state)) == [("door", 0.0, 10.0)]
    assert "@watermark/2" not in state


def test_late_rows_do_not_keep_a_window_open_for_ever() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    windows(feed(("hall", 22.0), ("hall", 23.0)), state)
    for second in range(24, 90):  # a device hands in its backlog all the while
        windows(feed(("door", second / 10, None, 0, float(second)), first=second), state)
    # The watermark was at 22 s at 23 s: event time is 1 s behind.
    assert windows.tick(31_000 + IDLE_MS - 1, [0], state).is_empty()
    assert told(windows.tick(31_000 + IDLE_MS, [0], state)) == [("hall", 20.0, 30.0)]


def test_a_feed_that_arrives_minutes_after_the_fact_is_not_closed_by_the_wall_clock() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    windows(feed(("hall", 1.0, None, 0, 301.0), ("hall", 3.0, None, 0, 303.0)), state)
    assert windows.tick(310_000 + IDLE_MS - 1, [0], state).is_empty()
    assert told(windows.tick(310_000 + IDLE_MS, [0], state)) == [("hall", 0.0, 10.0)]


def test_rows_ahead_of_the_log_do_not_take_ticks_ahead() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    windows(feed(("hall", 5.0, None, 0, 1.0), ("hall", 5.0, None, 0, 1.0)), state)
    assert windows.tick(10_000 + IDLE_MS - 1, [0], state).is_empty()
    assert told(windows.tick(10_000 + IDLE_MS, [0], state)) == [("hall", 0.0, 10.0)]


def test_years_that_are_replayed_are_not_taken_to_the_present_by_a_tick() -> None:
    windows = stage(Tumbling(3600))
    state = windows.new_state()
    now_s = 1_700_000_000.0
    windows(feed(("hall", 100.0, None, 0, now_s), ("hall", 200.0, None, 0, now_s)), state)
    assert windows.tick(round(now_s * 1000) + 2 * IDLE_MS, [0], state).is_empty()


def test_after_an_outage_ticks_follow_the_feed_again() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    windows(feed(("hall", 1.0), ("hall", 2.0)), state)
    windows.tick(10_000 + IDLE_MS, [0], state)
    # The feed comes back, 1000 s behind from now on; each row moves its own time on, so no tick runs ahead of it.
    for second in range(12, 30):
        windows(feed(("hall", float(second), None, 0, second + 1000.0), first=second), state)
        assert windows.tick((second + 1001) * 1000, [0], state).is_empty()
    assert windows.facts(state).totals == {"late": 0}


def test_a_tick_with_nothing_due_changes_nothing() -> None:
    windows = stage(Tumbling(10))
    state = windows.new_state()
    windows(feed(("hall", 1.0), ("hall", 12.0), ("hall", 12.0)), state)
    windows.tick(20_000 + IDLE_MS, [0], state)
    state.drain()
    out = windows.tick(900_000, [0], state)
    assert dict(out.schema) == dict(windows.schema)
    assert out.is_empty()
    assert state.drain() == ([], [], [])


# State.


@pytest.mark.parametrize("shape", [Tumbling(10), Sliding(10, 5), Session(7)])
def test_a_restart_in_mid_window_goes_on_from_the_changelog(shape: Windows) -> None:
    windows = stage(shape, FIGURES, lateness_s=2)
    rows = feed(
        ("hall", 1.0, 0.1), ("door", 3.0), ("hall", 12.0, 0.2), ("hall", 13.0, 0.4), ("door", 9.0, 0.1),
        ("hall", 30.0, 1.0), ("door", 31.0, 1.0), ("hall", 40.0),
    )  # fmt: skip
    whole_state = windows.new_state()
    whole = pl.concat([windows(rows, whole_state), windows.tick(10_000_000, [0], whole_state)])
    assert whole.height > 3
    parts, log, state = [], Changelog(), windows.new_state()
    for part in rows.iter_slices(1):
        parts.append(windows(part, state))
        log.drain(state)
        state = windows.new_state()
        log.restore(state)
    parts.append(windows.tick(10_000_000, [0], state))
    log.drain(state)
    assert pl.concat(parts).equals(whole)
    assert every_row(state).equals(every_row(whole_state))
    assert log.rows(state)["key"].to_list() == ["@watermark/0"]


def test_a_tick_is_as_binding_as_rows_after_a_restart() -> None:
    windows = stage(Tumbling(10))
    state, log = windows.new_state(), Changelog()
    windows(feed(("hall", 4.0)), state)
    log.drain(state)
    windows.tick(10_000 + IDLE_MS, [0], state)
    log.drain(state)
    restarted = windows.new_state()
    log.restore(restarted)
    assert windows.tick(1_000_000, [0], restarted).is_empty()
    assert told(windows(feed(("hall", 5.0), first=1), restarted), "late") == [("hall", 0.0, 10.0, True)]


def test_windows_of_another_size_begin_beside_those_that_were_open() -> None:
    before, after = stage(Tumbling(60)), stage(Tumbling(30))
    state = before.new_state()
    before(feed(("hall", 1.0)), state)
    out = after(feed(("hall", 2.0), ("hall", 70.0), ("hall", 70.0), first=1), state)
    assert told(out, "rows") == [("hall", 0.0, 30.0, 1), ("hall", 0.0, 60.0, 1)]


def test_more_rows_than_a_chunk_are_worked_off_in_parts() -> None:
    windows = stage(Sliding(10, 0.01))  # each row in 1000 windows
    state = windows.new_state()
    out = windows(feed(*[("hall", i * 0.01) for i in range(250)]), state)
    # The watermark is at 2.48 s: so many windows have ended, with one row more in each.
    assert out["rows"].to_list() == list(range(1, 249))
    assert state["n"][state.slots(["0/0-10000/hall"])].tolist() == [250]
    assert len(state) == 1000 + 249 - 248 + 1


def test_no_rows_make_no_windows() -> None:
    windows = stage(Tumbling(10))
    assert dict(windows(feed(("hall", 1.0)).clear(), windows.new_state()).schema) == dict(windows.schema)


def test_the_seams_are_met() -> None:
    windows = stage(Tumbling(10))
    assert isinstance(windows, TickingStage)
    assert isinstance(windows, FactualStage)
    assert isinstance(windows.new_state(), StateTable)
    assert windows.new_state().name == windows.name == "zones"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tumbling(0), "size_s is 0 s, not a duration from 0.001 to 31622400 s"),
        (lambda: Tumbling(float("nan")), "size_s is nan s"),
        (lambda: Tumbling(0.0015), "size_s is 0.0015 s, not a whole number of milliseconds"),
        (lambda: Sliding(10, 20), "every_s 20 is above size_s 10: rows in between would be lost"),
        (lambda: Sliding(10, 0.009), "overlap more than 1000-fold; raise every_s"),
        (lambda: Session(-1), "gap_s is -1 s"),
        (lambda: Corrections(15, 10), "horizon_s 15 is not a multiple of every_s 10"),
        (lambda: Aggregate("x", "median", "amount"), "aggregate x: 'median' is not one of count, sum"),
        (lambda: Aggregate("x", "sum"), "aggregate x: sum of which column"),
        (lambda: Aggregate("_x", "count"), "aggregate '_x': a name is not empty"),
        (lambda: stage(Tumbling(1), []), "windows zones: no aggregates"),
        (lambda: stage(Tumbling(1), [*COUNT, *COUNT]), "windows zones: several columns are named rows"),
        (lambda: stage(Tumbling(1), [Aggregate("late", "count")]), "several columns are named late"),
        (lambda: stage(Tumbling(1), idle_s=0), "idle_s is 0 s"),
        (lambda: stage(Tumbling(1), lateness_s=-1), "lateness_s is -1 s, not a duration from 0 to"),
        (lambda: stage(Session(1), corrections=Corrections(10, 10)), "sessions cannot be corrected.*raise lateness_s"),
    ],
)  # fmt: skip
def test_a_definition_that_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_column_that_is_missing_or_no_number_is_named() -> None:
    windows = stage(Tumbling(10), [Aggregate("x", "sum", "weight")])
    with pytest.raises(ValueError, match="windows zones: rows have no column weight"):
        windows(feed(("hall", 1.0)), windows.new_state())
    with pytest.raises(ValueError, match="windows zones: column weight is String; aggregates are of numbers"):
        windows(feed(("hall", 1.0)).with_columns(weight=pl.lit("heavy")), windows.new_state())
