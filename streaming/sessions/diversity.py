"""Rankings whose items are unlike each other: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

The next item is the one with the largest  (1 - d) * relevance - d * (similarity to the most similar one above it).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streaming.features.runs import Bools, Ints

Floats = npt.NDArray[np.float32]


def rerank(score: Floats, levels: npt.NDArray[np.int32], allowed: Bools, diversity: Floats, places: int) -> Ints:
    """The best `places` of K candidates in each of N sessions.

    Relevance is the score between the least (0) and the best (1) that is allowed; similarity is the share of category
    levels that two items have in common, from the widest down. Of equals the earlier candidate comes first.

    Args:
        score: (N, K), finite where allowed.
        levels: (N, K, L) the path of each item's category, a number for each level; 0 beyond the last.
        allowed: (N, K).
        diversity: (N,) d, from 0 to 1.
        places: S.

    Returns:
        (N, places) which candidate is in each place, -1 where none is left.
    """
    sessions, candidates = score.shape
    relevance = _relevance(score, allowed)
    likeness = np.zeros_like(relevance)
    left = allowed.copy()
    picked = np.full((sessions, places), -1, np.int64)
    row = np.arange(sessions)
    d = diversity.astype(np.float32)[:, None]
    by_level = [
        np.ascontiguousarray(levels[:, :, level]) for level in range(levels.shape[2]) if levels[:, :, level].any()
    ]
    depth = sum((level > 0 for level in by_level), np.zeros(score.shape, np.float32))
    for place in range(min(places, candidates)):
        gain = np.where(left, (1 - d) * relevance - d * likeness, -np.inf)
        best = gain.argmax(axis=1)
        there = left[row, best]
        if not there.any():
            break
        picked[there, place] = best[there]
        left[row, best] = False
        if d.any():
            mine = [level[row, best][:, None] for level in by_level]
            common = sum(((level == one) & (one > 0) for level, one in zip(by_level, mine, strict=True)), np.float32(0))
            deepest = np.maximum(np.maximum(depth, depth[row, best][:, None]), 1)
            np.maximum(likeness, common / deepest, out=likeness)
    return picked


def _relevance(score: Floats, allowed: Bools) -> Floats:
    low = np.where(allowed, score, np.inf).min(axis=1, keepdims=True)
    high = np.where(allowed, score, -np.inf).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        spread = high - low
        relevance = np.where(allowed, (score - low) / np.where(spread > 0, spread, 1.0), 0.0)
    return relevance.astype(np.float32)
