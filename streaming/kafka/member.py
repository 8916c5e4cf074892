"""A member of a consumer group: partitions come and go by the group's cooperative rebalancing (KIP-429).

kafka-python moves partitions within `poll`, in a thread of its own, while the caller waits. What it says there is only
noted; the caller asks for it afterwards, and so never does two things at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import CommitFailedError, NoOffsetForPartitionError

from streaming.kafka.clients import is_reachable, marks_of, open_member, unavailable_if_away
from streaming.kafka.fetching import ColumnReader
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaReader
from streaming.records import OffsetRange, Records
from streaming.transport import Fetched, Moved, NoLongerOwned, TransportUnavailable

SESSION_S = 6.0
"""A member that is silent so long is dead: the shortest that brokers allow by default."""
LONGEST_PAUSE_S = 60.0


class KafkaMember:
    """`Member` of one topic's group. Joins with its first `poll`."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str) -> None:
        self._settings, self._topic = settings, topic
        self._consumer = open_member(settings, group, SESSION_S, LONGEST_PAUSE_S)
        self._reader = KafkaReader(settings, topic, ColumnReader(self._consumer))
        self._listener = _Listener(self._consumer)
        self._consumer.subscribe([topic], listener=self._listener)

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        """The next records of one partition that was begun. While the group moves partitions it takes longer than
        asked: kafka-python forgets an answer to its joining that comes between two polls, and joins again for ever."""
        coordinator = self._consumer._coordinator  # noqa: SLF001 - of kafka-python 3.0.12, pinned
        if coordinator.need_rejoin():
            coordinator.poll(timeout_ms=round(LONGEST_PAUSE_S * 1000))
        try:
            fetched = self._reader.poll(timeout_s, max_records)
        except TransportUnavailable:
            if not is_reachable(self._settings):
                raise
            return None  # no fetch was answered while partitions moved
        except NoOffsetForPartitionError:
            return None  # a partition came this instant, and was not held yet
        if fetched is not None and fetched.range.partition in self._listener.given:
            return None
        return fetched

    def is_moving(self) -> bool:
        """Whether the next `poll` will take part in moving partitions."""
        return bool(self._consumer._coordinator.need_rejoin())  # noqa: SLF001 - of kafka-python 3.0.12, pinned

    def moved(self) -> Moved:
        """What has moved since the last call."""
        moved = self._listener.take()
        for partition in moved.given:
            self._reader.remove(partition)
        return moved

    def begin(self, partition: int) -> int:
        """Read a partition that was taken; from where."""
        tp = TopicPartition(self._topic, partition)
        timeout_ms = round(self._settings.unavailable_after_s * 1000)
        with unavailable_if_away(self._settings):
            offset = self._consumer.committed(tp, timeout_ms=timeout_ms)
            if offset is None:
                offset = self._consumer.beginning_offsets([tp], timeout_ms=timeout_ms)[tp]
        self._reader.add(partition, int(offset))
        self._consumer.resume(tp)
        return int(offset)

    def read(self, wanted: OffsetRange) -> Records:
        """Exactly the records of `wanted`, again."""
        return self._reader.read(wanted)

    def identity(self) -> Any:
        """The member's id and generation, by which the group's coordinator knows one that is no longer a member."""
        return self._consumer.group_metadata()

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Leave offsets with the group; it refuses those of one that is no longer a member."""
        marks = marks_of(self._topic, offsets)
        with unavailable_if_away(self._settings):
            try:
                self._consumer.commit(marks, timeout_ms=round(self._settings.unavailable_after_s * 1000))
            except CommitFailedError as error:
                raise NoLongerOwned("the group has given the partitions to another member") from error

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close(timeout_ms=2000)
        self._reader.close()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Notes what moves. A partition that comes is held until it is begun: its state is not here yet."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._lock = threading.Lock()
        self.given: set[int] = set()
        self._taken: set[int] = set()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for tp in assigned:
            self._consumer.pause(tp)
            self._consumer.seek(tp, 0)  # some position, so that nobody asks for one
        with self._lock:
            self._taken |= {tp.partition for tp in assigned}

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        with self._lock:
            for tp in revoked:
                if tp.partition in self._taken:
                    self._taken.remove(tp.partition)  # came and went unseen
                else:
                    self.given.add(tp.partition)

    on_partitions_lost = on_partitions_revoked

    def take(self) -> Moved:
        with self._lock:
            moved = Moved(tuple(sorted(self.given)), tuple(sorted(self._taken)))
            self.given, self._taken = set(), set()
            return moved
