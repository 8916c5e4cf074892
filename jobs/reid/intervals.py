"""Figures of folds of people, with bootstrap intervals over people: crops of one person hang together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.intervals import resample_counts
from jobs.reid.crops import CropSet
from jobs.reid.judge import Judged
from models.metrics.retrieval import Ranked

Doubles = npt.NDArray[np.float64]

RULES = {
    "usual": "usual rule: the same person in the same camera left out",
    "across": "across cameras: everybody in the query's camera left out",
}
MEASURES = {"map": "mAP", "rank1": "rank-1", "rank5": "rank-5"}
RANKS = 10
"""CMC is given to this rank."""


class Fold(NamedTuple):
    """What was found on the people of one fold."""

    crops: CropSet
    found: dict[str, Judged]  # by row
    training: dict[str, Any]


def figures_of(folds: list[Fold], row: str, rule: str, resamples: int) -> dict[str, Any]:
    """Each measure of a row over all folds with its interval, how many queries are judged, and the CMC."""
    sums, counts = _sums(folds, row, rule)
    drawn = resample_counts(len(counts), resamples, seed=0)
    figures: dict[str, Any] = {}
    for measure, total in sums.items():
        samples = (drawn @ total) / np.maximum(drawn @ counts, 1)
        figures[measure] = _with_interval(total.sum() / max(counts.sum(), 1), samples)
    first = np.concatenate([getattr(fold.found[row], rule).first for fold in folds])
    known = first[~np.isnan(first)]
    figures["queries"] = len(known)
    figures["cmc"] = [round(float((known <= rank).mean()), 4) for rank in range(1, RANKS + 1)]
    return figures


def above(folds: list[Fold], row: str, other_row: str, rule: str, resamples: int) -> dict[str, dict[str, float]]:
    """How far a row is above another in each measure, with intervals of pairs: both meet the same resamples."""
    (own, counts), (other, _) = _sums(folds, row, rule), _sums(folds, other_row, rule)
    drawn = resample_counts(len(counts), resamples, seed=0)
    return {
        measure: _with_interval(
            (own[measure] - other[measure]).sum() / max(counts.sum(), 1),
            (drawn @ (own[measure] - other[measure])) / np.maximum(drawn @ counts, 1),
        )
        for measure in MEASURES
    }


def _values(found: Ranked) -> dict[str, Doubles]:
    """Each measure of each query, (Q,), NaN where it is not judged."""
    lost = np.isnan(found.first)
    return {
        "map": found.average_precision,
        "rank1": np.where(lost, np.nan, found.first <= 1),
        "rank5": np.where(lost, np.nan, found.first <= 5),
    }


def _sums(folds: list[Fold], row: str, rule: str) -> tuple[dict[str, Doubles], Doubles]:
    """By person (P,): sums of each measure over their queries that are judged, and how many these are."""
    sums: dict[str, list[Doubles]] = {measure: [] for measure in MEASURES}
    counts: list[Doubles] = []
    for fold in folds:
        person = np.unique(fold.crops.identity, return_inverse=True)[1]
        values = _values(getattr(fold.found[row], rule))
        counts.append(np.bincount(person, ~np.isnan(values["map"])).astype(np.float64))
        for measure in MEASURES:
            sums[measure].append(np.bincount(person, np.nan_to_num(values[measure])).astype(np.float64))
    return {measure: np.concatenate(parts) for measure, parts in sums.items()}, np.concatenate(counts)


def _with_interval(value: float, samples: Doubles) -> dict[str, float]:
    low, high = np.percentile(samples, [2.5, 97.5])
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
