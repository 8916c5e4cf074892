"""Frames of two cameras for tests of the pipeline of sightings: two people in plain colours who go from the one to the
other, a detector that finds them, and a network of three lines that tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import simplejpeg

from jobs import store_stream
from streaming.features.persons import Detections
from streaming.pipelines.person_sightings import CROP_PX, Embedding
from tests.camera_frames import SCHEMA

NOW_MS = 1_790_000_000_000
WIDTH, HEIGHT = 160, 120
CAMERAS = ("door", "till")
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


def by_colour(crops: npt.NDArray[np.uint8]) -> Embedding:
    """A look is the crop's colour."""
    colour = crops.reshape(len(crops), CROP_PX[0] * CROP_PX[1], 3).mean(axis=1) - 128.0
    vectors = np.pad(colour, ((0, 0), (0, 1)), constant_values=1.0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embedding(vectors.astype(np.float32), "by-colour", "3", "abc")


def picture(people: Sequence[tuple[str, int]]) -> npt.NDArray[np.uint8]:
    """A room with people, each a rectangle with its left edge."""
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    image[: HEIGHT // 2] = 60
    for colour, left in people:
        image[30:90, left : left + 24] = COLOURS[colour]
    return image


def seen_by_colour(images: Sequence[npt.NDArray[np.uint8]]) -> list[Detections]:
    found = []
    for image in images:
        bright = (image[60].max(axis=1).astype(int) - image[60].min(axis=1)) > 80
        edges = np.flatnonzero(np.diff(np.pad(bright, 1).astype(int)))
        boxes = [[left, 30, right, 90] for left, right in zip(edges[::2], edges[1::2], strict=True)]
        found.append(Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32)))
    return found


def visit(until_s: float = 16.0) -> list[dict[str, Any]]:
    """Two people come in at the door, red before blue, and turn up at the till some seconds later."""
    rows: list[dict[str, Any]] = []
    for number in range(round(until_s * 5)):
        second = number / 5
        for camera in CAMERAS:
            there = [
                (colour, round(10 + 20 * (second - start)))
                for colour, start in (("red", 0.0), ("blue", 2.0))
                if camera == "door" and start <= second < start + 4
            ]
            there += [
                (colour, round(10 + 20 * (second - start)))
                for colour, start in (("red", 7.0), ("blue", 10.0))
                if camera == "till" and start <= second < start + 4
            ]
            rows.append(frame(camera, number, picture(there)))
    return rows


def frame(camera: str, number: int, image: npt.NDArray[np.uint8], **changed: Any) -> dict[str, Any]:
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(image), 90, colorsubsampling="444")
    plain = {"camera_id": camera, "captured_ms": NOW_MS + 200 * number, "frame": number, "dropped_total": 0}
    return {**plain, "width": WIDTH, "height": HEIGHT, "jpeg": jpeg, "detections": None, **changed}


def as_frames(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows of camera-frames.avsc."""
    return pl.DataFrame(rows, schema=SCHEMA)


def settled(told: pl.DataFrame) -> pl.DataFrame:
    """Sightings with their names in the end, without how sure they were when they were told."""
    return store_stream.settled(told).drop("link_score")
