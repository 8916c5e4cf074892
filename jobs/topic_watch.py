"""Reads topics as any consumer would, and hands on what comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import polars as pl

from jobs.topic_rows import with_places
from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.topics import Topic
from streaming.transport import TransportUnavailable

_POLL_S = 0.1
_RETRY_S = 0.2
_AT_ONCE = 5_000

Take = Callable[[pl.DataFrame], None]


class TopicWatch:
    """A thread a topic, from where the topics begin until `stop`.

    Args:
        kafka: where they are.
        takers: what gets the rows of each, with `_partition` and `_offset`, in the order of partitions.
    """

    def __init__(self, kafka: KafkaSettings, takers: Mapping[Topic, Take]) -> None:
        self._kafka, self._over = kafka, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(topic, take), name=f"watch {topic.name}", daemon=True)
            for topic, take in takers.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._over.set()
        for thread in self._threads:
            thread.join(10.0)

    def _run(self, topic: Topic, take: Take) -> None:
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
                    take(with_places(decoder, fetched.range.partition, fetched.records))
            if reader is not None:
                reader.close()
