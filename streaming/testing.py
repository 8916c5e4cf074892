"""A log in memory that behaves as Kafka does where it matters, for tests without a broker.

    log = MemoryLog()
    log.create("match.events", partitions=2)
    log.append("match.events", Records.of([b"m1"], [b"..."]))
    source = MemorySource(log, "match.events", group="g")
    sink = MemorySink(log, "g-0", group="g", source_topic="match.events")

Offsets, transactions, markers that take an offset of their own, fencing, expired offsets and outages are as in Kafka:
both pass tests/streaming/test_transport.py. It lives in one process; its sources and sinks may be pickled within it.
"""
# ruff: noqa: SLF001 - source, reader and sink are the log's friends

from __future__ import annotations

import copy
import itertools
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from streaming.changelog import Lanes, lanes_of
from streaming.codec import Decoder, frame_prefix
from streaming.kafka.limits import fitting
from streaming.kafka.partitioning import Partitioner
from streaming.kafka.settings import MAX_RECORD_BYTES
from streaming.records import Header, OffsetRange, Records
from streaming.state import StateTable
from streaming.transport import (
    CommitRefused,
    Fenced,
    Fetched,
    Moved,
    NoLongerOwned,
    OffsetsExpired,
    Output,
    TransportUnavailable,
    oldest_first,
)

_LOGS: weakref.WeakValueDictionary[int, MemoryLog] = weakref.WeakValueDictionary()
_NUMBERS = itertools.count()

AFTER_COMMIT = 6  # for `MemoryLog.fail_at`: the commit goes through, only its answer is lost


@dataclass(slots=True)
class _Entry:
    """One offset of a partition. Markers and aborted records are there and are never seen."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Sequence[Header] = ()
    visible: bool = True


@dataclass(slots=True)
class _Partition:
    entries: list[_Entry] = field(default_factory=list)
    start: int = 0  # the earliest offset still on the log
    end: int = 0

    def add(
        self, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Sequence[Header], visible: bool
    ) -> None:
        self.entries.append(_Entry(self.end, key, value, timestamp_ms, headers, visible))
        self.end += 1

    def add_marker(self) -> None:
        self.add(None, None, 0, (), visible=False)

    def between(self, start: int, end: int) -> list[_Entry]:
        first = self.entries[0].offset if self.entries else self.end
        return [entry for entry in self.entries[max(start - first, 0) : max(end - first, 0)] if entry.visible]


class ManualClock:
    """A clock that only moves when told to."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        return self._now_ms

    def advance(self, milliseconds: int) -> None:
        """Let this much time pass."""
        if milliseconds < 0:
            raise ValueError(f"time does not run backwards: {milliseconds} ms")
        self._now_ms += milliseconds


class MemoryLog:
    """Topics, groups and transactions in memory. Safe for threads."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self._clock = clock
        self._topics: dict[str, list[_Partition]] = {}
        self._offsets: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
        self._epochs: dict[str, int] = defaultdict(int)
        self._groups: dict[tuple[str, str], dict[int, set[int]]] = defaultdict(dict)  # member to what it owns
        self._partitioner = Partitioner()
        self._changed = threading.Condition(threading.RLock())
        self._away = False
        self._fail_at: int | None = None
        self._number = next(_NUMBERS)
        _LOGS[self._number] = self

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return _log_numbered, (self._number,)

    def create(self, topic: str, partitions: int = 4) -> None:
        """Create a topic; creating it again is an error."""
        with self._changed:
            if topic in self._topics:
                raise ValueError(f"there is a topic {topic} already")
            self._topics[topic] = [_Partition() for _ in range(partitions)]

    def append(self, topic: str, records: Records, partition: int | None = None, aborted: bool = False) -> None:
        """Write records as any producer would; `aborted` writes them in a transaction that is then aborted."""
        with self._changed:
            for touched in self._write(Output(topic, records, partition), visible=not aborted):
                if aborted:
                    touched.add_marker()
            self._changed.notify_all()

    def records(self, topic: str, partition: int) -> Records:
        """Every committed record that is still on the partition."""
        with self._changed:
            log = self._partition(topic, partition)
            return _columns(log.between(log.start, log.end))

    def partition_count(self, topic: str) -> int:
        """How many partitions the topic has; LookupError without such a topic."""
        with self._changed:
            if topic not in self._topics:
                raise LookupError(f"there is no topic {topic}")
            return len(self._topics[topic])

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Delete what lies before this offset, as retention does."""
        with self._changed:
            log = self._partition(topic, partition)
            log.start = max(log.start, min(before, log.end))
            log.entries = [entry for entry in log.entries if entry.offset >= log.start]

    @contextmanager
    def unavailable(self) -> Iterator[None]:
        """Within this block nobody reaches the log."""
        self._set_away(True)
        try:
            yield
        finally:
            self._set_away(False)

    def fail_at(self, step: int) -> None:
        """Cut the next commit's connection at this step: 1 to 5 as in `Sink.commit`, or `AFTER_COMMIT`."""
        with self._changed:
            self._fail_at = step

    def evict(self, member: MemoryMember) -> None:
        """Let the group take this member for dead, as it does one that is silent for too long."""
        with self._changed:
            self._groups[member._group].pop(member._number, None)
            self._changed.notify_all()

    def _set_away(self, away: bool) -> None:
        with self._changed:
            self._away = away
            self._changed.notify_all()

    def _require_reachable(self) -> None:
        if self._away:
            raise TransportUnavailable("the log in memory is away")

    def _require_owner(self, group: tuple[str, str], member: int, partitions: Iterable[int]) -> None:
        gone = set(partitions) - self._groups[group].get(member, set())
        if gone:
            raise NoLongerOwned(f"the group has given {sorted(gone)} to another member")

    def _partition(self, topic: str, partition: int) -> _Partition:
        if not 0 <= partition < self.partition_count(topic):
            raise LookupError(
                f"{topic} has {self.partition_count(topic)} partitions, so there is no partition {partition}"
            )
        return self._topics[topic][partition]

    def _write(self, output: Output, visible: bool = True) -> list[_Partition]:
        records, count = output.records, self.partition_count(output.topic)
        wanted = output.partition_of(count)
        if wanted is None:
            assigned = self._partitioner.partitions(records.keys, count).tolist()
        else:
            self._partition(output.topic, wanted)
            assigned = [wanted] * len(records)
        now_ms = self._clock.now_ms() if self._clock is not None else int(time.time() * 1000)
        for row, (key, value) in enumerate(zip(records.keys.to_pylist(), records.values.to_pylist(), strict=True)):
            headers = () if records.headers is None else records.headers[row]
            timestamp_ms = int(records.timestamps_ms[row])
            self._topics[output.topic][assigned[row]].add(
                key, value, timestamp_ms if timestamp_ms > 0 else now_ms, headers, visible
            )
        return [self._topics[output.topic][partition] for partition in sorted(set(assigned))]

    def _reaches_step(self, step: int) -> None:
        if self._fail_at == step:
            self._fail_at = None
            raise TransportUnavailable(f"the log in memory went away at step {step}")


class MemorySource:
    """`Source` over a `MemoryLog`."""

    def __init__(self, log: MemoryLog, topic: str, group: str) -> None:
        self._log, self._topic, self._group = log, topic, group

    @property
    def topic(self) -> str:
        """Its name."""
        return self._topic

    def partitions(self) -> list[int]:
        """Every partition of the topic, ascending."""
        with self._log._changed:
            self._log._require_reachable()
            return list(range(self._log.partition_count(self._topic)))

    def committed(self) -> dict[int, int]:
        """The next unread offset of every partition: the group's, or the earliest where it has none."""
        with self._log._changed:
            begins = {p: self._log._partition(self._topic, p).start for p in self.partitions()}
            return begins | self._log._offsets[self._group, self._topic]

    def end_offsets(self) -> dict[int, int]:
        """One past the last committed record (or marker) of every partition."""
        with self._log._changed:
            return {p: self._log._partition(self._topic, p).end for p in self.partitions()}

    def open(self, start: Mapping[int, int], gather_s: float = 0.0) -> MemoryReader:
        """A reader of the partitions in `start`, each from the offset given; it holds nothing back."""
        return MemoryReader(self._log, self._topic, start)

    def join(self) -> MemoryMember:
        """A new member of the group."""
        return MemoryMember(self._log, self._topic, self._group)

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryReader:
    """`Reader` over a `MemoryLog`."""

    def __init__(self, log: MemoryLog, topic: str, start: Mapping[int, int]) -> None:
        self._log, self._topic, self._next = log, topic, dict(start)
        self._turn = deque(start)

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        """The next records of one partition; an empty range over markers when nothing else came in time."""
        if max_records < 1:
            raise ValueError(f"max_records is {max_records}, but must be at least 1")
        deadline = time.monotonic() + timeout_s
        with self._log._changed:
            while True:
                self._log._require_reachable()
                ready = {p: fetched for p in self._turn if (fetched := self._fetch(p, max_records))}
                left_s = deadline - time.monotonic()
                if left_s > 0 and not any(len(fetched.records) for fetched in ready.values()):
                    self._log._changed.wait(left_s)
                    continue
                if not ready:
                    return None
                fetched = self._oldest(ready)
                partition = fetched.range.partition
                self._turn.remove(partition)
                self._turn.append(partition)
                self._next[partition] = fetched.range.end
                return fetched

    def read(self, wanted: OffsetRange) -> Records:
        """Exactly the records of `wanted`, again."""
        with self._log._changed:
            self._log._require_reachable()
            log = self._require_on_log(wanted.partition, wanted.start)
            if wanted.end > log.end:
                raise LookupError(f"{self._topic}/{wanted.partition} ends at {log.end}, before {wanted.end}")
            return _columns(log.between(wanted.start, wanted.end))

    def seek(self, partition: int, offset: int) -> None:
        """Let the next `poll` of this partition start at `offset`."""
        self._next[partition] = offset

    def close(self) -> None:
        """Nothing to let go of."""

    def _add(self, partition: int, offset: int) -> None:
        self._next[partition] = offset
        self._turn.append(partition)

    def _remove(self, partition: int) -> None:
        if self._next.pop(partition, None) is not None:
            self._turn.remove(partition)

    def _oldest(self, ready: Mapping[int, Fetched]) -> Fetched:
        """What may be served of the partition whose next record is the oldest; of none that has any: the first."""
        times_ms = {p: fetched.records.timestamps_ms for p, fetched in ready.items() if len(fetched.records)}
        if not times_ms:
            return next(iter(ready.values()))
        first, until_ms = oldest_first({p: int(times[0]) for p, times in times_ms.items()})
        ahead = np.flatnonzero(times_ms[first] > until_ms)
        cut = self._fetch(first, int(ahead[0])) if len(ahead) else ready[first]
        assert cut is not None
        return cut

    def _fetch(self, partition: int, max_records: int) -> Fetched | None:
        start = self._next[partition]
        log = self._require_on_log(partition, start)
        found = log.between(start, log.end)
        end = found[max_records].offset if len(found) > max_records else log.end
        return Fetched(OffsetRange(partition, start, end), _columns(found[:max_records])) if end > start else None

    def _require_on_log(self, partition: int, offset: int) -> _Partition:
        log = self._log._partition(self._topic, partition)
        if offset < log.start:
            raise OffsetsExpired(self._topic, partition, offset, log.start)
        if offset > log.end:
            raise LookupError(f"{self._topic}/{partition}: offset {offset} lies beyond the end of the log")
        return log


class MemoryMember:
    """`Member` over a `MemoryLog`. With every poll a member gives what others should have, and takes what is free."""

    def __init__(self, log: MemoryLog, topic: str, group: str) -> None:
        self._log, self._topic, self._group = log, topic, (group, topic)
        self._number = next(_NUMBERS)
        self._reader = MemoryReader(log, topic, {})
        self._given: set[int] = set()
        self._taken: set[int] = set()
        self._owned: set[int] = set()

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        """The next records of one partition that was begun."""
        with self._log._changed:
            self._log._require_reachable()
            self._move()
        return self._reader.poll(0.0 if self._given or self._taken else timeout_s, max_records)

    def is_moving(self) -> bool:
        """Whether the next `poll` may move partitions."""
        with self._log._changed:
            given, free, _ = self._shares()
        return bool(given or free)

    def moved(self) -> Moved:
        """What has moved since the last call."""
        moved = Moved(tuple(sorted(self._given)), tuple(sorted(self._taken)))
        self._given, self._taken = set(), set()
        return moved

    def begin(self, partition: int) -> int:
        """Read a partition that was taken; from where."""
        offset = MemorySource(self._log, self._topic, self._group[0]).committed()[partition]
        self._reader._add(partition, offset)
        return offset

    def read(self, wanted: OffsetRange) -> Records:
        """Exactly the records of `wanted`, again."""
        return self._reader.read(wanted)

    def identity(self) -> int:
        """The member's number."""
        return self._number

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Leave offsets with the group."""
        with self._log._changed:
            self._log._require_reachable()
            self._log._require_owner(self._group, self._number, offsets)
            self._log._offsets[self._group].update(offsets)

    def close(self) -> None:
        """Leave the group."""
        self._log.evict(self)

    def _move(self) -> None:
        given, free, owned = self._shares()
        for partition in given:
            self._reader._remove(partition)
        self._given |= given - self._taken
        self._taken = (self._taken - given) | free
        self._owned = self._log._groups[self._group][self._number] = owned

    def _shares(self) -> tuple[set[int], set[int], set[int]]:
        """What goes, what comes, and what is ours then."""
        group = self._log._groups[self._group]
        owned = group.setdefault(self._number, set())
        lost = self._owned - owned
        share = sorted(group).index(self._number)
        target = {p for p in range(self._log.partition_count(self._topic)) if p % len(group) == share}
        free = target - set().union(*group.values())
        return lost | (owned - target), free, (owned & target) | free


class MemorySink:
    """`Sink` over a `MemoryLog`."""

    def __init__(
        self,
        log: MemoryLog,
        transactional_id: str,
        group: str,
        source_topic: str,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._log, self._id, self._max_record_bytes = log, transactional_id, max_record_bytes
        self._group, self._source_topic = group, source_topic
        self._epoch = 0
        self._doubt: dict[int, int] | None = None  # the offsets of a commit whose answer was lost

    @property
    def transactional(self) -> bool:
        """Offsets go with what is written."""
        return True

    def open(self) -> None:
        """Fence older instances."""
        with self._log._changed:
            self._log._require_reachable()
            self._log._epochs[self._id] += 1
            self._epoch = self._log._epochs[self._id]
            self._doubt = None

    def commit(
        self,
        *,
        answers: Sequence[Output],
        dead_letters: Sequence[Output],
        state: Sequence[Output],
        offsets: Mapping[int, int],
        member: object = None,
    ) -> None:
        """One transaction: all of it or nothing becomes visible."""
        log = self._log
        dead_letters = fitting(answers, dead_letters, state, self._max_record_bytes)
        with log._changed:
            log._require_reachable()
            if self._epoch == 0:
                raise RuntimeError("open the sink before committing")
            if log._epochs[self._id] != self._epoch:
                raise Fenced(
                    f"another instance with the transactional id {self._id} has taken over: this one must stop"
                )
            if isinstance(member, int):
                log._require_owner((self._group, self._source_topic), member, offsets)
            if self._doubt is not None:
                if self._doubt != dict(offsets):
                    raise RuntimeError("the last commit went through after all, but this one is another")
                self._doubt = None
                return
            for step, outputs in enumerate((answers, dead_letters, state), 1):  # (1) (2) (3)
                log._reaches_step(step)
                self._check(outputs)
            log._reaches_step(4)
            for partition in offsets:
                log._partition(self._source_topic, partition)
            log._reaches_step(5)
            touched = [part for output in (*answers, *dead_letters, *state) for part in log._write(output)]
            for part in {id(part): part for part in touched}.values():
                part.add_marker()
            log._offsets[self._group, self._source_topic].update(offsets)  # (4)
            log._changed.notify_all()  # (5)
            try:
                log._reaches_step(AFTER_COMMIT)
            except TransportUnavailable:
                self._doubt = dict(offsets)
                raise

    def close(self) -> None:
        """Nothing to let go of."""

    def _check(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            try:
                count = self._log.partition_count(output.topic)
            except LookupError as error:
                raise CommitRefused(str(error)) from error
            if output.partition is not None and not 0 <= output.partition < count:
                raise CommitRefused(
                    f"{output.topic} has {count} partitions, so there is no partition {output.partition}"
                )


def _columns(entries: Sequence[_Entry]) -> Records:
    return Records.of(
        [entry.key for entry in entries],
        [entry.value for entry in entries],
        np.array([entry.offset for entry in entries], np.int64),
        np.array([entry.timestamp_ms for entry in entries], np.int64),
        [list(entry.headers) for entry in entries] if any(entry.headers for entry in entries) else None,
    )


def _log_numbered(number: int) -> MemoryLog:
    try:
        return _LOGS[number]
    except KeyError:
        raise LookupError("a MemoryLog lives in one process, and this is another one (or it is gone)") from None


class Changelog:
    """The changelog of one state table, compacted: the last row of every key, by partition."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, bytes]] = defaultdict(dict)

    def drain(self, table: StateTable) -> None:
        """Take what changed."""
        for partition, (changed, rows, deleted) in table.drain_by_partition().items():
            self._rows[partition] |= zip(changed, rows, strict=True)
            for key in deleted:
                self._rows[partition].pop(key, None)

    def restore(self, table: StateTable) -> None:
        """Give everything back to a table.

        Raises ValueError if it is of another layout.
        """
        for partition, rows in sorted(self._rows.items()):
            if rows:
                table.restore(_decoded(table, rows.values()), partition)

    def rows(self, table: StateTable) -> pl.DataFrame:
        """All rows, decoded by the table's schema, sorted by key.

        Raises ValueError if they are of another layout.
        """
        every = [row for rows in self._rows.values() for row in rows.values()]
        return _decoded(table, every).sort("key")


def lanes(parts: Sequence[Records], owners: Collection[int] | None = None) -> Lanes:
    """A changelog whose partitions hold these records, in this order, or what there is of these owners."""
    wanted = range(len(parts)) if owners is None else lanes_of(owners, len(parts))
    return Lanes(len(parts), [Fetched(OffsetRange(p, 0, len(parts[p])), parts[p]) for p in wanted])


def _decoded(table: StateTable, rows: Iterable[bytes]) -> pl.DataFrame:
    values = [frame_prefix(table.schema_id) + row for row in rows]
    decoder = Decoder(table.schema, {table.schema_id: table.schema})
    decoded = decoder.decode(Records.of([None] * len(values), values))
    if decoded.bad:
        raise ValueError(f"state {table.name}: {decoded.bad[0].message}")
    return decoded.frame


def drained(table: StateTable) -> pl.DataFrame:
    """The rows of a `drain`, decoded."""
    log = Changelog()
    log.drain(table)
    return log.rows(table)


def every_row(table: StateTable) -> pl.DataFrame:
    """Every row of a state table, sorted by key, as `drained` would hand it out; the table stays as it is."""
    twin = copy.deepcopy(table)
    twin.touch(twin.keys())
    return drained(twin)
