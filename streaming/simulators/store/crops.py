"""Crops of paper dolls as a detector would cut them out: for learning and judging re-identification without frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from streaming.simulators.store.backdrop import draw_backdrop
from streaming.simulators.store.bodies import Joint, Poses, pose
from streaming.simulators.store.cameras import Look, hang_cameras
from streaming.simulators.store.dolls import BUN_HEIGHT, Pixels, View, in_tones, over, paint, sketch
from streaming.simulators.store.identities import Identities
from streaming.simulators.store.looks import add_grain, grain, soften, tone_table, toned
from streaming.simulators.store.outfits import Outfits
from streaming.simulators.store.plan import Floats, supermarket
from streaming.simulators.store.routes import Ints
from streaming.simulators.store.sightings import boxes_of

_CAMERA_M = 2.9  # height
_FOCAL_PX = 600.0  # any: crops are scaled to one size
_AT_ONCE = 256  # crops whose shapes are worked out together
_WINDOWS = 48  # backgrounds a camera


def draw_crops(
    people: Identities,
    outfits: Outfits,
    cameras: Ints,
    looks: Sequence[Look],
    seed: int,
    *,
    size_px: tuple[int, int] = (64, 128),
) -> Pixels:
    """One crop of each of N people, in any pose and from any side.

    Args:
        people: row i is seen in crop i.
        outfits: row i is worn in crop i.
        cameras: index in `looks` of the camera of each crop (N,); each has distances, backgrounds, colours, blur and
            noise of its own.
        looks: of the cameras.
        seed: of poses, sides, margins and noise.
        size_px: width and height of a crop.

    Returns:
        (N, height, width, 3), RGB.

    Raises:
        ValueError: lengths that differ, a camera without a look, or a crop without pixels.
    """
    count = len(people)
    if not count == len(outfits) == len(cameras):
        raise ValueError(f"crops of {count} people in {len(outfits)} outfits by {len(cameras)} cameras")
    if count and not (cameras.min() >= 0 and cameras.max() < len(looks)):
        raise ValueError(f"cameras {cameras.min()} to {cameras.max()} with {len(looks)} looks")
    width, height = size_px
    if min(size_px) < 1:
        raise ValueError(f"crops of {width} × {height} px")
    rng = np.random.default_rng([seed, 4])
    out = np.empty((count, height, width, 3), np.uint8)
    ground = [_windows(size_px, camera % 8, look) for camera, look in enumerate(looks)]
    noise = [grain(look, 4 * height, 4 * width, np.random.default_rng([seed, 7, i])) for i, look in enumerate(looks)]
    tables = np.stack([tone_table(look) for look in looks])
    for start in range(0, count, _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, count))
        these, camera = people.take(rows), cameras[rows]
        view = _view(these, camera, rng)
        dolls = in_tones(sketch(these, outfits.take(rows), view), tables[camera])
        # The picture is stretched to the crop, as a box that was cut out is.
        corner, scale = _framing(boxes_of(_with_hair(view, these)), size_px, rng)
        window = rng.integers(_WINDOWS, size=len(rows))
        at_x, at_y = rng.integers(3 * width, size=len(rows)), rng.integers(3 * height, size=len(rows))
        for i, (row, by) in enumerate(zip(rows.tolist(), camera.tolist(), strict=True)):
            sprite = soften(paint(dolls, i, corner[i], scale[i], size_px), looks[by])
            picture = over(sprite, ground[by][window[i]])
            out[row] = add_grain(picture, noise[by][at_y[i] : at_y[i] + height, at_x[i] : at_x[i] + width])
    return out


def _view(people: Identities, cameras: Ints, rng: np.random.Generator) -> View:
    """People in the middle of the picture of a camera at x = 0 that looks along x."""
    count = len(people)
    u = rng.random((count, 4))
    distance = 4.0 + 0.6 * (cameras % 5) + 2.0 * u[:, 0]
    poses = Poses(
        x_m=distance,
        y_m=np.zeros(count),
        heading_rad=2 * np.pi * u[:, 1],
        gait_rad=2 * np.pi * u[:, 2],
        speed_mps=np.where(u[:, 3] < 0.75, 1.1, 0.0),
        reach=np.where(u[:, 3] > 0.9, 1.0, 0.0),
    )
    bodies = pose(people, poses)
    tilt = np.arctan2(_CAMERA_M - 0.9, distance)
    x, y, z = bodies.joints_m[..., 0], bodies.joints_m[..., 1], bodies.joints_m[..., 2] - _CAMERA_M
    sin, cos = np.sin(tilt)[:, None], np.cos(tilt)[:, None]
    depth = x * cos - z * sin
    pixels = np.stack([y, -x * sin - z * cos], axis=-1) * (_FOCAL_PX / depth)[..., None]
    return View(pixels, bodies.radii_m * _FOCAL_PX / depth, depth)


def _with_hair(view: View, people: Identities) -> View:
    """Bodies as large as what is drawn of them: hair stands out over the crown."""
    radii = view.radii_px.copy()
    radii[:, Joint.CROWN] *= np.where(people.bun, BUN_HEIGHT, people.volume)
    return view._replace(radii_px=radii)


def _framing(boxes_px: Floats, size_px: tuple[int, int], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Upper left corners (N, 2) of what is cut out, and its scale to the crop, across and down (N, 2)."""
    x0, y0, x1, y1 = boxes_px.T
    u = rng.random((len(boxes_px), 4))
    high = y1 - y0
    # Detectors' boxes are a little loose or tight; narrow people keep some room, so that none is stretched to a giant.
    wide = np.maximum(x1 - x0, 0.36 * high)
    middle = (x0 + x1) / 2 + (u[:, 0] - 0.5) * 0.12 * wide
    top, bottom = y0 + (u[:, 1] - 0.65) * 0.08 * high, y1 - (u[:, 2] - 0.65) * 0.08 * high
    wide = wide * (1.04 + 0.16 * u[:, 3])
    scale = np.stack([size_px[0] / wide, size_px[1] / (bottom - top)], axis=1)
    return np.stack([middle - wide / 2, top], axis=1), scale


@lru_cache(maxsize=64)
def _windows(size_px: tuple[int, int], camera: int, look: Look) -> Pixels:
    """Pieces of the empty store as a camera sees it (windows, H, W, 3)."""
    plan = supermarket(5, 6.5, 3)
    rng = np.random.default_rng([8, camera])
    seen = replace(hang_cameras(plan, 8, (640, 360))[camera], look=look)
    picture = soften(toned(draw_backdrop(plan, seen).rgb, tone_table(look)), look)
    pieces = []
    for left, top in zip(rng.integers(0, 640 - 80, _WINDOWS), rng.integers(90, 360 - 160, _WINDOWS), strict=True):
        pieces.append(cv2.resize(picture[top : top + 160, left : left + 80], size_px, interpolation=cv2.INTER_AREA))
    return np.stack(pieces).astype(np.uint8)
