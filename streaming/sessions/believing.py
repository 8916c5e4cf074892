"""What makes a row unbelievable, as pairs of an expression and words; and the transform that such rules make.

The rules of events and of items have these in common: ids that are one line and not too long, times that are times.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streaming.features.match import FIRST_YEAR, LAST_YEAR
from streaming.pipeline import Transform

Rule = tuple[pl.Expr, pl.Expr]
"""When a row is bad, and what to say then, as "ErrorClass: message"."""

MAX_ID_BYTES = 128
AHEAD_MS = 60_000
"""An event time may lie so far after the time at which the record reached the log: clocks differ."""

_CONTROL = r"\p{Cc}"


def says(error: str, text: str, *values: pl.Expr | str) -> pl.Expr:
    """Words with values in place of `{}`; a value that is missing says so, a long one is cut."""
    shown = [pl.col(value) if isinstance(value, str) else value for value in values]
    texts = [value.cast(pl.String).str.slice(0, 64).fill_null("missing") for value in shown]
    return pl.format(f"{error}: {text}", *texts) if texts else pl.lit(f"{error}: {text}")


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


def rejecting(rules: Sequence[Rule], name: str) -> Transform:
    """The transform of this name that says in `_reject` which rule a row breaks first; null for a good row. A row that
    is rejected already keeps its reason."""
    is_bad = pl.any_horizontal([bad for bad, _ in rules]).fill_null(False)
    reason = pl.coalesce([pl.when(bad).then(said) for bad, said in rules])

    def validate(rows: pl.DataFrame) -> pl.DataFrame:
        if "_reject" not in rows.columns:
            rows = rows.with_columns(pl.lit(None, pl.String).alias("_reject"))
        bad = rows.select(is_bad.alias("bad"))["bad"] & rows["_reject"].is_null()
        if not bad.any():
            return rows
        # Messages are made for the bad rows only: a good batch should not pay for them.
        reasons = rows.filter(bad).select(reason.alias("_reject"))["_reject"]
        return rows.with_columns(_reject=rows["_reject"].scatter(bad.arg_true(), reasons))

    validate.__name__ = name
    return validate
