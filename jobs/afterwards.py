"""What can be made of answers once they are given: a running mean over the match, a mean over several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jobs.datasets import MatchSet

Floats = npt.NDArray[np.float64]


def smoothed(matches: MatchSet, probs: Floats, *, half_life_s: float) -> Floats:
    """Log-odds as a running mean over the match, which halves an old frame's say in `half_life_s` of game clock.

    Causal and odd like the answers themselves; contributions could be smoothed alike, and would still add up.

    Args:
        matches: B matches with N real frames.
        probs: P(A wins) for these, (N,).
        half_life_s: above 0.
    """
    mask, clock_s = matches.mask.numpy(), matches.clock_s.numpy()
    logits = np.zeros(mask.shape)
    logits[mask] = _logits(probs)
    gap_s = np.diff(clock_s, axis=1, prepend=clock_s[:, :1]).clip(min=0)
    old = 0.5 ** (gap_s / half_life_s)
    for frame in range(1, mask.shape[1]):
        logits[:, frame] += old[:, frame] * (logits[:, frame - 1] - logits[:, frame])
    return _probs(logits[mask])


def averaged(answers: Sequence[Floats]) -> Floats:
    """The mean log-odds of several models, each (N,), as P(A wins), (N,)."""
    return _probs(np.mean([_logits(probs) for probs in answers], axis=0))


def _logits(probs: Floats) -> Floats:
    logits: Floats = np.log(probs) - np.log1p(-probs)
    return logits


def _probs(logits: Floats) -> Floats:
    probs: Floats = 1 / (1 + np.exp(-logits))
    return probs
