"""Who may have come to where a track is, and at what rate, before a look at them.

Tracks of one person that are asked about together are a `Unit`: one that is new, or all that a young person has. How a
person may come to it (rate per second):

- seen at the same moments in another camera: at once, as far as the places on the floor agree. Without places: if the
  two cameras overlap;
- last seen before: the sooner the likelier, as far as the way on the floor is one that people go; nobody walks faster
  than `MOST_M_PER_S`. Without places by the learned transit times (`transit`). Whoever was seen again afterwards must
  have had time for the way back as well;
- seen in the unit's own camera at the same time: not at all.

But what is told of a person may be wrong itself. Where one of the person's tracks forbids what others allow, that track
was perhaps taken for the person by mistake.

Newcomers come where people were first seen before: their rate is that of the persons who began there, as they are known
now. Whoever was taken for new by mistake, and has been merged since, does not count any more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.identities.floor import apart, begun_near, beside_ratio, moved_ratio
from streaming.identities.memory import Memory
from streaming.identities.past import Known, Past
from streaming.identities.transit import TransitPrior, Transits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_M_PER_S, SLACK_M = 2.5, 1.5

TOGETHER_MS = 1_000
"""Who is seen at two places for longer is there at once."""
NOTED_MS = 300
"""Notes lag behind by up to half of their distance."""
_BESIDE_PER_S = 0.5  # who stands in an overlapping view comes into this one
_BLIND = 0.1  # of that, where it is not known where in it
_RETURN_PER_S = 0.7  # who was lost a moment ago is seen again
_NEW_WORTH_S = 60.0  # of the first belief about newcomers
MISTAKEN = 0.03
"""Of tracks that were taken for somebody's, those that are not."""


class Unit:
    """Tracks of one person, asked about together.

    Args:
        rows: of `past`.
        past: in which they are.
    """

    def __init__(self, rows: Ints, past: Past) -> None:
        self.rows = rows
        self.cameras, self.first_ms, self.last_ms = past.camera[rows], past.first_ms[rows], past.last_ms[rows]
        self.at_ms, self.places = past.notes.joined(rows)
        self.begins_ms, self.ends_ms = int(self.first_ms.min()), int(self.last_ms.max())
        self.first_camera = int(self.cameras[np.argmin(self.first_ms)])


class Ways(NamedTuple):
    """What holds for all that is asked at one time, of C cameras."""

    transits: Transits  # learned times from camera to camera
    overlap: Bools  # (C, C) which see some floor in common
    newcomers_per_s: float  # at one camera, before any was seen
    seen_s: float  # for how long people have been seen, as far as it is remembered

    @classmethod
    def of(
        cls,
        memory: Memory,
        overlapping: Collection[frozenset[str]],
        prior: TransitPrior,
        newcomers_per_s: float,
        seen_s: float,
    ) -> Ways:
        """As things stand; `overlapping` are pairs of cameras by name."""
        names = memory.cameras().values()
        overlap = np.array([[frozenset({one, other}) in overlapping for other in names] for one in names])
        return cls(memory.transits(prior), overlap, newcomers_per_s, seen_s)


class Arrivals:
    """At one time, of all candidates (P,).

    Args:
        ways: of the store.
        past: tracks of the candidates, and others.
        known: whose they are.
    """

    def __init__(self, ways: Ways, past: Past, known: Known) -> None:
        self._ways, self._past = ways, past
        self.persons, self._of = known
        self._is_known = self._of < len(self.persons)

    def newcomers(self, unit: Unit) -> float:
        """Of whom nothing was seen before, per second."""
        past = self._past
        begun = self._one_each(past.by_first[::-1])
        if len(unit.at_ms):
            seen = begun_near(past.notes.begin[begun], unit.places[0])
        else:
            seen = float((past.camera[begun] == unit.first_camera).sum())
        return (seen + self._ways.newcomers_per_s * _NEW_WORTH_S) / (self._ways.seen_s + _NEW_WORTH_S)

    def rates(self, unit: Unit, strictly: bool = False) -> Floats:
        """(P,) per second; 0 where it cannot be.

        Where one of somebody's tracks speaks against it and others do not, that track may have been taken for theirs by
        mistake: it is left out, at the price of how rare mistakes are. Not so `strictly`."""
        if not len(self.persons):
            return np.zeros(0)
        if not strictly:
            sides, against = len(self.persons) + 1, self.against(unit)
            mistakes = np.bincount(self._of[against], minlength=sides)
            mistakes[mistakes == np.bincount(self._of, minlength=sides)] = 0  # somebody is there for sure
            if mistakes[:-1].any():
                of = np.where(against & (mistakes[self._of] > 0), len(self.persons), self._of)
                rates = Arrivals(self._ways, self._past, Known(self.persons, of)).rates(unit, strictly=True)
                return rates * MISTAKEN ** mistakes[:-1]
        beside, at_once = self._beside(unit)
        blind, elsewhere = self._blind(unit, beside > 0)
        rates = np.where(at_once, beside, blind)
        apart = ~at_once & (blind == 0.0)
        rates[apart] = self._before(unit, apart) * self._after(unit, apart)
        rates[elsewhere | self._anyone(self._past.twice(unit.rows))] = 0.0
        return rates

    def against(self, unit: Unit) -> Bools:
        """(L,) tracks that cannot be of one person with the unit: seen at the same time in one camera, or at places
        that are far apart, or in a camera that sees none of the same floor."""
        past = self._past
        found = past.twice(unit.rows)
        near = np.flatnonzero(self._is_known & ~found & past.meanwhile(unit.begins_ms, unit.ends_ms, -NOTED_MS))
        away = past.notes.apart(near, unit.at_ms, unit.places)
        is_known, cannot_be = apart(away)
        found[near[cannot_be]] = True
        blind = np.zeros(len(found), dtype=np.bool_)
        blind[near[~is_known]] = True
        blind &= past.meanwhile(unit.begins_ms, unit.ends_ms, TOGETHER_MS)
        shares = self._ways.overlap[np.ix_(past.camera[blind], unit.cameras)].all(axis=1)
        found[np.flatnonzero(blind)[~shares]] = True
        return found

    def _beside(self, unit: Unit) -> tuple[Floats, Bools]:
        """(P,) rates by places at the same moments, and for whom there are any."""
        past = self._past
        tracks = np.flatnonzero(self._is_known & past.meanwhile(unit.begins_ms, unit.ends_ms, -NOTED_MS))
        away = past.notes.apart(tracks, unit.at_ms, unit.places)
        known, square, moments = ~np.isnan(away), np.zeros(len(self.persons)), np.zeros(len(self.persons))
        np.add.at(square, self._of[tracks], np.where(known, away, 0.0).__pow__(2).sum(axis=1))
        np.add.at(moments, self._of[tracks], known.sum(axis=1))
        at_once = moments > 0
        ratio = beside_ratio(square / np.maximum(moments, 1), np.minimum(moments, len(unit.at_ms)))
        return np.where(at_once, _BESIDE_PER_S * ratio, 0.0), at_once

    def _blind(self, unit: Unit, placed: Bools) -> tuple[Floats, Bools]:
        """(P,) rates of those seen meanwhile it is not known where, and who was seen where one cannot be seen too."""
        past = self._past
        meanwhile = (past.last_ms > unit.begins_ms + TOGETHER_MS) & ~np.append(placed, True)[self._of]
        meanwhile &= past.first_ms < unit.ends_ms - TOGETHER_MS // 2
        tracks = np.flatnonzero(meanwhile)
        shares = np.zeros(len(meanwhile), dtype=np.bool_)
        shares[tracks] = self._ways.overlap[np.ix_(past.camera[tracks], unit.cameras)].all(axis=1)
        rates = np.where(self._anyone(meanwhile), _BLIND * _BESIDE_PER_S, 0.0)
        return rates, self._anyone(meanwhile & ~shares)

    def _before(self, unit: Unit, chosen: Bools) -> Floats:
        """Rates of the chosen persons by where they were last seen before the unit began."""
        past, who = self._past, np.flatnonzero(chosen)
        # Tracks are sorted by when they were last seen.
        track = self._one_each(np.flatnonzero(past.first_ms <= unit.begins_ms))[who]
        gap_s = np.maximum((unit.begins_ms - past.last_ms[track]) / 1000, 0.0)
        rate = self._ways.transits.rate(past.camera[track], np.full(len(track), unit.first_camera), gap_s)
        if len(unit.at_ms):
            notes = past.notes
            ended = int(np.searchsorted(notes.end_ms[notes.by_end], unit.at_ms[0] + NOTED_MS, side="right"))
            newest = self._one_each(notes.by_end[:ended])[who]
            placed, note = newest >= 0, newest[newest >= 0]
            way = self._way(notes.end[note], unit.places[0], (unit.at_ms[0] - notes.end_ms[note]) / 1000)
            rate[placed] = _RETURN_PER_S / (1 + gap_s[placed]) * way
        rate[track < 0] = 0.0
        return rate

    def _after(self, unit: Unit, chosen: Bools) -> Floats:
        """Factors for the chosen persons by where they were seen again after the unit ended; 1 if they were not."""
        factor = np.ones(len(chosen))
        if len(unit.at_ms):
            notes = self._past.notes
            begun = int(np.searchsorted(notes.begin_ms[notes.by_begin], unit.at_ms[-1]))
            soonest = self._one_each(notes.by_begin[begun:][::-1])
            track = soonest[soonest >= 0]
            elapsed_s = (notes.begin_ms[track] - unit.at_ms[-1]) / 1000
            factor[soonest >= 0] = self._way(notes.begin[track], unit.places[-1], elapsed_s)
        return factor[chosen]

    def _one_each(self, tracks: Ints) -> Ints:
        """(P,) of these tracks the last one of each person, -1 where there is none."""
        last = np.full(len(self.persons) + 1, -1)
        last[self._of[tracks]] = tracks
        return last[:-1]

    @staticmethod
    def _way(there: Floats, here: Floats, elapsed_s: Floats) -> Floats:
        """How much the ways between places (N, 2) and one (2,) speak for one person."""
        elapsed_s, distance_m = np.maximum(elapsed_s, 0.0), np.hypot(*(there - here).T)
        ratio = moved_ratio(distance_m, elapsed_s)
        ratio[distance_m > SLACK_M + MOST_M_PER_S * elapsed_s] = 0.0
        return ratio

    def _anyone(self, tracks: Bools) -> Bools:
        """(P,) who has one of these tracks (L,)."""
        has = np.zeros(len(self.persons) + 1, dtype=np.bool_)
        has[self._of[tracks]] = True
        return has[:-1]
