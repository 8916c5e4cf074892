"""What keeps two persons apart, and how little of it need be wrong for them to be one.

Somebody who is under two names for a while has two rows of tracks beside one another, each with its looks. Most often
what kept them apart is a track or two that were taken for one of them by mistake, and are in another place at once.
So it is not asked whether any two tracks contradict one another, but how many tracks must be left out for none to: a
vertex cover of the graph of contradictions. It is found greedily, and so may be larger than the least: that speaks
against one person, never for.
"""

from __future__ import annotations

import numpy as np

from streaming.identities.arrivals import MOST_M_PER_S, NOTED_MS, SLACK_M, TOGETHER_MS, Bools, Ints
from streaming.identities.floor import apart
from streaming.identities.past import Past


def conflicts(overlap: Bools, past: Past, one: Ints, other: Ints) -> Bools:
    """(N, M): which tracks of `one` and of `other`, rows of `past`, cannot be of one person: at once in one camera, at
    once at places that are far apart or in views without floor in common, or too far away for the time between.

    Args:
        overlap: (C, C) which cameras see some floor in common.
        past: the tracks.
        one: (N,)
        other: (M,)
    """
    first_ms = np.maximum(past.first_ms[one][:, None], past.first_ms[other])
    together_ms = np.minimum(past.last_ms[one][:, None], past.last_ms[other]) - first_ms
    camera = past.camera[one][:, None] == past.camera[other]
    found: Bools = camera & (together_ms >= 0)
    blind = ~camera & (together_ms > TOGETHER_MS) & ~overlap[np.ix_(past.camera[one], past.camera[other])]
    for row in np.flatnonzero((together_ms > -NOTED_MS).any(axis=1)).tolist():
        near = np.flatnonzero(together_ms[row] > -NOTED_MS)
        away = past.notes.apart(other[near], *past.notes.joined(one[[row]]))
        is_known, cannot_be = apart(away)
        found[row, near] |= cannot_be
        blind[row, near[is_known]] = False
    found |= blind | _too_far(past, one, other) | _too_far(past, other, one).T
    return found


def _too_far(past: Past, before: Ints, after: Ints) -> Bools:
    """(N, M): whether nobody gets from where one track ended to where another began later."""
    notes = past.notes
    known = (notes.count[before] > 0)[:, None] & (notes.count[after] > 0)
    elapsed_ms = notes.begin_ms[after] - np.where(known, notes.end_ms[before][:, None], 0)
    known &= elapsed_ms >= 0
    elapsed_s = np.where(known, elapsed_ms, 0) / 1000
    way = notes.begin[after] - notes.end[before][:, None]
    far: Bools = known & (np.hypot(way[..., 0], way[..., 1]) > SLACK_M + MOST_M_PER_S * elapsed_s)
    return far


def mistaken(past: Past, one: Ints, other: Ints, against: Bools) -> Ints:
    """Rows of `past` that must be left out for nothing to contradict anything: who contradicts most first, of equal
    ones the shortest."""
    against, rows = against.copy(), np.concatenate([one, other])
    length_ms, out = (past.last_ms - past.first_ms)[rows], list[int]()
    while against.any():
        count = np.concatenate([against.sum(axis=1), against.sum(axis=0)])
        worst = int(np.lexsort([rows, length_ms, -count])[0])
        out.append(int(rows[worst]))
        if worst < len(one):
            against[worst] = False
        else:
            against[:, worst - len(one)] = False
    return np.array(out, dtype=np.int64)
