"""Looks of tracks and of persons while one step is decided: opened once, compared by one product a question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streaming.identities.appearance import Appearance, Floats, Ints, centred
from streaming.identities.memory import Memory
from streaming.identities.past import Known, Past
from streaming.privacy.seal import Seal
from streaming.tracking.looks import has_look, unit

_EXEMPLARS = 12  # tracks of a person whose looks count, the latest
_MOST_WEIGHT = 12  # looks of a track that add to its weight


class TrackLooks:
    """The looks of tracks of `past`, without what their cameras add. Opened are those that may be asked for: of each
    person the latest; of nobody, who is decided now, all.

    Args:
        memory: where they lie.
        seal: how.
        past: the tracks.
    """

    def __init__(self, memory: Memory, seal: Seal, past: Past) -> None:
        state = memory.state
        self._looks = memory.open_looks(past.slots, seal)
        seen = has_look(self._looks)
        self._looks[seen] = centred(unit(self._looks[seen]), past.camera[seen])
        self._weight = np.where(seen, np.minimum(state["count"][past.slots], _MOST_WEIGHT), 0).astype(np.float32)
        self._weighted = self._looks * self._weight[:, None]

    def log_ratio(self, appearance: Appearance, units: Sequence[Ints], known: Known) -> Floats:
        """(U, P): what the looks say for each unit, rows of tracks, being each person; 0 where one has none."""
        weights = [self._weight[rows].sum() for rows in units]
        looks = np.stack([self._weighted[rows].sum(axis=0) for rows in units]) / np.maximum(weights, 1)[:, None]
        counts = np.array([np.count_nonzero(self._weight[rows]) for rows in units])
        means, known_counts = self._persons(known)
        ratio = appearance.log_ratio(looks, counts, means, known_counts)
        ratio[counts == 0] = 0.0
        ratio[:, known_counts == 0] = 0.0
        return ratio

    def _persons(self, known: Known) -> tuple[Floats, Ints]:
        """Means (P, D) of the persons' latest looks, and of how many tracks (P,)."""
        persons, of = known
        order = np.argsort(of, kind="stable")  # of each person the latest last
        heads = np.searchsorted(of[order], np.arange(len(persons) + 1))
        order = order[: heads[-1]]
        rank = np.repeat(heads[1:], np.diff(heads)) - np.arange(heads[-1])  # 1 for the latest
        used = order[(rank <= _EXEMPLARS) & (self._weight[order] > 0)]
        counts = np.bincount(of[used], minlength=len(persons))
        means = np.zeros((len(persons), self._looks.shape[1]), np.float32)
        begins = np.cumsum(counts) - counts
        there = counts > 0
        if len(used):
            total = np.add.reduceat(self._weight[used], begins[there])
            means[there] = np.add.reduceat(self._weighted[used], begins[there]) / total[:, None]
        return means, counts
