"""Where a box will be: a velocity that dies away and is disturbed by white noise, one filter for each coordinate.

Source: Kalman (1960); the measurement noise in proportion to the box's height is ByteTrack's (Zhang et al., 2022). The
velocity is an Ornstein-Uhlenbeck process (Uhlenbeck & Ornstein, 1930), not constant as there: people in a store stop
and turn, and whoever is hidden for a second must not be looked for metres away. The model is continuous: a step of
a + b seconds is the same as one of a and one of b, so frames may be dropped, and an unseen track needs no update.

Coordinates are centre x, centre y, width and height in px, (N, 4); as noises are independent of one another, so are the
four filters: arithmetic of single numbers, and a track's values never depend on which others are computed with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MEASURED = 1 / 20  # standard deviation of a measured coordinate, heights of the box
_SPEED = 0.8  # of the first velocity, heights per second: a person of 1.7 m walks at 1.4 m/s
_DISTURBED = np.array([0.5, 0.5, 0.1, 0.1])  # of the acceleration, heights / s^1.5
_DECAY_PER_S = 0.5
_LEAST_PX = 1.0
_TAIL, _HIDDEN = 4.0, 3.0


class Motion(NamedTuple):
    """N boxes as they are believed to be at some time."""

    mean: Floats  # (N, 4, 2) value in px and velocity in px/s of each coordinate
    cov: Floats  # (N, 4, 3) variance of the value, covariance, variance of the velocity

    @classmethod
    def begin(cls, boxes: Floats) -> Motion:
        """At the first sight of these boxes (N, 4), corners in px."""
        values = centres(boxes)
        height = values[:, 3:4]
        zero = np.zeros_like(values)
        return cls(
            np.stack([values, zero], axis=-1),
            np.stack([zero + (_MEASURED * height) ** 2, zero, zero + (_SPEED * height) ** 2], axis=-1),
        )

    def after(self, elapsed_s: Floats) -> Motion:
        """As predicted so many seconds later, (N,)."""
        t, a = elapsed_s[:, None], _DECAY_PER_S
        kept = np.exp(-a * t)  # of the velocity
        way = (1 - kept) / a  # for a unit of velocity
        value, velocity = self.mean[..., 0], self.mean[..., 1]
        var, cross, var_velocity = self.cov[..., 0], self.cov[..., 1], self.cov[..., 2]
        q = (_DISTURBED * value[:, 3:4]) ** 2
        return Motion(
            np.stack([value + way * velocity, kept * velocity], axis=-1),
            np.stack(
                [
                    var + 2 * way * cross + way**2 * var_velocity + q / a**2 * (t - 2 * way + (1 - kept**2) / (2 * a)),
                    kept * (cross + way * var_velocity) + q / 2 * way**2,
                    kept**2 * var_velocity + q * (1 - kept**2) / (2 * a),
                ],
                axis=-1,
            ),
        )

    def measured(self, boxes: Floats) -> Motion:
        """With these boxes seen now, (N, 4), corners in px."""
        seen = centres(boxes)
        var, cross, var_velocity = self.cov[..., 0], self.cov[..., 1], self.cov[..., 2]
        innovation = seen - self.mean[..., 0]
        spread = var + (_MEASURED * seen[:, 3:4]) ** 2
        gain, gain_velocity = var / spread, cross / spread
        return Motion(
            self.mean + np.stack([gain, gain_velocity], axis=-1) * innovation[..., None],
            np.stack([(1 - gain) * var, (1 - gain) * cross, var_velocity - gain_velocity * cross], axis=-1),
        )

    def strangeness(self, boxes: Floats) -> tuple[Floats, Floats]:
        """How unlike each box (M, 4) is to what is expected, and how little the expectation says: both (N, M).

        The first is the sum over the four edges of a box of ν ln(1 + z² / ν), as in Student's t with ν = 4, at most
        `_HIDDEN` for each: an edge may be anywhere when somebody stands before it. The second is the logarithm of the
        area in which the centre is expected, against that of one measurement.
        """
        seen = centres(boxes)
        away = seen[None] - self.mean[:, None, :, 0]
        height = np.maximum(np.minimum(seen[None, :, 3], self.mean[:, None, 3, 0]), _LEAST_PX)
        noise = (_MEASURED * height) ** 2
        spread = self.cov[:, None, :, 0] + noise[..., None]
        strange = np.zeros(away.shape[:2])
        for centre, size in ((0, 2), (1, 3)):
            variance = spread[..., centre] + spread[..., size] / 4
            for side in (-0.5, 0.5):
                edge = away[..., centre] + side * away[..., size]
                strange += np.minimum(_TAIL * np.log1p(edge**2 / (_TAIL * variance)), _HIDDEN)
        vague: Floats = (np.log(spread[..., 0] / noise) + np.log(spread[..., 1] / noise)) / 2
        return strange, vague

    @property
    def boxes(self) -> Floats:
        """(N, 4), corners in px; no side is shorter than a pixel."""
        centre, size = self.mean[:, :2, 0], np.maximum(self.mean[:, 2:, 0], _LEAST_PX)
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def centres(boxes: Floats) -> Floats:
    """Centre x, centre y, width, height of boxes by corners, (N, 4)."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
