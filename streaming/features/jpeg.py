"""JPEG bytes from outside: what is looked at before a decoder sees them, and the decoding.

A few hundred bytes may claim 65,500 × 65,500 pixels, or hundreds of progressive scans over a picture, each of which
costs a whole pass. So the header is read first (ITU-T T.81, Annex B), without decoding anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

Image = npt.NDArray[np.uint8]
"""(H, W, 3), RGB."""

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame of any process; the others are tables
_PROGRESSIVE = 0xC2
_DECODED = {0xC0, 0xC1, _PROGRESSIVE}  # baseline, extended, progressive: all with Huffman codes, as cameras have them
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_SCAN_BYTES = b"\xff\xda"  # within coded data every FF is followed by 00 or a restart marker


class BadJpeg(ValueError):
    """Not a picture that we decode; the message says why, and with which value."""


@dataclass(frozen=True, slots=True)
class JpegLimits:
    """What a picture may ask for. A decoded picture takes 3 bytes a pixel."""

    max_bytes: int = 8 << 20
    max_pixels: int = 4096 * 4096
    max_scans: int = 64  # encoders make about ten


@dataclass(frozen=True, slots=True)
class JpegSize:
    """What the header claims."""

    width: int
    height: int


def jpeg_size(data: bytes, limits: JpegLimits = JpegLimits()) -> JpegSize:
    """Width and height as the header says, if a decoder may be given these bytes.

    Raises:
        BadJpeg: no JPEG, cut off before its first scan, of a kind that is not decoded, or beyond the limits.
    """
    if len(data) > limits.max_bytes:
        raise BadJpeg(f"{len(data):,} bytes of JPEG, more than {limits.max_bytes:,}")
    if data[:2] != bytes((0xFF, _START)):
        raise BadJpeg(f"not JPEG: it begins with {data[:4].hex() or 'nothing'}")
    frame = None
    for marker, body in _segments(data):
        if marker == _SCAN:
            break
        if marker in _FRAMES:
            if frame is not None:
                raise BadJpeg("two frame headers in one JPEG")
            frame = _frame_header(marker, body)
    if frame is None:
        raise BadJpeg("a JPEG without a frame header")
    if frame.size.width * frame.size.height > limits.max_pixels:
        raise BadJpeg(f"{frame.size.width} x {frame.size.height} pixels, more than {limits.max_pixels:,}")
    # A first scan of all components of a picture that is not progressive is the only one that is decoded.
    if (frame.progressive or body[:1] != bytes((frame.components,))) and data.count(_SCAN_BYTES) > limits.max_scans:
        raise BadJpeg(f"{data.count(_SCAN_BYTES)} scans, more than {limits.max_scans}")
    return frame.size


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of every segment up to the header of the first scan."""
    at, marker = 2, 0
    while marker != _SCAN:
        if at + 1 < len(data) and data[at] != 0xFF:
            raise BadJpeg(f"no marker at byte {at} of the header")
        while at < len(data) and data[at] == 0xFF:  # any number of fill bytes
            at += 1
        if at >= len(data):
            raise BadJpeg(f"truncated in its header, after {len(data):,} bytes")
        marker = data[at]
        at += 1
        if marker == _END:
            raise BadJpeg("a JPEG that ends before its first scan")
        if marker in _ALONE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + length]
        if length < 2 or len(body) != length - 2:
            raise BadJpeg(f"truncated in its header, after {len(data):,} bytes")
        at += length
        yield marker, body


class _FrameHeader(NamedTuple):
    size: JpegSize
    components: int
    progressive: bool


def _frame_header(marker: int, body: bytes) -> _FrameHeader:
    if marker not in _DECODED:
        raise BadJpeg(f"a JPEG of process {marker - 0xC0}: only baseline, extended and progressive are decoded")
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise BadJpeg("a broken frame header")
    precision, components = body[0], body[5]
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if precision != 8 or components not in (1, 3):
        raise BadJpeg(f"{components} components of {precision} bits: only 1 or 3 of 8 bits are decoded")
    if not width or not height:
        raise BadJpeg(f"{width} x {height} pixels")
    return _FrameHeader(JpegSize(width, height), components, marker == _PROGRESSIVE)


def decode_jpeg(data: bytes) -> Image:
    """The picture, (H, W, 3). Ask `jpeg_size` first.

    Raises:
        BadJpeg: truncated or damaged: a picture that is grey from the middle on would hide who is there.
    """
    try:
        image: Image = simplejpeg.decode_jpeg(data, "RGB")
    except ValueError as error:
        raise BadJpeg(f"cannot be decoded: {error}") from error
    return image
