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

    def __call__(self, keys: Sequence[bytes], values: Sequence[bytes]) -> bool:
        """Send records and wait until they lie on the log; False if one does not, or not in time."""
        before = self._publisher.failed
        self._publisher.send(USER_SESSIONS.name, keys, values)
        # Nothing is left in flight once it is flushed: also what an earlier call did not wait for has been answered.
        return self._publisher.flush(self._wait_s) and self._publisher.failed == before
