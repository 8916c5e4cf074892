"""Candidates as the recommenders gave them, and answers as they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streaming.features.runs import Bools, Ints
from streaming.sessions.catalogue import UNKNOWN, Index
from streaming.sessions.exploration import Shown
from streaming.sessions.model import ACTS, Recommended, Sessions

POPULAR, NEW = "popular", "new"
"""Kinds of reasons that are no event."""
EXPLORED, FEW, UNKNOWN_ITEM = "explored", "few", "unknown-item"
"""Flags."""

_MS = pl.Datetime("ms", "UTC")


@dataclass(frozen=True)
class Answered:
    """Candidates of N sessions by whichever recommender was to answer each."""

    items: npt.NDArray[np.object_]  # (N, K)
    scores: npt.NDArray[np.float32]  # (N, K)
    reason_event: npt.NDArray[np.int32]  # (N, K, R)
    reason_share: npt.NDArray[np.float32]  # (N, K, R)
    model: npt.NDArray[np.object_]  # (N, 3) name, version, weight hash

    MOST_REASONS: ClassVar[int] = 3

    @classmethod
    def empty(cls, sessions: int, candidates: int) -> Answered:
        """Nothing yet."""
        shape = (sessions, candidates)
        return cls(
            np.full(shape, "", dtype=object),
            np.full(shape, -np.inf, np.float32),
            np.full((*shape, cls.MOST_REASONS), -1, np.int32),
            np.zeros((*shape, cls.MOST_REASONS), np.float32),
            np.full((sessions, 3), "", dtype=object),
        )

    def take(self, rows: Ints, made: Recommended, name: str) -> None:
        """Fill in these sessions.

        Raises:
            ValueError: the recommender's columns are not of one shape; the message has the shapes.
        """
        k, r = min(self.items.shape[1], made.items.shape[1]), min(self.MOST_REASONS, made.reason_event.shape[-1])
        shapes = {made.items.shape, made.scores.shape, made.reason_event.shape[:2], made.reason_share.shape[:2]}
        if len(shapes) > 1 or len(made.items) != len(rows):
            raise ValueError(f"recommender {name} was asked for {len(rows)} sessions, and gave columns of {shapes}")
        self.items[rows, :k], self.scores[rows, :k] = made.items[:, :k], made.scores[:, :k]
        self.reason_event[rows, :k, :r] = made.reason_event[:, :k, :r]
        self.reason_share[rows, :k, :r] = made.reason_share[:, :k, :r]
        self.model[rows] = made.models


def answers(
    rows: pl.DataFrame,
    sessions: Sessions,
    made: Answered,
    shown: Shown,
    catalogue: Index,
    arms: pl.DataFrame,
    unknown: Bools,
) -> pl.DataFrame:
    """N rows of session-recommendations.avsc, with the runner's columns.

    Args:
        rows: (N,) of `folding.ASKED_SCHEMA`.
        sessions: (N,) the same, as the models were told.
        made: what they gave.
        shown: what came of it.
        catalogue: as it was for `shown`.
        arms: (N,) experiment and arm.
        unknown: (N,) the catalogue does not have the item looked at.
    """
    filled = shown.code != UNKNOWN
    row, place = np.nonzero(filled)
    at = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    candidate = shown.candidate[row, place]
    scores = np.where(candidate >= 0, made.scores[row, np.maximum(candidate, 0)], 0.0).astype(np.float32)
    shown_ids = catalogue.item_id[shown.code[row, place]] if len(row) else np.empty(0, object)
    flags = [(EXPLORED, shown.explored), (FEW, ~filled.all(axis=1)), (UNKNOWN_ITEM, unknown)]
    said = [" ".join(flag for (flag, _), is_so in zip(flags, row, strict=True) if is_so)
            for row in zip(*(is_so.tolist() for _, is_so in flags), strict=True)]  # fmt: skip
    # Column by column: one query to polars that has all of these takes a millisecond to begin with.
    return pl.DataFrame([
        rows["session_id"],
        pl.Series("answer_id", [f"{number:016x}" for number in rows["number"].to_list()], pl.String),
        *(rows[name] for name in ("event_time_ms", "session_start_ms", "session_events", "item_id")),
        _lists("items", shown_ids.tolist(), at, pa.large_string()),
        _lists("scores", scores, at, pa.float32()),
        _lists("propensities", shown.propensity[row, place], at, pa.float32()),
        *_reasons(sessions, made, row, place, candidate, rows.height),
        pl.Series("flags", said, pl.String),
        *arms,
        *(pl.Series(name, made.model[:, i].tolist(), pl.String)
          for i, name in enumerate(("model_name", "model_version", "weight_hash"))),
        pl.Series("catalogue_offset", [catalogue.position], pl.Int64).new_from_index(0, rows.height),
        rows["_ingest_time_ms"].cast(_MS).alias("ingest_time_ms"),
        *(rows[f"_{name.removeprefix('source_')}"].alias(name)
          for name in ("source_partition", "source_offset", "schema_id")),
        *(rows[name] for name in ("_partition", "_offset", "_ingest_time_ms", "_schema_id")),
    ])  # fmt: skip


def _reasons(
    sessions: Sessions, made: Answered, row: Ints, place: Ints, candidate: Ints, count: int
) -> list[pl.Series]:
    """The four columns of reasons, for each thing shown (F,) those that its model gave, or one that says that there is
    none."""
    known = np.maximum(candidate, 0)
    event = np.where((candidate >= 0)[:, None], made.reason_event[row, known], -1)  # (F, R)
    event = np.where(event < np.diff(sessions.offsets)[row][:, None], event, -1)
    given = event >= 0
    wanted = given.copy()
    wanted[:, 0] |= ~given.any(axis=1)
    which, number = np.nonzero(wanted)
    is_event, of = given[which, number], row[which]
    flat = np.where(is_event, sessions.offsets[of] + event[which, number], 0)
    kinds = np.array(ACTS, dtype=object)[sessions.kind[flat]]
    none = np.where(candidate[which] >= 0, POPULAR, NEW)
    at = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=count))])
    share = np.where(is_event, made.reason_share[of, known[which], number], 0.0).astype(np.float32)
    return [
        _lists("reason_of", place[which].astype(np.int32), at, pa.int32()),
        _lists("reason_items", np.where(is_event, sessions.item[flat], "").tolist(), at, pa.large_string()),
        _lists("reason_kinds", np.where(is_event, kinds, none).tolist(), at, pa.large_string()),
        _lists("reason_shares", share, at, pa.float32()),
    ]


def _lists(name: str, values: Any, at: Ints, dtype: pa.DataType) -> pl.Series:
    """A column of lists, (N,), of which the i-th is `values[at[i] : at[i + 1]]`."""
    return pl.Series(name, pa.LargeListArray.from_arrays(pa.array(at, pa.int64()), pa.array(values, dtype)))
