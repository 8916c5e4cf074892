"""Records of the shop's topics as the rows that the board keeps. Pure; the conversion happens off the event loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.runs import Ints
from streaming.sessions.events import validate_events

ANSWER_COLUMNS = ("answer_id", "session_id", "experiment", "arm", "event_time_ms", "items", "propensities")
NAMED_COLUMNS = ("answer_id", "session_id", "kind", "item_id", "items", "event_time_ms")
"""What `streaming.experiments.outcomes` asks of answers and of the events that name them."""

Ids = npt.NDArray[np.object_]


class Answer(NamedTuple):
    """What was answered in a session."""

    session_id: str
    answer_id: str
    item_id: str
    event_time_ms: int
    emit_time_ms: int
    items: tuple[str, ...]
    reasons: tuple[tuple[int, str, str, float], ...]  # place in items, kind, item id, share
    flags: tuple[str, ...]
    experiment: str
    arm: str
    model_name: str
    model_version: str


class AnswerRows(NamedTuple):
    """N answers: each for its session, and as columns."""

    answers: list[Answer]
    frame: pl.DataFrame  # (N,) of ANSWER_COLUMNS
    offered: Ids  # (I,) all their items
    offered_ms: Ints  # (I,) when they were


class EventRows(NamedTuple):
    """What events say of answers, and of items."""

    named: pl.DataFrame  # (M,) of NAMED_COLUMNS: impressions, and clicks on what was offered
    viewed: Ids  # (I,)
    viewed_ms: Ints  # (I,)


def answer_rows(frame: pl.DataFrame) -> list[AnswerRows]:
    """Rows of session.recommendations, together."""
    times = frame.with_columns(pl.col("event_time_ms", "emit_time_ms").cast(pl.Datetime("ms")).cast(pl.Int64))
    answers = [
        Answer(
            session_id=row["session_id"],
            answer_id=row["answer_id"],
            item_id=row["item_id"],
            event_time_ms=row["event_time_ms"],
            emit_time_ms=row["emit_time_ms"],
            items=tuple(row["items"]),
            reasons=tuple(
                zip(row["reason_of"], row["reason_kinds"], row["reason_items"], row["reason_shares"], strict=False)
            ),
            flags=tuple(row["flags"].split()),
            experiment=row["experiment"],
            arm=row["arm"],
            model_name=row["model_name"],
            model_version=row["model_version"],
        )
        for row in times.iter_rows(named=True)
    ]
    # Of lists that do not go together nothing can be counted.
    kept = frame.select(ANSWER_COLUMNS).filter(pl.col("items").list.len() == pl.col("propensities").list.len())
    offered = times.select("items", "event_time_ms").explode("items").drop_nulls("items")
    return [AnswerRows(answers, kept, _ids(offered["items"]), offered["event_time_ms"].to_numpy())]


def event_rows(frame: pl.DataFrame, now_ms: int) -> list[EventRows]:
    """Rows of user.sessions, together; without those that the pipeline refuses."""
    good = validate_events(frame.with_columns(_ingest_time_ms=pl.lit(now_ms))).filter(pl.col("_reject").is_null())
    views = good.filter(pl.col("kind") == "view")
    named = good.filter(pl.col("kind").is_in(("view", "impression")) & pl.col("answer_id").is_not_null())
    times = views["event_time_ms"].dt.timestamp("ms").to_numpy()
    return [EventRows(named.select(NAMED_COLUMNS), _ids(views["item_id"]), times)]


def _ids(column: pl.Series) -> Ids:
    return np.array(column.to_list(), dtype=object)
