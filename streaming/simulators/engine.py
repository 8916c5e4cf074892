"""Plays many matches in lockstep, with a win probability that is exact.

The log-odds that camp A wins are a weighted sum of all there is at the time,

    L(t) = form_weight(t)·(skill_A − skill_B) + Σ weight(t)·lead + Σ weight(t)·(taken by A − taken by B) + line-ups,

and every chance event is drawn so that p = σ(L) stays the same on average: E[p after | the past] = p before. In words:
the next prize goes to camp A at exactly the odds that leave neither camp under-priced. So a camp that is ahead wins
more fights, towers and gold (snowball); and what a weight loses with time (an early kill, a skill gap, a pushed lane)
turns into gold for the same camp. A match ends at a rate that grows with |L|, and only then is the winner drawn, A
with probability σ(L). As the moment of the end looks at nothing but the past, p is a martingale that stops at the
draw: at every moment σ(L) *is* P(A wins | all that has happened so far), not a fit to it. What follows the draw, the
last push in which the loser's towers and core fall, is played but has no log-odds: the outcome is settled by then.

The parts of the TSSTN dossier's simulator are here: skill gap, line-ups with a phase profile, noise with a memory
(lanes), kills, gold, towers, objectives with spawn times, a hazard for the end, winner ∝ σ(state).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.features.catalogue import GROUPS
from streaming.simulators.titles import Curve, SimulatedTitle, at_minutes

STEP_S = 10.0
LONGEST_MIN = 90.0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^−x)."""
    out: Floats = 1.0 / (1.0 + np.exp(-x))
    return out


def chance_of_a(p: Floats, up: Floats, down: Floats) -> Floats:
    """Probability that camp A takes a prize which moves the log-odds by +up if A gets it and by −down if B does, such
    that the win probability p stays the same on average. All (M,), up and down > 0."""
    if_b_wins = -np.expm1(-down) / (np.exp(up) - np.exp(-down))
    out: Floats = if_b_wins * (p * np.exp(up) + 1.0 - p)
    return out


@dataclass(frozen=True)
class Scores:
    """What was taken, one row each, in no order."""

    match: Ints
    clock_s: Floats
    is_a: Flags
    subject: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Played:
    """M matches at the ends of S + 1 steps of `STEP_S`."""

    leads: dict[str, npt.NDArray[np.float32]]  # feature → (S + 1, M)
    contributions: npt.NDArray[np.float32]  # (S + 1, M, groups): parts of the log-odds, by catalogue.GROUPS
    decided_step: Ints  # (M,) the last step whose log-odds count; the winner is drawn right after
    end_s: Floats  # (M,)
    a_won: Flags  # (M,)
    scores: Scores


def _more(by_a: Ints, kills: Ints) -> tuple[Flags, Flags]:
    """Who got more than half of these kills: A, B."""
    return 2 * by_a > kills, 2 * by_a < kills


class _Log:
    """Takings of one run, gathered step by step."""

    def __init__(self) -> None:
        self.match: list[Ints] = []
        self.clock_s: list[Floats] = []
        self.is_a: list[Flags] = []
        self.subject: list[npt.NDArray[np.str_]] = []

    def add(self, match: Ints, clock_s: Floats, is_a: Flags, subject: str) -> None:
        if len(match):
            self.match.append(match)
            self.clock_s.append(clock_s)
            self.is_a.append(is_a)
            self.subject.append(np.full(len(match), subject, "U16"))

    def scores(self) -> Scores:
        # Numpy cannot join nothing: an empty part stands in front.
        return Scores(
            np.concatenate([np.zeros(0, np.int64), *self.match]),
            np.concatenate([np.zeros(0), *self.clock_s]),
            np.concatenate([np.zeros(0, bool), *self.is_a]),
            np.concatenate([np.zeros(0, "U16"), *self.subject]),
        )


class _Weights:
    """Every weight at the end of every step."""

    def __init__(self, title: SimulatedTitle, steps: int) -> None:
        minutes: Floats = np.arange(steps + 1, dtype=np.float64) * (STEP_S / 60.0)

        def by_step(curve: Curve) -> Floats:
            return at_minutes(curve, minutes)

        self.form = by_step(title.form_weight)
        self.classes = {name: by_step(curve) for name, curve in title.class_weights.items()}
        self.lead = {lead.feature: by_step(lead.weight) for lead in title.leads}
        self.spread = {  # standard deviation of a lead's own log-odds over one step
            lead.feature: np.sqrt(by_step(lead.information) * (STEP_S / 60.0)) for lead in title.leads
        }
        self.prize = {
            "kills": by_step(title.kill_weight),
            "towers": by_step(title.structures.weight),
            "inner_towers": by_step(title.structures.inner_weight),
        } | {monster.subject: by_step(monster.weight) for monster in title.monsters}
        self.skirmish = by_step(title.skirmish_rate) * (STEP_S / 60.0)
        self.fight = by_step(title.fight_rate) * (STEP_S / 60.0)
        self.tower = by_step(title.structures.rate) * (STEP_S / 60.0)
        self.end = by_step(title.end_rate) * (STEP_S / 60.0)
        self.end[minutes < title.shortest_min] = 0.0


class MatchEngine:
    """Plays M matches in lockstep. `play` is the whole of it; the rest is one method per kind of chance event."""

    def __init__(
        self, title: SimulatedTitle, skill_gap: Floats, classes: dict[str, Floats], rng: np.random.Generator
    ) -> None:
        self._title, self._rng = title, rng
        self._gap, self._classes = skill_gap, classes  # (M,); class → heroes of A minus of B (M,)
        self._matches = len(skill_gap)
        self._steps = int(LONGEST_MIN * 60 / STEP_S)
        self._weights = _Weights(title, self._steps)
        self._lead = {lead.feature: np.zeros(self._matches) for lead in title.leads}
        subjects = ("kills", "teamfights", "towers", "inner_towers", "inhibitors", *(m.subject for m in title.monsters))
        self._taken = {subject: np.zeros((2, self._matches), np.int64) for subject in subjects}  # row 0: by A
        self._next_spawn_min = {m.subject: np.full(self._matches, m.spawn_min) for m in title.monsters}
        self._log = _Log()

    def play(self) -> Played:
        """Play to the end of every match (or to `LONGEST_MIN`)."""
        now = self._contributions(0)
        history, parts = [self._levels()], [now.astype(np.float32)]
        undecided = np.ones(self._matches, bool)
        decided_step = np.full(self._matches, self._steps)
        end_s = np.full(self._matches, self._steps * STEP_S)
        a_won = np.zeros(self._matches, bool)
        closing_steps = np.zeros(self._matches, np.int64)  # left until the core falls
        for step in range(1, self._steps + 1):
            log_odds = self._step(step, now.sum(axis=1), undecided)
            self._close(step, a_won, closing_steps)
            history.append(self._levels())
            now = self._contributions(step)
            parts.append(now.astype(np.float32))
            ended = closing_steps == 1
            end_s[ended] = step * STEP_S
            closing_steps[closing_steps > 0] -= 1
            fires = undecided & self._ends(step, log_odds)
            if fires.any():
                a_won[fires] = (self._rng.random(self._matches) < sigmoid(log_odds))[fires]
                decided_step[fires] = step
                low, high = (int(minutes * 60 / STEP_S) for minutes in self._title.closing_min)
                closing_steps[fires] = self._rng.integers(low, high + 1, self._matches)[fires]
                undecided &= ~fires
            if not undecided.any() and not closing_steps.any():
                break
        return Played(
            leads={
                lead.feature: np.stack([levels[i] for levels in history]) for i, lead in enumerate(self._title.leads)
            },
            contributions=np.stack(parts),
            decided_step=decided_step,
            end_s=end_s,
            a_won=a_won,
            scores=self._log.scores(),
        )

    def _levels(self) -> npt.NDArray[np.float32]:
        return np.stack([self._lead[lead.feature] for lead in self._title.leads]).astype(np.float32)

    def _contributions(self, step: int) -> Floats:
        """Parts of the log-odds by group, (M, groups)."""
        parts = dict.fromkeys(GROUPS, np.zeros(self._matches))
        weights = self._weights
        parts["form"] = weights.form[step] * self._gap
        for name, weight in weights.classes.items():
            parts["hero"] = parts["hero"] + weight[step] * self._classes[name]
        for lead in self._title.leads:
            parts[lead.group] = parts[lead.group] + weights.lead[lead.feature][step] * self._lead[lead.feature]
        for subject, weight in weights.prize.items():
            group = {"kills": "kill", "towers": "tower", "inner_towers": "tower"}.get(subject, "wild")
            taken = self._taken[subject]
            parts[group] = parts[group] + weight[step] * (taken[0] - taken[1])
        return np.stack([parts[group] for group in GROUPS], axis=1)

    def _step(self, step: int, log_odds: Floats, playing: Flags) -> Floats:
        """One step for the matches still open; returns their new log-odds (M,)."""
        drift = np.where(playing, self._predictable(step), 0.0)
        log_odds = self._kills(step, log_odds, playing)
        log_odds = self._towers(step, log_odds, playing)
        for monster_at in range(len(self._title.monsters)):
            log_odds = self._monster(step, monster_at, log_odds, playing)
        for lead in self._title.leads[1:]:
            log_odds = self._wander(step, lead.feature, log_odds, playing)
        gold = self._title.leads[0].feature
        log_odds = self._wander(step, gold, log_odds, playing)
        # What the weights will change by themselves is known beforehand, so it may not move the odds: gold makes up.
        self._lead[gold] -= drift / self._weights.lead[gold][step]
        self._inhibitors(step, playing)
        return log_odds

    def _predictable(self, step: int) -> Floats:
        """By how much the log-odds would move over this step if nothing happened."""
        before = self._contributions(step - 1).sum(axis=1)
        for lead in self._title.leads:
            if lead.persistence < 1.0:
                self._lead[lead.feature] *= lead.persistence ** (STEP_S / 60.0)
        drift: Floats = self._contributions(step).sum(axis=1) - before
        return drift

    def _wander(self, step: int, feature: str, log_odds: Floats, playing: Flags) -> Floats:
        """A Gaussian step whose mean is ±s²/2, depending on who is to win: the log-likelihood ratio is the step."""
        s = self._weights.spread[feature][step]
        if s == 0.0:
            return log_odds
        towards = np.where(self._rng.random(self._matches) < sigmoid(log_odds), 0.5, -0.5)
        move = np.where(playing, towards * s * s + s * self._rng.standard_normal(self._matches), 0.0)
        self._lead[feature] += move / self._weights.lead[feature][step]
        return log_odds + move

    def _kill_worth(self, step: int) -> float:
        weights = self._weights
        worth = weights.prize["kills"][step] + weights.lead["gold"][step] * self._title.kill_gold
        worth += sum(weights.lead[lead.feature][step] * lead.per_kill for lead in self._title.leads)
        return float(worth)

    def _kills(self, step: int, log_odds: Floats, playing: Flags) -> Floats:
        rng, weights = self._rng, self._weights
        fights = rng.random(self._matches) < weights.fight[step]
        kills = rng.poisson(weights.skirmish[step], self._matches)
        kills += np.where(fights, 2 + rng.poisson(self._title.fight_kills, self._matches), 0)
        kills[~playing] = 0
        worth = self._kill_worth(step)
        a_to_win = rng.random(self._matches) < sigmoid(log_odds)
        by_a = rng.binomial(kills, np.where(a_to_win, 1.0, 0.0) * np.tanh(worth / 2) + 1.0 / (1.0 + np.exp(worth)))
        self._award_kills(step, by_a, kills - by_a)
        if self._title.names_fights:
            self._take(step, "teamfights", *((fights & playing & won).astype(np.int64) for won in _more(by_a, kills)))
        return log_odds + worth * (2 * by_a - kills)

    def _award_kills(self, step: int, by_a: Ints, by_b: Ints) -> None:
        self._lead["gold"] += self._title.kill_gold * (by_a - by_b)
        for lead in self._title.leads:
            self._lead[lead.feature] += lead.per_kill * (by_a - by_b)
        self._take(step, "kills", by_a, by_b)

    def _take(self, step: int, subject: str, by_a: Ints, by_b: Ints) -> None:
        """Count and log; each taking gets its own second of the step."""
        taken = self._taken[subject]
        taken[0] += by_a
        taken[1] += by_b
        match = np.concatenate([np.repeat(np.arange(self._matches), by_a), np.repeat(np.arange(self._matches), by_b)])
        is_a = np.arange(len(match)) < by_a.sum()
        # The first second of a step is left to the snapshot of the step before, see streaming.simulators.match.
        clock_s = (step - 1) * STEP_S + 1.0 + np.round(self._rng.random(len(match)) * (STEP_S - 1.0), 1)
        self._log.add(match, clock_s, is_a, subject)

    def _towers(self, step: int, log_odds: Floats, playing: Flags) -> Floats:
        structures, weights = self._title.structures, self._weights
        by_a, by_b = self._taken["towers"]
        standing = (by_a < structures.per_side) & (by_b < structures.per_side)
        falls = playing & standing & (self._rng.random(self._matches) < weights.tower[step])
        if not falls.any():
            return log_odds
        base = weights.prize["towers"][step] + weights.lead["gold"][step] * structures.gold
        inner = weights.prize["inner_towers"][step]
        up, down = (base + inner * self._is_inner(taken) for taken in (by_a, by_b))
        to_a = self._rng.random(self._matches) < chance_of_a(sigmoid(log_odds), up, down)
        self._award_towers(step, falls & to_a, falls & ~to_a)
        return log_odds + np.where(falls, np.where(to_a, up, -down), 0.0)

    def _is_inner(self, taken: Ints) -> Flags:
        inner = self._title.structures.inner
        return (taken + 1 >= inner.start) & (taken + 1 < inner.stop)

    def _award_towers(self, step: int, by_a: Flags, by_b: Flags) -> None:
        taken = self._taken["towers"]
        inner_a, inner_b = by_a & self._is_inner(taken[0]), by_b & self._is_inner(taken[1])
        self._lead["gold"] += self._title.structures.gold * (by_a.astype(float) - by_b)
        self._take(step, "towers", by_a.astype(np.int64), by_b.astype(np.int64))
        self._take(step, "inner_towers", inner_a.astype(np.int64), inner_b.astype(np.int64))

    def _inhibitors(self, step: int, playing: Flags) -> None:
        """They fall some time after a base tower and are worth nothing beyond it."""
        structures = self._title.structures
        falls = []
        for towers, inhibitors in zip(self._taken["towers"], self._taken["inhibitors"], strict=True):
            open_lanes = np.clip(towers - (structures.inner.stop - 1), 0, 3)
            ready = playing & (inhibitors < open_lanes * structures.per_inhibitor)
            falls.append((ready & (self._rng.random(self._matches) < STEP_S / 60.0)).astype(np.int64))
        self._take(step, "inhibitors", falls[0], falls[1])

    def _monster(self, step: int, at: int, log_odds: Floats, playing: Flags) -> Floats:
        monster, weights = self._title.monsters[at], self._weights
        minute = step * STEP_S / 60.0
        spawn = self._next_spawn_min[monster.subject]
        up_now = playing & (minute >= spawn) & (minute <= monster.despawn_min)
        taken = up_now & (self._rng.random(self._matches) < monster.rate * STEP_S / 60.0)
        if not taken.any():
            return log_odds
        worth = np.full(self._matches, weights.prize[monster.subject][step] + weights.lead["gold"][step] * monster.gold)
        to_a = self._rng.random(self._matches) < chance_of_a(sigmoid(log_odds), worth, worth)
        spawn[taken] = minute + monster.respawn_min
        by_a, by_b = taken & to_a, taken & ~to_a
        self._lead["gold"] += monster.gold * (by_a.astype(float) - by_b)
        self._take(step, monster.subject, by_a.astype(np.int64), by_b.astype(np.int64))
        return log_odds + np.where(taken, np.where(to_a, worth, -worth), 0.0)

    def _ends(self, step: int, log_odds: Floats) -> Flags:
        if step == self._steps:
            return np.ones(self._matches, bool)
        rate = self._weights.end[step] * np.exp(self._title.end_slope * np.abs(log_odds))
        fires: Flags = self._rng.random(self._matches) < -np.expm1(-rate)
        return fires

    def _close(self, step: int, a_won: Flags, steps_left: Ints) -> None:
        """The last push: kills, the towers that stand in the way, an inhibitor."""
        closing = steps_left > 0
        if not closing.any():
            return
        structures = self._title.structures
        rng = self._rng
        kills = np.where(closing, rng.poisson(0.5, self._matches), 0)
        self._award_kills(step, kills * a_won, kills * ~a_won)
        for side, wins in ((0, a_won), (1, ~a_won)):
            missing = np.maximum(structures.to_win - self._taken["towers"][side], 0)
            falls = closing & wins & (missing > 0) & (rng.random(self._matches) < missing / np.maximum(steps_left, 1))
            none = np.zeros(self._matches, bool)
            self._award_towers(step, *((falls, none) if side == 0 else (none, falls)))
            owed = closing & wins & (steps_left <= 3) & (self._taken["inhibitors"][side] == 0)
            inhibitors = np.where(owed, structures.per_inhibitor, 0)
            idle = np.zeros(self._matches, np.int64)
            self._take(step, "inhibitors", *((inhibitors, idle) if side == 0 else (idle, inhibitors)))
