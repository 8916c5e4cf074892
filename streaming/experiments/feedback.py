"""Impressions and clicks joined to the answers that they name."""

from __future__ import annotations

import polars as pl

_PAIR = ["answer_id", "item_id"]


def outcomes(answers: pl.DataFrame, events: pl.DataFrame, *, within_s: float = 1800.0) -> pl.DataFrame:
    """One row for every item of every answer that was shown: whether it was clicked.

    An answer counts as shown once an impression names it, and an item once that lists it. A click is a view that names
    the answer, of an item that was shown, in the answer's own session, up to `within_s` after it; more clicks on it are
    one. So neither a repeated record nor a browser that makes up answers changes a count.

    Args:
        answers: rows of session-recommendations.avsc.
        events: rows of user-sessions.avsc.
        within_s: seconds.

    Returns:
        answer_id, session_id, experiment, arm, event_time_ms (of the answer), place (from 0), item_id, propensity,
        clicked; in the order of answers.
    """
    flat = (
        answers.unique("answer_id", keep="first", maintain_order=True)
        .select("answer_id", "session_id", "experiment", "arm", "event_time_ms",
                pl.col("items").alias("item_id"), pl.col("propensities").alias("propensity"))
        .explode("item_id", "propensity")
        .drop_nulls("item_id")
        .with_columns(place=pl.int_range(pl.len(), dtype=pl.Int32).over("answer_id"))
    )  # fmt: skip
    named = events.filter(pl.col("answer_id").is_not_null())
    shown = (
        named.filter(pl.col("kind") == "impression")
        .select("answer_id", "session_id", pl.col("items").alias("item_id"))
        .explode("item_id")
        .unique()
    )
    flat = flat.join(shown, on=[*_PAIR, "session_id"], how="semi", maintain_order="left")
    clicks = (
        named.filter(pl.col("kind") == "view")
        .join(flat.select(*_PAIR, "session_id", answered=pl.col("event_time_ms")), on=[*_PAIR, "session_id"])
        .filter((pl.col("event_time_ms") - pl.col("answered")).is_between(pl.duration(), pl.duration(seconds=within_s)))
        .select(_PAIR)
        .unique()
        .with_columns(clicked=pl.lit(True))
    )
    joined = flat.join(clicks, on=_PAIR, how="left", maintain_order="left")
    return joined.with_columns(pl.col("clicked").fill_null(False)).select(
        "answer_id", "session_id", "experiment", "arm", "event_time_ms", "place", "item_id", "propensity", "clicked"
    )


def by_unit(shown: pl.DataFrame) -> pl.DataFrame:
    """`experiment, arm, session_id, clicks, answers` of each session: clicks of one session are no independent ones,
    so sessions are what tests count."""
    return (
        shown.group_by("experiment", "arm", "session_id", maintain_order=True)
        .agg(clicks=pl.col("clicked").sum(), answers=pl.col("answer_id").n_unique())
        .sort("experiment", "arm", "session_id")
    )
