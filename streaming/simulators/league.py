"""Teams that keep their strength over a season, so that earlier results say something about the next match."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_PLACES = (
    "Harbour", "Northern", "Silver", "Canyon", "Delta", "Ember", "Glacier", "Horizon", "Ivory", "Juniper", "Kestrel",
    "Lunar", "Meadow", "Onyx", "Pacific", "Quartz", "Raven", "Summit", "Tundra", "Vermilion", "Willow", "Zephyr",
)  # fmt: skip
_CREATURES = (
    "Foxes", "Herons", "Lynx", "Mantas", "Otters", "Panthers", "Rams", "Sparrows", "Tigers", "Vipers", "Wolves",
)  # fmt: skip


@dataclass(frozen=True)
class League:
    """A league and its teams; skills are in log-odds, so equal skills make an even match."""

    name: str
    teams: tuple[str, ...]
    skill: npt.NDArray[np.float64]  # (teams,)

    def fixtures(self, matches: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Pairings (matches, 2), camp A first, round by round: within a round every team plays once at most."""
        per_round = len(self.teams) // 2
        rounds = -(-matches // per_round)
        order = rng.permuted(np.tile(np.arange(len(self.teams)), (rounds, 1)), axis=1)
        return order[:, : 2 * per_round].reshape(-1, 2)[:matches].astype(np.int64)


def found_league(name: str, teams: int, skill_spread: float, rng: np.random.Generator) -> League:
    """A league of teams with distinct made-up names.

    Skills are drawn from a normal distribution and then scaled to mean 0 and standard deviation `skill_spread`, so that
    every league is equally hard to predict.

    Raises:
        ValueError: fewer than two teams, or more than there are names for.
    """
    if not 2 <= teams <= len(_PLACES):
        raise ValueError(f"a league has 2 to {len(_PLACES)} teams, not {teams}")
    places = rng.permutation(len(_PLACES))[:teams]
    creatures = rng.integers(len(_CREATURES), size=teams)
    names = tuple(f"{_PLACES[p]} {_CREATURES[c]}" for p, c in zip(places, creatures, strict=True))
    skill = rng.standard_normal(teams)
    return League(name, names, (skill - skill.mean()) / skill.std() * skill_spread)
