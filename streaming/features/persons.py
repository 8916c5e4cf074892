"""The persons of each frame, cut out and brought to one size. Pictures of whole frames end here: only crops go on.

    rows of `CheckFrames` ─► CutPersons(detect) ─► the same rows without `jpeg`, and with
        detections  List(Struct(x0_px, y0_px, x1_px, y1_px, score)), each box cut at the edge of the frame
        crops       Binary: a frame's N crops one after another, (N, H, W, 3) uint8, RGB; null where the camera sent
                    boxes without pictures. `crop_pixels` makes one array of such a column
        covered     Boolean: the picture shows nothing of the place (`is_covered`); false where there is none

Detections that come with a frame count, and nothing is detected in it then; a crop that comes with a detection counts
before the frame's own pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streaming.features.frame_rules import BOX
from streaming.features.frames import rejecting
from streaming.features.jpeg import BadJpeg, Image, decode_jpeg

_AT_ONCE = 4  # frames decoded at a time: 25 MB at 1080p
_SQUARE_PX, _LEAST_CONTRAST = 16, 5.0  # standard deviation of their brightness, of 255

Floats = npt.NDArray[np.float32]


class Detections(NamedTuple):
    """The N persons of one frame."""

    boxes: Floats  # (N, 4): x0, y0, x1, y1 in pixels of the frame
    scores: Floats  # (N,), 0 to 1


Detect = Callable[[Sequence[Image]], Sequence[Detections]]
"""Frames, of any sizes, to the persons in each. What is found in one must not depend on which others are asked for with
it. Raises `streaming.pipeline.DependencyUnavailable` while it cannot answer."""


@dataclass(frozen=True)
class CutPersons:
    """Decodes frames, has persons detected where the camera has not done so, and cuts them out.

    A row whose picture turns out to be damaged leaves with a reason in `_reject`; so does one without detections where
    there is nothing to detect them.
    """

    detect: Detect | None = None
    crop_px: tuple[int, int] = (256, 128)  # height, width

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of `CheckFrames` to rows with crops."""
        frames = _frames(rows)
        for start in range(0, len(frames), _AT_ONCE):
            self._cut(frames[start : start + _AT_ONCE])
        crops = pl.Series("crops", [frame.cut for frame in frames], pl.Binary)
        covered = pl.Series("covered", [frame.covered for frame in frames], pl.Boolean)
        reasons = pl.Series("said", [frame.reason for frame in frames], pl.String)
        persons = _column([frame.persons or _NOBODY for frame in frames])
        return rejecting(rows.drop("jpeg").with_columns(persons, crops, covered), reasons)

    def _cut(self, frames: Sequence[_Frame]) -> None:
        """Fill in what becomes of these frames; their pixels are gone when this returns."""
        images = [frame.decoded() for frame in frames]
        blank = [i for i, frame in enumerate(frames) if frame.persons is None and frame.reason is None]
        if blank and self.detect is None:
            for i in blank:
                frames[i].reason = "no detections came with it, and nothing here detects persons"
        elif blank and self.detect is not None:
            seen = [image for i in blank if (image := images[i]) is not None]
            for i, persons in zip(blank, self.detect(seen), strict=True):
                frames[i].persons = _visible(persons, frames[i].width, frames[i].height)
        for frame, image in zip(frames, images, strict=True):
            frame.cut_persons(image, self.crop_px)


@dataclass(slots=True)
class _Frame:
    """One row on its way."""

    width: int
    height: int
    jpeg: bytes | None
    persons: Detections | None  # None: nobody has looked
    crops: Sequence[bytes | None]  # as the camera sent them, one a person
    reason: str | None  # why it is rejected; for rows that had been before, a word that nobody reads
    cut: bytes | None = None
    covered: bool = False

    def decoded(self) -> Image | None:
        """The whole picture, where it is needed: to detect or to cut persons, and to tell an empty room from none."""
        complete = bool(self.crops) and None not in self.crops
        if self.jpeg is None or self.reason is not None or complete:
            return None
        try:
            image = decode_jpeg(self.jpeg)
        except BadJpeg as bad:
            self.reason = f"picture: {bad}"
            return None
        if image.shape[:2] != (self.height, self.width):
            self.reason = f"its picture is {image.shape[1]} x {image.shape[0]} when decoded, not as its header says"
            return None
        self.covered = is_covered(image)
        return image

    def cut_persons(self, image: Image | None, crop_px: tuple[int, int]) -> None:
        """Bring the boxes within the frame, and every person to the size of a crop."""
        if self.persons is None or self.reason is not None:
            self.persons = None
            return
        boxes = within(self.persons.boxes, self.width, self.height)
        self.persons = Detections(boxes, self.persons.scores)
        own = self.crops or [None] * len(boxes)
        if image is None and None in own:
            return
        pixels = np.empty((len(boxes), *crop_px, 3), np.uint8)
        for number, (box, jpeg) in enumerate(zip(boxes, own, strict=True)):
            try:
                person = decode_jpeg(jpeg) if jpeg is not None else _piece(image, box)
            except BadJpeg as bad:
                self.reason, self.persons = f"crop of detection {number}: {bad}", None
                return
            _resize_into(person, pixels[number])
        self.cut = pixels.tobytes()


def is_covered(image: Image) -> bool:
    """Whether a picture (H, W, 3) shows nothing of the place: a hand, paint, a bag or darkness before the camera is of
    nearly one brightness everywhere, as no place is.

    Source: Saglam and Temizel, "Real-Time Adaptive Camera Tamper Detection for Video Surveillance", AVSS 2009, which
    compares with the pictures before; here each is judged by itself, by means over squares, so that noise is no detail.
    """
    height, width = (max(1, side // _SQUARE_PX) for side in image.shape[:2])
    # Whole squares, and of those every fourth line: a fifteenth of the time that all of a picture takes, and 64 pixels
    # are enough for a mean.
    sampled = image[: height * _SQUARE_PX : 4, : width * _SQUARE_PX]
    squares = cv2.resize(sampled, (width, height), interpolation=cv2.INTER_AREA)
    return float(cv2.cvtColor(squares, cv2.COLOR_RGB2GRAY).std()) < _LEAST_CONTRAST


def within(boxes: Floats, width: int, height: int) -> Floats:
    """The parts of these boxes, (N, 4), that lie in a frame of this size in pixels."""
    return np.clip(boxes, 0.0, np.array([width, height, width, height], np.float32))


def _visible(persons: Detections, width: int, height: int) -> Detections:
    """Those of what a detector found that a frame of this size shows: a network may put boxes anywhere."""
    boxes, scores = np.asarray(persons.boxes, np.float32).reshape(-1, 4), np.asarray(persons.scores, np.float32)
    inside = within(np.nan_to_num(boxes), width, height)
    shown = np.isfinite(boxes).all(axis=1) & (inside[:, :2] < inside[:, 2:]).all(axis=1)
    return Detections(boxes[shown], scores[shown])


def crop_pixels(crops: pl.Series, crop_px: tuple[int, int] = (256, 128)) -> npt.NDArray[np.uint8]:
    """The crops of several frames, (N, H, W, 3), RGB, in the order of frames and detections.

    Raises:
        ValueError: the column was made with another `crop_px`.
    """
    joined = np.frombuffer(b"".join(crops.drop_nulls().to_list()), np.uint8)
    if joined.size % (crop_px[0] * crop_px[1] * 3):
        raise ValueError(f"{joined.size:,} bytes are no whole number of crops of {crop_px[1]} x {crop_px[0]} pixels")
    return joined.reshape(-1, *crop_px, 3)


_NOBODY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def _frames(rows: pl.DataFrame) -> list[_Frame]:
    flat = rows.select(pl.col("detections").list.explode(keep_nulls=False, empty_as_null=False))["detections"]
    boxes = flat.struct.unnest().select(BOX).to_numpy().astype(np.float32)
    scores = flat.struct.field("score").to_numpy()
    crops = flat.struct.field("crop").to_list()
    counts = rows["detections"].list.len().fill_null(0).cast(pl.Int64)
    ends, unseen = counts.cum_sum(), rows["detections"].is_null()
    columns = (*(rows[name] for name in ("width", "height", "jpeg", "_reject")), unseen, ends - counts, ends)
    return [
        _Frame(
            width=width,
            height=height,
            jpeg=jpeg,
            persons=None if nobody_looked else Detections(boxes[start:end], scores[start:end]),
            crops=crops[start:end],
            reason=reject,
        )
        for width, height, jpeg, reject, nobody_looked, start, end in zip(*columns, strict=True)
    ]


def _column(found: Sequence[Detections]) -> pl.Series:
    """Persons of N frames as a column of lists."""
    boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else _NOBODY
    fields = {name: pa.array(boxes[:, i].astype(np.float32)) for i, name in enumerate(BOX)}
    flat = pa.StructArray.from_arrays([*fields.values(), pa.array(scores)], [*fields, "score"])
    offsets = np.cumsum([0, *(len(persons.scores) for persons in found)], dtype=np.int64)
    column = pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets), flat))
    assert isinstance(column, pl.Series)
    return column.alias("detections")


def _piece(image: Image | None, box: Floats) -> Image:
    """The whole pixels that a box touches: one at least."""
    assert image is not None
    (x0, y0), (x1, y1) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    return image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _resize_into(person: Image, pixels: npt.NDArray[np.uint8]) -> None:
    height, width = pixels.shape[:2]
    shrinks = person.shape[0] * person.shape[1] > height * width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cv2.resize(person, (width, height), dst=pixels, interpolation=how)
