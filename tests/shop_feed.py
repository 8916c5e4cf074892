"""Events of sessions by hand, the catalogue as records, and a recommender that says what it is told to: for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.records import OffsetRange, Records
from streaming.sessions.catalogue import Catalogue
from streaming.sessions.events import EVENT_SCHEMA, events_frame
from streaming.sessions.items import ITEM_SCHEMA, items_frame
from streaming.sessions.model import Recommended, Sessions

START_MS = 1_700_000_000_000
"""Begins a minute no more than it begins a day."""

_REGISTRY = PackagedRegistry()


def event(session: str, second: float, kind: str = "view", item: str | None = None, **more: Any) -> dict[str, Any]:
    """An event so long after the start."""
    row = {"session_id": session, "event_time_ms": START_MS + round(second * 1000), "kind": kind, "item_id": item}
    return {**row, **more}


def feed(rows: Iterable[Mapping[str, Any]], partitions: int = 1) -> pl.DataFrame:
    """Events with the runner's columns, in this order; a row may say its `_partition`, else it is the first."""
    rows = list(rows)
    partition = [int(row.get("_partition", 0)) for row in rows]
    frame = events_frame([{k: v for k, v in row.items() if k != "_partition"} for row in rows])
    return arrived(frame, partition)


def arrived(events: pl.DataFrame, partition: Sequence[int] | None = None) -> pl.DataFrame:
    """Events as the runner hands them on, each at once when it happened."""
    frame = events.select(EVENT_SCHEMA.names()).with_columns(
        _partition=pl.Series(partition if partition is not None else [0] * events.height, dtype=pl.Int32),
        _ingest_time_ms=pl.col("event_time_ms").to_physical(),
        _schema_id=pl.lit(11, pl.Int32),
    )
    return frame.with_columns(_offset=pl.int_range(pl.len(), dtype=pl.Int64).over("_partition"))


def event_records(events: pl.DataFrame) -> Records:
    """Events as a producer writes them."""
    values = Encoder(load_schema("user-sessions"), _REGISTRY.id_of("user-sessions")).encode(
        events.select(EVENT_SCHEMA.names())
    )
    keys = [session.encode() for session in events["session_id"]]
    return Records.of(keys, values.to_pylist(), timestamps_ms=events["event_time_ms"].to_physical().to_list())


def item(item_id: str, **more: Any) -> dict[str, Any]:
    """An item of one category that may be offered."""
    return {"item_id": item_id, "changed_ms": START_MS, "title": item_id, "category": "Things", **more}


def item_values(items: pl.DataFrame) -> Records:
    """Items as a producer writes them."""
    values = Encoder(load_schema("item-catalogue"), _REGISTRY.id_of("item-catalogue")).encode(
        items.select(ITEM_SCHEMA.names())
    )
    keys = [name.encode() for name in items["item_id"]]
    return Records.of(keys, values.to_pylist(), timestamps_ms=items["changed_ms"].to_physical().to_list())


def item_records(rows: Iterable[Mapping[str, Any]]) -> Records:
    """As `item_values`, from one mapping an item."""
    return item_values(items_frame(rows))


def apply(catalogue: Catalogue, records: Records) -> None:
    """Have the catalogue take in what comes next on its topic."""
    start = catalogue.index.position
    offsets = np.arange(start, start + len(records))
    at = Records(records.keys, records.values, offsets, records.timestamps_ms)
    catalogue.apply(OffsetRange(0, start, start + len(records)), at)


def catalogue_of(*rows: Mapping[str, Any]) -> Catalogue:
    """A catalogue that follows nothing."""
    catalogue = Catalogue(_REGISTRY)
    apply(catalogue, item_records(rows))
    return catalogue


class Fixed:
    """Recommends these items in this order, with falling scores, to everybody; the last act is the reason."""

    def __init__(self, *items: str, name: str = "fixed") -> None:
        self.items, self.name = list(items), name
        self.asked: list[int] = []

    def __call__(self, sessions: Sessions, top_k: int) -> Recommended:
        self.asked.append(len(sessions))
        count, k = len(sessions), min(top_k, len(self.items))
        last = (np.diff(sessions.offsets) - 1).astype(np.int32)
        return Recommended(
            items=np.broadcast_to(np.array(self.items[:k], dtype=object), (count, k)),
            scores=np.broadcast_to(np.arange(k, 0, -1).astype(np.float32), (count, k)),
            reason_event=np.broadcast_to(last[:, None, None], (count, k, 1)),
            reason_share=np.ones((count, k, 1), np.float32),
            model_name=self.name,
            model_version="1",
            weight_hash="h",
        )
