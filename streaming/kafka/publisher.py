"""Records that belong to no transaction: a feed's own events, and what a pipeline says about itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from kafka import KafkaProducer
from kafka.errors import KafkaError

from streaming.kafka.settings import KafkaSettings


class Publisher:
    """An idempotent producer that never blocks its caller for long; what cannot be delivered is counted.

    Thread-safe. Order per key is kept.
    """

    def __init__(self, settings: KafkaSettings, *, max_block_ms: int = 5_000) -> None:
        self._settings = settings
        self._max_block_ms = max_block_ms
        self._producer: KafkaProducer | None = None
        self._lock = threading.Lock()
        self.acknowledged = 0
        self.failed = 0

    def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], timestamp_ms: int | None = None) -> None:
        """Queue records; delivery is reported in `acknowledged` and `failed`."""
        producer = self._connected()
        if producer is None:
            self._count(failed=len(values))
            return
        for key, value in zip(keys, values, strict=True):
            try:
                future = producer.send(topic, key=key, value=value, timestamp_ms=timestamp_ms)
            except KafkaError:
                self._count(failed=1)
                continue
            future.add_callback(lambda _: self._count(acknowledged=1))
            future.add_errback(lambda _: self._count(failed=1))

    def flush(self, timeout_s: float) -> bool:
        """Wait until all queued records are delivered or failed; False when time ran out."""
        if self._producer is None:
            return True
        try:
            self._producer.flush(timeout=timeout_s)
        except KafkaError:
            return False
        return True

    def close(self) -> None:
        """Deliver what is queued, for a moment, and disconnect."""
        if self._producer is not None:
            self._producer.close(timeout=2)
            self._producer = None

    def _connected(self) -> KafkaProducer | None:
        if self._producer is None:
            try:
                self._producer = KafkaProducer(
                    **self._settings.client_options(), acks="all", linger_ms=5, max_block_ms=self._max_block_ms
                )
            except KafkaError:
                return None
        return self._producer

    def _count(self, *, acknowledged: int = 0, failed: int = 0) -> None:
        with self._lock:
            self.acknowledged += acknowledged
            self.failed += failed
