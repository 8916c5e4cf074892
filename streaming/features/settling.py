"""When a result takes effect: a settling time after it happened, so that it does not matter which partition is read
first.

Results of finished matches bear on matches of other partitions, as team ratings (`standings`) and as what is known of
a model (`guard`). A row of time T sees the results of times up to T - settling time, all of them and no other, folded
in the order (time, match id, attempt), in whatever order they came. What comes out therefore follows from the rows of
each partition alone, however partitions are interleaved, provided that they are read side by side:

    a row of time T is handed on only when every other partition has handed on all its rows of times up to T - settling

A *time* is event time with some care for bad clocks (`row_times`); a partition whose watermark is past T by
`DISORDER_S` has handed on all its rows of times up to T. Results are kept one by one until the fastest partition is
`HOLD_S` past them, whether or not the others are; then they become part of the base, for good, so that a partition
without traffic holds nothing up. That is what there is to bound memory, with `MOST_UNSETTLED`.

A result that comes too late, its partition being behind the fastest by the settling time or more, takes effect at once
for what comes after it, at its place in the order if that is still open, and changes nothing that was said before. It
is counted (`results-late`), for then the interleaving matters. So is one that was taken into the base before its time
because too many came at once.
"""

from __future__ import annotations

import numpy as np

from streaming.features.runs import Bools, Ints

SETTLE_S = 120.0
"""Event time from a result to its effect, by default."""

HOLD_S = 1_200.0
"""A result joins the base when the fastest partition is so far past it: room for partitions that are behind."""

DISORDER_S = 30.0
"""Rows of one partition may be out of order by so much and keep their event times: where a match's partition has others
beside it, or none, does not matter then."""

MOST_UNSETTLED = 2_000
"""Results kept one by one, at most; when there are more the oldest joins the base before its time."""

DISORDER_MS, HOLD_MS = round(DISORDER_S * 1000), round(HOLD_S * 1000)

RESULTS_LATE = "results-late"
"""Name of the count."""


def settle_ms(settle_s: float) -> int:
    """The settling time in milliseconds.

    Raises:
        ValueError: it is not positive, or so long that a result could join the base before it takes effect.
    """
    if not 0 < settle_s <= HOLD_S / 2:
        raise ValueError(f"results cannot settle for {settle_s:g} s: above 0 and up to {HOLD_S / 2:g} s are possible")
    return round(settle_s * 1000)


def row_times(event_time_ms: Ints, watermark_ms: Ints, is_result: Bools) -> Ints:
    """When each row counts as having happened, (N,): its event time, with three exceptions.

    - A row that is more than `DISORDER_S` behind its partition's watermark happened with those before it: at the
      watermark.
    - Unless the watermark is more than `HOLD_S` ahead. Then not the row is wrong, and its own time counts.
    - A result is at most `HOLD_S` ahead of the watermark: one bad clock must not put it off for years. Any other row
      may be, as after a night without matches.

    Args:
        event_time_ms: of the rows.
        watermark_ms: of each row's partition once it has come, -1 before there is one.
        is_result: whether a row ends a match.
    """
    behind_ms = watermark_ms - event_time_ms
    times = np.where((behind_ms > DISORDER_MS) & (behind_ms <= HOLD_MS), watermark_ms, event_time_ms)
    capped: Ints = np.where(is_result & (watermark_ms >= 0), np.minimum(times, watermark_ms + HOLD_MS), times)
    return capped
