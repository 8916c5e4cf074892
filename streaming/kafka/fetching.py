"""Reading whole record batches from kafka-python's consumer instead of one object per record.

This leans on private names of kafka-python 3.0.12 (pinned): its fetcher makes a `PartitionRecords` of every fetched
partition, an iterator over single records. Put in its place, the one below yields a single chunk of columns. Fetch
sessions, leader changes, positions, transactions that were aborted: all that stays kafka-python's. The contract suite
reads everything back.
"""
# ruff: noqa: SLF001

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.legacy_records import LegacyRecordBatch

from streaming.kafka.record_batch import Section, decode
from streaming.records import Records


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
        sections = []
        while (batch := records.next_batch()) is not None:
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(
                    f"{tp.topic}/{tp.partition}: the batch at offset {batch.base_offset} fails its checksum"
                )
            if isinstance(batch, LegacyRecordBatch):
                raise CorruptRecordError(f"{tp.topic}/{tp.partition}: records in a format older than Kafka 0.11")
            self.leader_epoch = batch.leader_epoch
            self.next_fetch_offset = batch.next_offset  # past records that compaction removed, too
            if not self._is_hidden(batch):
                sections.append(_section(batch))
        if sections:
            columns = decode(sections)
            if columns.offsets[0] < self.fetch_offset:  # a batch is fetched whole, also from its middle
                columns = columns.take(np.flatnonzero(columns.offsets >= self.fetch_offset))
            if len(columns):
                yield Chunk(columns, self.next_fetch_offset)
        self.drain()

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
        fetcher = consumer._fetcher
        fetcher.PartitionRecords = FetchedColumns
        handle = fetcher._handle_fetch_response

        def count(*response: Any) -> None:
            self.answers += 1
            handle(*response)

        fetcher._handle_fetch_response = count

    def poll(self, timeout_s: float) -> dict[int, list[Chunk]]:
        """The chunks that have arrived, by partition."""
        polled = self.consumer.poll(timeout_ms=max(timeout_s, 0.0) * 1000, max_records=1 << 20)
        return {tp.partition: chunks for tp, chunks in polled.items()}

    def position(self, topic_partition: Any) -> int:
        """Where the next fetch of this partition begins; unlike the consumer's own, without asking any broker."""
        return int(self.consumer._subscription.assignment[topic_partition].position.offset)


def _section(batch: Any) -> Section:
    batch._maybe_uncompress()
    data = memoryview(batch._buffer)[batch._pos :]
    stamped = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None
    return Section(data, batch.records_count, batch.base_offset, batch.first_timestamp, stamped)
