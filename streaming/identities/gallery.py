"""Exact search for those who look most alike, among many.

With looks cut in two, x = (x₁, x₂), by Cauchy and Schwarz

    x·y ≤ x₁·y₁ + |x₂| |y₂|

Turned so that the first half holds most of what differs (principal components), and with the length of the rest as one
more number, one product of half the size bounds all cosines; whoever's bound is below a cosine that was found is not
the nearest. Where many might be, as with looks that are like nobody's in directions that are like noise, all cosines
are worked out after all.
"""

from __future__ import annotations

import numpy as np

from streaming.identities.appearance import Ints, Looks

_ROUNDING = np.float32(1e-5)  # by which a bound may be off
_MANY = 0.02  # share of the gallery for which single products take longer than all at once


class Gallery:
    """Looks to search.

    Args:
        looks: (N, D), unit length.
    """

    def __init__(self, looks: Looks) -> None:
        self._looks, self._half = looks, looks.shape[1] // 2
        _, axes = np.linalg.eigh(looks.T @ looks)
        self._axes: Looks = np.ascontiguousarray(axes[:, ::-1])  # the longest first
        self._bounds = self._bounding(looks)

    def nearest(self, queries: Looks, top: int = 1) -> tuple[Ints, Looks]:
        """Rows of those most alike, by cosine, exactly: (Q, top) rows and cosines, best first.

        Args:
            queries: (Q, D), unit length.
            top: how many, at most N.
        """
        most = self._bounding(queries) @ self._bounds.T
        found = np.einsum("qd,qtd->qt", queries, self._looks[_largest(most, top)])
        least = found.min(axis=1, keepdims=True) - 2 * _ROUNDING
        of, row = np.divmod(np.flatnonzero(most >= least), len(self._looks))
        counts = np.bincount(of, minlength=len(queries))
        many = counts > max(top, _MANY * len(self._looks))
        rows, cosines = np.empty((len(queries), top), np.int64), np.empty((len(queries), top), np.float32)
        if many.any():
            rows[many], cosines[many] = _best(queries[many] @ self._looks.T, top)
        of, row = of[~many[of]], row[~many[of]]
        alike = np.einsum("nd,nd->n", queries[of], self._looks[row])
        order, counts = np.lexsort([row, -alike, of]), counts[~many]
        kept = order[(np.cumsum(counts) - counts)[:, None] + np.arange(top)]
        rows[~many], cosines[~many] = row[kept], alike[kept]
        return rows, cosines

    def _bounding(self, looks: Looks) -> Looks:
        """(N, D/2 + 1): products of two such rows are never below those of the looks."""
        turned = looks @ self._axes
        rest = np.sqrt(np.einsum("nd,nd->n", turned[:, self._half :], turned[:, self._half :]))
        bounding: Looks = np.column_stack([turned[:, : self._half], rest])
        return bounding


def _largest(values: Looks, top: int) -> Ints:
    """Columns of the `top` largest of each row, in no order."""
    best = values.argmax(axis=1)[:, None] if top == 1 else np.argpartition(values, -top, axis=1)[:, -top:]
    found: Ints = best.astype(np.int64, copy=False)
    return found


def _best(values: Looks, top: int) -> tuple[Ints, Looks]:
    """Columns of the `top` largest of each row, largest first, and these."""
    found = _largest(values, top)
    order = np.argsort(-np.take_along_axis(values, found, axis=1), axis=1, kind="stable")
    found = np.take_along_axis(found, order, axis=1)
    return found, np.take_along_axis(values, found, axis=1)
