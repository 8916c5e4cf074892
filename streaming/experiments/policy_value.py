"""What another policy would have been worth, from what this one explored: inverse propensity scores.

With the item-position click model (Li et al., KDD 2018): whether an item is clicked hangs on its place and on itself,
not on its neighbours. For N answers of S places, with p the probability that the logging policy gave the item its
place, q that of the policy to be judged, w = q / p and c the click,

    IPS    V = 1/N sum_i sum_s w c                                   (Horvitz and Thompson 1952)
    SNIPS  V = sum_s (sum_i w c) / (sum_i w)                         (Swaminathan and Joachims, NeurIPS 2015)

V is clicks an answer. Answers are taken for independent; intervals are normal, of the second by the delta method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PolicyValue:
    """Clicks an answer, with the interval of the level asked for."""

    value: float
    low: float
    high: float
    self_normalised: float
    self_normalised_low: float
    self_normalised_high: float
    mean_weight: float  # 1 in expectation, if whatever the policy shows was explored; far below: it was not
    answers: int


def policy_value(
    clicked: npt.NDArray[Any], propensity: Floats, wanted: Floats, *, level: float = 0.95, max_weight: float = math.inf
) -> PolicyValue:
    """Value of a policy.

    Args:
        clicked: (N, S) whether what was shown in each place was clicked, or what that was worth; 0 in empty places.
        propensity: (N, S) probability with which it was shown there; 0 in empty places.
        wanted: (N, S) probability with which the policy to be judged shows the same item in the same place. Of one that
            ranks without chance: 1 where it has the item there, else 0.
        level: of the intervals.
        max_weight: larger weights are cut down to this, which trades variance for a value that is too low.

    Raises:
        ValueError: shapes differ, there are fewer than two answers, or a probability is none.
    """
    clicked, propensity, wanted = (np.asarray(values, np.float64) for values in (clicked, propensity, wanted))
    if not clicked.shape == propensity.shape == wanted.shape or clicked.ndim != 2 or len(clicked) < 2:
        raise ValueError(f"clicked, propensity, wanted are {clicked.shape}, {propensity.shape}, {wanted.shape}, "
                         "not one (N, S) of two answers or more")  # fmt: skip
    for name, values in (("propensity", propensity), ("wanted", wanted)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} has a value that is no probability")
    filled = propensity > 0
    weight = np.minimum(np.where(filled, wanted / np.where(filled, propensity, 1.0), 0.0), max_weight)
    answers = len(clicked)
    gained = (weight * clicked).sum(axis=1)
    mean_weight = weight.mean(axis=0)
    used = mean_weight > 0
    share = (weight * clicked).mean(axis=0)[used] / mean_weight[used]
    off = (weight[:, used] * (clicked[:, used] - share) / mean_weight[used]).sum(axis=1)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    value, width = float(gained.mean()), z * float(gained.std(ddof=1)) / math.sqrt(answers)
    normalised, normalised_width = float(share.sum()), z * float(off.std(ddof=1)) / math.sqrt(answers)
    return PolicyValue(
        value=value,
        low=value - width,
        high=value + width,
        self_normalised=normalised,
        self_normalised_low=normalised - normalised_width,
        self_normalised_high=normalised + normalised_width,
        mean_weight=float(mean_weight[filled.any(axis=0)].mean()) if filled.any() else 0.0,
        answers=answers,
    )
