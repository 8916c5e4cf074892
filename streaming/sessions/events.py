"""Events of sessions as frames, and which of them cannot be believed.

What an event needs beside `session_id`, `event_time_ms` and `kind`:

    view, cart, purchase   item_id; a view that follows an answer has its answer_id
    remove                 item_id, which lies in the basket no more
    search, question       text
    dwell                  item_id, dwell_s
    impression             answer_id, items
    login                  user_id; items, if the shop knows what the user has bought before
    forget                 user_id: everything that is remembered of this user is to be erased

Any event may have `user_id`. An item that the catalogue does not know is no fault of the event: it may come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from streaming.rejecting import Rule, rejecting, says
from streaming.sessions.believing import id_list_rules, id_rules, time_rules
from streaming.sessions.model import ACTS

KINDS = (*ACTS, "search", "question", "dwell", "impression", "login", "forget", "remove")

EVENT_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "event_time_ms": pl.Datetime("ms", "UTC"),
        "kind": pl.String(),
        "user_id": pl.String(),
        "item_id": pl.String(),
        "text": pl.String(),
        "dwell_s": pl.Float64(),
        "items": pl.List(pl.String()),
        "answer_id": pl.String(),
    }
)
"""Columns of a frame of events, as user-sessions.avsc states them."""

MAX_TEXT_BYTES = 1_000
MAX_DWELL_S = 24 * 3600.0
MAX_ITEMS = 200

_ERROR = "InvalidSessionEvent"


def _rules() -> list[Rule]:
    kind, text, dwell_s = pl.col("kind"), pl.col("text"), pl.col("dwell_s")
    shown = kind == "impression"
    known = kind.is_in(KINDS).fill_null(False)
    return [
        *id_rules("session_id", _ERROR, wanted=pl.lit(True)),
        *time_rules("event_time_ms", _ERROR, "SessionEventFromTheFuture"),
        (~known, says(_ERROR, f"kind is {{}}, not one of {', '.join(KINDS)}", kind)),
        *id_rules("user_id", _ERROR, wanted=kind.is_in(("login", "forget"))),
        *id_rules("item_id", _ERROR, wanted=kind.is_in((*ACTS, "remove", "dwell"))),
        *id_rules("answer_id", _ERROR, wanted=shown),
        (
            kind.is_in(("search", "question")) & (text.fill_null("").str.strip_chars() == ""),
            says(_ERROR, "{} without text", kind),
        ),
        (
            text.str.len_bytes() > MAX_TEXT_BYTES,
            says(_ERROR, f"text has {{}} bytes, more than {MAX_TEXT_BYTES}", text.str.len_bytes()),
        ),
        (
            (kind == "dwell") & ~dwell_s.is_between(0.0, MAX_DWELL_S).fill_null(False),
            says(_ERROR, f"dwell_s is {{}}, not from 0 to {MAX_DWELL_S:g}", dwell_s),
        ),
        (shown & (pl.col("items").list.len() == 0), says(_ERROR, "an impression of no items")),
        *id_list_rules("items", _ERROR, MAX_ITEMS),
    ]


validate_events = rejecting(_rules(), "validate_events")
"""The transform that says in `_reject` why an event cannot be believed: `streaming.rejecting`."""


def events_frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """A frame of events from one mapping a row; `event_time_ms` in milliseconds, what a row leaves out is null.

    Raises:
        ValueError: a row has a field that the schema does not know.
    """
    rows = list(rows)
    for number, row in enumerate(rows):
        if unknown := [name for name in row if name not in EVENT_SCHEMA]:
            raise ValueError(f"event row {number}: unknown field {unknown[0]!r}; user-sessions.avsc lists the fields")
    physical = {name: pl.Int64() if name == "event_time_ms" else dtype for name, dtype in EVENT_SCHEMA.items()}
    frame = pl.DataFrame([{"items": [], **row} for row in rows], schema=physical, orient="row")
    return frame.cast(EVENT_SCHEMA)
