"""Smart cameras, which detect persons themselves: what they saw, a line of JSON a frame.

    {"captured_ms": 1790000000000, "width": 1920, "height": 1080, "detections": [
        {"box": [x0, y0, x1, y1], "score": 0.9, "crop": "base64 of a JPEG"}, …], "jpeg": "base64 of a JPEG"}

`captured_ms` (UTC), `crop` and `jpeg` may be left out. Lines come from a file, which is replayed in its own time, or
live: from a named pipe, or from standard input (`-`).
"""

from __future__ import annotations

import base64
import stat
import sys
from pathlib import Path
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streaming.cameras.address import STDIN
from streaming.cameras.pacing import SourceTimes
from streaming.cameras.source import BadFrame, BadSource, Captured, SourceInfo, SourceLost
from streaming.features.frame_rules import BOX, MAX_SIDE_PX
from streaming.features.jpeg import BadJpeg, decode_jpeg, jpeg_size

MAX_LINE_BYTES = 16 << 20
MAX_DETECTIONS = 256

Side = Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]


class _Seen(BaseModel):
    """One person of a line."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    box: Annotated[list[float], Field(min_length=4, max_length=4)]
    score: Annotated[float, Field(ge=0, le=1)]
    crop: str | None = None


class _Line(BaseModel):
    """One frame."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    width: Side
    height: Side
    detections: Annotated[list[_Seen], Field(max_length=MAX_DETECTIONS)]
    captured_ms: Annotated[int, Field(ge=0, lt=4_102_444_800_000)] | None = None
    jpeg: str | None = None


class SmartCamera:
    """Reads such lines; one that is wrong is a bad frame and no more.

    Args:
        address: a path, or `-`.
        fps: of recorded frames that do not say when they were captured.
    """

    def __init__(self, address: str, fps: float) -> None:
        self._address = address
        self._lines: IO[bytes] | None = None
        self._begun: Captured | None = None  # the frame that `open` read
        self._step_s = 1.0 / fps
        self._times = SourceTimes(self._step_s)

    @property
    def live(self) -> bool:
        """A file waits to be read; a pipe does not."""
        return self._address == STDIN or not _is_file(Path(self._address))

    def open(self) -> SourceInfo:
        """Read on to the first good frame, whose size is told."""
        self.close()
        try:
            self._lines = sys.stdin.buffer if self._address == STDIN else open(self._address, "rb")  # noqa: SIM115  # closed by `close`
        except OSError as error:
            raise BadSource(f"{self._address}: {error.strerror}") from None
        self._times = SourceTimes(self._step_s)
        first_fault = None
        while self._begun is None:
            try:
                self._begun = self._next()
            except BadFrame as bad:
                first_fault = first_fault or str(bad)
                continue
            if self._begun is None:
                self.close()
                raise BadSource(
                    f"{self._address}: not one frame in it{f'; the first line: {first_fault}' * bool(first_fault)}"
                )
        return SourceInfo(self._begun.width, self._begun.height, None)

    def read(self) -> Captured | None:
        """The next frame."""
        if self._lines is None:
            raise SourceLost(f"{self._address}: not open")
        captured, self._begun = self._begun, None
        return captured or self._next()

    def close(self) -> None:
        """Close the file; standard input stays open."""
        lines, self._lines, self._begun = self._lines, None, None
        if lines is not None and self._address != STDIN:
            lines.close()

    def _next(self) -> Captured | None:
        assert self._lines is not None
        line = self._lines.readline(MAX_LINE_BYTES + 1)
        if not line:
            return None
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = self._lines.readline(MAX_LINE_BYTES)
            raise BadFrame(f"a line of more than {MAX_LINE_BYTES:,} bytes")
        return self._frame(line)

    def _frame(self, line: bytes) -> Captured:
        try:
            said = _Line.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise BadFrame(f"{place}: {first['msg']}" if place else first["msg"]) from None
        persons = [
            {**dict(zip(BOX, seen.box, strict=True)), "score": seen.score, "crop": _bytes(seen.crop)}
            for seen in said.detections
        ]
        picture = _bytes(said.jpeg)
        if picture is not None:
            _agree(picture, said)
        make = None if picture is None else lambda: decode_jpeg(picture)
        at_s = self._times.next(None if said.captured_ms is None else said.captured_ms / 1000.0)
        return Captured(at_s, said.width, said.height, make, persons, said.captured_ms)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _bytes(text: str | None) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except ValueError as error:
        raise BadFrame(f"a picture that is not base64: {error}") from None


def _agree(picture: bytes, said: _Line) -> None:
    try:
        size = jpeg_size(picture)
    except BadJpeg as bad:
        raise BadFrame(f"its picture: {bad}") from None
    if (size.width, size.height) != (said.width, said.height):
        raise BadFrame(f"its picture is {size.width} x {size.height}, and the line says {said.width} x {said.height}")
