"""How much of a person a camera sees, told by points on the body rather than by drawing it."""

from __future__ import annotations

import itertools

import numpy as np

from streaming.simulators.store.cameras import Camera
from streaming.simulators.store.plan import Flags, Floats
from streaming.simulators.store.routes import Ints

_HEIGHTS = np.array([0.03, 0.14, 0.28, 0.42, 0.56, 0.70, 0.82, 0.95])  # of the person's height
_HALF_WIDTHS = np.array([0.045, 0.05, 0.055, 0.07, 0.085, 0.09, 0.085, 0.04])  # there, of the person's height
_ASIDE = np.array([-0.67, 0.0, 0.67])  # of the half width: the middles of its thirds
POINTS = len(_HEIGHTS) * len(_ASIDE)
_PAIRS_AT_ONCE = 400_000


def body_points(camera: Camera, xy_m: Floats, height_m: Floats) -> Floats:
    """Points on each of N people who stand upright, spread over what faces the camera: (N, POINTS, 3) m."""
    right = camera.axes[0]
    aside = (height_m[:, None, None] * _HALF_WIDTHS[:, None] * _ASIDE)[..., None] * right  # (N, heights, across, 3)
    centre = np.column_stack([xy_m, np.zeros(len(xy_m))])[:, None, None, :]
    up = np.zeros((len(xy_m), len(_HEIGHTS), 1, 3))
    up[:, :, 0, 2] = height_m[:, None] * _HEIGHTS
    points: Floats = (centre + aside + up).reshape(len(xy_m), POINTS, 3)
    return points


def share_of_body(points: Flags) -> Floats:
    """Which share of a body some of its points (N, POINTS) stand for, by the width of the body there: (N,)."""
    weight = np.repeat(_HALF_WIDTHS, len(_ASIDE))
    share: Floats = points @ (weight / weight.sum())
    return share


def behind_boxes(camera: Camera, points_m: Floats, rectangles: Floats) -> Flags:
    """Which points (N, K, 3) are hidden by boxes, rows x0, y0, x1, y1, height (B, 5): (N, K).

    A straight line from camera to point meets a box if it is within all three pairs of its sides at one time (Kay and
    Kajiya's slabs).
    """
    eye = np.array([camera.x_m, camera.y_m, camera.height_m])
    hidden = np.zeros(points_m.shape[:2], bool)
    middle = points_m.mean(axis=1)
    for x0, y0, x1, y1, height in rectangles:
        low, high = np.array([x0, y0, -0.01]), np.array([x1, y1, height])
        near = np.flatnonzero(_meets(eye[:2], middle[:, :2], low[:2] - 0.4, high[:2] + 0.4))
        hidden[near] |= _meets(eye, points_m[near], low, high)
    return hidden


def _meets(eye: Floats, ends: Floats, low: Floats, high: Floats) -> Flags:
    """Whether the segments from `eye` to `ends` (…, D) meet the box between two corners (D,)."""
    way = ends - eye
    way = np.where(np.abs(way) < 1e-9, 1e-9, way)
    first, second = (low - eye) / way, (high - eye) / way
    enters = np.minimum(first, second).max(axis=-1)
    leaves = np.maximum(first, second).min(axis=-1)
    meets: Flags = (enters < leaves) & (leaves > 0.0) & (enters < 1.0 - 1e-6)
    return meets


def behind_people(frame: Ints, depth_m: Floats, boxes_px: Floats, points_px: Floats) -> Flags:
    """Which points (N, K, 2) of people lie behind somebody nearer to the camera in the same frame: (N, K).

    Args:
        frame: sorted, (N,).
        depth_m: of the person, (N,).
        boxes_px: x0, y0, x1, y1 of the person, (N, 4).
        points_px: on the person.
    """
    hidden = np.zeros(points_px.shape[:2], bool)
    # What one covers is the width of the body, not of the box: that has an outstretched arm in it.
    across = points_px[..., 0]
    middle, half = across.mean(axis=1), np.ptp(across, axis=1) / 2 / _ASIDE[-1]
    starts = np.searchsorted(frame, frame, side="left")
    ends = np.searchsorted(frame, frame, side="right")
    total = np.cumsum(ends - starts)
    pairs = int(total[-1]) if len(total) else 0
    cuts = np.searchsorted(total, np.arange(0, pairs, _PAIRS_AT_ONCE)).tolist()
    for first, last in itertools.pairwise([*cuts, len(frame)]):
        rows = np.arange(first, last)
        sizes = (ends - starts)[rows]
        who = np.repeat(rows, sizes)
        begin = np.repeat(np.cumsum(sizes) - sizes, sizes)
        other = np.repeat(starts[rows], sizes) + np.arange(len(who)) - begin
        nearer = depth_m[other] < depth_m[who]
        meet = (
            nearer
            & (boxes_px[other, 0] < boxes_px[who, 2])
            & (boxes_px[other, 2] > boxes_px[who, 0])
            & (boxes_px[other, 1] < boxes_px[who, 3])
            & (boxes_px[other, 3] > boxes_px[who, 1])
        )
        who, other = who[meet], other[meet]
        _, y0, _, y1 = boxes_px[other].T
        x, y = points_px[who, :, 0], points_px[who, :, 1]
        aside = np.abs(x - middle[other, None])
        covered = (aside < half[other, None]) & (y > y0[:, None]) & (y < y1[:, None])
        np.logical_or.at(hidden, who, covered)
    return hidden
