"""A commit is answered before everybody can see it: each partition hears of it for itself."""

from __future__ import annotations

from contextlib import closing

from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from tests.waiting import wait_until


def until_visible(settings: KafkaSettings, *topics: str) -> None:
    """Wait until no transaction of these topics is undecided; not while somebody goes on committing to them."""
    for topic in topics:
        with closing(KafkaSource(settings, topic, "")) as source:
            wait_until(lambda source=source: source.end_offsets() == source.written_offsets())  # type: ignore[misc]
