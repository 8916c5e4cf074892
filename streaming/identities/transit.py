"""How people get from camera to camera: how likely, and after how long, learned from links that are sure.

Times between leaving a camera and entering the next are log-normal for each ordered pair of cameras, beside a broad
share for detours; which camera comes next is multinomial. Both start from a prior worth a few observations, so that an
unknown way is possible at once, and none is ever excluded for good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_S = 0.3
"""Shorter times count as this one."""


@dataclass(frozen=True)
class TransitPrior:
    """What is believed of a way before anybody was seen to take it."""

    typical_s: float = 12.0  # median
    log_spread: float = 1.1  # standard deviation of the logarithm
    worth: float = 3.0  # observations
    ways_worth: float = 4.0  # observations over all cameras that may come next
    left_share: float = 0.15  # who is seen no more after any one camera
    detour_share: float = 0.1
    longest_s: float = 1800.0


@dataclass(frozen=True)
class Transits:
    """What was learned of C cameras."""

    counts: Floats  # (C, C) from, to
    mean_log: Floats  # (C, C) of the logarithm of the time in seconds
    m2_log: Floats  # (C, C) sum of squares about it
    prior: TransitPrior = TransitPrior()

    def rate(self, came_from: Ints, to: Ints, gap_s: Floats) -> Floats:
        """How many times a second somebody who left `came_from` `gap_s` ago is to be expected at `to`, given that he
        has not been seen since; all (N,) or of shapes that broadcast."""
        prior, n = self.prior, self.counts[came_from, to]
        total = self.counts.sum(axis=1)[came_from]
        way = (n + prior.ways_worth / len(self.counts)) / (total + prior.ways_worth)
        gap = np.clip(gap_s, LEAST_S, prior.longest_s)
        centre = (n * self.mean_log[came_from, to] + prior.worth * np.log(prior.typical_s)) / (n + prior.worth)
        shift = self.mean_log[came_from, to] - np.log(prior.typical_s)
        squares = (
            self.m2_log[came_from, to]
            + prior.worth * prior.log_spread**2
            + n * prior.worth / (n + prior.worth) * shift**2
        )
        spread = np.sqrt(squares / (n + prior.worth))
        z = (np.log(gap) - centre) / spread
        broad = np.log(prior.longest_s / LEAST_S)
        detour = prior.detour_share
        density = (1 - detour) * np.exp(-(z**2) / 2) / (gap * spread * np.sqrt(2 * np.pi)) + detour / (gap * broad)
        still_out = (1 - detour) * ndtr(-z) + detour * np.log(prior.longest_s / gap) / broad
        staying = 1 - prior.left_share
        expected: Floats = way * staying * density / (prior.left_share + staying * still_out)
        return expected


def learned(count: float, mean: float, m2: float, gap_s: float) -> tuple[float, float, float]:
    """Count, mean and sum of squares of the logarithm with one more time (Welford, 1962)."""
    value = float(np.log(max(gap_s, LEAST_S)))
    count += 1
    step = value - mean
    mean += step / count
    return count, mean, m2 + step * (value - mean)
