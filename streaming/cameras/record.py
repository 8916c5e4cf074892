"""From a captured frame to the bytes of its record."""

from __future__ import annotations

import cv2
import numpy as np
import polars as pl
import simplejpeg

from streaming.cameras.definition import Camera
from streaming.cameras.source import BadFrame, Captured
from streaming.codec import Encoder, SchemaRegistry, load_schema
from streaming.features.frame_rules import BOX
from streaming.features.jpeg import BadJpeg, Image
from streaming.topics import CAMERA_FRAMES

QUALITIES = (85, 70, 50, 30)  # of JPEG: the first with which the record fits
_PERSONS = pl.List(pl.Struct({**dict.fromkeys((*BOX, "score"), pl.Float32), "crop": pl.Binary}))


class FrameEncoder:
    """Writes the frames of one camera, all of one size: a source that changes its size in mid-stream is scaled to that
    of the camera, and its boxes with it, so that zones and calibration go on to hold.

    Args:
        camera: whose size it is; where it has none, frames stay as they come.
        registry: of schemas.
        max_bytes: of a record.

    Raises:
        RegistryUnavailable: the schema's id cannot be asked for now.
    """

    def __init__(self, camera: Camera, registry: SchemaRegistry, max_bytes: int) -> None:
        self._camera, self._max_bytes = camera, max_bytes
        assert CAMERA_FRAMES.schema is not None
        self._encoder = Encoder(load_schema(CAMERA_FRAMES.schema), registry.id_of(CAMERA_FRAMES.schema))

    def encode(self, captured: Captured, *, captured_ms: int, frame: int, dropped_total: int) -> bytes:
        """The record's value.

        Raises:
            BadFrame: its picture cannot be made, or is too large at any quality.
        """
        width, height = self._camera.size or (captured.width, captured.height)
        image = None
        if captured.picture is not None:
            try:
                image = _of_size(captured.picture(), width, height)
            except BadJpeg as bad:
                raise BadFrame(f"its picture: {bad}") from None
        plain = {
            "camera_id": self._camera.id,
            "captured_ms": captured_ms,
            "frame": frame,
            "width": width,
            "height": height,
            "dropped_total": dropped_total,
        }
        row = pl.DataFrame([plain], schema_overrides={"width": pl.Int32, "height": pl.Int32}).with_columns(
            pl.col("captured_ms").cast(pl.Datetime("ms", "UTC")),
            pl.Series("detections", [_scaled(captured, width, height)], _PERSONS),
        )
        size = 0
        for quality in QUALITIES:
            jpeg = None if image is None else simplejpeg.encode_jpeg(image, quality, colorsubsampling="420")
            value: bytes = self._encoder.encode(row.with_columns(jpeg=pl.Series([jpeg], dtype=pl.Binary)))[0].as_py()
            size = len(value)
            if size <= self._max_bytes:
                return value
            if image is None:
                break
        raise BadFrame(f"{size:,} bytes at the least quality, and kafka.max_record_bytes allows {self._max_bytes:,}")


def _of_size(image: Image, width: int, height: int) -> Image:
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return np.ascontiguousarray(image)


def _scaled(captured: Captured, width: int, height: int) -> list[dict[str, object]] | None:
    if captured.detections is None:
        return None
    factors = dict(zip(BOX, (width / captured.width, height / captured.height) * 2, strict=True))
    return [
        {name: value * factors[name] if name in factors else value for name, value in person.items()}
        for person in captured.detections
    ]
