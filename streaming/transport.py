"""The seam to a log: what a runner asks of Kafka, and of the in-memory log in `streaming.testing`.

Every member obeys one contract suite (tests/streaming/test_transport.py). Sources and sinks are small and picklable
until opened: a read task opens its own reader on the node where it runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from streaming.records import OffsetRange, Records

TOGETHER_MS = 5_000
"""So far in record time one partition may be read ahead of the others."""


def oldest_first(next_ms: Mapping[int, int]) -> tuple[int, float]:
    """Of the partitions that have records, by the record time of their next one: whose turn it is, and up to which
    record time it may be served. On a tie the first named."""
    first = min(next_ms, key=next_ms.__getitem__)
    return first, min((at for p, at in next_ms.items() if p != first), default=math.inf) + TOGETHER_MS


class Fetched(NamedTuple):
    """Records of one contiguous range of one partition; an empty range means that nothing came in time."""

    range: OffsetRange
    records: Records


class Reader(Protocol):
    """An open reader over fixed partitions. Only committed records are ever seen. Not thread-safe."""

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        """The next records of the partition whose next record is the oldest, by record time; None on time-out.

        No partition is read further ahead of another that has records too than `TOGETHER_MS`: what depends on several
        finds them at about the same time, in a backlog as well. There the others wait for one that has none at hand,
        until the log has said that it has none, or for a second. The range starts where the last one of that partition
        ended. Raises `TransportUnavailable` while the log cannot be reached, `OffsetsExpired` when the position is no
        longer on it, and `LogCorrupt` when the bytes there are no records: this time and every time, until the position
        is set past them.
        """

    def read(self, wanted: OffsetRange) -> Records:
        """Exactly the records of this range, again; does not move the position of `poll`."""

    def seek(self, partition: int, offset: int) -> None:
        """Let the next `poll` of this partition start at `offset`."""

    def close(self) -> None:
        """Let go of connections. Closing twice is allowed."""


class Moved(NamedTuple):
    """How the partitions of a member have changed."""

    given: tuple[int, ...]  # no longer its own: revoked, or lost
    taken: tuple[int, ...]  # its own from now on, and read as soon as it says `begin`


class Member(Protocol):
    """A reader that belongs to a consumer group: which partitions it reads is the group's decision. Cooperative: while
    one partition moves, the others are read on. Not thread-safe."""

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        """As `Reader.poll`, of the partitions that it has begun. Every call may move partitions: ask `moved` before
        anything is done with what comes."""

    def moved(self) -> Moved:
        """What has moved since the last call."""

    def is_moving(self) -> bool:
        """Whether the next `poll` may move partitions: what is under way for them is better ended before."""

    def begin(self, partition: int) -> int:
        """Read a partition that was taken, from the group's offset on, or from the earliest; that offset. Waits for a
        transaction that is about to change it."""

    def read(self, wanted: OffsetRange) -> Records:
        """As `Reader.read`."""

    def identity(self) -> object:
        """For `Sink.commit`: who commits. After a partition has moved on, commits for it are refused."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Leave the next unread offsets with the group, outside of transactions. Raises `NoLongerOwned` when it has
        given the partitions to another member."""

    def close(self) -> None:
        """Leave the group, so that others take over at once. Closing twice is allowed."""


class Source(Protocol):
    """Where a pipeline reads: one topic, for one consumer group. Picklable."""

    @property
    def topic(self) -> str:
        """Name of the topic."""

    def partitions(self) -> Sequence[int]:
        """Numbers of the topic's partitions, rising."""

    def committed(self) -> Mapping[int, int]:
        """The next unread offset of every partition: the group's, or the earliest where it has none."""

    def end_offsets(self) -> Mapping[int, int]:
        """One past the last committed record of every partition."""

    def open(self, start: Mapping[int, int], gather_s: float = 0.0) -> Reader:
        """A reader of the partitions in `start`, each from the offset given. Its `poll` may hold records back for
        `gather_s`, so that more come at once."""

    def close(self) -> None:
        """Let go of connections that the questions above opened; readers are closed apart. The next question opens
        them anew."""


class GroupSource(Source, Protocol):
    """A source whose group shares the partitions out among its members."""

    def join(self) -> Member:
        """A new member of the group."""


@dataclass(frozen=True, slots=True)
class Output:
    """Records for one topic. Without a partition, each record's partition follows from its key, as Kafka's default
    partitioner has it (murmur2), so that any producer agrees. A `lane` is a partition of a topic that may have fewer:
    it is counted around."""

    topic: str
    records: Records
    partition: int | None = None
    lane: int | None = None

    def partition_of(self, count: int) -> int | None:
        """Where it goes in a topic of so many partitions; None if keys decide."""
        return self.partition if self.lane is None else self.lane % count


class Sink(Protocol):
    """Where a pipeline writes, exactly once where it is `transactional`: one per pipeline and partition group, and
    opening a second one with the same transactional id fences the first. Else at least once: the steps of a commit
    become visible one after another, and nobody is fenced."""

    @property
    def transactional(self) -> bool:
        """Whether offsets go with what is written; else the reader, where it is a `Member`, leaves them afterwards."""

    def open(self) -> None:
        """Connect, fence older instances and abort what they left unfinished."""

    def commit(
        self,
        *,
        answers: Sequence[Output],
        dead_letters: Sequence[Output],
        state: Sequence[Output],
        offsets: Mapping[int, int],
        member: object = None,
    ) -> None:
        """One transaction, in this order: (1) answers, (2) dead letters, (3) state changelog, (4) source offsets
        (next unread, per partition) for the source's group, (5) commit. All of it or nothing becomes visible.

        A dead letter too large for its topic is cut, and says so in its headers. `member` is the `Member.identity` of
        the reader, where there is a group of them.

        Raises `Fenced` when another instance took over (stop at once), `CommitRefused` when the log will not take these
        records (no such topic, an answer or a state row too large: nothing is visible, and trying again does not help),
        `AccessDenied` when it does not let us (as little helps), and `TransportUnavailable` when the log is away: then
        nothing is visible, the sink has been reset and the same commit may be tried
        again. Raises `NoLongerOwned` when the group has given the partitions to another member.
        """

    def close(self) -> None:
        """Abort what is open and disconnect. Closing twice is allowed."""


class TransportUnavailable(ConnectionError):
    """The log cannot be reached now; waiting may help."""


class OffsetsExpired(LookupError):
    """The wanted offset is no longer on the log: records were deleted before they were read."""

    def __init__(self, topic: str, partition: int, wanted: int, earliest: int) -> None:
        super().__init__(
            f"{topic}/{partition}: offset {wanted} is gone, the log now starts at {earliest}: "
            f"{earliest - wanted} positions were deleted unread; longer retention prevents it"
        )
        self.topic, self.partition, self.wanted, self.earliest = topic, partition, wanted, earliest

    def __reduce__(self) -> tuple[type[OffsetsExpired], tuple[str, int, int, int]]:
        return type(self), (self.topic, self.partition, self.wanted, self.earliest)


class LogCorrupt(RuntimeError):
    """A batch of records that nobody can read: its checksum, its compression or its lengths are wrong."""

    def __init__(self, topic: str, partition: int, start: int, end: int, reason: str) -> None:
        super().__init__(
            f"{topic}/{partition}: the batch at offset {start} cannot be read ({reason}); to go on without it, set the "
            f"group's offset of this partition to {end}"
        )
        self.topic, self.partition, self.start, self.end, self.reason = topic, partition, start, end, reason

    def __reduce__(self) -> tuple[type[LogCorrupt], tuple[str, int, int, int, str]]:
        return type(self), (self.topic, self.partition, self.start, self.end, self.reason)


class CommitRefused(RuntimeError):
    """The log answers, and will not take these records: trying again does not help."""


class NoLongerOwned(RuntimeError):
    """The group has let go of this member, or of these partitions: another one reads on from the last commit."""


class AccessDenied(RuntimeError):
    """The log answers, and does not let us in or do this: the message names the setting or the right that is missing.
    Trying again does not help before someone has changed that."""


class Fenced(RuntimeError):
    """A newer instance with the same transactional id has taken over; this one must stop."""
