"""Frames with the outcome of their match: what a model learns from.

    frames of one partition, in their order ─► Labeller ─► frames of matches whose result is known, each with it

A label comes later than its frames, from the event that ends the match; features never do. A match counts if

- it was seen from its beginning: its first frame lies in the first slot of its title's grid, and in the window;
- its result happened before the window's end plus a delay. One that came later is not used, nor one that is not there
  yet: such matches await their result.

Of a match that counts, frames from the window's end on are left out, and those that `end` makes: the answer must be
known before. A match that straddles the end of one window is thus not part of the next.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from streaming.features.catalogue import title_spec, titles
from streaming.features.match_fold import FRAME_SCHEMA, IDLE_S

OUTSIDE, REMADE, JOINED, AWAITING = "outside the window", "remade", "not seen from the beginning", "awaiting result"
"""Why a match is left out. One that was restarted, or fell silent, awaits the result of that attempt for ever."""

_MS = pl.Datetime("ms", "UTC")
_DROPPED = ("status", "winner", "_ingest_time_ms", "_elapsed_ms", "_time_ms", "_horizon_ms")
_NAMED = {"_partition": "partition", "_offset": "offset", "_schema_id": "schema_id"}

LABELLED_SCHEMA = pl.Schema(
    {
        **{_NAMED.get(name, name): dtype for name, dtype in FRAME_SCHEMA.items() if name not in _DROPPED},
        "began_ms": _MS,
        "winner": pl.String(),
        "result_time_ms": _MS,
        "result_offset": pl.Int64(),
    }
)
"""Columns of a labelled frame: those of a match frame that anybody learns from, where it came from (partition, offset,
schema id of the event that made it), when its match began, who won (A or B), and when and at which offset that was
said."""

_NO_LABELLED = LABELLED_SCHEMA.to_frame()
_IDLE_MS = round(IDLE_S * 1000)
_GRID_S = {title: title_spec(title).grid_s for title in titles()}

# A life is what the fold takes for one match: it begins with frame 0, under an id that may have been in use before, or
# where it speaks again after so long that it counts as forgotten.
_LIFE = ("match_id", "_life")
_LIFE_NUMBER = (
    ((pl.col("frame") == 0) | (pl.col("_elapsed_ms").diff().fill_null(0) > _IDLE_MS)).cum_sum().over("match_id")
)
_LABELS = ("began_ms", "winner", "result_time_ms", "result_offset")


@dataclass(frozen=True)
class LabelRule:
    """The window, in milliseconds of event time, UTC; None leaves an end open."""

    since_ms: int | None = None  # matches that began earlier are not part of it
    until_ms: int | None = None  # frames from here on are not
    results_until_ms: int | None = None  # nor results: `until_ms` plus the delay

    def __post_init__(self) -> None:
        given = [at for at in (self.since_ms, self.until_ms, self.results_until_ms) if at is not None]
        if given != sorted(given):
            raise ValueError(f"a window begins, ends, and then waits for results: {self}")


@dataclass
class Labeller:
    """Holds the frames of matches that are under way, and hands them on with their result. One partition's; however
    its frames are cut into batches, the same come out."""

    rule: LabelRule
    left_out: Counter[str] = field(default_factory=Counter)  # matches, by reason
    _open: pl.DataFrame = field(default_factory=lambda: FRAME_SCHEMA.to_frame())

    def add(self, frames: pl.DataFrame) -> pl.DataFrame:
        """Take the next frames (`FRAME_SCHEMA`); labelled ones of the matches that they end (`LABELLED_SCHEMA`)."""
        if frames.is_empty():
            return _NO_LABELLED
        rows = pl.concat([self._open, frames]).with_columns(_life=_LIFE_NUMBER)
        lives = self._judged(rows)
        over = lives.filter(
            pl.col("_closed")
            | (pl.col("_life") < pl.col("_life").max().over("match_id"))
            | (frames.item(-1, "_elapsed_ms") - pl.col("_spoke_ms") > _IDLE_MS)
        )
        if over.is_empty():
            self._open = rows.drop("_life")
            return _NO_LABELLED
        self._count(over)
        self._open = rows.join(over.select(_LIFE), on=_LIFE, how="anti", maintain_order="left").drop("_life")
        kept = rows.filter(pl.col("status") == "live").drop("winner")
        if self.rule.until_ms is not None:
            kept = kept.filter(pl.col("event_time_ms") < _moment(self.rule.until_ms))
        counted = over.filter(pl.col("_why").is_null()).select(*_LIFE, *_LABELS)
        return kept.join(counted, on=_LIFE, maintain_order="left").rename(_NAMED).select(LABELLED_SCHEMA.names())

    def finish(self) -> None:
        """There are no more frames: what is open awaits its result."""
        self._count(self._judged(self._open.with_columns(_life=_LIFE_NUMBER)))
        self._open = self._open.clear()

    def _judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One row a life: what its labels would be, and why it is left out; null for one that counts."""
        return rows.group_by(_LIFE, maintain_order=True).agg(
            began_ms=pl.col("event_time_ms").first(),
            winner=pl.col("winner").last(),
            result_time_ms=pl.col("event_time_ms").last(),
            result_offset=pl.col("_offset").last(),
            _spoke_ms=pl.col("_elapsed_ms").last(),
            _closed=pl.col("status").last() != "live",
            _why=self._why(),
        )

    def _why(self) -> pl.Expr:
        """Of the frames of a life; the first reason is said."""
        began, ended = pl.col("event_time_ms").first(), pl.col("event_time_ms").last()
        grid_s = pl.col("title").first().replace_strict(_GRID_S, return_dtype=pl.Float64())
        joined, outside, late = pl.col("clock_s").first() >= grid_s, pl.lit(False), pl.lit(False)
        if self.rule.since_ms is not None:
            joined = joined | (began < _moment(self.rule.since_ms))
        if self.rule.until_ms is not None:
            outside = began >= _moment(self.rule.until_ms)
        if self.rule.results_until_ms is not None:
            late = ended >= _moment(self.rule.results_until_ms)
        return (
            pl.when(outside)
            .then(pl.lit(OUTSIDE))
            .when(pl.col("status").last() == "void")
            .then(pl.lit(REMADE))
            .when(joined)
            .then(pl.lit(JOINED))
            .when(late | pl.col("winner").last().is_null())
            .then(pl.lit(AWAITING))
        )

    def _count(self, lives: pl.DataFrame) -> None:
        self.left_out.update(lives["_why"].drop_nulls().to_list())


def _moment(time_ms: int) -> pl.Expr:
    return pl.lit(time_ms, pl.Int64).cast(_MS)
