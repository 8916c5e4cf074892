"""Frames of cameras as rows: which of them cannot be believed, told before a byte of a picture is decoded.

    camera.frames ─► CheckFrames ─► CutPersons (`streaming.features.persons`): decode ─► detect ─► crop, resize

A transform: each row is judged by itself. So a frame may have another size than the one before it: its boxes are in its
own pixels, and its width and height travel along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from streaming.features.frame_rules import FrameLimits, reasons_of_boxes, reasons_of_fields
from streaming.features.jpeg import BadJpeg, jpeg_size


@dataclass(frozen=True)
class CheckFrames:
    """Says in `_reject` why a frame cannot be believed, as "InvalidFrame: reason with the value"; null for a good one.

    A row already rejected keeps its reason. A box that reaches beyond the frame is no reason, as of a person who walks
    out of the picture; one that lies outside of it is.
    """

    limits: FrameLimits = field(default_factory=FrameLimits)

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of camera-frames.avsc, with or without the runner's columns."""
        if "_reject" not in rows.columns:
            rows = rows.with_columns(pl.lit(None, pl.String).alias("_reject"))
        rows = rejecting(rows, reasons_of_fields(rows, self.limits))
        rows = rejecting(rows, reasons_of_boxes(rows))
        return rejecting(rows, self._reasons_of_pictures(rows))

    def _reasons_of_pictures(self, rows: pl.DataFrame) -> pl.Series:
        crops = rows["detections"].list.eval(pl.element().struct.field("crop"))
        columns = (*(rows[name].to_list() for name in ("_reject", "width", "height", "jpeg")), crops.to_list())
        reasons = [
            None if reject is not None else self._reason(width, height, jpeg, cut or ())
            for reject, width, height, jpeg, cut in zip(*columns, strict=True)
        ]
        return pl.Series("said", reasons, pl.String)

    def _reason(self, width: int, height: int, jpeg: bytes | None, crops: Sequence[bytes | None]) -> str | None:
        try:
            size = None if jpeg is None else jpeg_size(jpeg, self.limits.picture)
        except BadJpeg as bad:
            return f"picture: {bad}"
        if size is not None and (size.width, size.height) != (width, height):
            return f"its picture is {size.width} x {size.height}, and the frame says {width} x {height}"
        for number, crop in enumerate(crops):
            try:
                _ = crop is None or jpeg_size(crop, self.limits.crop)
            except BadJpeg as bad:
                return f"crop of detection {number}: {bad}"
        return None


def rejecting(rows: pl.DataFrame, reasons: pl.Series) -> pl.DataFrame:
    """The rows with these reasons, (N,) and null for a good row, where they had none yet."""
    if reasons.null_count() == len(reasons):
        return rows
    said = rows.select(pl.format("InvalidFrame: {}", pl.lit(reasons.alias("said"))).alias("said"))["said"]
    return rows.with_columns(rows["_reject"].zip_with(rows["_reject"].is_not_null(), said).alias("_reject"))
