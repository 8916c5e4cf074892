"""Bytes to columns and back: Avro in Confluent framing, whole polls at once.

    decoder = Decoder("match-events", PackagedRegistry())
    decoded = decoder.decode(records)           # frame, rows, schema_ids, bad
    encoder = Encoder(load_schema("match-insights"), registry.id_of("match-insights"))
    values = encoder.encode(frame)              # one binary value per row

Which polars type stands for which Avro type is listed in `streaming.codec._schema`.
"""

from streaming.codec._fit import EncodeError
from streaming.codec._resolve import IncompatibleSchema
from streaming.codec._schema import Schema, UnusableSchema
from streaming.codec._wire import frame_prefix, unframed
from streaming.codec.confluent import ConfluentRegistry
from streaming.codec.decoder import BadRecord, Decoded, Decoder
from streaming.codec.encoder import Encoder
from streaming.codec.partial import Readable, UnwritableFields, read_fields, write_fields
from streaming.codec.registry import (
    PackagedRegistry,
    RegistryUnavailable,
    SchemaRegistry,
    UnknownSchema,
    load_schema,
)

__all__ = [
    "BadRecord",
    "ConfluentRegistry",
    "Decoded",
    "Decoder",
    "EncodeError",
    "Encoder",
    "IncompatibleSchema",
    "PackagedRegistry",
    "Readable",
    "RegistryUnavailable",
    "Schema",
    "SchemaRegistry",
    "UnknownSchema",
    "UnusableSchema",
    "UnwritableFields",
    "frame_prefix",
    "load_schema",
    "read_fields",
    "unframed",
    "write_fields",
]
