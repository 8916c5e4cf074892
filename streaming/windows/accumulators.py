"""Partial aggregates: what a window remembers instead of its rows.

    rows ─ lift ─► a partial each ─ merge, in any order and grouping ─► one partial ─ results ─► the figures

A partial is a row of columns; merging is associative and commutative to the last bit, so a window may be put together
from what was remembered, from rows, and from other windows alike. Sums are kept as whole numbers: floor, and the
rest in units of 2**-32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from streaming.state import Column
from streaming.windows.definition import Aggregate

LARGEST = 2.0**43
"""Values are below this in magnitude (8.8e12): a million of the largest add up without overflow, and every time in
milliseconds until the year 2248 is among them."""

T = TypeVar("T")

_UNIT = 1 << 32
_NONE = -1  # a time or an offset that is missing, as stored

_FLOAT = Column(np.float64, default=np.nan)
_SUM = Column(np.int64)
_PLACE = Column(np.int64, default=_NONE)

_HOLDS = {
    "count": ("n",),
    "sum": ("n", "whole", "rest"),
    "mean": ("n", "whole", "rest"),
    "min": ("min",),
    "max": ("max",),
    "first": ("first", "first_ms", "first_offset"),
    "last": ("last", "last_ms", "last_offset"),
}
_COLUMNS = {
    "n": _SUM, "whole": _SUM, "rest": _SUM, "min": _FLOAT, "max": _FLOAT, "first": _FLOAT, "last": _FLOAT,
    "first_ms": _PLACE, "first_offset": _PLACE, "last_ms": _PLACE, "last_offset": _PLACE,
}  # fmt: skip


def _value(column: str) -> pl.Expr:
    value = pl.col(column).cast(pl.Float64).fill_nan(None)
    return pl.when(value == 0.0).then(0.0).otherwise(value)  # 0.0 and -0.0 are one, or min would depend on the order


def _lift(part: str, column: str) -> pl.Expr:
    """One part of a row's partial; `_time_ms` and `_offset` say when the row was."""
    value = _value(column)
    whole = value.floor()
    match part:
        case "n":
            return value.is_not_null().cast(pl.Int64)
        case "whole":
            return whole.cast(pl.Int64).fill_null(0)
        case "rest":
            return ((value - whole) * _UNIT).round().cast(pl.Int64).fill_null(0)
        case "first_ms" | "last_ms":
            return pl.when(value.is_not_null()).then("_time_ms")
        case "first_offset" | "last_offset":
            return pl.when(value.is_not_null()).then("_offset")
        case _:
            return value


def _merge(part: str, column: str) -> pl.Expr:
    """The same part of several partials in one."""
    held = pl.col(f"{part}:{column}")
    match part:
        case "n":
            return held.sum()
        case "whole":
            return held.sum() + pl.col(f"rest:{column}").sum() // _UNIT
        case "rest":
            return held.sum() % _UNIT
        case "min" | "first_ms":
            return held.min()
        case "max" | "last_ms":
            return held.max()
        case _:
            # A value or an offset at an end of time. Nulls stand away from the end that is asked for.
            end = part.partition("_")[0]
            places = [f"{end}_ms:{column}", f"{end}_offset:{column}"]
            in_time = held.sort_by(places, nulls_last=end == "first")
            return in_time.first() if end == "first" else in_time.last()


def _result(aggregate: Aggregate) -> pl.Expr:
    column = aggregate.column
    if column is None:
        return pl.col("n").alias(aggregate.name)
    n = pl.col(f"n:{column}")
    match aggregate.how:
        case "count":
            figure = n
        case "sum" | "mean":
            total = pl.col(f"whole:{column}") + pl.col(f"rest:{column}") / _UNIT
            figure = pl.when(n > 0).then(total if aggregate.how == "sum" else total / n)
        case _:
            figure = pl.col(f"{aggregate.how}:{column}")
    return figure.alias(aggregate.name)


@dataclass(frozen=True)
class Accumulators:
    """The partials that a set of aggregates needs, as polars expressions and as state."""

    layout: dict[str, Column]
    lift: list[pl.Expr]  # on rows with `_time_ms` and `_offset`
    merge: list[pl.Expr]  # in a `group_by` of partials
    results: list[pl.Expr]  # on partials
    columns: tuple[str, ...]  # of the rows, that values are taken from

    @classmethod
    def of(cls, aggregates: Sequence[Aggregate]) -> Accumulators:
        """What these need; two aggregates of one column share what they can."""
        parts = _unique(
            (part, aggregate.column)
            for aggregate in aggregates
            if aggregate.column is not None
            for part in _HOLDS[aggregate.how]
        )
        return cls(
            layout={"n": _SUM} | {f"{part}:{column}": _COLUMNS[part] for part, column in parts},
            lift=[pl.lit(1, pl.Int64).alias("n"), *_named(_lift, parts)],
            merge=[pl.col("n").sum(), *_named(_merge, parts)],
            results=[_result(aggregate) for aggregate in aggregates],
            columns=tuple(_unique(column for _, column in parts)),
        )


def _named(make: Callable[[str, str], pl.Expr], parts: list[tuple[str, str]]) -> list[pl.Expr]:
    return [make(part, column).alias(f"{part}:{column}") for part, column in parts]


def _unique(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
