"""Paper dolls: pedestrians drawn as flat shapes with a dark rim, a garment over a body.

A doll is a stack of convex shapes, each the hull of up to four circles at projected joints, painted from back to front
into a map of materials; a palette of the person's colours turns materials into a picture. So shape belongs to the
identity and the pose, colour and cut to the outfit, and the two can be exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from streaming.simulators.store.bodies import Joint
from streaming.simulators.store.identities import Identities
from streaming.simulators.store.outfits import Outfits
from streaming.simulators.store.plan import Flags, Floats
from streaming.simulators.store.routes import Ints

Pixels = npt.NDArray[np.uint8]
_Points = npt.NDArray[np.float32]

SKIN, HAIR, UPPER, LOWER, SHOE, EYE = 1, 3, 5, 7, 9, 11  # the next number is the same in the shade
_UPPER_BIT, _LOWER_BIT = 16, 32  # second colour of the pattern
_RIM = 0.74  # the lit part of a shape, of its radius
_SHADE = 0.76  # brightness of the rim
_CORNERS = 14  # of a hull
_SUBPIXEL = 4  # bits
_PATTERN_M = 0.07  # half a period
_BUN_AT, _BUN_WIDTH = 2.2, 0.45  # on the way from chin to crown, of the radius there
BUN_HEIGHT = 1.8
"""Over the middle of the crown, in its radii."""


class View(NamedTuple):
    """N bodies as a camera sees them."""

    joints_px: Floats  # (N, J, 2)
    radii_px: Floats  # (N, J)
    depth_m: Floats  # (N, J)


class Sketches(NamedTuple):
    """N dolls before they are painted: S shapes each."""

    corners_px: _Points  # (N, S, corners, 2)
    material: Ints  # (S,)
    order: Ints  # (N, S) shapes from back to front
    shown: Flags  # (N, S)
    palette: npt.NDArray[np.uint32]  # (N, 64), RGBA in memory order
    pattern: Ints  # (N, 2) of upper and lower, index in outfits.PATTERNS
    anchor_px: Floats  # (N, 2) where patterns begin
    period_px: Floats  # (N,) half a period of a pattern


class _Shapes:
    """Gathers the hulls of N dolls."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.centre: list[list[Floats]] = []  # shape → circles → (N, 2)
        self.radius: list[list[Floats]] = []
        self.material: list[int] = []
        self.key: list[Floats] = []
        self.shown: list[Flags] = []

    def joint(self, joint: Joint) -> tuple[Floats, Floats]:
        return self._view.joints_px[:, joint], self._view.radii_px[:, joint]

    def between(self, a: Joint, b: Joint, share: Floats | float, wider: float = 1.0) -> tuple[Floats, Floats]:
        """A circle on the way from joint a to joint b."""
        (a_px, a_r), (b_px, b_r) = self.joint(a), self.joint(b)
        share = np.broadcast_to(np.asarray(share, np.float64), a_r.shape)
        return a_px + (b_px - a_px) * share[:, None], (a_r + (b_r - a_r) * share) * wider

    def add(
        self, circles: Sequence[tuple[Floats, Floats]], material: int, key: Floats | float, shown: Flags | None = None
    ) -> None:
        """A hull of two to four circles; shapes with lower keys lie behind."""
        padded = [*circles, *[circles[-1]] * (4 - len(circles))]
        count = len(self._view.radii_px)
        self.centre.append([centre for centre, _ in padded])
        self.radius.append([radius for _, radius in padded])
        self.material.append(material)
        self.key.append(np.broadcast_to(np.asarray(key, np.float64), (count,)))
        self.shown.append(np.ones(count, bool) if shown is None else shown)

    def hulls(self) -> tuple[_Points, _Points]:
        """Corners of the shapes (N, S, corners, 2): of the whole, and of the lit part, up and left of the middle."""
        centre = np.array(self.centre, np.float32).transpose(2, 0, 1, 3)  # (N, S, 4, 2)
        radius = np.array(self.radius, np.float32).transpose(2, 0, 1)  # (N, S, 4)
        angle = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
        normal = np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
        # A convex hull's corner in a direction is the point of it that lies furthest that way.
        furthest = (centre @ normal + radius[..., None]).argmax(axis=2)[..., None]  # (N, S, corners, 1)
        middle = np.take_along_axis(centre, furthest, axis=2)
        at = np.take_along_axis(radius[..., None], furthest, axis=2)
        light = np.array([-0.16, -0.06], np.float32)
        return middle + at * normal.T, middle + at * (_RIM * normal.T + light)


def sketch(people: Identities, outfits: Outfits, view: View) -> Sketches:
    """Dolls of N people in N outfits, seen as `view` says."""
    shapes = _Shapes(view)
    depth = view.depth_m
    chest = depth[:, Joint.NECK]
    _legs(shapes, outfits, depth)
    _torso(shapes, outfits)
    _arms(shapes, outfits, depth - chest[:, None])
    _head(shapes, people, depth)
    whole, lit = shapes.hulls()
    material = np.array(shapes.material)
    key, shown = np.stack(shapes.key, axis=1), np.stack(shapes.shown, axis=1)
    px_per_m = (view.radii_px[:, Joint.CROWN] / (0.05 * people.head * people.height_m)).clip(1e-6)
    palette = _palettes(people, outfits)
    return Sketches(
        corners_px=np.concatenate([whole, lit], axis=1),
        material=np.concatenate([material + 1, material]),
        # Of one limb all rims lie under all lit parts, so that a knee shows no rim across the leg.
        order=np.argsort(np.concatenate([key, key + 0.05], axis=1), axis=1, kind="stable"),
        shown=np.concatenate([shown, shown], axis=1),
        palette=palette,
        pattern=np.stack([outfits.upper_pattern, outfits.lower_pattern], axis=1),
        anchor_px=view.joints_px[:, Joint.NECK],
        period_px=(_PATTERN_M * px_per_m).clip(1.0),
    )


def _legs(shapes: _Shapes, outfits: Outfits, depth: Floats) -> None:
    for hip, knee, ankle, toe, other in (
        (Joint.HIP_R, Joint.KNEE_R, Joint.ANKLE_R, Joint.TOE_R, Joint.KNEE_L),
        (Joint.HIP_L, Joint.KNEE_L, Joint.ANKLE_L, Joint.TOE_L, Joint.KNEE_R),
    ):
        key = np.where(depth[:, knee] > depth[:, other], 0.0, 1.0)
        trouser, skirt = outfits.trouser, outfits.skirt
        bare = skirt | (trouser < 1.99)
        shapes.add([shapes.joint(hip), shapes.joint(knee)], SKIN, key, bare)
        shapes.add([shapes.joint(knee), shapes.joint(ankle)], SKIN, key, bare)
        hem = shapes.between(hip, knee, np.minimum(trouser, 1.0), 1.06)
        shapes.add([shapes.joint(hip), hem], LOWER, key + 0.1, ~skirt)
        cuff = shapes.between(knee, ankle, np.clip(trouser - 1.0, 0.0, 0.93), 1.12)
        shapes.add([shapes.between(knee, knee, 0.0, 1.06), cuff], LOWER, key + 0.1, ~skirt & (trouser > 1.0))
        shapes.add([shapes.joint(ankle), shapes.joint(toe)], SHOE, key + 0.2)


def _torso(shapes: _Shapes, outfits: Outfits) -> None:
    hips = [shapes.joint(Joint.HIP_R), shapes.joint(Joint.HIP_L)]
    hems = [
        shapes.between(hip, knee, np.minimum(outfits.trouser, 1.3), 1.15)
        for hip, knee in ((Joint.HIP_R, Joint.KNEE_R), (Joint.HIP_L, Joint.KNEE_L))
    ]
    shapes.add([*hips, shapes.joint(Joint.PELVIS)], LOWER, 2.0)
    shapes.add([*hips, *hems], LOWER, 2.1, outfits.skirt)
    shoulders = [shapes.joint(Joint.SHOULDER_R), shapes.joint(Joint.SHOULDER_L)]
    tails = [
        shapes.between(hip, knee, outfits.coat, 1.08)
        for hip, knee in ((Joint.HIP_R, Joint.KNEE_R), (Joint.HIP_L, Joint.KNEE_L))
    ]
    shapes.add([*shoulders, *tails], UPPER, 4.0)


def _arms(shapes: _Shapes, outfits: Outfits, behind_chest: Floats) -> None:
    for shoulder, elbow, hand in (
        (Joint.SHOULDER_R, Joint.ELBOW_R, Joint.HAND_R),
        (Joint.SHOULDER_L, Joint.ELBOW_L, Joint.HAND_L),
    ):
        key = np.where(behind_chest[:, [shoulder, elbow, hand]].mean(axis=1) > 0.0, 3.0, 6.0)
        sleeve = outfits.sleeve
        top = shapes.between(shoulder, elbow, 0.0, 0.8)
        shapes.add([top, shapes.joint(elbow)], SKIN, key, sleeve < 0.99)
        shapes.add([shapes.joint(elbow), shapes.joint(hand)], SKIN, key)
        end = shapes.between(shoulder, elbow, np.minimum(sleeve, 1.0), 1.05)
        shapes.add([shapes.between(shoulder, elbow, 0.0, 0.86), end], UPPER, key + 0.1, sleeve > 0.0)
        cuff = shapes.between(elbow, hand, np.clip(sleeve - 1.0, 0.0, 0.78), 1.08)
        shapes.add([shapes.between(elbow, elbow, 0.0, 1.05), cuff], UPPER, key + 0.1, sleeve > 1.0)


def _head(shapes: _Shapes, people: Identities, depth: Floats) -> None:
    away = depth[:, Joint.BROW] > depth[:, Joint.CROWN]  # the face looks away from the camera
    shapes.add([shapes.joint(Joint.NECK), shapes.joint(Joint.CHIN)], SKIN, 4.5)
    behind = np.where(away, 7.0, 3.5)
    (crown_px, crown_r), (nape_px, nape_r) = shapes.joint(Joint.CROWN), shapes.joint(Joint.NAPE)
    hair = [(crown_px, crown_r * people.volume), (nape_px, nape_r * people.volume)]
    shapes.add(hair, HAIR, behind, ~people.bald)
    shapes.add([(crown_px, crown_r)], SKIN, behind, people.bald)
    shapes.add([shapes.between(Joint.CHIN, Joint.CROWN, _BUN_AT, _BUN_WIDTH)], HAIR, 7.2, people.bun)
    shapes.add([shapes.joint(Joint.BROW), shapes.joint(Joint.CHIN)], SKIN, 5.0)
    shapes.add([shapes.joint(Joint.CHIN), shapes.between(Joint.CHIN, Joint.NECK, 0.3)], HAIR, 5.1, people.beard)
    for eye in (Joint.EYE_R, Joint.EYE_L):
        seen = depth[:, eye] < depth[:, Joint.BROW] - 0.02
        shapes.add([shapes.joint(eye)], EYE, 5.2, seen & (shapes.joint(eye)[1] > 0.7))


def _palettes(people: Identities, outfits: Outfits) -> npt.NDArray[np.uint32]:
    base = np.zeros((len(people), 64, 4))
    for material, rgb in (
        (SKIN, people.skin_rgb),
        (HAIR, people.hair_rgb),
        (UPPER, outfits.upper_rgb),
        (LOWER, outfits.lower_rgb),
        (SHOE, outfits.shoe_rgb),
        (EYE, np.full((len(people), 3), 30.0)),
    ):
        base[:, material, :3], base[:, material + 1, :3] = rgb, rgb * _SHADE
    for bits in range(16, 64, 16):
        base[:, bits : bits + 16] = base[:, :16]
        if bits & _UPPER_BIT:
            base[:, bits + UPPER, :3], base[:, bits + UPPER + 1, :3] = (
                outfits.upper_second_rgb,
                outfits.upper_second_rgb * _SHADE,
            )
        if bits & _LOWER_BIT:
            base[:, bits + LOWER, :3], base[:, bits + LOWER + 1, :3] = (
                outfits.lower_second_rgb,
                outfits.lower_second_rgb * _SHADE,
            )
    base[:, np.arange(64) % 16 > 0, 3] = 255.0
    return np.ascontiguousarray(base.clip(0, 255).astype(np.uint8)).view(np.uint32)[..., 0]


def in_tones(dolls: Sketches, tones: Pixels) -> Sketches:
    """The dolls in the colours of their cameras: `tones` is a table (256, 1, 3), or one a doll (N, 256, 1, 3)."""
    rgba = dolls.palette.view(np.uint8).reshape(len(dolls.palette), -1, 4).copy()
    tables = np.broadcast_to(tones, (len(rgba), *tones.shape[-3:]))
    doll = np.arange(len(rgba))[:, None, None]
    rgba[..., :3] = tables[doll, rgba[..., :3], 0, np.arange(3)]
    # Where nothing is, there is no light either: a lifted black would shine through the edges.
    rgba[rgba[..., 3] == 0] = 0
    return dolls._replace(palette=rgba.view(np.uint32)[..., 0])


def paint(dolls: Sketches, doll: int, corner_px: Floats, zoom: Floats, size_px: tuple[int, int]) -> Pixels:
    """One doll's picture (height, width, 4): RGB times its coverage, and the coverage, each 0 to 255.

    Args:
        dolls: of which one is painted.
        doll: which.
        corner_px: upper left corner of the picture, in the sketch's pixels (2,).
        zoom: pixels of the picture per pixel of the sketch, across and down (2,).
        size_px: width and height of the picture.
    """
    width, height = size_px
    materials = np.zeros((2 * height, 2 * width), np.uint8)  # twice as fine: edges come out smooth
    fine = 2.0 * zoom
    order = dolls.order[doll]
    order = order[dolls.shown[doll, order]]
    scale = fine * (1 << _SUBPIXEL)
    offset = corner_px * scale + 0.5 * (1 << _SUBPIXEL)  # OpenCV's whole numbers are the middles of pixels
    fixed = (dolls.corners_px[doll, order] * scale.astype(np.float32) - offset.astype(np.float32)).astype(np.int32)
    for shape, material in zip(fixed, dolls.material[order].tolist(), strict=True):
        cv2.fillConvexPoly(materials, shape, material, shift=_SUBPIXEL)
    x0, y0 = (dolls.anchor_px[doll] - corner_px) * fine
    period = dolls.period_px[doll] * fine[1]
    for pattern, bit in zip(dolls.pattern[doll].tolist(), (_UPPER_BIT, _LOWER_BIT), strict=True):
        if pattern:
            materials |= _pattern(pattern, bit, materials.shape, (x0, y0), period)
    rgba = dolls.palette[doll].take(materials).view(np.uint8).reshape(2 * height, 2 * width, 4)
    small: Pixels = cv2.resize(rgba, size_px, interpolation=cv2.INTER_AREA)
    return small


def _pattern(pattern: int, bit: int, shape: tuple[int, ...], anchor: tuple[float, float], period: float) -> Pixels:
    """Where the second colour of a pattern shows: `bit` there, 0 elsewhere."""
    on = np.uint8(bit)
    down = np.floor((np.arange(shape[0]) - anchor[1]) / period).astype(np.int64)
    across = np.floor((np.arange(shape[1]) - anchor[0]) / period).astype(np.int64)
    rows, columns = (down % 2).astype(np.uint8) * on, (across % 2).astype(np.uint8) * on
    if pattern == 1:
        columns[:] = 0
    elif pattern == 2:
        rows[:], columns = 0, (across % 3 == 0).astype(np.uint8) * on
    both: Pixels = rows[:, None] & columns if pattern == 4 else rows[:, None] ^ columns
    return both


def over(sprite: Pixels, ground: Pixels) -> Pixels:
    """A doll's picture (h, w, 4) over a ground (h, w, 3)."""
    bare = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(sprite, 3)), cv2.COLOR_GRAY2RGB)
    behind = cv2.multiply(ground, bare, scale=1 / 255)
    out: Pixels = cv2.add(cv2.cvtColor(sprite, cv2.COLOR_RGBA2RGB), behind)  # type: ignore[assignment]
    return out
