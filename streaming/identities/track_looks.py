"""Looks of tracks and of persons while one step is decided: opened once, compared by one product a question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streaming.identities.appearance import Appearance, Floats, Ints, Looks, centred
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
        self._weighted: Looks = self._looks * self._weight[:, None]

    def log_ratio(self, appearance: Appearance, units: Sequence[Ints], known: Known) -> Floats:
        """(U, P): what the looks say for each unit, rows of tracks, being each person; 0 where one has none."""
        weights = np.array([self._weight[rows].sum() for rows in units], np.float32)
        summed = np.stack([self._weighted[rows].sum(axis=0) for rows in units])
        looks = (summed / np.maximum(weights, 1)[:, None]).astype(np.float32)
        counts = np.array([np.count_nonzero(self._weight[rows]) for rows in units])
        means, known_counts = self._persons(known)
        ratio = appearance.log_ratio(looks, counts, means, known_counts)
        ratio[counts == 0] = 0.0
        ratio[:, known_counts == 0] = 0.0
        return ratio

    def _persons(self, known: Known) -> tuple[Looks, Ints]:
        """Means (P, D) of the persons' latest looks, and of how many tracks (P,)."""
        persons, of = known
        used = _latest(known)
        used = used[self._weight[used] > 0]
        counts: Ints = np.bincount(of[used], minlength=len(persons)).astype(np.int64)
        means = np.zeros((len(persons), self._looks.shape[1]), np.float32)
        begins, there = np.cumsum(counts) - counts, counts > 0
        if len(used):
            total = np.add.reduceat(self._weight[used], begins[there])
            means[there] = np.add.reduceat(self._weighted[used], begins[there]) / total[:, None]
        return means, counts


def _latest(known: Known) -> Ints:
    """The latest tracks of each person, person by person."""
    order = np.argsort(known.of, kind="stable")  # of each person the latest last
    heads = np.searchsorted(known.of[order], np.arange(len(known.persons) + 1))
    rank = np.repeat(heads[1:], np.diff(heads)) - np.arange(heads[-1])  # 1 for the latest
    return order[: heads[-1]][rank <= _EXEMPLARS]
