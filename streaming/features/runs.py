"""Running sums and maxima within groups of rows, for a whole batch at once.

Rows are sorted by group. In front of each group stands one extra place, its *head*, for what was known before the
batch: a running maximum starts from the head's value instead of from nothing.

    rows    a0 a1 a2 b0 b1          N rows, G groups
    places  A a0 a1 a2 B b0 b1      N + G places; A and B are heads
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Runs:
    """Where the rows of each group sit.

    Attributes:
        group: (N,) group of each row, ascending from 0 without gaps.
        first: (G,) first row of each group, and end: (G,) the one after its last.
        row: (N,) place of each row.
        head: (G,) place of each group's head.
        last: (G,) last place of each group.
        of: (N + G,) group of each place.
    """

    def __init__(self, group: Ints) -> None:
        counts = np.bincount(group)
        groups = np.arange(len(counts))
        self.group = group
        self.end = np.cumsum(counts)
        self.first = self.end - counts
        self.row = np.arange(len(group)) + group + 1
        self.head = self.first + groups
        self.last = self.head + counts
        self.of = np.repeat(groups, counts + 1)

    def place(self, heads: Any, rows: Any) -> npt.NDArray[Any]:
        """Values at their places, (N + G, …), from heads (G, …) or one value for all, and rows (N, …)."""
        rows = np.asarray(rows)
        placed = np.empty((len(self.of), *rows.shape[1:]), rows.dtype)
        placed[self.head] = heads
        placed[self.row] = rows
        return placed

    def running_max(self, heads: Any, rows: Ints, bits: int) -> Ints:
        """The largest of each group so far, (N + G, …), by column; values are -1 up to 2**bits - 2.

        One accumulation serves all groups: the group's number stands above the value's bits.
        """
        lifted = self.of.astype(np.int64) << bits
        if rows.ndim > 1:
            lifted = lifted[:, None]
        largest: Ints = np.maximum.accumulate(self.place(heads, rows) + lifted, axis=0) - lifted
        return largest

    def latest(self, marked: Bools) -> Ints:
        """For each place and column the place of the last marked row so far, else of the head; (N + G, …)."""
        places = np.arange(len(self.of)).reshape(-1, *[1] * (marked.ndim - 1))
        found: Ints = np.maximum.accumulate(np.where(self.place(True, marked), places, 0), axis=0)
        return found

    def count_before(self, marked: Bools) -> Ints:
        """How many rows of the same group before this one are marked, (N,)."""
        before: Ints = np.cumsum(marked) - marked
        counted: Ints = before - before[self.first][self.group]
        return counted
