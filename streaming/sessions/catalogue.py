"""The catalogue as it is: an index of items that is kept up with the compacted topic.

Every item has a *code*, its row in the index, for as long as the process lives. What may be offered is said by the
newest record of an item: in stock, not withdrawn. An item without a record, one that a record without value took out,
and one whose newest record cannot be believed, may not.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming import topics
from streaming.codec import Decoder, SchemaRegistry
from streaming.features.runs import Bools, Ints
from streaming.records import OffsetRange, Records
from streaming.runners.preprocess import preprocess
from streaming.sessions.items import validate_items

LEVELS = 4
"""Levels of a category that are told apart; deeper ones count as the last of them."""
UNKNOWN = -1
"""Code of an item that has no record."""

Codes = npt.NDArray[np.int32]
_NO_OFFSET = -1


class Items(Protocol):
    """The catalogue as a stage asks for it."""

    def reading(self, position: int) -> Any:
        """A context manager: the index, which does not change meanwhile, with every change before `position`.

        Raises:
            DependencyUnavailable: it is not that far, or may be out of date.
        """

    def alerts(self) -> tuple[str, ...]:
        """What is wrong with it now, a sentence each."""


class Catalogue:
    """The index. Safe for threads; read it within `reading`.

    Args:
        registry: of schemas.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        assert topics.ITEM_CATALOGUE.schema is not None
        self._decoder = Decoder(topics.ITEM_CATALOGUE.schema, registry)
        self._lock = threading.RLock()
        self._code_of: dict[str, int] = {}
        self._category_of: dict[str, int] = {}
        self._categories: list[str] = []
        self._levels: dict[str, int] = {}
        self.position = 0
        """Next offset: every change before it is in the index."""
        self.refused: Counter[str] = Counter()
        """Records that could not be believed, by error class."""
        self.item_id: npt.NDArray[np.object_] = np.empty(0, object)  # by code, as all that follow
        self.may_be_offered: Bools = np.empty(0, bool)
        self.is_refused: Bools = np.empty(0, bool)
        self.category: Ints = np.empty(0, np.int64)
        self.changed_at: Ints = np.empty(0, np.int64)  # offset of the newest record
        self.price: npt.NDArray[np.float64] = np.empty(0)
        self.title: npt.NDArray[np.object_] = np.empty(0, object)
        self.category_levels: Codes = np.empty((0, LEVELS), np.int32)  # by category: 0 beyond its last level

    def __len__(self) -> int:
        return len(self._code_of)

    @contextmanager
    def reading(self, position: int = 0) -> Iterator[Catalogue]:
        """The index stands still within."""
        with self._lock:
            yield self

    def alerts(self) -> tuple[str, ...]:
        """Items whose newest record cannot be believed."""
        with self._lock:
            count, errors = int(self.is_refused.sum()), ", ".join(sorted(self.refused))
        topic = topics.ITEM_CATALOGUE.name
        return (
            (f"{count} items are not offered, their newest records on {topic} were refused: {errors}",) if count else ()
        )

    def codes(self, item_ids: npt.NDArray[np.object_]) -> Codes:
        """Code of each item, of the same shape; `UNKNOWN` where there is none."""
        get = self._code_of.get
        flat = [get(item, UNKNOWN) for item in item_ids.ravel().tolist()]
        return np.array(flat, np.int32).reshape(item_ids.shape)

    def newest(self, count: int) -> Codes:
        """Codes of the items that may be offered and whose records are the newest, newest first."""
        codes = np.flatnonzero(self.may_be_offered[: len(self)])
        order = np.argsort(-self.changed_at[codes], kind="stable")[:count]
        return codes[order].astype(np.int32)

    def categories(self) -> Sequence[str]:
        """Names by the number in `category`; to be read, and within `reading` alone."""
        return self._categories

    def apply(self, wanted: OffsetRange, records: Records) -> None:
        """Take in the records of a range of the topic; the last of an item holds."""
        live = np.asarray(records.values.is_valid())
        batch = preprocess([(wanted, records.take(np.flatnonzero(live)))], self._decoder, (validate_items,))
        refused = [
            (str((key or b"").decode(errors="replace")), int(offset))
            for part in batch.rejected
            for key, offset in zip(part.records.keys.to_pylist(), part.records.offsets.tolist(), strict=True)
        ]
        gone = records.take(np.flatnonzero(~live))
        keys = [str((key or b"").decode(errors="replace")) for key in gone.keys.to_pylist()]
        out = list(zip(keys, gone.offsets.tolist(), strict=True))
        rows = batch.rows.unique("item_id", keep="last", maintain_order=True)
        with self._lock:
            self.refused.update(error for part in batch.rejected for error in part.errors)
            self._take(rows)
            self._take_out(refused, is_refused=True)
            self._take_out(out, is_refused=False)
            self.position = max(self.position, wanted.end)

    def _take(self, rows: pl.DataFrame) -> None:
        codes = self._admit(rows["item_id"].to_list())
        newer = rows["_offset"].to_numpy() > self.changed_at[codes]
        rows, codes = rows.filter(pl.Series(newer)), codes[newer]
        self.may_be_offered[codes] = (rows["in_stock"] & ~rows["withdrawn"]).to_numpy()
        self.changed_at[codes] = rows["_offset"].to_numpy()
        self.is_refused[codes] = False
        self.price[codes] = rows["price"].fill_null(np.nan).to_numpy()
        self.title[codes] = rows["title"].to_list()
        self.category[codes] = [self._category(name) for name in rows["category"].to_list()]

    def _take_out(self, gone: list[tuple[str, int]], *, is_refused: bool) -> None:
        for item, offset in gone:
            code = self._code_of.get(item)
            if code is not None and offset > self.changed_at[code]:
                self.may_be_offered[code], self.changed_at[code] = False, offset
                self.is_refused[code] = is_refused

    def _admit(self, item_ids: list[str]) -> Ints:
        for item in item_ids:
            self._code_of.setdefault(item, len(self._code_of))
        if len(self._code_of) > len(self.item_id):
            self._grow(max(1024, 2 * len(self._code_of)))
        codes = np.array([self._code_of[item] for item in item_ids], np.int64)
        self.item_id[codes] = item_ids
        return codes

    def _grow(self, size: int) -> None:
        starts = {
            "item_id": "",
            "may_be_offered": False,
            "is_refused": False,
            "category": 0,
            "changed_at": _NO_OFFSET,
            "price": np.nan,
            "title": "",
        }
        for name, start in starts.items():
            old = getattr(self, name)
            grown = np.full(size, start, old.dtype)
            grown[: len(old)] = old
            setattr(self, name, grown)

    def _category(self, name: str) -> int:
        number = self._category_of.get(name)
        if number is None:
            number = self._category_of[name] = len(self._categories)
            self._categories.append(name)
            parts = [part.strip() for part in name.split(">")][:LEVELS]
            prefixes = [" > ".join(parts[: depth + 1]) for depth in range(len(parts))]
            levels = [self._level(prefix) for prefix in prefixes if name]
            row = np.array([[*levels, *[0] * (LEVELS - len(levels))]], np.int32)
            self.category_levels = np.concatenate([self.category_levels, row])
        return number

    def _level(self, prefix: str) -> int:
        """A number from 1 for each path of levels."""
        return self._levels.setdefault(prefix, len(self._levels) + 1)
