"""Events of sessions as they would come now: imported or simulated ones at their own pace, or faster.

feed = SessionFeed(imported.events, speed=60, epoch_ms=now_ms())
for chunk in Pacer(feed):
    ...  # events, at the time they are due
"""

from __future__ import annotations

import polars as pl

from streaming.sessions.events import EVENT_SCHEMA


class SessionFeed:
    """Knows no clock: it is asked for what is due up to a time (`streaming.simulators.feed.Pacer` waits).

    Args:
        events: `EVENT_SCHEMA`, in the order of their times.
        speed: seconds of the events per second. Event times are restamped to when an event is due, so pauses shrink.
        epoch_ms: event time of feed time 0, UTC, when the first is due.

    Raises:
        ValueError: speed is not above 0, or events are out of order.
    """

    def __init__(self, events: pl.DataFrame, *, speed: float, epoch_ms: int) -> None:
        if not speed > 0:
            raise ValueError(f"a feed needs a speed above 0, not {speed}")
        time_ms = events["event_time_ms"].to_physical()
        if not time_ms.is_sorted():
            raise ValueError("events of a feed must be in the order of their times")
        first_ms = time_ms[0] if len(time_ms) else 0
        self._due_s = (time_ms - first_ms) / 1000.0 / speed
        self._events, self._epoch_ms, self._taken = events, epoch_ms, 0

    def begin_at(self, epoch_ms: int) -> None:
        """Let feed time 0 be this event time instead; before the first `take`."""
        self._epoch_ms = epoch_ms

    @property
    def next_due_s(self) -> float | None:
        """Feed time at which something is due next; None when all is over."""
        return float(self._due_s[self._taken]) if self._taken < len(self._due_s) else None

    def take(self, until_s: float) -> pl.DataFrame:
        """The events due up to and including feed time `until_s` that were not taken before."""
        end = max(self._taken, int(self._due_s.search_sorted(until_s, side="right")))
        start, self._taken = self._taken, end
        stamp = (self._epoch_ms + self._due_s[start:end] * 1000.0).round().cast(pl.Int64)
        return self._events[start:end].with_columns(stamp.cast(EVENT_SCHEMA["event_time_ms"]).alias("event_time_ms"))
