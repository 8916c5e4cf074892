"""How good probabilities of a yes-or-no outcome are.

Every function takes probs (N,), the predicted probability of "yes", and won (N,), 1 or 0, and returns a float.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
_EPSILON = 1e-12


def accuracy(probs: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Share of outcomes on the predicted side of one half; a probability of exactly one half counts as half right."""
    p, y = _checked(probs, won)
    return float(np.where(p == 0.5, 0.5, (p > 0.5) == (y > 0.5)).mean())


def log_loss(probs: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Mean cross-entropy in nats; probabilities are held 1e-12 away from 0 and 1."""
    p, y = _checked(probs, won)
    p = p.clip(_EPSILON, 1 - _EPSILON)
    return float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean())


def brier(probs: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Mean squared distance of the probability from the outcome."""
    p, y = _checked(probs, won)
    return float(np.square(p - y).mean())


def auc(probs: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Chance that a "yes" ranks above a "no", ties counting half; NaN where only one outcome occurs."""
    p, y = _checked(probs, won)
    yes = int(y.sum())
    no = len(y) - yes
    if yes == 0 or no == 0:
        return float("nan")
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    mean_rank = counts.cumsum() - (counts - 1) / 2  # of each distinct value, from 1
    return float((mean_rank[inverse][y > 0.5].sum() - yes * (yes + 1) / 2) / (yes * no))


def ece(probs: npt.ArrayLike, won: npt.ArrayLike, *, bins: int = 15) -> float:
    """Expected calibration error over `bins` equal slices of [0, 1]: mean |predicted - observed|, weighted by count."""
    p, y = _checked(probs, won)
    slot = np.minimum((p * bins).astype(np.int64), bins - 1)
    gap = np.bincount(slot, weights=p - y, minlength=bins)
    return float(np.abs(gap).sum() / len(p))


def _checked(probs: npt.ArrayLike, won: npt.ArrayLike) -> tuple[Floats, Floats]:
    p, y = np.asarray(probs, dtype=np.float64), np.asarray(won, dtype=np.float64)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"probs and won must be two vectors of one length, not {p.shape} and {y.shape}")
    if len(p) == 0:
        raise ValueError("no predictions to judge")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probs must lie in [0, 1]")
    return p, y
