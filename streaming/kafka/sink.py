"""Writing exactly once: answers, dead letters, state and source offsets in one Kafka transaction."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kafka import TopicPartition

from streaming.kafka.clients import open_consumer, unavailable_if_away
from streaming.kafka.limits import fitting
from streaming.kafka.partitioning import Partitioner
from streaming.kafka.producing import append_outputs
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.transactions import TransactionalProducer
from streaming.transport import Fenced, Output, TransportUnavailable

_COMMIT_TIMEOUT_S = 10.0


def commits_group(transactional_id: str) -> str:
    """The group that a sink's commits without offsets leave their notes in."""
    return f"{transactional_id}.commits"


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A commit whose outcome is not known: the connection went while the broker was ending the transaction."""

    note: str
    group: str
    marks: Mapping[int, int]  # where the note was left
    offsets: Mapping[int, int]  # what was asked for


class KafkaSink:
    """Commits for one consumer group of one source topic, under one transactional id. Picklable until opened.

    After `TransportUnavailable` it opens a new producer with the next commit. Two dangers lie there, and both are met
    by the note, a random name that each commit leaves with its offsets. A commit that was cut off may have gone
    through: if its note is on the log, trying it again does nothing. And another instance may have taken over
    meanwhile: if the offsets carry a note that is not ours, this one is the zombie and says `Fenced`.

    With two `producers`, `TRANSACTIONAL_ID` and `TRANSACTIONAL_ID.2`, these take turns: a transaction may begin while
    the broker still writes the markers of the last one, which is decided. One producer would be told to wait for them,
    for as long as a commit takes (29 against 54 ms, back to back on a busy machine).
    """

    def __init__(
        self,
        settings: KafkaSettings,
        transactional_id: str,
        group: str,
        source_topic: str,
        commit_timeout_s: float = _COMMIT_TIMEOUT_S,
        producers: int = 1,
    ) -> None:
        self._ids = [transactional_id, *(f"{transactional_id}.{number}" for number in range(2, producers + 1))]
        self._settings, self._transactional_id = settings, transactional_id
        self._group, self._source_topic, self._commit_timeout_s = group, source_topic, commit_timeout_s
        self._partitioner = Partitioner()
        self._producers: deque[TransactionalProducer] = deque()  # whose turn it is first
        self._notes: dict[int, str] | None = None  # the note each source partition must carry; None until opened
        self._doubt: _Doubt | None = None

    @property
    def transactional(self) -> bool:
        """Offsets go with what is written."""
        return True

    def open(self) -> None:
        """Connect, fence older instances and abort what they left unfinished."""
        self.close()
        self._open_producers()
        self._notes = self._read_notes(self._group, range(self._producers[0].partitions(self._source_topic, "Read")))

    def commit(
        self,
        *,
        answers: Sequence[Output],
        dead_letters: Sequence[Output],
        state: Sequence[Output],
        offsets: Mapping[int, int],
        member: object = None,
    ) -> None:
        """One transaction, in the order of the numbers below; all of it or nothing becomes visible.

        Raises:
            Fenced: another instance took over; stop at once.
            NoLongerOwned: the group has given the partitions to another member.
            TransportUnavailable: the cluster is away. Try the same commit again; should this one have gone through
                after all, the next call notices and returns.
            AccessDenied: a right is missing, or we are not let in any more.
            CommitRefused: the cluster will not take it (a topic is missing), or an answer or a state row is above
                `max_record_bytes`.
        """
        dead_letters = fitting(answers, dead_letters, state, self._settings.max_record_bytes)
        if self._notes is None:
            raise RuntimeError("open the sink before committing")
        if not self._producers:
            self._recover(self._notes, offsets)
        if self._doubt is not None and self._is_through(self._doubt, offsets):
            return
        # Without offsets the note is left in a group of its own: it must be somewhere.
        group, marks = (self._group, offsets) if offsets else (commits_group(self._transactional_id), {0: 0})
        note = uuid.uuid4().hex
        producer = self._producers[0]
        self._producers.rotate()
        try:
            producer.begin()
            append_outputs(producer, answers, self._partitioner)  # (1)
            append_outputs(producer, dead_letters, self._partitioner)  # (2)
            append_outputs(producer, state, self._partitioner)  # (3)
            producer.send_offsets(group if member is None else member, self._source_topic, marks, note)  # (4)
            self._doubt = _Doubt(note, group, dict(marks), dict(offsets))
            producer.commit()  # (5)
        except (Fenced, TransportUnavailable):
            self._discard()
            raise
        except BaseException:
            self._abort(producer)
            raise
        self._doubt = None
        self._notes.update(dict.fromkeys(offsets, note))

    def close(self) -> None:
        """Disconnect. Nothing is lost: what was not committed is not visible."""
        self._discard()
        self._notes, self._doubt = None, None

    def __getstate__(self) -> tuple[KafkaSettings, str, str, str, float, int]:
        if self._producers:
            raise TypeError("an open sink cannot be pickled: it holds connections")
        own = (self._settings, self._transactional_id, self._group, self._source_topic)
        return *own, self._commit_timeout_s, len(self._ids)

    def __setstate__(self, state: tuple[KafkaSettings, str, str, str, float, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _open_producers(self) -> None:
        try:
            for name in self._ids:
                self._producers.append(TransactionalProducer(self._settings, name, self._commit_timeout_s))
        except BaseException:
            self._discard()
            raise

    def _recover(self, notes: Mapping[int, str], offsets: Mapping[int, int]) -> None:
        """Open a new producer in place of a discarded one, unless another instance has committed since."""
        expected = {partition: notes.get(partition, "") for partition in offsets}
        self._refuse_to_take_back(expected, isolation="read_uncommitted")  # a look before fencing anyone
        self._open_producers()
        try:
            self._refuse_to_take_back(expected, isolation="read_committed")
        except BaseException:
            self._discard()
            raise

    def _refuse_to_take_back(self, expected: Mapping[int, str], isolation: str) -> None:
        doubted = None if self._doubt is None else self._doubt.note
        for partition, note in self._read_notes(self._group, expected, isolation).items():
            if note not in (expected[partition], doubted):
                raise Fenced(
                    f"another instance has committed {self._source_topic}/{partition} for {self._group} while Kafka "
                    "was away from here: this one must stop"
                )

    def _is_through(self, doubt: _Doubt, offsets: Mapping[int, int]) -> bool:
        """Whether the commit in doubt went through, now that its transaction has ended one way or the other."""
        try:
            found = self._read_notes(doubt.group, doubt.marks)
        except BaseException:
            self._discard()
            raise
        self._doubt = None
        if any(note != doubt.note for note in found.values()):
            return False
        if self._notes is not None:
            self._notes.update(dict.fromkeys(doubt.offsets, doubt.note))
        if dict(offsets) != doubt.offsets:
            raise RuntimeError(
                "the last commit went through after all, but this one is another: go on from the committed offsets"
            )
        return True

    def _read_notes(self, group: str, partitions: Iterable[int], isolation: str = "read_committed") -> dict[int, str]:
        timeout_ms = round(self._commit_timeout_s * 1000)
        consumer = open_consumer(self._settings, group, isolation)
        try:
            with unavailable_if_away(self._settings, name=group):
                found = {}
                for partition in partitions:
                    tp = TopicPartition(self._source_topic, partition)
                    mark = consumer.committed(tp, metadata=True, timeout_ms=timeout_ms)
                    found[partition] = "" if mark is None else mark.metadata
                return found
        finally:
            consumer.close()

    def _abort(self, producer: TransactionalProducer) -> None:
        try:
            producer.abort()
        except Exception:  # the next producer's opening aborts it just as well
            self._discard()

    def _discard(self) -> None:
        while self._producers:
            self._producers.pop().discard()
