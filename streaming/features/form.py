"""Form: how strong two teams were before their match, as an Elo rating kept from earlier results of the stream only.

A rating belongs to (title, league, team); tags that differ only in case are one team. It lives in the state table of
the stage that sees the results, one row per team under `@rating/TITLE/LEAGUE/TEAM`, and is never evicted: a team is a
few hundred bytes, and its strength outlives any match.

    expected = 1 / (1 + 10^(-(rating_A - rating_B) / 400))
    step     = K · haste · margin · (won - expected)
    haste    = 1 + 1 / (1 + results so far)                    a new team finds its place sooner
    margin   = log1p(|gold lead at the end| / gold_scale)      1 where the feed has no gold

Form is read once, at the match's start, with the ratings as of then, and a match changes them once, a settling time
after its end (`streaming.features.settling`, `standings`); a remade match changes nothing. A team plays its first match
with rating 0, the mean.

Figures on lol_pro_2014_2016_gold (per-minute logistic regression on gold and form, matches in season order): on the
years to 2015 the choice is flat, log-loss .467 to .470 on summer 2015 for K 32 to 96, with or without margin and haste;
the defaults have .4671 there, and .4901 with accuracy .7542 on 2016 (gold alone .5191 and .7252; plain K 32 .4916).
Tried beside it on the years to 2015 and without a gain there: a second rating of gold at 15 minutes, form scaled by the
number of results, one rating a team for all leagues, ratings of leagues, shrinking between seasons. Bringing a team's
rating along to a new league gained .0026 on summer 2015, all of it at one world championship, and lost .0038 on 2016,
most of it at the next: ratings of two leagues say nothing about each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from streaming.state import Column, StateTable

POINTS = 400.0
"""A lead of so many points is ten to one; form is stated in this unit."""

RATING_LAYOUT = {
    "rating": Column(np.float64, default=0.0),  # points above a team without results
    "results": Column(np.int32, default=0),  # how many made it
}
"""State columns that `Elo` needs in the table it is handed."""


@lru_cache(maxsize=4096)  # teams come again and again
def rating_key(title: str, league: str, team: str) -> str:
    """The state key of a team's rating; a slash within a name is not taken for the separator."""
    names = (name.strip().casefold().replace("%", "%25").replace("/", "%2F") for name in (title, league, team))
    return "@rating/" + "/".join(names)


class Rated(NamedTuple):
    """What is known of a team."""

    rating: float  # points above a team without results
    results: int


@dataclass(frozen=True, slots=True)
class Elo:
    """The rule; the module's words say what it computes and how the defaults were chosen."""

    k: float = 64.0  # points at stake in an even match of margin 1
    gold_scale: float | None = 10_000.0  # the lead at the end that weighs log 2; None: every win weighs 1

    def rated(self, state: StateTable, team: str) -> Rated:
        """What a table with the columns of `RATING_LAYOUT` holds of the team with this rating key."""
        if team not in state:  # asking must not make rows
            return Rated(0.0, 0)
        (slot,) = state.slots([team])
        return Rated(float(state["rating"][slot]), int(state["results"][slot]))

    def after(self, a: Rated, b: Rated, *, a_won: bool, gold_lead: float) -> tuple[Rated, Rated]:
        """What a result makes of two teams.

        Args:
            a: camp A before it.
            b: camp B before it.
            a_won: camp A won.
            gold_lead: of A over B at the end; NaN where the feed has no gold.
        """
        surprise = self.k * self.margin(gold_lead) * (float(a_won) - expected_score(a.rating - b.rating))
        return _moved(a, surprise), _moved(b, -surprise)

    def record(self, state: StateTable, team_a: str, team_b: str, *, a_won: bool, gold_lead: float) -> None:
        """Take a result between two teams into a table with the columns of `RATING_LAYOUT`, by their rating keys, and
        mark both as changed."""
        slots = state.slots([team_a, team_b])
        before = (self.rated(state, team_a), self.rated(state, team_b))
        after = self.after(*before, a_won=a_won, gold_lead=gold_lead)
        state["rating"][slots], state["results"][slots] = zip(*after, strict=True)
        state.touch([team_a, team_b])

    def margin(self, gold_lead: float) -> float:
        """How much a win by this lead weighs: a close game says less about the teams than a rout."""
        if self.gold_scale is None or math.isnan(gold_lead):
            return 1.0
        return math.log1p(abs(gold_lead) / self.gold_scale)


def expected_score(lead: float) -> float:
    """Chance that a team with this lead in points wins."""
    return 1.0 / (1.0 + math.pow(10.0, -lead / POINTS))


def _moved(team: Rated, surprise: float) -> Rated:
    haste = 1.0 + 1.0 / (1.0 + team.results)
    return Rated(team.rating + surprise * haste, team.results + 1)
