"""Reads what the pipelines of a store say, as any consumer would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import polars as pl

from jobs.store_demo.tally import Tally
from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.topics import PERSON_SIGHTINGS, STORE_ALERTS, STORE_METRICS, Topic
from streaming.transport import TransportUnavailable

_POLL_S = 0.1
_RETRY_S = 0.2
_AT_ONCE = 5_000


class Watch:
    """A thread a topic, from where the topics begin until `stop`."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.tally = Tally()
        self._kafka, self._over = kafka, threading.Event()
        takers: dict[Topic, Callable[[pl.DataFrame], None]] = {
            PERSON_SIGHTINGS: lambda rows: self.tally.take_sightings(rows, time.time() * 1e3),
            STORE_METRICS: self.tally.take_metrics,
            STORE_ALERTS: self.tally.take_alerts,
        }
        self._threads = [
            threading.Thread(target=self._run, args=(topic, take), name=f"watch {topic.name}", daemon=True)
            for topic, take in takers.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Read no more; what was counted stays."""
        self._over.set()
        for thread in self._threads:
            thread.join(10.0)

    def _run(self, topic: Topic, take: Callable[[pl.DataFrame], None]) -> None:
        assert topic.schema is not None
        decoder, reader = Decoder(topic.schema, PackagedRegistry()), None
        with closing(KafkaSource(self._kafka, topic.name, "")) as source:
            while not self._over.is_set():
                try:
                    if reader is None:
                        reader = source.open(source.beginning_offsets())
                    fetched: Any = reader.poll(_POLL_S, _AT_ONCE)
                except TransportUnavailable:
                    self._over.wait(_RETRY_S)
                    continue
                if fetched is not None and len(fetched.records):
                    take(decoder.decode(fetched.records).frame)
            if reader is not None:
                reader.close()
