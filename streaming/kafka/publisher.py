"""Records that belong to no transaction: a feed's own events, and what a pipeline says about itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError

from streaming.kafka.clients import force_close, open_publisher
from streaming.kafka.denied import DENIALS, access_denied, missing_right
from streaming.kafka.settings import KafkaSettings
from streaming.transport import AccessDenied, TransportUnavailable

log = logging.getLogger(__name__)

_CLOSE_S = 2.0
_MAY_WRITE_NOWHERE = "ClusterAuthorizationFailedError"  # in the words of an error of no class of its own: fatal
_PAUSE_S = 1.0  # between two attempts to connect

Delivered = Callable[[], bool]
"""Whether a record lies on the log by now."""


class Publisher:
    """An idempotent producer; what cannot be delivered is counted, a right that is missing logged. Thread-safe. Order
    per key is kept.

    However many records it is given, `send` waits at most `max_block_s`: half of it for a connection, half for the
    topic's metadata. While there is no connection its records have failed; another attempt to connect is made in the
    background.
    """

    def __init__(self, settings: KafkaSettings, *, max_block_s: float = 5.0) -> None:
        self._settings = settings
        self._step_s = max_block_s / 2
        self._lock = threading.Lock()  # over all that follows
        self._producer: Any = None
        self._opening: threading.Thread | None = None
        self._next_attempt = 0.0
        self._closed = False
        self._spent = False  # the producer can do nothing any more, and another is needed
        self._told: set[str] = set()  # what was logged already
        self.acknowledged = 0
        self.failed = 0

    def send(
        self,
        topic: str,
        keys: Sequence[bytes],
        values: Sequence[bytes],
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> list[Delivered]:
        """Queue records, where their keys belong or in this partition; delivery is reported in `acknowledged` and
        `failed`, and of each record by what is returned for it."""
        told: list[Delivered] = [_never] * len(values)
        producer = self._connected()
        if producer is None:
            self._count(failed=len(values))
            return told
        for queued, (key, value) in enumerate(zip(keys, values, strict=True)):
            try:
                future = producer.send(topic, key=key, value=value, timestamp_ms=timestamp_ms, partition=partition)
            except KafkaTimeoutError:  # no metadata: the next record would wait as long
                self._count(failed=len(values) - queued)
                return told
            except DENIALS as error:
                self._fail(topic, error, len(values) - queued)
                return told
            except KafkaError:  # this one: too large, or the producer was closed meanwhile
                self._count(failed=1)
                continue
            future.add_callback(lambda _: self._count(acknowledged=1))
            future.add_errback(lambda error: self._fail(topic, error))
            told[queued] = future.succeeded
        return told

    def flush(self, timeout_s: float) -> bool:
        """Wait until all queued records are delivered or failed; False when time ran out."""
        with self._lock:
            producer = self._producer
        if producer is None:
            return True
        try:
            producer.flush(timeout=timeout_s)
        except KafkaError:
            return False
        return True

    def close(self) -> None:
        """Deliver what is queued, for a moment, and disconnect for good."""
        with self._lock:
            self._closed = True
            producer, self._producer = self._producer, None
            opening = self._opening
        if producer is not None:
            _close(producer)
        if opening is not None:  # it closes what it opens
            opening.join(self._step_s)

    def _connected(self) -> Any:
        spent = None
        with self._lock:
            if self._spent:
                spent, self._producer, self._spent = self._producer, None, False
                self._next_attempt = time.monotonic() + _PAUSE_S
            idle = self._producer is None and self._opening is None and not self._closed
            if idle and time.monotonic() >= self._next_attempt:
                self._opening = threading.Thread(target=self._open, name="publisher", daemon=True)
                self._opening.start()
            opening = self._opening
        if spent is not None:
            force_close(spent)
        if opening is not None:
            opening.join(self._step_s)
        with self._lock:
            return self._producer

    def _open(self) -> None:
        producer = None
        try:
            producer = open_publisher(self._settings, round(self._step_s * 1000))
        except (TransportUnavailable, AccessDenied, KafkaError) as failure:
            self._tell(f"cannot publish: {failure}")
        with self._lock:
            self._opening = None
            self._next_attempt = time.monotonic() + _PAUSE_S
            if not self._closed:
                self._producer, producer = producer, None
        if producer is not None:
            _close(producer)

    def _fail(self, topic: str, error: Exception, records: int = 1) -> None:
        self._count(failed=records)
        if _MAY_WRITE_NOWHERE in str(error):
            self._tell(f"cannot publish: {missing_right(self._settings, 'Write', f'topic {topic}')}")
            with self._lock:
                self._spent = True
        elif isinstance(error, DENIALS):
            self._tell(f"cannot publish: {access_denied(self._settings, error, 'Write', topic)}")

    def _tell(self, words: str) -> None:
        with self._lock:
            known = words in self._told
            self._told.add(words)
        if not known:
            log.warning("%s", words)

    def _count(self, *, acknowledged: int = 0, failed: int = 0) -> None:
        with self._lock:
            self.acknowledged += acknowledged
            self.failed += failed


def _never() -> bool:
    """Of a record that was not even queued."""
    return False


def _close(producer: Any) -> None:
    try:
        producer.close(timeout=_CLOSE_S)
    except KafkaError as failure:  # what was queued has not arrived in time
        log.warning("closed with records undelivered: %s", failure)
        force_close(producer)
