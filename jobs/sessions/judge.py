"""How well scores foretell the next click: lists of the 20 best, with repeats of the last item and without.

Without repeats, a next click on the item that was clicked last is not judged, and that item takes no place of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.intervals import resample_counts
from jobs.sessions.split import Queries
from models.metrics.ranking import ndcg, places, ranked, recall, reciprocal_rank

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Scores = Callable[[Ints, Floats], npt.NDArray[np.floating]]

PLACES = 20
WITH, WITHOUT = "with", "without"
REPEATS = {WITH: "repeats of the last item count", WITHOUT: "without repeats of the last item"}
MEASURES = {"recall": f"Recall@{PLACES}", "mrr": f"MRR@{PLACES}", "ndcg": f"NDCG@{PLACES}"}
_AT_ONCE = 1024


class Judged(NamedTuple):
    """Of each query that is judged the place of its target, and the lists."""

    place: Floats  # (Q',) inf where it is not among the first 20
    session: Ints  # (Q',)
    lists: Ints  # (Q', 20)

    def values(self) -> dict[str, Floats]:
        """Each measure of each query."""
        return {
            "recall": recall(self.place, PLACES),
            "mrr": reciprocal_rank(self.place, PLACES),
            "ndcg": ndcg(self.place, PLACES),
        }


def seed_means(seeds: Sequence[Judged]) -> dict[str, Floats]:
    """Each measure of each query, the mean over judgements of the same queries."""
    each = [one.values() for one in seeds]
    return {measure: np.mean([values[measure] for values in each], axis=0) for measure in MEASURES}


def session_samples(session: Ints, values: Floats, resamples: int) -> Floats:
    """Means over queries of each resample of sessions, (R,); the same resamples for the same sessions."""
    number = np.unique(session, return_inverse=True)[1]
    sums, counts = np.bincount(number, values), np.bincount(number)
    drawn = resample_counts(len(counts), resamples, seed=0)
    means: Floats = (drawn @ sums) / (drawn @ counts)
    return means


def interval(value: float, samples: Floats) -> dict[str, float]:
    """A figure with its 95 % interval: value, low, high."""
    low, high = np.percentile(samples, [2.5, 97.5])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def difference(
    mine: Sequence[Judged], theirs: Sequence[Judged], measure: str, *, resamples: int
) -> tuple[float, float, float]:
    """Mine minus theirs on the same queries: value, low and high of the 95 % interval of pairs over sessions."""
    apart = seed_means(mine)[measure] - seed_means(theirs)[measure]
    low, high = np.percentile(session_samples(mine[0].session, apart, resamples), [2.5, 97.5])
    return float(apart.mean()), float(low), float(high)


def judged(queries: Queries, scores: Scores) -> dict[str, Judged]:
    """By `REPEATS`.

    Args:
        queries: moments of held-out sessions.
        scores: of items (Q, I), from contexts (Q, L) and times (Q,).
    """
    again = queries.context[:, -1] == queries.target
    lists: dict[str, list[Ints]] = {WITH: [], WITHOUT: []}
    for start in range(0, len(queries), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        found = np.array(scores(queries.context[rows], queries.now_s[rows]), np.float64)
        lists[WITH].append(ranked(found, PLACES))
        latest = queries.context[rows, -1]
        known = np.flatnonzero((latest >= 0) & (latest < found.shape[1]))
        found[known, latest[known]] = -np.inf
        lists[WITHOUT].append(ranked(found, PLACES))
    out = {}
    for name, kept in ((WITH, np.ones(len(queries), bool)), (WITHOUT, ~again)):
        shown = np.concatenate(lists[name])[kept]
        out[name] = Judged(places(shown, queries.target[kept]), queries.session[kept], shown)
    return out
