"""What is offered, and what is tried, as data.

offer = parse_offer(tomllib.loads(text))

places = 20               # items in an answer
candidates = 60           # asked of the model, so that enough are left
diversity = 0.2           # weight of being unlike what stands above, against score (MMR); 0: by score alone
blocked_items = ["sku-1"]
blocked_categories = ["Toys > Knives"]      # and all below
explore = 0.02            # of answers, that show by chance what may be offered: `streaming.sessions.exploration`
new_items = 50            # of the catalogue, that may be among it beside the model's candidates
[experiment]              # an A/B test; absent: none
name = "sasrec-against-knn"
[[experiment.arm]]
name = "knn"
share = 1.0               # of users, in proportion
[[experiment.arm]]
name = "sasrec"
share = 1.0
recommender = "sasrec"    # diversity, explore too
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streaming.store.plan import PlanProblem, check_between, check_name, parse

LIVE = "live"
"""Recommender where none is named."""
MOST = {"diversity": 1.0, "explore": 0.5}
"""With no more than half of all answers by chance, propensities tell what the ranking had in a place."""


@dataclass(frozen=True)
class Arm:
    """One of the ways that are compared; what is None is as in the offer."""

    name: str
    share: float = 1.0
    recommender: str = LIVE
    diversity: float | None = None
    explore: float | None = None

    def __post_init__(self) -> None:
        check_name("arm", self.name)
        check_between(f"arm {self.name}: share", self.share, 1e-6, 1e6)
        for name in ("diversity", "explore"):
            if (value := getattr(self, name)) is not None:
                check_between(f"arm {self.name}: {name}", value, 0, MOST[name])


@dataclass(frozen=True)
class Experiment:
    """An A/B test: users, and sessions of nobody known, are split among its arms by a hash that hangs on its name."""

    name: str
    arm: tuple[Arm, ...]

    def __post_init__(self) -> None:
        check_name("experiment", self.name)
        names = [arm.name for arm in self.arm]
        if len(names) < 2 or len(set(names)) < len(names):
            raise PlanProblem(f"experiment {self.name}: needs two arms or more, of different names, and has {names}")


@dataclass(frozen=True)
class Offer:
    """What the module's words show."""

    places: int = 20
    candidates: int = 60
    diversity: float = 0.2
    blocked_items: tuple[str, ...] = ()
    blocked_categories: tuple[str, ...] = ()
    explore: float = 0.0
    new_items: int = 50
    experiment: Experiment | None = None

    def __post_init__(self) -> None:
        check_between("places", self.places, 1, 100)
        check_between("candidates", self.candidates, self.places, 1000)
        check_between("diversity", self.diversity, 0, MOST["diversity"])
        check_between("explore", self.explore, 0, MOST["explore"])
        check_between("new_items", self.new_items, 0, 1000)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """One without a name where there is no experiment."""
        return self.experiment.arm if self.experiment is not None else (_ONLY,)


_ONLY = Arm("-")


def parse_offer(table: Mapping[str, Any]) -> Offer:
    """An offer from a table as TOML and JSON have them.

    Raises:
        PlanProblem: it cannot be used; the message says why.
    """
    return parse(Offer, table, "offer")
