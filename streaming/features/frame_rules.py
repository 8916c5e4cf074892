"""What the columns of a camera's frames must say to be believed; pictures are not looked at here."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from streaming.features.jpeg import JpegLimits
from streaming.features.match import FIRST_YEAR, LAST_YEAR

BOX = ("x0_px", "y0_px", "x1_px", "y1_px")
MAX_SIDE_PX = 65_535
MAX_CAMERA_ID_BYTES = 128


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What a frame may ask for."""

    picture: JpegLimits = field(default_factory=JpegLimits)
    crop: JpegLimits = field(default_factory=lambda: JpegLimits(max_bytes=1 << 20, max_pixels=1 << 20))
    max_detections: int = 256
    max_ahead_s: float = 60.0  # captured so long after it reached Kafka, and the camera's clock is wrong


def reasons_of_fields(rows: pl.DataFrame, limits: FrameLimits) -> pl.Series:
    """Why each row's plain fields cannot be believed, (N,); null for a good row."""
    camera, captured, persons = pl.col("camera_id"), pl.col("captured_ms"), pl.col("detections").list.len()
    first = pl.datetime(FIRST_YEAR, 1, 1, time_unit="ms", time_zone="UTC")
    last = pl.datetime(LAST_YEAR, 1, 1, time_unit="ms", time_zone="UTC")
    most = limits.picture.max_pixels
    rules = [
        (camera.is_null() | (camera == ""), pl.lit("camera_id is missing")),
        (
            camera.str.len_bytes() > MAX_CAMERA_ID_BYTES,
            pl.format(f"camera_id has {{}} bytes, more than {MAX_CAMERA_ID_BYTES}", camera.str.len_bytes()),
        ),
        (camera.str.starts_with("@"), pl.lit("camera_id starts with '@', which is reserved")),
        (
            ~captured.is_between(first, last, closed="left").fill_null(False),
            pl.format(
                f"captured_ms is {{}}, not a time from {FIRST_YEAR} to {LAST_YEAR}",
                captured.cast(pl.Int64).cast(pl.String).fill_null("missing"),
            ),
        ),
        (~pl.col("frame").ge(0).fill_null(False), _shown("frame is {}, not 0 or more", "frame")),
        *(
            (
                ~pl.col(side).is_between(1, MAX_SIDE_PX).fill_null(False),
                _shown(f"{side} is {{}}, not 1 to {MAX_SIDE_PX} pixels", side),
            )
            for side in ("width", "height")
        ),
        (
            pl.col("width").cast(pl.Int64) * pl.col("height") > most,
            pl.format(f"{{}} x {{}} pixels, more than {most:,}", "width", "height"),
        ),
        (pl.col("dropped_total") < 0, _shown("dropped_total is {}, not 0 or more", "dropped_total")),
        (
            pl.col("jpeg").is_null() & pl.col("detections").is_null(),
            pl.lit("neither a picture nor detections"),
        ),
        (
            persons > limits.max_detections,
            pl.format(f"{{}} detections, more than {limits.max_detections}", persons),
        ),
    ]
    if "_ingest_time_ms" in rows.columns:
        ahead_s = (captured.cast(pl.Int64) - pl.col("_ingest_time_ms")) / 1000.0
        said = pl.format("captured {} s after it reached Kafka: the camera's clock is wrong", ahead_s.round(1))
        rules.append((ahead_s > limits.max_ahead_s, said))
    return rows.select(pl.coalesce([pl.when(bad).then(said) for bad, said in rules]).alias("said"))["said"]


def reasons_of_boxes(rows: pl.DataFrame) -> pl.Series:
    """Why each row's boxes cannot be believed, (N,); null for a good row. The first bad detection is named."""
    flat = (
        rows.select("width", "height", "detections")
        .with_row_index("row")
        .filter(pl.col("detections").list.len() > 0)
        .explode("detections")
        .with_columns(pl.int_range(pl.len()).over("row").alias("number"))
        .unnest("detections")
    )
    x0, y0, x1, y1 = (pl.col(name) for name in BOX)
    score = pl.col("score")
    box = pl.format("box {}, {} to {}, {}", *BOX)
    rules = [
        (~pl.all_horizontal(pl.col(name).is_finite() for name in BOX), pl.format("{} is not finite", box)),
        (~((x1 > x0) & (y1 > y0)), pl.format("{} is empty", box)),
        (
            (x1 <= 0) | (y1 <= 0) | (x0 >= pl.col("width")) | (y0 >= pl.col("height")),
            pl.format("{} lies outside the frame of {} x {}", box, "width", "height"),
        ),
        (~score.is_between(0.0, 1.0), pl.format("score {} is not from 0 to 1", score)),
    ]
    why = pl.coalesce([pl.when(bad).then(said) for bad, said in rules])
    bad = flat.select("row", said=pl.format("detection {}: {}", "number", why)).drop_nulls("said")
    first = bad.unique("row", keep="first", maintain_order=True)
    empty = pl.Series("said", [None], pl.String).new_from_index(0, rows.height)
    return empty.scatter(first["row"], first["said"]) if first.height else empty


def _shown(words: str, column: str) -> pl.Expr:
    return pl.format(words, pl.col(column).cast(pl.String).fill_null("missing"))
