"""The seam between a camera process and whatever its frames come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streaming.features.jpeg import Image

MAX_PIXELS = 4096 * 4096


class BadSource(ValueError):
    """Never becomes good by trying again: no such file, nothing to see in it. The message names it, without secrets."""


class SourceLost(ConnectionError):
    """Cannot be reached now, or has gone silent; another try may help. The message names it, without secrets."""


class BadFrame(ValueError):
    """One frame that cannot be used; the next may be."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What an open source says of itself."""

    width: int
    height: int
    fps: float | None  # None where it does not know


@dataclass(frozen=True, slots=True)
class Captured:
    """One frame as it comes."""

    at_s: float  # of a recording, when it is due, 0 for the first frame; never falls. Of a live source nobody asks
    width: int
    height: int
    picture: Callable[[], Image] | None  # made when it is asked for: most frames of a fast camera are not wanted
    detections: Sequence[Mapping[str, Any]] | None = None  # as in camera-frames.avsc; None: nobody has looked
    stated_ms: int | None = None  # when it was captured, UTC, by a camera that says so


class Source(Protocol):
    """Opened once at a time; after `SourceLost` it is closed and opened anew."""

    @property
    def live(self) -> bool:
        """Whether frames come when they are captured; else they are recorded, and wait to be read."""

    def open(self) -> SourceInfo:
        """Begin at the first frame, or at the next one of a live source.

        Raises:
            SourceLost, BadSource.
        """

    def read(self) -> Captured | None:
        """The next frame, waiting for it; None when there is none any more.

        Raises:
            BadFrame: this one cannot be used, and was passed over.
            SourceLost: the source is gone or silent.
        """

    def close(self) -> None:
        """Give back what `open` took; also before it, and more than once."""
