"""Bodies in space: joints and their radii, for people who walk, stand or reach for a shelf.

A figure of balls at joints, posed by the phase of the stride. Joints come in the store's metres (x right, y down,
z up), so every camera sees the same body.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from streaming.simulators.store.identities import Identities
from streaming.simulators.store.plan import Floats


class Joint(IntEnum):
    """Rows of a body; of pairs the right one comes first."""

    PELVIS = 0
    NECK = 1
    CHIN = 2
    BROW = 3
    CROWN = 4
    NAPE = 5
    EYE_R = 6
    EYE_L = 7
    SHOULDER_R = 8
    SHOULDER_L = 9
    ELBOW_R = 10
    ELBOW_L = 11
    HAND_R = 12
    HAND_L = 13
    HIP_R = 14
    HIP_L = 15
    KNEE_R = 16
    KNEE_L = 17
    ANKLE_R = 18
    ANKLE_L = 19
    TOE_R = 20
    TOE_L = 21


class Poses(NamedTuple):
    """Where N people stand and what they do; (N,) each."""

    x_m: Floats
    y_m: Floats
    heading_rad: Floats  # from x towards y
    gait_rad: Floats  # phase of the stride
    speed_mps: Floats
    reach: Floats  # 0 arms down to 1 an arm at the shelf


class Bodies(NamedTuple):
    """N bodies of J joints."""

    joints_m: Floats  # (N, J, 3) in the store
    radii_m: Floats  # (N, J)


# Radii, of the height; from Drillis and Contini's proportions, rounder.
_RADII = {
    Joint.PELVIS: 0.055, Joint.NECK: 0.028, Joint.CHIN: 0.040, Joint.BROW: 0.046, Joint.CROWN: 0.050, Joint.NAPE: 0.043,
    Joint.EYE_R: 0.006, Joint.EYE_L: 0.006, Joint.SHOULDER_R: 0.037, Joint.SHOULDER_L: 0.037, Joint.ELBOW_R: 0.024,
    Joint.ELBOW_L: 0.024, Joint.HAND_R: 0.022, Joint.HAND_L: 0.022, Joint.HIP_R: 0.050, Joint.HIP_L: 0.050,
    Joint.KNEE_R: 0.035, Joint.KNEE_L: 0.035, Joint.ANKLE_R: 0.024, Joint.ANKLE_L: 0.024, Joint.TOE_R: 0.019,
    Joint.TOE_L: 0.019,
}  # fmt: skip
_BUILT = [
    joint for joint in Joint if joint not in (Joint.CHIN, Joint.BROW, Joint.CROWN, Joint.NAPE, Joint.EYE_R, Joint.EYE_L)
]
_HEAD = [Joint.CHIN, Joint.BROW, Joint.CROWN, Joint.NAPE]


def pose(people: Identities, poses: Poses) -> Bodies:
    """Bodies of N people in N poses: the lowest point is on the floor, the crown at the person's height when they stand
    upright."""
    count, unit = len(people), people.height_m
    radii = np.tile([_RADII[joint] for joint in Joint], (count, 1)) * unit[:, None]
    radii[:, _BUILT] *= people.build[:, None]
    radii[:, _HEAD] *= people.head[:, None]
    radii[:, Joint.CHIN] *= people.jaw / _RADII[Joint.CHIN] * _RADII[Joint.BROW]
    radii[:, Joint.NAPE] *= 1.0 - 0.3 * people.hair  # long hair falls narrower
    body = np.zeros((count, len(Joint), 3))  # to the right, forwards, up
    _legs(body, people, poses, radii)
    _torso_and_head(body, people, poses, radii)
    _arms(body, people, poses)
    cos, sin = np.cos(poses.heading_rad)[:, None], np.sin(poses.heading_rad)[:, None]
    right, forwards, up = body[..., 0], body[..., 1], body[..., 2]
    world = [poses.x_m[:, None] - right * sin + forwards * cos, poses.y_m[:, None] + right * cos + forwards * sin, up]
    return Bodies(np.stack(world, axis=-1), radii)


_THIGH, _SHIN = 0.48, 0.45  # of the leg; the rest is the foot


def _amplitude(poses: Poses) -> Floats:
    return np.clip(poses.speed_mps / 1.2, 0.0, 1.2)


def _swung(start: Floats, length: Floats, angle: Floats) -> Floats:
    """The end of a limb that hangs from `start` (N, 3), turned forwards by `angle` (N,)."""
    end = start.copy()
    end[:, 1] += length * np.sin(angle)
    end[:, 2] -= length * np.cos(angle)
    return end


def _legs(body: Floats, people: Identities, poses: Poses, radii: Floats) -> None:
    unit, amplitude = people.height_m, _amplitude(poses)
    leg = people.leg * unit
    body[:, Joint.PELVIS, 2] = leg
    for side, (hip, knee, ankle, toe) in zip((1.0, -1.0), _LEGS, strict=True):
        thigh = 0.37 * amplitude * side * np.sin(poses.gait_rad)
        bend = amplitude * (0.12 + 0.75 * np.maximum(0.0, side * np.cos(poses.gait_rad)))
        body[:, hip, 0] = side * people.hip * unit
        body[:, hip, 2] = leg
        body[:, knee] = _swung(body[:, hip], _THIGH * leg, thigh)
        body[:, ankle] = _swung(body[:, knee], _SHIN * leg, thigh - bend)
        body[:, toe] = body[:, ankle]
        body[:, toe, 1] += 0.075 * unit
        body[:, toe, 2] -= radii[:, ankle] - radii[:, toe]
        body[:, toe, 0] += side * 0.012 * unit
    soles = body[:, [Joint.ANKLE_R, Joint.ANKLE_L, Joint.TOE_R, Joint.TOE_L]]
    lowest = (soles[..., 2] - radii[:, [Joint.ANKLE_R, Joint.ANKLE_L, Joint.TOE_R, Joint.TOE_L]]).min(axis=1)
    below_waist = [Joint.PELVIS, *(joint for side in _LEGS for joint in side)]
    body[:, below_waist, 2] -= lowest[:, None]


_LEGS = (
    (Joint.HIP_R, Joint.KNEE_R, Joint.ANKLE_R, Joint.TOE_R),
    (Joint.HIP_L, Joint.KNEE_L, Joint.ANKLE_L, Joint.TOE_L),
)
_ARMS = (
    (Joint.SHOULDER_R, Joint.ELBOW_R, Joint.HAND_R),
    (Joint.SHOULDER_L, Joint.ELBOW_L, Joint.HAND_L),
)


def _torso_and_head(body: Floats, people: Identities, poses: Poses, radii: Floats) -> None:
    unit = people.height_m
    lean = people.lean_rad * np.minimum(_amplitude(poses), 1.0)
    waist = body[:, Joint.PELVIS]

    def above(joint: Joint, up: Floats, right: Floats | float = 0.0, forwards: Floats | float = 0.0) -> None:
        """Place a joint by its height over the waist, upright, and lean it with the torso."""
        body[:, joint, 0] = right
        body[:, joint, 1] = waist[:, 1] + up * np.sin(lean) + forwards * np.cos(lean)
        body[:, joint, 2] = waist[:, 2] + up * np.cos(lean) - forwards * np.sin(lean)

    legs = (_THIGH + _SHIN) * people.leg * unit + radii[:, Joint.ANKLE_R]  # sole to hip, when straight
    top = unit - legs  # of the head, over the hips
    crown = radii[:, Joint.CROWN]
    head = people.head * unit
    for side, (shoulder, _, _) in zip((1.0, -1.0), _ARMS, strict=True):
        above(shoulder, top - 0.195 * unit, side * people.shoulder * unit)
    above(Joint.NECK, top - 0.165 * unit)
    above(Joint.CROWN, top - crown, forwards=-0.008 * head)
    above(Joint.BROW, top - crown - 0.012 * head, forwards=0.014 * head)
    above(Joint.CHIN, top - crown - 0.052 * head, forwards=0.018 * head)
    above(Joint.NAPE, top - crown - (0.012 + 0.16 * people.hair) * head, forwards=-0.022 * head)
    for side, eye in ((1.0, Joint.EYE_R), (-1.0, Joint.EYE_L)):
        above(eye, top - crown - 0.022 * head, side * 0.018 * head, 0.048 * head)


def _arms(body: Floats, people: Identities, poses: Poses) -> None:
    unit, amplitude = people.height_m, _amplitude(poses)
    for side, (shoulder, elbow, hand) in zip((1.0, -1.0), _ARMS, strict=True):
        reach = poses.reach if side > 0 else 0.35 * poses.reach
        angle = -0.5 * people.swing * amplitude * side * np.sin(poses.gait_rad) + 1.0 * reach
        body[:, elbow] = _swung(body[:, shoulder], 0.172 * unit, angle)
        body[:, elbow, 0] += side * 0.022 * unit
        body[:, hand] = _swung(body[:, elbow], 0.165 * unit, angle + 0.15 + 0.35 * amplitude + 0.5 * reach)
