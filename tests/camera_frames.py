"""Frames of cameras for tests: pictures with something in them, and rows of camera-frames.avsc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import simplejpeg

from streaming.codec import load_schema
from streaming.codec._schema import dtype, parse

SCHEMA = pl.Schema({field.name: dtype(field.type) for field in parse(load_schema("camera-frames")).fields})
T0_MS = 1_790_000_000_000


def picture(width: int = 64, height: int = 48, shade: int = 128) -> npt.NDArray[np.uint8]:
    """(H, W, 3): a slope of one colour from left to right, another from top to bottom."""
    image = np.full((height, width, 3), shade, np.uint8)
    image[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    return image


def jpeg(width: int = 64, height: int = 48, shade: int = 128) -> bytes:
    """The same as JPEG."""
    data: bytes = simplejpeg.encode_jpeg(picture(width, height, shade), 90)
    return data


def person(
    x0: float = 8, y0: float = 4, x1: float = 24, y1: float = 40, score: float = 0.9, crop: bytes | None = None
) -> dict[str, Any]:
    """One detection of a smart camera."""
    return {"x0_px": x0, "y0_px": y0, "x1_px": x1, "y1_px": y1, "score": score, "crop": crop}


def frames(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Rows of camera-frames.avsc; what one leaves out is that of a good frame of 64 x 48 pixels."""
    plain = {"camera_id": "door", "width": 64, "height": 48, "jpeg": jpeg(), "detections": None, "dropped_total": 0}
    made = [{**plain, "captured_ms": T0_MS + 200 * i, "frame": i, **row} for i, row in enumerate(rows)]
    return pl.DataFrame(made, schema=SCHEMA)


def reasons(rows: pl.DataFrame) -> Sequence[str | None]:
    """What `_reject` says of each row."""
    said: list[str | None] = rows["_reject"].to_list()
    return said
