"""How looks are kept: as rows of bytes, which others cannot read once they leave the process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Looks = npt.NDArray[np.float32]
Sealed = npt.NDArray[np.uint8]
TrackName = tuple[str, int]
"""A camera and the id of a track in it."""


class Seal(Protocol):
    """Looks of tracks to bytes and back."""

    def width(self, dimensions: int) -> int:
        """Bytes of a sealed look."""

    def seal(self, looks: Looks, tracks: Sequence[TrackName], at_ms: int) -> Sealed:
        """Looks (N, D) of N tracks, captured at a time, to (N, width); zeros for zeros, and for a look that may not be
        kept."""

    def open(self, sealed: Sealed, tracks: Sequence[TrackName]) -> Looks:
        """(N, width) to (N, D); zeros for zeros, and for what nobody can open any more."""

    def forget(self, tracks: Sequence[TrackName]) -> None:
        """Nobody can open a look of these tracks any more, wherever it lies, nor seal another. Raises OSError: that
        could not be done yet."""


class Plain:
    """Little-endian floats as they are: for tests, and for state that never leaves the process."""

    def width(self, dimensions: int) -> int:
        """Four bytes each."""
        return 4 * dimensions

    def seal(self, looks: Looks, tracks: Sequence[TrackName], at_ms: int) -> Sealed:
        """Their bytes."""
        return np.ascontiguousarray(looks, dtype="<f4").view(np.uint8)

    def open(self, sealed: Sealed, tracks: Sequence[TrackName]) -> Looks:
        """The floats again."""
        return np.ascontiguousarray(sealed).view("<f4")

    def forget(self, tracks: Sequence[TrackName]) -> None:
        """Nothing: there is no key."""
