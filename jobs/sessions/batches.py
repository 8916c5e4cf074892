"""Batches of clicks to learn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.sessions.clicks import ClickSet
from jobs.sessions.split import NO_ITEM

Ints = npt.NDArray[np.int64]


class Lanes(NamedTuple):
    """An epoch of session-parallel mini-batches: T steps of B lanes, in each of which one session follows another."""

    clicks: Ints  # (T, B), NO_ITEM where a lane has ended
    targets: Ints  # (T, B) the next click of the same session, NO_ITEM after the last
    fresh: npt.NDArray[np.bool_]  # (T, B) a session begins


def session_parallel(clicks: ClickSet, lanes: int, chance: np.random.Generator) -> Lanes:
    """All sessions in random order, cut into lanes of whole sessions and nearly the same length.

    Hidasi et al. (arXiv:1511.06939), §3.1.1, hand a lane its next session when it is free; here each gets its share
    beforehand, which takes no loop, and costs as many steps at the end as the longest session has clicks, at most.

    Args:
        clicks: to learn from.
        lanes: B; with fewer sessions, so many.
        chance: draws the order.
    """
    lanes = min(lanes, clicks.sessions)
    order = chance.permutation(clicks.sessions)
    lengths = np.diff(clicks.starts)[order]
    ends = np.cumsum(lengths)
    before = ends - lengths
    lane = before * lanes // ends[-1]
    begins = before - before[np.searchsorted(lane, lane)]  # step at which a session begins in its lane
    steps = int((begins + lengths).max())
    within = np.arange(ends[-1]) - np.repeat(before, lengths)
    row = np.repeat(clicks.starts[:-1][order], lengths) + within
    at, column = np.repeat(begins, lengths) + within, np.repeat(lane, lengths)
    shown, targets = np.full((2, steps, lanes), NO_ITEM)
    shown[at, column] = clicks.item[row]
    followed = within < np.repeat(lengths, lengths) - 1
    targets[at[followed], column[followed]] = clicks.item[row[followed] + 1]
    fresh = np.zeros((steps, lanes), bool)
    fresh[begins, lane] = True
    return Lanes(shown, targets, fresh)


def whole_sessions(clicks: ClickSet, length: int) -> tuple[Ints, Ints]:
    """Clicks (S, L) and their next ones (S, L) of every session, aligned to the right, `NO_ITEM` before the first."""
    rows = clicks.starts[1:, None] - 1 - np.arange(length, 0, -1)
    own = rows >= clicks.starts[:-1, None]
    rows = np.maximum(rows, 0)
    return np.where(own, clicks.item[rows], NO_ITEM), np.where(own, clicks.item[rows + 1], NO_ITEM)
