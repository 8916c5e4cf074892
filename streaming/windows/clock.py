"""How far event time has come in each partition, and where in a batch it passed a given time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.event_time import watermarks
from streaming.state import Column, Slots, StateTable

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NEVER = np.iinfo(np.int64).max

ORIGIN = ("_partition", "_offset", "_ingest_time_ms", "_schema_id")
"""Columns that say where a row came from."""

PARTITION_LAYOUT = {
    "watermark_ms": Column(np.int64, default=-1),  # as the rows say (`streaming.event_time`)
    "moved_log_ms": Column(np.int64),  # log time of the row that moved it last
    "ticked_ms": Column(np.int64, default=-1),  # what ticks have raised it to
    "last_ms": Column(np.int64, default=-1),  # event time of the last row
    "last_log_ms": Column(np.int64),
    "last_offset": Column(np.int64),
    "last_schema_id": Column(np.int32),
    "late_total": Column(np.int64),
}
"""State columns of a partition."""


def partition_key(partition: int) -> str:
    """State key of a partition."""
    return f"@watermark/{partition}"


@dataclass(frozen=True, slots=True)
class Clock:
    """Watermarks over a batch of N rows; over a tick, whose rows are the partitions that it moves."""

    rows: pl.DataFrame  # (N,) `_row`, and `ORIGIN`: where each came from
    watermark_ms: Ints  # (N,) of its partition, with the row
    _of_partition: dict[int, Ints]  # by partition: its rows, ascending

    @classmethod
    def of(cls, rows: pl.DataFrame, state: StateTable) -> Clock:
        """Move the partitions on by these rows, with `_time_ms` and `ORIGIN`."""
        partition, time_ms = rows["_partition"].to_numpy(), rows["_time_ms"].to_numpy()
        log_ms, offset = rows["_ingest_time_ms"].to_numpy(), rows["_offset"].to_numpy()
        watermark_ms, by_partition = np.empty_like(time_ms), {}
        for number in np.unique(partition).tolist():
            mine = np.flatnonzero(partition == number)
            (slot,) = state.slots([partition_key(number)])
            risen = watermarks(time_ms[mine], state["last_ms"][slot], state["watermark_ms"][slot])
            moved = np.flatnonzero(np.diff(risen))
            if len(moved):
                state["moved_log_ms"][slot] = log_ms[mine[moved[-1]]]
            last = mine[-1]
            state["watermark_ms"][slot] = risen[-1]
            state["last_ms"][slot], state["last_log_ms"][slot] = time_ms[last], log_ms[last]
            state["last_offset"][slot], state["last_schema_id"][slot] = offset[last], rows.item(int(last), "_schema_id")
            state.touch([partition_key(number)])
            watermark_ms[mine] = np.maximum(risen[1:], state["ticked_ms"][slot])
            by_partition[number] = mine
        return cls(rows.select("_row", *ORIGIN), watermark_ms, by_partition)

    @classmethod
    def of_tick(cls, now_ms: int, idle_ms: int, partitions: Collection[int], state: StateTable) -> Clock:
        """Move quiet partitions on, as far as what is due in them and no further."""
        known = [number for number in sorted(set(partitions)) if partition_key(number) in state]
        slots = state.slots([partition_key(number) for number in known])
        reached_ms = _reached_ms(now_ms, idle_ms, slots, state)
        moved = np.zeros(len(known), dtype=bool)
        for row, number in enumerate(known):
            due_ms = state["due_ms"][(state["partition"] == number) & (state["due_ms"] <= reached_ms[row])]
            if len(due_ms):
                state["ticked_ms"][slots[row]] = max(due_ms.max(), state["ticked_ms"][slots[row]])
                state.touch([partition_key(number)])
                moved[row] = True
        numbers, slots = np.array(known, dtype=np.int32)[moved], slots[moved]
        fields = ("last_offset", "last_log_ms", "last_schema_id")
        values = [numbers, *(state[field][slots] for field in fields)]
        return cls(
            rows=pl.DataFrame(dict(zip(ORIGIN, values, strict=True))).with_row_index("_row"),
            watermark_ms=state["ticked_ms"][slots],
            _of_partition={number: np.array([row]) for row, number in enumerate(numbers.tolist())},
        )

    def passed(self, partition: npt.NDArray[np.int32], due_ms: Ints) -> Bools:
        """Which of these times (M,) the watermark of their partition has reached by the end of the batch."""
        passed: Bools = np.zeros(len(due_ms), dtype=bool)
        for number, rows in self._of_partition.items():
            passed |= (partition == number) & (due_ms <= self.watermark_ms[rows[-1]])
        return passed

    def row_of(self, partition: npt.NDArray[np.int32], due_ms: Ints) -> Ints:
        """The row (M,) that took the watermark to each of these times, all of which it has reached in this batch."""
        found: Ints = np.empty(len(due_ms), dtype=np.int64)
        for number, rows in self._of_partition.items():
            mine = partition == number
            found[mine] = rows[np.searchsorted(self.watermark_ms[rows], due_ms[mine])]
        return found

    def count_late(self, late: Bools, state: StateTable) -> None:
        """Add late rows (N,) to what is counted of their partitions."""
        for number, rows in self._of_partition.items():
            state["late_total"][state.slots([partition_key(number)])] += int(late[rows].sum())


def _reached_ms(now_ms: int, idle_ms: int, slots: Slots, state: StateTable) -> Ints:
    """Event time that each partition has reached at `now_ms` if it is quiet, else -1.

    Event time goes on with the wall clock from where the rows left it, less `idle_ms`: from the watermark, once that
    has not moved for so long; from the last row, once none has come for so long. A row that was ahead of its log time
    counts as that.
    """
    watermark_ms, moved_log_ms = state["watermark_ms"][slots], state["moved_log_ms"][slots]
    last_ms, last_log_ms = state["last_ms"][slots], state["last_log_ms"][slots]
    target_ms = now_ms - idle_ms
    stalled = (watermark_ms >= 0) & (moved_log_ms <= target_ms)
    by_watermark = np.where(stalled, target_ms - np.maximum(moved_log_ms - watermark_ms, 0), -1)
    by_last = np.where(last_log_ms <= target_ms, target_ms - np.maximum(last_log_ms - last_ms, 0), -1)
    reached: Ints = np.maximum(by_watermark, by_last)
    return reached
