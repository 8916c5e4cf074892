"""Columns to bytes: a whole frame as records in Confluent framing."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from streaming.codec._encode import RowEncoder
from streaming.codec._schema import Schema, parse
from streaming.codec._wire import frame_prefix


class Encoder:
    """Writes rows of one schema. What the frame has beyond the schema's fields is left out."""

    def __init__(self, schema: Schema, schema_id: int) -> None:
        self._schema, self._id = schema, schema_id
        self._rows = RowEncoder(parse(schema))
        self._prefix = frame_prefix(schema_id)

    def __reduce__(self) -> tuple[type[Encoder], tuple[Schema, int]]:
        return type(self), (self._schema, self._id)

    def encode(self, frame: pl.DataFrame) -> pa.LargeBinaryArray:
        """One framed record per row, (N,), byte for byte as fastavro writes it.

        Raises `EncodeError` naming the column, and the first row, where a column is missing or of a type that does not
        hold the field's values, and where a value does not fit (a null, a number too large, a wrong length).
        """
        return self._rows.encode(frame, self._prefix)
