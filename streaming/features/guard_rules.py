"""When is a model no longer to be believed? Judged by the matches that have finished, with three measures:

- **evidence**: how much better the results are explained by something other than what the model said: by half or by
  twice its log-odds, or by 0.8 more for either camp. Log-likelihood ratio in nats, each match counting once, the best
  of the alternatives over the best of the latest stretches of at least `FEWEST` matches (a CUSUM test in a window).
- **drift**: the population stability index of the lead in gold, in units of what is usual where the model learned,
  against the matches that the baseline was fitted to, over the last `DRIFT_WINDOW` matches. It needs no results to be
  unlikely, and so sees a patch much sooner. A model that was trained on the new patch brings units of its own, in which
  leads are as they used to be: so it can return.
- Brier score and expected calibration error over the window are stated, for people; noise in them is too large to
  decide anything within 30 matches.

The model is set aside when the evidence alone is strong, when leads have drifted far from all that it knows, or when
there is some of both. It returns after `RECOVERY` matches on end in which leads were as they used to be and no
alternative explains the results better; the thresholds lie apart, so that it does not flap. What came before a change
of mind is dropped: it says nothing of how things are now.

How often these rules are right, on simulated matches (tests/streaming/test_guard_rules.py has a smaller run): in 300
matches of one patch that the model knows it is set aside by mistake in 0.9 % of 1,500 runs (lol), 2.2 % (dota2) and 0.7
% (hok), where leads are measured by the baseline; by the models that ship, in 1 to 2 % of 150. A patch that doubles
every lead is caught within 30 matches in 97 to 99 % of 500 runs, after 11 in the median; one that doubles camp A's
leads only in 52 to 63 %. A patch that changes what leads are worth, but not the leads, cannot be told from luck in 30
matches: twice the worth is caught in under 1 %, a bonus of 1 in log-odds in 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.features.baseline import Baseline

Floats = npt.NDArray[np.float64]

WINDOW = 60
DRIFT_WINDOW = 30
FEWEST = 10
RECOVERY = 20

EVIDENCE_AT, DRIFT_AT = 6.0, 0.28
SOME_EVIDENCE, SOME_DRIFT = 2.0, 0.25
CALM_DRIFT = 0.10

_PRIOR_MATCHES = 10.0  # as if so many had been seen with the shares of the reference: tames empty bins
_ECE_BINS = 10

_ALTERNATIVES: tuple[Callable[[Floats], Floats], ...] = (
    lambda logit: 0.5 * logit,
    lambda logit: 2.0 * logit,
    lambda logit: logit - 0.8,
    lambda logit: logit + 0.8,
)


@dataclass(frozen=True, slots=True)
class Results:
    """Finished matches of one title and patch, oldest first: R matches, sampled at up to S clocks, NaN elsewhere."""

    logit: Floats  # (R, S) what the model said
    lead: Floats  # (R, S) in gold, in units of what is usual; as `Baseline.lead` where the model does not say
    won: Floats  # (R,) 1 if camp A won

    def latest(self, count: int) -> Results:
        """The last `count` matches."""
        return Results(self.logit[-count:], self.lead[-count:], self.won[-count:])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What finished matches say about the model."""

    degraded: bool
    keep: int  # so many of the latest matches still count
    brier: float
    ece: float
    drift: float
    evidence: float  # nats; -inf before `FEWEST` matches


def judge(results: Results, baseline: Baseline, degraded: bool) -> Verdict:
    """Decide anew after a match has finished.

    Args:
        results: at least one match, at most `WINDOW`.
        baseline: what leads used to look like.
        degraded: what was decided before.
    """
    count = len(results.won)
    ratios = _ratios(results)
    evidence, since = _evidence(ratios)
    drift = _drift(results.latest(DRIFT_WINDOW), baseline)
    keep = count
    if not degraded:
        breaks = evidence > EVIDENCE_AT or drift > DRIFT_AT or (drift > SOME_DRIFT and evidence > SOME_EVIDENCE)
        if count >= FEWEST and breaks:
            degraded = True
            keep = since if evidence > EVIDENCE_AT else min(count, DRIFT_WINDOW)
    elif count >= RECOVERY:
        calm = _drift(results.latest(RECOVERY), baseline) < CALM_DRIFT
        if calm and (ratios[-RECOVERY:].sum(axis=0) < 0).all():
            degraded, keep = False, RECOVERY
    return Verdict(degraded, keep, _brier(results), _ece(results), drift, evidence)


def log_likelihood(logit: Floats, won: Floats) -> Floats:
    """Of results given log-odds, (R, S) nats; NaN stays NaN."""
    with np.errstate(invalid="ignore"):
        likelihood: Floats = -np.logaddexp(0.0, np.where(won[:, None] > 0.5, -logit, logit))
    return likelihood


def _ratios(results: Results) -> Floats:
    """(R, alternatives) log-likelihood ratios to the model, the mean of each match's samples; 0 without samples."""
    logit, won = results.logit, results.won
    said = log_likelihood(logit, won)
    gains = [np.nan_to_num(log_likelihood(other(logit), won) - said).sum(axis=1) for other in _ALTERNATIVES]
    sampled = np.maximum((~np.isnan(logit)).sum(axis=1), 1)
    ratios: Floats = np.column_stack(gains) / sampled[:, None]
    return ratios


def _evidence(ratios: Floats) -> tuple[float, int]:
    """The largest sum over the latest matches, at least `FEWEST`, of one alternative; and how many those are."""
    if len(ratios) < FEWEST:
        return -math.inf, len(ratios)
    sums = np.cumsum(ratios[::-1], axis=0)[FEWEST - 1 :]
    stretch = int(sums.max(axis=1).argmax())
    return float(sums[stretch].max()), stretch + FEWEST


def _drift(results: Results, baseline: Baseline) -> float:
    """Population stability index of the lead; each match counts once. 0 where no feed says gold."""
    known = ~np.isnan(results.lead)
    weight = (known / np.maximum(known.sum(axis=1, keepdims=True), 1))[known]
    expected = np.array(baseline.drift_shares)
    bins = np.searchsorted(np.array(baseline.drift_edges), results.lead[known])
    seen = np.bincount(bins, weights=weight, minlength=len(expected))
    share = (seen + _PRIOR_MATCHES * expected) / (seen.sum() + _PRIOR_MATCHES)
    return float(((share - expected) * np.log(share / expected)).sum())


def _brier(results: Results) -> float:
    """Mean over samples."""
    p = _probability(results.logit)
    return float(np.nanmean((p - results.won[:, None]) ** 2)) if np.isfinite(p).any() else math.nan


def _ece(results: Results) -> float:
    """Gap between stated and observed frequency over samples, in ten bins of equal width."""
    sampled = ~np.isnan(results.logit)
    if not sampled.any():
        return math.nan
    p = _probability(results.logit)[sampled]
    won = np.broadcast_to(results.won[:, None], sampled.shape)[sampled]
    bins = np.minimum((p * _ECE_BINS).astype(np.int64), _ECE_BINS - 1)
    gaps = np.bincount(bins, weights=p - won, minlength=_ECE_BINS)
    return float(np.abs(gaps).sum() / len(p))


def _probability(logit: Floats) -> Floats:
    p: Floats = 1.0 / (1.0 + np.exp(-np.clip(logit, -60, 60)))
    return p
