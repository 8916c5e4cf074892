"""The answers of a while, live ones or a shadow's, read back from their topic."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from jobs.shadow.diff import ANSWER_SCHEMA

if TYPE_CHECKING:
    from streaming.codec import SchemaRegistry
    from streaming.kafka.settings import KafkaSettings
    from streaming.topics import Topic

_AT_ONCE = 20_000  # records read and decoded together; of each only the columns that are looked at stay


def read_answers(
    kafka: KafkaSettings, registry: SchemaRegistry, topic: Topic, since_ms: int | None, until_ms: int | None
) -> pl.DataFrame:
    """Answers (`ANSWER_SCHEMA`) to events that reached Kafka from `since_ms` on and before `until_ms`, as of now.
    Takes about 150 bytes of memory an answer.

    Raises:
        OffsetsExpired: the topic forgets faster than it is read.
        LogCorrupt, TransportUnavailable, AccessDenied: as they say.
        LookupError: there is no such topic.
    """
    from streaming.codec import Decoder
    from streaming.kafka.source import KafkaSource
    from streaming.records import OffsetRange

    assert topic.schema is not None
    decoder, parts = Decoder(topic.schema, registry), [ANSWER_SCHEMA.to_frame()]
    with closing(KafkaSource(kafka, topic.name, "")) as source:
        # No answer is older than its event.
        begins = source.beginning_offsets() if since_ms is None else source.offsets_at(since_ms)
        ends = source.end_offsets()
        with closing(source.open({})) as reader:
            for partition, begin in begins.items():
                for start in range(begin, ends[partition], _AT_ONCE):
                    records = reader.read(OffsetRange(partition, start, min(start + _AT_ONCE, ends[partition])))
                    rows = decoder.decode(records).frame.select(ANSWER_SCHEMA.names())
                    parts.append(rows.filter(*_within(since_ms, until_ms)))
    return pl.concat(parts)


def _within(since_ms: int | None, until_ms: int | None) -> list[pl.Expr]:
    at = pl.col("ingest_time_ms")
    bounds = [] if since_ms is None else [at >= datetime.fromtimestamp(since_ms / 1e3, UTC)]
    return bounds + ([] if until_ms is None else [at < datetime.fromtimestamp(until_ms / 1e3, UTC)])
