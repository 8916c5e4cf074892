"""Where on the floor plan people stand whom a calibrated camera sees, and which cameras see the same floor.

A calibration is the homography H (3, 3) from the floor plan (m) to the picture (px); who stands at pixel p stands at
H⁻¹ p. Source: Hartley and Zisserman, Multiple View Geometry, §2.3 and §8.1.1. The sign of the third coordinate tells
floor before the camera from what lies above the horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FARTHEST_M = 40.0
"""From the nearest floor in the picture: beyond, a pixel is metres, and a place means nothing."""

BODY_M = 1.68
"""From the floor to the top of a head."""
_CUT_M = 6.0  # whose feet are below the picture stands near the camera
_EDGE_PX, _EDGE_SHARE = 2.0, 0.04
"""A box that reaches the lower edge is cut off there: its feet are not in the picture. A detector's edges are off by
some of the box's height."""
FOOT_M = 0.1
"""From the edge of the shoes that is nearest to the camera, on which a box stands, to below the hips: half a shoe's
length from before and behind, the nearer leg from the side."""
_GRID = 32  # pixels each way that are looked at for overlaps


@dataclass(frozen=True)
class FloorView:
    """How one camera sees the floor.

    Args:
        homography: floor plan (m) to picture (px), rows.
        width_px: of the pictures that it was made for.
        height_px: of them.
    """

    homography: tuple[tuple[float, float, float], ...]
    width_px: int
    height_px: int

    def places(self, boxes: Floats, width_px: int, height_px: int) -> Floats:
        """Where people in boxes (N, 4) stand, (N, 2) in m; NaN too far away, or where nobody can tell.

        A box stands on the nearest edge of the feet, so they are `FOOT_M` farther from the camera. Of a box that the
        picture's lower edge cuts, the head tells: it is taken to be `BODY_M` above the floor.

        Args:
            boxes: corners in pixels of a frame.
            width_px: of that frame, which may have another size than the calibration was made for.
            height_px: of it.
        """
        scale = np.array([self.width_px / width_px, self.height_px / height_px])
        feet = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]]) * scale
        floor, is_floor = self._floor(feet)
        is_cut = boxes[:, 3] >= height_px - _EDGE_PX - _EDGE_SHARE * (boxes[:, 3] - boxes[:, 1])
        near = np.hypot(*(floor - self._nearest()).T) <= FARTHEST_M
        floor[~(is_floor & near) | is_cut] = np.nan
        floor = self._behind(floor)
        headed = is_cut & (boxes[:, 1] > _EDGE_PX)
        floor[headed] = self._below(np.column_stack([feet[:, 0], boxes[:, 1] * scale[1]])[headed])
        return floor

    def sees(self, points: Floats) -> npt.NDArray[np.bool_]:
        """Whether points of the floor (N, 2), in m, are in the picture."""
        image = np.column_stack([points, np.ones(len(points))]) @ np.array(self.homography).T
        ahead = image[:, 2] * self._sign() > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = (image[:, :2] / image[:, 2:]).T
        inside: npt.NDArray[np.bool_] = ahead & (x >= 0) & (x < self.width_px) & (y >= 0) & (y < self.height_px)
        near: npt.NDArray[np.bool_] = np.hypot(*(points - self._nearest()).T) <= FARTHEST_M
        return inside & near

    def floor(self, grid: int) -> Floats:
        """Floor points (N, 2), in m, of a grid of so many pixels each way over the picture; those that there are."""
        x, y = np.meshgrid(np.linspace(0, self.width_px - 1, grid), np.linspace(0, self.height_px - 1, grid))
        points, is_floor = self._floor(np.column_stack([x.ravel(), y.ravel()]))
        near: Floats = points[is_floor & (np.hypot(*(points - self._nearest()).T) <= FARTHEST_M)]
        return near

    def _behind(self, nearest: Floats) -> Floats:
        """Points of the floor (N, 2) `FOOT_M` farther from the one below the camera, where that is known: it lies where
        all that is upright meets, so the column of the height is its picture."""
        up = self._up()
        if up is None:
            return nearest
        below = np.linalg.inv(np.array(self.homography)) @ up
        with np.errstate(divide="ignore", invalid="ignore"):
            away = nearest - below[:2] / below[2]
            farther: Floats = nearest + FOOT_M * away / np.linalg.norm(away, axis=1, keepdims=True)
        return np.where(np.isfinite(farther), farther, nearest)

    def _up(self) -> Floats | None:
        """The column (3,) of the height, of either sign; None where the homography does not tell.

        The camera is taken to have square pixels and to look through the middle of its picture; then the homography's
        columns, which are of the same length and at right angles but for the focal length, tell that, and their cross
        product is the column of the height (Zhang, "A Flexible New Technique for Camera Calibration", 2000, eq. 3-4).
        """
        to_middle = np.array([[1, 0, -self.width_px / 2], [0, 1, -self.height_px / 2], [0, 0, 1]])
        a, b = (to_middle @ np.array(self.homography)).T[:2]
        known = np.array([a[0] * b[0] + a[1] * b[1], a[0] ** 2 + a[1] ** 2 - b[0] ** 2 - b[1] ** 2])
        wanted = -np.array([a[2] * b[2], a[2] ** 2 - b[2] ** 2])
        inverse_f2 = float(known @ wanted) / max(float(known @ known), 1e-300)
        if not inverse_f2 > 0:
            return None
        lens = np.array([np.sqrt(inverse_f2), np.sqrt(inverse_f2), 1.0])
        up: Floats = np.cross(a * lens, b * lens) / np.linalg.norm(a * lens) / lens
        return np.linalg.inv(to_middle) @ up

    def _below(self, heads: Floats) -> Floats:
        """Floor points (N, 2) under heads at these pixels; NaN where there is none, or the camera hangs lower."""
        up = self._up()
        if up is None:
            return np.full((len(heads), 2), np.nan)
        # Of both directions, up is the one in which the picture of a point above the floor's lower middle rises.
        nearest = np.append(self._nearest(), 1.0)
        foot = np.array(self.homography) @ nearest
        rises = (foot + 0.1 * up)[1] / (foot + 0.1 * up)[2] < foot[1] / foot[2]
        raised = np.array(self.homography) + np.outer(up if rises else -up, [0.0, 0.0, BODY_M])
        found = np.column_stack([heads, np.ones(len(heads))]) @ np.linalg.inv(raised).T
        with np.errstate(divide="ignore", invalid="ignore"):
            points: Floats = found[:, :2] / found[:, 2:]
        away = np.hypot(*(points - self._nearest()).T)
        points[~((away <= _CUT_M) & (found[:, 2] * self._sign() > 0))] = np.nan
        return points

    def _floor(self, pixels: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Floor points (N, 2) of pixels, and which of them there are."""
        found = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(np.array(self.homography)).T
        with np.errstate(divide="ignore", invalid="ignore"):
            points = found[:, :2] / found[:, 2:]
        return points, found[:, 2] * self._sign() > 0

    def _sign(self) -> float:
        """Of the third coordinate of floor before the camera, which is scaled either way: that of the floor in the
        middle of the picture's lower edge."""
        low = np.array([self.width_px / 2, float(self.height_px), 1.0])
        return float(np.sign((np.linalg.inv(np.array(self.homography)) @ low)[2])) or 1.0

    def _nearest(self) -> Floats:
        """Floor point of the middle of the picture's lower edge."""
        point, _ = self._floor(np.array([[self.width_px / 2, float(self.height_px)]]))
        nearest: Floats = point[0]
        return nearest


def overlapping(views: Mapping[str, FloorView]) -> frozenset[frozenset[str]]:
    """Pairs of cameras that see some floor in common.

    What stands between them is not known here, so two may be named that do not see each other's people; where people
    stand still tells them apart.

    Args:
        views: by camera.
    """
    # Each one's floor as the pixels of a grid see it; who sees a point of the other's sees the same floor.
    floors = {name: view.floor(_GRID) for name, view in views.items()}
    return frozenset(
        frozenset((one, other))
        for one, other in combinations(sorted(views), 2)
        if views[one].sees(floors[other]).any() or views[other].sees(floors[one]).any()
    )
