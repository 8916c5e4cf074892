"""A made-up or recorded store as a stream in one process: frames in, and what a pipeline says of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from streaming.features.frame_rules import BOX
from streaming.pipeline import Pipeline

NOW_MS = 1_790_000_000_000
"""When the first frame was taken."""


def frames_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as `streaming.runners.preprocess` hands them to transforms."""
    box = pl.Struct({**dict.fromkeys((*BOX, "score"), pl.Float32), "crop": pl.Binary})
    kinds: dict[str, Any] = {"width": pl.Int32, "height": pl.Int32, "detections": pl.List(box), "_partition": pl.Int32}
    frame = pl.DataFrame(rows, schema_overrides=kinds)
    return frame.with_columns(
        pl.col("captured_ms").cast(pl.Datetime("ms", "UTC")),
        _ingest_time_ms=pl.col("captured_ms"),
        _schema_id=pl.lit(0, pl.Int32),
        _reject=pl.lit(None, pl.String),
    )


def through(pipeline: Pipeline, batches: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """What a pipeline says of these rows."""
    tables, said = {stage.name: stage.new_state() for stage in pipeline.stages}, list[pl.DataFrame]()
    for rows in batches:
        for transform in pipeline.transforms:
            rows = transform(rows)
        for stage in pipeline.stages:
            if rows.is_empty():
                break
            rows = stage(rows, tables[stage.name])
        said.append(rows)
    return pl.concat([part for part in said if not part.is_empty()])


def settled(told: pl.DataFrame) -> pl.DataFrame:
    """Sightings with the names that their tracks have in the end: when that was said hangs on how far the partitions
    have been read. A frame that shows nobody stays a row."""
    is_correction = pl.col("corrects_from_ms").is_not_null()
    final = (
        told.filter(is_correction)
        .group_by("camera_id", "track_id", maintain_order=True)
        .last()
        .select("camera_id", "track_id", _final="person_id")
    )
    sighted = told.filter(~is_correction)
    named = sighted.join(final, on=["camera_id", "track_id"], how="left", maintain_order="left")
    return named.with_columns(person_id="_final").drop("_final")
