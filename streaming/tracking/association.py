"""Which box is whose: overlap of boxes, and the assignment with the greatest sum of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Matches(NamedTuple):
    """Pairs, and what is left, all ascending."""

    rows: Ints  # (K,)
    columns: Ints  # (K,) the partner of each
    rows_left: Ints
    columns_left: Ints


def overlaps(a: Floats, b: Floats, margin: Floats | float = 0.0) -> Floats:
    """Intersection over union of boxes by corners, (N, 4) and (M, 4), as (N, M); 0 where both are empty.

    Args:
        a: (N, 4)
        b: (M, 4)
        margin: (N,) both boxes of a pair first grow by this share of their sides, each way (Yang et al., "Hard to Track
            Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching Space",
            WACV 2023).
    """
    grown = np.broadcast_to(np.asarray(margin, dtype=np.float64), len(a))[:, None, None]
    sides_a, sides_b = (np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0) for boxes in (a, b))
    low = np.maximum(a[:, None, :2] - grown * sides_a[:, None], b[None, :, :2] - grown * sides_b[None])
    high = np.minimum(a[:, None, 2:] + grown * sides_a[:, None], b[None, :, 2:] + grown * sides_b[None])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    scale = (1 + 2 * grown[..., 0]) ** 2
    together = scale * (np.prod(sides_a, axis=-1)[:, None] + np.prod(sides_b, axis=-1)[None]) - shared
    share: Floats = np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)
    return share


def assign(worth: Floats, least: float) -> Matches:
    """The pairs of the greatest total worth (N, M), no row and no column twice; a pair worth less than `least` is none.

    Source: Kuhn (1955), by scipy's `linear_sum_assignment`. A pair below `least` counts as worth nothing, so that it
    never keeps a row from a partner that it may have.
    """
    rows, columns = linear_sum_assignment(np.where(worth >= least, worth, 0.0), maximize=True)
    good = worth[rows, columns] >= least
    rows, columns = rows[good].astype(np.int64), columns[good].astype(np.int64)
    left = [np.ones(size, dtype=np.bool_) for size in worth.shape]
    left[0][rows] = left[1][columns] = False
    return Matches(rows, columns, np.flatnonzero(left[0]), np.flatnonzero(left[1]))
