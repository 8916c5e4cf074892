"""Who stays where, and for how long: steps of one window become stays, visits and occupancy.

A stay begins with the first step in a zone, and ends `leave` after the last: until then a step outside is taken for a
slip of the detector, and counts as inside if the person is there again within the window. It counts once it has lasted
as long as the zone asks. A visit is a stay in the store as a whole, with a longer `leave`: outside of it are only those
whom nobody has seen, and of them `streaming.store.presence` has judged before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streaming.event_time import Ints
from streaming.store.carry import Person, Stay
from streaming.store.geometry import Bools

STEP_MS = 500
"""Positions are taken twice a second: a step of a walk is 0.7 m."""

MAX_PATH = 64
"""Zones of one visit's path; what comes after is not kept."""

_NONE = -1


@dataclass(frozen=True)
class Rules:
    """Of Z zones, the last of which is the store."""

    zones: Sequence[str]
    leave_ms: Ints  # (Z,)
    min_stay_ms: Ints  # (Z,)


class Visit(NamedTuple):
    """One that is over."""

    person: str
    dwell_ms: int
    path: tuple[str, ...]


@dataclass
class Stays:
    """What one window of T steps counted in Z zones."""

    occupancy: Ints  # (T, Z) people at each step
    people: Ints  # (Z,) different ones
    entered: Ints  # (Z,) stays that began to count
    dwell_ms: list[list[int]]  # by zone, of stays found to be over
    longest_ms: Ints  # (Z,) of stays that go on; -1 for none
    visits: list[Visit] = field(default_factory=list)
    people_after: dict[str, Person] = field(default_factory=dict)


def fold_stays(start_ms: int, names: Sequence[str], inside: Bools, rules: Rules, before: Mapping[str, Person]) -> Stays:
    """Count one window.

    Args:
        start_ms: its start.
        names: of P people: all that were in the store in it, and all of `before`.
        inside: (P, T, Z) which zones each was in at each step; the last zone is the store.
        rules: of the zones.
        before: visits that were not over.
    """
    count, steps, zones = inside.shape
    since, last, counts = _load(names, rules.zones, before)
    paths = [list(before[name].path) if name in before else [] for name in names]
    found = Stays(
        np.zeros((steps, zones), np.int64),
        np.zeros(zones, np.int64),
        np.zeros(zones, np.int64),
        [[] for _ in range(zones)],
        np.full(zones, _NONE, np.int64),
    )
    present: Bools = np.zeros((count, steps, zones), bool)
    for step in range(steps):
        now_ms, hit = start_ms + step * STEP_MS, inside[:, step]
        over = (since != _NONE) & (now_ms - last > rules.leave_ms)
        for person, zone in zip(*(part.tolist() for part in np.nonzero(over & counts)), strict=True):
            dwell_ms = int(last[person, zone] - since[person, zone])
            found.dwell_ms[zone].append(dwell_ms)
            if zone == zones - 1:
                found.visits.append(Visit(names[person], dwell_ms, tuple(paths[person])))
                paths[person] = []
        since[over], counts[over] = _NONE, False
        since[hit & (since == _NONE)] = now_ms
        slipped_since = np.where(hit & counts, last, now_ms)
        slipped_since[:, -1] = now_ms
        last[hit] = now_ms + STEP_MS
        begins = hit & ~counts & (last - since >= rules.min_stay_ms)
        counts |= begins
        found.entered += begins.sum(axis=0)
        for person, zone in zip(*(part.tolist() for part in np.nonzero(begins[:, :-1])), strict=True):
            if len(paths[person]) < MAX_PATH:
                paths[person].append(rules.zones[zone])
        present[:, step] = hit & counts
        slip_ms = now_ms - int(slipped_since.min(initial=now_ms))
        for back in range(1, min(step, slip_ms // STEP_MS) + 1):
            present[:, step - back] |= slipped_since <= now_ms - back * STEP_MS
    end_ms = start_ms + steps * STEP_MS
    found.occupancy = present.sum(axis=0)
    found.people = present.any(axis=1).sum(axis=0)
    goes_on = counts & (end_ms - last <= rules.leave_ms)
    found.longest_ms = np.where(goes_on, end_ms - since, _NONE).max(axis=0, initial=_NONE)
    found.people_after = _stored(names, rules.zones, since, last, counts, paths)
    return found


def _load(names: Sequence[str], zones: Sequence[str], before: Mapping[str, Person]) -> tuple[Ints, Ints, Bools]:
    since, last = (np.full((len(names), len(zones)), _NONE, np.int64) for _ in range(2))
    counts: Bools = np.zeros((len(names), len(zones)), bool)
    at = {zone: number for number, zone in enumerate(zones)}
    for row, name in enumerate(names):
        for zone, stay in before[name].stays.items() if name in before else ():
            since[row, at[zone]], last[row, at[zone]], counts[row, at[zone]] = stay
    return since, last, counts


def _stored(
    names: Sequence[str], zones: Sequence[str], since: Ints, last: Ints, counts: Bools, paths: Sequence[list[str]]
) -> dict[str, Person]:
    """Those whose visit is not over."""
    people: dict[str, Person] = {}
    for row, zone in zip(*(part.tolist() for part in np.nonzero(since != _NONE)), strict=True):
        person = people.setdefault(names[row], Person(path=paths[row]))
        stay = Stay(int(since[row, zone]), int(last[row, zone]), bool(counts[row, zone]))
        person.stays[zones[zone]] = stay
    return people
