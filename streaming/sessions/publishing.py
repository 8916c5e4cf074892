"""Events of sessions to Kafka, each acknowledged."""

from __future__ import annotations

from collections.abc import Sequence

from streaming.kafka.publisher import Publisher
from streaming.topics import USER_SESSIONS


class KafkaEvents:
    """Sends to `user.sessions` through a publisher of its own. Not thread-safe.

    Args:
        publisher: nobody else's.
        wait_s: for acknowledgements.
    """

    def __init__(self, publisher: Publisher, *, wait_s: float = 3.0) -> None:
        self._publisher, self._wait_s = publisher, wait_s

    def __call__(self, keys: Sequence[bytes], values: Sequence[bytes]) -> list[bool]:
        """Send records and wait until they lie on the log; of each, whether it does by then."""
        delivered = self._publisher.send(USER_SESSIONS.name, keys, values)
        self._publisher.flush(self._wait_s)
        return [lies_there() for lies_there in delivered]
