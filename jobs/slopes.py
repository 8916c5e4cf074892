"""Whether a series that was sampled for hours grows: a robust slope with its interval, and what that says.

Samples a few seconds apart hang together (a collector that runs now and then, processes that take turns), and a slope
through them would look surer than it is. So the medians of blocks count, each longer than such a cycle; through these
goes Theil and Sen's slope, the median of the slopes of all pairs, with Kendall's interval for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAST_BLOCKS = 8  # fewer say nothing at 95 %
CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What an interval says about a limit."""

    FLAT = "flat"  # it lies below the limit: growth beyond that is excluded
    GROWS = "grows"  # it lies above the limit
    UNCLEAR = "unclear"  # the limit lies in it, or there is too little to tell: a longer run decides


@dataclass(frozen=True, slots=True)
class Slope:
    """Units of the series per hour."""

    per_h: float
    low: float  # of the 95 % interval
    high: float

    def against(self, limit_per_h: float) -> Verdict:
        """What it says about growth of more than `limit_per_h`."""
        if self.high <= limit_per_h:
            return Verdict.FLAT
        return Verdict.GROWS if self.low > limit_per_h else Verdict.UNCLEAR


def slope(times_s: Floats, values: Floats, block_s: float) -> Slope | None:
    """The slope of a series.

    Args:
        times_s: (N,) when each sample was taken, rising.
        values: (N,) NaN where there was none.
        block_s: how long a block is.

    Returns None with fewer than `LEAST_BLOCKS` blocks.
    """
    from scipy.stats import theilslopes

    hours, medians = block_medians(times_s, values, block_s)
    if len(medians) < LEAST_BLOCKS:
        return None
    found = theilslopes(medians, hours, alpha=CONFIDENCE)
    return Slope(float(found.slope), float(found.low_slope), float(found.high_slope))


def block_medians(times_s: Floats, values: Floats, block_s: float) -> tuple[Floats, Floats]:
    """Middle of each whole block in hours, (B,), and the median of its samples, (B,); empty blocks are left out."""
    known = ~np.isnan(values)
    if not known.any():
        return np.empty(0), np.empty(0)
    block = ((times_s - times_s[0]) // block_s).astype(np.int64)
    whole = int((times_s[-1] - times_s[0]) // block_s)  # what is left over at the end is no block
    filled = [number for number in range(whole) if (known & (block == number)).any()]
    middle_s = times_s[0] + (np.array(filled, np.float64) + 0.5) * block_s
    return middle_s / 3600.0, np.array([np.median(values[known & (block == number)]) for number in filled])
