"""Past sessions, looked up by item and by session: what session-kNN and item-kNN learn from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class SessionMemory:
    """S past sessions. An *entry* is an item of a session, once, at its last place there; there are E of them, by
    session, then by place.

    Args:
        session: (N,) 0 … S - 1, rising; sessions by their last click.
        item: (N,) 0 … items - 1, in the order of the clicks.
        ended_s: (S,) Unix time of the last click of each.
        items: I.
    """

    def __init__(self, session: Ints, item: Ints, ended_s: Floats, items: int) -> None:
        self.items, self.sessions, self.ended_s = items, len(ended_s), ended_s
        first = np.flatnonzero(np.diff(session, prepend=-1))
        place = np.arange(len(session)) - np.repeat(first, np.diff(np.append(first, len(session)))) + 1
        key = session * items + item
        by_key = np.argsort(key, kind="stable")
        last = by_key[np.append(np.diff(key[by_key]) != 0, True)] if len(key) else by_key
        self._keys = key[last]
        entries = np.sort(last)
        self.of_session, self.item_of, self.place_of = session[entries], item[entries], place[entries]
        self.lengths = np.bincount(self.of_session, minlength=self.sessions)
        self.starts = np.append(0, np.cumsum(self.lengths))
        # Entries by item, the latest session first.
        self.posted_entry = np.lexsort((-self.of_session, self.item_of))
        self.support = np.bincount(self.item_of, minlength=items)  # sessions of each item
        self.posted = np.append(0, np.cumsum(self.support))

    def has(self, session: Ints, item: Ints) -> npt.NDArray[np.bool_]:
        """Whether each of these sessions has the item beside it; False for no item that is known."""
        key = session * self.items + item
        at = np.minimum(np.searchsorted(self._keys, key), max(len(self._keys) - 1, 0))
        found: npt.NDArray[np.bool_] = (self._keys[at] == key) & (item >= 0) & (item < self.items)
        return found

    def entries(self, sessions: Ints) -> tuple[Ints, Ints]:
        """All entries of sessions (V,), one session after another, and which of the V each belongs to."""
        lengths = self.lengths[sessions]
        return runs(self.starts[sessions], lengths), np.repeat(np.arange(len(sessions)), lengths)


def runs(start: Ints, length: Ints) -> Ints:
    """start[0], start[0] + 1, …, so many of each, one after another."""
    ends = np.cumsum(length)
    found: Ints = np.arange(length.sum()) + np.repeat(start - (ends - length), length)
    return found
