"""Tumbling and sliding windows: where they lie is known beforehand.

A window closes when the watermark of its partition reaches its end and the lateness allowed. With corrections it may be
issued again at every `every` after that, until the horizon:

    end ── lateness ──► closes ── every ──► corrected ── every ──► corrected … horizon: forgotten
      rows: round 0             round 1                round 2                      aside

So the *round* of a row in a window follows from the watermark that the row met. Rounds are taken in one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from streaming.state import StateTable
from streaming.windows.clock import Clock, Ints
from streaming.windows.definition import Corrections, Sliding, Tumbling
from streaming.windows.memory import Memory, Outcome, due_slots, issue

_WHICH = ("_partition", "_of", "_start_ms", "_end_ms")
_NAME = pl.format("{}/{}-{}/{}", "_partition", "_start_ms", "_end_ms", "_of").alias("_name")
_TAKEN_ALONG = (pl.col("_due_ms").first(), pl.col("_revision").max(), pl.col("_pending").first())


@dataclass(frozen=True)
class FixedWindows:
    """Folds rows into the windows that they fall into."""

    shape: Tumbling | Sliding
    lateness_ms: int
    corrections: Corrections | None
    memory: Memory

    @property
    def overlap(self) -> int:
        """So many windows a row falls into, at most."""
        return -(-self.shape.size_ms // self.shape.every_ms)

    def fold(self, rows: pl.DataFrame | None, clock: Clock, state: StateTable) -> Outcome:
        """Take rows in, and issue what has become due.

        Args:
            rows: (N,) `_partition, _of, _time_ms` and partials, one for each of the clock's; None for a tick.
            clock: of the batch or the tick.
            state: the stage's.
        """
        if rows is None:
            return Outcome(self._settle(clock, state), self.memory.none, np.zeros(0, dtype=np.bool_))
        pairs, round_ = self._pairs(rows, clock)
        aside, late = self.memory.none, np.zeros(rows.height, dtype=np.bool_)
        if round_.any():
            late[pairs["_row"].to_numpy()[round_ > 0]] = True
            is_aside = round_ > self._last_round
            aside, pairs = pairs.filter(is_aside), pairs.filter(~is_aside)
        counted = self.memory.merged((*_WHICH, "_round"), pairs)
        parts = sorted(counted.partition_by("_round"), key=lambda part: int(part.item(0, "_round")))
        issued = [self._take(part, clock, state) for part in parts]
        return Outcome(pl.concat([*issued, self._settle(clock, state)]), aside, late)

    @property
    def _last_round(self) -> int:
        return self.corrections.horizon_ms // self.corrections.every_ms if self.corrections else 0

    def _due_ms(self, round_: pl.Expr | int) -> pl.Expr:
        """The watermark at which a round is over."""
        every_ms = self.corrections.every_ms if self.corrections else 0
        return pl.col("_end_ms") + self.lateness_ms + round_ * every_ms

    def _pairs(self, rows: pl.DataFrame, clock: Clock) -> tuple[pl.DataFrame, Ints]:
        """Every row with every window that it falls into, and its round there."""
        time_ms = rows["_time_ms"].to_numpy()
        newest_ms = time_ms - time_ms % self.shape.every_ms
        starts_ms = newest_ms[:, None] - self.shape.every_ms * np.arange(self.overlap)
        row, nth = np.nonzero(starts_ms + self.shape.size_ms > time_ms[:, None])
        start_ms = starts_ms[row, nth]
        end_ms = start_ms + self.shape.size_ms
        behind_ms = clock.watermark_ms[row] - (end_ms + self.lateness_ms)
        every_ms = self.corrections.every_ms if self.corrections else 1
        round_ = np.where(behind_ms < 0, 0, behind_ms // every_ms + 1)
        columns = {"_row": row, "_start_ms": start_ms, "_end_ms": end_ms, "_round": round_}
        pairs = rows if self.overlap == 1 else rows[row]
        return pairs.with_columns(pl.Series(name, values) for name, values in columns.items()), round_

    def _take(self, counted: pl.DataFrame, clock: Clock, state: StateTable) -> pl.DataFrame:
        """Take one round of rows in, and return the windows that had to be issued before it."""
        windows = counted.with_columns(
            _NAME,
            _due_ms=self._due_ms(pl.col("_round")),
            _revision=pl.lit(0, pl.Int32),
            _pending=pl.lit(True),
        )
        names, issued = windows["_name"].to_list(), self.memory.none
        held_names = [name for name in names if name in state]
        windows = windows.select(self.memory.columns)
        if held_names:
            due_ms = windows["_due_ms"].filter(pl.Series([name in state for name in names]))
            held = self.memory.load(state.slots(held_names), state)
            is_before = held["_due_ms"] < due_ms
            if is_before.any():
                issued = issue(held.filter(is_before), clock)
            held = held.with_columns(due_ms, _revision=pl.col("_revision") + is_before.cast(pl.Int32), _pending=True)
            both = pl.concat([held, windows])
            windows = self.memory.merged(_WHICH, both, *_TAKEN_ALONG)
            names = windows.select(_NAME).to_series().to_list()
        self.memory.store(names, windows, state)
        return issued

    def _settle(self, clock: Clock, state: StateTable) -> pl.DataFrame:
        """Issue the windows that are due by the end of the batch; forget those that are final by then."""
        slots = due_slots(clock, state)
        if not len(slots):
            return self.memory.none
        windows = self.memory.load(slots, state)
        windows = windows.with_columns(_NAME, _final_ms=self._due_ms(self._last_round))
        over = pl.Series(clock.passed(windows["_partition"].to_numpy(), windows["_final_ms"].to_numpy()))
        self.memory.forget(windows["_name"].filter(over).to_list(), state)
        kept = windows.filter(~over).with_columns(
            _due_ms=pl.col("_final_ms"), _revision=pl.col("_revision") + 1, _pending=False
        )
        if not kept.is_empty():
            self.memory.store(kept["_name"].to_list(), kept, state)
        return issue(windows.select(self.memory.columns), clock)
