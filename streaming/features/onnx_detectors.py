"""Detectors of persons with trained weights from an ONNX file, run by OpenCV: `streaming.features.persons.Detect`.

    detect = OnnxPersonDetector(Path("nanodet_g.onnx"), NANODET)

A file says what its network computes, not how its input is made or its output meant: that is its layout.

    NANODET  what `nanodet_onnx` makes: any size, probability and distances of each place
    YOLOX    as YOLOX exports itself, not decoded: (1, N, 5 + classes) of centre, log size, objectness, classes
    DETR     boxes (1, Q, 4) of centre and size, 0 to 1, and logits (1, Q, C) of classes of which each has a sigmoid

Deformable attention, as in RF-DETR, RT-DETR and D-FINE, needs the operator GridSample, which OpenCV 4 does not have:
such a file is refused, and the operator named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streaming.features.jpeg import Image
from streaming.features.nanodet import BINS
from streaming.features.persons import Detections, Floats, within

_STRIDES = (8, 16, 32)
_GREY = 114  # of what is added beside a frame; both families were trained with it
_IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # mean and standard deviation: red, green, blue

Decode = Callable[[Sequence[Floats], tuple[int, int], int], tuple[Floats, Floats]]
"""Outputs, the input's height and width, and the class of persons, to boxes (N, 4) in pixels of the input and their
scores (N,). Raises `ValueError` where the shapes are not those of the layout."""


@dataclass(frozen=True)
class Layout:
    """How a network's input is made from a frame, and its output meant."""

    decode: Decode
    side_px: int  # of the input's longer side, a multiple of 32
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # red, green, blue
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blue_first: bool = False
    stretched: bool = False  # a frame fills the input whatever its form; or else it keeps its form
    square: bool = True  # or else only as high and wide as the frame needs


class BadDetector(ValueError):
    """A file that holds no network OpenCV can run, or one of another layout."""


class OnnxPersonDetector:
    """The persons that a network finds. One thread at a time may ask; a copy sent to another process reads the file
    anew there.
    """

    def __init__(
        self, weights: Path, layout: Layout, *, person: int = 0, min_score: float = 0.25, max_overlap: float = 0.5
    ) -> None:
        """Weights in a file of ONNX.

        Args:
            weights: the file; it is read when the first frame comes.
            layout: of this file.
            person: which of the network's classes is persons: 0 of COCO's 80 classes, 1 where they count from 1 to 90.
            min_score: probability below which nothing is reported; the tracker begins tracks at more than this.
            max_overlap: intersection over union above which the weaker of two is dropped.
        """
        self._weights, self._layout = weights, layout
        self._person, self._min_score, self._max_overlap = person, min_score, max_overlap
        self._net: cv2.dnn.Net | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_net": None}

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Frames to the persons in each.

        Raises:
            BadDetector: the file is not there, or holds no such network; the message names it.
        """
        return [self._persons(image) for image in images]

    def _persons(self, image: Image) -> Detections:
        pixels, scale = fitted(image, self._layout)
        outputs = self._forward(pixels)
        try:
            boxes, scores = self._layout.decode(outputs, (pixels.shape[0], pixels.shape[1]), self._person)
        except (ValueError, IndexError) as wrong:
            raise BadDetector(f"{self._weights}: {wrong}; is its layout another?") from wrong
        likely = scores >= self._min_score
        boxes, scores = boxes[likely] / scale, scores[likely]
        corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        kept = cv2.dnn.NMSBoxes(corners.tolist(), scores.tolist(), 0.0, self._max_overlap)
        at = np.asarray(kept, np.int64).reshape(-1)
        return Detections(within(boxes[at], image.shape[1], image.shape[0]), scores[at])

    def _forward(self, pixels: Floats) -> list[Floats]:
        """Outputs of the network for one input (H, W, 3)."""
        try:
            if self._net is None:
                self._net = cv2.dnn.readNetFromONNX(np.fromfile(self._weights, np.uint8))
            self._net.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
            outputs = self._net.forward(self._net.getUnconnectedOutLayersNames())
        except OSError as error:
            raise BadDetector(f"{self._weights} cannot be read: {error.strerror}") from error
        except cv2.error as error:
            raise BadDetector(f"{self._weights}: OpenCV cannot run it: {error.err}") from error
        return [np.asarray(output, np.float32) for output in outputs]


def fitted(image: Image, layout: Layout) -> tuple[Floats, Floats]:
    """A frame as the input of a network, (H, W, 3), and how many of its pixels one of the frame's is: x, y, x, y."""
    height, width = image.shape[:2]
    side = layout.side_px
    if layout.stretched:
        inner = full = (side, side)
    else:
        ratio = side / max(height, width)
        inner = max(1, round(height * ratio)), max(1, round(width * ratio))
        full = (side, side) if layout.square else (_up(inner[0]), _up(inner[1]))
    shrinks = inner[0] * inner[1] < height * width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = np.full((*full, 3), _GREY, np.uint8)
    pixels[: inner[0], : inner[1]] = cv2.resize(image, (inner[1], inner[0]), interpolation=how)
    scale = np.array([inner[1] / width, inner[0] / height] * 2, np.float32)
    mean, deviation = np.array(layout.mean, np.float32), np.array(layout.deviation, np.float32)
    normal = (pixels - mean) / deviation
    return normal[..., ::-1] if layout.blue_first else normal, scale


def _up(size: int) -> int:
    return -(-size // _STRIDES[-1]) * _STRIDES[-1]


def _places(size: tuple[int, int], expected: int) -> tuple[Floats, Floats]:
    """Columns and rows of the places at all strides, (N, 2), and their strides, (N, 1).

    Raises:
        ValueError: N is not what is expected.
    """
    grids, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        grids.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    places = np.concatenate(grids).astype(np.float32)
    if len(places) != expected:
        raise ValueError(f"{expected:,} places came back for an input of {size[1]} x {size[0]}, not {len(places):,}")
    return places, np.concatenate(strides).astype(np.float32)


def _one(outputs: Sequence[Floats]) -> Floats:
    if len(outputs) != 1 or outputs[0].ndim != 3:
        raise ValueError(f"outputs of shape {', '.join(str(output.shape) for output in outputs)}, not one (1, N, …)")
    places: Floats = outputs[0][0]
    return places


def _nanodet(outputs: Sequence[Floats], size: tuple[int, int], person: int) -> tuple[Floats, Floats]:
    """Li et al., "Generalized Focal Loss", NeurIPS 2020: a distance is the mean of a distribution over bins."""
    found = _one(outputs)
    places, strides = _places(size, len(found))
    logits = found[:, -4 * BINS :].reshape(-1, 4, BINS)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    sides = (weights @ np.arange(BINS, dtype=np.float32)) / weights.sum(axis=2) * strides
    centres = (places + 0.5) * strides
    return np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1), found[:, person]


def _yolox(outputs: Sequence[Floats], size: tuple[int, int], person: int) -> tuple[Floats, Floats]:
    """Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430."""
    found = _one(outputs)
    places, strides = _places(size, len(found))
    centres, halves = (found[:, :2] + places) * strides, np.exp(found[:, 2:4]) * strides / 2
    return np.concatenate([centres - halves, centres + halves], axis=1), found[:, 4] * found[:, 5 + person]


def _detr(outputs: Sequence[Floats], size: tuple[int, int], person: int) -> tuple[Floats, Floats]:
    """Zhu et al., "Deformable DETR", ICLR 2021: a sigmoid for each class, no class for nothing."""
    boxes = [output[0] for output in outputs if output.ndim == 3 and output.shape[2] == 4]
    logits = [output[0] for output in outputs if output.ndim == 3 and output.shape[2] != 4]
    if len(boxes) != 1 or len(logits) != 1:
        raise ValueError(f"outputs of shape {', '.join(str(output.shape) for output in outputs)}, not boxes and logits")
    centres, halves = boxes[0][:, :2], boxes[0][:, 2:] / 2
    corners = np.concatenate([centres - halves, centres + halves], axis=1)
    height, width = size
    return corners * np.array([width, height, width, height], np.float32), 1 / (1 + np.exp(-logits[0][:, person]))


NANODET = Layout(_nanodet, 416, *_IMAGENET, blue_first=True, square=False)
YOLOX = Layout(_yolox, 640, blue_first=True)
DETR = Layout(_detr, 640, *_IMAGENET, stretched=True)
LAYOUTS = {"nanodet": NANODET, "yolox": YOLOX, "detr": DETR}
"""By name, as settings have them."""
