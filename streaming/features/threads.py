"""How the stages after the fold keep track of matches: which frames go on from what is remembered, and what is let go.

A *thread* is a stretch of frames of one match that belong together. A frame begins a new one when

- its number is 0, the match's frame before it closed the match, or its attempt or title is another than that one's;
- it comes from another partition, or its partition's event time has moved on by more than `IDLE_MS` since that frame.

A match is let go when its last frame closes it, or once its partition has moved on that far. As a frame that comes
after that would begin a new thread anyhow, it makes no difference when a stage gets round to it: what comes out does
not depend on how frames are cut into batches, nor on what other partitions carry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.match_fold import IDLE_S
from streaming.features.runs import Bools, Ints
from streaming.state import Column, StateTable

_Array = npt.NDArray[Any]

IDLE_MS = round(IDLE_S * 1000)
"""The fold's own limit."""

_NO_MATCH = -1  # attempt of a row that is no match, or no longer

THREAD_LAYOUT = {
    "attempt": Column(np.int32, default=_NO_MATCH),
    "title": Column(str),
    "partition": Column(np.int32),
    "elapsed_ms": Column(np.int64),  # of the partition, at the match's last frame
}
"""State columns of a stage that follows matches; its rows are matches by id, or keys that begin with "@"."""


@dataclass(frozen=True, slots=True)
class Threads:
    """The frames of a batch by match; N frames of M matches."""

    ids: list[str]  # (M,) in order of first appearance
    match: Ints  # (N,) of each frame
    order: Ints  # (N,) frames sorted by match, each match's in its order
    heads: Ints  # (M,) where each match begins in `order`
    begins: Bools  # (N,) the frame starts from nothing
    last: Ints  # (M,) each match's last frame
    closes: Bools  # (N,) it ends its match
    marks: dict[str, npt.NDArray[Any]]  # (N,) each, what the state keeps of a frame, by column of `THREAD_LAYOUT`

    @classmethod
    def of(cls, rows: pl.DataFrame, state: StateTable) -> Threads:
        """Compare frames, at least one, with each other and with what the state remembers; gives matches a slot."""
        number: dict[str, int] = {}
        match = np.array([number.setdefault(key, len(number)) for key in rows["match_id"].to_list()], dtype=np.int64)
        ids, order = list(number), np.argsort(match, kind="stable")
        heads = np.searchsorted(match[order], np.arange(len(ids)))
        slots = state.slots(ids, rows["_partition"].to_numpy()[order[heads]])
        marks = {
            "attempt": rows["attempt"].to_numpy(),
            "title": np.array(rows["title"].to_list(), dtype=object),
            "partition": rows["_partition"].to_numpy(),
            "elapsed_ms": rows["_elapsed_ms"].to_numpy(),
        }
        closes: Bools = (rows["status"] != "live").to_numpy()
        begins: Bools = (rows["frame"] == 0).to_numpy()
        begins = begins | _before(closes, order, heads, np.zeros(len(ids), bool))
        for name, now in marks.items():
            then = _before(now, order, heads, state[name][slots])
            begins |= (now - then > IDLE_MS) if name == "elapsed_ms" else (now != then)
        last = order[np.append(heads[1:], len(order)) - 1]
        return cls(ids, match, order, heads, begins, last, closes, marks)

    def before(self, values: _Array, heads: _Array) -> _Array:
        """What the match's frame before each one has, (N, …); for its first frame in the batch `heads` (M, …)."""
        return _before(values, self.order, self.heads, heads)

    def waves(self, cuts: Bools) -> Iterator[Ints]:
        """Frames in groups: all of each match up to its first cut, then those up to its second, and so on. A frame
        that is cut (N,) begins the next group of its match."""
        cut = cuts[self.order]
        cut[self.heads] = False
        passed = np.cumsum(cut)
        counts = np.diff(np.append(self.heads, len(self.order)))
        wave = np.empty_like(self.match)
        wave[self.order] = passed - np.repeat(passed[self.heads], counts)
        for number in range(int(wave.max()) + 1):
            yield np.flatnonzero(wave == number)

    def remember(self, state: StateTable) -> None:
        """Note each match's last frame, let go of the matches that it closes, and of those silent for too long."""
        slots = state.slots(self.ids)
        for name, values in self.marks.items():
            state[name][slots] = values[self.last]
        state.touch(self.ids)
        over: Bools = np.zeros(len(state["attempt"]), dtype=bool)
        over[slots] = self.closes[self.last]
        partition, elapsed_ms = self.marks["partition"], self.marks["elapsed_ms"]
        for number in np.unique(partition).tolist():
            now_ms = elapsed_ms[partition == number].max()
            over |= (state["partition"] == number) & (now_ms - state["elapsed_ms"] > IDLE_MS)
        over &= state["attempt"] != _NO_MATCH
        state.delete(state.keys_where(over))
        state["attempt"][over] = _NO_MATCH  # else a free slot would look like a silent match, again and again


def _before(values: _Array, order: Ints, heads: Ints, remembered: _Array) -> _Array:
    shifted = np.roll(values[order], 1, axis=0)
    shifted[heads] = remembered
    before = np.empty_like(shifted)
    before[order] = shifted
    return before
