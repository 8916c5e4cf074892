"""What a window hands on to the next: who is in the store since when, who stands near a line, when cameras were seen.

Kept as one JSON text per closed window, so that any window can be counted again from the one before it, and a plan may
gain or lose zones between two runs: what it no longer knows is dropped. Who crossed is kept as well: a window that is
counted again as people in it were seen later need not follow everybody over its lines anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple


class Stay(NamedTuple):
    """One person in one zone, or in the store."""

    since_ms: int
    last_ms: int  # end of the last step in which they were in it
    counts: bool  # it has lasted as long as the zone asks


@dataclass
class Person:
    """A visit that is not over."""

    stays: dict[str, Stay] = field(default_factory=dict)  # by zone; `plan.STORE` is the visit
    path: list[str] = field(default_factory=list)  # zones in the order of their stays


@dataclass
class Walker:
    """Somebody near a line, followed by how they move rather than by who they are said to be; in the line's units."""

    person: str
    tracks: dict[str, int]  # by camera, as which it sees them
    seen_ms: int
    x: float
    y: float
    x_per_s: float
    y_per_s: float
    place_var: float  # along each axis: of where they are,
    both_var: float  # of that and their speed together,
    speed_var: float  # and of their speed
    side: int  # -1 left, 1 right, as last seen clear of the line; 0 not yet
    clear_x: float  # where that was; where they appeared, while it has not been
    clear_y: float


class Crossed(NamedTuple):
    """One person over one line; `streaming.store.crossings.Crossing` without the line."""

    time_ms: int
    person: str
    direction: int


@dataclass
class Carry:
    """All of it, as of a window's end."""

    people: dict[str, Person] = field(default_factory=dict)
    walkers: dict[str, list[Walker]] = field(default_factory=dict)  # by line
    cameras: dict[str, int] = field(default_factory=dict)  # last frame, ms
    crossed: dict[str, list[Crossed]] | None = None  # in the window itself, by line; None of an older layout

    def to_json(self) -> str:
        """The same text for the same content."""
        people = {
            name: [person.path, {zone: list(stay) for zone, stay in sorted(person.stays.items())}]
            for name, person in sorted(self.people.items())
        }
        walkers = {line: [list(vars(walker).values()) for walker in near] for line, near in self.walkers.items()}
        return json.dumps([people, walkers, self.cameras, self.crossed], sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Carry:
        """Of `to_json`; nothing yet of an empty text."""
        people, walkers, cameras, *crossed = json.loads(text) if text else ({}, {}, {})
        was_crossed = crossed[0] if crossed else None
        return cls(
            {name: _person(*values) for name, values in people.items()},
            # Of an older layout they have fewer values, and begin anew.
            {
                line: [Walker(*values) for values in near if len(values) == len(fields(Walker))]
                for line, near in walkers.items()
            },
            cameras,
            None
            if was_crossed is None
            else {line: [Crossed(*one) for one in some] for line, some in was_crossed.items()},
        )

    def known_to(self, zones: Collection[str], lines: Collection[str], cameras: Collection[str]) -> Carry:
        """Without what the plan does not know."""
        return Carry(
            {
                name: Person(
                    {zone: stay for zone, stay in person.stays.items() if zone in zones},
                    [zone for zone in person.path if zone in zones],
                )
                for name, person in self.people.items()
            },
            {line: near for line, near in self.walkers.items() if line in lines},
            {camera: last_ms for camera, last_ms in self.cameras.items() if camera in cameras},
        )

    def renamed(self, old: str, new: str) -> Carry:
        """With one identity taken into another; of two visits, the stays become one where they overlap or follow."""
        people = dict(self.people)
        if (moved := people.pop(old, None)) is not None:
            people[new] = _joined(people[new], moved) if new in people else moved
        walkers = {
            line: [replace(walker, person=new) if walker.person == old else walker for walker in near]
            for line, near in self.walkers.items()
        }
        crossed = None
        if self.crossed is not None:
            crossed = {
                line: [one._replace(person=new) if one.person == old else one for one in some]
                for line, some in self.crossed.items()
            }
        return Carry(people, walkers, self.cameras, crossed)


def _person(path: list[str], stays: dict[str, Any]) -> Person:
    return Person({zone: Stay(*values) for zone, values in stays.items()}, path)


def _joined(one: Person, other: Person) -> Person:
    stays = dict(one.stays)
    for zone, stay in other.stays.items():
        mine = stays.get(zone, stay)
        stays[zone] = Stay(
            min(mine.since_ms, stay.since_ms), max(mine.last_ms, stay.last_ms), mine.counts or stay.counts
        )
    began_first = sorted((one, other), key=lambda person: min(stay.since_ms for stay in person.stays.values()))
    return Person(stays, [*began_first[0].path, *began_first[1].path])
