"""What a replay hands its stages, row by row and tick by tick; and that a store's windows and alerts are those of the
live run, whenever that ticked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, cycle, pairwise, takewhile

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.pipeline import Pipeline
from streaming.pipelines.store_alerts import store_alerts
from streaming.pipelines.store_metrics import store_metrics
from streaming.records import OffsetRange
from streaming.runners.batch import Batch, Rejected
from streaming.runners.log_time import LogTime
from streaming.runners.replay import plan as slices_of
from streaming.runners.ticking import Tick
from streaming.store.rules import parse_rules
from tests.person_frames import NOW_MS as FILMED_MS
from tests.person_frames import settled, visit
from tests.pipelines_on_log import OnLog
from tests.store_walks import ALERT_RULES, START_MS, VISITS, Feed, plan, sightings
from tests.streaming.test_person_sightings import on_log as frames_on_log
from tests.streaming.test_store_pipelines import answers, latest, on_log
from tests.windowed import pipeline as windowed

PLACE = ("source_partition", "source_offset", "ingest_time_ms")
"""Columns that say which record an answer went out with."""


def batch(*rows: tuple[int, int, float], ends: dict[int, int] | None = None) -> Batch:
    """Rows (partition, offset, log time in seconds) in the order in which a slice has them; a key has a partition."""
    frame = pl.DataFrame(
        {
            "_partition": pl.Series([partition for partition, _, _ in rows], dtype=pl.Int32),
            "_offset": pl.Series([offset for _, offset, _ in rows], dtype=pl.Int64),
            "_ingest_time_ms": pl.Series([round(1000 * second) for *_, second in rows], dtype=pl.Int64),
            "match_id": [f"m{partition}" for partition, _, _ in rows],
        }
    )
    found = {partition: offset + 1 for partition, offset, _ in rows} | (ends or {})
    return Batch(tuple(OffsetRange(partition, 0, end) for partition, end in found.items()), frame)


def log_time(*batches: Batch, until_s: float | None = None) -> LogTime:
    ranges = [wanted for one in batches for wanted in one.ranges]
    return LogTime(windowed(), ranges, None if until_s is None else round(1000 * until_s))


def told(time: LogTime, *batches: Batch) -> list[tuple[object, ...]]:
    """Rows as (partition, offset); ticks as (when, position of each partition that was quiet)."""
    said: list[tuple[object, ...]] = []
    steps = [step for one in batches for step in time.steps(one)]
    for step in [*steps, *time.rest()]:
        if isinstance(step, Tick):
            said.append((f"{step.now_ms / 1000:g} s", dict(step.positions)))
        else:
            said += step.rows.select("_partition", "_offset").rows()
    return said


def test_rows_come_as_the_log_got_them_and_a_tick_when_somebody_was_silent_for_a_second() -> None:
    one = batch((0, 0, 10.2), (0, 1, 11.9), (0, 2, 12.0), (1, 0, 10.1), (1, 1, 12.1))
    assert told(log_time(one, until_s=14.5), one) == [
        (1, 0), (0, 0), (0, 1), (0, 2),
        ("12 s", {0: 3, 1: 1}),  # of partition 1 nothing came since 11
        (1, 1),
        ("13 s", {0: 3, 1: 2}), ("14 s", {0: 3, 1: 2}),
    ]  # fmt: skip


def test_rows_of_a_partition_keep_their_order_though_a_clock_was_set_back() -> None:
    one = batch((0, 0, 10.2), (0, 1, 3.0), (0, 2, 10.4), (1, 0, 10.3))
    assert told(log_time(one), one) == [(0, 0), (0, 1), (1, 0), (0, 2)]


def test_a_partition_is_not_quiet_behind_the_end_of_its_range() -> None:
    """The log may go on there: nobody knows for how long nothing came."""
    going_on = batch((0, 0, 10.2), (1, 0, 10.1), (1, 1, 12.1), ends={0: 2})
    assert told(log_time(going_on), going_on)[2:] == [("12 s", {0: 1, 1: 1}), (1, 1)]
    ended = batch((0, 0, 10.2), (1, 0, 10.1), (1, 1, 12.1))
    assert told(log_time(ended), ended)[2:] == [("12 s", {1: 1}), (1, 1)]


def test_log_time_goes_on_from_slice_to_slice() -> None:
    first, second = batch((0, 0, 10.2)), batch((0, 1, 13.5))
    assert told(log_time(first, second), first, second) == [(0, 0), ("12 s", {0: 1}), ("13 s", {0: 1}), (0, 1)]


def test_a_long_silence_has_few_ticks_each_of_them_at_most_a_hundredth_late() -> None:
    night = batch((0, 0, 0.5), (0, 1, 43_200.5))
    ticks = [step.now_ms // 1000 for step in log_time(night).steps(night) if isinstance(step, Tick)]
    assert ticks[:198] == list(range(2, 200)), "the row came in the first second"
    assert all(later - earlier <= max(1, later / 100) for earlier, later in pairwise([*ticks, 43_200]))
    assert len(ticks) < 1_100


def test_the_parts_of_a_slice_are_the_slice() -> None:
    records = on_log(store_metrics(plan()), Feed(VISITS, 4).rows()).read(0, range(3))
    one = batch((0, 3, 10.2), (0, 4, 12.9), (0, 5, 15.5))
    whole = Batch(one.ranges, one.rows, (Rejected(0, records, ["E"] * 3, ["m"] * 3, [1] * 3),), shed=2)
    parts = [step for step in log_time(whole).steps(whole) if isinstance(step, Batch)]
    assert len(parts) == 3 and pl.concat([part.rows for part in parts]).equals(whole.rows)
    assert sum(part.records for part in parts) == whole.records == 8
    assert [part.ranges for part in parts] == [(), (), whole.ranges]


def test_a_slice_without_good_rows_and_a_pipeline_that_nobody_ticks_are_left_as_they_are() -> None:
    one = batch((0, 0, 10.2), (0, 1, 19.0))
    nothing = Batch(one.ranges, one.rows.clear())
    assert list(log_time(one, until_s=20.0).steps(nothing)) == [nothing]
    time = LogTime(replace(windowed(), stages=()), one.ranges, 30_000)
    assert list(time.steps(one)) == [one] and list(time.rest()) == []


def metrics() -> Pipeline:
    return store_metrics(plan())


def alerts() -> Pipeline:
    return store_alerts(plan(), parse_rules(ALERT_RULES, plan()))


def feed(
    length_s: float, off: Sequence[tuple[str, float, float]], delays_s: Sequence[float], renames: bool = False
) -> pl.DataFrame:
    """Two cameras, each silent while it is off, (camera, from, to) in seconds, whose sightings reach the log so much
    later; and, if wanted, the correction of a person who turns out to be another."""
    rows = Feed(VISITS, length_s).rows()
    second = (pl.col("captured_ms").to_physical() - START_MS) / 1000
    for camera, start, end in off:
        rows = rows.filter(~((pl.col("camera_id") == camera) & second.is_between(start, end, closed="left")))
    if renames:
        merge = {"person_id": "p1", "corrects_person_id": "p0", "corrects_from_ms": START_MS + 4_000}
        at = [{"camera_id": "cam-1", "captured_ms": START_MS + 26_000, "frame": 130, **merge}]
        rows = pl.concat([rows, sightings(at)]).sort("captured_ms", maintain_order=True)
    delay_ms = (pl.col("_partition").replace_strict([0, 1], [round(1000 * s) for s in delays_s])).cast(pl.Int64)
    return rows.with_columns(
        _ingest_time_ms=pl.col("captured_ms").to_physical() + delay_ms,
        _offset=pl.int_range(pl.len()).over("_partition"),
    )


def live(run: OnLog, turns_s: Iterable[float], start_ms: int = START_MS) -> OnLog:
    """A run that keeps up: at every turn it reads what the log has by then, and ticks."""
    log_ms = times(run)
    for second in turns_s:
        now_ms = start_ms + round(1000 * second)
        run.process([int((mine <= now_ms).sum()) - at for mine, at in zip(log_ms, run.at, strict=True)])
        run.tick(now_ms)
    assert run.is_done
    return run


def replayed(run: OnLog, cuts_s: Iterable[float], until_s: float, start_ms: int = START_MS) -> OnLog:
    """A replay whose slices end at these times."""
    log_ms = times(run)
    moments = [start_ms + round(1000 * second) for second in sorted(cuts_s)]
    cuts = [{p: int((mine < moment).sum()) for p, mine in enumerate(log_ms)} for moment in moments]
    slices = slices_of([{0: 0, 1: 0}, *cuts, {p: len(mine) for p, mine in enumerate(log_ms)}], max_records=150)
    ranges = [wanted for part in slices for wanted in part]
    time = LogTime(run.pipeline, ranges, start_ms + round(1000 * until_s))
    for part in slices:
        for step in time.steps(run.batch(part)):
            run.step(step)
    for tick in time.rest():
        run.step(tick)
    return run


def times(run: OnLog) -> list[np.ndarray]:
    """When each partition got its records."""
    return [run.log.records(run.pipeline.source.name, partition).timestamps_ms for partition in (0, 1)]


OUTAGES = [("cam-2", 12.0, 31.0), ("cam-1", 20.0, 30.0), ("cam-1", 44.0, 52.0), ("cam-2", 44.0, 50.0)]
UNTIL_S = 80.0


@pytest.mark.parametrize("pipeline", [metrics, alerts])
def test_a_replay_says_what_a_live_run_said_that_ticked_each_second(pipeline: Callable[[], Pipeline]) -> None:
    rows = feed(60.0, OUTAGES, delays_s=(0.3, 0.7))
    said = answers(live(on_log(pipeline(), rows), range(1, 81))).drop(PLACE)
    assert answers(replayed(on_log(pipeline(), rows), (20, 40), UNTIL_S)).drop(PLACE).equals(said)
    if pipeline is metrics:
        assert set(said["closed_by"]) == {"data", "tick"}
    else:
        assert said.filter(rule="down").height >= 5


def test_people_are_named_in_a_replay_as_they_were_though_a_camera_had_stopped() -> None:
    shown = [row for row in visit(8.2) if row["camera_id"] == "till" or row["captured_ms"] < FILMED_MS + 5_000]
    said = answers(live(frames_on_log(shown), range(1, 16), FILMED_MS))
    assert said.filter(pl.col("source_offset").is_null())["person_id"].to_list() == ["P1"], "by a tick"
    again = answers(replayed(frames_on_log(shown), (4,), 15.0, FILMED_MS))
    assert (
        settled(again)
        .sort("camera_id", "frame", "track_id")
        .equals(settled(said).sort("camera_id", "frame", "track_id"))
    )


outages = st.lists(
    st.tuples(st.sampled_from(["cam-1", "cam-2"]), st.integers(3, 36), st.integers(1, 20)).map(
        lambda one: (one[0], float(one[1]), float(one[1] + one[2]))
    ),
    max_size=3,
)
delays = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda both: (both[0] / 10, both[1] / 10))
turns = st.lists(st.integers(7, 15), min_size=10, max_size=20).map(
    lambda tenths: [*(at / 10 for at in takewhile(lambda at: at < 10 * UNTIL_S, accumulate(cycle(tenths)))), UNTIL_S]
)
cuts = st.lists(st.integers(1, 45).map(float), max_size=3, unique=True)


@given(outages, delays, turns, cuts)
@settings(max_examples=6)
def test_whenever_a_live_run_ticked_its_windows_are_those_of_a_replay_in_the_end(
    off: list[tuple[str, float, float]], delays_s: tuple[float, float], turns_s: list[float], cuts_s: list[float]
) -> None:
    rows = feed(40.0, off, delays_s, renames=True)
    said = answers(live(on_log(metrics(), rows), turns_s))
    assert latest(answers(replayed(on_log(metrics(), rows), cuts_s, UNTIL_S))).equals(latest(said))
