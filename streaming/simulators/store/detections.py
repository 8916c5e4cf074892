"""What a smart camera would report of the people it sees: boxes that are not quite right, missing or made up.

For trackers and counts to be tried without a pixel being drawn. Each fault has random numbers of its own, so that
one can be turned up while the others stay as they are.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from streaming.simulators.store.cameras import Camera
from streaming.simulators.store.plan import Floats

DETECTIONS_SCHEMA = pl.Schema(
    {
        "camera_id": pl.String(),
        "captured_ms": pl.Int64(),
        "frame": pl.Int64(),
        "x0_px": pl.Float32(),
        "y0_px": pl.Float32(),
        "x1_px": pl.Float32(),
        "y1_px": pl.Float32(),
        "score": pl.Float32(),
        "person_id": pl.Int64(),  # the truth; null for a false box
        "visit": pl.Int64(),  # likewise
    }
)


@dataclass(frozen=True)
class DetectorErrors:
    """How a detector errs.

    Args:
        jitter: standard deviation of each edge of a box, of the box's height.
        miss_share: of people in full view, those who are missed in a frame.
        least_visible_share: who is seen less is never reported; up to full view, misses grow rarer.
        false_per_frame: mean number of false boxes in a frame.

    Raises:
        ValueError: a share outside 0 to 1, or a jitter or rate that is negative or not finite.
    """

    jitter: float = 0.02
    miss_share: float = 0.03
    least_visible_share: float = 0.3
    false_per_frame: float = 0.05

    def __post_init__(self) -> None:
        for name in ("miss_share", "least_visible_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} of a detector is to be 0 to 1, not {getattr(self, name)}")
        for name in ("jitter", "false_per_frame"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} of a detector is to be 0 or more, not {value}")


FAULTLESS = DetectorErrors(jitter=0.0, miss_share=0.0, least_visible_share=0.0, false_per_frame=0.0)


def detect(
    seen: pl.DataFrame,
    cameras: Sequence[Camera],
    errors: DetectorErrors,
    seed: int,
    *,
    frames: int,
    fps: int,
    epoch_ms: int = 0,
) -> pl.DataFrame:
    """Reports of all cameras.

    Args:
        seen: the truth, `sightings.SIGHTINGS_SCHEMA`.
        cameras: that took part; each errs in its own way.
        errors: how.
        seed: of the errors.
        frames: how many each took, those in which nobody is seen included.
        fps: frames per second.
        epoch_ms: UTC time of frame 0.

    Returns:
        `DETECTIONS_SCHEMA`, sorted by camera, frame and score, best first. A frame without a box has no row.
    """
    reports = [DETECTIONS_SCHEMA.to_frame()]
    for camera in cameras:
        rng = np.random.default_rng([seed, 9, zlib.crc32(camera.camera_id.encode())])
        reports.append(_reported(seen.filter(camera_id=camera.camera_id), camera, errors, rng))
        reports.append(_made_up(camera, errors, rng, frames, fps, epoch_ms))
    return pl.concat(reports).sort("camera_id", "frame", "score", descending=[False, False, True], maintain_order=True)


def _reported(seen: pl.DataFrame, camera: Camera, errors: DetectorErrors, rng: np.random.Generator) -> pl.DataFrame:
    luck, shift, sure = rng.random(len(seen)), rng.standard_normal((len(seen), 4)), rng.standard_normal(len(seen))
    visible = seen["visible_share"].to_numpy().astype(np.float64)
    least = errors.least_visible_share
    hidden = np.clip((1.0 - visible) / max(1.0 - least, 1e-6), 0.0, 1.0)
    missed = (visible < least) | (luck < errors.miss_share + (1.0 - errors.miss_share) * hidden**2 * (least > 0.0))
    boxes = seen.select("x0_px", "y0_px", "x1_px", "y1_px").to_numpy().astype(np.float64)
    boxes += shift * errors.jitter * (boxes[:, 3] - boxes[:, 1])[:, None]
    boxes = _tidy(boxes, camera)
    score = np.clip(0.35 + 0.6 * visible + 0.06 * sure * (errors.jitter > 0.0), 0.05, 0.99)
    return _frame(seen, boxes, score).filter(pl.Series(~missed))


def _made_up(
    camera: Camera, errors: DetectorErrors, rng: np.random.Generator, frames: int, fps: int, epoch_ms: int
) -> pl.DataFrame:
    frame = np.repeat(np.arange(frames), rng.poisson(errors.false_per_frame, frames))
    u = rng.random((len(frame), 4))
    high = camera.height_px * (0.08 + 0.4 * u[:, 0])
    wide = high * (0.3 + 0.3 * u[:, 1])
    x0, y0 = u[:, 2] * (camera.width_px - wide), u[:, 3] * (camera.height_px - high)
    nobody = pl.DataFrame(
        {
            "camera_id": pl.repeat(camera.camera_id, len(frame), dtype=pl.String, eager=True),
            "captured_ms": epoch_ms + frame * 1000 // fps,
            "frame": frame,
            "person_id": pl.repeat(None, len(frame), dtype=pl.Int64, eager=True),
            "visit": pl.repeat(None, len(frame), dtype=pl.Int64, eager=True),
        }
    )
    score = np.clip(0.45 + 0.12 * rng.standard_normal(len(frame)), 0.05, 0.9)
    return _frame(nobody, np.stack([x0, y0, x0 + wide, y0 + high], axis=1), score)


def _tidy(boxes: Floats, camera: Camera) -> Floats:
    """Boxes within the picture, at least a pixel wide and high."""
    limit = np.array([camera.width_px, camera.height_px], np.float64)
    low = np.clip(np.minimum(boxes[:, :2], boxes[:, 2:]), 0.0, limit - 1.0)
    high = np.clip(np.maximum(boxes[:, :2], boxes[:, 2:]), low + 1.0, limit)
    return np.concatenate([low, high], axis=1)


def _frame(rows: pl.DataFrame, boxes: Floats, score: Floats) -> pl.DataFrame:
    edges = {name: pl.Series(boxes[:, i]) for i, name in enumerate(("x0_px", "y0_px", "x1_px", "y1_px"))}
    return rows.with_columns(**edges, score=pl.Series(score)).select(
        pl.col(name).cast(kind) for name, kind in DETECTIONS_SCHEMA.items()
    )
