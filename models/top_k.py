"""Exact search for the k highest inner products, block by block, on CPU or GPU.

Products of a block of items are one matrix product. Sorting every product would take longer than making it; so each
block is first reduced to the highest of every `_GROUP` neighbours, and only groups that reach a query's k-th best so
far are looked into. Memory is queries × `block` products, however many items there are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_GROUP = 64
_PRODUCTS = 1 << 21  # at a time, 8 MB
_BLOCKS = 4096, 1 << 20  # the least and the most items at a time
_ROW_BY_ROW = 2
"""So few queries are as fast as memory is read if they are multiplied row by row: in .85 of the time of numpy's matrix
product. For more, that takes .4 to .9 of the time of torch's."""
NOTHING = -1


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
        block: items at a time; None: as many as 8 MB hold of the queries' products, within bounds.

    Raises:
        ValueError: shapes that do not fit, k or block below 1.
    """
    if queries.ndim != 2 or items.ndim != 2 or queries.shape[1] != items.shape[1]:
        raise ValueError(f"queries {tuple(queries.shape)} and items {tuple(items.shape)} must be (Q, D) and (I, D)")
    if bias is not None and bias.shape != items.shape[:1]:
        raise ValueError(f"bias {tuple(bias.shape)} must be ({len(items)},)")
    if block is None:
        block = min(max(_PRODUCTS // max(len(queries), 1), _BLOCKS[0]), _BLOCKS[1])
    if k < 1 or block < 1:
        raise ValueError(f"k={k} and block={block}: must be at least 1")
    best = TopK(
        torch.full((len(queries), k), NOTHING, dtype=torch.int64, device=queries.device),
        torch.full((len(queries), k), -torch.inf, dtype=queries.dtype, device=queries.device),
    )
    if not len(queries):
        return best
    for start in range(0, len(items), block):
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
    none = TopK(
        torch.full((len(scores), k), NOTHING, dtype=torch.int64, device=scores.device),
        torch.full((len(scores), k), -torch.inf, dtype=scores.dtype, device=scores.device),
    )
    return _merged(none, scores, 0, k) if len(scores) else none


def _products(queries: Tensor, part: Tensor) -> Tensor:
    if queries.device.type != "cpu":
        return queries @ part.T
    asked, rows = queries.detach().numpy(), part.detach().numpy()
    if len(asked) <= _ROW_BY_ROW:
        return torch.from_numpy(np.stack([np.vecdot(rows, one) for one in asked]))
    return torch.from_numpy(asked @ rows.T)


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
