"""Rules that events and items have in common: ids that are one line and not too long, times that are times."""

from __future__ import annotations

import polars as pl

from streaming.features.match import FIRST_YEAR, LAST_YEAR
from streaming.rejecting import Rule, says

MAX_ID_BYTES = 128
AHEAD_MS = 60_000
"""An event time may lie so far after the time at which the record reached the log: clocks differ."""

_CONTROL = r"\p{Cc}"


def id_rules(name: str, error: str, *, wanted: pl.Expr | None = None) -> list[Rule]:
    """An id is one line of text that is not empty; it may be missing except where it is `wanted`."""
    value = pl.col(name)
    length = value.str.len_bytes()
    rules = [(wanted & value.is_null(), says(error, f"{name} is missing"))] if wanted is not None else []
    return [
        *rules,
        (value == "", says(error, f"{name} is empty")),
        (length > MAX_ID_BYTES, says(error, f"{name} has {{}} bytes, more than {MAX_ID_BYTES}", length)),
        (value.str.contains(_CONTROL), says(error, f"{name} has a control character")),
    ]


def id_list_rules(name: str, error: str, most: int) -> list[Rule]:
    """As `id_rules`, of every id in a list of at most `most`."""
    ids = pl.col(name)
    bad = (pl.element() == "") | (pl.element().str.len_bytes() > MAX_ID_BYTES) | pl.element().str.contains(_CONTROL)
    return [
        (ids.list.len() > most, says(error, f"{name} has {{}} ids, more than {most}", ids.list.len())),
        (
            ids.list.eval(bad).list.any(),
            says(error, f"{name} has an id that is empty, longer than {MAX_ID_BYTES} bytes or no single line"),
        ),
    ]


def time_rules(name: str, error: str, error_ahead: str) -> list[Rule]:
    """A time is one, and none that is still to come; the latter where rows say when they reached the log."""
    time = pl.col(name)
    time_ms, log_ms = time.to_physical(), pl.col("_ingest_time_ms")
    first, last = (pl.datetime(year, 1, 1, time_unit="ms", time_zone="UTC") for year in (FIRST_YEAR, LAST_YEAR))
    is_time = time.is_between(first, last, closed="left").fill_null(False)
    return [
        (~is_time, says(error, f"{name} is {{}}, not a time from {FIRST_YEAR} to {LAST_YEAR}", time_ms)),
        (
            time_ms > log_ms + AHEAD_MS,
            says(
                error_ahead,
                f"{name} is {{}} ms after the record reached the log, {AHEAD_MS} are allowed: set the sender's clock",
                time_ms - log_ms,
            ),
        ),
    ]
