"""A session's newest acts, as they were at each event that is to be answered, and as they are after the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streaming.features.runs import Ints
from streaming.sessions.cutting import Cut
from streaming.sessions.limits import KEEP
from streaming.sessions.memory import SEPARATOR
from streaming.state import Slots, StateTable


@dataclass(frozen=True)
class Recent:
    """F acts of sessions of a batch, those remembered before it among them; each session's are in order."""

    item: pl.Series  # (F,) String
    kind: npt.NDArray[np.int8]  # (F,) index into model.ACTS
    time_ms: Ints  # (F,)
    segment: Ints  # (F,) session, as `Cut.segment`; rising
    row: Ints  # (F,) event of the batch, -1 for one remembered

    @classmethod
    def of(cls, cut: Cut, rows: pl.DataFrame, acts: Ints, slots: Slots, state: StateTable) -> Recent:
        """Of a batch.

        Args:
            cut: its events, sorted.
            rows: (N,) the same, with item_id and `_kind`.
            acts: (A,) which of them are to be remembered.
            slots: (M,) of the browsers' state.
            state: the stage's.
        """
        going = np.flatnonzero(cut.goes_on & (state["act_count"][slots] > 0))
        counts = state["act_count"][slots[going]]
        filled = np.arange(KEEP) < counts[:, None]
        texts = pl.Series("item", state["act_items"][slots[going]].tolist(), pl.String)
        before = texts.str.split(SEPARATOR).explode()
        segment = np.concatenate([np.repeat(cut.segment[cut.runs.first[going]], counts), cut.segment[acts]])
        order = np.argsort(segment, kind="stable")  # what is remembered stands before what is new
        item = pl.concat([before, rows["item_id"].gather(acts).rename("item")])
        return cls(
            item=item.gather(order),
            kind=np.concatenate([state["act_kind"][slots[going]][filled], rows["_kind"].to_numpy()[acts]])[order],
            time_ms=np.concatenate([state["act_ms"][slots[going]][filled], cut.time_ms[acts]])[order],
            segment=segment[order],
            row=np.concatenate([np.full(int(counts.sum()), -1), acts])[order],
        )

    def until(self, ends: Ints) -> tuple[Ints, Ints]:
        """Positions of the newest `KEEP` acts of a session up to each of these (Q,) positions, flat, and where each
        one's begin, (Q + 1,)."""
        first = np.searchsorted(self.segment, self.segment[ends])
        starts = np.maximum(first, ends + 1 - KEEP)
        counts = ends + 1 - starts
        offsets = np.concatenate([[0], np.cumsum(counts)])
        flat: Ints = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, counts)
        return flat, offsets

    def lists(self, rows: Ints) -> dict[str, pl.Series]:
        """`items, kinds, times_ms` as they were with each of these events (Q,), every one of which is an act."""
        position = np.empty(int(rows.max(initial=-1)) + 1, np.int64)
        mine = self.row >= 0
        mine[mine] = self.row[mine] < len(position)
        position[self.row[mine]] = np.flatnonzero(mine)
        flat, offsets = self.until(position[rows])
        columns = {
            "items": self.item.gather(flat).to_arrow(),
            "kinds": pa.array(self.kind[flat]),
            "times_ms": pa.array(self.time_ms[flat]),
        }
        at = pa.array(offsets, pa.int64())
        return {name: pl.Series(name, pa.LargeListArray.from_arrays(at, v)) for name, v in columns.items()}

    def remember(self, segments: Ints, slots: Slots, state: StateTable) -> None:
        """Write what each of these sessions (M,), the last of its browser, holds now."""
        ends = np.searchsorted(self.segment, segments, side="right") - 1
        has = (ends >= 0) & (self.segment[np.maximum(ends, 0)] == segments) if len(self.segment) else ends >= 0
        for name in ("act_count", "act_kind", "act_ms"):
            state[name][slots] = 0  # also what is beyond the count, so that equal sessions are equal rows
        state["act_items"][slots[~has]] = ""
        slots, ends = slots[has], ends[has]
        flat, offsets = self.until(ends)
        counts = np.diff(offsets)
        state["act_count"][slots] = counts
        at, column = np.repeat(slots, counts), np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        state["act_kind"][at, column] = self.kind[flat]
        state["act_ms"][at, column] = self.time_ms[flat]
        lists = pl.Series(
            pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), self.item.gather(flat).to_arrow())
        )
        state["act_items"][slots] = np.array(lists.list.join(SEPARATOR).to_list(), dtype=object)
