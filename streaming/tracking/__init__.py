"""Boxes of one camera, frame after frame, joined into tracks: ByteTrack, with its state in plain arrays.

    detections ─► TrackStage ─► one row for each confirmed track seen in a frame

`motion` says where a box will be, `association` which box is whose, `bytetrack` when a track begins, is believed and
ends, `stage` keeps it all in keyed state. `metrics` says how good tracks are.

*Why no library.* The tracker's state must be written to the changelog and taken back from there, and what it answers
may not depend on how the stream is cut or on a restart. Of the permissive ones, `trackers` 2.6.1 (Apache-2.0, September
2026) keeps its state in objects (lists of tracklets, each with its filter, and a private counter of ids) that can be
reset but neither read out nor set; it brings `supervision`, matplotlib and `opencv-python`, which overwrites the
headless OpenCV. `norfair` 2.3.0 (BSD-3, April 2025) wants filterpy below 2, counts ids in a class attribute and time in
frames, and keeps its state in objects as well; `supervision`'s own ByteTrack is deprecated; `boxmot` is AGPL-3.
"""

from streaming.tracking.bytetrack import ByteTrack
from streaming.tracking.stage import TrackStage

__all__ = ["ByteTrack", "TrackStage"]
