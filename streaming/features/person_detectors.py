"""Detectors of persons that need no weights of their own: `streaming.features.persons.Detect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from streaming.features.jpeg import Image
from streaming.features.persons import Detections, within

_LEAST_PX = 64


@dataclass(frozen=True)
class HogPersonDetector:
    """OpenCV's upright-person detector: histograms of oriented gradients and a linear SVM, whose weights are part of
    OpenCV. It finds whole, upright persons that stand free; for more, hand in a detector with trained weights.

    Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005.
    """

    side_px: int = 640  # of the longer side that a frame is looked at with: a larger one is shrunk
    min_margin: float = 0.5  # distance from the SVM's hyperplane
    max_overlap: float = 0.4  # intersection over union above which the weaker of two is dropped

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Frames to the persons in each; none in a frame smaller than the detector's window of 64 x 128 pixels."""
        hog = cv2.HOGDescriptor()
        hog.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
        return [self._persons(hog, image) for image in images]

    def _persons(self, hog: cv2.HOGDescriptor, image: Image) -> Detections:
        height, width = image.shape[:2]
        scale = min(1.0, self.side_px / max(height, width))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1.0:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if min(grey.shape) < _LEAST_PX:
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        # The window wants room around a person: those at the edge of the frame have it beyond.
        edge = max(grey.shape) // 10
        grey = cv2.copyMakeBorder(grey, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
        found, margins = hog.detectMultiScale(grey, hitThreshold=self.min_margin, winStride=(8, 8), scale=1.05)
        margin = np.asarray(margins, np.float64).reshape(-1)
        corners = np.asarray(found, np.float64).reshape(-1, 4)
        kept = np.asarray(cv2.dnn.NMSBoxes(corners.tolist(), margin.tolist(), 0.0, self.max_overlap), np.int64).reshape(
            -1
        )
        x, y, w, h = (corners[kept] - [edge, edge, 0, 0]).T
        # The window has a margin of a quarter of a person around it (16 of 64 x 128 pixels on every side).
        boxes = np.stack([x + w / 8, y + h / 16, x + w - w / 8, y + h - h / 16], axis=1) / scale
        scores = 1.0 / (1.0 + np.exp(-margin[kept]))
        return Detections(within(boxes.astype(np.float32), width, height), scores.astype(np.float32))
