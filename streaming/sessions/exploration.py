"""Now and then an answer by chance, with the probability of everything that is shown written down.

With probability e an answer is, instead of the ranking, a random order of its *pool*: all that may be offered, in the
ranking or not, and the newest items of the catalogue. With P items in the pool

    any item of the pool is in any place with probability e / P, and the ranking's own item there with 1 - e more

exactly: by these propensities what clicks are worth can be estimated for any other ranking of the same items
(`streaming.experiments`). Trying single places instead would leave an item of the ranking without a chance of any
place but its own, and so other rankings without an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.features.runs import Bools, Ints
from streaming.sessions.catalogue import UNKNOWN, Codes
from streaming.sessions.chance import uniform

_COIN, _ORDER = 1, 2  # seeds


@dataclass(frozen=True)
class Shown:
    """What is shown in N sessions in S places."""

    code: Codes  # (N, S), UNKNOWN where a place is empty
    candidate: Ints  # (N, S) which of the model's candidates it is, -1: none of them
    explored: Bools  # (N,) by chance
    propensity: npt.NDArray[np.float32]  # (N, S), 0 where a place is empty


def explore(
    codes: Codes,
    picked: Ints,
    allowed: Bools,
    new: Codes,
    new_allowed: Bools,
    rate: npt.NDArray[np.float64],
    number: npt.NDArray[np.uint64],
) -> Shown:
    """Explore by chance that hangs on the number of what is answered.

    Args:
        codes: (N, K) of the candidates, none twice.
        picked: (N, S) which candidate the ranking has in each place, -1 where none; those come last, and stay empty.
        allowed: (N, K) candidates that may be offered.
        new: (M,) new items.
        new_allowed: (N, M) which of them may be offered.
        rate: (N,) e.
        number: (N,) another one for every answer.
    """
    filled = picked >= 0
    code = np.where(filled, np.take_along_axis(codes, np.maximum(picked, 0), axis=1), UNKNOWN).astype(np.int32)
    pool = np.concatenate([allowed, new_allowed & ~_among(new, codes)], axis=1)  # (N, K + M)
    size = np.maximum(pool.sum(axis=1), 1)
    by_chance = (rate / size)[:, None]
    shown = Shown(
        code=code,
        candidate=picked.copy(),
        explored=filled[:, 0] & (uniform(_COIN, number) < rate),
        propensity=np.where(filled, 1.0 - rate[:, None] + by_chance, 0.0).astype(np.float32),
    )
    mine = np.flatnonzero(shown.explored)
    if len(mine):
        every = np.concatenate([codes[mine], np.broadcast_to(new, (len(mine), len(new)))], axis=1)
        # By place in the lists, not by code: that is this process's own.
        drawn = uniform(_ORDER, number[mine][:, None], np.arange(every.shape[1])[None])
        order = np.argsort(np.where(pool[mine], drawn, 2.0), axis=1)[:, : picked.shape[1]]
        order = np.pad(order, ((0, 0), (0, picked.shape[1] - order.shape[1])))
        taken, there = np.take_along_axis(every, order, axis=1), filled[mine]
        same = taken == code[mine]
        shown.code[mine] = np.where(there, taken, UNKNOWN)
        shown.candidate[mine] = np.where(there & (order < codes.shape[1]), order, -1)
        chance = by_chance[mine] + np.where(same, 1.0 - rate[mine][:, None], 0.0)
        shown.propensity[mine] = np.where(there, chance, 0.0)
    return shown


def _among(new: Codes, codes: Codes) -> Bools:
    """(N, M) whether each new item is among the session's candidates."""
    found = np.zeros((len(codes), len(new)), bool)
    if not len(new) or not codes.size:
        return found
    place = np.full(int(max(new.max(), codes.max())) + 2, -1, np.int64)  # the last is that of UNKNOWN
    place[new] = np.arange(len(new))
    at = place[codes]
    row, column = np.nonzero(at >= 0)
    found[row, at[row, column]] = True
    return found
