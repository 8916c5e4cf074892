"""Bytes to columns: all records of a poll at once, each bad one set aside by name.

    split frames ─► per writer id: screen ─► well-formed ─► block (polars) ─┐
                                     └─► the others ─► one by one (fastavro) ┴─► resolve ─► the reader's columns

A record is good if fastavro reads it, nothing is left over, and every value fits its column. Whether a record is good,
and what it says, never depends on the records around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streaming.codec._block import BlockReader
from streaming.codec._encode import RowEncoder
from streaming.codec._resolve import Faults, IncompatibleSchema, resolve
from streaming.codec._schema import (
    Array,
    Fixed,
    Primitive,
    Record,
    Schema,
    Type,
    Union,
    UnusableSchema,
    dtype,
    is_columnar,
    parse,
    physical,
)
from streaming.codec._screen import screen
from streaming.codec._singly import SingleReader
from streaming.codec._wire import FRAME_BYTES, Framed, Rows, frame_fault, frame_prefix, split
from streaming.codec.registry import SchemaRegistry, UnknownSchema, load_schema
from streaming.records import Records

BLOCK_FROM = 8
"""Fewer records than this are read one by one: a block has a fixed cost (`tests/benchmarks/bench_codec.py`)."""


class BadRecord(NamedTuple):
    """A record that is not part of the frame, and why."""

    row: int  # position among the records given
    schema_id: int | None  # None where the value is not framed
    error: str  # BadFraming, UnknownSchema, UnusableSchema, IncompatibleSchema, CorruptRecord, BadValue
    message: str


class Decoded(NamedTuple):
    """N good rows in the order of their records, and the bad records."""

    frame: pl.DataFrame  # (N,), the reader's fields
    rows: npt.NDArray[np.int64]  # (N,), positions among the records given
    schema_ids: npt.NDArray[np.int32]  # (N,), of the writers
    bad: list[BadRecord]  # by row


class Decoder:
    """Reads records of any registered writer schema as rows of one reader schema.

    The reader schema is the name of a packaged one or the schema itself; writers' schemas come from a registry, or from
    a mapping by id where a few are all there can be (a state changelog). Not thread-safe.
    """

    def __init__(self, schema: str | Schema, registry: SchemaRegistry | Mapping[int, Schema]) -> None:
        self._schema = load_schema(schema) if isinstance(schema, str) else schema
        self._registry = registry
        self._reader = parse(self._schema)
        self._empty = pl.DataFrame(schema={field.name: dtype(field.type) for field in self._reader.fields})
        self._writers: dict[int, _Writer | tuple[str, str]] = {}

    def __reduce__(self) -> tuple[type[Decoder], tuple[Any, Any]]:
        return type(self), (self._schema, self._registry)  # what was learnt of the writers is learnt again

    def decode(self, records: Records) -> Decoded:
        """The rows of all good records, and every bad one.

        Raises `RegistryUnavailable` if a schema cannot be fetched now: that is no fault of the record.
        """
        framed = split(records.values)
        bad = [
            BadRecord(row, None, "BadFraming", frame_fault(records.values[row].as_py()))
            for row in np.flatnonzero(framed.ids < 0).tolist()
        ]
        parts: list[tuple[pl.DataFrame, Rows, int]] = []
        for schema_id, rows in _by_writer(framed.ids):
            writer = self._writer(schema_id)
            if isinstance(writer, _Writer):
                frame, good, faults = writer.read(framed, rows)
                bad += [BadRecord(row, schema_id, *fault) for row, fault in faults.items()]
                parts.append((frame, good, schema_id))
            else:
                bad += [BadRecord(row, schema_id, *writer) for row in rows.tolist()]
        return _merged(self._empty, parts, sorted(bad))

    def _writer(self, schema_id: int) -> _Writer | tuple[str, str]:
        """How to read this writer's records, or error and message of every one of them."""
        known = self._writers.get(schema_id)
        if known is None:
            try:
                known = _Writer(parse(self._fetch(schema_id)), self._reader, schema_id)
            except UnknownSchema as error:
                return "UnknownSchema", str(error)  # not kept: it may be registered later
            except (UnusableSchema, IncompatibleSchema) as error:
                known = type(error).__name__, f"schema {schema_id}: {error}"
            self._writers[schema_id] = known
        return known

    def _fetch(self, schema_id: int) -> Schema:
        if not isinstance(self._registry, Mapping):
            return self._registry.schema(schema_id)
        if schema_id not in self._registry:
            raise UnknownSchema(f"no schema has the id {schema_id} here; known are {sorted(self._registry)}")
        return self._registry[schema_id]


def _by_writer(ids: Rows) -> list[tuple[int, Rows]]:
    """Each schema id and the positions of its records."""
    if len(ids) and ids[0] >= 0 and (ids == ids[0]).all():  # as nearly always
        return [(int(ids[0]), np.arange(len(ids)))]
    return [(int(schema_id), np.flatnonzero(ids == schema_id)) for schema_id in np.unique(ids[ids >= 0])]


def _merged(empty: pl.DataFrame, parts: list[tuple[pl.DataFrame, Rows, int]], bad: list[BadRecord]) -> Decoded:
    """The rows of several writers in the order of their records."""
    if not parts:
        return Decoded(empty, np.zeros(0, np.int64), np.zeros(0, np.int32), bad)
    frames = [frame for frame, _, _ in parts]
    rows = np.concatenate([good for _, good, _ in parts])
    ids = np.concatenate([np.full(len(good), schema_id, np.int32) for _, good, schema_id in parts])
    if len(parts) == 1:
        return Decoded(frames[0], rows, ids, bad)
    order = np.argsort(rows)
    return Decoded(pl.concat(frames, rechunk=True)[order], rows[order], ids[order], bad)


class _Writer:
    """Reads the records of one writer."""

    def __init__(self, writer: Record, reader: Record, schema_id: int) -> None:
        self._columns = resolve(writer, reader)
        self._single = SingleReader(writer)
        self._screen = screen(writer) if is_columnar(writer) else None
        self._block = BlockReader(writer) if is_columnar(writer) else None
        if self._block is not None and not self._agree(writer, schema_id):
            self._block = None

    def read(self, framed: Framed, rows: Rows) -> tuple[pl.DataFrame, Rows, dict[int, tuple[str, str]]]:
        """The reader's frame of the good ones among these rows, their positions, and error and message of the rest."""
        raw, good, corrupt = self._raw(framed, rows)
        faults = Faults()
        frame = self._columns(raw, faults)
        bad = {row: ("CorruptRecord", message) for row, message in corrupt.items()}
        if faults.found:
            bad |= {int(good[row]): ("BadValue", message) for row, message in faults.found.items()}
            kept = np.ones(len(good), bool)
            kept[list(faults.found)] = False
            frame, good = frame.filter(pl.Series(kept)), good[kept]
        return frame, good, bad

    def _raw(self, framed: Framed, rows: Rows) -> tuple[pl.DataFrame, Rows, dict[int, str]]:
        if self._block is None or self._screen is None or len(rows) < BLOCK_FROM:
            return self._singly(framed, rows)
        sound = self._screen(framed.data, framed.starts[rows] + FRAME_BYTES, framed.ends[rows])
        if not sound.any():
            return self._singly(framed, rows)
        good = rows if sound.all() else rows[sound]
        values = framed.values if len(good) == len(framed.values) else framed.values.take(pa.array(good))
        block = self._block.read(values)
        if block.rows == len(rows):
            return block.frame, rows, {}
        judged, kept, corrupt = self._singly(framed, np.union1d(rows[~sound], good[block.rows :]))
        if not len(kept):
            return block.frame, good[: block.rows], corrupt
        frame = pl.concat([block.frame, judged]) if block.rows else judged
        kept = np.concatenate([good[: block.rows], kept])
        order = np.argsort(kept)
        return frame[order], kept[order], corrupt

    def _singly(self, framed: Framed, rows: Rows) -> tuple[pl.DataFrame, Rows, dict[int, str]]:
        values = framed.values.take(pa.array(rows)).to_pylist()
        single = self._single.read([value[FRAME_BYTES:] for value in values])
        faults = {int(rows[row]): message for row, message in single.faults.items()}
        return single.frame, rows[np.asarray(single.rows, np.int64)], faults

    def _agree(self, writer: Record, schema_id: int) -> bool:
        """Whether both readers say the same of two made-up records: what polars can read is probed, not assumed."""
        record = physical(writer)
        assert isinstance(record, Record)
        rows = [{field.name: _sample(field.type, full) for field in record.fields} for full in (False, True)]
        sample = pl.DataFrame(rows, schema={field.name: dtype(field.type) for field in record.fields})
        framed = split(RowEncoder(record).encode(sample, frame_prefix(schema_id)))
        assert self._screen is not None and self._block is not None
        sound = self._screen(framed.data, framed.starts + FRAME_BYTES, framed.ends)
        block, (single, _, _) = self._block.read(framed.values), self._singly(framed, np.arange(2))
        return bool(sound.all()) and block.fault is None and block.frame.equals(single) and single.equals(sample)


def _sample(type_: Type, full: bool) -> Any:
    """A value of a physical type that leaves nothing out, or as much as it may."""
    match type_:
        case Primitive("boolean"):
            return full
        case Primitive("int" | "long"):
            return -70000 if full else 0
        case Primitive("float" | "double"):
            return 0.5 if full else 0.0
        case Primitive("string"):
            return "Ω" * 40 if full else ""
        case Primitive("bytes"):
            return b"\xff" * 70 if full else b""
        case Fixed(_, size):
            return b"\x01" * size
        case Union(branches) if type_.optional is not None:
            return _sample(branches[type_.optional], full) if full else None
        case Array(items):
            return [_sample(items, False), _sample(items, True)] if full else []
        case Record(_, fields):
            return {field.name: _sample(field.type, full) for field in fields}
    raise TypeError(f"polars reads no {type_}")
