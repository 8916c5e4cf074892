"""A pipeline of windows for tests of ticks: events are counted by match in windows of 10 s, and each window that is
issued is numbered within its match by a stage after it, so that what is lost, doubled or swapped shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl

from streaming.codec import Decoder, PackagedRegistry
from streaming.counting import CountingStage
from streaming.pipeline import Pipeline, Stage
from streaming.records import Records
from streaming.state import StateTable
from streaming.topics import Topic
from streaming.windows import Aggregate, Corrections, Tumbling, WindowStage
from tests.counting import SCHEMA, Log, Stream, encoded, events

START_MS = 1_700_000_010_000
"""When the feed begins; also the start of a window, of 30 s as well."""
IDLE_MS = 20_000
WINDOW_MS = 10_000

Row = tuple[str, float, float]
"""Match; event time and log time in seconds after the start."""


class Said:
    """Windows as rows of the sink's schema: `sequence` is the count, `kind` what closed it, `gold` the revision, `xp`
    the offset of the row that it goes out with."""

    name = "said"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        made = rows.select(
            "match_id", "_partition", "_offset", "_ingest_time_ms", "_schema_id",
            pl.col("window_start_ms").alias("event_time_ms"),
            pl.col("rows").alias("sequence"),
            pl.col("closed_by").fill_null("nothing").alias("kind"),
            pl.when("late").then(pl.lit("late")).otherwise(pl.lit("on time")).alias("title"),
            pl.col("revision").cast(pl.Float64).alias("gold"),
            pl.col("_offset").cast(pl.Float64).alias("xp"),
        )  # fmt: skip
        return made.join(_rest(), how="cross", maintain_order="left")


@cache
def _rest() -> pl.DataFrame:
    """All columns of the schema that `Said` does not make, (1,)."""
    return events(0, 1).drop("match_id", "sequence", "event_time_ms", "kind", "title", "gold", "xp")


def windows(
    name: str = "windows", *, corrections: Corrections | None = None, size_s: float = WINDOW_MS / 1000
) -> WindowStage:
    return WindowStage(
        name, key="match_id", event_time="event_time_ms", windows=Tumbling(size_s),
        aggregates=[Aggregate("rows", "count")], idle_s=IDLE_MS / 1000, corrections=corrections,
    )  # fmt: skip


def stages(
    before: Callable[[pl.DataFrame], None] = lambda rows: None, *, corrections: Corrections | None = None
) -> tuple[Stage, ...]:
    """Windows, and their numbering; `before` as of `CountingStage`."""
    return (windows(corrections=corrections), Said(), CountingStage(before))


def pipeline(*chosen: Stage) -> Pipeline:
    """Of these stages, on topics of its own."""
    source = Topic("windowed.in", key="match_id", schema=SCHEMA)
    return Pipeline("windowed", source, (), chosen or stages(), Topic("windowed.out", key="match_id", schema=SCHEMA))


def records_of(rows: Sequence[Row], start_ms: int = START_MS) -> Records:
    """As a feed has them, in this order."""
    match, time_s, log_s = zip(*rows, strict=True)
    in_ms = [start_ms + round(second * 1000) for second in time_s]
    frame = events(0, len(rows)).with_columns(
        match_id=pl.Series(match, dtype=pl.String),
        event_time_ms=pl.Series(in_ms, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")),
    )
    log_ms = np.asarray([start_ms + round(second * 1000) for second in log_s], np.int64)
    return replace(encoded(frame), timestamps_ms=log_ms)


def decoded(parts: Sequence[Records], start_ms: int = START_MS) -> pl.DataFrame:
    """Answers: match_id, start_s of the window, rows, closed_by, how (on time or late), revision, offset, number."""
    decoder = Decoder(SCHEMA, PackagedRegistry())
    return pl.concat([decoder.decode(records).frame for records in parts]).select(
        "match_id",
        ((pl.col("event_time_ms").dt.timestamp("ms") - start_ms) / 1000).alias("start_s"),
        pl.col("sequence").alias("rows"),
        pl.col("kind").alias("closed_by"),
        pl.col("title").alias("how"),
        pl.col("gold").alias("revision"),
        pl.col("xp").cast(pl.Int64).alias("offset"),
        pl.col("clock_s").alias("number"),
    )


class WindowedStream(Stream):
    """The pipeline over topics on any log."""

    def __init__(self, log: Log, prefix: str, partitions: int = 4) -> None:
        super().__init__(log, prefix, partitions=partitions)
        self.pipeline = replace(self.pipeline, stages=stages())

    def feed_rows(self, rows: Sequence[Row], start_ms: int = START_MS) -> None:
        """Append these."""
        self.log.append(self.pipeline.source.name, records_of(rows, start_ms))
        self.written += len(rows)

    def windows(self, start_ms: int = START_MS) -> pl.DataFrame:
        """All answers that a reader sees, in the order of each match."""
        return decoded(self.log.all_of(self.pipeline.sink.name), start_ms)
