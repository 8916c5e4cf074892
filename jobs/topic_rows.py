"""What lies on a topic, as rows that know their places."""

from __future__ import annotations

import polars as pl

from streaming.codec import Decoder, SchemaRegistry
from streaming.kafka.admin import read_all
from streaming.kafka.settings import KafkaSettings
from streaming.records import Records
from streaming.topics import Topic


def read_rows(
    kafka: KafkaSettings, registry: SchemaRegistry, topic: Topic, *, since_ms: int | None = None
) -> pl.DataFrame:
    """All records of a topic, or those since then; those that cannot be read are passed over.

    Raises as `streaming.kafka.admin.read_all`.
    """
    assert topic.schema is not None
    decoder = Decoder(topic.schema, registry)
    parts = read_all(kafka, topic.name, since_ms=since_ms)
    return pl.concat([with_places(decoder, partition, records) for partition, records in sorted(parts.items())])


def with_places(decoder: Decoder, partition: int, records: Records) -> pl.DataFrame:
    """Those records of a partition that can be read, each with its `_partition` and `_offset`."""
    decoded = decoder.decode(records)
    return decoded.frame.with_columns(
        _partition=pl.lit(partition, pl.Int32), _offset=pl.Series(records.offsets[decoded.rows], dtype=pl.Int64)
    )
