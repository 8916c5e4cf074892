"""Session windows: rows of a key that are close enough belong together.

A row that is more than the lateness behind the watermark goes aside, even if its session is still open. So what joins
what depends on the rows in time alone, not on what had closed when they came: every order of them leads to the same
sessions, and a batch can be joined at once. A row that is in time never meets a session that has closed, since that
would have ended before the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from streaming.state import StateTable
from streaming.windows.clock import Clock
from streaming.windows.definition import Session
from streaming.windows.memory import Memory, Outcome, due_slots, issue

_KEY = ("_partition", "_of")


@dataclass(frozen=True)
class SessionWindows:
    """Joins rows to sessions. A key's open sessions are numbered by time: state keys are `PARTITION/sNUMBER/KEY`."""

    shape: Session
    lateness_ms: int
    memory: Memory

    overlap = 1

    def fold(self, rows: pl.DataFrame | None, clock: Clock, state: StateTable) -> Outcome:
        """Take rows in, and issue what has become due.

        Args:
            rows: (N,) `_partition, _of, _time_ms` and partials, one for each of the clock's; None for a tick.
            clock: of the batch or the tick.
            state: the stage's.
        """
        due = self.memory.load(due_slots(clock, state), state)
        if rows is None:
            each, late = self.memory.none, np.zeros(0, dtype=np.bool_)
        else:
            each, late = self._alone(rows), rows["_time_ms"].to_numpy() + self.lateness_ms < clock.watermark_ms
        in_time = each.filter(~late)
        names = list(_held_names(pl.concat([due.select(_KEY), in_time.select(_KEY)]).unique(), state))
        held = self.memory.load(state.slots(names), state)
        sessions = self._joined(pl.concat([held, in_time.select(self.memory.columns)]))
        over = clock.passed(sessions["_partition"].to_numpy(), sessions["_due_ms"].to_numpy())
        kept = sessions.filter(~over)  # in order of time, as they were joined
        numbered = pl.format("{}/s{}/{}", "_partition", pl.int_range(pl.len()).over(_KEY), "_of")
        kept_names = kept.select(numbered).to_series().to_list()
        self.memory.forget(sorted(set(names).difference(kept_names)), state)
        self.memory.store(kept_names, kept, state)
        return Outcome(issue(sessions.filter(over), clock), each.filter(late), late)

    def _alone(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Each row as a session of its own."""
        end_ms = pl.col("_time_ms") + self.shape.gap_ms
        return rows.with_columns(
            _row=pl.int_range(pl.len()),
            _start_ms=pl.col("_time_ms"),
            _end_ms=end_ms,
            _due_ms=end_ms + self.lateness_ms,
            _revision=pl.lit(0, pl.Int32),
            _pending=pl.lit(True),
        )

    def _joined(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Sessions that overlap as one; sorted by key and time."""
        begins = (pl.col("_start_ms") >= pl.col("_end_ms").cum_max().shift(1)).over(_KEY).fill_null(True)
        return (
            self.memory.merged(
                ("_session",),
                sessions.sort(*_KEY, "_start_ms").with_columns(_session=begins.cum_sum()),
                pl.col(_KEY).first(),
                pl.col("_start_ms").min(),
                pl.col("_end_ms", "_due_ms").max(),
                pl.col("_revision", "_pending").first(),
            )
            .sort("_session")
            .select(self.memory.columns)
        )


def _held_names(keys: pl.DataFrame, state: StateTable) -> Iterator[str]:
    """State keys of the open sessions of these keys."""
    for partition, key in keys.iter_rows():
        number = 0
        while (name := f"{partition}/s{number}/{key}") in state:
            yield name
            number += 1
