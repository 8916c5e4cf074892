"""What a camera does to colours and edges."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from streaming.simulators.store.cameras import Look
from streaming.simulators.store.dolls import Pixels


def tone_table(look: Look) -> Pixels:
    """Gains and gamma as a table (256, 1, 3) for `cv2.LUT`."""
    level = np.arange(256)[:, None] / 255.0
    seen = np.clip(level * np.array(look.gains), 0.0, 1.0) ** look.gamma
    table: Pixels = np.round(seen * 255.0).astype(np.uint8)[:, None, :]
    return table


def toned(rgb: Pixels, table: Pixels) -> Pixels:
    """A picture through a `tone_table`."""
    out: Pixels = cv2.LUT(np.ascontiguousarray(rgb), table)  # type: ignore[assignment]
    return out


def soften(picture: Pixels, look: Look) -> Pixels:
    """A camera's blur."""
    if look.blur_px <= 0.0:
        return picture
    reach = 2 * max(1, round(2 * look.blur_px)) + 1
    soft: Pixels = cv2.GaussianBlur(picture, (reach, reach), look.blur_px)  # type: ignore[assignment]
    return soft


def grain(look: Look, height_px: int, width_px: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """A camera's noise (H, W, 3)."""
    noise = rng.standard_normal((height_px, width_px, 3), np.float32) * np.float32(look.noise)
    return np.clip(np.round(noise), -127, 127).astype(np.int8)


def add_grain(picture: Pixels, noise: npt.NDArray[np.int8]) -> Pixels:
    """Noise on a picture of the same size; levels stay within 0 to 255."""
    noisy: Pixels = cv2.add(picture, noise, dtype=cv2.CV_8U)  # type: ignore[assignment]
    return noisy
