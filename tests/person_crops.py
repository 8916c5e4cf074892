"""Small sets of people for tests: each wears a colour of their own, and each camera sees it in its own light."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image


def person_crops(path: Path, *, people: int = 6, images: int = 3, size_px: tuple[int, int] = (32, 16)) -> Path:
    """A parquet file of `people` × 2 cameras × `images` crops of height, width `size_px`."""
    chance = np.random.default_rng(0)
    height_px, width_px = size_px
    rows = []
    for person in range(people):
        upper, lower = chance.uniform(40, 215, (2, 3))
        for camera in (1, 2):
            tint = np.array([1.0, 1.0, 1.0] if camera == 1 else [0.8, 0.9, 1.15])
            for _ in range(images):
                crop = np.empty((height_px, width_px, 3))
                crop[: height_px // 2], crop[height_px // 2 :] = upper, lower
                crop = crop * tint + chance.normal(0, 12, crop.shape)
                rows.append((100 + person, camera, png(crop.clip(0, 255).astype(np.uint8))))
    frame = pl.DataFrame(rows, {"pid": pl.Int64, "camid": pl.Int64, "image": pl.Binary}, orient="row")
    frame.write_parquet(path)
    return path


def png(pixels: np.ndarray) -> bytes:
    """Pixels (H, W, 3) or (H, W) uint8, encoded."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    return encoded.getvalue()
