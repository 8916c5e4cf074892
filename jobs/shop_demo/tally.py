"""Whether what a shop was promised was kept, from what lies on its topics. Pure: frames of rows in, figures out.

Rows have `_partition` and `_offset`, where they lie.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from streaming.sessions.answers import POPULAR

_PLACE = ("_partition", "_offset")
_OF_SOURCE = ("source_partition", "source_offset")


def answered(events: pl.DataFrame, answers: pl.DataFrame, flood_per_min: int) -> dict[str, int]:
    """Whether every view has one answer. Those of sessions that flooded the stream need none.

    Args:
        events: rows of user-sessions.avsc, a stretch of each partition.
        answers: rows of session-recommendations.avsc, with all that answer these.
        flood_per_min: events of a session in a minute beyond which it is a bot's.
    """
    views = events.filter(kind="view")
    mine = answers.join(views.select(_PLACE), left_on=_OF_SOURCE, right_on=_PLACE, how="semi")
    once = mine.unique(_OF_SOURCE)
    unanswered = views.join(once, left_on=_PLACE, right_on=_OF_SOURCE, how="anti")
    bots = _flooding(events, flood_per_min)
    of_bots = unanswered["session_id"].is_in(bots.implode())
    return {
        "sent": views.height,
        "answered": once.height,
        "of_bots": int(of_bots.sum()),
        "missing": int((~of_bots).sum()),
        "doubled": mine.height - once.height,
    }


def _flooding(events: pl.DataFrame, most_per_min: int) -> pl.Series:
    """Sessions with more events than these within any minute."""
    rates = events.sort("event_time_ms").rolling("event_time_ms", period="1m", group_by="session_id").agg(pl.len())
    return rates.filter(pl.col("len") > most_per_min)["session_id"].unique()


def reasons(answers: pl.DataFrame) -> dict[str, Any]:
    """Whether every item offered has one; by kind, how often it is the first that is named."""
    offered = int(answers["items"].list.len().sum())
    each = answers.select("answer_id", "source_partition", "source_offset", "reason_of", "reason_kinds")
    first = each.explode("reason_of", "reason_kinds").drop_nulls("reason_of").unique(
        ["answer_id", *_OF_SOURCE, "reason_of"], keep="first", maintain_order=True
    )  # fmt: skip
    kinds = dict(first.group_by("reason_kinds").len().sort("len", "reason_kinds", descending=True).iter_rows())
    return {"items": offered, "without": offered - first.height, "kinds": kinds, "popular": kinds.get(POPULAR, 0)}


def withdrawn(answers: pl.DataFrame, items: pl.DataFrame) -> dict[str, Any]:
    """How many of the items offered could not be had, by what each answer says that it knew of the catalogue; and for
    how long at most an answer did not know of a change.

    Args:
        answers: rows of session-recommendations.avsc.
        items: rows of item-catalogue.avsc, all from the first on.
    """
    history = items.select("item_id", "_offset", "changed_ms", may=pl.col("in_stock") & ~pl.col("withdrawn"))
    offered = answers.select("catalogue_offset", item_id="items").explode("item_id").drop_nulls("item_id")
    known = offered.with_columns(_offset=pl.col("catalogue_offset") - 1).sort("_offset")
    found = known.join_asof(history.sort("_offset"), on="_offset", by="item_id", check_sortedness=False)
    unknown_since = answers.select("catalogue_offset", "emit_time_ms").join(
        history, left_on="catalogue_offset", right_on="_offset"
    )
    late = (unknown_since["emit_time_ms"] - unknown_since["changed_ms"]).dt.total_milliseconds()
    return {
        "records": items.height,
        "withdrawn": items.filter("withdrawn").height,
        "sold_out": items.filter(~pl.col("in_stock") & ~pl.col("withdrawn")).height,
        "offered_all_the_same": int((~found["may"].fill_null(False)).sum()),
        "unknown_for_ms": int(late.to_numpy().max(initial=0)),
    }


def next_clicks(events: pl.DataFrame, answers: pl.DataFrame) -> dict[str, Any]:
    """How often what was looked at next, if it was another item, was among what had been offered just before."""
    views = events.filter(kind="view").sort(_PLACE).select(*_PLACE, "session_id", "item_id")
    views = views.with_columns(follows=pl.col("item_id").shift(-1).over("session_id"))
    asked = views.filter(pl.col("follows") != pl.col("item_id"))
    told = asked.join(answers.unique(_OF_SOURCE).select(*_OF_SOURCE, "items"), left_on=_PLACE, right_on=_OF_SOURCE)
    hits = int(told["items"].list.contains(told["follows"]).sum())
    return {"clicks": told.height, "offered": hits, "share": round(hits / told.height, 4) if told.height else None}
