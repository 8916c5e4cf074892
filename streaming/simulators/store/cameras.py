"""Cameras over the floor plan: where a point of the store is in the picture.

A pinhole without distortion. `P = K [R | −R·C]` maps the store (metres; x right, y down, z up) to pixels (x right, y
down); the floor is z = 0, so its homography is P without the third column. Hartley and Zisserman, Multiple View
Geometry, §8.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streaming.simulators.store.plan import Flags, Floats, FloorPlan

NEAR_M = 0.3  # nothing nearer than this is seen


@dataclass(frozen=True)
class Look:
    """How a camera sees colours: gains of red, green and blue, gamma, blur (σ) and noise (σ, of 255)."""

    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    blur_px: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Camera:
    """One camera. It looks along `yaw_deg` (from x towards y on the plan), `tilt_deg` below the horizon.

    Raises:
        ValueError: a picture without pixels, a focal length or height that is not positive, or a tilt outside 0 to 80.
    """

    camera_id: str
    x_m: float
    y_m: float
    height_m: float
    yaw_deg: float
    tilt_deg: float
    focal_px: float
    width_px: int
    height_px: int
    look: Look = Look()

    def __post_init__(self) -> None:
        if min(self.width_px, self.height_px) < 1:
            raise ValueError(f"camera {self.camera_id!r} has a picture of {self.width_px} × {self.height_px} px")
        if not (self.focal_px > 0 and self.height_m > 0 and 0.0 <= self.tilt_deg <= 80.0):
            raise ValueError(
                f"camera {self.camera_id!r}: focal_px and height_m are to be positive and tilt_deg 0 to 80, not "
                f"{self.focal_px}, {self.height_m} and {self.tilt_deg}"
            )

    @property
    def axes(self) -> Floats:
        """Right, down and forward of the picture as unit vectors in the store (3, 3)."""
        return axes(math.radians(self.yaw_deg), math.radians(self.tilt_deg))

    @property
    def projection(self) -> Floats:
        """P (3, 4), metres to pixels."""
        centre = np.array([self.x_m, self.y_m, self.height_m])
        lens = np.array(
            [[self.focal_px, 0.0, self.width_px / 2], [0.0, self.focal_px, self.height_px / 2], [0.0, 0.0, 1.0]]
        )
        product: Floats = lens @ np.column_stack([self.axes, -self.axes @ centre])
        return product

    @property
    def homography(self) -> Floats:
        """Floor (m) to picture (px), (3, 3), scaled so that the last entry is 1."""
        floor = self.projection[:, [0, 1, 3]]
        scaled: Floats = floor / floor[2, 2]
        return scaled

    def project(self, points_m: Floats) -> tuple[Floats, Floats]:
        """Points (…, 3) of the store: their pixels (…, 2), not a number for what is behind, and depth in m (…)."""
        matrix = self.projection
        image = points_m @ matrix[:, :3].T + matrix[:, 3]
        depth_m = image[..., 2]
        seen = depth_m > NEAR_M
        pixels: Floats = np.where(seen[..., None], image[..., :2] / np.where(seen, depth_m, 1.0)[..., None], np.nan)
        return pixels, depth_m

    def in_frame(self, pixels: Floats) -> Flags:
        """Which pixels (…, 2) lie in the picture; what is not a number does not."""
        x, y = pixels[..., 0], pixels[..., 1]
        inside: Flags = (x >= 0) & (x < self.width_px) & (y >= 0) & (y < self.height_px)
        return inside

    def floor_point(self, pixels: Floats) -> Floats:
        """Where on the floor a pixel looks, (N, 2) to (N, 2) m; nonsense above the horizon."""
        floor = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(self.homography).T
        metres: Floats = floor[:, :2] / floor[:, 2:]
        return metres

    def scaled(self, width_px: int) -> Camera:
        """The same camera with a picture of another width, sides in proportion."""
        scale = width_px / self.width_px
        height_px = max(1, round(self.height_px * scale))
        return Camera(
            **{**self.__dict__, "focal_px": self.focal_px * scale, "width_px": width_px, "height_px": height_px}
        )


def axes(yaw_rad: float, tilt_rad: float) -> Floats:
    """Right, down and forward of a camera (3, 3)."""
    cy, sy, ct, st = math.cos(yaw_rad), math.sin(yaw_rad), math.cos(tilt_rad), math.sin(tilt_rad)
    return np.array([[-sy, cy, 0.0], [-cy * st, -sy * st, -ct], [cy * ct, sy * ct, -st]])


DEFAULT_LOOKS = (
    Look((1.00, 1.00, 1.00), 1.00, 0.4, 2.0),
    Look((1.05, 1.00, 0.91), 0.95, 0.7, 3.0),  # warm
    Look((0.93, 0.98, 1.03), 1.10, 0.5, 3.0),  # cold
    Look((0.95, 1.00, 0.94), 1.25, 0.9, 4.0),  # greenish, dark
    Look((1.06, 1.02, 1.03), 0.88, 0.6, 2.5),  # bright
)


def looking_at(
    camera_id: str,
    at: tuple[float, float, float],
    target: tuple[float, float],
    *,
    view_deg: float = 78.0,
    size_px: tuple[int, int] = (1280, 720),
    look: Look = DEFAULT_LOOKS[0],
) -> Camera:
    """A camera at `at` (x, y, height in m) that has the point 1 m above `target` in the middle of its picture.

    Args:
        camera_id: its name.
        at: where it hangs.
        target: floor point to look at.
        view_deg: horizontal angle of view.
        size_px: width and height of the picture.
        look: its colours.
    """
    dx, dy = target[0] - at[0], target[1] - at[1]
    return Camera(
        camera_id=camera_id,
        x_m=at[0],
        y_m=at[1],
        height_m=at[2],
        yaw_deg=math.degrees(math.atan2(dy, dx)),
        tilt_deg=math.degrees(math.atan2(at[2] - 1.0, math.hypot(dx, dy))),
        focal_px=size_px[0] / 2 / math.tan(math.radians(view_deg) / 2),
        width_px=size_px[0],
        height_px=size_px[1],
        look=look,
    )


def hang_cameras(plan: FloorPlan, count: int, size_px: tuple[int, int] = (1280, 720)) -> tuple[Camera, ...]:
    """`count` cameras for a plan: door, checkouts, then aisles, alternately from both ends, then across.

    Neighbours among those at the ends of aisles overlap, door and aisles do not.

    Raises:
        ValueError: not at least one camera, or more than the plan has places for.
    """
    aisles = [zone for zone in plan.zones if zone.name.startswith("aisle-")]
    back_y = min(zone.y0_m for zone in aisles)
    front_y = max(zone.y1_m for zone in aisles)
    w, d = plan.width_m, plan.depth_m
    middle = [((zone.x0_m + zone.x1_m) / 2) for zone in aisles]
    # Every second aisle first, so that few cameras spread over the store.
    order = [*range(0, len(aisles), 2), *range(1, len(aisles), 2)]
    ends = {
        "front": [((middle[i], front_y + 2.2, 2.9), (middle[i], 0.55 * back_y + 0.45 * front_y)) for i in order],
        "back": [((middle[i], 0.7, 2.9), (middle[i], 0.4 * back_y + 0.6 * front_y)) for i in order[::-1]],
    }
    in_aisles = [place for pair in zip(ends["front"], ends["back"], strict=True) for place in pair]
    places = [
        ((w * 0.42, front_y + 1.6, 3.0), (2.6, d - 1.2)),  # the door
        ((max(w - 6.2, 5.4), d - 0.4, 2.9), (w - 2.4, front_y + 2.4)),  # checkouts
        *in_aisles[:2],
        ((w - 0.4, front_y + 0.6, 3.0), (w * 0.6, front_y + 3.2)),  # the front, from the right
        ((0.5, 1.7, 2.9), (w * 0.36, 3.0)),  # the back, from the left
        *in_aisles[2:],
        ((w - 0.5, 1.7, 2.9), (w * 0.64, 3.0)),
        ((0.4, front_y + 1.0, 3.0), (w * 0.4, front_y + 3.6)),
    ]
    if not 1 <= count <= len(places):
        raise ValueError(f"this store has places for 1 to {len(places)} cameras, not {count}")
    return tuple(
        looking_at(f"cam-{i + 1:02}", *places[i], size_px=size_px, look=DEFAULT_LOOKS[i % len(DEFAULT_LOOKS)])
        for i in range(count)
    )
