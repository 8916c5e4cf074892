"""Team ratings as of a time: those in the base, and on top of them the results that have not joined it yet.

In the state table a team is a row under `@rating/TITLE/LEAGUE/TEAM` and holds its rating in the base; a result that
waits is a row under `@result/TIME/ATTEMPT/MATCH`. `streaming.features.settling` says which results count when, and why;
`streaming.features.form` what a result does to ratings. Leagues have nothing to do with each other.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streaming.features.form import POINTS, RATING_LAYOUT, Elo, Rated
from streaming.features.settling import HOLD_MS, MOST_UNSETTLED
from streaming.state import Column, StateTable

STANDINGS_LAYOUT = {
    # of a team:
    **RATING_LAYOUT,
    # of a result, beside its teams' rating keys in `team_a` and `team_b`:
    "won": Column(np.int8),  # 1 if camp A won, -1 if camp B did; 0 in every other row
    "gold_lead": Column(np.float64, default=math.nan),
}
"""State columns that `Standings` needs, beside the texts `team_a` and `team_b`."""

_PREFIX = "@result/"


class Result(NamedTuple):
    """A finished match between two teams; results sort by time, then match id, then attempt."""

    time_ms: int
    match_id: str
    attempt: int
    team_a: str  # rating keys, of one league
    team_b: str
    a_won: bool
    gold_lead: float  # of A over B at the end; NaN where the feed has no gold

    @property
    def key(self) -> str:
        """Of its state row."""
        return f"{_PREFIX}{self.time_ms}/{self.attempt}/{self.match_id}"

    @property
    def league(self) -> str:
        """What its teams' keys have in common."""
        return self.team_a.rpartition("/")[0]


class _Step(NamedTuple):
    """A team's rating from a time on."""

    time_ms: int
    rated: Rated


@dataclass(slots=True)
class _League:
    """The results that wait, in order, and what the teams come to by them; folded as far as `folded`."""

    waiting: list[Result] = field(default_factory=list)
    folded: int = 0
    steps: dict[str, list[_Step]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        insort(self.waiting, result)
        if self.waiting[-1] is not result:  # others came before it that follow upon it
            self.unfold()

    def drop(self, count: int) -> None:
        """Leave the oldest out: the base has them."""
        del self.waiting[:count]
        if self.folded >= count:
            self.folded -= count  # and what they made of their teams remains true
        else:
            self.unfold()

    def unfold(self) -> None:
        self.folded = 0
        self.steps.clear()


class Standings:
    """The ratings in a table of `STANDINGS_LAYOUT`, for as long as nobody else changes it.

    Args:
        state: where teams and results are.
        elo: how a result changes ratings.
        settle_ms: from a result to its effect.
    """

    def __init__(self, state: StateTable, elo: Elo, settle_ms: int) -> None:
        self._state, self._elo, self._settle_ms = state, elo, settle_ms
        self._leagues: dict[str, _League] = {}
        self._waiting = 0
        for result in sorted(_read(state)):
            self._league(result.league).waiting.append(result)
            self._waiting += 1

    def form(self, team_a: str, team_b: str, time_ms: int) -> float:
        """Rating of A minus rating of B as of a time, in units of `form.POINTS`; the arguments are rating keys."""
        return (self._rating(team_a, time_ms) - self._rating(team_b, time_ms)) / POINTS

    def record(self, result: Result, horizon_ms: int) -> int:
        """Take a result in, let those that are old enough join the base, and say how many joined before their time.

        The same result again, and one of a team against itself, say nothing and are ignored.

        Args:
            result: of a match that has just ended.
            horizon_ms: how far the fastest partition is.
        """
        if result.team_a == result.team_b or result.key in self._state:
            return 0
        _write(result, self._state)
        self._league(result.league).add(result)
        self._waiting += 1
        for league in self._leagues.values():
            self._join(league, bisect_right(league.waiting, horizon_ms - HOLD_MS, key=_time))
        hurried = 0
        while self._waiting > MOST_UNSETTLED:
            oldest = min((league for league in self._leagues.values() if league.waiting), key=_oldest)
            self._join(oldest, 1)
            hurried += 1
        return hurried

    def _league(self, name: str) -> _League:
        return self._leagues.setdefault(name, _League())

    def _join(self, league: _League, count: int) -> None:
        """Let the oldest results join the base."""
        if not count:
            return
        for result in league.waiting[:count]:
            self._elo.record(self._state, result.team_a, result.team_b, a_won=result.a_won, gold_lead=result.gold_lead)
        keys = [result.key for result in league.waiting[:count]]
        self._state["won"][self._state.slots(keys)] = 0  # else a free slot would look like a result
        self._state.delete(keys)
        league.drop(count)
        self._waiting -= count

    def _rating(self, team: str, time_ms: int) -> float:
        league = self._league(team.rpartition("/")[0])
        self._fold(league)
        steps = league.steps.get(team, [])
        counting = bisect_right(steps, time_ms - self._settle_ms, key=_time)
        return steps[counting - 1].rated.rating if counting else self._elo.rated(self._state, team).rating

    def _fold(self, league: _League) -> None:
        for result in league.waiting[league.folded :]:
            before = [self._latest(league, team) for team in (result.team_a, result.team_b)]
            after = self._elo.after(*before, a_won=result.a_won, gold_lead=result.gold_lead)
            for team, rated in zip((result.team_a, result.team_b), after, strict=True):
                league.steps.setdefault(team, []).append(_Step(result.time_ms, rated))
        league.folded = len(league.waiting)

    def _latest(self, league: _League, team: str) -> Rated:
        steps = league.steps.get(team)
        return steps[-1].rated if steps else self._elo.rated(self._state, team)


def _time(entry: Result | _Step) -> int:
    return entry.time_ms


def _oldest(league: _League) -> Result:
    return league.waiting[0]


def _write(result: Result, state: StateTable) -> None:
    (slot,) = state.slots([result.key])
    state["team_a"][slot], state["team_b"][slot] = result.team_a, result.team_b
    state["won"][slot] = 1 if result.a_won else -1
    state["gold_lead"][slot] = result.gold_lead
    state.touch([result.key])


def _read(state: StateTable) -> list[Result]:
    keys = state.keys_where(state["won"] != 0)
    slots = state.slots(keys)
    columns = [state[name][slots].tolist() for name in ("team_a", "team_b", "won", "gold_lead")]
    results = []
    for key, team_a, team_b, won, gold_lead in zip(keys, *columns, strict=True):
        time_ms, attempt, match_id = key.removeprefix(_PREFIX).split("/", 2)
        results.append(Result(int(time_ms), match_id, int(attempt), team_a, team_b, won > 0, gold_lead))
    return results
