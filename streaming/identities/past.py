"""What is remembered of who was where, laid side by side once a step for all that is asked in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.identities.memory import Memory
from streaming.state import Slots

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_BRIDGED_MS = 1_500  # between two notes of a track its way is a straight line, if they are no further apart
_SAME_MS = 250  # a note so near in time is of the same moment


class Known(NamedTuple):
    """Who may be a candidate, as things stand."""

    persons: Ints  # (P,) ascending
    of: Ints  # (L,) of whom each track is, a row of `persons`; P for nobody's and for those left out


class Past:
    """Tracks, L of them, sorted by when they were last seen: decided ones of who may be a candidate, and those that
    are decided in this step. Whose they are is asked anew for every question (`known`), since answers change it.

    Args:
        memory: all that is known.
        since_ms: who was last seen before is no candidate.
        now_ms: what began later is not known yet.
        due: tracks that are decided in this step.
    """

    def __init__(self, memory: Memory, since_ms: int, now_ms: int, due: Slots) -> None:
        state = memory.state
        slots = np.union1d(memory.decided(since_ms), due)
        slots = slots[state["first_ms"][slots] <= now_ms]
        order = np.lexsort([state[name][slots] for name in ("track_id", "camera", "first_ms", "last_ms")])
        self._state, self.slots = state, slots[order]
        self.camera = state["camera"][self.slots].astype(np.int64)
        self.first_ms, self.last_ms = state["first_ms"][self.slots], state["last_ms"][self.slots]
        self.notes = Notes(state["place_ms"][self.slots], state["place_m"][self.slots].astype(np.float64))
        self.by_first = np.argsort(self.first_ms, kind="stable")
        self._row = np.full(len(state["kind"]), -1)
        self._row[self.slots] = np.arange(len(self.slots))

    def __len__(self) -> int:
        return len(self.slots)

    def rows(self, slots: Slots) -> Ints:
        """Where these tracks are among those here, as far as they are."""
        rows = self._row[slots]
        return rows[rows >= 0]

    def twice(self, rows: Ints) -> Bools:
        """(L,) tracks that were seen beside these in one of their cameras."""
        here = self.camera[:, None] == self.camera[rows]
        here &= (self.last_ms[:, None] >= self.first_ms[rows]) & (self.first_ms[:, None] <= self.last_ms[rows])
        found: Bools = here.any(axis=1)
        return found

    def meanwhile(self, begins_ms: int, ends_ms: int, least_ms: int) -> Bools:
        """(L,) tracks that were seen for more than this time, which may be below 0, within the given one."""
        found: Bools = (self.last_ms >= begins_ms + least_ms) & (self.first_ms <= ends_ms - least_ms)
        return found

    def known(self, without: Slots | None = None) -> Known:
        """Whose the tracks are now; `without` some of them."""
        person = self._state["person"][self.slots]
        if without is not None:
            person[self.rows(without)] = 0
        persons, of = np.unique(person, return_inverse=True)
        if len(persons) and persons[0] == 0:
            return Known(persons[1:], np.where(of == 0, len(persons), of) - 1)
        return Known(persons, of)


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
        rows, last = np.arange(len(self.count)), np.maximum(self.count - 1, 0)
        self.begin_ms, self.begin = self.at_ms[:, 0], self.places[:, 0]
        self.end_ms, self.end = self.at_ms[rows, last], self.places[rows, last]
        """First and last of each: (L,) and (L, 2); places NaN where there is none."""
        noted = np.flatnonzero(self.count)
        self.by_begin = noted[np.argsort(self.begin_ms[noted], kind="stable")]
        self.by_end = noted[np.argsort(self.end_ms[noted], kind="stable")]

    def joined(self, rows: Ints) -> tuple[Ints, Floats]:
        """Of these tracks, in order of time: (N,) and (N, 2)."""
        known = np.arange(self.at_ms.shape[1]) < self.count[rows][:, None]
        at_ms, places = self.at_ms[rows][known], self.places[rows][known]
        order = np.argsort(at_ms, kind="stable")
        return at_ms[order], places[order]

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
