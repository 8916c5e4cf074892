"""A camera's pictures: paper dolls walk before the drawn store, behind shelves and one another."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import polars as pl

from streaming.simulators.store.backdrop import Backdrop, draw_backdrop, may_hide
from streaming.simulators.store.bodies import pose
from streaming.simulators.store.cameras import Camera
from streaming.simulators.store.dolls import Pixels, View, in_tones, over, paint, sketch
from streaming.simulators.store.identities import Identities
from streaming.simulators.store.looks import add_grain, grain, soften, tone_table, toned
from streaming.simulators.store.outfits import Outfits
from streaming.simulators.store.plan import Flags, Floats, FloorPlan
from streaming.simulators.store.routes import Ints
from streaming.simulators.store.sightings import boxes_of, in_view, poses_of, view_of

_SHADOW_M = 0.27
_SHADOW = 0.72  # brightness of the floor under a person
_SHIFTS = 37  # the noise lies differently on each of so many frames


class FramePainter:
    """Draws one camera's frames.

    Args:
        plan: the store.
        camera: which sees it.
        people: row i is person i.
        outfits: row i is outfit i.
        seed: of goods and noise.
    """

    def __init__(self, plan: FloorPlan, camera: Camera, people: Identities, outfits: Outfits, seed: int = 0) -> None:
        self._plan, self._camera, self._people, self._outfits = plan, camera, people, outfits
        drawn = draw_backdrop(plan, camera, seed)
        self._tones = tone_table(camera.look)
        self._backdrop = Backdrop(soften(toned(drawn.rgb, self._tones), camera.look), drawn.box)
        rng = np.random.default_rng([seed, 6, zlib.crc32(camera.camera_id.encode())])
        self._grain = grain(camera.look, camera.height_px + _SHIFTS, camera.width_px + _SHIFTS, rng)

    def draw(self, positions: pl.DataFrame, frame: int) -> Pixels:
        """The picture (H, W, 3), RGB, of the people at `positions`, rows of one step; `frame` varies the noise."""
        picture = self._backdrop.rgb.copy()
        rows = in_view(self._camera, positions, self._people)
        if len(rows):
            self._draw_people(picture, rows)
        across, down = (frame * 7) % _SHIFTS, (frame * 11) % _SHIFTS
        height, width = picture.shape[:2]
        return add_grain(picture, self._grain[down : down + height, across : across + width])

    def _draw_people(self, picture: Pixels, rows: pl.DataFrame) -> None:
        camera = self._camera
        people = self._people.take(rows["person_id"].to_numpy())
        view = view_of(camera, pose(people, poses_of(rows)))
        dolls = in_tones(sketch(people, self._outfits.take(rows["outfit"].to_numpy()), view), self._tones)
        xy_m = rows.select("x_m", "y_m").to_numpy()
        hides = np.column_stack([np.zeros(len(rows), bool), may_hide(self._plan, camera, xy_m)])  # column 0: no box
        windows = _windows(view, camera)
        for doll in np.argsort(-view.depth_m.mean(axis=1), kind="stable").tolist():
            self._shade_floor(picture, xy_m[doll], hides[doll])
            x0, y0, x1, y1 = windows[doll].tolist()
            if x1 <= x0 or y1 <= y0:
                continue
            sprite = paint(dolls, doll, np.array([x0, y0]), np.ones(2), (x1 - x0, y1 - y0))
            sprite[hides[doll][self._backdrop.box[y0:y1, x0:x1]]] = 0
            picture[y0:y1, x0:x1] = over(soften(sprite, camera.look), picture[y0:y1, x0:x1])

    def _shade_floor(self, picture: Pixels, xy_m: Floats, hides: Flags) -> None:
        """A soft shadow under a person."""
        angle = np.arange(20) * (2 * np.pi / 20)
        ring = np.column_stack([xy_m[0] + _SHADOW_M * np.cos(angle), xy_m[1] + _SHADOW_M * np.sin(angle), 0 * angle])
        pixels, _ = self._camera.project(ring)
        if np.isnan(pixels).any():
            return
        size = (self._camera.width_px, self._camera.height_px)
        soft_px = max(0.8, float(np.ptp(pixels[:, 1])) / 12)
        low, high = pixels.min(axis=0) - 3 * soft_px - 1, pixels.max(axis=0) + 3 * soft_px + 1
        x0, y0 = np.clip(np.floor(low), 0, size).astype(int).tolist()
        x1, y1 = np.clip(np.ceil(high), 0, size).astype(int).tolist()
        if x1 <= x0 or y1 <= y0:
            return
        shade = np.ones((y1 - y0, x1 - x0), np.float32)
        corners = np.round((pixels - (x0, y0) - 0.5) * 16).astype(np.int32)
        cv2.fillConvexPoly(shade, corners, _SHADOW, shift=4)
        shade = np.asarray(cv2.GaussianBlur(shade, (0, 0), soft_px), np.float32)
        shade[hides[self._backdrop.box[y0:y1, x0:x1]]] = 1.0
        picture[y0:y1, x0:x1] = np.round(picture[y0:y1, x0:x1] * shade[..., None]).astype(np.uint8)


def _windows(view: View, camera: Camera) -> Ints:
    """Whole pixels around each doll, cut to the picture: x0, y0, x1, y1 (N, 4). Clothes are wider than bodies."""
    x0, y0, x1, y1 = boxes_of(view).T
    more = 0.08 * (y1 - y0) + 2
    edges = np.stack([np.floor(x0 - more), np.floor(y0 - more), np.ceil(x1 + more), np.ceil(y1 + more)], axis=1)
    whole: Ints = np.clip(edges, 0, [camera.width_px, camera.height_px] * 2).astype(np.int64)
    return whole
