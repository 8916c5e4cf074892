"""What is remembered of who was where, laid side by side for decisions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streaming.identities.memory import Memory
from streaming.state import Slots

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BRIDGED_MS = 1_500  # between two notes of a track its way is a straight line, if they are no further apart
_SAME_MS = 250  # a note so near in time is of the same moment


class Past:
    """Decided tracks, L of them, of who may be a candidate, sorted by when they were last seen.

    Args:
        memory: all that is known.
        since_ms: who was last seen before is no candidate.
        now_ms: what began later is not known yet.
        without: tracks that are left out.
    """

    def __init__(self, memory: Memory, since_ms: int, now_ms: int, without: Slots | None = None) -> None:
        state = memory.state
        slots = memory.decided(since_ms)
        slots = slots[state["first_ms"][slots] <= now_ms]
        if without is not None:
            slots = slots[~np.isin(slots, without)]
        slots = slots[np.argsort(state["last_ms"][slots], kind="stable")]
        self.slots = slots
        self.person, self.camera = state["person"][slots], state["camera"][slots].astype(np.int64)
        self.first_ms, self.last_ms = state["first_ms"][slots], state["last_ms"][slots]
        self.notes = Notes(state["place_ms"][slots], state["place_m"][slots].astype(np.float64))


class Notes:
    """Where tracks were at some moments: those of each track ascending, what is not known at the end.

    Args:
        at_ms: (L, K)
        places: (L, K, 2) m; NaN where none is.
    """

    def __init__(self, at_ms: Ints, places: Floats) -> None:
        unknown = np.isnan(places[..., 0])
        times = np.where(unknown, np.iinfo(np.int64).max, at_ms)
        order = np.argsort(times, axis=1, kind="stable")
        self.at_ms = np.take_along_axis(times, order, axis=1)
        self.places = np.take_along_axis(places, order[..., None], axis=1)
        self.count = (~unknown).sum(axis=1)

    def joined(self) -> tuple[Ints, Floats]:
        """Of all tracks, in order of time: (N,) and (N, 2)."""
        known = np.arange(self.at_ms.shape[1]) < self.count[:, None]
        at_ms, places = self.at_ms[known], self.places[known]
        order = np.argsort(at_ms, kind="stable")
        return at_ms[order], places[order]

    def ends(self) -> tuple[Ints, Floats, Ints, Floats]:
        """First and last of each: (L,), (L, 2), (L,), (L, 2); places NaN where there is none."""
        rows, last = np.arange(len(self.count)), np.maximum(self.count - 1, 0)
        return self.at_ms[:, 0], self.places[:, 0], self.at_ms[rows, last], self.places[rows, last]

    def apart(self, chosen: Ints, at_ms: Ints, places: Floats) -> Floats:
        """Metres between each of the chosen tracks and somebody who was at `places` (N, 2) `at_ms` (N,), (C, N); NaN
        where the track's place at that time is not known."""
        times, where = self.at_ms[chosen], self.places[chosen]
        if not times.size or not len(at_ms):
            return np.full((len(times), len(at_ms)), np.nan)
        last = np.maximum(self.count[chosen] - 1, 0)[:, None]
        after = (times[:, :, None] < at_ms[None, None, :]).sum(axis=1)
        before, after = np.clip(after - 1, 0, last), np.minimum(after, last)
        early, late = np.take_along_axis(times, before, axis=1), np.take_along_axis(times, after, axis=1)
        bridged = (late >= at_ms) & (early <= at_ms) & (late - early <= _BRIDGED_MS)
        near = np.minimum(np.abs(late - at_ms), np.abs(early - at_ms)) <= _SAME_MS
        share = np.clip((at_ms - early) / np.maximum(late - early, 1), 0.0, 1.0)[..., None]
        rows = np.arange(len(times))[:, None]
        place = (1 - share) * where[rows, before] + share * where[rows, after]
        away: Floats = np.hypot(*(place - places).transpose(2, 0, 1))
        away[~(bridged | near) | (self.count[chosen] == 0)[:, None]] = np.nan
        return away
