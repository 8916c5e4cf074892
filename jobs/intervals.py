"""Figures of merit with bootstrap intervals over matches, never over frames: frames of a match share its outcome.

A resample draws as many matches as there are, with replacement. Log-loss, accuracy, Brier and ECE are ratios of sums
over matches, so a thousand resamples are one matrix product: counts (R, B) times sums per match (B, ·). AUC is taken
the same way from histograms of each match's probabilities, cut at 1,000 quantiles. All predictors meet the same
resamples, so that the interval of a difference is that of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models import metrics

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MEASURES = ("log_loss", "accuracy", "brier", "auc", "ece")
RESAMPLES = 1000
ECE_BINS = 15
_AUC_BINS = 1000
_EPSILON = 1e-12
_LOW, _HIGH = 2.5, 97.5


@dataclass(frozen=True)
class Frames:
    """What is judged: N frames of B matches."""

    won: Floats  # (N,) 1 if camp A won
    match: Ints  # (N,) position of its match, 0 … B - 1
    matches: int  # B


@dataclass(frozen=True)
class Judged:
    """One predictor's figures; `samples` has each figure of every resample, (R,), NaN where it means nothing."""

    values: dict[str, float]
    samples: dict[str, Floats]

    def interval(self, measure: str) -> tuple[float, float] | None:
        """The 95 % interval of a figure; None where it means nothing."""
        return _percentiles(self.samples[measure])

    def difference(self, other: Judged, measure: str) -> tuple[float, float, float] | None:
        """Other minus this: value, low, high of the 95 % interval of pairs; None where it means nothing."""
        value = other.values[measure] - self.values[measure]
        interval = _percentiles(other.samples[measure] - self.samples[measure])
        return None if interval is None or math.isnan(value) else (value, *interval)


def judge(
    frames: Frames,
    probs: Mapping[str, Floats],
    *,
    measures: Sequence[str] = MEASURES,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Judged]:
    """Every predictor's figures on the same frames and the same resamples.

    Args:
        frames: what is judged; at least one.
        probs: by predictor, (N,) P(A wins).
        measures: some of `MEASURES`.
        resamples: R.
        seed: of the resamples.
    """
    counts = resample_counts(frames.matches, resamples, seed)
    return {
        name: Judged(
            {measure: float(getattr(metrics, measure)(p, frames.won)) for measure in measures},
            {measure: _SAMPLERS[measure](frames, p, counts) for measure in measures},
        )
        for name, p in probs.items()
    }


def ece_of_noise(frames: Frames, probs: Floats) -> Floats:
    """Calibration error that these matches would show of a predictor without any, (`RESAMPLES`,).

    ECE is a sum of absolute values, so that luck makes it grow too: by how much, tell the gaps of resamples less the
    gaps of the frames themselves (a centred bootstrap).

    Args:
        frames: what is judged; at least one.
        probs: (N,) P(A wins).
    """
    return _gaps(frames, probs, resample_counts(frames.matches, RESAMPLES, seed=0), centre=1.0)


def resample_counts(matches: int, resamples: int, seed: int) -> Floats:
    """How often each match is drawn in each resample, (R, B); every row sums to B."""
    chance = np.random.default_rng(seed)
    return chance.multinomial(matches, np.full(matches, 1 / matches), size=resamples).astype(np.float64)


def _sums(frames: Frames, values: Floats) -> Floats:
    sums: Floats = np.bincount(frames.match, weights=values, minlength=frames.matches)  # type: ignore[assignment]
    return sums


def _mean(frames: Frames, values: Floats, counts: Floats) -> Floats:
    """Mean over the frames of each resample; NaN where a resample has none."""
    with np.errstate(invalid="ignore"):
        out: Floats = (counts @ _sums(frames, values)) / (counts @ _sums(frames, np.ones_like(values)))
    return out


def _log_loss(frames: Frames, p: Floats, counts: Floats) -> Floats:
    held = p.clip(_EPSILON, 1 - _EPSILON)
    return _mean(frames, -(frames.won * np.log(held) + (1 - frames.won) * np.log1p(-held)), counts)


def _accuracy(frames: Frames, p: Floats, counts: Floats) -> Floats:
    return _mean(frames, np.where(p == 0.5, 0.5, (p > 0.5) == (frames.won > 0.5)), counts)


def _brier(frames: Frames, p: Floats, counts: Floats) -> Floats:
    return _mean(frames, np.square(p - frames.won), counts)


def _ece(frames: Frames, p: Floats, counts: Floats) -> Floats:
    return _gaps(frames, p, counts, centre=0.0)


def _gaps(frames: Frames, p: Floats, counts: Floats, *, centre: float) -> Floats:
    """Sum of the absolute gaps of all bins, (R,); `centre` times the gaps of the frames themselves is taken off."""
    slot = np.minimum((p * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = _histogram(frames, slot, ECE_BINS, p - frames.won)
    total = counts @ _sums(frames, np.ones_like(p))
    with np.errstate(invalid="ignore"):
        out: Floats = np.abs((counts - centre) @ gap).sum(axis=1) / total
    return out


def _auc(frames: Frames, p: Floats, counts: Floats) -> Floats:
    edges = np.unique(np.quantile(p, np.linspace(0, 1, _AUC_BINS + 1)[1:-1]))
    slot = np.searchsorted(edges, p, side="right")
    bins = len(edges) + 1
    # All frames of a match are wins or none is: a histogram of each match, split by outcome, is all there is to know.
    table = _histogram(frames, slot, bins, np.ones_like(p))
    won = _sums(frames, frames.won) > 0
    yes, no = counts[:, won] @ table[won], counts[:, ~won] @ table[~won]  # (R, bins)
    no_below = np.cumsum(no, axis=1) - no
    pairs = yes.sum(axis=1) * no.sum(axis=1)
    with np.errstate(invalid="ignore"):
        out: Floats = (yes * (no_below + no / 2)).sum(axis=1) / pairs
    return out


def _histogram(frames: Frames, slot: Ints, bins: int, weights: Floats) -> Floats:
    """Sums of `weights` per match and slot, (B, bins)."""
    flat = np.bincount(frames.match * bins + slot, weights=weights, minlength=frames.matches * bins)
    table: Floats = flat.reshape(frames.matches, bins)  # type: ignore[assignment]
    return table


def _percentiles(samples: Floats) -> tuple[float, float] | None:
    known = samples[~np.isnan(samples)]
    if not len(known):
        return None
    low, high = np.percentile(known, [_LOW, _HIGH])
    return float(low), float(high)


_SAMPLERS = {"log_loss": _log_loss, "accuracy": _accuracy, "brier": _brier, "auc": _auc, "ece": _ece}
