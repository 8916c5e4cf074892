"""Who the tracks are whose time has come: candidates, rates, looks, the assignment; and who they are after all.

A candidate is a person seen within `memory_s`; `arrivals` says at what rate each may have come, `appearance` what the
looks say, `linking` makes probabilities of both. Tracks of one camera that are due together are assigned at once, since
nobody is two of them; one camera after another, since somebody may come into two views in one step.

A second of a track is little to tell somebody by. So it is asked again, at ages of a track and of a person: a track may
be another person's after all, and a young person with all tracks so far may be somebody who was known before. What
changes is told in corrections.

Everything is asked as of the track's decision time: what was read ahead of another partition does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from streaming.identities.appearance import Appearance, Floats, Ints, Looks, centred
from streaming.identities.arrivals import Arrivals, Unit
from streaming.identities.ledger import Correction, Ledger
from streaming.identities.linking import NOBODY, Links, link, posterior
from streaming.identities.memory import Memory
from streaming.identities.past import Past
from streaming.identities.transit import TransitPrior
from streaming.privacy.seal import Seal
from streaming.state import Slots
from streaming.tracking.looks import has_look, unit

SURE = 0.9
"""Links of this score or more teach transit times."""

_EXEMPLARS = 12  # tracks of a person whose looks count, the latest
_MOST_WEIGHT = 12  # looks of a track that add to its weight
_HALF = 0.5
_CHANGE_LOG_ODDS = 1.5  # by which another person must be likelier for a track to change hands


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
    least_score: float = 0.3
    memory_s: float = 1800.0
    retention_s: float = 86_400.0
    newcomers_per_s: float = 0.005

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
        """Decide these tracks, those of a camera together; `now_ms` is the end of their step."""
        made = []
        camera = self._state["camera"][tracks]
        for number in np.unique(camera).tolist():
            mine = tracks[camera == number]
            past = self._past(now_ms)
            persons, share = self._shares([Unit(mine[[row]], self._memory) for row in range(len(mine))], past, now_ms)
            links = link(share, self._rules.least_score)
            made += [self._settle(int(slot), row, links, persons, past) for row, slot in enumerate(mine.tolist())]
        return made

    def review(self, tracks: Slots, now_ms: int) -> list[Correction]:
        """Ask again who these tracks of one person are: as a whole another one, who may be new, or what they were."""
        persons, shares = self._shares([Unit(tracks, self._memory)], self._past(now_ms, tracks), now_ms)
        share = np.append(shares[0], max(1.0 - float(shares[0].sum()), 1e-12))
        names = np.append(persons, NOBODY)
        (now,) = np.flatnonzero(names == self._state["person"][tracks[0]])[:1].tolist() or [len(persons)]
        best = int(np.argmax(share))
        odds = np.log(np.maximum(share[[best, now]], 1e-12))
        if best == now or share[best] < _HALF or odds[0] - odds[1] < _CHANGE_LOG_ODDS:
            return []
        person = int(names[best]) if best < len(persons) else self._memory.next("last_person")
        return [self._ledger.relink(slot, person, float(share[best])) for slot in tracks.tolist()]

    def _past(self, now_ms: int, without: Slots | None = None) -> Past:
        return Past(self._memory, now_ms - round(1000 * self._rules.memory_s), now_ms, without)

    def _shares(self, units: Sequence[Unit], past: Past, now_ms: int) -> tuple[Ints, Floats]:
        """Candidates (P,), and the probability that each unit is each of them (U, P)."""
        rules, memory = self._rules, self._memory
        seen_s = min((now_ms - memory.began_ms()) / 1000, rules.memory_s)
        arrivals = Arrivals(memory, past, rules.overlapping, rules.prior, rules.newcomers_per_s, seen_s)
        rates = np.stack([arrivals.rates(one) for one in units])
        new = np.array([arrivals.newcomers(one) for one in units])
        looks, known, counts = self._looks(units, past, arrivals.persons)
        ratio = rules.appearance.log_ratio(looks, known, counts)
        ratio[~has_look(looks)] = 0.0
        ratio[:, counts == 0] = 0.0
        return arrivals.persons, posterior(rates, ratio, new)

    def _settle(self, slot: int, row: int, links: Links, persons: Ints, past: Past) -> Correction:
        score = float(links.score[row])
        if links.person[row] == NOBODY:
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

    def _looks(self, units: Sequence[Unit], past: Past, persons: Ints) -> tuple[Looks, Looks, Ints]:
        """Looks of the units (U, D), means (P, D) of the persons' latest looks, and of how many tracks (P,)."""
        tracks = np.concatenate([one.slots for one in units])
        every = np.concatenate([tracks, past.slots])
        looks = centred(unit(self._memory.open_looks(every, self._seal)), self._state["camera"][every])
        weight = np.minimum(self._state["count"][every], _MOST_WEIGHT).astype(np.float64)[:, None]
        mine, others = looks[: len(tracks)], looks[len(tracks) :]
        summed = np.zeros((len(units), looks.shape[1]))
        np.add.at(
            summed, np.repeat(np.arange(len(units)), [len(one.slots) for one in units]), mine * weight[: len(mine)]
        )
        of = np.searchsorted(persons, past.person)
        rank = np.zeros(len(of), dtype=np.int64)  # 0 for a person's latest track
        order = np.argsort(of, kind="stable")
        heads = np.searchsorted(of[order], np.arange(len(persons) + 1))
        rank[order] = np.repeat(heads[1:], np.diff(heads)) - 1 - np.arange(len(of))
        used = (rank < _EXEMPLARS) & has_look(others)
        means, counts = np.zeros((len(persons), looks.shape[1])), np.zeros(len(persons), dtype=np.int64)
        total = np.zeros((len(persons), 1))
        np.add.at(means, of[used], others[used] * weight[len(mine) :][used])
        np.add.at(total, of[used], weight[len(mine) :][used])
        np.add.at(counts, of[used], 1)
        means /= np.maximum(total, 1.0)
        return unit(summed.astype(np.float32)), means.astype(np.float32), counts
