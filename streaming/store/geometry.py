"""Plane geometry on arrays: points in polygons, sides of a line, and what makes a polygon one.

Axes as in images and on the floor plan: x to the right, y down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Point = tuple[float, float]


def contains(polygon: Floats, points: Floats) -> Bools:
    """Which points lie in a polygon, by the crossing number of a ray to the right.

    An edge owns its lower end in y and not its upper, and a point on an edge counts where the inside is to its right or
    below: so polygons that share an edge share no point and leave none out. NaN lies in none.

    Args:
        polygon: (V, 2) corners in either direction; not closed by a repeated corner.
        points: (..., 2).
    """
    x, y = points[..., 0, None], points[..., 1, None]
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    spans = (y0 <= y) != (y1 <= y)
    rise = np.where(y0 == y1, 1.0, y1 - y0)
    # From the same end of an edge whichever polygon asks, or rounding would put a point in both neighbours or in none.
    up = y0 < y1
    from_x, from_y, to_x = np.where(up, x0, x1), np.where(up, y0, y1), np.where(up, x1, x0)
    at_x = from_x + (y - from_y) * ((to_x - from_x) / np.abs(rise))
    odd: Bools = (spans & (x < at_x)).sum(axis=-1) % 2 == 1
    return odd


def problem_of(polygon: Sequence[Point]) -> str | None:
    """Why this is no polygon, in words; None if it is one."""
    if len(polygon) < 3:
        return f"has {len(polygon)} corners; a polygon has 3 or more"
    if not all(math.isfinite(value) for corner in polygon for value in corner):
        return "has a corner that is not finite"
    for number, corner in enumerate(polygon):
        if corner in polygon[:number]:
            return f"has the corner {_shown(corner)} twice; leave out the last one if it closes the polygon"
    edges = list(zip(polygon, [*polygon[1:], polygon[0]], strict=True))
    for i, edge in enumerate(edges):
        for j in range(i + 1, len(edges)):
            beside = j == i + 1 or (i == 0 and j == len(edges) - 1)
            if _folds_back(edge, edges[j]) if beside else _touch(edge, edges[j]):
                return (
                    f"crosses itself: the edge {_shown(edge[0])}-{_shown(edge[1])} meets "
                    f"{_shown(edges[j][0])}-{_shown(edges[j][1])}"
                )
    if area_of(polygon) == 0.0:
        return "has no area"
    return None


def area_of(polygon: Sequence[Point]) -> float:
    """Area by the shoelace formula."""
    following = [*polygon[1:], polygon[0]]
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(polygon, following, strict=True))) / 2


def side_of(start: Point, end: Point, points: Floats) -> Floats:
    """Signed distance of points (..., 2) from the straight line through both ends (...,): above 0 to the right of
    whoever looks from start to end."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    across: Floats = (dx * (points[..., 1] - start[1]) - dy * (points[..., 0] - start[0])) / math.hypot(dx, dy)
    return across


def distance_to(start: Point, end: Point, points: Floats) -> Floats:
    """Distance of points (..., 2) from the segment (...,)."""
    along = np.asarray(end) - np.asarray(start)
    offset = points - np.asarray(start)
    share = np.clip((offset @ along) / (along @ along), 0.0, 1.0)
    return np.asarray(np.linalg.norm(offset - share[..., None] * along, axis=-1))


def passes_between(start: Point, end: Point, before: Point, after: Point) -> bool:
    """Whether the way from one side of the line to the other leads through the segment, and not around its ends."""
    towards = (_turn(before, after, start), _turn(before, after, end))
    return towards[0] * towards[1] <= 0.0


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _touch(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two segments have a point in common."""
    (a, b), (c, d) = one, other
    turns = (_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b))
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    ends = ((turns[0], a, b, c), (turns[1], a, b, d), (turns[2], c, d, a), (turns[3], c, d, b))
    return any(turn == 0 and _within(p, q, r) for turn, p, q, r in ends)


def _within(a: Point, b: Point, c: Point) -> bool:
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _folds_back(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two edges with a common corner lie upon each other."""
    corner = other[0] if one[1] == other[0] else other[1]
    a, b = (one[0] if corner == one[1] else one[1]), (other[1] if corner == other[0] else other[0])
    ahead = (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1])
    return _turn(a, corner, b) == 0 and ahead > 0


def _shown(corner: Point) -> str:
    return f"({corner[0]:g}, {corner[1]:g})"
