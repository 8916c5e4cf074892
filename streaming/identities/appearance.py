"""How much two looks speak for one person: a likelihood ratio from embeddings.

Source: probabilistic linear discriminant analysis (Ioffe, ECCV 2006; Prince & Elder, ICCV 2007) with one variance
between persons and one within a person, the same in every direction. For n unit looks with mean x and a person of whom
K looks with mean m are known, with a = K·ρ / (K·ρ + 1 - ρ), u = ρ + (1 - ρ) / n and v = u - a·ρ:

    log LR = D/2 · (|x|² / u - |x - a·m|² / v - ln v/u)

With a share of looks that are spoilt, by somebody who stands before them or by a box that is off, it is the mixture of
that ratio and of 1: a look speaks for somebody as before, and never much against.

ρ, the cosine that two looks of one person have on average, and D, the number of directions in which people differ, are
properties of the embedding network; `Appearance.fit` finds them from labelled pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from streaming.tracking.looks import unit

Looks = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_ALIKE = 0.01  # share of pairs of two people
_CENTRE_WEIGHT = 10  # tracks of a camera from which on its mean is believed


@dataclass(frozen=True)
class Appearance:
    """What looks of this embedding network say.

    Raises:
        ValueError: a figure is out of range.
    """

    same_cosine: float = 0.5  # ρ
    directions: float = 24.0  # D
    most_log_ratio: float = 12.0  # no look is better evidence than this
    spoilt_share: float = 0.15  # of looks that show somebody in front, or nothing of use: like those of anybody

    def __post_init__(self) -> None:
        if not 0 < self.same_cosine < 1:
            raise ValueError(f"same_cosine is {self.same_cosine}, not between 0 and 1: looks of one person are alike")
        if not 0 < self.spoilt_share < 1:
            raise ValueError(f"spoilt_share is {self.spoilt_share}, not between 0 and 1: any look may be of no use")
        if not self.directions >= 1 or not self.most_log_ratio > 0:
            raise ValueError(
                f"directions {self.directions} must be 1 or more, most_log_ratio {self.most_log_ratio} > 0"
            )

    @classmethod
    def fit(cls, same: Floats, other: Floats) -> Appearance:
        """From cosines of pairs of looks from different cameras: of one person, and of two.

        ρ by their means, D by the rare pairs of two who are much alike (1 of 100), since it is by these that people are
        mistaken: there are more of them than a normal distribution of that variance has.

        Raises:
            ValueError: too few pairs, or looks of one person are no more alike than those of two.
        """
        if len(same) < 2 or len(other) < 2:
            raise ValueError(f"{len(same)} and {len(other)} pairs; at least 2 of each are needed")
        apart = float(np.mean(same) - np.mean(other))
        if apart <= 0:
            raise ValueError(f"looks of one person are no more alike than those of two: cosines differ by {apart:.3f}")
        alike = float(np.quantile(other, 1 - _ALIKE) - np.mean(other))
        directions = (float(ndtri(1 - _ALIKE)) / max(alike, 1e-6)) ** 2
        return cls(same_cosine=min(apart, 0.99), directions=max(1.0, directions))

    def log_ratio(self, looks: Looks, counts: Ints, means: Looks, known: Ints) -> Looks:
        """(T, P): for T of whom `counts` (T,) unit looks have these means (T, D), and persons of whom `known` (P,) have
        these (P, D). One product, and a few passes over each of its rows while that is near."""
        rho, half, k = self.same_cosine, self.directions / 2, known.astype(np.float64)
        a = k * rho / (k * rho + 1 - rho)
        length2, mean2 = (np.einsum("nd,nd->n", side, side) for side in (looks, means))
        log_sound, spoilt = np.log(1 - self.spoilt_share), np.float32(self.spoilt_share)
        least, most = (np.float32(log_sound + end) for end in (-self.most_log_ratio, self.most_log_ratio))
        mixed: Looks = looks @ means.T
        for n in np.unique(counts).tolist():
            u = rho + (1 - rho) / max(n, 1)  # variance of such a mean of anybody's looks; of this person's, v
            v = u - a * rho
            # The ratio is this slope times x·m, and a part that hangs on |x|² and one that does not.
            parts = 2 * half * a / v, half * (1 / u - 1 / v), log_sound - half * (a**2 * mean2 / v + np.log(v / u))
            slope, by_length, rest = (part.astype(np.float32) for part in parts)
            for at in np.flatnonzero(counts == n).tolist():
                row = mixed[at]
                row *= slope
                row += by_length * length2[at]
                row += rest
                np.clip(row, least, most, out=row)
                np.exp(row, out=row)
                row += spoilt
                np.log(row, out=row)
        return mixed


def centred(looks: Looks, camera: Ints) -> Looks:
    """Unit looks without what their camera adds to all of them, (N, D): light, angle and colour of a camera are the
    same for everybody in it. With few looks of a camera little is taken away."""
    out = looks.astype(np.float64)
    for number in np.unique(camera).tolist():
        mine = camera == number
        count = int(mine.sum())
        out[mine] -= out[mine].sum(axis=0) / (count + _CENTRE_WEIGHT)
    return unit(out.astype(np.float32))
