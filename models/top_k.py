"""Exact search for the k highest inner products, block by block, on CPU or GPU.

Products of a block of items are one matrix product. Sorting every product would take longer than making it; so each
block is first reduced to the highest of every `_GROUP` neighbours, and only groups that reach a query's k-th best so
far are looked into. Memory is queries × `block` products, however many items there are.

One query on a CPU is as fast as the items are read from memory, if nothing else is read or written: its products are
compared with its k-th best while they are in the cache, and what is above that, a few hundred of a million, is
all that is sorted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_GROUP = 64
_PRODUCTS = 1 << 21  # at a time, 8 MB
_BLOCKS = 4096, 1 << 20  # the least and the most items at a time
_ROW_BY_ROW = 2
"""So few queries are as fast as memory is read if they are multiplied row by row: in .85 of the time of numpy's matrix
product. For more, that takes .4 to .9 of the time of torch's."""
_ROWS = 16_384
"""Items at a time then: their products take 64 kB for each query, and stay in the second cache."""
_UNSORTED = 4  # times k
NOTHING = -1
Array = npt.NDArray[np.floating]
Places = npt.NDArray[np.int64]
_NO_PLACES, _NO_SCORES = np.empty(0, np.int64), np.empty(0, np.float32)


class TopK(NamedTuple):
    """The best of each query, best first; of equals the lower position first."""

    items: Tensor  # (Q, k) int64, `NOTHING` where there are fewer than k
    scores: Tensor  # (Q, k) float32, -inf there


def top_k(queries: Tensor, items: Tensor, k: int, *, bias: Tensor | None = None, block: int | None = None) -> TopK:
    """The k items with the highest `queries @ items.T + bias`.

    Args:
        queries: (Q, D) float32.
        items: (I, D) float32, on the same device.
        k: at least 1.
        bias: (I,) added to the scores; -inf leaves an item out.
        block: items at a time; None: as many as 8 MB hold of the queries' products, within bounds, and for one or two
            queries on a CPU so many that their products stay in its cache.

    Raises:
        ValueError: shapes that do not fit, k or block below 1.
    """
    if queries.ndim != 2 or items.ndim != 2 or queries.shape[1] != items.shape[1]:
        raise ValueError(f"queries {tuple(queries.shape)} and items {tuple(items.shape)} must be (Q, D) and (I, D)")
    if bias is not None and bias.shape != items.shape[:1]:
        raise ValueError(f"bias {tuple(bias.shape)} must be ({len(items)},)")
    row_by_row = queries.device.type == "cpu" and len(queries) <= _ROW_BY_ROW
    if block is None:
        block = _ROWS if row_by_row else min(max(_PRODUCTS // max(len(queries), 1), _BLOCKS[0]), _BLOCKS[1])
    if k < 1 or block < 1:
        raise ValueError(f"k={k} and block={block}: must be at least 1")
    if row_by_row:
        return _by_rows(queries.detach().numpy(), items.detach().numpy(), k, bias, block)
    best = _nothing(queries, k)
    for start in range(0, len(items) if len(queries) else 0, block):
        part = items[start : start + block]
        scores = _products(queries, part)
        if bias is not None:
            scores += bias[start : start + block]
        best = _merged(best, scores, start, k)
    return best


def top_k_of(scores: Tensor, k: int) -> TopK:
    """The same of scores (Q, I) that are there already."""
    if k < 1:
        raise ValueError(f"k={k}: must be at least 1")
    none = _nothing(scores, k)
    return _merged(none, scores, 0, k) if len(scores) else none


def _nothing(rows: Tensor, k: int) -> TopK:
    """What is found before anything is looked at, of so many rows."""
    shape = (len(rows), k)
    return TopK(
        torch.full(shape, NOTHING, dtype=torch.int64, device=rows.device),
        torch.full(shape, -torch.inf, dtype=rows.dtype, device=rows.device),
    )


def _products(queries: Tensor, part: Tensor) -> Tensor:
    if queries.device.type != "cpu":
        return queries @ part.T
    return torch.from_numpy(queries.detach().numpy() @ part.detach().numpy().T)


def _by_rows(queries: Array, items: Array, k: int, bias: Tensor | None, block: int) -> TopK:
    """`top_k` of few queries, in memory that is used again for every block."""
    best = [_Best(k) for _ in queries]
    products = np.empty((len(queries), min(block, len(items))), queries.dtype)
    added = None if bias is None else bias.detach().numpy()
    for start in range(0, len(items), block):
        rows = items[start : start + block]
        for query, scores, found in zip(queries, products[:, : len(rows)], best, strict=True):
            np.vecdot(rows, query, out=scores)
            if added is not None:
                scores += added[start : start + block]
            found.look(scores, start)
    places, values = np.full((len(best), k), NOTHING, np.int64), np.full((len(best), k), -np.inf, queries.dtype)
    for row, found in enumerate(best):
        its, scores = found.best()
        places[row, : len(its)], values[row, : len(its)] = its, scores
    return TopK(torch.from_numpy(places), torch.from_numpy(values))


class _Best:
    """The k best of one query among all that was looked at. What reaches them is gathered, and sorted when there is a
    lot: the bar is late by that, and sorting costs next to nothing."""

    def __init__(self, k: int) -> None:
        self._k, self._bar = k, -np.inf
        self._items: list[Places] = []
        self._scores: list[Array] = []
        self._waiting = 0

    def look(self, scores: Array, start: int) -> None:
        """At the scores (b,) of the items from `start` on."""
        # What equals the k-th comes after it: it changes nothing.
        if scores.max() <= self._bar:
            return
        hit = (scores > self._bar).nonzero()[0]
        self._items.append(hit + start)
        self._scores.append(scores[hit])
        self._waiting += len(hit)
        if self._waiting > _UNSORTED * self._k:
            self.best()

    def best(self) -> tuple[Places, Array]:
        """Items and scores, at most (k,), best first; of equals the lower position first."""
        items, scores = np.concatenate([_NO_PLACES, *self._items]), np.concatenate([_NO_SCORES, *self._scores])
        if len(scores) > self._k:
            self._bar = np.partition(scores, len(scores) - self._k)[len(scores) - self._k]
            reaching = scores >= self._bar
            items, scores = items[reaching], scores[reaching]
        order = np.argsort(-scores, kind="stable")[: self._k]
        items, scores = items[order], scores[order]
        self._items, self._scores, self._waiting = [items], [scores], 0
        return items, scores


def _merged(best: TopK, scores: Tensor, start: int, k: int) -> TopK:
    """The best of what was found before and of a block (Q, b) that begins at item `start`."""
    rows, columns = _reaching(scores, best.scores[:, -1:], k)
    if not len(rows):
        return best
    # Beside what was found before, each query's in the order of their positions: a stable sort keeps that among equals.
    counts = torch.bincount(rows, minlength=len(scores))
    rank = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    shape = (len(scores), k + int(counts.max()))
    values, places = scores.new_full(shape, -torch.inf), best.items.new_full(shape, NOTHING)
    values[:, :k], places[:, :k] = best.scores, best.items
    values[rows, k + rank], places[rows, k + rank] = scores[rows, columns], columns + start
    values, order = values.sort(dim=1, descending=True, stable=True)
    return TopK(places.gather(1, order[:, :k]), values[:, :k])


def _reaching(scores: Tensor, bar: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Query and column of every score (Q, b) above -inf that reaches the bar (Q, 1), and another one that k scores of
    its query reach; by query, then column."""
    width = scores.shape[1]
    groups = width // _GROUP
    if groups <= k:
        bar = torch.maximum(bar, scores.topk(k, dim=1).values[:, -1:]) if width >= k else bar
        query, column = torch.nonzero((scores >= bar) & (scores > -torch.inf), as_tuple=True)
        return query, column
    head, tail = scores[:, : groups * _GROUP].view(len(scores), groups, _GROUP), scores[:, groups * _GROUP :]
    peaks = head.amax(dim=2)
    bar = torch.maximum(bar, peaks.topk(k, dim=1).values[:, -1:])  # so many scores reach the k-th highest of the peaks
    query, group = torch.nonzero((peaks >= bar) & (peaks > -torch.inf), as_tuple=True)
    found = head[query, group]  # (n, _GROUP)
    hit, column = torch.nonzero((found >= bar[query]) & (found > -torch.inf), as_tuple=True)
    row_of_tail, column_of_tail = torch.nonzero((tail >= bar) & (tail > -torch.inf), as_tuple=True)
    rows = torch.cat([query[hit], row_of_tail])
    columns = torch.cat([group[hit] * _GROUP + column, column_of_tail + groups * _GROUP])
    order = rows.argsort(stable=True)
    return rows[order], columns[order]
