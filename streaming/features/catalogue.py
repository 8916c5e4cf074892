"""The features that any title may use, by group, and the files that say which title uses which.

Every feature is one signed number a frame: camp A minus camp B (A is the first named: blue, radiant). A title's file
in `streaming/features/titles` lists, per group, the features its feed can fill; a value that is missing in a frame is
NaN, never 0. Group names follow the TSSTN dossier's six, plus form.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GROUPS = ("gold", "kill", "tower", "wild", "lane", "hero", "form")

LEVELS = (
    "gold", "xp", "level", "gold_spread", "minions", "participation", "lane_top", "lane_mid", "lane_bot",
)  # fmt: skip
"""Features that a snapshot states; the latest by game clock holds."""

COUNTS = (
    "kills", "towers", "inner_towers", "inhibitors", "dragons", "barons", "heralds", "roshans", "teamfights",
    "tank", "warrior", "assassin", "mage", "marksman", "support",
)  # fmt: skip
"""Features that score events add up; `kills` and `towers` may come as totals in a snapshot instead."""

GOLD = "gold"
"""The lead that every title has, and by which the guard tells patches apart."""

FORM = "form"
"""Elo difference of the two teams before the match, in units of 400 points."""

FEATURES = (*LEVELS, *COUNTS, FORM)

_TITLES = Path(__file__).parent / "titles"


@dataclass(frozen=True, slots=True)
class TitleSpec:
    """What one title's feed can say, from `titles/NAME.toml`."""

    title: str
    name: str  # as people write it
    sides: tuple[str, str]  # the camps' names, A first
    grid_s: float  # one frame at most for every so many seconds of game clock
    groups: dict[str, tuple[str, ...]]  # group → features, in model column order
    subjects: dict[str, str]  # feature → what a caster calls it, such as dragons → "Dragon"

    @property
    def features(self) -> tuple[str, ...]:
        """Model columns, group by group."""
        return tuple(feature for group in GROUPS for feature in self.groups.get(group, ()))


@cache
def titles() -> tuple[str, ...]:
    """Names of all titles that have a file."""
    return tuple(sorted(path.stem for path in _TITLES.glob("*.toml")))


@cache
def title_spec(title: str) -> TitleSpec:
    """The specification of a title.

    Raises:
        KeyError: no file of that name; the message lists those there are.
        ValueError: the file names an unknown group or feature.
    """
    path = _TITLES / f"{title}.toml"
    if title not in titles():
        raise KeyError(f"unknown title {title!r}; known: {', '.join(titles())}")
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    groups = {group: tuple(features) for group, features in raw["groups"].items()}
    unknown = [g for g in groups if g not in GROUPS] + [f for fs in groups.values() for f in fs if f not in FEATURES]
    if unknown:
        raise ValueError(f"{path.name}: unknown groups or features: {', '.join(unknown)}")
    return TitleSpec(
        title=title,
        name=raw["name"],
        sides=(raw["sides"][0], raw["sides"][1]),
        grid_s=float(raw["grid_s"]),
        groups=groups,
        subjects=dict(raw["subjects"]),
    )
