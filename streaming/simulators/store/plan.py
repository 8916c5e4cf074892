"""Floor plans of stores: what stands where, where people come in, browse, queue and pay.

Metres; x to the right, y down, origin at the top left, heights upwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
BoxKind = Literal["shelf", "counter", "wall"]

GONDOLA_M = 1.0  # across a gondola: a shelf with goods on both sides
AISLE_M = 2.2
WALL_SHELF_M = 0.6
BACK_M = 2.6  # from the back wall to the gondolas
FRONT_M = 8.0  # from the gondolas to the front wall
DOOR_M = 3.0
QUEUE_PLACES = 5
QUEUE_SPACING_M = 0.8
REACH_M = 0.5  # from a shelf to where a person stands before it


@dataclass(frozen=True)
class Box:
    """Something people cannot walk through: a rectangle on the floor, and how high it stands."""

    name: str
    kind: BoxKind
    x0_m: float
    y0_m: float
    x1_m: float
    y1_m: float
    height_m: float


@dataclass(frozen=True)
class Zone:
    """A named rectangle of floor."""

    name: str
    x0_m: float
    y0_m: float
    x1_m: float
    y1_m: float

    @property
    def polygon(self) -> Floats:
        """Its corners (4, 2), clockwise on the plan from the top left."""
        x0, y0, x1, y1 = self.x0_m, self.y0_m, self.x1_m, self.y1_m
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])

    def holds(self, x_m: Floats, y_m: Floats) -> Flags:
        """Whether points lie in it; the left and upper edges belong to it, so that zones side by side share nobody."""
        inside: Flags = (x_m >= self.x0_m) & (x_m < self.x1_m) & (y_m >= self.y0_m) & (y_m < self.y1_m)
        return inside


@dataclass(frozen=True)
class Line:
    """A counting line from a to b. Who crosses from the left of a→b, as seen on the plan, to its right goes `in`."""

    name: str
    ax_m: float
    ay_m: float
    bx_m: float
    by_m: float


@dataclass(frozen=True)
class Spot:
    """Where one stands, and which way one looks from there (radians from x towards y)."""

    x_m: float
    y_m: float
    heading_rad: float


@dataclass(frozen=True)
class FloorPlan:
    """A store.

    Raises:
        ValueError: a box or spot outside the store, a spot inside a box, no spot, no queue, or two zones, lines or
            boxes of one name.
    """

    width_m: float
    depth_m: float
    boxes: tuple[Box, ...]
    zones: tuple[Zone, ...]
    lines: tuple[Line, ...]
    way_in: Spot
    way_out: Spot
    spots: tuple[Spot, ...]  # before shelves
    queues: tuple[tuple[Spot, ...], ...]  # a checkout each; the first place is the one where one pays

    def __post_init__(self) -> None:
        if not self.spots or not self.queues or not all(self.queues):
            raise ValueError("a store needs a spot to browse at and a queue to pay in")
        for kind, named in (("boxes", self.boxes), ("zones", self.zones), ("lines", self.lines)):
            names = [thing.name for thing in named]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"two {kind} of the store are called {twice[0]!r}")
        for box in self.boxes:
            if not (0 <= box.x0_m < box.x1_m <= self.width_m and 0 <= box.y0_m < box.y1_m <= self.depth_m):
                raise ValueError(f"box {box.name!r} is empty or not within the store: {box}")
        places = np.array([(s.x_m, s.y_m) for s in (self.way_in, self.way_out, *self.spots, *sum(self.queues, ()))])
        for (x, y), free in zip(places, self.is_free(places[:, 0], places[:, 1]), strict=True):
            if not free:
                raise ValueError(f"nobody can stand at ({x:.2f}, {y:.2f}) m: inside a box or outside the store")

    @property
    def rectangles(self) -> Floats:
        """Boxes as rows x0, y0, x1, y1, height (boxes, 5)."""
        rows = [(b.x0_m, b.y0_m, b.x1_m, b.y1_m, b.height_m) for b in self.boxes]
        return np.array(rows, np.float64).reshape(-1, 5)

    def is_free(self, x_m: Floats, y_m: Floats, *, margin_m: float = 0.0) -> Flags:
        """Whether a disc of radius `margin_m` at each point (N,) touches neither box nor outer wall. The door is open:
        nothing is between it and the street."""
        x0, y0, x1, y1, _ = self.rectangles.T
        dx = np.maximum(np.maximum(x0 - x_m[:, None], x_m[:, None] - x1), 0.0)
        dy = np.maximum(np.maximum(y0 - y_m[:, None], y_m[:, None] - y1), 0.0)
        strictly_inside = (x_m[:, None] > x0) & (x_m[:, None] < x1) & (y_m[:, None] > y0) & (y_m[:, None] < y1)
        hit = (strictly_inside | (np.hypot(dx, dy) < margin_m)).any(axis=1)
        sides = (x_m >= margin_m) & (x_m <= self.width_m - margin_m) & (y_m >= margin_m) & (y_m <= self.depth_m)
        free: Flags = sides & ~hit
        return free


def supermarket(gondolas: int, gondola_m: float = 6.5, checkouts: int = 2) -> FloorPlan:
    """A store of `gondolas` parallel gondolas, shelves along three walls, checkouts and a door in front.

    Args:
        gondolas: how many; there is one aisle more.
        gondola_m: how long they are.
        checkouts: how many, each with a queue of five places.

    Raises:
        ValueError: no gondola, one shorter than 2 m, or not one checkout, or more than fit beside the door.
    """
    if gondolas < 1 or gondola_m < 2.0:
        raise ValueError(f"a store has a gondola of at least 2 m, not {gondolas} of {gondola_m} m")
    pitch_m = GONDOLA_M + AISLE_M
    width_m = 2 * WALL_SHELF_M + AISLE_M + gondolas * pitch_m
    depth_m = BACK_M + gondola_m + FRONT_M
    fit = int((width_m - DOOR_M - 2.6) // 2.0)
    if not 1 <= checkouts <= fit:
        raise ValueError(f"a store of {gondolas} gondolas has room for 1 to {fit} checkouts, not {checkouts}")
    near_y, far_y = BACK_M, BACK_M + gondola_m
    aisle_x = [WALL_SHELF_M + i * pitch_m for i in range(gondolas + 1)]
    rows = [
        Box(f"gondola-{i + 1}", "shelf", x + AISLE_M, near_y, x + pitch_m, far_y, 1.55)
        for i, x in enumerate(aisle_x[:-1])
    ]
    walls = [
        Box("shelf-back", "shelf", 1.2, 0.0, width_m - 1.2, WALL_SHELF_M, 2.0),
        Box("shelf-left", "shelf", 0.0, near_y, WALL_SHELF_M, far_y, 2.0),
        Box("shelf-right", "shelf", width_m - WALL_SHELF_M, near_y, width_m, far_y, 2.0),
    ]
    door_x0, door_x1 = 1.2, 1.2 + DOOR_M
    porch = [
        Box("porch-left", "wall", door_x0 - 0.2, depth_m - 1.2, door_x0, depth_m, 2.3),
        Box("porch-right", "wall", door_x1, depth_m - 1.2, door_x1 + 0.2, depth_m, 2.3),
    ]
    counter_x = [width_m - 1.5 - 2.0 * i for i in range(checkouts)]
    counters = [
        Box(f"checkout-{i + 1}", "counter", x, depth_m - 4.4, x + 0.7, depth_m - 2.6, 0.95)
        for i, x in enumerate(counter_x)
    ]
    boxes = (*rows, *walls, *porch, *counters)
    queues = tuple(
        tuple(
            Spot(x - REACH_M, depth_m - 3.5 - place * QUEUE_SPACING_M, np.pi / 2 if place else 0.0)
            for place in range(QUEUE_PLACES)
        )
        for x in counter_x
    )
    zones = (
        Zone("entrance", door_x0, depth_m - 3.2, door_x1, depth_m - 1.2),
        Zone("back", WALL_SHELF_M, WALL_SHELF_M, width_m - WALL_SHELF_M, near_y),
        *(Zone(f"aisle-{i + 1}", x, near_y, x + AISLE_M, far_y) for i, x in enumerate(aisle_x)),
        *(
            Zone(f"queue-{i + 1}", x - 1.0, depth_m - 3.9 - QUEUE_PLACES * QUEUE_SPACING_M, x, depth_m - 3.1)
            for i, x in enumerate(counter_x)
        ),
    )
    lines = (
        Line("door", door_x1, depth_m - 0.8, door_x0, depth_m - 0.8),
        Line("shelves", width_m, far_y + 0.6, 0.0, far_y + 0.6),
    )
    return FloorPlan(
        width_m=width_m,
        depth_m=depth_m,
        boxes=boxes,
        zones=zones,
        lines=lines,
        way_in=Spot(door_x0 + 0.8, depth_m - 0.1, -np.pi / 2),
        way_out=Spot(door_x1 - 0.8, depth_m - 0.1, np.pi / 2),
        spots=tuple(spot for box in (*rows, *walls) for spot in _before(box, width_m)),
        queues=queues,
    )


def _before(box: Box, width_m: float) -> list[Spot]:
    """Spots a metre apart along the sides of a shelf that people can reach."""
    if box.x1_m - box.x0_m > box.y1_m - box.y0_m:
        return [Spot(x, box.y1_m + REACH_M, -np.pi / 2) for x in np.arange(box.x0_m + 0.5, box.x1_m, 1.0)]
    ys = np.arange(box.y0_m + 0.5, box.y1_m, 1.0)
    left = [Spot(box.x0_m - REACH_M, y, 0.0) for y in ys] if box.x0_m > 0.0 else []
    right = [Spot(box.x1_m + REACH_M, y, np.pi) for y in ys] if box.x1_m < width_m else []
    return left + right
