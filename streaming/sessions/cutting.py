"""Where sessions begin among a batch's events, and which events are a flood: arithmetic on sorted columns.

A *run* is a browser's events between two pauses; a run is cut into sessions by its length, and where another user logs
in. Time within a run is the newest so far: an event that comes out of order counts as if it had come in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.runs import Bools, Ints, Runs
from streaming.sessions.limits import MINUTE_MS, Limits

Texts = npt.NDArray[np.object_]

_TIME_BITS = 42  # milliseconds until the year 2109


@dataclass(frozen=True)
class Before:
    """What is remembered of M browsers; columns of `memory.SESSION_LAYOUT`, (M,) each."""

    last_ms: Ints
    run_ms: Ints
    run_events: Ints
    minute_ms: Ints
    minute_events: Ints
    is_bot: Bools
    start_ms: Ints
    events: Ints
    user: Texts
    unit: Texts


@dataclass(frozen=True)
class Cut:
    """N events sorted by browser, then by arrival."""

    runs: Runs  # of browsers
    time_ms: Ints  # (N,) never falling within a run
    disordered: Bools  # (N,) came after a later one
    begins_run: Bools  # (N,)
    begins: Bools  # (N,) a session
    segment: Ints  # (N,) number of the session in the batch; what goes on from before counts as one too
    goes_on: Bools  # (M,) the browser's first event here goes on with the session that is remembered
    run_ms: Ints  # (N,)
    run_events: Ints  # (N,) with this one
    minute_events: Ints  # (N,)
    is_bot: Bools  # (N,) the run has flooded, now or before
    start_ms: Ints  # (N,) of the session
    events: Ints  # (N,) of the session, with this one
    user: Texts  # (N,) empty where not known
    unit: Texts  # (N,) user at the start of the session


def cut(browser: Ints, time_ms: Ints, watermark_ms: Ints, user: pl.Series, before: Before, limits: Limits) -> Cut:
    """Cut events into sessions.

    Args:
        browser: (N,) rising from 0 without gaps.
        time_ms: (N,) event times, none further behind than the gap.
        watermark_ms: (N,) of the partition before each event.
        user: (N,) who it says it is, null where it does not.
        before: (M,) what is remembered of each browser.
        limits: what a session is.
    """
    runs = Runs(browser)
    rows = np.arange(len(browser))
    placed = runs.running_max(before.last_ms, time_ms, _TIME_BITS)
    newest_ms, previous_ms = placed[runs.row], placed[runs.row - 1]
    pause_ms = np.maximum(newest_ms, watermark_ms) - previous_ms
    begins_run: Bools = (previous_ms < 0) | (pause_ms > limits.gap_ms)
    first = np.zeros(len(rows), bool)
    first[runs.first] = True
    stretch = np.maximum.accumulate(np.where(begins_run | first, rows, 0))  # where the row's run begins in the batch
    held = ~begins_run[stretch]  # the run was there before the batch
    run_ms = np.where(held, before.run_ms[browser], newest_ms[stretch])
    run_events = rows - stretch + 1 + np.where(held, before.run_events[browser], 0)

    too_long = (run_events - 1) % limits.max_events == 0
    span_ms = limits.max_length_ms
    too_long |= (newest_ms - run_ms) // span_ms != (previous_ms - run_ms) // span_ms
    known = _known_user(user, stretch, np.where(held, before.user[browser], ""))
    previous_user = np.where(rows == stretch, np.where(held, before.user[browser], ""), np.roll(known, 1))
    another_user: Bools = ((previous_user != "") & (known != previous_user)).astype(bool)
    begins: Bools = begins_run | too_long | another_user

    minute_events = _in_minute(newest_ms, stretch, held, before, browser)
    flooding = np.maximum.accumulate(np.where(minute_events > limits.flood_per_min, rows, -1)) >= stretch
    is_bot: Bools = flooding | (held & before.is_bot[browser])

    start = np.maximum.accumulate(np.where(begins | first, rows, 0))
    goes_on = ~begins[start]
    return Cut(
        runs=runs,
        time_ms=newest_ms,
        disordered=time_ms < previous_ms,
        begins_run=begins_run,
        begins=begins,
        segment=np.cumsum(begins | first) - 1,
        goes_on=~begins[runs.first],
        run_ms=run_ms,
        run_events=run_events,
        minute_events=minute_events,
        is_bot=is_bot,
        start_ms=np.where(goes_on, before.start_ms[browser], newest_ms[start]),
        events=rows - start + 1 + np.where(goes_on, before.events[browser], 0),
        user=known,
        unit=np.where(goes_on, before.unit[browser], known[start]),
    )


def _known_user(said: pl.Series, stretch: Ints, held: Texts) -> Texts:
    """Who it is, (N,): the last that was said in the run, else who it was before."""
    said_at = np.maximum.accumulate(np.where(said.is_not_null().to_numpy(), np.arange(len(stretch)), -1))
    values: Texts = np.array(said.fill_null("").to_list(), dtype=object)[said_at]
    return np.where((said_at >= stretch) & (values != ""), values, held)


def _in_minute(newest_ms: Ints, stretch: Ints, held: Bools, before: Before, browser: Ints) -> Ints:
    """How many events of the run, with this one, fell into its minute, (N,)."""
    rows, minute_ms = np.arange(len(newest_ms)), newest_ms // MINUTE_MS * MINUTE_MS
    changes: Any = np.ones(len(rows), bool)
    changes[1:] = (minute_ms[1:] != minute_ms[:-1]) | (stretch[1:] != stretch[:-1])
    start = np.maximum.accumulate(np.where(changes, rows, 0))
    goes_on = held & (start == stretch) & (before.minute_ms[browser] == minute_ms)
    counted: Ints = rows - start + 1 + np.where(goes_on, before.minute_events[browser], 0)
    return counted
