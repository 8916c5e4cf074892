"""Reading a topic: one consumer group, assigned by hand, only committed records, whole batches as columns.

The group is no more than a name under which offsets are committed (by the sink, in its transactions): who reads which
partition is the runner's decision, so there is no rebalance to wait for.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from kafka import TopicPartition
from kafka.errors import OffsetOutOfRangeError

from streaming.kafka.clients import away, is_forbidden, open_consumer, unavailable_if_away
from streaming.kafka.denied import missing_right
from streaming.kafka.fetching import Chunk, ColumnReader
from streaming.kafka.settings import KafkaSettings
from streaming.records import OffsetRange, Records
from streaming.transport import TOGETHER_MS, Fetched, OffsetsExpired, oldest_first

if TYPE_CHECKING:
    from streaming.kafka.member import KafkaMember

_STEP_S = 0.25  # the longest single wait inside `poll`, so that silence is noticed
_ON_ITS_WAY_S = 1.0  # a partition that no broker speaks of for so long holds the others back no more


class KafkaSource:
    """One topic for one consumer group. Picklable; its questions about offsets share a connection, `close` ends it."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str) -> None:
        self._settings, self._topic, self._group = settings, topic, group
        self._consumer: Any = None
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[KafkaSettings, str, str]:
        return self._settings, self._topic, self._group

    def __setstate__(self, state: tuple[KafkaSettings, str, str]) -> None:
        self._settings, self._topic, self._group = state
        self._consumer, self._lock = None, threading.Lock()

    @property
    def topic(self) -> str:
        """Its name."""
        return self._topic

    def partitions(self) -> list[int]:
        """Every partition of the topic, ascending."""
        with self._asking() as consumer:
            return [tp.partition for tp in self._all(consumer)]

    def committed(self) -> dict[int, int]:
        """The next unread offset of every partition: the group's, or the earliest where it has none, or there is no
        group."""
        if not self._group:
            return self.beginning_offsets()
        with self._asking() as consumer:
            found = {tp: consumer.committed(tp, timeout_ms=self._timeout_ms) for tp in self._all(consumer)}
            unknown = [tp for tp, offset in found.items() if offset is None]
            if unknown:
                found.update(consumer.beginning_offsets(unknown, timeout_ms=self._timeout_ms))
            return {tp.partition: int(offset) for tp, offset in found.items()}

    def beginning_offsets(self) -> dict[int, int]:
        """The earliest offset still on the log, of every partition."""
        with self._asking() as consumer:
            begins = consumer.beginning_offsets(self._all(consumer), timeout_ms=self._timeout_ms)
            return {tp.partition: int(offset) for tp, offset in begins.items()}

    def end_offsets(self) -> dict[int, int]:
        """One past the last committed record (or marker) of every partition."""
        with self._asking() as consumer:
            ends = consumer.end_offsets(self._all(consumer), timeout_ms=self._timeout_ms)
            return {tp.partition: int(offset) for tp, offset in ends.items()}

    def written_offsets(self) -> dict[int, int]:
        """One past the last record (or marker) of every partition, of open and aborted transactions too."""
        with unavailable_if_away(self._settings):
            consumer = open_consumer(self._settings, isolation="read_uncommitted")
            try:
                ends = consumer.end_offsets(self._all(consumer), timeout_ms=self._timeout_ms)
            finally:
                consumer.close()
        return {tp.partition: int(offset) for tp, offset in ends.items()}

    def offsets_at(self, time_ms: int) -> dict[int, int]:
        """The first offset of every partition whose record is not older than this; the end where all are."""
        with self._asking() as consumer:
            every = self._all(consumer)
            found = consumer.offsets_for_times(dict.fromkeys(every, time_ms), timeout_ms=self._timeout_ms)
            late = [tp for tp in every if found.get(tp) is None]
            ends = consumer.end_offsets(late, timeout_ms=self._timeout_ms) if late else {}
            return {tp.partition: int(ends[tp] if tp in ends else found[tp].offset) for tp in every}

    def earliest_ms(self, since_ms: int = 0) -> int | None:
        """Time of the first record, in any partition, that is not older than this; None where there is none."""
        with self._asking() as consumer:
            every = dict.fromkeys(self._all(consumer), since_ms)
            found = consumer.offsets_for_times(every, timeout_ms=self._timeout_ms)
            return min((int(first.timestamp) for first in found.values() if first is not None), default=None)

    def open(self, start: Mapping[int, int], gather_s: float = 0.0) -> KafkaReader:
        """A reader of the partitions in `start`, each from the offset given. The brokers gather, not the reader."""
        columns = ColumnReader(open_consumer(self._settings, gather_s=gather_s))
        columns.consumer.assign([TopicPartition(self._topic, partition) for partition in start])
        reader = KafkaReader(self._settings, self._topic, columns, gather_s)
        for partition, offset in start.items():
            reader.add(partition, offset)
        return reader

    def join(self) -> KafkaMember:
        """A new member of the group."""
        from streaming.kafka.member import KafkaMember  # which is made of readers

        return KafkaMember(self._settings, self._topic, self._group)

    def close(self) -> None:
        """End the connection; the next question opens a new one."""
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    @property
    def _timeout_ms(self) -> int:
        return round(self._settings.unavailable_after_s * 1000)

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        with self._lock, unavailable_if_away(self._settings, name=self._group):
            if self._consumer is None:
                self._consumer = open_consumer(self._settings, self._group or None)
            try:
                yield self._consumer
            except Exception:
                self._consumer.close()
                self._consumer = None
                raise

    def _all(self, consumer: Any) -> list[TopicPartition]:
        partitions = consumer.partitions_for_topic(self._topic)
        if not partitions:
            if is_forbidden(self._settings, consumer, self._topic):
                raise missing_right(self._settings, "Describe", f"topic {self._topic}")
            raise LookupError(f"there is no topic {self._topic} on {self._settings.bootstrap_servers}")
        return [TopicPartition(self._topic, partition) for partition in sorted(partitions)]


class KafkaReader:
    """Reads the partitions of one topic that are added. Holds at most a few megabytes per partition. Not thread-safe.

    Args:
        settings: of the cluster.
        topic: its name.
        columns: a consumer to which the partitions that are added are assigned.
        gather_s: how long the brokers may hold records back for it.
    """

    def __init__(self, settings: KafkaSettings, topic: str, columns: ColumnReader, gather_s: float = 0.0) -> None:
        self._settings, self._topic, self._columns = settings, topic, columns
        self._again: ColumnReader | None = None  # a second connection, for `read`
        self._next: dict[int, int] = {}  # the position `poll` hands out next
        self._waiting: dict[int, deque[Chunk]] = {}
        self._turn: deque[int] = deque()  # whose turn it is: whoever was served goes to the end
        self._heard, self._silent_s = 0, 0.0
        self._held_since_s: float | None = None
        self._away_after_s = settings.unavailable_after_s + gather_s  # a broker that gathers is silent, not away

    def add(self, partition: int, offset: int) -> None:
        """Read this partition from the offset on."""
        self._columns.seek(self._at(partition), offset)
        self._waiting[partition] = deque()
        self._next[partition] = offset
        self._turn.append(partition)

    def remove(self, partition: int) -> None:
        """Hand out no more of this partition; one that was not added is ignored."""
        if self._next.pop(partition, None) is not None:
            del self._waiting[partition]
            self._turn.remove(partition)

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        """The next records of one partition, at most `max_records`.

        When only transaction markers or aborted records came in time, the range advances over them and has no records.

        Raises:
            OffsetsExpired: the position is no longer on the log.
            LogCorrupt: what lies there cannot be read; what came before it has been handed out.
            TransportUnavailable: no broker answers.
        """
        if max_records < 1:
            raise ValueError(f"max_records is {max_records}, but must be at least 1")
        deadline = time.monotonic() + timeout_s
        while True:
            next_ms = {p: int(self._waiting[p][0].records.timestamps_ms[0]) for p in self._turn if self._waiting[p]}
            if next_ms and not self._is_held_back(min(next_ms.values())):
                return self._serve(*oldest_first(next_ms), max_records)
            if time.monotonic() > deadline:
                return None if next_ms else self._skip_markers()
            self._fetch(min(_STEP_S, deadline - time.monotonic()))

    def read(self, wanted: OffsetRange) -> Records:
        """Exactly the records of `wanted`, again.

        Raises:
            OffsetsExpired: some of them were deleted meanwhile.
            LogCorrupt: some of them cannot be read.
            LookupError: the log ends before `wanted.end`.
        """
        if self._again is None:
            self._again = ColumnReader(open_consumer(self._settings))
        columns, tp = self._again, self._at(wanted.partition)
        columns.consumer.assign([tp])
        columns.consumer.seek(tp, wanted.start)
        found: list[Records] = []
        position, heard, quiet_since = wanted.start, columns.answers, time.monotonic()
        while position < wanted.end:
            with self._explaining():
                chunks = columns.poll(_STEP_S).get(wanted.partition, [])
            found += [chunk.records for chunk in chunks]
            if (reached := columns.position(tp) or 0) > position:
                position, heard, quiet_since = reached, columns.answers, time.monotonic()
            elif time.monotonic() - quiet_since > self._settings.unavailable_after_s:
                if columns.answers == heard:
                    self._look_whether_refused(columns)
                    raise away(self._settings, "no answer to a fetch")
                raise LookupError(f"{self._topic}/{wanted.partition} ends at {position}, before {wanted.end}")
        records = Records.joined(found)
        return records.take(np.flatnonzero(records.offsets < wanted.end))

    def seek(self, partition: int, offset: int) -> None:
        """Let the next `poll` of this partition start at `offset`."""
        self._columns.seek(self._at(partition), offset)
        self._waiting[partition].clear()
        self._next[partition] = offset

    def close(self) -> None:
        """Let go of connections. Closing twice is allowed."""
        for columns in (self._columns, self._again):
            if columns is not None:
                columns.consumer.close()

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    def _fetch(self, wait_s: float) -> None:
        began = time.monotonic()
        # While one is waited for, no more of the others is asked for: a long backlog would come to lie in memory.
        held = [self._at(partition) for partition, chunks in self._waiting.items() if chunks]
        with self._explaining(), self._columns.without(held):
            for partition, chunks in self._columns.poll(wait_s).items():
                if partition in self._waiting:
                    self._waiting[partition] += chunks
        self._silent_s += time.monotonic() - began  # only while waiting: between polls nothing is asked
        if self._columns.answers != self._heard or not self._next:
            self._heard, self._silent_s = self._columns.answers, 0.0
        elif self._silent_s > self._away_after_s:
            self._look_whether_refused(self._columns)
            raise away(self._settings, "no answer to a fetch")

    def _look_whether_refused(self, columns: ColumnReader) -> None:
        """Silence is also what a client makes of a password, a certificate or a right that was taken away."""
        with self._explaining():
            if is_forbidden(self._settings, columns.consumer, self._topic):
                raise missing_right(self._settings, "Read", f"topic {self._topic}")
        open_consumer(self._settings).close()

    def _is_held_back(self, oldest_ms: int) -> bool:
        """Whether the oldest record here may not be the oldest: in a backlog, a partition that has run dry is asked for
        more before the others are read on."""
        is_backlog = oldest_ms < time.time() * 1000 - TOGETHER_MS
        dry = (self._at(partition) for partition, chunks in self._waiting.items() if not chunks)
        if not is_backlog or not any(self._columns.may_have_more(tp) for tp in dry):
            self._held_since_s = None
            return False
        now_s = time.monotonic()
        if self._held_since_s is None:
            self._held_since_s = now_s
        return now_s - self._held_since_s < _ON_ITS_WAY_S

    def _serve(self, partition: int, until_ms: float, max_records: int) -> Fetched:
        self._turn.remove(partition)
        self._turn.append(partition)
        waiting, taken, count = self._waiting[partition], [], 0
        while waiting and count < max_records:
            chunk = waiting.popleft()
            ahead = np.flatnonzero(chunk.records.timestamps_ms > until_ms)
            room = min([max_records - count, *ahead[:1].tolist()])
            if room == 0:
                waiting.appendleft(chunk)
                break
            if len(chunk.records) > room:
                waiting.appendleft(Chunk(_cut(chunk.records, room, None), chunk.end))
                chunk = Chunk(_cut(chunk.records, 0, room), int(chunk.records.offsets[room]))
            taken.append(chunk.records)
            count += len(chunk.records)
            end = chunk.end
        start, self._next[partition] = self._next[partition], end
        return Fetched(OffsetRange(partition, start, end), Records.joined(taken))

    def _skip_markers(self) -> Fetched | None:
        for partition, start in self._next.items():
            end = self._columns.position(self._at(partition))
            if end is not None and end > start and not self._waiting[partition]:
                self._next[partition] = end
                return Fetched(OffsetRange(partition, start, end), Records.of([], []))
        return None

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Say of an offset that is not on the log where the log begins, and of a lost cluster that it is away."""
        try:
            with unavailable_if_away(self._settings, "Read"):
                yield
        except OffsetOutOfRangeError as error:
            ((tp, wanted),) = error.args[0].items()
            timeout_ms = round(self._settings.unavailable_after_s * 1000)
            with unavailable_if_away(self._settings):
                earliest = self._columns.consumer.beginning_offsets([tp], timeout_ms=timeout_ms)[tp]
            if wanted < earliest:
                raise OffsetsExpired(tp.topic, tp.partition, wanted, earliest) from error
            raise LookupError(
                f"{tp.topic}/{tp.partition}: offset {wanted} lies beyond the end of the log: the topic was made anew "
                "or truncated since; set the group's offsets back to start over"
            ) from error


def _cut(records: Records, start: int, end: int | None) -> Records:
    piece = slice(start, end)
    headers = None if records.headers is None else records.headers[piece]
    return Records(
        records.keys[piece], records.values[piece], records.offsets[piece], records.timestamps_ms[piece], headers
    )
