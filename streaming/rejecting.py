"""Rules on columns, and the transform that says of each row which of them it breaks."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streaming.pipeline import Transform

Rule = tuple[pl.Expr, pl.Expr]
"""When a row is bad, and what to say then, as "ErrorClass: message"."""


def says(error: str, text: str, *values: pl.Expr | str) -> pl.Expr:
    """Words with values in place of `{}`; a value that is missing says so, a long one is cut."""
    shown = [pl.col(value) if isinstance(value, str) else value for value in values]
    texts = [value.cast(pl.String).str.slice(0, 64).fill_null("missing") for value in shown]
    return pl.format(f"{error}: {text}", *texts) if texts else pl.lit(f"{error}: {text}")


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
