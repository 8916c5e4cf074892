"""The empty store as a camera sees it: floor, walls, shelves with goods, and which box each pixel shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from streaming.simulators.store.cameras import NEAR_M, Camera
from streaming.simulators.store.dolls import Pixels
from streaming.simulators.store.plan import Box, Flags, Floats, FloorPlan

Colour = tuple[float, float, float]

CEILING_M = 3.4
_FLOOR: Colour = (196, 201, 208)
_JOINT: Colour = (180, 186, 194)
_MAT: Colour = (74, 82, 96)
_CEILING: Colour = (226, 230, 235)
_LAMP: Colour = (252, 253, 255)
_WALL: Colour = (214, 219, 226)
_BAND: Colour = (76, 155, 232)
_GLASS: Colour = (186, 214, 232)
_FRAME: Colour = (122, 132, 146)
_BOARD: Colour = (232, 235, 239)
_INSIDE: Colour = (92, 100, 113)
_COUNTER: Colour = (150, 158, 170)
_BELT: Colour = (52, 58, 68)
_GOODS = np.array(
    [[98, 150, 200], [206, 128, 96], [104, 168, 140], [206, 180, 104], [196, 102, 96], [222, 224, 226], [150, 128, 176],
     [120, 136, 152], [228, 200, 168], [88, 118, 150]],
    np.float64,
)  # fmt: skip
_TEXELS_PER_M = 40
_PITCH_M = 0.42  # from one board of a shelf to the next


class Backdrop(NamedTuple):
    """A camera's picture of the empty store."""

    rgb: Pixels  # (H, W, 3)
    box: Pixels  # (H, W): 1 + index of the plan's box that the pixel shows, 0 for none


class _Canvas:
    """A camera's picture, on which flat pieces of the store are painted one over the other."""

    def __init__(self, camera: Camera, rgb: Pixels) -> None:
        self._camera, self.rgb = camera, rgb
        self.box = np.zeros(rgb.shape[:2], np.uint8)
        self._eye = np.array([camera.x_m, camera.y_m, camera.height_m])
        # Planes of what is seen, n·(right, down, forward) ≥ 0: wider than the picture, lest an edge show at its rim.
        f, half_w, half_h = camera.focal_px, camera.width_px / 2 + 8, camera.height_px / 2 + 8
        self._planes = np.array([[f, 0, half_w], [-f, 0, half_w], [0, f, half_h], [0, -f, half_h]], np.float64)

    def fill(self, corners_m: Floats, colour: Sequence[float] | Floats, box: int = 0) -> None:
        """Paint a flat convex piece (corners, 3); what is behind or beside the camera is cut off."""
        seen = (corners_m - self._eye) @ self._camera.axes.T
        seen = _cut(seen, seen[:, 2] - NEAR_M)
        for plane in self._planes:
            if len(seen) < 3:
                return
            seen = _cut(seen, seen @ plane)
        if len(seen) < 3:
            return
        fixed = self._fixed(seen)
        cv2.fillConvexPoly(self.rgb, fixed, tuple(float(c) for c in colour), lineType=cv2.LINE_AA, shift=4)
        if box:
            cv2.fillConvexPoly(self.box, fixed, box, shift=4)

    def fill_all(self, corners_m: Floats, colours: Floats) -> None:
        """Paint many small pieces (N, corners, 3) in their colours (N, 3), in this order."""
        seen = (corners_m - self._eye) @ self._camera.axes.T
        sides: Flags = np.concatenate([seen @ self._planes.T, seen[..., 2:] - NEAR_M], axis=2) >= 0  # by plane
        whole: Flags = np.all(sides, axis=(1, 2))
        gone: Flags = ~np.all(np.any(sides, axis=1), axis=1)  # all corners beyond one plane
        fixed = self._fixed(np.where(whole[:, None, None], seen, 1.0))
        for piece in np.flatnonzero(~gone).tolist():
            if whole[piece]:
                cv2.fillConvexPoly(self.rgb, fixed[piece], colours[piece].tolist(), lineType=cv2.LINE_AA, shift=4)
            else:
                self.fill(corners_m[piece], colours[piece])

    def _fixed(self, seen: Floats) -> npt.NDArray[np.int32]:
        """Points before the camera as OpenCV's pixels with four bits behind the point."""
        centre = np.array([self._camera.width_px, self._camera.height_px]) / 2 - 0.5
        return np.round((seen[..., :2] / seen[..., 2:] * self._camera.focal_px + centre) * 16).astype(np.int32)


def _cut(points: Floats, side: Floats) -> Floats:
    """The part of a polygon (N, 3) where `side` (N,) is not negative (Sutherland and Hodgman)."""
    if (side >= 0).all():
        return points
    kept = []
    for i in range(len(points)):
        j = (i + 1) % len(points)
        if side[i] >= 0:
            kept.append(points[i])
        if (side[i] >= 0) != (side[j] >= 0):
            kept.append(points[i] + (points[j] - points[i]) * (side[i] / (side[i] - side[j])))
    return np.array(kept).reshape(-1, 3)


def draw_backdrop(plan: FloorPlan, camera: Camera, seed: int = 0) -> Backdrop:
    """The store without people, in even light: the camera's look is not in it.

    Args:
        plan: the store; with more than 255 boxes the nearest pixels' boxes could not be told apart.
        camera: where from, and how many pixels.
        seed: of the goods on the shelves, which are the same for all cameras.

    Raises:
        ValueError: more than 255 boxes.
    """
    if len(plan.boxes) > 255:
        raise ValueError(f"a store that is drawn has at most 255 boxes, not {len(plan.boxes)}")
    canvas = _Canvas(camera, _floor(plan, camera))
    _room(canvas, plan)
    order = np.argsort([_distance(box, camera) for box in plan.boxes])[::-1]
    for index in _behind_first(plan, camera, order.tolist()):
        _box(canvas, plan.boxes[index], camera, index + 1, np.random.default_rng([seed, 5, index]))
    return Backdrop(canvas.rgb, canvas.box)


def may_hide(plan: FloorPlan, camera: Camera, xy_m: Floats) -> Flags:
    """Which boxes can stand between the camera and points outside them: (N, 2) to (N, boxes).

    A box hides a point only if no side of it has the point and the camera beyond it and the box on this side.
    """
    x0, y0, x1, y1, _ = plan.rectangles.T
    x, y = xy_m[:, :1], xy_m[:, 1:]
    apart = (
        ((x <= x0) & (camera.x_m <= x0))
        | ((x >= x1) & (camera.x_m >= x1))
        | ((y <= y0) & (camera.y_m <= y0))
        | ((y >= y1) & (camera.y_m >= y1))
    )
    hides: Flags = ~apart
    return hides


def _behind_first(plan: FloorPlan, camera: Camera, boxes: list[int]) -> Iterator[int]:
    """Boxes in an order in which none is painted over one that hides it."""
    x0, y0, x1, y1, _ = plan.rectangles.T
    hides = may_hide(plan, camera, np.stack([x0 + x1, y0 + y1], axis=1) / 2)
    np.fill_diagonal(hides, False)
    left = list(boxes)
    while left:
        # In front of nothing that is left; of boxes that seem to hide each other, the furthest first.
        ready = next((box for box in left if not hides[left, box].any()), left[0])
        left.remove(ready)
        yield ready


def _distance(box: Box, camera: Camera) -> float:
    dx = max(box.x0_m - camera.x_m, 0.0, camera.x_m - box.x1_m)
    dy = max(box.y0_m - camera.y_m, 0.0, camera.y_m - box.y1_m)
    return float(np.hypot(dx, dy))


def _floor(plan: FloorPlan, camera: Camera) -> Pixels:
    """Tiles, darker next to what stands on them, and a mat at the door; above the horizon the ceiling."""
    height, width = (round(side * _TEXELS_PER_M) for side in (plan.depth_m, plan.width_m))
    tiles = np.full((height, width, 3), _FLOOR, np.uint8)
    step = int(0.6 * _TEXELS_PER_M)
    tiles[::step], tiles[:, ::step] = _JOINT, _JOINT
    shade = np.ones((height, width), np.float32)
    for box in plan.boxes:
        x0, y0, x1, y1 = (round(v * _TEXELS_PER_M) for v in (box.x0_m, box.y0_m, box.x1_m, box.y1_m))
        shade[max(0, y0 - 8) : y1 + 8, max(0, x0 - 8) : x1 + 8] = 0.72
    tiles = (tiles * cv2.GaussianBlur(shade, (0, 0), 8)[..., None]).astype(np.uint8)
    x, y = plan.way_in.x_m, plan.depth_m
    x0, x1 = (round(v * _TEXELS_PER_M) for v in (x - 0.6, plan.way_out.x_m + 0.6))
    tiles[round((y - 1.6) * _TEXELS_PER_M) : round((y - 0.2) * _TEXELS_PER_M), x0:x1] = _MAT
    # Whole numbers are the middles of texels and pixels to OpenCV.
    scale = 1 / _TEXELS_PER_M
    texels = np.array([[scale, 0.0, scale / 2], [0.0, scale, scale / 2], [0.0, 0.0, 1.0]])
    pixels = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
    matrix = pixels @ camera.homography @ texels
    size = (camera.width_px, camera.height_px)
    picture: Pixels = cv2.warpPerspective(  # type: ignore[assignment]
        tiles, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_FLOOR
    )
    horizon = camera.height_px / 2 - camera.focal_px * np.tan(np.deg2rad(camera.tilt_deg))
    picture[: max(0, int(np.ceil(horizon)))] = _CEILING
    return picture


def _room(canvas: _Canvas, plan: FloorPlan) -> None:
    """Walls with a band of colour, the door, the ceiling and its lamps."""
    w, d = plan.width_m, plan.depth_m
    canvas.fill(np.array([[0, 0, CEILING_M], [w, 0, CEILING_M], [w, d, CEILING_M], [0, d, CEILING_M]]), _CEILING)
    for x in np.arange(1.7, w - 0.5, 3.2):
        for y in np.arange(1.2, d - 1.5, 2.6):
            canvas.fill(_flat(x - 0.12, y, x + 0.12, y + 1.5, CEILING_M), _LAMP)
    for (ax, ay), (bx, by), light in (
        ((0, 0), (w, 0), 1.0),
        ((w, d), (0, d), 0.97),
        ((0, d), (0, 0), 0.93),
        ((w, 0), (w, d), 0.93),
    ):
        for low, high, colour in ((0.0, CEILING_M, _WALL), (0.0, 0.12, _FRAME), (2.35, 2.55, _BAND)):
            canvas.fill(_upright((ax, ay), (bx, by), low, high), np.array(colour) * light)
    left, right = plan.way_in.x_m - 0.75, plan.way_out.x_m + 0.75
    canvas.fill(_upright((right, d - 0.01), (left, d - 0.01), 0.0, 2.2), _FRAME)
    for ax, bx in ((left + 0.06, (left + right) / 2 - 0.03), ((left + right) / 2 + 0.03, right - 0.06)):
        canvas.fill(_upright((bx, d - 0.02), (ax, d - 0.02), 0.05, 2.14), _GLASS)


def _upright(a: tuple[float, float], b: tuple[float, float], low_m: float, high_m: float) -> Floats:
    return np.array([[*a, low_m], [*b, low_m], [*b, high_m], [*a, high_m]], np.float64)


def _flat(x0: float, y0: float, x1: float, y1: float, z: float) -> Floats:
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], np.float64)


def _box(canvas: _Canvas, box: Box, camera: Camera, label: int, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = box.x0_m, box.y0_m, box.x1_m, box.y1_m
    faces = (  # from left to right as one stands before it; whether the camera sees it; how light it is; goods on it
        ((x0, y0), (x0, y1), camera.x_m < x0, 0.9, y1 - y0),
        ((x1, y1), (x1, y0), camera.x_m > x1, 0.9, y1 - y0),
        ((x1, y0), (x0, y0), camera.y_m < y0, 1.0, x1 - x0),
        ((x0, y1), (x1, y1), camera.y_m > y1, 1.0, x1 - x0),
    )
    for a, b, seen, light, length in faces:
        goods = np.random.default_rng(rng.integers(2**32))  # the same whichever faces are seen
        if not seen:
            continue
        if box.kind == "shelf":
            canvas.fill(_upright(a, b, 0.0, box.height_m), np.array(_FRAME) * light, label)
            _goods(canvas, np.array(a), np.array(b), length, box.height_m, light, goods)
        else:
            colour = _COUNTER if box.kind == "counter" else _WALL
            canvas.fill(_upright(a, b, 0.0, box.height_m), np.array(colour) * light, label)
            canvas.fill(_upright(a, b, box.height_m - 0.18, box.height_m - 0.1), np.array(_BAND) * light)
    if camera.height_m > box.height_m:
        top = {"shelf": _BOARD, "counter": _BELT, "wall": _WALL}[box.kind]
        canvas.fill(_flat(x0, y0, x1, y1, box.height_m), top, label)
        if box.kind == "counter":
            canvas.fill(_flat(x0 + 0.1, y0 + 0.7, x1 - 0.1, y0 + 1.1, box.height_m), _BOARD)


def _goods(
    canvas: _Canvas, a: Floats, b: Floats, length_m: float, height_m: float, light: float, rng: np.random.Generator
) -> None:
    """Boards of a shelf and what stands on them, from the bottom up."""
    pieces: list[tuple[float, float, float, float, Floats]] = []  # from, to along the face; low, high; colour
    for level in np.arange(0.12, height_m - 0.3, _PITCH_M).tolist():
        pieces.append((0.04, length_m - 0.04, level, level + _PITCH_M - 0.05, np.array(_INSIDE)))
        at = 0.07
        while at < length_m - 0.3:
            run = min(length_m - 0.07 - at, float(rng.uniform(0.35, 1.1)))  # facings of one kind of goods
            colour = (_GOODS[rng.integers(len(_GOODS))] * rng.uniform(0.88, 1.05)).clip(0, 255)
            wide, tall = float(rng.uniform(0.12, 0.22)), float(rng.uniform(0.2, _PITCH_M - 0.09))
            for start in np.arange(at, at + run - wide + 1e-9, wide).tolist():
                pieces.append((start, start + 0.86 * wide, level, level + tall, colour))
                label = (start, start + 0.86 * wide, level + 0.3 * tall, level + 0.55 * tall)
                pieces.append((*label, colour + 0.55 * (245 - colour)))
            at += run
        pieces.append((0.0, length_m, level - 0.05, level, np.array(_BOARD)))
    left, right, low, high = np.array([piece[:4] for piece in pieces]).T
    along = (b - a) / length_m
    corners = np.empty((len(pieces), 4, 3))
    for corner, (reach, up) in enumerate(((left, low), (right, low), (right, high), (left, high))):
        corners[:, corner, :2], corners[:, corner, 2] = a + along * reach[:, None], up
    canvas.fill_all(corners, np.array([piece[4] for piece in pieces]) * light)
