"""Who is it: the probability of each candidate, and the assignment of several tracks at once.

Before a look at them, candidates come to a camera at some rate (`arrivals`), and so do newcomers. A look
multiplies a candidate's rate by its likelihood ratio (`appearance`). By Bayes' rule, over all who could have come:

    P(i) = rate_i · LR_i / (rate_new + Σ_j rate_j · LR_j)

which is the score of a link: a probability, as far as rates and ratios are right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streaming.identities.appearance import Floats, Ints, Looks
from streaming.tracking.association import assign

NOBODY = -1


class Links(NamedTuple):
    """For T tracks: who each is."""

    person: Ints  # (T,) row among the candidates, or `NOBODY`
    score: Floats  # (T,) probability that it is so, of `NOBODY` that it is none of them


def posterior(rates: Floats, log_ratio: Floats | Looks, new_rate: Floats) -> Floats:
    """(T, P) probability of each candidate; what is missing to 1 in a row is a newcomer's.

    Args:
        rates: (T, P) arrivals per second, 0 where it cannot be.
        log_ratio: (T, P)
        new_rate: (T,) newcomers per second, above 0.
    """
    with np.errstate(divide="ignore"):
        weight = np.log(rates) + log_ratio - np.log(new_rate)[:, None]
    top = np.maximum(weight.max(axis=1, initial=-np.inf), 0.0)
    scaled = np.exp(weight - top[:, None])
    share: Floats = scaled / (np.exp(-top) + scaled.sum(axis=1))[:, None]
    return share


def link(probability: Floats, least: float) -> Links:
    """At most one track a candidate, the greatest sum of log odds against being new; no link below `least`."""
    rest = np.maximum(1.0 - probability.sum(axis=1), 1e-12)
    with np.errstate(divide="ignore"):
        worth = np.where(probability >= least, np.log(probability) - np.log(rest)[:, None], 0.0)
    found = assign(worth, 1e-9)
    person = np.full(len(probability), NOBODY)
    person[found.rows] = found.columns
    score = rest.copy()
    score[found.rows] = probability[found.rows, found.columns]
    return Links(person, np.clip(score, 0.0, 1.0))
