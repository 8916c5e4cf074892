"""What one simulated title is like: leads, prizes, pace and length, as numbers with units.

Every lead and every prize has a `weight`: the log-odds that one unit of it is worth, by game minute. The simulated win
probability is their weighted sum (see `streaming.simulators.match`). Weights and pace were chosen so that gold leads,
their spread by minute, what they predict, and match lengths resemble professional matches of 2014–2018.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Curve = tuple[tuple[float, float], ...]
"""Knots (minute, value), joined by straight lines and level beyond both ends."""


def at_minutes(curve: Curve, minutes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The curve's value at each of these minutes."""
    return np.interp(minutes, [minute for minute, _ in curve], [value for _, value in curve])


@dataclass(frozen=True, slots=True)
class Lead:
    """A lead that moves in small steps, such as gold or a lane's front."""

    feature: str  # a name in catalogue.LEVELS
    group: str
    weight: Curve  # log-odds per unit
    information: Curve  # variance of its own log-odds, gained per minute
    persistence: float = 1.0  # share that is left after a minute; below 1 the lead falls back to 0
    per_kill: float = 0.0  # what a kill adds to it


@dataclass(frozen=True, slots=True)
class Structures:
    """Towers, taken in order: outer ones first, then inner, then those of the base."""

    per_side: int
    weight: Curve
    inner: range  # a side's n-th lost tower (from 1) is an inner one if n is in here
    inner_weight: Curve  # on top of `weight`
    gold: float  # what the taker gets
    rate: Curve  # towers that fall, per minute, both sides together
    to_win: int  # fewest towers on the way to the core
    per_inhibitor: int  # inhibitors (barracks, crystals) that fall with one base tower


@dataclass(frozen=True, slots=True)
class Monster:
    """A neutral objective that both camps want."""

    subject: str  # a name in catalogue.COUNTS
    weight: Curve
    gold: float
    spawn_min: float
    respawn_min: float
    despawn_min: float
    rate: float  # takings per minute while it is up


@dataclass(frozen=True, slots=True)
class SimulatedTitle:
    """Everything the simulator knows of one title."""

    title: str
    skill_spread: float  # standard deviation of a team's log-odds
    form_weight: Curve  # what is left of the skill gap in log-odds; the rest has turned into leads
    leads: tuple[Lead, ...]  # gold first
    kill_weight: Curve
    kill_gold: float
    skirmish_rate: Curve  # single kills a minute, both camps together
    fight_rate: Curve  # team fights a minute
    fight_kills: float  # kills in a team fight beyond the first two, on average
    names_fights: bool  # the feed says who won a team fight
    structures: Structures
    monsters: tuple[Monster, ...]
    shortest_min: float
    end_rate: Curve  # ends per minute in an even match, from `shortest_min` on
    end_slope: float  # growth of log(end_rate) per unit of |log-odds|
    closing_min: tuple[float, float]  # how long the last push takes
    snapshot_s: float
    class_weights: dict[str, Curve]  # hero class → log-odds per hero; only for titles whose feed names classes
    xp_per_gold: float
    derived: tuple[str, ...]  # levels that the feed states beside the leads, and that are worth nothing of their own


@dataclass(frozen=True, slots=True)
class Patch:
    """A version of a game.

    Gold comes `gold` times as fast, and one piece of it is worth as much less: matches go on as before, win probability
    included, but every lead in gold is so many times as large. A model that learned from another patch is too sure of
    itself by about that.
    """

    name: str = "simulated"
    gold: float = 1.0

    def applied_to(self, title: SimulatedTitle) -> SimulatedTitle:
        """The title as it is played in this patch."""
        return replace(
            title,
            leads=tuple(self._inflated(lead) if lead.feature == "gold" else lead for lead in title.leads),
            kill_gold=title.kill_gold * self.gold,
            structures=replace(title.structures, gold=title.structures.gold * self.gold),
            monsters=tuple(replace(monster, gold=monster.gold * self.gold) for monster in title.monsters),
        )

    def _inflated(self, lead: Lead) -> Lead:
        weight = tuple((minute, worth / self.gold) for minute, worth in lead.weight)
        return replace(lead, weight=weight, per_kill=lead.per_kill * self.gold)


FIRST_PATCH = Patch()
"""That of the weights that ship."""

_LOL = SimulatedTitle(
    title="lol",
    skill_spread=0.43,
    form_weight=((0, 1.0), (8, 1.0), (20, 0.85), (45, 0.4)),
    leads=(
        Lead(
            "gold",
            "gold",
            weight=(
                (0, 2.6e-3),
                (2, 2.3e-3),
                (5, 1.2e-3),
                (10, 0.72e-3),
                (15, 0.48e-3),
                (20, 0.36e-3),
                (30, 0.285e-3),
                (45, 0.26e-3),
            ),
            information=((0, 0.0), (2, 0.004), (10, 0.008), (15, 0.03), (20, 0.07), (30, 0.19)),
        ),
        Lead("level", "hero", ((0, 0.08), (10, 0.07), (30, 0.05)), ((0, 0.0), (2, 0.002), (10, 0.006)), per_kill=0.12),
        Lead("minions", "lane", ((0, 0.008), (10, 0.006), (30, 0.004)), ((0, 0.0), (2, 0.003), (10, 0.005))),
    ),
    kill_weight=((0, 0.02), (10, 0.02), (30, 0.06)),
    kill_gold=340,
    skirmish_rate=((0, 0.0), (2, 0.1), (6, 0.22), (30, 0.45)),
    fight_rate=((0, 0.0), (10, 0.02), (20, 0.13), (30, 0.26)),
    fight_kills=1.2,
    names_fights=False,
    structures=Structures(
        per_side=11,
        weight=((0, 0.12), (30, 0.2)),
        inner=range(4, 7),
        inner_weight=((0, 0.0),),
        gold=650,
        rate=((0, 0.0), (6, 0.03), (10, 0.12), (20, 0.32), (30, 0.5)),
        to_win=5,
        per_inhibitor=1,
    ),
    monsters=(
        Monster("dragons", ((0, 0.08), (20, 0.15), (35, 0.3)), 100, 5, 5, 120, 0.4),
        Monster("heralds", ((0, 0.06), (20, 0.12)), 250, 8, 6, 19.75, 0.4),
        Monster("barons", ((0, 0.45),), 1500, 20, 6, 120, 0.2),
    ),
    shortest_min=16,
    end_rate=((16, 0.0002), (25, 0.0012), (35, 0.010), (50, 0.06)),
    end_slope=0.95,
    closing_min=(0.8, 2.0),
    snapshot_s=30,
    class_weights={},
    xp_per_gold=0.9,
    derived=("xp", "gold_spread", "participation"),
)

_DOTA2 = SimulatedTitle(
    title="dota2",
    skill_spread=0.5,
    form_weight=((0, 1.0), (5, 0.9), (20, 0.7), (45, 0.35)),
    leads=(
        Lead(
            "gold",
            "gold",
            weight=(
                (0, 1.8e-3),
                (2, 1.35e-3),
                (5, 0.75e-3),
                (10, 0.45e-3),
                (15, 0.33e-3),
                (20, 0.25e-3),
                (30, 0.185e-3),
                (45, 0.16e-3),
            ),
            information=((0, 0.0), (2, 0.02), (5, 0.03), (10, 0.05), (20, 0.06), (30, 0.10)),
        ),
        Lead("level", "hero", ((0, 0.07), (10, 0.06), (30, 0.04)), ((0, 0.0), (2, 0.004), (10, 0.006)), per_kill=0.12),
    ),
    kill_weight=((0, 0.015), (30, 0.03)),
    kill_gold=270,
    skirmish_rate=((0, 0.2), (5, 0.5), (30, 0.8)),
    fight_rate=((0, 0.02), (10, 0.14), (30, 0.25)),
    fight_kills=1.6,
    names_fights=True,
    structures=Structures(
        per_side=11,
        weight=((0, 0.06), (30, 0.15)),
        inner=range(4, 7),
        inner_weight=((0, 0.05),),
        gold=500,
        rate=((0, 0.0), (6, 0.1), (12, 0.26), (30, 0.3)),
        to_win=5,
        per_inhibitor=2,
    ),
    monsters=(Monster("roshans", ((0, 0.2), (30, 0.3)), 650, 12, 9, 120, 0.13),),
    shortest_min=14,
    end_rate=((14, 0.0004), (25, 0.003), (40, 0.010), (60, 0.05)),
    end_slope=0.85,
    closing_min=(1.0, 3.0),
    snapshot_s=60,
    class_weights={},
    xp_per_gold=0.95,
    derived=("xp",),
)

_HOK = SimulatedTitle(
    title="hok",
    skill_spread=0.4,
    form_weight=((0, 1.0), (3, 0.95), (10, 0.7), (20, 0.4)),
    leads=(
        Lead(
            "gold",
            "gold",
            weight=((0, 1.8e-3), (1, 1.6e-3), (3, 0.9e-3), (6, 0.55e-3), (10, 0.38e-3), (15, 0.30e-3), (20, 0.28e-3)),
            information=((0, 0.0), (1, 0.02), (3, 0.03), (6, 0.06), (12, 0.2)),
        ),
        *(
            Lead(lane, "lane", ((0, 0.25), (10, 0.6)), ((0, 0.0), (3, 0.01), (10, 0.04)), persistence=0.35)
            for lane in ("lane_top", "lane_mid", "lane_bot")
        ),
    ),
    kill_weight=((0, 0.03), (15, 0.05)),
    kill_gold=230,
    skirmish_rate=((0, 0.1), (2, 0.9), (15, 1.1)),
    fight_rate=((0, 0.0), (3, 0.08), (10, 0.4)),
    fight_kills=1.5,
    names_fights=False,
    structures=Structures(
        per_side=9,
        weight=((0, 0.12), (15, 0.25)),
        inner=range(4, 7),
        inner_weight=((0, 0.1),),
        gold=400,
        rate=((0, 0.0), (3, 0.1), (6, 0.6), (15, 0.8)),
        to_win=3,
        per_inhibitor=1,
    ),
    monsters=(
        Monster("dragons", ((0, 0.12), (10, 0.2)), 200, 2, 2.5, 20, 1.0),
        Monster("barons", ((0, 0.45),), 500, 10, 3, 120, 0.7),
    ),
    shortest_min=6,
    end_rate=((6, 0.001), (10, 0.006), (16, 0.03), (25, 0.2)),
    end_slope=0.9,
    closing_min=(0.5, 1.2),
    snapshot_s=30,
    class_weights={  # the phase profile of a line-up: fighters pay off early, marksmen late
        "tank": ((0, 0.20), (10, 0.15), (18, 0.05)),
        "warrior": ((0, 0.10), (6, 0.05), (12, 0.0)),
        "assassin": ((0, 0.15), (8, 0.05), (15, 0.0)),
        "mage": ((0, 0.10), (8, 0.10), (15, 0.03)),
        "marksman": ((0, 0.30), (10, 0.30), (18, 0.08)),
        "support": ((0, 0.05), (10, 0.0)),
    },
    xp_per_gold=0.0,
    derived=("gold_spread", "participation"),
)

SIMULATED_TITLES: dict[str, SimulatedTitle] = {title.title: title for title in (_LOL, _DOTA2, _HOK)}
"""By name, the same names as in `streaming/features/titles`."""
