"""Windows as rows of state, and as frames to compute with.

A frame of windows has `_partition, _of` (the key), `_start_ms, _end_ms, _due_ms, _revision, _pending`, and the columns
of the accumulators. State keys are `PARTITION/WINDOW/KEY`: when a topic is grown by partitions, a key that has moved
has its window in two parts, one by each partition, never one that two partitions write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from streaming.state import Column, Slots, StateTable
from streaming.windows.accumulators import Accumulators
from streaming.windows.clock import NEVER, PARTITION_LAYOUT, Bools, Clock

_WINDOW_LAYOUT = {
    "of": Column(str),
    "partition": Column(np.int32),
    "start_ms": Column(np.int64),
    "end_ms": Column(np.int64),
    "due_ms": Column(np.int64, default=NEVER),  # the watermark at which it is issued, or else forgotten
    "revision": Column(np.int32),  # number of its next issue
    "pending": Column(np.bool_, default=False),  # has rows that no issue has told of
}


class Outcome(NamedTuple):
    """What N rows led to."""

    issued: pl.DataFrame  # windows, each with the `_row` that made it due
    aside: pl.DataFrame  # partials of rows that came too late, each with its `_row, _start_ms, _end_ms` and `_of`
    late: Bools  # (N,) the row came after one of its windows had closed


class Memory:
    """How windows of these accumulators are kept."""

    def __init__(self, accumulators: Accumulators) -> None:
        self.accumulators = accumulators
        self.layout = {**PARTITION_LAYOUT, **_WINDOW_LAYOUT, **accumulators.layout}
        self.columns = [*(f"_{name}" for name in _WINDOW_LAYOUT), *accumulators.layout]  # of a frame of windows
        marked = {name: column.default for name, column in accumulators.layout.items() if column.default != 0}
        self._to_null = [
            pl.when(pl.col(name).is_nan() if np.isnan(mark) else pl.col(name) == mark)
            .then(None)
            .otherwise(name)
            .alias(name)
            for name, mark in marked.items()
        ]
        self._from_null = [pl.col(name).fill_null(mark) for name, mark in marked.items()]
        none = self.load(np.empty(0, dtype=np.int64), StateTable("none", self.layout))
        self.none = none.with_columns(_row=pl.lit(None, pl.Int64))  # no windows, with `_row`

    def load(self, slots: Slots, state: StateTable) -> pl.DataFrame:
        """Windows as a frame, in the order of the slots."""
        held = {f"_{name}": state[name][slots] for name in _WINDOW_LAYOUT if name != "of"}
        held |= {name: state[name][slots] for name in self.accumulators.layout}
        texts = pl.Series("_of", state["of"][slots].tolist(), pl.String)
        return pl.DataFrame(held).with_columns(texts, *self._to_null).select(self.columns)

    def store(self, names: Sequence[str], windows: pl.DataFrame, state: StateTable) -> None:
        """Write a frame under these state keys."""
        slots, marked = state.slots(names), windows.with_columns(self._from_null)
        for name in _WINDOW_LAYOUT:
            state[name][slots] = marked[f"_{name}"].to_numpy()
        for name in self.accumulators.layout:
            state[name][slots] = marked[name].to_numpy()
        state.touch(names)

    def forget(self, names: Sequence[str], state: StateTable) -> None:
        """Delete windows."""
        state["due_ms"][state.slots(names)] = NEVER  # else a free slot would look due, again and again
        state.delete(names)

    def merged(self, groups: Sequence[str], partials: pl.DataFrame, *others: pl.Expr) -> pl.DataFrame:
        """One partial for each group; `others` are taken along."""
        return partials.group_by(groups).agg(*others, *self.accumulators.merge)


def due_slots(clock: Clock, state: StateTable) -> Slots:
    """Slots of the windows that the clock has made due."""
    return np.flatnonzero(clock.passed(state["partition"], state["due_ms"]))


def issue(windows: pl.DataFrame, clock: Clock) -> pl.DataFrame:
    """Those with news, each with the row that made it due."""
    news = windows.filter("_pending")
    row = clock.row_of(news["_partition"].to_numpy(), news["_due_ms"].to_numpy())
    return news.with_columns(_row=pl.Series(row, dtype=pl.Int64))
