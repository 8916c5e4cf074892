"""Form: how strong two teams were before their match, as an Elo rating kept from earlier results of the stream only.

A rating belongs to (title, league, team); tags that differ only in case are one team. It lives in the state table of
the stage that sees the results, one row per team under `@rating/TITLE/LEAGUE/TEAM`, and is never evicted: a team is a
few hundred bytes, and its strength outlives any match.

    expected = 1 / (1 + 10^(-(rating_A - rating_B) / 400))
    step     = K · haste · margin · (won - expected)
    haste    = 1 + 1 / (1 + results so far)                    a new team finds its place sooner
    margin   = log1p(|gold lead at the end| / gold_scale)      1 where the feed has no gold

Form is read once, at the match's start, with the ratings as they stand then in the order of the stream, and is written
once, at its end, by the ratings as they stand there; a remade match changes nothing. A team plays its first match with
rating 0, the mean.

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

import numpy as np

from streaming.state import Column, StateTable

POINTS = 400.0
"""A lead of so many points is ten to one; form is stated in this unit."""

RATING_LAYOUT = {
    "rating": Column(np.float64, default=0.0),  # points above a team without results
    "results": Column(np.int32, default=0),  # how many made it
}
"""State columns that `Elo` needs in the table it is handed."""


def rating_key(title: str, league: str, team: str) -> str:
    """The state key of a team's rating; a slash within a name is not taken for the separator."""
    names = (name.strip().casefold().replace("%", "%25").replace("/", "%2F") for name in (title, league, team))
    return "@rating/" + "/".join(names)


@dataclass(frozen=True, slots=True)
class Elo:
    """The rule; the module's words say what it computes and how the defaults were chosen."""

    k: float = 64.0  # points at stake in an even match of margin 1
    gold_scale: float | None = 10_000.0  # the lead at the end that weighs log 2; None: every win weighs 1

    def form(self, state: StateTable, team_a: str, team_b: str) -> float:
        """Rating of A minus rating of B, in units of `POINTS`; the arguments are rating keys."""
        rated = [key for key in (team_a, team_b) if key in state]  # asking must not make rows
        ratings = dict(zip(rated, state["rating"][state.slots(rated)].tolist(), strict=True))
        return float(ratings.get(team_a, 0.0) - ratings.get(team_b, 0.0)) / POINTS

    def record(self, state: StateTable, team_a: str, team_b: str, *, a_won: bool, gold_lead: float) -> None:
        """Take a result in: move both ratings, and mark them as changed.

        Args:
            state: a table with the columns of `RATING_LAYOUT`.
            team_a: rating key of camp A; the same team on both sides says nothing and is ignored.
            team_b: rating key of camp B.
            a_won: camp A won.
            gold_lead: of A over B at the end; NaN where the feed has no gold.
        """
        if team_a == team_b:
            return
        slots = state.slots([team_a, team_b])
        ratings, results = state["rating"], state["results"]
        a, b = ratings[slots].tolist()
        surprise = self.k * self.margin(gold_lead) * (float(a_won) - expected_score(a - b))
        haste = 1.0 + 1.0 / (1.0 + results[slots])
        ratings[slots] += np.array([surprise, -surprise]) * haste
        results[slots] += 1
        state.touch([team_a, team_b])

    def margin(self, gold_lead: float) -> float:
        """How much a win by this lead weighs: a close game says less about the teams than a rout."""
        if self.gold_scale is None or math.isnan(gold_lead):
            return 1.0
        return math.log1p(abs(gold_lead) / self.gold_scale)


def expected_score(lead: float) -> float:
    """Chance that a team with this lead in points wins."""
    return 1.0 / (1.0 + math.pow(10.0, -lead / POINTS))
