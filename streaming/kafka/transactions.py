"""One transactional producer of kafka-python, fed with ready-made record batches, every wait bounded.

`KafkaProducer.send` costs a call, a future and an append per record; here a whole batch of columns goes to the
producer's accumulator at once. Sequence numbers, retries, acknowledgements and the transaction protocol stay
kafka-python's. It leans on private names of kafka-python 3.0.12 (pinned); the contract suite reads everything back.
"""
# ruff: noqa: SLF001

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    CommitFailedError,
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFencedError,
    RetriableError,
)
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.structs import OffsetAndMetadata

from streaming.kafka.clients import away, force_close, is_missing, open_producer
from streaming.kafka.denied import DENIALS, access_denied
from streaming.kafka.record_batch import EncodedBatch
from streaming.kafka.settings import KafkaSettings
from streaming.transport import CommitRefused, Fenced, NoLongerOwned

_TRANSACTION_TIMEOUT_MS = 60_000  # a transaction left open this long by a dead instance is aborted by the broker
_METADATA_TIMEOUT_MS = 2000
_OFFSETS = "the offsets"
_MAGIC, _NO_COMPRESSION = 2, 0


class TransactionalProducer:
    """Transactions one after the other. After any error but `CommitRefused`, throw it away and open another.

    Opening fences every older producer with this transactional id and ends what it left unfinished.
    """

    def __init__(self, settings: KafkaSettings, transactional_id: str, timeout_s: float) -> None:
        self._settings, self._id, self._timeout_s = settings, transactional_id, timeout_s
        self._producer = open_producer(settings, transactional_id, _TRANSACTION_TIMEOUT_MS)
        self._manager = self._producer._transaction_manager
        self._unacknowledged: list[ProducerBatch] = []
        self._group = ""
        self._deadline = time.monotonic() + timeout_s
        try:
            self._finish(self._manager.initialize_transactions(), "the start of transactions")
        except BaseException:
            self.discard()
            raise

    def begin(self) -> None:
        """Begin a transaction; all of it has to be done within the time limit."""
        self._deadline = time.monotonic() + self._timeout_s
        self._unacknowledged = []
        with self._explaining("a new transaction"):
            self._manager.begin_transaction()

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
        """Make a batch part of the transaction; `flush` sends all of them.

        Woken at the first one, the sender would ask to add that partition alone, and the others in a second request.
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
        with self._explaining(f"records for {topic}/{partition}"):
            self._manager.maybe_add_partition_to_transaction(where)
        accumulator = self._producer._accumulator
        with accumulator._tp_lock(where):
            accumulator._batches[where].append(batch)
            accumulator._incomplete.add(batch)
        self._unacknowledged.append(batch)

    def flush(self) -> None:
        """Send what was appended, and wait until all of it lies on the log."""
        self._producer._sender.wakeup()
        for batch in self._unacknowledged:
            where = f"records for {batch.topic_partition.topic}/{batch.topic_partition.partition}"
            if not batch.produce_future.wait(max(0.0, self._deadline - time.monotonic())):
                raise away(self._settings, f"{where} were not acknowledged")
            _, _, errors = batch.produce_future.value
            if errors is not None:
                with self._explaining(where):
                    raise errors(0)
        self._unacknowledged = []

    def send_offsets(self, group: Any, topic: str, offsets: Mapping[int, int], note: str) -> None:
        """Make the group's offsets of `topic` part of the transaction; `note` is kept with them. `group` is its name,
        or the metadata of a member, which must be one still (KIP-447)."""
        marks = {TopicPartition(topic, p): OffsetAndMetadata(offset, note, -1) for p, offset in offsets.items()}
        self._group = group
        with self._explaining(_OFFSETS):
            result = self._manager.send_offsets_to_transaction(marks, group)
        self._finish(result, _OFFSETS)

    def commit(self) -> None:
        """End the transaction. When this raises `TransportUnavailable`, it may or may not have been committed."""
        with self._explaining("the commit"):
            result = self._manager.begin_commit()
        self._finish(result, "the commit")

    def abort(self) -> None:
        """End the transaction as if it had never begun."""
        with self._explaining("the abort"):
            result = self._manager.begin_abort()
        self._finish(result, "the abort")
        # kafka-python 3.0.12 would send refused offsets with the next transaction, which would commit them.
        self._manager._pending_txn_offset_commits.clear()

    def discard(self) -> None:
        """Close at once, whatever is under way; the broker ends an open transaction when the next producer opens."""
        force_close(self._producer)

    def _finish(self, result: Any, what: str) -> None:
        self._producer._sender.wakeup()
        with self._explaining(what):
            if not result.wait(timeout_ms=max(0.0, self._deadline - time.monotonic()) * 1000):
                raise away(self._settings, f"{what} took more than {self._timeout_s:g} s")

    @contextlib.contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            raise self._told(error, what) from error

    def _told(self, error: KafkaError, what: str) -> Exception:
        cause = self._manager.last_error if isinstance(self._manager.last_error, KafkaError) else error
        if isinstance(cause, CommitFailedError):
            return NoLongerOwned(f"{what}: the group has given the partitions to another member")
        if isinstance(cause, (ProducerFencedError, InvalidProducerEpochError)):
            return Fenced(f"another instance with the transactional id {self._id} has taken over: this one must stop")
        if isinstance(cause, DENIALS):
            # Offsets are the one thing of a transaction that takes the right to read: the topic they are of.
            operation = "Read" if what == _OFFSETS else "Write"
            return access_denied(self._settings, cause, operation, self._group if what == _OFFSETS else self._id)
        if isinstance(cause, RetriableError) or "unknown reasons" in str(
            cause
        ):  # what a request's time-out is called there
            return away(self._settings, cause)
        return CommitRefused(f"{self._settings.bootstrap_servers} refused {what}: {type(cause).__name__}: {cause}")
