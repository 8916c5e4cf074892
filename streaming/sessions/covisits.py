"""A plain recommender without training: what others looked at, who looked at this.

It is what tests and a first start call in place of a model, and says so in its name.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from streaming.features.runs import Ints
from streaming.sessions.diversity import Floats
from streaming.sessions.model import Recommended, Sessions

NEIGHBOURS = 60
MOST_ITEMS = 30
"""So many of a session count, the first: pairs grow with the square, and who looks at hundreds is a bot."""
RECENT = 5
"""So many of a session's newest acts count, each half as much as the one after it."""


class Covisits:
    """Items that were in the same sessions, most often first, then the most popular.

    Args:
        clicks: session_id, item_id of every click.
        neighbours: so many are kept of each item.
    """

    def __init__(self, clicks: pl.DataFrame, neighbours: int = NEIGHBOURS) -> None:
        seen = clicks.select("session_id", "item_id").unique(maintain_order=True)
        seen = seen.filter(pl.int_range(pl.len()).over("session_id") < MOST_ITEMS)
        counts = seen.group_by("item_id").len().sort("len", "item_id", descending=[True, False])
        self._items = np.array([*counts["item_id"].to_list(), ""], dtype=object)
        self._number = {item: number for number, item in enumerate(self._items[:-1].tolist())}
        items = len(self._number)
        pairs = seen.join(seen, on="session_id", suffix="_other").filter(pl.col("item_id") != pl.col("item_id_other"))
        ranked = (
            pairs.group_by("item_id", "item_id_other").len()
            .sort("item_id", "len", "item_id_other", descending=[False, True, False])
            .with_columns(rank=pl.int_range(pl.len()).over("item_id")).filter(pl.col("rank") < neighbours)
        )  # fmt: skip
        self._near = np.full((items + 1, neighbours), items, np.int64)  # the last is that of no item
        self._weight = np.zeros((items + 1, neighbours), np.float32)
        of = np.array([self._number[item] for item in ranked["item_id"].to_list()], np.int64)
        rank = ranked["rank"].to_numpy()
        self._near[of, rank] = [self._number[item] for item in ranked["item_id_other"].to_list()]
        size = counts["len"].to_numpy()
        self._weight[of, rank] = ranked["len"].to_numpy() / size[of]
        text = "\n".join(f"{item} {count}" for item, count in counts.iter_rows())
        self._hash = hashlib.sha256(text.encode()).hexdigest()[:16]

    def __call__(self, sessions: Sessions, top_k: int) -> Recommended:
        """As `model.Recommend`."""
        count, items = len(sessions), len(self._number)
        ends = sessions.offsets[1:]
        lengths = np.diff(sessions.offsets)
        back = np.arange(RECENT)
        at = np.maximum(ends[:, None] - 1 - back, 0)  # (N, RECENT), newest first
        flat = np.array([self._number.get(item, items) for item in sessions.item.tolist()], np.int64)
        number = np.where(back < lengths[:, None], flat[at], items)
        near = self._near[number].reshape(count, -1)  # (N, RECENT * neighbours)
        weight = (self._weight[number] * 0.5 ** back[:, None]).astype(np.float32).reshape(count, -1)
        popular = np.broadcast_to(np.arange(min(top_k, items)), (count, min(top_k, items)))
        near = np.concatenate([near, popular], axis=1)
        fallback = np.linspace(1e-4, 1e-5, popular.shape[1], dtype=np.float32)
        weight = np.concatenate([weight, np.broadcast_to(fallback, popular.shape)], axis=1)
        return self._ranked(near, weight, lengths, top_k)

    def _ranked(self, near: Ints, weight: Floats, lengths: Ints, top_k: int) -> Recommended:
        """Add up what each item has from several acts, and take the best; the act that gave most is the reason."""
        items = len(self._number)
        order = np.argsort(near, axis=1, kind="stable")
        item, gain = np.take_along_axis(near, order, 1), np.take_along_axis(weight, order, 1)
        first = np.ones(item.shape, bool)
        first[:, 1:] = item[:, 1:] != item[:, :-1]
        start = np.flatnonzero(first.ravel())
        total = np.full(item.shape, -np.inf, np.float32).ravel()
        total[start] = np.add.reduceat(gain.ravel(), start) if len(start) else 0.0
        total = np.where(item == items, -np.inf, total.reshape(item.shape)).astype(np.float32)
        best = np.argsort(-total, axis=1, kind="stable")[:, :top_k]
        score = np.take_along_axis(total, best, 1)
        chosen = np.where(np.isfinite(score), np.take_along_axis(item, best, 1), items)
        # Sorting is stable, so the first of an item is of the newest act that has it.
        act = np.take_along_axis(order, best, 1) // self._near.shape[1]
        share = np.take_along_axis(gain, best, 1) / np.where(score > 0, score, 1.0)
        is_act = (act < RECENT) & np.isfinite(score)
        event = np.where(is_act, lengths[:, None] - 1 - act, -1).astype(np.int32)
        padded = top_k - chosen.shape[1]
        items_out = np.pad(self._items[chosen], ((0, 0), (0, padded)), constant_values="")
        return Recommended(
            items=items_out,
            scores=np.pad(score, ((0, 0), (0, padded)), constant_values=-np.inf),
            reason_event=np.pad(event, ((0, 0), (0, padded)), constant_values=-1)[:, :, None],
            reason_share=np.pad(np.where(is_act, share, 0.0).astype(np.float32), ((0, 0), (0, padded)))[:, :, None],
            model_name="covisits",
            model_version="0",
            weight_hash=self._hash,
        )
