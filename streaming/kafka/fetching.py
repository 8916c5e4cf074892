"""Reading whole record batches from kafka-python's consumer instead of one object per record.

This leans on private names of kafka-python 3.0.12 (pinned): its fetcher makes a `PartitionRecords` of every fetched
partition, an iterator over single records. Put in its place, the one below yields a single chunk of columns. Fetch
sessions, leader changes, positions, transactions that were aborted: all that stays kafka-python's. The contract suite
reads everything back.
"""
# ruff: noqa: SLF001

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record.legacy_records import LegacyRecordBatch

from streaming.kafka.record_batch import CorruptBatch, Section, decode
from streaming.records import Records
from streaming.transport import LogCorrupt


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition, and the position after them (and after any markers that follow them)."""

    records: Records
    end: int


class FetchedColumns(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types
    """What was fetched of one partition, as at most one chunk."""

    def _maybe_skip_record(self, record: Chunk) -> bool:
        return False  # the chunk has been cut at the fetch offset already

    def _unpack_records(self, tp: Any, records: Any, key_deserializer: Any, value_deserializer: Any) -> Iterator[Chunk]:
        self.bytes_read = records.size_in_bytes()  # whoever had something goes to the end of the next request
        visible: list[tuple[Any, Section]] = []
        corrupt = None
        while corrupt is None and (batch := records.next_batch()) is not None:
            try:
                section = self._section(batch)
            except _Unreadable as unreadable:
                corrupt = _corrupt(tp, batch, unreadable)
                continue
            self.leader_epoch = batch.leader_epoch
            self.next_fetch_offset = batch.next_offset  # past records that compaction removed, too
            if section is not None:
                visible.append((batch, section))
        try:
            columns = decode([section for _, section in visible])
        except CorruptBatch:
            readable, batch, why = _before_corruption(visible)
            columns, corrupt = decode(readable), _corrupt(tp, batch, why)
            self.next_fetch_offset = max(batch.base_offset, self.fetch_offset)
        self.drain()  # before an error, too: the client asks a fetch that is not drained for its next record for ever
        if corrupt is not None and self.next_fetch_offset == self.fetch_offset:
            raise corrupt  # else what came before is handed out first, and the next fetch begins with it
        if len(columns) and columns.offsets[0] < self.fetch_offset:  # a batch is fetched whole, also from its middle
            columns = columns.take(np.flatnonzero(columns.offsets >= self.fetch_offset))
        if len(columns):
            yield Chunk(columns, self.next_fetch_offset)

    def _section(self, batch: Any) -> Section | None:
        """The records of a batch, or None if it is not to be seen."""
        if isinstance(batch, LegacyRecordBatch):
            raise _Unreadable("its format is older than Kafka 0.11")
        if self.check_crcs and not batch.validate_crc():
            raise _Unreadable("it fails its checksum")
        if self._is_hidden(batch):
            return None
        try:
            batch._maybe_uncompress()
        except Exception as error:  # each compression has its own errors for bytes that it did not write
            raise _Unreadable(f"{type(error).__name__}: {error}") from error
        data = memoryview(batch._buffer)[batch._pos :]
        stamped = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None
        return Section(data, batch.records_count, batch.base_offset, batch.first_timestamp, stamped)

    def _is_hidden(self, batch: Any) -> bool:
        """Whether the batch is a transaction marker or part of an aborted transaction."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


class ColumnReader:
    """A consumer whose `poll` gives chunks. `answers` counts the fetches that the brokers have answered."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self.answers = 0
        self._nothing_at: dict[int, int] = {}  # by partition: an offset at which its broker had nothing
        fetcher = consumer._fetcher
        fetcher.PartitionRecords = FetchedColumns
        handle = fetcher._handle_fetch_response

        def count(node: Any, asked: dict[Any, int], sent_s: float, response: Any) -> None:
            self.answers += 1
            handle(node, asked, sent_s, response)
            said = [part for topic in response.responses for part in topic.partitions]
            other = {part.partition_index for part in said if part.records or part.error_code}
            self._nothing_at.update((tp.partition, at) for tp, at in asked.items() if tp.partition not in other)

        fetcher._handle_fetch_response = count

    def poll(self, timeout_s: float) -> dict[int, list[Chunk]]:
        """The chunks that have arrived, by partition."""
        polled = self.consumer.poll(timeout_ms=max(timeout_s, 0.0) * 1000, max_records=1 << 20)
        return {tp.partition: chunks for tp, chunks in polled.items()}

    @contextmanager
    def without(self, held: Collection[Any]) -> Iterator[None]:
        """Within, `poll` asks for nothing of these partitions, and gives nothing of them."""
        assigned = self.consumer._subscription.assignment
        paused = [assigned[tp] for tp in held if tp in assigned]
        for partition in paused:
            partition.pause()
        try:
            yield
        finally:
            for partition in paused:  # one that the group has taken away meanwhile is another when it comes back
                partition.resume()

    def position(self, topic_partition: Any) -> int | None:
        """Where the next fetch of this partition begins, or None if the group has just taken it away; unlike the
        consumer's own, without asking any broker."""
        assigned = self.consumer._subscription.assignment.get(topic_partition)
        return None if assigned is None or assigned.position is None else int(assigned.position.offset)

    def may_have_more(self, topic_partition: Any) -> bool:
        """Whether no broker has said that nothing lies at the position of this partition."""
        position = self.position(topic_partition)
        return position is not None and self._nothing_at.get(topic_partition.partition) != position

    def seek(self, topic_partition: Any, offset: int) -> None:
        """Go on there."""
        self.consumer.seek(topic_partition, offset)
        self._nothing_at.pop(topic_partition.partition, None)  # there may be records by now


class _Unreadable(ValueError):
    """What is wrong with a batch."""


def _corrupt(tp: Any, batch: Any, why: Exception) -> LogCorrupt:
    return LogCorrupt(tp.topic, tp.partition, batch.base_offset, batch.next_offset, str(why))


def _before_corruption(visible: Sequence[tuple[Any, Section]]) -> tuple[list[Section], Any, CorruptBatch]:
    """The sections before the first that is corrupt, the batch of that one, and what is wrong with it."""
    for number, (batch, section) in enumerate(visible):
        try:
            decode([section])
        except CorruptBatch as why:
            return [section for _, section in visible[:number]], batch, why
    raise AssertionError("batches that can be read one by one can be read together")
