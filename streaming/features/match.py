"""Match events as frames: their schema, how to make one from plain rows, and which rows cannot be believed.

`validate` is a transform: it judges each row by itself, never by its neighbours or by a wall clock, so its answer is
the same in a live run and in a replay. What needs memory (late, repeated, falling totals) is judged by
`streaming.features.match_fold`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from streaming.features.catalogue import COUNTS, LEVELS, titles
from streaming.rejecting import Rule, rejecting

KINDS = ("start", "snapshot", "score", "end", "remake")
SIDES = ("A", "B")
TOTALS = ("kills_a", "kills_b", "towers_a", "towers_b")
TEXTS = ("team_a", "team_b", "league", "patch", "origin")
HEROES = ("heroes_a", "heroes_b")

MAX_MATCH_ID_BYTES = 128
MAX_TEXT_BYTES = 128
MAX_HEROES = 10
MAX_HEROES_BYTES = 640
MAX_CLOCK_S = 6 * 3600.0
MAX_COUNT = 100
MAX_TOTAL = 1000
MAX_LEVEL = {
    "gold": 1e6, "xp": 1e6, "level": 1e3, "gold_spread": 1e6, "minions": 1e5, "participation": 1e3,
    "lane_top": 10.0, "lane_mid": 10.0, "lane_bot": 10.0,
}  # fmt: skip
"""The largest lead of either camp that is believed: no match comes near, a slip of units or digits does."""

FIRST_YEAR, LAST_YEAR = 1970, 2100

_SCHEMA_FILE = Path(__file__).parents[1] / "schemas" / "match-events.avsc"
_POLARS: dict[str, pl.DataType] = {"string": pl.String(), "long": pl.Int64(), "int": pl.Int32(), "double": pl.Float64()}


def _polars_type(avro: Any) -> pl.DataType:
    """The column type that polars decodes this Avro type to; `["null", T]` is a T that may be null."""
    if isinstance(avro, list):
        (avro,) = [branch for branch in avro if branch != "null"]
    if isinstance(avro, str):
        return _POLARS[avro]
    if avro.get("logicalType") == "timestamp-millis":
        return pl.Datetime("ms", "UTC")
    if avro["type"] == "array":
        return pl.List(_polars_type(avro["items"]))
    raise TypeError(f"{_SCHEMA_FILE.name}: no column type for {avro}")


_FIELDS: list[dict[str, Any]] = json.loads(_SCHEMA_FILE.read_text(encoding="utf-8"))["fields"]

EVENT_SCHEMA = pl.Schema({field["name"]: _polars_type(field["type"]) for field in _FIELDS})
"""Columns of an event frame, in order, as match-events.avsc states them."""

_DEFAULTS: dict[str, Any] = {field["name"]: field["default"] for field in _FIELDS if "default" in field}


def events_frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """An event frame from one mapping a row; what a row leaves out gets the schema's default.

    `event_time_ms` is milliseconds since 1970 UTC, or a datetime that knows its zone.

    Raises:
        ValueError: a row lacks a field that has no default, has one that the schema does not know, or a value of
            another type; the message names the row.
    """
    columns: dict[str, list[Any]] = {name: [] for name in EVENT_SCHEMA}
    for number, row in enumerate(rows):
        unknown = [name for name in row if name not in columns]
        missing = [name for name in columns if name not in row and name not in _DEFAULTS]
        if unknown or missing:
            said = f"unknown field {unknown[0]!r}" if unknown else f"no {missing[0]!r}"
            raise ValueError(f"event row {number}: {said}; match-events.avsc lists the fields")
        for name, values in columns.items():
            values.append(row.get(name, _DEFAULTS.get(name)))
    columns["event_time_ms"] = [_milliseconds(number, time) for number, time in enumerate(columns["event_time_ms"])]
    series = []
    for name, dtype in EVENT_SCHEMA.items():
        physical = pl.Int64() if name == "event_time_ms" else dtype
        try:
            series.append(pl.Series(name, columns[name], physical).cast(dtype))
        except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
            raise ValueError(f"event rows: {name} is not all {dtype}: {error}") from error
    return pl.DataFrame(series)


def _milliseconds(number: int, time: Any) -> int:
    if isinstance(time, dt.datetime):
        if time.tzinfo is None:
            raise ValueError(f"event row {number}: event_time_ms {time} has no time zone; pass UTC")
        return round(time.timestamp() * 1000)
    if isinstance(time, bool) or not isinstance(time, int):
        raise ValueError(f"event row {number}: event_time_ms is {time!r}, not milliseconds or a datetime")
    return time


def _shown(column: str) -> pl.Expr:
    """A text value fit for a message."""
    text = pl.col(column)
    return pl.concat_str(pl.lit("'"), text.str.slice(0, 40), pl.lit("'")).fill_null("missing")


def _not_whole(column: str, low: int, high: int) -> pl.Expr:
    """Not a whole number of [low, high]; null for null. NaN is above all numbers."""
    value = pl.col(column)
    return ~(value.is_between(low, high) & (value == value.floor()))


def _rules() -> list[Rule]:
    kind, side = pl.col("kind"), pl.col("side")
    is_score = kind == "score"
    first = pl.datetime(FIRST_YEAR, 1, 1, time_unit="ms", time_zone="UTC")
    last = pl.datetime(LAST_YEAR, 1, 1, time_unit="ms", time_zone="UTC")
    match_id, clock, time = pl.col("match_id"), pl.col("clock_s"), pl.col("event_time_ms")
    rules: list[Rule] = [
        (match_id.is_null() | (match_id == ""), pl.lit("match_id is missing")),
        (
            match_id.str.len_bytes() > MAX_MATCH_ID_BYTES,
            pl.format(f"match_id has {{}} bytes, more than {MAX_MATCH_ID_BYTES}", match_id.str.len_bytes()),
        ),
        (
            match_id.str.starts_with("@"),
            pl.format("match_id {} starts with '@', which is reserved", _shown("match_id")),
        ),
        (
            ~pl.col("sequence").ge(0).fill_null(False),
            pl.format("sequence is {}, not 0 or more", pl.col("sequence").cast(pl.String).fill_null("missing")),
        ),
        (
            ~time.is_between(first, last, closed="left").fill_null(False),
            pl.format(
                f"event_time_ms is {{}}, not a time from {FIRST_YEAR} to {LAST_YEAR}",
                time.cast(pl.Int64).cast(pl.String).fill_null("missing"),
            ),
        ),
        (
            ~pl.col("title").is_in(titles()).fill_null(False),
            pl.format(f"title is {{}}, not one of {', '.join(titles())}", _shown("title")),
        ),
        (
            ~kind.is_in(KINDS).fill_null(False),
            pl.format(f"kind is {{}}, not one of {', '.join(KINDS)}", _shown("kind")),
        ),
        (
            ~clock.is_between(-MAX_CLOCK_S, MAX_CLOCK_S).fill_null(False),
            pl.format(
                f"clock_s is {{}}, not a time within {MAX_CLOCK_S:.0f} s", clock.cast(pl.String).fill_null("missing")
            ),
        ),
        (~side.is_in(SIDES), pl.format("side is {}, not A or B", _shown("side"))),
        (kind.is_in(("score", "end")) & side.is_null(), pl.format("{} without side", kind)),
        (
            is_score & ~pl.col("subject").is_in(COUNTS).fill_null(False),
            pl.format(f"score of subject {{}}, which is not one of {', '.join(COUNTS)}", _shown("subject")),
        ),
        (
            is_score & (_not_whole("count", 1, MAX_COUNT) | pl.col("count").is_null()),
            pl.format(
                f"count is {{}}, not a whole number from 1 to {MAX_COUNT}",
                pl.col("count").cast(pl.String).fill_null("missing"),
            ),
        ),
    ]
    for name in LEVELS:
        value, limit = pl.col(name), MAX_LEVEL[name]
        rules.append((value.abs() > limit, pl.format(f"{name} is {{}}, beyond any match (±{limit:.0f})", value)))
    rules += [
        (_not_whole(name, 0, MAX_TOTAL), pl.format(f"{name} is {{}}, not a whole number from 0 to {MAX_TOTAL}", name))
        for name in TOTALS
    ]
    for name in TEXTS:
        length = pl.col(name).str.len_bytes()
        rules.append((length > MAX_TEXT_BYTES, pl.format(f"{name} has {{}} bytes, more than {MAX_TEXT_BYTES}", length)))
    for name in HEROES:
        picks, length = pl.col(name).list.len(), pl.col(name).list.join("").str.len_bytes()
        rules += [
            (picks > MAX_HEROES, pl.format(f"{name} has {{}} names, more than {MAX_HEROES}", picks)),
            (length > MAX_HEROES_BYTES, pl.format(f"{name} has {{}} bytes, more than {MAX_HEROES_BYTES}", length)),
        ]
    return rules


# In a function of the module's own, which workers look up by its name.
_rejected = rejecting([(bad, pl.format("InvalidEvent: {}", said)) for bad, said in _rules()], "validate")


def validate(rows: pl.DataFrame) -> pl.DataFrame:
    """Say in `_reject` why a row cannot be believed, as "InvalidEvent: reason with the value"; null for a good row.

    Args:
        rows: an event frame, with or without the runner's columns. A row already rejected keeps its reason.

    A negative clock is no reason: drafts and the time before the horn have one. The fold takes it for 0 and flags it.
    """
    return _rejected(rows)
