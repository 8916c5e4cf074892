"""Who crosses a line: counted by how people near it move, not by who they are said to be.

A tracker loses people, swaps two that meet, and gives new numbers, and it does so where it is narrow: at a door. So
near a line everybody is followed anew, as *walkers*: from step to step, walkers and people seen are paired at the least
cost (Kuhn 1955, as scipy has it), the cost being the distance from where the walker's speed would have taken them, and
more for another identity. A walker may become another person only if theirs has vanished or is itself near the line,
and the other one was not there a step before or is near the line.

A walker that was clear of the line on one side and is clear of it on the other has crossed it, if the way between led
through the segment. So trembling at the line counts nothing, nor does walking around its ends. Whoever appears within
the band has no side until they leave it. All distances are in units of the line's `band`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from streaming.store.carry import Walker
from streaming.store.geometry import Bools, Floats, distance_to, passes_between, side_of
from streaming.store.plan import Line
from streaming.store.stays import STEP_MS

NEAR = 6.0
"""Bands from the line within which people are followed."""
GATE = 4.0
"""Bands that another identity may be away from where a walker should be."""
SAME_GATE = 6.0
"""The same for the walker's own."""
SWITCH_COST = 1.0
"""Bands by which another identity must fit better."""
PATIENCE_MS = 3_000
"""Out of sight for longer, a walker is given up."""

_MAX_AHEAD_S = 1.0  # nobody walks straight on for longer
_INFEASIBLE = 1e9


class Crossing(NamedTuple):
    """One person over one line."""

    line: str
    time_ms: int
    person: str
    direction: int  # 1 in (left to right), -1 out


def fold_line(
    line: Line,
    start_ms: int,
    names: Sequence[str],
    points: Floats,
    to_the_end: Bools,
    was_here: Bools,
    walkers: Sequence[Walker],
) -> tuple[list[Crossing], list[Walker]]:
    """Count one window at one line.

    Args:
        line: which.
        start_ms: of the window.
        names: of P people.
        points: (P, T, 2) where they stood last at each step, in the line's units; NaN out of sight.
        to_the_end: (P, T) whether that was in the step's last frame. Who was gone by then may have come back in it as
            somebody else.
        was_here: (P,) seen in the step before the window.
        walkers: near the line as the window begins.

    Returns:
        The crossings in order of time, and the walkers near the line as the window ends.
    """
    seen = ~np.isnan(points[..., 0])
    near = seen & (distance_to(line.start, line.end, np.nan_to_num(points)) <= NEAR * line.band)
    was_seen = np.concatenate([was_here[:, None], seen[:, :-1]], axis=1)
    crossings: list[Crossing] = []
    followed = [replace(walker) for walker in walkers]
    for step in range(points.shape[1]):
        now_ms = start_ms + step * STEP_MS
        followed = [walker for walker in followed if now_ms - walker.seen_ms <= PATIENCE_MS]
        if not near[:, step].any() and not followed:
            continue
        elsewhere = {names[person] for person in np.flatnonzero(seen[:, step] & ~near[:, step]).tolist()}
        followed = [walker for walker in followed if walker.person not in elsewhere]
        for in_last_frame in (False, True):
            here = np.flatnonzero(near[:, step] & (to_the_end[:, step] == in_last_frame)).tolist()
            people, at = [names[person] for person in here], points[here, step]
            may_take = ~was_seen[here, step] & in_last_frame
            time_ms = now_ms if in_last_frame else now_ms - STEP_MS // 2
            pairs = _pairs(line, followed, people, at, may_take, time_ms, only_own=not in_last_frame)
            paired = {person for _, person in pairs}
            for walker, person in pairs:
                crossing = _moved(line, followed[walker], people[person], at[person], time_ms)
                crossings += [crossing] if crossing else []
            followed += [_new(line, people[i], at[i], time_ms) for i in range(len(people)) if i not in paired]
    return crossings, followed


def _pairs(
    line: Line,
    walkers: Sequence[Walker],
    people: Sequence[str],
    at: Floats,
    may_take: Bools,
    now_ms: int,
    *,
    only_own: bool,
) -> list[tuple[int, int]]:
    """Which walker is which of the people here; both by number."""
    if not walkers or not people:
        return []
    ahead_s = np.array([min((now_ms - walker.seen_ms) / 1000, _MAX_AHEAD_S) for walker in walkers])
    position = np.array([(walker.x, walker.y) for walker in walkers])
    speed = np.array([(walker.x_per_s, walker.y_per_s) for walker in walkers])
    expected = position + speed * ahead_s[:, None]
    distance = np.linalg.norm(expected[:, None] - at[None], axis=-1) / line.band
    own = np.array([[walker.person == person for person in people] for walker in walkers])
    may_take = (may_take | own.any(axis=0)) & (not only_own)  # (P,) this person may be another walker
    cost = np.where(own, distance, distance + SWITCH_COST)
    cost = np.where(own & (distance <= SAME_GATE) | ~own & may_take & (distance <= GATE), cost, _INFEASIBLE)
    rows, columns = linear_sum_assignment(cost)
    chosen = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(walker, person) for walker, person in chosen if cost[walker, person] < _INFEASIBLE]


def _new(line: Line, person: str, at: Floats, now_ms: int) -> Walker:
    x, y = at.tolist()
    side = _clear_side(line, at)
    return Walker(person, x, y, 0.0, 0.0, now_ms, side, x, y)


def _moved(line: Line, walker: Walker, person: str, at: Floats, now_ms: int) -> Crossing | None:
    """Take the walker to where they are now."""
    x, y = at.tolist()
    passed_s = (now_ms - walker.seen_ms) / 1000
    walker.person, walker.seen_ms = person, now_ms
    walker.x_per_s, walker.y_per_s = (x - walker.x) / passed_s, (y - walker.y) / passed_s
    walker.x, walker.y = x, y
    side = _clear_side(line, at)
    if side == 0:
        return None
    crossed = side == -walker.side and passes_between(line.start, line.end, (walker.clear_x, walker.clear_y), (x, y))
    walker.side, walker.clear_x, walker.clear_y = side, x, y
    return Crossing(line.name, now_ms, person, side) if crossed else None


def _clear_side(line: Line, at: Floats) -> int:
    across = float(side_of(line.start, line.end, at))
    return 0 if abs(across) < line.band else (1 if across > 0 else -1)
