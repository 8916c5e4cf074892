"""Frames to Kafka, one at a time, each acknowledged."""

from __future__ import annotations

import threading

from streaming.kafka.publisher import Publisher
from streaming.topics import CAMERA_FRAMES

_LOOK_S = 0.5


class KafkaFrames:
    """Sends to `camera.frames` through a publisher of its own."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def __call__(self, key: bytes, value: bytes, stopping: threading.Event) -> bool:
        """Send one record and wait until it lies on the log; False if it does not, or it was time to stop first."""
        before = self._publisher.acknowledged
        self._publisher.send(CAMERA_FRAMES.name, [key], [value])
        while not self._publisher.flush(_LOOK_S):
            if stopping.is_set():
                return False
        return self._publisher.acknowledged > before
