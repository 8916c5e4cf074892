"""A small made-up shop behind a gateway: a catalogue, answers by hand, events as browsers send them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serve.gateway.pipelines import Pipelines
from serve.gateway.settings import GatewaySettings
from serve.gateway.shop.board import TOPICS
from serve.gateway.shop.service import ShopService
from serve.gateway.testing import RowLog, encoded
from streaming.simulators.shop import item_records, make_goods
from streaming.topics import ITEM_CATALOGUE, SESSION_RECOMMENDATIONS, USER_SESSIONS
from tests.shop_feed import item_records as records_of

Row = dict[str, Any]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def service_of(settings: GatewaySettings, log: RowLog, *, ready: bool = False) -> ShopService:
    """Over the topics of a log; `ready`: as if they had been read back."""
    feeds = log.feeds().shop
    assert feeds is not None
    made = ShopService(settings, feeds, Pipelines(silent_s=10, stuck_s=15), now_ms())
    for topic in TOPICS if ready else ():
        made.board.broker.read(topic, now_ms())
        made.board.broker.caught_up(topic)
    return made


def stock(log: RowLog, rows: Sequence[Mapping[str, Any]]) -> None:
    """Items as they are now."""
    records = records_of(rows)
    log.append_keyed(ITEM_CATALOGUE.name, records.keys.to_pylist(), records.values.to_pylist())


def take_out(log: RowLog, item_id: str) -> None:
    """A record without a value."""
    log.append_keyed(ITEM_CATALOGUE.name, [item_id.encode()], [None])


def goods_rows(count: int = 48) -> list[Row]:
    """Items of the simulator."""
    frame = item_records(make_goods(count, categories=min(count, 12), seed=3), np.arange(count), now_ms() - 3_600_000)
    rows = frame.with_columns(frame["changed_ms"].dt.timestamp("ms")).to_dicts()
    return [row | {"attributes": {one["key"]: one["value"] for one in row["attributes"]}} for row in rows]


def answer(session: str, items: Sequence[str], looked_at: str, **changed: Any) -> Row:
    """An answer whose reason is, for each item, the look that was answered."""
    at_ms = now_ms()
    return {
        "session_id": session, "answer_id": f"a-{session}-{looked_at}", "item_id": looked_at,
        "event_time_ms": at_ms, "session_start_ms": at_ms, "session_events": 1, "ingest_time_ms": at_ms,
        "emit_time_ms": at_ms, "items": list(items), "scores": [1.0 - place / 100 for place in range(len(items))],
        "propensities": [1.0] * len(items), "reason_of": list(range(len(items))),
        "reason_items": [looked_at] * len(items), "reason_kinds": ["view"] * len(items),
        "reason_shares": [1.0] * len(items), "flags": "", "experiment": "", "arm": "",
        "model_name": "session-gru4rec", "model_version": "3", "weight_hash": "abc",
        "source_topic": USER_SESSIONS.name,
    } | changed  # fmt: skip


def event(session: str, kind: str, **more: Any) -> Row:
    """An event as the gateway writes them."""
    return {"session_id": session, "event_time_ms": now_ms(), "kind": kind, "items": [], **more}


def tell_answers(log: RowLog, *rows: Row) -> None:
    """Answers, as the pipeline writes them."""
    log.append(SESSION_RECOMMENDATIONS.name, *encoded(SESSION_RECOMMENDATIONS, rows))


def tell_events(log: RowLog, *rows: Row) -> None:
    """Events of sessions."""
    log.append(USER_SESSIONS.name, *encoded(USER_SESSIONS, rows))
