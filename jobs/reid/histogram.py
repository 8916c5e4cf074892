"""What colour alone tells: HSV histograms of horizontal stripes, the row that a learned embedding has to beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
STRIPES = 6
_BINS = 16


def histogram_embeddings(crops: npt.NDArray[np.uint8], *, stripes: int = STRIPES) -> Floats:
    """Unit vectors (N, D) of crops (N, 3, H, W) RGB: the square roots of each stripe's histograms of hue (weighed by
    saturation), saturation and value, so that their cosine is the Bhattacharyya coefficient."""
    count, _, height, _ = crops.shape
    hue, saturation, value = _hsv((crops / np.float32(255)).astype(np.float32))
    stripe = np.broadcast_to((np.arange(height) * stripes // height)[:, None], hue.shape[1:])
    place = np.arange(count)[:, None, None] * stripes + stripe
    parts = []
    for channel, weight in ((hue, saturation), (saturation, None), (value, None)):
        slot = np.minimum((channel * _BINS).astype(np.int64), _BINS - 1)
        flat = (place * _BINS + slot).ravel()
        sums = np.bincount(flat, None if weight is None else weight.ravel(), count * stripes * _BINS)
        table = sums.reshape(count, stripes, _BINS)
        parts.append(table / np.maximum(table.sum(axis=2, keepdims=True), 1e-12))
    roots = np.sqrt(np.concatenate(parts, axis=2)).reshape(count, -1)
    unit: Floats = (roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return unit


def _hsv(rgb: Floats) -> tuple[Floats, Floats, Floats]:
    """Hue, saturation and value in [0, 1] of (N, 3, H, W) in [0, 1]; grey has hue 0."""
    red, green, blue = rgb[:, 0], rgb[:, 1], rgb[:, 2]
    value = rgb.max(axis=1)
    chroma = value - rgb.min(axis=1)
    safe = np.where(chroma > 0, chroma, 1)
    sixth = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = np.where(chroma > 0, sixth / 6, 0)
    saturation = np.where(value > 0, chroma / np.where(value > 0, value, 1), 0)
    return hue, saturation, value
