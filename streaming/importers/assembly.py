"""From the parts of matches (starts, scores, snapshots, ends) to one event frame, sorted and numbered.

Importers and the simulator make parts: frames with the columns

    match    integer, the match's place in the order of play
    order    one of START … REMAKE: kind of event, and who comes first where clocks are equal
    clock_s  game clock

and any other columns of match-events.avsc; what a part leaves out gets the schema's default.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.match import EVENT_SCHEMA

START, LINE_UP, SCORE, SNAPSHOT, END, REMAKE = range(6)
"""At equal clocks a score comes before the snapshot that includes it, and the end comes last."""

_KINDS = {START: "start", LINE_UP: "score", SCORE: "score", SNAPSHOT: "snapshot", END: "end", REMAKE: "remake"}


def assemble(
    parts: Sequence[pl.DataFrame], *, title: str, match_ids: Sequence[str], start_ms: npt.NDArray[np.int64]
) -> pl.DataFrame:
    """An event frame: match by match, in sequence.

    Args:
        parts: rows of any matches in any order; at least one row in all.
        title: of all matches.
        match_ids: by `match`.
        start_ms: event time of clock 0, UTC, by `match`. Events before clock 0 get this time too.
    """
    rows = pl.concat([part for part in parts if len(part)], how="diagonal_relaxed")
    rows = rows.sort("match", "clock_s", "order", maintain_order=True)
    of_row = rows["match"].to_numpy()
    clock_ms = np.round(np.maximum(rows["clock_s"].to_numpy(), 0.0) * 1000.0).astype(np.int64)
    rows = rows.with_columns(
        match_id=pl.Series(match_ids, dtype=pl.String).gather(of_row),
        sequence=pl.int_range(pl.len()).over("match"),
        event_time_ms=pl.Series(start_ms[of_row] + clock_ms),
        title=pl.lit(title),
        kind=pl.col("order").replace_strict(_KINDS, return_dtype=pl.String),
    )
    given = [pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items() if name in rows.columns]
    no_heroes = pl.lit([], pl.List(pl.String))
    return pl.concat([EVENT_SCHEMA.to_frame(), rows.select(given)], how="diagonal").with_columns(
        pl.col("count").fill_null(1.0),
        pl.col("heroes_a").fill_null(no_heroes),
        pl.col("heroes_b").fill_null(no_heroes),
    )


def one_after_another(end_s: npt.NDArray[np.float64], *, first_ms: int, gap_s: float) -> npt.NDArray[np.int64]:
    """Start times of matches that never overlap, in order, from their lengths in seconds."""
    starts_s = np.concatenate([[0.0], np.cumsum(end_s + gap_s)[:-1]]) if len(end_s) else np.zeros(0)
    return np.asarray(first_ms + np.round(starts_s * 1000.0), np.int64)
