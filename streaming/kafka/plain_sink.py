"""Writing at least once: answers first, then state, then offsets, each acknowledged before the next.

Cheaper than a transaction, and seen sooner: three waits on the log for five, and no reader holds answers back. The
price comes with a crash or a takeover. What was written, but not marked as done, is done again: answers come twice, the
second time with the same source partition and offset, by which a reader knows them. State is never behind the offsets,
so no event is lost; it may be ahead of them, and sees those events again (win prediction knows them as repeated, and
answers them no second time). Nobody is fenced: an instance that was taken for dead may still write what it had begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streaming.kafka.clients import marks_of, open_consumer, unavailable_if_away
from streaming.kafka.limits import fitting
from streaming.kafka.partitioning import Partitioner
from streaming.kafka.producing import BatchProducer, append_outputs
from streaming.kafka.settings import KafkaSettings
from streaming.transport import Fenced, Output, TransportUnavailable

_COMMIT_TIMEOUT_S = 10.0


class KafkaPlainSink:
    """`Sink` without transactions, for one consumer group of one source topic. Picklable until opened."""

    def __init__(
        self, settings: KafkaSettings, group: str, source_topic: str, commit_timeout_s: float = _COMMIT_TIMEOUT_S
    ) -> None:
        self._settings, self._group, self._source_topic = settings, group, source_topic
        self._commit_timeout_s = commit_timeout_s
        self._partitioner = Partitioner()
        self._producer: BatchProducer | None = None
        self._offsets: Any = None  # a consumer that leaves them; opened where there is no member to do it

    @property
    def transactional(self) -> bool:
        """Offsets come after what is written."""
        return False

    def open(self) -> None:
        """Connect."""
        self.close()
        self._producer = BatchProducer(self._settings, self._commit_timeout_s)

    def commit(
        self,
        *,
        answers: Sequence[Output],
        dead_letters: Sequence[Output],
        state: Sequence[Output],
        offsets: Mapping[int, int],
        member: object = None,
    ) -> None:
        """Write in the order of the numbers below; offsets only where there is no `member` to leave them.

        Raises:
            TransportUnavailable: the cluster is away; what has arrived is visible. Try the same commit again.
            AccessDenied: a right is missing, or we are not let in any more.
            CommitRefused: the cluster will not take it (a topic is missing), or an answer or a state row is above
                `max_record_bytes`: then nothing was written.
        """
        dead_letters = fitting(answers, dead_letters, state, self._settings.max_record_bytes)
        try:
            if self._producer is None:
                self._producer = BatchProducer(self._settings, self._commit_timeout_s)
            self._producer.begin()
            append_outputs(self._producer, (*answers, *dead_letters), self._partitioner)  # (1, 2)
            self._producer.flush()
            append_outputs(self._producer, state, self._partitioner)  # (3)
            self._producer.flush()
            if member is None:
                self._leave(offsets)  # (4)
        except (Fenced, TransportUnavailable):
            self.close()
            raise

    def close(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            self._producer.discard()
        if self._offsets is not None:
            self._offsets.close()
        self._producer = self._offsets = None

    def __getstate__(self) -> tuple[KafkaSettings, str, str, float]:
        if self._producer is not None:
            raise TypeError("an open sink cannot be pickled: it holds connections")
        return self._settings, self._group, self._source_topic, self._commit_timeout_s

    def __setstate__(self, state: tuple[KafkaSettings, str, str, float]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _leave(self, offsets: Mapping[int, int]) -> None:
        if not offsets:
            return
        if self._offsets is None:
            self._offsets = open_consumer(self._settings, self._group)
        marks = marks_of(self._source_topic, offsets)
        with unavailable_if_away(self._settings, "Read", self._group):
            self._offsets.commit(marks, timeout_ms=round(self._commit_timeout_s * 1000))
