"""Many records at once: their data becomes one block of a made-up Avro container file, which polars reads in columns.

A block does not say where its records end, so one record of the wrong length would shift all that follow. Behind every
record we put eight random bytes, a guard, as a field more of the schema in the container's header: where the guard
column differs, that record was misread, and whatever came before it was not. The screen (`_screen`) keeps such records
from getting here; the guard is the proof that it did.
"""

from __future__ import annotations

import json
import os
from io import BytesIO
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from streaming.codec._schema import Field, Fixed, Record, physical, to_json, with_fields
from streaming.codec._wire import FRAME_BYTES, Rows
from streaming.varint import sized, varint

_GUARD = os.urandom(8)
_SYNC = os.urandom(16)
_GUARD_NAME = "guard"  # cannot clash: the fields of a physical record are f0, f1, …


class Block(NamedTuple):
    """The rows that were read, and how many; those after them were not."""

    frame: pl.DataFrame  # columns f0, f1, … of physical types
    rows: int
    fault: str | None


class BlockReader:
    """Reads the records of one writer schema."""

    def __init__(self, schema: Record) -> None:
        record = physical(schema)
        assert isinstance(record, Record)
        guarded = with_fields(record, last=Field(_GUARD_NAME, Fixed("guard", len(_GUARD))))
        text = json.dumps(to_json(guarded)).encode()
        entries = [sized(b"avro.schema"), sized(text), sized(b"avro.codec"), sized(b"null")]
        self._header = b"Obj\x01" + varint(2) + b"".join(entries) + b"\x00" + _SYNC

    def read(self, values: pa.LargeBinaryArray) -> Block:
        """Read framed records (one at least), all of this schema, up to the first that is not what it should be."""
        guarded = pc.binary_replace_slice(values, start=0, stop=FRAME_BYTES, replacement=_GUARD)
        ends: Rows = np.frombuffer(guarded.buffers()[1], np.int64)
        body = memoryview(guarded.buffers()[2])[ends[guarded.offset] + len(_GUARD) : ends[guarded.offset + len(values)]]
        size = len(body) + len(_GUARD)
        file = b"".join((self._header, varint(len(values)), varint(size), body, _GUARD, _SYNC))
        try:
            frame = pl.read_avro(BytesIO(file))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            return Block(pl.DataFrame(), 0, f"{type(error).__name__}: {error}")
        guards = frame.drop_in_place(_GUARD_NAME)
        words = np.frombuffer(guards.to_arrow().buffers()[2], np.uint64, count=len(values))
        hits = np.flatnonzero(words != np.frombuffer(_GUARD, np.uint64))
        if len(hits):
            return Block(frame.head(int(hits[0])), int(hits[0]), "a record that is longer or shorter than its fields")
        return Block(frame, len(values), None)
