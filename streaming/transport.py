"""The seam to a log: what a runner asks of Kafka, and of the in-memory log in `streaming.testing`.

Every member obeys one contract suite (tests/streaming/test_transport.py). Sources and sinks are small and picklable
until opened: a read task opens its own reader on the node where it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from streaming.records import OffsetRange, Records


class Fetched(NamedTuple):
    """Records of one contiguous range of one partition; an empty range means that nothing came in time."""

    range: OffsetRange
    records: Records


class Reader(Protocol):
    """An open reader over fixed partitions. Only committed records are ever seen. Not thread-safe."""

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        """The next records of whichever assigned partition has some, oldest position first; None on time-out.

        The range starts where the last one of that partition ended. Raises `TransportUnavailable` while the log cannot
        be reached, and `OffsetsExpired` when the position is no longer on it.
        """

    def read(self, wanted: OffsetRange) -> Records:
        """Exactly the records of this range, again; does not move the position of `poll`."""

    def seek(self, partition: int, offset: int) -> None:
        """Let the next `poll` of this partition start at `offset`."""

    def pause(self, partitions: frozenset[int]) -> None:
        """From now on `poll` skips exactly these partitions (back-pressure)."""

    def close(self) -> None:
        """Let go of connections. Closing twice is allowed."""


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


@dataclass(frozen=True, slots=True)
class Output:
    """Records for one topic. Without a partition, each record's partition follows from its key, as Kafka's default
    partitioner has it (murmur2), so that any producer agrees."""

    topic: str
    records: Records
    partition: int | None = None


class Sink(Protocol):
    """Where a pipeline writes, exactly once. One per pipeline and partition group; opening a second one with the same
    transactional id fences the first."""

    def open(self) -> None:
        """Connect, fence older instances and abort what they left unfinished."""

    def commit(
        self,
        *,
        answers: Sequence[Output],
        dead_letters: Sequence[Output],
        state: Sequence[Output],
        offsets: Mapping[int, int],
    ) -> None:
        """One transaction, in this order: (1) answers, (2) dead letters, (3) state changelog, (4) source offsets
        (next unread, per partition) for the source's group, (5) commit. All of it or nothing becomes visible.

        Raises `Fenced` when another instance took over (stop at once) and `TransportUnavailable` when the log is away:
        then nothing is visible, the sink has been reset and the same commit may be tried again.
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


class Fenced(RuntimeError):
    """A newer instance with the same transactional id has taken over; this one must stop."""
