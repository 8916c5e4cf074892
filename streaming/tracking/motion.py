"""Where a box will be: constant velocity, disturbed by white noise of acceleration, one filter for each coordinate.

Source: Kalman (1960); the measurement noise in proportion to the box's height is ByteTrack's (Zhang et al., 2022), the
process noise is that of a continuous model (Bar-Shalom, Li & Kirubarajan, 2001, §6.2.2): a step of a + b seconds is the
same as one of a and one of b, so frames may be dropped, and a track that is not seen needs no update.

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
_LEAST_PX = 1.0


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
        t = elapsed_s[:, None]
        value, velocity = self.mean[..., 0], self.mean[..., 1]
        var, cross, var_velocity = self.cov[..., 0], self.cov[..., 1], self.cov[..., 2]
        q = (_DISTURBED * value[:, 3:4]) ** 2
        return Motion(
            np.stack([value + t * velocity, velocity], axis=-1),
            np.stack(
                [
                    var + 2 * t * cross + t**2 * var_velocity + q * t**3 / 3,
                    cross + t * var_velocity + q * t**2 / 2,
                    var_velocity + q * t,
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

    @property
    def boxes(self) -> Floats:
        """(N, 4), corners in px; no side is shorter than a pixel."""
        centre, size = self.mean[:, :2, 0], np.maximum(self.mean[:, 2:, 0], _LEAST_PX)
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def centres(boxes: Floats) -> Floats:
    """Centre x, centre y, width, height of boxes by corners, (N, 4)."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
