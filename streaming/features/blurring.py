"""Heads made unrecognisable: the upper part of every person's box, and whatever else looks like a face.

A region is averaged to a few cells of a few brightnesses, and drawn from those alone: what is between them is gone, and
no filter brings it back, as one may with a blur alone. Coarser than the mosaics that networks have been taught to
recognise (McPherson, Shokri and Shmatikov, "Defeating Image Obfuscation with Deep Learning", arXiv:1609.00408: 8 x 8
cells a face are too many).

It hides faces, not people: clothes, gait and company are still to be seen. A person without a box whose face the
detector misses is not found, so a frame in which nobody has looked for persons is hidden as a whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from streaming.features.jpeg import Image, JpegLimits, decode_jpeg, jpeg_size

HEAD_SHARE = 0.28
"""Of a box's height, from above. A head is an eighth of a standing body and a fifth of one that sits."""
HEAD_ASPECT = 0.9
"""Of a box's width: of a person who is cut off at the waist the head is more than a share of the height."""
MARGIN_SHARE = 0.06  # of the box's height, around it: boxes are not exact
FACE_MARGIN_SHARE = 0.25
CELLS = 3
"""Across a region, and down: what is left of it."""

_STEP = 32  # of brightness: eight of each colour
_WHOLE_CELLS = 12  # of a frame that is hidden as a whole
_SEARCHED_PX = 640  # faces are looked for in a picture of this width
_LEAST_FACE_PX = 20
_QUALITY = 80
_of_thread = threading.local()  # a cascade holds what it works on

Boxes = npt.NDArray[np.float32]
Region = tuple[int, int, int, int]
"""x0, y0, x1, y1, whole pixels within the picture."""


def blurred(image: Image, boxes: Boxes | Sequence[Sequence[float]] | None) -> Image:
    """The picture (H, W, 3) without heads, a new one.

    Args:
        image: RGB.
        boxes: (N, 4) of the persons in it, x0, y0, x1, y1 in pixels; None if nobody has looked for any.
    """
    height, width = image.shape[:2]
    shown: Image = image.copy()
    if boxes is None:
        _cover(shown, (0, 0, width, height), _WHOLE_CELLS)
        return shown
    found = np.asarray(boxes, np.float64).reshape(-1, 4)
    for region in [*heads(found[np.isfinite(found).all(axis=1)], width, height), *faces(image)]:
        _cover(shown, region, CELLS)
    return shown


def blurred_jpeg(
    jpeg: bytes,
    boxes: Boxes | Sequence[Sequence[float]] | None,
    limits: JpegLimits = JpegLimits(),  # noqa: B008 - frozen
) -> bytes:
    """`blurred`, of a JPEG. What else the file held, as a preview in its header, is gone.

    Raises:
        BadJpeg: it is no picture that is decoded, or beyond the limits.
    """
    jpeg_size(jpeg, limits)
    encoded: bytes = simplejpeg.encode_jpeg(blurred(decode_jpeg(jpeg), boxes), _QUALITY, colorsubsampling="420")
    return encoded


def heads(boxes: npt.NDArray[np.float64], width: int, height: int) -> Iterator[Region]:
    """Where the heads of people in these boxes are; of boxes outside of the picture nowhere."""
    for x0, y0, x1, y1 in boxes.tolist():
        margin = MARGIN_SHARE * (y1 - y0)
        down = min(y1 - y0, max(HEAD_SHARE * (y1 - y0), HEAD_ASPECT * (x1 - x0)))
        yield from _within((x0 - margin, y0 - margin, x1 + margin, y0 + down), width, height)


def faces(image: Image) -> Iterator[Region]:
    """What OpenCV's cascade of frontal faces takes for one (Viola and Jones, CVPR 2001), with room for the head."""
    height, width = image.shape[:2]
    scale = min(1.0, _SEARCHED_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if min(size) < _LEAST_FACE_PX:
        return
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    found = _cascade().detectMultiScale(
        grey, scaleFactor=1.15, minNeighbors=4, minSize=(_LEAST_FACE_PX, _LEAST_FACE_PX)
    )
    for x, y, across, down in (np.asarray(found, np.float64).reshape(-1, 4) / scale).tolist():
        margin = FACE_MARGIN_SHARE * down
        yield from _within((x - margin, y - margin, x + across + margin, y + down + margin), width, height)


def _within(edges: tuple[float, float, float, float], width: int, height: int) -> Iterator[Region]:
    x0, x1 = (int(at) for at in np.clip([np.floor(edges[0]), np.ceil(edges[2])], 0, width))
    y0, y1 = (int(at) for at in np.clip([np.floor(edges[1]), np.ceil(edges[3])], 0, height))
    if x1 > x0 and y1 > y0:
        yield x0, y0, x1, y1


def _cover(image: Image, region: Region, cells: int) -> None:
    """Draw a region from the means of its cells."""
    x0, y0, x1, y1 = region
    size = (min(cells, x1 - x0), min(cells, y1 - y0))
    means = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    means = means // _STEP * _STEP + _STEP // 2
    image[y0:y1, x0:x1] = cv2.resize(means, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)


def _cascade() -> cv2.CascadeClassifier:
    if not hasattr(_of_thread, "cascade"):
        folder = cv2.data.haarcascades  # type: ignore[attr-defined]  # OpenCV's types leave it out
        _of_thread.cascade = cv2.CascadeClassifier(f"{folder}haarcascade_frontalface_default.xml")
    cascade: cv2.CascadeClassifier = _of_thread.cascade
    return cascade
