"""One window counted: slices become positions, positions become stays, crossings and heat.

Who is where is known from what was seen around the window as well (`streaming.store.presence`): who is out of sight as
it ends is in the store if they are seen again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.event_time import Ints
from streaming.state import StateTable
from streaming.store import memory
from streaming.store.carry import Carry, Crossed, Walker
from streaming.store.crossings import NEAR, Crossing, fold_line
from streaming.store.geometry import Bools, Floats, contains, distance_to
from streaming.store.memory import FIX_MS, NOBODY, SLICE_MS, unlinked
from streaming.store.observed import Observed
from streaming.store.plan import STORE, StorePlan
from streaming.store.presence import MOST_INSIDE_MS, MOST_MS, bridged, doubles, elsewhere
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
    """Where P people stood at T steps: persons by their names, then tracks without."""

    names: list[str]
    floor: Floats  # (P, T, 2) in metres: the mean over the cameras that saw them there; NaN where none did
    pixels: dict[str, Floats]  # by camera, (P, T, 2), of those that no floor position is known for
    anywhere: Bools  # (P, T), but for second names of who is there already
    is_double: Bools  # (P, T) these second names


class Around(NamedTuple):
    """Who was where in some windows, and before and after them; gaps of sight are filled."""

    first_ms: int
    seen: _Seen
    present: Bools  # (P, T)
    floor: Floats  # (P, T, 2)


class WindowCount:
    """Counts windows of one plan.

    Args:
        plan: of the store.
        horizon_ms: how long after a window closed it is counted again.
    """

    def __init__(self, plan: StorePlan, horizon_ms: int) -> None:
        self._plan = plan
        names = [*(zone.name for zone in plan.zone), STORE]
        leave_s = [*(plan.leave_s for _ in plan.zone), plan.gone_s]
        stay_s = [*(zone.min_stay_s for zone in plan.zone), 0.0]
        milliseconds = [np.rint(np.array(values) * 1000).astype(np.int64) for values in (leave_s, stay_s)]
        self._rules = Rules(names, *milliseconds)
        self._most_steps = min(round(plan.gone_s * 1000), MOST_MS) // STEP_MS
        self._entrances = [line for line in plan.line if line.entrance]
        # Where an entrance is drawn into a picture, nobody knows how far from it somebody stands.
        knows_inside = bool(self._entrances) and all(line.camera is None for line in self._entrances)
        self._most_inside_steps = min(horizon_ms, MOST_INSIDE_MS) // STEP_MS if knows_inside else 0
        self._lines = [line.name for line in plan.line]
        self._cameras = [camera.name for camera in plan.camera]

    @property
    def around_ms(self) -> int:
        """What was seen so long before a window and after it may change who is in it; a multiple of `SLICE_MS`."""
        most_steps = max(self._most_steps, self._most_inside_steps)
        return -(-(most_steps + 1) * STEP_MS // SLICE_MS) * SLICE_MS

    def around(self, start_ms: int, end_ms: int, known_ms: int, state: StateTable) -> Around:
        """Who was where in [start, end), and before and after.

        Args:
            start_ms: of the first of some windows.
            end_ms: of the last.
            known_ms: end of the windows that are over: what comes later is as if it were not known yet.
            state: what is remembered.
        """
        first_ms, last_ms = start_ms - self.around_ms, min(end_ms + self.around_ms, max(known_ms, end_ms))
        seen = self._seen(first_ms, last_ms, state)
        present, floor = self._bridged(seen)
        return Around(first_ms, seen, present, floor)

    def __call__(
        self, start_ms: int, size_ms: int, before: Carry, around: Around, state: StateTable, was: Carry | None = None
    ) -> Counted:
        """Count what the state remembers of [start, start + size), going on from what the window before handed on.

        Args:
            start_ms: of the window.
            size_ms: its length.
            before: what the window before handed on.
            around: who was where, in this window and around it.
            state: what is remembered.
            was: what this window handed on when it was counted last, if nobody has been seen in it or before it since,
                or by another name.
        """
        before = before.known_to(self._rules.zones, self._lines, self._cameras)
        end_ms = start_ms + size_ms
        columns = slice((start_ms - around.first_ms) // STEP_MS, (end_ms - around.first_ms) // STEP_MS)
        names, inside = self._inside(around, columns, before)
        stays = fold_stays(start_ms, names, inside, self._rules, before.people)
        held = memory.slices(state, start_ms, end_ms)
        if was is not None and was.crossed is not None and was.crossed.keys() >= set(self._lines):
            crossed, walkers = was.crossed, was.walkers
        else:
            crossed, walkers = self._followed(held, end_ms, before, state)
        crossings = [Crossing(line, *one) for line in self._lines for one in crossed[line]]
        cameras, covered = _cameras_of(held, state)
        carry = Carry(stays.people_after, walkers, before.cameras | cameras, crossed)
        heat = self._heat(around.seen.floor[:, columns])
        return Counted(start_ms, end_ms, stays, tuple(crossings), heat, covered, carry)

    def _followed(
        self, held: memory.Slices, end_ms: int, before: Carry, state: StateTable
    ) -> tuple[dict[str, list[Crossed]], dict[str, list[Walker]]]:
        """Who crossed each line, and who is near it as the window ends."""
        places = _places(_Fixes.of(held, state))
        crossed, walkers = dict[str, list[Crossed]](), dict[str, list[Walker]]()
        for line in self._plan.line:
            observed = places.get(line.camera, _NOTHING)
            found, left = fold_line(line, end_ms, observed, before.walkers.get(line.name, ()))
            crossed[line.name] = [Crossed(*one[1:]) for one in found]
            if left:
                walkers[line.name] = left
        return crossed, walkers

    def changed_by(self, start_ms: int, size_ms: int, state: StateTable) -> int | None:
        """Since when, before `start_ms`, somebody is known to have been out of sight by what [start, start + size) saw;
        None where nobody is."""
        first_ms = start_ms - self.around_ms
        seen = self._seen(first_ms, start_ms + size_ms, state)
        steps = (start_ms - first_ms) // STEP_MS
        earlier = _Seen(seen.names, seen.floor[:, :steps], {}, seen.anywhere[:, :steps], seen.is_double[:, :steps])
        (was, was_at), (now, now_at) = self._bridged(earlier), self._bridged(seen)
        is_same = (was_at == now_at[:, :steps]) | (np.isnan(was_at) & np.isnan(now_at[:, :steps]))
        changed = (was != now[:, :steps]) | ~is_same.all(axis=-1)
        columns = np.flatnonzero(changed.any(axis=0))
        return first_ms + int(columns[0]) * STEP_MS if len(columns) else None

    def _seen(self, start_ms: int, end_ms: int, state: StateTable) -> _Seen:
        fixes = _Fixes.of(memory.slices(state, start_ms, end_ms), state)
        return _positions(fixes, start_ms, (end_ms - start_ms) // STEP_MS)

    def _bridged(self, seen: _Seen) -> tuple[Bools, Floats]:
        """(P, T) who is in the store, and (P, T, 2) where."""
        is_inside: Bools = np.ones(seen.anywhere.shape, bool)
        for line in self._entrances:
            is_inside &= distance_to(line.start, line.end, seen.floor) > NEAR * line.band
        longest = self._most_steps, self._most_inside_steps
        return bridged(seen.anywhere, seen.floor, seen.is_double, is_inside, *longest)

    def _inside(self, around: Around, columns: slice, before: Carry) -> tuple[list[str], Bools]:
        """Who was in the store in a window, or was before it; and (P, T, Z + 1) in which zones at each step."""
        present, seen = around.present[:, columns], around.seen
        # Who was seen only around the window is not counted in it.
        rows = [r for r, name in enumerate(seen.names) if present[r].any() or name in before.people]
        unseen = before.people.keys() - set(seen.names)
        names = sorted([*(seen.names[row] for row in rows), *unseen], key=_in_order)
        number = {name: at for at, name in enumerate(names)}
        at = [number[seen.names[row]] for row in rows]
        inside: Bools = np.zeros((len(names), present.shape[1], len(self._rules.zones)), bool)
        for zone_number, zone in enumerate(self._plan.zone):
            points = around.floor if zone.camera is None else seen.pixels.get(zone.camera)
            if points is not None:
                inside[at, :, zone_number] = contains(zone.corners, points[rows, columns])
        inside[at, :, -1] = present[rows]
        return names, inside

    def _heat(self, floor: Floats) -> Heat:
        plan = self._plan.floor
        if plan is None:
            return Heat(np.empty(0, np.int64), np.empty(0))
        column, row = (np.floor(floor[..., axis] / plan.cell_m) for axis in (0, 1))
        on_plan = (column >= 0) & (column < plan.columns) & (row >= 0) & (row < plan.rows)
        cells, steps = np.unique((row * plan.columns + column)[on_plan].astype(np.int64), return_counts=True)
        return Heat(cells, np.asarray(steps * (STEP_MS / 1000), np.float64))


class _Fixes(NamedTuple):
    """Where cameras saw people, N slices of tracks with so many fixes each. Cameras come in one order, or a mean would
    hang on the order of slots."""

    who: list[str]
    camera: npt.NDArray[np.object_]  # (N,)
    track: Ints  # (N,)
    at_ms: Ints  # (N, FIXES)
    points: Floats  # (N, FIXES, 2) in metres on the floor, or in pixels
    there: Bools  # (N, FIXES)
    on_floor: Bools  # (N, FIXES) of those that are there
    on_picture: dict[str, Bools]  # by camera, (N, FIXES), the others

    @classmethod
    def of(cls, held: memory.Slices, state: StateTable) -> _Fixes:
        """Of all slices that show somebody."""
        order = sorted(range(len(held.camera)), key=lambda i: (held.camera[i], held.track[i]))
        order = [i for i in order if held.track[i] != NOBODY]
        slots = held.slots[order]
        there, is_floor = state["at_ms"][slots] >= 0, state["is_floor"][slots]
        camera = np.array([held.camera[i] for i in order], dtype=object)
        pictured = there & ~is_floor
        return cls(
            [held.person[i] or unlinked(held.camera[i], held.track[i]) for i in order],
            camera,
            np.array([held.track[i] for i in order], dtype=np.int64),
            held.slice_ms[order][:, None] + state["at_ms"][slots],
            np.stack([state["x"][slots], state["y"][slots]], axis=-1).astype(np.float64),
            there,
            there & is_floor,
            {
                str(name): pictured & (camera == name)[:, None]
                for name in np.unique(camera[pictured.any(axis=1)].astype(str))
            },
        )


def _in_order(name: str) -> tuple[bool, str]:
    """Persons by their names, then tracks without."""
    return "#" in name, name


def _positions(fixes: _Fixes, start_ms: int, steps: int) -> _Seen:
    """Of all that were seen."""
    there, column = fixes.there, np.where(fixes.there, fixes.at_ms - start_ms, 0) // STEP_MS
    newest = there.copy()  # of a step the last place holds, however many there are in it
    for later in range(1, STEP_MS // FIX_MS + 1):
        newest[:, :-later] &= ~(there[:, later:] & (column[:, later:] == column[:, :-later]))
    names, row = _rows(fixes, newest & fixes.on_floor, column)
    shape = (len(names), steps)
    anywhere: Bools = np.zeros(shape, bool)
    anywhere[row[there], column[there]] = True
    pixels = {
        camera: _mean(shape, row, column, fixes.points, newest & here) for camera, here in fixes.on_picture.items()
    }
    floor = _mean(shape, row, column, fixes.points, newest & fixes.on_floor)
    seers, seer = np.unique(fixes.camera.astype(str), return_inverse=True)
    placed: Bools = np.zeros((len(seers), *shape), bool)
    np.logical_or.at(placed, (seer[:, None], row, column), fixes.on_floor)
    is_double = doubles(placed, floor)
    floor[is_double], anywhere[is_double] = np.nan, False
    return _Seen(names, floor, pixels, anywhere, is_double)


def _rows(fixes: _Fixes, placed: Bools, column: Ints) -> tuple[list[str], Ints]:
    """People in order, and which of them each fix (N, FIXES) shows. What is `placed` elsewhere than its name is another
    person: whoever its own track shows."""
    whose = {name: number for number, name in enumerate(sorted(set(fixes.who)))}
    person = np.array([whose[name] for name in fixes.who], dtype=np.int64)
    stray = elsewhere(person, column, fixes.points, placed) & fixes.there
    tracks = [unlinked(str(camera), track) for camera, track in zip(fixes.camera, fixes.track.tolist(), strict=True)]
    who = np.where(stray, np.array(tracks, object)[:, None], np.array(fixes.who, object)[:, None])
    names = sorted(set(who.ravel().tolist()), key=_in_order)
    number = {name: row for row, name in enumerate(names)}
    return names, np.array([number[name] for name in who.ravel().tolist()], dtype=np.int64).reshape(who.shape)


def _places(fixes: _Fixes) -> dict[str | None, Observed]:
    """Sightings one by one, on the floor (None) or in a camera's picture."""
    return {None: _observed(fixes, fixes.on_floor)} | {
        camera: _observed(fixes, here) for camera, here in fixes.on_picture.items()
    }


def _observed(fixes: _Fixes, chosen: Bools) -> Observed:
    """The chosen places, in order of time."""
    slices, fix = np.nonzero(chosen)
    order = np.lexsort([fixes.track[slices], fixes.camera[slices].astype(str), fixes.at_ms[slices, fix]])
    slices, fix = slices[order], fix[order]
    camera, person = fixes.camera[slices].tolist(), [fixes.who[i] for i in slices.tolist()]
    return Observed(fixes.at_ms[slices, fix], camera, fixes.track[slices], person, fixes.points[slices, fix])


_NOTHING = Observed(np.empty(0, np.int64), [], np.empty(0, np.int64), [], np.empty((0, 2)))


def _mean(shape: tuple[int, int], row: Ints, column: Ints, points: Floats, chosen: Bools) -> Floats:
    """(P, T, 2) mean of the chosen points of slices (N, FIXES, 2); NaN where there is none."""
    rows = row[chosen]
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
