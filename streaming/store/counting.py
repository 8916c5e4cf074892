"""One window counted: slices become positions, positions become stays, crossings and heat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.event_time import Ints
from streaming.state import StateTable
from streaming.store import memory
from streaming.store.carry import Carry
from streaming.store.crossings import Crossing, Observed, fold_line
from streaming.store.geometry import Bools, Floats, contains
from streaming.store.memory import FIX_MS, NOBODY, unlinked
from streaming.store.plan import STORE, StorePlan
from streaming.store.stays import STEP_MS, Rules, Stays, fold_stays


class Heat(NamedTuple):
    """Person-seconds by cell of the floor's grid; cells that have some."""

    cells: Ints
    seconds: Floats


@dataclass(frozen=True)
class Counted:
    """What one window of event time counted."""

    start_ms: int
    end_ms: int
    stays: Stays
    crossings: tuple[Crossing, ...]
    heat: Heat
    covered: frozenset[str]  # cameras all of whose frames show no picture
    carry: Carry  # for the window after it


class _Seen(NamedTuple):
    """Where P people stood at T steps."""

    names: list[str]
    floor: Floats  # (P, T, 2) in metres: the mean over the cameras that saw them there; NaN where none did
    pixels: dict[str, Floats]  # by camera, (P, T, 2), of those that no floor position is known for
    anywhere: Bools  # (P, T)
    places: dict[str | None, Observed]  # one by one, on the floor (None) or in a camera's picture


class WindowCount:
    """Counts windows of one plan."""

    def __init__(self, plan: StorePlan) -> None:
        self._plan = plan
        names = [*(zone.name for zone in plan.zone), STORE]
        leave_s = [*(plan.leave_s for _ in plan.zone), plan.gone_s]
        stay_s = [*(zone.min_stay_s for zone in plan.zone), 0.0]
        milliseconds = [np.rint(np.array(values) * 1000).astype(np.int64) for values in (leave_s, stay_s)]
        self._rules = Rules(names, *milliseconds)
        self._lines = [line.name for line in plan.line]
        self._cameras = [camera.name for camera in plan.camera]

    def __call__(self, start_ms: int, size_ms: int, before: Carry, state: StateTable) -> Counted:
        """Count what the state remembers of [start, start + size), going on from what the window before handed on."""
        before = before.known_to(self._rules.zones, self._lines, self._cameras)
        held = memory.slices(state, start_ms, start_ms + size_ms)
        seen = _positions(held, start_ms, size_ms // STEP_MS, sorted(before.people), state)
        stays = fold_stays(start_ms, seen.names, self._inside(seen), self._rules, before.people)
        crossings: list[Crossing] = []
        walkers = {}
        for line in self._plan.line:
            observed = seen.places.get(line.camera, _NOTHING)
            crossed, left = fold_line(line, start_ms + size_ms, observed, before.walkers.get(line.name, ()))
            crossings += crossed
            if left:
                walkers[line.name] = left
        cameras, covered = _cameras_of(held, state)
        carry = Carry(stays.people_after, walkers, before.cameras | cameras)
        return Counted(start_ms, start_ms + size_ms, stays, tuple(crossings), self._heat(seen.floor), covered, carry)

    def _inside(self, seen: _Seen) -> Bools:
        """(P, T, Z + 1)."""
        inside: Bools = np.zeros((*seen.anywhere.shape, len(self._rules.zones)), bool)
        for number, zone in enumerate(self._plan.zone):
            points = seen.floor if zone.camera is None else seen.pixels.get(zone.camera)
            if points is not None:
                inside[..., number] = contains(zone.corners, points)
        inside[..., -1] = seen.anywhere
        return inside

    def _heat(self, floor: Floats) -> Heat:
        plan = self._plan.floor
        if plan is None:
            return Heat(np.empty(0, np.int64), np.empty(0))
        column, row = (np.floor(floor[..., axis] / plan.cell_m) for axis in (0, 1))
        on_plan = (column >= 0) & (column < plan.columns) & (row >= 0) & (row < plan.rows)
        cells, steps = np.unique((row * plan.columns + column)[on_plan].astype(np.int64), return_counts=True)
        return Heat(cells, np.asarray(steps * (STEP_MS / 1000), np.float64))


def _positions(held: memory.Slices, start_ms: int, steps: int, known: Sequence[str], state: StateTable) -> _Seen:
    """Of all that were seen in the slices, and of those known before."""
    is_person = [track != NOBODY for track in held.track]
    who = [
        person or unlinked(camera, track)
        for camera, track, person in zip(held.camera, held.track, held.person, strict=True)
    ]
    names = sorted({*known, *(name for name, is_one in zip(who, is_person, strict=True) if is_one)})
    number = {name: row for row, name in enumerate(names)}
    # Cameras in one order, or a mean would depend on the order of slots.
    order = [i for i in sorted(range(len(who)), key=lambda i: (held.camera[i], held.track[i])) if is_person[i]]
    slots = held.slots[order]
    row = np.array([number[who[i]] for i in order], dtype=np.int64)
    at_ms = state["at_ms"][slots]
    column = np.where(at_ms < 0, 0, held.slice_ms[order][:, None] - start_ms + at_ms) // STEP_MS
    points = np.stack([state["x"][slots], state["y"][slots]], axis=-1).astype(np.float64)
    there = at_ms >= 0
    is_floor = state["is_floor"][slots]
    shape = (len(names), steps)
    cameras = np.array([held.camera[i] for i in order], dtype=object)
    anywhere: Bools = np.zeros(shape, bool)
    np.logical_or.at(anywhere, (row[:, None], column), there)
    on_picture = there & ~is_floor
    newest = there.copy()  # of a step the last place holds, however many there are in it
    for later in range(1, STEP_MS // FIX_MS + 1):
        newest[:, :-later] &= ~(there[:, later:] & (column[:, later:] == column[:, :-later]))
    pixels = {
        str(camera): _mean(shape, row, column, points, newest & on_picture & (cameras == camera)[:, None])
        for camera in np.unique(cameras[on_picture.any(axis=1)].astype(str))
    }
    floor = _mean(shape, row, column, points, newest & is_floor)
    times = held.slice_ms[order][:, None] + at_ms
    who = [who[i] for i in order]
    tracks = np.array([held.track[i] for i in order], dtype=np.int64)
    chosen = {None: there & is_floor} | {name: on_picture & (cameras == name)[:, None] for name in pixels}
    places = {name: _observed(times, cameras, tracks, who, points, here) for name, here in chosen.items()}
    return _Seen(names, floor, pixels, anywhere, places)


def _observed(
    times: Ints, cameras: npt.NDArray[np.object_], tracks: Ints, who: Sequence[str], points: Floats, chosen: Bools
) -> Observed:
    """The chosen places of slices (N, FIXES), in order of time."""
    slices, fixes = np.nonzero(chosen)
    order = np.lexsort([tracks[slices], cameras[slices].astype(str), times[slices, fixes]])
    slices, fixes = slices[order], fixes[order]
    camera, person = cameras[slices].tolist(), [who[i] for i in slices.tolist()]
    return Observed(times[slices, fixes], camera, tracks[slices], person, points[slices, fixes])


_NOTHING = Observed(np.empty(0, np.int64), [], np.empty(0, np.int64), [], np.empty((0, 2)))


def _mean(shape: tuple[int, int], row: Ints, column: Ints, points: Floats, chosen: Bools) -> Floats:
    """(P, T, 2) mean of the chosen points of slices (N, FIXES, 2); NaN where there is none."""
    rows = np.broadcast_to(row[:, None], column.shape)[chosen]
    total, count = np.zeros((*shape, 2)), np.zeros(shape)
    np.add.at(total, (rows, column[chosen]), points[chosen])
    np.add.at(count, (rows, column[chosen]), 1.0)
    return np.where(count[..., None] > 0, total / np.maximum(count, 1.0)[..., None], np.nan)


def _cameras_of(held: memory.Slices, state: StateTable) -> tuple[dict[str, int], frozenset[str]]:
    """When each camera's last frame was, and which show no picture."""
    last_ms: dict[str, int] = {}
    clear: set[str] = set()
    newest_ms = (held.slice_ms + state["at_ms"][held.slots].max(axis=1, initial=-1)).tolist()
    for camera, newest, is_clear in zip(held.camera, newest_ms, state["is_clear"][held.slots].tolist(), strict=True):
        last_ms[camera] = max(last_ms.get(camera, -1), newest)
        clear |= {camera} if is_clear else set()
    return last_ms, frozenset(last_ms) - clear
