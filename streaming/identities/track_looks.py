"""Looks of tracks and of persons while one step is decided: opened once, compared by one product a question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from streaming.identities.appearance import Appearance, Ints, Looks, centred
from streaming.identities.memory import Memory
from streaming.identities.past import Known, Past
from streaming.privacy.seal import Seal
from streaming.tracking.looks import has_look, unit

_EXEMPLARS = 12  # tracks of a person whose looks count, the latest
_MOST_WEIGHT = 12  # looks of a track that add to its weight
_MOMENT_MS = 20_000  # in which a track or a person is asked about again


class TrackLooks:
    """The looks of tracks of `past`, without what their cameras add. Opened are those that may count in this step: of
    everybody the latest tracks; of those seen a moment ago, or not decided yet, all.

    Args:
        memory: where they lie.
        seal: how.
        past: the tracks.
    """

    def __init__(self, memory: Memory, seal: Seal, past: Past) -> None:
        known = past.known()
        opened = known.of == len(known.persons)
        opened |= past.last_ms >= past.last_ms.max(initial=0) - _MOMENT_MS
        opened[_latest(known)] = True
        rows = np.flatnonzero(opened)
        looks = unit(memory.open_looks(past.slots[rows], seal))
        rows, looks = rows[has_look(looks)], looks[has_look(looks)]
        self._looks = np.zeros((len(past), looks.shape[1]), np.float32)
        self._looks[rows] = centred(looks, past.camera[rows])
        self._weight = np.zeros(len(past), np.float32)
        self._weight[rows] = np.minimum(memory.state["count"][past.slots[rows]], _MOST_WEIGHT)

    def log_ratio(self, appearance: Appearance, units: Sequence[Ints], known: Known) -> Looks:
        """(U, P): what the looks say for each unit, rows of tracks, being each person; 0 where one has none."""
        of = np.repeat(np.arange(len(units)), [len(rows) for rows in units])
        looks, counts = self._means(np.concatenate(units), of, len(units))
        latest = _latest(known)
        means, known_counts = self._means(latest, known.of[latest], len(known.persons))
        ratio = appearance.log_ratio(looks, counts, means, known_counts)
        ratio[counts == 0] = 0.0
        ratio[:, known_counts == 0] = 0.0
        return ratio

    def _means(self, tracks: Ints, of: Ints, total: int) -> tuple[Looks, Ints]:
        """Mean looks (total, D) of those whose these tracks are, `of` ascending, and of how many tracks (total,)."""
        shown = self._weight[tracks] > 0
        tracks, of, weight = tracks[shown], of[shown], self._weight[tracks[shown]]
        counts: Ints = np.bincount(of, minlength=total).astype(np.int64)
        share = (weight / np.bincount(of, weight, total)[of]).astype(np.float32)
        rows = csr_array((share, tracks, np.append(0, np.cumsum(counts))), shape=(total, len(self._looks)))
        means: Looks = rows @ self._looks
        return means, counts


def _latest(known: Known) -> Ints:
    """The latest tracks of each person, person by person."""
    # Of each person the latest last; numpy sorts short integers by radix, in a tenth of the time.
    order = np.argsort(known.of.astype(np.min_scalar_type(len(known.persons))), kind="stable")
    heads = np.append(0, np.cumsum(np.bincount(known.of, minlength=len(known.persons))[: len(known.persons)]))
    rank = np.repeat(heads[1:], np.diff(heads)) - np.arange(heads[-1])  # 1 for the latest
    return order[: heads[-1]][rank <= _EXEMPLARS]
