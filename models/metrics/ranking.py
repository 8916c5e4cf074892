"""How well a list of items foretells the next one: Recall@k, MRR@k, NDCG@k, coverage and popularity bias.

With one right item to a list, as in next-click prediction, Recall@k is the share of lists that hold it, MRR@k the mean
of 1/place (Hidasi et al., arXiv:1511.06939, §4), NDCG@k that of 1/log₂(1 + place) (Järvelin & Kekäläinen 2002; the
ideal list has gain 1). Coverage and popularity bias are those of Ludewig & Jannach (arXiv:1803.09587), §4.3.

A list is in the order in which it is shown. Where scores are equal, `ranked` puts the item with the lower number first,
and so does `models.top_k`: what is judged is what is served. Items are numbered by falling popularity
(`jobs.sessions.split`), so that a model which has no opinion falls back on the popular, the same for all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NOTHING = -1
"""An empty place of a list that has fewer items than places."""


def ranked(scores: npt.NDArray[np.floating], k: int) -> Ints:
    """The k best of each row, best first, (N, min(k, I)); of equals the lower number first; -inf is no candidate.

    Args:
        scores: (N, I), no NaN.
        k: at least 1.

    Raises:
        ValueError: a score is NaN, or k is below 1.
    """
    if k < 1:
        raise ValueError(f"k={k}: must be at least 1")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    k = min(k, scores.shape[1])
    if k < scores.shape[1]:
        # Down to the k-th highest of each row; of those that equal it, the first ones.
        bar = np.partition(scores, -k, axis=1)[:, -k][:, None]
        above, tied = scores > bar, scores == bar
        chosen = above | (tied & (np.cumsum(tied, axis=1) <= k - above.sum(axis=1, keepdims=True)))
        found = np.nonzero(chosen)[1].reshape(len(scores), k)
    else:
        found = np.broadcast_to(np.arange(k), scores.shape)
    values = np.take_along_axis(scores, found, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    lists = np.take_along_axis(found, order, axis=1)
    return np.where(np.take_along_axis(values, order, axis=1) == -np.inf, NOTHING, lists)


def places(lists: npt.ArrayLike, target: npt.ArrayLike) -> Floats:
    """Place of the right item in each list, (N,) from 1; inf where it is not there.

    Args:
        lists: (N, k) items, best first, each at most once; `NOTHING` for an empty place.
        target: (N,) the right item.

    Raises:
        ValueError: shapes that do not fit, or a target that is `NOTHING`.
    """
    shown, right = np.asarray(lists, np.int64), np.asarray(target, np.int64)
    if shown.ndim != 2 or right.shape != shown.shape[:1]:
        raise ValueError(f"lists {shown.shape} must be (N, k) for targets {right.shape}")
    if (right == NOTHING).any():
        raise ValueError(f"{NOTHING} marks an empty place, and cannot be the right item")
    hit = shown == right[:, None]
    found: Floats = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)
    return found


def recall(place: Floats, k: int) -> Floats:
    """Of each list, 1 if the right item is among the first k, else 0."""
    return (place <= k).astype(np.float64)


def reciprocal_rank(place: Floats, k: int) -> Floats:
    """Of each list, 1/place, 0 beyond k."""
    return np.where(place <= k, 1 / place, 0.0)


def ndcg(place: Floats, k: int) -> Floats:
    """Of each list, 1/log₂(1 + place), 0 beyond k."""
    return np.where(place <= k, 1 / np.log2(1 + place), 0.0)


def coverage(lists: npt.ArrayLike, catalogue: int, k: int) -> float:
    """Share of the catalogue that stands in at least one list, among the first k."""
    shown = np.asarray(lists, np.int64)[:, :k]
    return len(np.unique(shown[shown != NOTHING])) / catalogue


def popularity_bias(lists: npt.ArrayLike, clicks: npt.ArrayLike, k: int) -> float:
    """Mean popularity of what is shown among the first k, 1 being that of the most popular item; NaN for nothing.

    Args:
        lists: (N, k') items.
        clicks: (I,) of each item in training.
        k: places that count.
    """
    shown, counts = np.asarray(lists, np.int64)[:, :k], np.asarray(clicks, np.float64)
    shown = shown[shown != NOTHING]
    return float((counts[shown] / counts.max()).mean()) if len(shown) else float("nan")
