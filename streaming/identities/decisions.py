"""Who the tracks are whose time has come: candidates, rates, looks, the assignment; and who they are after all.

A candidate is a person seen within `memory_s`; `arrivals` says at what rate each may have come, `appearance` what the
looks say, `linking` makes probabilities of both. Tracks of one camera that are due together are assigned at once, since
nobody is two of them; one camera after another, since somebody may come into two views in one step.

A second of a track is little to tell somebody by. So it is asked again, at ages of a track and of a person: a track may
be another person's after all, and a young person with all tracks so far may be somebody who was known before. Whoever
is seen is asked again and again whether somebody else is the same (`unions`): looks of many tracks tell what those of
one did not. What changes is told in corrections.

Everything is asked as of the track's decision time: what was read ahead of another partition does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from streaming.identities.appearance import Appearance, Floats, Ints
from streaming.identities.arrivals import MISTAKEN, Arrivals, Unit, Ways
from streaming.identities.ledger import Correction, Ledger
from streaming.identities.linking import NOBODY, Links, link, posterior
from streaming.identities.memory import Memory
from streaming.identities.past import Known, Past
from streaming.identities.track_looks import TrackLooks
from streaming.identities.transit import TransitPrior
from streaming.identities.unions import conflicts, mistaken
from streaming.privacy.seal import Seal
from streaming.state import Slots

SURE = 0.9
"""Links of this score or more teach transit times."""

_HALF = 0.5
_LEAST_RATE = 1e-6  # per second: nobody is known so well that it could not be
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
    """What is asked as one step ends. What one answer changes is known to the next question.

    Args:
        rules: how tracks are decided.
        seal: how looks are kept.
        memory: all that is known.
        now_ms: the end of the step.
        due: tracks that are decided in it.
        are_again: they were decided before, and taken back. They take nobody's place again, or two would take it from
            one another for ever.
    """

    def __init__(
        self, rules: Rules, seal: Seal, memory: Memory, now_ms: int, due: Slots, *, are_again: bool = False
    ) -> None:
        self._rules, self._seal, self._memory = rules, seal, memory
        self._now_ms, self._due, self._are_again = now_ms, due, are_again
        self._state, self._ledger = memory.state, Ledger(memory)

    @cached_property
    def _past(self) -> Past:
        return Past(self._memory, self._now_ms - round(1000 * self._rules.memory_s), self._now_ms, self._due)

    @cached_property
    def _looks(self) -> TrackLooks:
        return TrackLooks(self._memory, self._seal, self._past)

    @cached_property
    def _ways(self) -> Ways:
        rules = self._rules
        seen_s = min((self._now_ms - self._memory.began_ms()) / 1000, rules.memory_s)
        return Ways.of(self._memory, rules.overlapping, rules.prior, rules.newcomers_per_s, seen_s)

    def decide(self) -> list[Correction]:
        """Decide the tracks that are due, those of a camera together."""
        made = []
        camera = self._state["camera"][self._due]
        for number in np.unique(camera).tolist():
            mine = self._due[camera == number]
            rows, known = self._past.rows(mine), self._past.known()
            share = self._shares([Unit(row, self._past) for row in rows[:, None]], known, self._are_again)
            links = link(share, self._rules.least_score)
            for asked in enumerate(mine.tolist()):
                made.append(self._settle(asked, links, known))
                made += () if self._are_again else self._others_of(mine[[asked[0]]])
        return made

    def review(self, tracks: Slots) -> list[Correction]:
        """Ask again who these tracks of one person are: as a whole another one, who may be new, or what they were."""
        rows, known = self._past.rows(tracks), self._past.known(without=tracks)
        if not len(rows):
            return []  # they are out of sight for longer than anybody is remembered
        (shares,) = self._shares([Unit(rows, self._past)], known)
        mine = int(self._state["person"][tracks[0]])
        are_all = len(tracks) == len(self._memory.tracks_of(mine))
        if are_all:
            shares[np.isin(known.persons, list(self._ledger.told_apart(mine)))] = 0.0
        share = np.append(shares, max(1.0 - float(shares.sum()), 1e-12))
        names = np.append(known.persons, NOBODY)
        (now,) = np.flatnonzero(names == mine)[:1].tolist() or [len(known.persons)]
        best = int(np.argmax(share))
        odds = np.log(np.maximum(share[[best, now]], 1e-12))
        if best == now or share[best] < _HALF or odds[0] - odds[1] < _CHANGE_LOG_ODDS:
            return []
        person = int(names[best]) if best < len(known.persons) else self._memory.next("last_person")
        if are_all:  # then nobody new was likeliest already
            _, made = self._ledger.unite(person, mine, self._now_ms, float(share[best]))
        else:
            made = [self._ledger.relink(slot, person, float(share[best])) for slot in tracks.tolist()]
        return made + self._others_of(tracks)

    def unite(self, persons: Iterable[int]) -> list[Correction]:
        """Ask of each of these persons whether somebody else is the same, of whom nobody said that it is not. The
        elder name stays; tracks that speak against it were taken for either by mistake: they are decided anew."""
        made: list[Correction] = []
        asked = [person for person in persons if person]
        if not asked:
            return made
        known = self._past.known()
        at = np.searchsorted(known.persons, asked)
        there = at < len(known.persons)
        there[there] = known.persons[at[there]] == np.array(asked)[there]
        if not there.any():
            return made
        mine = [np.flatnonzero(known.of == row) for row in at[there]]
        ratios = self._looks.log_ratio(self._rules.appearance, mine, known)
        ratios[np.arange(len(mine)), at[there]] = 0.0  # nobody is asked about again
        changed = set[int]()
        for row, ratio in zip(at[there].tolist(), ratios, strict=True):
            if row in changed:
                continue
            apart = self._ledger.told_apart(int(known.persons[row]))
            others = [other for other in np.flatnonzero(ratio > 0).tolist() if other not in changed]
            others = [other for other in others if int(known.persons[other]) not in apart]
            if not others:
                continue
            found = [self._as_one(known, row, other) for other in others]
            odds = np.array([one for one, _ in found])
            share = np.exp(odds - np.logaddexp.reduce([0.0, *odds]))
            best = int(np.argmax(share))
            if share[best] < _HALF or odds[best] < _CHANGE_LOG_ODDS:
                continue
            changed |= {row, others[best]}
            elder, younger = (int(known.persons[one]) for one in sorted((row, others[best])))
            made += [self._ledger.reopen(slot) for slot in self._past.slots[found[best][1]].tolist()]
            made += self._ledger.unite(elder, younger, self._now_ms, float(share[best]))[1]
        return made

    def _as_one(self, known: Known, one: int, other: int) -> tuple[float, Ints]:
        """Log odds that two persons are one and not two; and which tracks are neither's then. These say nothing."""
        past = self._past
        mine, theirs = np.flatnonzero(known.of == one), np.flatnonzero(known.of == other)
        wrong = mistaken(past, mine, theirs, conflicts(self._ways.overlap, past, mine, theirs))
        rest = [rows[~np.isin(rows, wrong)] for rows in (mine, theirs)]
        if not all(map(len, rest)):
            return -np.inf, wrong
        before, after = sorted(rest, key=lambda rows: int(past.first_ms[rows].min()))
        of = np.ones(len(past), np.int64)
        of[before] = 0
        alone, begin = Known(known.persons[:1], of), Unit(after[[np.argmin(past.first_ms[after])]], past)
        ratio = float(self._looks.log_ratio(self._rules.appearance, [after], alone)[0, 0])
        if ratio <= 0.0:
            return -np.inf, wrong
        (rate,) = Arrivals(self._ways, past, alone).rates(begin, strictly=True)
        new = Arrivals(self._ways, past, past.known(without=past.slots[after])).newcomers(begin)
        came = float(np.log(max(rate, _LEAST_RATE)) - np.log(new))
        return ratio + came + len(wrong) * float(np.log(MISTAKEN)), wrong

    def _others_of(self, tracks: Slots) -> list[Correction]:
        """Take back those other tracks of the person whose these are now that cannot be: they are decided anew."""
        person, unit = self._state["person"][tracks[0]], Unit(self._past.rows(tracks), self._past)
        others = self._past.slots[Arrivals(self._ways, self._past, self._past.known()).against(unit)]
        others = others[(self._state["person"][others] == person) & ~np.isin(others, tracks)]
        return [self._ledger.reopen(slot) for slot in others.tolist()]

    def _shares(self, units: Sequence[Unit], known: Known, strictly: bool = False) -> Floats:
        """The probability that each unit is each candidate, (U, P)."""
        arrivals = Arrivals(self._ways, self._past, known)
        rates = np.stack([arrivals.rates(one, strictly) for one in units])
        new = np.array([arrivals.newcomers(one) for one in units])
        return posterior(rates, self._looks.log_ratio(self._rules.appearance, [one.rows for one in units], known), new)

    def _settle(self, asked: tuple[int, int], links: Links, known: Known) -> Correction:
        row, slot = asked
        score = float(links.score[row])
        if links.person[row] == NOBODY:
            return self._ledger.link(slot, self._memory.next("last_person"), score)
        person = int(known.persons[links.person[row]])
        if score >= SURE:
            mine = self._past.slots[known.of == links.person[row]]
            before = mine[self._state["last_ms"][mine] <= self._state["first_ms"][slot]]
            if len(before) == len(mine):
                last = before[np.argmax(self._state["last_ms"][before])]
                gap_s = float(self._state["first_ms"][slot] - self._state["last_ms"][last]) / 1000
                self._memory.learn_transit(int(self._state["camera"][last]), int(self._state["camera"][slot]), gap_s)
        return self._ledger.link(slot, person, score)
