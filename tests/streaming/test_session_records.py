"""Which events and items are believed: each rule by a row that breaks it, and what is no fault."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from streaming.codec import Decoder, PackagedRegistry
from streaming.sessions.events import EVENT_SCHEMA, events_frame, validate_events
from streaming.sessions.items import ITEM_SCHEMA, items_frame, validate_items
from tests.shop_feed import START_MS, event, event_records, feed, item, item_records

MARKUP = "<script>alert('x')</script> 👟 حذاء"
GOOD = [
    event("a", 0, item="x"),
    event("a", 1, "search", text=MARKUP),
    event("a", 2, "question", text="?"),
    event("a", 3, "cart", "x"),
    event("a", 4, "purchase", "x"),
    event("a", 5, "dwell", "x", dwell_s=0.0),
    event("a", 6, "impression", answer_id="0-1", items=["x", "y"]),
    event("a", 7, "login", user_id="ann"),
    event("a", 8, "forget", user_id="ann"),
    event("a", 9, item="👟", user_id="حنا", answer_id="0-2"),
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"session_id": ""}, "InvalidSessionEvent: session_id is empty"),
    ({"session_id": "é" * 65}, "InvalidSessionEvent: session_id has 130 bytes, more than 128"),
    ({"session_id": "a\nb"}, "InvalidSessionEvent: session_id has a control character"),
    ({"event_time_ms": -1}, "InvalidSessionEvent: event_time_ms is -1, not a time from 1970 to 2100"),
    (
        {"event_time_ms": START_MS + 60_001},
        "SessionEventFromTheFuture: event_time_ms is 60001 ms after the record reached the log, 60000 are allowed: "
        "set the sender's clock",
    ),
    (
        {"kind": "buy"},
        "InvalidSessionEvent: kind is buy, not one of view, cart, purchase, search, question, dwell, impression, "
        "login, forget, remove",
    ),
    ({"item_id": None}, "InvalidSessionEvent: item_id is missing"),
    ({"item_id": ""}, "InvalidSessionEvent: item_id is empty"),
    ({"user_id": ""}, "InvalidSessionEvent: user_id is empty"),
    ({"answer_id": "x" * 129}, "InvalidSessionEvent: answer_id has 129 bytes, more than 128"),
    ({"kind": "login"}, "InvalidSessionEvent: user_id is missing"),
    ({"kind": "forget"}, "InvalidSessionEvent: user_id is missing"),
    ({"kind": "search"}, "InvalidSessionEvent: search without text"),
    ({"kind": "question", "text": "  "}, "InvalidSessionEvent: question without text"),
    ({"kind": "search", "text": "x" * 1001}, "InvalidSessionEvent: text has 1001 bytes, more than 1000"),
    ({"kind": "dwell"}, "InvalidSessionEvent: dwell_s is missing, not from 0 to 86400"),
    ({"kind": "dwell", "dwell_s": -0.5}, "InvalidSessionEvent: dwell_s is -0.5, not from 0 to 86400"),
    ({"kind": "dwell", "dwell_s": float("nan")}, "InvalidSessionEvent: dwell_s is NaN, not from 0 to 86400"),
    ({"kind": "impression", "answer_id": "1"}, "InvalidSessionEvent: an impression of no items"),
    ({"kind": "impression", "items": ["x"]}, "InvalidSessionEvent: answer_id is missing"),
    ({"items": ["x"] * 201}, "InvalidSessionEvent: items has 201 ids, more than 200"),
    (
        {"items": ["x", ""]},
        "InvalidSessionEvent: items has an id that is empty, longer than 128 bytes or no single line",
    ),
]


@pytest.mark.parametrize(("change", "reason"), BAD, ids=[reason.partition(": ")[2] for _, reason in BAD])
def test_an_event_that_cannot_be_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    rows = feed([event("a", 0, item="x"), {**event("a", 0, item="x"), **change}])
    rows = rows.with_columns(_ingest_time_ms=pl.lit(START_MS, pl.Int64))
    assert validate_events(rows)["_reject"].to_list() == [None, reason]


def test_events_of_every_kind_pass_and_come_through_the_codec_as_they_are() -> None:
    rows = feed(GOOD)
    assert validate_events(rows)["_reject"].null_count() == len(GOOD)
    decoded = Decoder("user-sessions", PackagedRegistry()).decode(event_records(rows))
    assert decoded.frame.select(EVENT_SCHEMA.names()).equals(rows.select(EVENT_SCHEMA.names()))


def test_a_row_that_was_refused_before_keeps_its_reason() -> None:
    rows = feed([event("", 0, item="x")]).with_columns(_reject=pl.lit("Before: it"))
    assert validate_events(rows)["_reject"].to_list() == ["Before: it"]


ITEMS: list[tuple[dict[str, Any], str]] = [
    ({"item_id": ""}, "InvalidItem: item_id is empty"),
    ({"price": -0.01}, "InvalidItem: price is -0.01, not from 0 to 1e+09"),
    ({"price": float("inf")}, "InvalidItem: price is inf, not from 0 to 1e+09"),
    ({"price": float("nan")}, "InvalidItem: price is NaN, not from 0 to 1e+09"),
    ({"title": "👟" * 251}, "InvalidItem: title has 1004 bytes, more than 1000"),
    ({"category": "x" * 501}, "InvalidItem: category has 501 bytes, more than 500"),
    ({"attributes": {str(n): "" for n in range(33)}}, "InvalidItem: 33 attributes, more than 32"),
    ({"attributes": {"x": "y" * 8000}}, "InvalidItem: attributes has 8001 bytes, more than 8000"),
    (
        {"changed_ms": START_MS + 3_600_000},
        "ItemFromTheFuture: changed_ms is 3600000 ms after the record reached the log, 60000 are allowed: set the "
        "sender's clock",
    ),
]


@pytest.mark.parametrize(("change", "reason"), ITEMS, ids=[reason.partition(": ")[2][:30] for _, reason in ITEMS])
def test_an_item_that_cannot_be_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    rows = items_frame([item("x"), {**item("x"), **change}]).with_columns(_ingest_time_ms=pl.lit(START_MS, pl.Int64))
    assert validate_items(rows)["_reject"].to_list() == [None, reason]


def test_markup_and_any_script_in_a_title_are_data() -> None:
    full = item("x", title=MARKUP, price=9.5, attributes={"colour": "red", "size": "10"}, in_stock=False)
    rows = items_frame([full, item("y")])
    assert validate_items(rows.with_columns(_ingest_time_ms=pl.lit(START_MS)))["_reject"].null_count() == 2
    decoded = Decoder("item-catalogue", PackagedRegistry()).decode(item_records([full, item("y")]))
    assert decoded.frame.select(ITEM_SCHEMA.names()).equals(rows)
    assert decoded.frame["title"][0] == MARKUP


def test_a_field_that_nobody_knows_is_said() -> None:
    with pytest.raises(ValueError, match="event row 1: unknown field 'itme'"):
        events_frame([event("a", 0), {**event("a", 0), "itme": "x"}])
    with pytest.raises(ValueError, match="item row 0: unknown field 'sku'"):
        items_frame([item("x", sku="1")])
