"""Transactions on kafka-python's producer, one after the other. As `producing`, it leans on private names of
kafka-python 3.0.12 (pinned); the transaction protocol stays kafka-python's."""
# ruff: noqa: SLF001

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import CommitFailedError, InvalidProducerEpochError, KafkaError, ProducerFencedError

from streaming.kafka.clients import away, marks_of
from streaming.kafka.denied import DENIALS, access_denied
from streaming.kafka.producing import BatchProducer, records_for
from streaming.kafka.settings import KafkaSettings
from streaming.transport import Fenced, NoLongerOwned

_TRANSACTION_TIMEOUT_MS = 60_000  # a transaction left open this long by a dead instance is aborted by the broker
_OFFSETS = "the offsets"


class TransactionalProducer(BatchProducer):
    """What is appended between `begin` and `commit` becomes visible together, or not at all.

    Opening fences every older producer with this transactional id and ends what it left unfinished.
    """

    def __init__(self, settings: KafkaSettings, transactional_id: str, timeout_s: float) -> None:
        super().__init__(
            settings, timeout_s, transactional_id=transactional_id, transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS
        )
        self._id = transactional_id
        self._manager = self._producer._transaction_manager
        self._group: Any = ""
        self._offsets: Any = None  # what will come of them
        try:
            self._finish(self._manager.initialize_transactions(), "the start of transactions")
        except BaseException:
            self.discard()
            raise

    def begin(self) -> None:
        """Begin a transaction; all of it has to be done within the time limit."""
        super().begin()
        self._offsets = None
        with self._explaining("a new transaction"):
            self._manager.begin_transaction()

    def send_offsets(self, group: Any, topic: str, offsets: Mapping[int, int], note: str) -> None:
        """Make the group's offsets of `topic` part of the transaction; `note` is kept with them. `group` is its name,
        or the metadata of a member, which must be one still (KIP-447)."""
        self._group = group
        with self._explaining(_OFFSETS):
            self._offsets = self._manager.send_offsets_to_transaction(marks_of(topic, offsets, note), group)

    def commit(self) -> None:
        """Send the records and the offsets, and end the transaction. When this raises `TransportUnavailable`, it may or
        may not have been committed.

        kafka-python's sender takes one step after the other, and ends nothing before every record is acknowledged; to
        wait for each step here would cost a change of threads for each.
        """
        with self._explaining("the commit"):
            ended = self._manager.begin_commit()
        try:
            self._finish(ended, "the commit")
        except Exception:
            self._blame()
            raise

    def abort(self) -> None:
        """End the transaction as if it had never begun."""
        with self._explaining("the abort"):
            result = self._manager.begin_abort()
        self._finish(result, "the abort")
        # kafka-python 3.0.12 would send refused offsets with the next transaction, which would commit them.
        self._manager._pending_txn_offset_commits.clear()

    def _join(self, where: TopicPartition) -> None:
        with self._explaining(records_for(where)):
            self._manager.maybe_add_partition_to_transaction(where)

    def _blame(self) -> None:
        """A commit has failed: raise what failed within it, where that is known. Offsets are refused after partitions
        and before records are; whatever comes after what was refused fails as well."""
        wheres = [batch.topic_partition for batch in self._unacknowledged]
        offsets = self._offsets
        if offsets is not None and offsets.failed and all(map(self._manager.is_partition_added, wheres)):
            raise self._told(offsets.exception, _OFFSETS) from offsets.exception
        for batch in self._unacknowledged:
            self._raise_refusal(batch)

    def _finish(self, result: Any, what: str) -> None:
        self._producer._sender.wakeup()
        with self._explaining(what):
            if not result.wait(timeout_ms=max(0.0, self._deadline - time.monotonic()) * 1000):
                raise away(self._settings, f"{what} took more than {self._timeout_s:g} s")

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
        return super()._told(cause, what)
