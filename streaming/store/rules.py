"""What a store wants to be told of, as data.

    rules = parse_rules(tomllib.loads(text)["rule"], plan)

    [[rule]]
    name = "too-many-at-the-till"
    kind = "crowding"
    zone = "till"
    people = 6                # as many or more,
    for_s = 20                # for so long; over when they are fewer than `clear_below`
    clear_below = 4
    [[rule]]
    name = "stands-at-the-shelf"
    kind = "loitering"
    zone = "shelf"
    limit_s = 600
    quiet_s = 1800            # of one person not again before
    [[rule]]
    name = "wrong-way"
    kind = "line"
    line = "door"
    direction = "out"         # in, out, both
    [[rule]]
    name = "at-night"
    kind = "after_hours"
    zone = "store"            # or a zone
    opens = "09:00"           # by the plan's time zone; closes before it opens: past midnight
    closes = "20:00"
    [[rule]]
    name = "camera-down"
    kind = "camera_down"      # or camera_covered
    limit_s = 30

`streaming.store.alerts` says when each is told, and when again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streaming.store.plan import STORE, PlanProblem, StorePlan, check_between, check_name, parse

MAX_RULES = 200
MAX_S = 7 * 24 * 3600.0
DIRECTIONS = {"in": (1,), "out": (-1,), "both": (1, -1)}

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class _Rule:
    name: str
    kind: str
    quiet_s: float = 300.0  # of one subject not again before

    def __post_init__(self) -> None:
        check_name("rule", self.name)
        check_between(f"rule {self.name}: quiet_s", self.quiet_s, 0, MAX_S)

    @property
    def places(self) -> tuple[str, ...]:
        """Zones and lines that it names."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Crowding(_Rule):
    """So many people in a zone for so long."""

    zone: str
    people: int
    clear_below: int | None = None  # None: below `people`
    for_s: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between(f"rule {self.name}: people", self.people, 1, 100_000)
        check_between(f"rule {self.name}: clear_below", self.calm_below, 1, self.people)
        check_between(f"rule {self.name}: for_s", self.for_s, 0, MAX_S)

    @property
    def calm_below(self) -> int:
        """It is over when there are fewer."""
        return self.people if self.clear_below is None else self.clear_below

    @property
    def places(self) -> tuple[str, ...]:
        """The zone."""
        return (self.zone,)


@dataclass(frozen=True, kw_only=True)
class Loitering(_Rule):
    """One person in a zone for so long."""

    zone: str
    limit_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between(f"rule {self.name}: limit_s", self.limit_s, 1, MAX_S)

    @property
    def places(self) -> tuple[str, ...]:
        """The zone."""
        return (self.zone,)


@dataclass(frozen=True, kw_only=True)
class LineCrossed(_Rule):
    """One person over a line."""

    line: str
    direction: str = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in DIRECTIONS:
            raise PlanProblem(f"rule {self.name}: direction {self.direction!r} is not one of {', '.join(DIRECTIONS)}")

    @property
    def places(self) -> tuple[str, ...]:
        """The line."""
        return (self.line,)


@dataclass(frozen=True, kw_only=True)
class AfterHours(_Rule):
    """Anybody in a zone while it is closed."""

    zone: str = STORE
    opens: str
    closes: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.opens_min == self.closes_min:
            raise PlanProblem(f"rule {self.name}: opens and closes at {self.opens}")

    @property
    def opens_min(self) -> int:
        """Minute of the day."""
        return self._minute("opens", self.opens)

    @property
    def closes_min(self) -> int:
        """Minute of the day."""
        return self._minute("closes", self.closes)

    @property
    def places(self) -> tuple[str, ...]:
        """The zone."""
        return (self.zone,)

    def is_closed_at(self, minute: int) -> bool:
        """At this minute of the day."""
        since_opening, open_min = (minute - self.opens_min) % 1440, (self.closes_min - self.opens_min) % 1440
        return since_opening >= open_min

    def _minute(self, which: str, text: str) -> int:
        found = _CLOCK.fullmatch(text)
        if found is None:
            raise PlanProblem(f"rule {self.name}: {which} is {text!r}, not a time such as 09:00")
        return int(found[1]) * 60 + int(found[2])


@dataclass(frozen=True, kw_only=True)
class CameraDown(_Rule):
    """A camera without a frame for so long."""

    limit_s: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between(f"rule {self.name}: limit_s", self.limit_s, 2, MAX_S)


@dataclass(frozen=True, kw_only=True)
class CameraCovered(_Rule):
    """A camera that shows no picture for so long."""

    limit_s: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between(f"rule {self.name}: limit_s", self.limit_s, 2, MAX_S)


Rule = Crowding | Loitering | LineCrossed | AfterHours | CameraDown | CameraCovered
KINDS: Mapping[str, type[Rule]] = {
    "crowding": Crowding,
    "loitering": Loitering,
    "line": LineCrossed,
    "after_hours": AfterHours,
    "camera_down": CameraDown,
    "camera_covered": CameraCovered,
}


def parse_rules(tables: Sequence[Mapping[str, Any]], plan: StorePlan) -> tuple[Rule, ...]:
    """Rules from tables as TOML and JSON have them.

    Raises:
        PlanProblem: one cannot be used, or names what the plan does not have; the message says which and why.
    """
    if not isinstance(tables, Sequence) or isinstance(tables, str):
        raise PlanProblem(f"rules are {tables!r:.40}, not a list of tables")
    if len(tables) > MAX_RULES:
        raise PlanProblem(f"{len(tables)} rules, more than {MAX_RULES}")
    rules = tuple(_parsed(table, number) for number, table in enumerate(tables))
    names = [rule.name for rule in rules]
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise PlanProblem(f"rule {twice[0]!r} is there twice; names are unique")
    zones, lines = {STORE, *(zone.name for zone in plan.zone)}, {line.name for line in plan.line}
    for rule in rules:
        what, known = ("line", lines) if isinstance(rule, LineCrossed) else ("zone", zones)
        if unknown := [place for place in rule.places if place not in known]:
            raise PlanProblem(f"rule {rule.name}: there is no {what} {unknown[0]!r}")
    return rules


def _parsed(table: Any, number: int) -> Rule:
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise PlanProblem(f"rule {number}: kind {kind!r:.40} is not one of {', '.join(KINDS)}")
    return parse(KINDS[kind], table, "rule")
