"""A folder of pictures as a camera: in the order of their names, at a steady rate."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from streaming.cameras.source import MAX_PIXELS, BadFrame, BadSource, Captured, SourceInfo, SourceLost
from streaming.features.jpeg import BadJpeg, Image, JpegLimits, JpegSize, decode_jpeg, jpeg_size

ENDINGS = (".jpg", ".jpeg", ".png")
_LIMITS = JpegLimits(max_bytes=64 << 20, max_pixels=MAX_PIXELS)
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


class ImageFolder:
    """Every JPEG and PNG of a folder, `fps` a second."""

    live = False

    def __init__(self, folder: Path, fps: float) -> None:
        self._folder, self._fps = folder, fps
        self._files: list[Path] | None = None
        self._next = 0

    def open(self) -> SourceInfo:
        """List what is there; the size is that of the first picture that can be read."""
        try:
            files = sorted(path for path in self._folder.iterdir() if path.suffix.lower() in ENDINGS)
        except OSError as error:
            raise BadSource(f"{self._folder}: {error.strerror}") from None
        for path in files:
            try:
                size = _checked(path)[1]
            except BadFrame:
                continue
            self._files, self._next = files, 0
            return SourceInfo(size.width, size.height, self._fps)
        raise BadSource(f"{self._folder}: there is no picture in it ({', '.join(ENDINGS)})")

    def read(self) -> Captured | None:
        """The next picture."""
        if self._files is None:
            raise SourceLost(f"{self._folder}: not open")
        if self._next == len(self._files):
            return None
        path, at_s = self._files[self._next], self._next / self._fps
        self._next += 1
        data, size = _checked(path)
        image = _decoded(path, data)
        return Captured(at_s, size.width, size.height, lambda: image)

    def close(self) -> None:
        """Forget the list."""
        self._files = None


def _checked(path: Path) -> tuple[bytes, JpegSize]:
    """The bytes and the size that they claim, within the limits."""
    try:
        with path.open("rb") as file:
            data = file.read(_LIMITS.max_bytes + 1)
        return data, _png_size(data) if data.startswith(_PNG) else jpeg_size(data, _LIMITS)
    except (OSError, BadJpeg) as error:
        raise BadFrame(f"{path.name}: {error}") from None


def _png_size(data: bytes) -> JpegSize:
    at = len(_PNG)
    width, height = int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big")
    if len(data) > _LIMITS.max_bytes or not 0 < width * height <= MAX_PIXELS:
        raise BadJpeg(f"{width} x {height} pixels in {len(data):,} bytes")
    return JpegSize(width, height)


def _decoded(path: Path, data: bytes) -> Image:
    if data.startswith(_PNG):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise BadFrame(f"{path.name}: cannot be decoded")
        return image.astype(np.uint8, copy=False)
    try:
        return decode_jpeg(data)
    except BadJpeg as bad:
        raise BadFrame(f"{path.name}: {bad}") from None
