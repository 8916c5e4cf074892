"""Re-ranking: people are alike who count each other, and the same others, among their nearest.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding" (CVPR 2017, arXiv:1701.08398).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def re_ranked(query: Floats, gallery: Floats, *, k1: int = 20, k2: int = 6, weight: float = 0.3) -> Floats:
    """New distances (Q, G) of queries (Q, D) and a gallery (G, D) that have no image in common.

    Args:
        query: unit length.
        gallery: unit length.
        k1: neighbours that must be mutual (§3.2).
        k2: neighbours over which encodings are averaged (§3.4).
        weight: λ of the first distance beside the Jaccard distance (eq. 12).
    """
    together = np.concatenate([query, gallery])
    return re_ranked_among(together, k1=k1, k2=k2, weight=weight)[: len(query), len(query) :]


def re_ranked_among(features: Floats, *, k1: int = 20, k2: int = 6, weight: float = 0.3) -> Floats:
    """New distances (N, N) among all of these (N, D), unit length. Takes some 30 N² bytes.

    Raises:
        ValueError: k1 or k2 below 1, or λ outside [0, 1].
    """
    if k1 < 1 or k2 < 1 or not 0 <= weight <= 1:
        raise ValueError(f"k1={k1} and k2={k2} must be at least 1, and weight={weight} in [0, 1]")
    distance = np.maximum(2 - 2 * features @ features.T, 0)
    np.fill_diagonal(distance, 0)
    distance = (distance / np.maximum(distance.max(axis=0), 1e-12)).T
    order = np.argsort(distance, axis=1, kind="stable")
    encoding = _encoded(distance, _expanded(order, k1))
    if k2 > 1:
        encoding = encoding[order[:, :k2]].mean(axis=1)
    blended: Floats = (1 - weight) * _jaccard(encoding) + weight * distance
    return blended


def _mutual(order: npt.NDArray[np.int64], k: int) -> Bools:
    """R(p, k), eq. 1: (N, N), True where each is among the other's k nearest. Everybody is their own."""
    near = np.zeros(order.shape, bool)
    np.put_along_axis(near, order[:, : k + 1], True, axis=1)
    return near & near.T


def _expanded(order: npt.NDArray[np.int64], k1: int) -> Bools:
    """R*(p, k1), eq. 2: with the smaller circles R(q, k1/2) of those in it that lie two thirds within it."""
    circle, small = _mutual(order, k1), _mutual(order, round(k1 / 2))
    shared = circle.astype(np.float32) @ small.T.astype(np.float32)  # |R(p) ∩ R(q, k1/2)|
    within = circle & (shared > 2 / 3 * small.sum(axis=1))
    added: Bools = circle | ((within.astype(np.float32) @ small.astype(np.float32)) > 0)
    return added


def _encoded(distance: Floats, circle: Bools) -> Floats:
    """Eq. 7: a weight for each neighbour, the nearer the more; every row sums to 1."""
    encoding = np.where(circle, np.exp(-distance), 0).astype(np.float32)
    encoding /= np.maximum(encoding.sum(axis=1, keepdims=True), 1e-12)
    return encoding


def _jaccard(encoding: Floats) -> Floats:
    """Eq. 10: 1 - Σ min / Σ max, (N, N)."""
    common = np.zeros((len(encoding), len(encoding)), np.float32)
    for row, mine in enumerate(encoding):  # all at once would take N³
        where = np.flatnonzero(mine)
        common[row] = np.minimum(encoding[:, where], mine[where]).sum(axis=1)
    return 1 - common / (2 - common)
