"""Who the tracks are whose time has come: candidates, their rates, the looks, the assignment.

A candidate is a person seen within `memory_s`. How it may come to a camera (rate per second):

- last seen elsewhere, or here, before the track began: by the learned transit times (`transit`), and nobody walks
  faster than `MOST_M_PER_S` where both places are known;
- seen meanwhile in a camera whose view overlaps: at once, as far as the two places on the floor agree;
- seen meanwhile anywhere else: not at all.

Everything is asked as of the track's decision time: what was read ahead of another partition does not count.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streaming.identities.appearance import Appearance, Floats, Ints, Looks, centred
from streaming.identities.ledger import Correction, Ledger
from streaming.identities.linking import NOBODY, Links, floor_ratio, link, posterior
from streaming.identities.memory import Memory
from streaming.identities.transit import TransitPrior
from streaming.privacy.seal import Seal
from streaming.state import Slots
from streaming.tracking.looks import has_look, unit

MOST_M_PER_S, SLACK_M = 2.5, 1.5
SURE = 0.9
"""Links of this score or more teach transit times."""

_TOGETHER_MS = 1_000  # places this near in time are of the same moment
_EXEMPLARS = 6  # looks of a person that count, the latest
_BESIDE_PER_S = 0.5  # who stands in an overlapping view comes into this one


@dataclass(frozen=True)
class Rules:
    """How identities are decided.

    Args:
        overlapping: pairs of cameras, by name, that see some floor in common.
        decide_s: how long a track is looked at first.
        step_s: tracks whose time comes within the same step are decided together.
        least_score: a link that is less probable is none.
        memory_s: how long somebody may be out of sight and be known again.
        retention_s: how long anything is kept of a track after it was last seen.
        newcomers_per_s: at one camera, before any was seen.

    Raises:
        ValueError: a figure is out of range.
    """

    overlapping: Collection[frozenset[str]] = ()
    appearance: Appearance = field(default_factory=Appearance)
    prior: TransitPrior = field(default_factory=TransitPrior)
    decide_s: float = 1.0
    step_s: float = 0.5
    least_score: float = 0.5
    memory_s: float = 1800.0
    retention_s: float = 86_400.0
    newcomers_per_s: float = 0.02

    def __post_init__(self) -> None:
        for name in ("decide_s", "step_s", "memory_s", "retention_s", "newcomers_per_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, not above 0")
        if not 0 < self.least_score <= 1:
            raise ValueError(f"least_score is {self.least_score}, not a probability above 0")
        if self.memory_s > self.retention_s:
            raise ValueError(f"memory_s {self.memory_s} is longer than retention_s {self.retention_s}")
        if bad := [pair for pair in self.overlapping if len(pair) != 2]:
            raise ValueError(f"overlapping cameras come in pairs, not {sorted(bad[0])}")


class Decisions:
    """Decides tracks, in order."""

    def __init__(self, rules: Rules, seal: Seal, memory: Memory) -> None:
        self._rules, self._seal, self._memory = rules, seal, memory
        self._state, self._ledger = memory.state, Ledger(memory)

    def decide(self, tracks: Slots, now_ms: int) -> list[Correction]:
        """Decide these tracks together; `now_ms` is the end of their step."""
        past = _Past(self._memory, self._rules, now_ms)
        persons = np.unique(past.person)
        rates = self._rates(tracks, past, persons)
        looks, known, counts = self._looks(tracks, past, persons)
        ratio = self._rules.appearance.log_ratio(looks, known, counts)
        ratio[~has_look(looks)] = 0.0
        ratio[:, counts == 0] = 0.0
        camera = self._state["camera"][tracks]
        newcomers = self._memory.newcomers_per_s(now_ms, self._rules.newcomers_per_s, worth_s=60.0)
        links = link(posterior(rates, ratio, newcomers[camera]), self._rules.least_score)
        return [self._settle(int(slot), row, links, persons, past) for row, slot in enumerate(tracks.tolist())]

    def _settle(self, slot: int, row: int, links: Links, persons: Ints, past: _Past) -> Correction:
        score = float(links.score[row])
        if links.person[row] == NOBODY:
            camera = self._memory.cameras()[int(self._state["camera"][slot])]
            self._memory.count_newcomer(camera)
            return self._ledger.link(slot, self._memory.next("last_person"), score)
        person = int(persons[links.person[row]])
        if score >= SURE:
            mine = past.slots[past.person == person]
            before = mine[self._state["last_ms"][mine] <= self._state["first_ms"][slot]]
            if len(before) == len(mine):
                last = before[np.argmax(self._state["last_ms"][before])]
                gap_s = float(self._state["first_ms"][slot] - self._state["last_ms"][last]) / 1000
                self._memory.learn_transit(int(self._state["camera"][last]), int(self._state["camera"][slot]), gap_s)
        return self._ledger.link(slot, person, score)

    def _rates(self, tracks: Slots, past: _Past, persons: Ints) -> Floats:
        """(T, P) arrivals per second; 0 where it cannot be."""
        state, names = self._state, self._memory.cameras()
        transits = self._memory.transits(self._rules.prior)
        rates = np.zeros((len(tracks), len(persons)))
        if not len(persons):
            return rates
        number = {name: at for at, name in names.items()}
        shares = np.zeros((len(names), len(names)), dtype=bool)
        for pair in self._rules.overlapping:
            if pair <= number.keys():
                one, other = (number[name] for name in pair)
                shares[one, other] = shares[other, one] = True
        of = np.searchsorted(persons, past.person)
        for row, slot in enumerate(tracks.tolist()):
            camera, first_ms = int(state["camera"][slot]), int(state["first_ms"][slot])
            gap_s = (first_ms - past.last_ms) / 1000
            distance = past.distances(state["place_ms"][slot], state["place_m"][slot])
            meanwhile = past.last_ms > first_ms + _TOGETHER_MS
            beside = meanwhile & shares[past.camera, camera] & (past.camera != camera)
            elsewhere = transits.rate(past.camera, np.full(len(gap_s), camera), gap_s)
            near = (past.camera == camera) | shares[past.camera, camera]
            elsewhere *= np.where(near, floor_ratio(distance, np.maximum(gap_s, 0)), 1.0)
            with np.errstate(invalid="ignore"):
                too_fast = distance > SLACK_M + MOST_M_PER_S * np.maximum(gap_s, 0)
            elsewhere[too_fast] = 0.0
            rate = elsewhere
            together = past.apart(beside, state["place_ms"][slot], state["place_m"][slot])
            rate[beside] = _BESIDE_PER_S * np.where(np.isnan(together), 0.1, floor_ratio(together, np.zeros(1)))
            # Of a person: what its tracks in overlapping views say, else its last track; one that is elsewhere forbids.
            here = np.full(len(persons), -np.inf)
            np.maximum.at(here, of[beside], rate[beside])
            latest = np.zeros(len(persons), dtype=np.int64)
            latest[of] = np.arange(len(of))  # tracks are sorted by when they were last seen
            rates[row] = np.where(np.isfinite(here), here, rate[latest])
            seen_apart = (meanwhile & ~beside) | ((past.camera == camera) & (past.last_ms >= first_ms))
            rates[row, of[seen_apart]] = 0.0
        return rates

    def _looks(self, tracks: Slots, past: _Past, persons: Ints) -> tuple[Looks, Looks, Ints]:
        """Looks of the tracks (T, D), means (P, D) of the persons' latest looks, and of how many (P,)."""
        every = np.concatenate([tracks, past.slots])
        looks = centred(unit(self._memory.open_looks(every, self._seal)), self._state["camera"][every])
        mine, others = looks[: len(tracks)], looks[len(tracks) :]
        means = np.zeros((len(persons), looks.shape[1]), dtype=np.float64)
        counts = np.zeros(len(persons), dtype=np.int64)
        of = np.searchsorted(persons, past.person)
        rank = np.zeros(len(of), dtype=np.int64)  # 0 for a person's latest track
        order = np.argsort(of, kind="stable")
        heads = np.searchsorted(of[order], np.arange(len(persons) + 1))
        rank[order] = np.repeat(heads[1:], np.diff(heads)) - 1 - np.arange(len(of))
        used = (rank < _EXEMPLARS) & has_look(others)
        np.add.at(means, of[used], others[used])
        np.add.at(counts, of[used], 1)
        means /= np.maximum(counts, 1)[:, None]
        return mine, means.astype(np.float32), counts


class _Past:
    """Tracks of who may be a candidate, L of them, sorted by when they were last seen."""

    def __init__(self, memory: Memory, rules: Rules, now_ms: int) -> None:
        state, slots = memory.state, memory.decided()
        recent = state["last_ms"][slots] >= now_ms - round(1000 * rules.memory_s)
        slots = slots[recent & (state["first_ms"][slots] <= now_ms)]
        slots = slots[np.argsort(state["last_ms"][slots], kind="stable")]
        self.slots, self.now_ms = slots, now_ms
        self.person, self.camera = state["person"][slots], state["camera"][slots].astype(np.int64)
        self.first_ms, self.last_ms = state["first_ms"][slots], state["last_ms"][slots]
        self._place_ms, self._place_m = state["place_ms"][slots], state["place_m"][slots].astype(np.float64)

    def distances(self, place_ms: Ints, place_m: Looks) -> Floats:
        """(L,) metres from each track's last place to the first of this one; NaN where one is not known."""
        known = np.flatnonzero(~np.isnan(place_m[:, 0]))
        if not len(known) or not len(self.slots):
            return np.full(len(self.slots), np.nan)
        first = place_m[known[np.argmin(place_ms[known])]]
        last = np.argmax(np.where(np.isnan(self._place_m[:, :, 0]), -(10**16), self._place_ms), axis=1)
        away: Floats = np.hypot(*(self._place_m[np.arange(len(last)), last] - first).T)
        return away

    def apart(self, chosen: npt.NDArray[np.bool_], place_ms: Ints, place_m: Looks) -> Floats:
        """Median metres between each of the chosen (L,) tracks and this one at the same moments; NaN where there is
        none."""
        apart_ms = np.abs(self._place_ms[chosen][:, :, None] - place_ms[None, None, :])
        away = np.linalg.norm(self._place_m[chosen][:, :, None, :] - place_m[None, None, :, :], axis=-1)
        away[apart_ms > _TOGETHER_MS // 2] = np.nan
        found, told = ~np.isnan(away).all(axis=(1, 2)), np.full(len(away), np.nan)
        if found.any():
            told[found] = np.nanmedian(away[found].reshape(int(found.sum()), -1), axis=1)
        return told
