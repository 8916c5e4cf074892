"""A producer of kafka-python, fed with ready-made record batches, every wait bounded.

`KafkaProducer.send` costs a call, a future and an append per record; here a whole batch of columns goes to the
producer's accumulator at once. Sequence numbers, retries and acknowledgements stay kafka-python's. It leans on private
names of kafka-python 3.0.12 (pinned); the contract suite reads everything back.
"""
# ruff: noqa: SLF001

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from kafka import TopicPartition
from kafka.errors import InvalidProducerEpochError, KafkaError, KafkaTimeoutError, ProducerFencedError, RetriableError
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.memory_records import MemoryRecordsBuilder

from streaming.kafka.clients import away, force_close, is_missing, open_batch_producer
from streaming.kafka.denied import DENIALS, access_denied
from streaming.kafka.partitioning import Partitioner
from streaming.kafka.record_batch import EncodedBatch, encode
from streaming.kafka.settings import KafkaSettings
from streaming.transport import CommitRefused, Fenced, Output

_BATCH_BYTES = 1_000_000
_METADATA_TIMEOUT_MS = 2000
_MAGIC, _NO_COMPRESSION = 2, 0


class BatchProducer:
    """Idempotent: a batch that is sent twice lies on the log once, and those of a partition keep their order. After any
    error but `CommitRefused`, throw it away and open another."""

    def __init__(self, settings: KafkaSettings, timeout_s: float, **options: Any) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._producer = open_batch_producer(settings, **options)
        self._unacknowledged: list[ProducerBatch] = []
        self._deadline = time.monotonic() + timeout_s

    def begin(self) -> None:
        """All that is appended from now on has to be acknowledged within the time limit."""
        self._deadline = time.monotonic() + self._timeout_s
        self._unacknowledged = []

    def partitions(self, topic: str, operation: str = "Write") -> int:
        """How many partitions the topic has; `operation` is what it is asked for.

        Raises:
            CommitRefused: there is no such topic.
            AccessDenied: we may not even know of it.
        """
        known = self._producer._metadata.partitions_for_topic(topic)
        if known is None:
            try:
                known = self._producer._wait_on_metadata(topic, _METADATA_TIMEOUT_MS)
            except KafkaTimeoutError as error:
                if is_missing(self._settings, topic):
                    raise CommitRefused(
                        f"there is no topic {topic} on {self._settings.bootstrap_servers}: create it"
                    ) from error
                raise away(self._settings, error) from error
            except DENIALS as error:
                raise access_denied(self._settings, error, operation) from error
        return len(known)

    def append(self, topic: str, partition: int, encoded: EncodedBatch) -> None:
        """Queue a batch; `flush` sends all of them.

        Woken at the first one, the sender of a transaction would ask to add that partition alone, and the others in a
        second request.
        """
        self.partitions(topic)  # the sender waits forever for the leader of a topic it never asked about
        records = MemoryRecordsBuilder(_MAGIC, _NO_COMPRESSION, len(encoded.data))
        builder = records._builder
        builder._buffer.extend(encoded.data)
        builder._first_timestamp, builder._max_timestamp = encoded.first_timestamp_ms, encoded.max_timestamp_ms
        builder._num_records, builder._last_offset = encoded.count, encoded.count - 1
        records._next_offset = encoded.count
        where = TopicPartition(topic, partition)
        batch = ProducerBatch(where, records)
        self._join(where)
        accumulator = self._producer._accumulator
        with accumulator._tp_lock(where):
            accumulator._batches[where].append(batch)
            accumulator._incomplete.add(batch)
        self._unacknowledged.append(batch)

    def flush(self) -> None:
        """Send what was appended, and wait until all of it lies on the log."""
        self._producer._sender.wakeup()
        for batch in self._unacknowledged:
            if not batch.produce_future.wait(max(0.0, self._deadline - time.monotonic())):
                raise away(self._settings, f"{records_for(batch.topic_partition)} were not acknowledged")
            self._raise_refusal(batch)
        self._unacknowledged = []

    def discard(self) -> None:
        """Close at once, whatever is under way; the broker ends an open transaction when the next producer opens."""
        force_close(self._producer)

    def _join(self, where: TopicPartition) -> None:
        """A batch for this partition comes next."""

    def _raise_refusal(self, batch: ProducerBatch) -> None:
        """Raise what has become of a batch, if that is no good."""
        _, _, errors = batch.produce_future.value or (None, None, None)
        if errors is not None:
            with self._explaining(records_for(batch.topic_partition)):
                raise errors(0)

    @contextlib.contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            raise self._told(error, what) from error

    def _told(self, error: KafkaError, what: str) -> Exception:
        if isinstance(error, DENIALS):
            return access_denied(self._settings, error, "Write")
        if isinstance(error, (ProducerFencedError, InvalidProducerEpochError)):
            return Fenced(f"{what}: another instance has taken over: this one must stop")
        if isinstance(error, RetriableError) or "unknown reasons" in str(
            error
        ):  # what a request's time-out is called there
            return away(self._settings, error)
        return CommitRefused(f"{self._settings.bootstrap_servers} refused {what}: {type(error).__name__}: {error}")


def append_outputs(producer: BatchProducer, outputs: Sequence[Output], partitioner: Partitioner) -> None:
    """Queue these records, each for its partition.

    Raises:
        CommitRefused: there is no such topic or partition.
    """
    now_ms = int(time.time() * 1000)
    for output in outputs:
        if not len(output.records):
            continue
        count = producer.partitions(output.topic)
        wanted = output.partition_of(count)
        if wanted is None:
            assigned = partitioner.partitions(output.records.keys, count)
            pieces = [(int(p), output.records.take(np.flatnonzero(assigned == p))) for p in np.unique(assigned)]
        elif wanted < count:
            pieces = [(wanted, output.records)]
        else:
            raise CommitRefused(f"{output.topic} has {count} partitions, so there is no partition {wanted}")
        for partition, records in pieces:
            for batch in encode(records, _BATCH_BYTES, now_ms):
                producer.append(output.topic, partition, batch)


def records_for(where: TopicPartition) -> str:
    """What a failure was about."""
    return f"records for {where.topic}/{where.partition}"
