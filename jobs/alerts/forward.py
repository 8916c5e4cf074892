"""Follows store.alerts and hands each alert on; what was handed on, or given up, is committed one by one.

A crash between a delivery and its commit delivers it again, with the same id: at least once. What is given up goes to
`store.alerts.dead-letters` with the reason, in the step that commits it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from jobs.alerts.delivery import Outcome
from jobs.alerts.message import Message, message_of
from streaming.codec import Decoder
from streaming.kafka.dead_letters import dead_letter_output
from streaming.records import Records
from streaming.runners.progress import Progress
from streaming.topics import ALERT_WEBHOOK, STORE_ALERTS
from streaming.transport import Fetched, Output, Reader, Sink, Source, TransportUnavailable

_AT_ONCE = 100
_POLL_S = 0.5
_IDS_REMEMBERED = 10_000
_AWAY_S = 1.0


class Deliver(Protocol):
    """Whoever brings a message to its receiver: `jobs.alerts.delivery.Webhook`."""

    def deliver(self, message: Message) -> Outcome | None:
        """None where the run ended first."""


class Forwarder:
    """One run.

    Args:
        source: of store.alerts, for the group of this run.
        decoder: of its records.
        sink: takes dead letters, and the offsets of that group.
        webhook: where alerts go.
        progress: counts them.
        stopping: ends the run.
    """

    def __init__(
        self,
        source: Source,
        decoder: Decoder,
        sink: Sink,
        webhook: Deliver,
        progress: Progress,
        stopping: threading.Event,
    ) -> None:
        self._source, self._decoder, self._sink = source, decoder, sink
        self._webhook, self._progress, self._stopping = webhook, progress, stopping
        self._delivered: OrderedDict[str, None] = OrderedDict()

    def run(self) -> None:
        """Until it is told to stop. A broker that is away is waited for."""
        while not self._stopping.is_set():
            reader: Reader | None = None
            try:
                self._sink.open()
                reader = self._source.open(self._resumed())
                while not self._stopping.is_set():
                    fetched = reader.poll(_POLL_S, _AT_ONCE)
                    self._progress.waits("read", "")
                    if fetched is not None:
                        self._forward(fetched)
            except TransportUnavailable as away:
                self._progress.waits("read", str(away))
                self._stopping.wait(_AWAY_S)
            finally:
                if reader is not None:
                    reader.close()
                self._sink.close()

    def _resumed(self) -> Mapping[int, int]:
        start = self._source.committed()
        self._progress.resumed_at(start)
        return start

    def _forward(self, fetched: Fetched) -> None:
        partition, records = fetched.range.partition, fetched.records
        decoded = self._decoder.decode(records)
        alerts = dict(zip(decoded.rows.tolist(), decoded.frame.iter_rows(named=True), strict=True))
        for row in range(len(records)):
            end = int(records.offsets[row]) + 1
            if row not in alerts:
                self._commit(
                    partition, end, records, row, "UndecodableAlert", "the record is no alert that can be read"
                )
                continue
            try:
                message = message_of(alerts[row])
            except ValueError as wrong:
                self._commit(partition, end, records, row, "UntellableAlert", f"the alert cannot be told: {wrong}")
                continue
            if message.id in self._delivered:
                self._commit(partition, end, counts={"repeated": 1})
                continue
            outcome = self._webhook.deliver(message)
            if outcome is None:
                return
            if not outcome.delivered:
                why = f"{outcome.reason}, {outcome.tries} times"
                self._commit(partition, end, records, row, "WebhookFailed", why)
                continue
            self._delivered[message.id] = None
            if len(self._delivered) > _IDS_REMEMBERED:
                self._delivered.popitem(last=False)
            self._commit(partition, end, answered_ms=[int(records.timestamps_ms[row])])
        if not len(records):
            self._commit(partition, fetched.range.end)

    def _commit(
        self,
        partition: int,
        end: int,
        records: Records | None = None,
        row: int = 0,
        error: str = "",
        why: str = "",
        *,
        counts: Mapping[str, int] | None = None,
        answered_ms: Sequence[int] = (),
    ) -> None:
        now_ms = time.time_ns() // 1_000_000
        letters: list[Output] = []
        if records is not None:
            one = records.take(np.array([row]))
            letters.append(
                dead_letter_output(STORE_ALERTS, partition, one, [error], [why], [None], ALERT_WEBHOOK, now_ms)
            )
        while True:
            try:
                self._sink.commit(answers=(), dead_letters=letters, state=(), offsets={partition: end})
                break
            except TransportUnavailable as away:
                # The alert is out already: to read it again would send it again.
                self._progress.waits("commit", str(away))
                if self._stopping.wait(_AWAY_S):
                    return
        self._progress.waits("commit", "")
        told: dict[str, Any] = {"answers": len(answered_ms), "dead_letters": len(letters), "counts": counts or {}}
        alerts = (why,) if why else ()
        self._progress.committed(
            now_ms, events=1, **told, alerts=alerts, offsets={partition: end}, ingest_time_ms=np.array(answered_ms)
        )
