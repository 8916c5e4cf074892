"""Frames with the persons that were cut out of them, as a row a person: what tracks and identities are made of.

A row has camera_id, captured_ms, frame, and where the frame came from; `_covered` and `_found`, the boxes of all
persons of the frame, List(Float32), four numbers each; and

    x0_px … y1_px, score      Float32, null in the one row of a frame that shows nobody
    x_m, y_m                  Float32, feet on the floor plan; null where they are not known
    crop                      Binary, (H, W, 3) uint8; null where the camera sent no picture
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from streaming.features.floor import FloorView
from streaming.features.frame_rules import BOX
from streaming.tracking.stage import FRAME_COLUMNS


def one_per_person(rows: pl.DataFrame, views: Mapping[str, FloorView]) -> pl.DataFrame:
    """Rows of frames to rows of persons, in the order of frames and detections; columns that begin with an underscore
    travel along.

    Args:
        rows: as `streaming.features.persons.CutPersons` leaves them.
        views: by camera, of those that are calibrated.
    """
    kept = [name for name in rows.columns if name in FRAME_COLUMNS or name.startswith("_")]
    persons = rows["detections"].list.len().fill_null(0).to_numpy()
    repeated = np.repeat(np.arange(rows.height), np.maximum(persons, 1))
    boxes = rows["detections"].list.explode(keep_nulls=True, empty_as_null=True).struct.unnest().select(*BOX, "score")
    crops = pl.Series("crop", _pieces(rows["crops"].to_list(), persons.tolist()), pl.Binary)
    frames = rows.select(*kept, "width", "height", _found(rows["detections"]), _covered="covered")[repeated]
    return _on_floor(frames.hstack([*boxes.get_columns(), crops]), views).drop("width", "height")


def _pieces(crops: list[bytes | None], persons: list[int]) -> list[bytes | None]:
    """Each person's crop; null where there is none, and for a frame that shows nobody."""
    pieces: list[bytes | None] = []
    for joined, count in zip(crops, persons, strict=True):
        size = len(joined) // count if joined and count else 0
        pieces += [joined[i * size : (i + 1) * size] if joined and size else None for i in range(max(count, 1))]
    return pieces


def _found(detections: pl.Series) -> pl.Series:
    """The boxes of each frame, one after another."""
    flat = detections.list.explode(keep_nulls=False, empty_as_null=False).struct.unnest().select(BOX)
    sides = pa.array(flat.to_numpy().astype(np.float32).ravel())
    ends = np.cumsum([0, *detections.list.len().fill_null(0).to_list()], dtype=np.int64)
    column = pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(4 * ends), sides))
    assert isinstance(column, pl.Series)
    return column.alias("_found")


def _on_floor(rows: pl.DataFrame, views: Mapping[str, FloorView]) -> pl.DataFrame:
    places = np.full((rows.height, 2), np.nan)
    boxes = rows.select(pl.col(BOX).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    is_person = ~np.isnan(boxes).any(axis=1)
    size = ("camera_id", "width", "height")
    for camera, width, height in rows.select(size).unique().iter_rows():
        if camera in views:
            same = pl.struct(size) == pl.struct(camera_id=pl.lit(camera), width=width, height=height)
            mine = is_person & rows.select(same).to_series().to_numpy()
            places[mine] = views[camera].places(boxes[mine], width, height)
    x_m, y_m = (pl.Series(name, places[:, axis], pl.Float32) for axis, name in enumerate(("x_m", "y_m")))
    return rows.with_columns(x_m.fill_nan(None), y_m.fill_nan(None))
