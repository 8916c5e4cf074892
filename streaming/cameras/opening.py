"""Which source an address means."""

from __future__ import annotations

from pathlib import Path

from streaming.cameras.address import is_detections, scheme_of
from streaming.cameras.source import Source


def source_of(address: str, fps: float) -> Source:
    """The source, not opened yet: a URL or a file is video, a folder pictures, and `-` or a file of JSON lines what a
    smart camera saw.

    Args:
        address: as in `Camera.source`.
        fps: of recorded frames that do not say when they were captured, such as the pictures of a folder.
    """
    if scheme_of(address) is None:
        if is_detections(address):
            from streaming.cameras.smart import SmartCamera

            return SmartCamera(address, fps)
        if Path(address).is_dir():
            from streaming.cameras.images import ImageFolder

            return ImageFolder(Path(address), fps)
    from streaming.cameras.video import VideoSource

    return VideoSource(address)
