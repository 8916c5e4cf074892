"""Two arms compared as often as one likes, and stopped when one likes: the mixture sequential probability ratio test.

With d the difference of the arms' means, v its variance and t² that of the differences thought possible beforehand,

    L = sqrt(v / (v + t²)) exp(t² d² / (2 v (v + t²)))

is a likelihood ratio mixed over N(0, t²), and 1 / L an upper bound of the p-value that holds at every look at once
(Robbins 1970; Johari, Koomen, Pekelis and Walsh, KDD 2017, "Peeking at A/B tests"). The interval is what the same test
does not reject.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FEWEST = 100
"""Units of an arm before anything is said: means must be about normal."""


@dataclass(frozen=True)
class Tally:
    """What one arm has been worth, unit by unit."""

    units: int
    total: float
    squares: float

    @classmethod
    def of(cls, worth: npt.NDArray[np.float64]) -> Tally:
        """Of (N,) units."""
        return cls(len(worth), float(np.sum(worth)), float(np.sum(np.square(worth))))

    @property
    def mean(self) -> float:
        """A unit's."""
        return self.total / self.units

    @property
    def variance_of_mean(self) -> float:
        """Of the mean, from the units' own variance."""
        return max(self.squares / self.units - self.mean**2, 0.0) / (self.units - 1)


@dataclass(frozen=True)
class Comparison:
    """How two arms stand."""

    difference: float  # of the second arm's mean to the first's
    low: float  # of the interval, which covers the truth at every look at once with probability 1 - alpha
    high: float
    p: float  # always valid: below alpha at any look, and the arms differ
    differs: bool


def compare(
    first: Tally, second: Tally, *, alpha: float = 0.05, scale: float, before: Comparison | None = None
) -> Comparison:
    """Compare two arms with what is known now.

    Args:
        first: all of the arm that is compared with.
        second: all of the other.
        alpha: probability that equal arms are ever said to differ.
        scale: t, a difference worth finding; a wrong one costs time, not truth.
        before: the look before this one, whose evidence stands.

    Raises:
        ValueError: alpha or scale is out of range.
    """
    if not 0 < alpha < 1 or not scale > 0:
        raise ValueError(f"alpha is {alpha} and scale {scale}: needed are one between 0 and 1, and one above 0")
    least_p = 1.0 if before is None else before.p
    if min(first.units, second.units) < FEWEST:
        return Comparison(0.0, -math.inf, math.inf, least_p, least_p < alpha)
    difference = second.mean - first.mean
    variance, prior = first.variance_of_mean + second.variance_of_mean, scale**2
    if variance == 0.0:  # all units alike: nothing is known of how they vary
        return Comparison(difference, -math.inf, math.inf, least_p, least_p < alpha)
    log_ratio = 0.5 * math.log(variance / (variance + prior)) + prior * difference**2 / (
        2 * variance * (variance + prior)
    )
    width = math.sqrt(
        2
        * variance
        * (variance + prior)
        / prior
        * (math.log(1 / alpha) + 0.5 * math.log((variance + prior) / variance))
    )
    p = min(least_p, math.exp(min(-log_ratio, 0.0)))
    return Comparison(difference, difference - width, difference + width, p, p < alpha)
