"""Columns to Avro, a whole frame at once and byte for byte as fastavro's `schemaless_writer` writes each row.

A record is the concatenation of its fields, so a row is built from two kinds of piece. Numbers, tags and lengths become
columns of a byte matrix (one row per record) with a mask of the bytes that count; one boolean selection then yields the
bytes of all rows in order. Texts and byte strings are taken as they lie in Arrow's buffers. Arrow's binary join puts
the pieces of each row together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streaming.codec._fit import EncodeError, check_fields, fit, null_error, type_error
from streaming.codec._pieces import (
    Mask,
    Parts,
    Piece,
    Rows,
    binary_array,
    bits,
    data_and_ends,
    lengths_of,
    valid,
    varints,
    where,
)
from streaming.codec._schema import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
    dtype,
    map_entry,
    member_name,
    physical,
)

_TEXTS = (Primitive("string"), Primitive("string", "uuid"), Primitive("bytes"))
_LITTLE_ENDIAN: dict[str, npt.DTypeLike] = {"float": "<f4", "double": "<f8"}
_NUMPY: dict[Any, npt.DTypeLike] = {
    pl.Int32: np.int32,
    pl.Int64: np.int64,
    pl.Float32: np.float32,
    pl.Float64: np.float64,
}


class RowEncoder:
    """Writes the rows of one record type."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._runs = _runs(record.fields)

    def encode(self, frame: pl.DataFrame, prefix: bytes = b"") -> pa.LargeBinaryArray:
        """`prefix` and the Avro encoding of each row, (N,). Raises `EncodeError`."""
        columns = dict(zip(frame.columns, frame.get_columns(), strict=True))
        missing = [field.name for field in self._record.fields if field.name not in columns]
        if missing:
            raise EncodeError(f"column {missing[0]} is missing; the schema {self._record.name} asks for it")
        parts = Parts(frame.height)
        if prefix:
            parts.put(Piece(np.tile(np.frombuffer(prefix, np.uint8), (frame.height, 1))))
        _write_runs(self._runs, columns, np.arange(frame.height), "", parts)
        return parts.join()


class _Number(NamedTuple):
    """What neighbours must share to be written together."""

    kind: str  # boolean, int (any varint), float, double
    null: int | None  # the number of the null branch, for optional ones


class _Leaf(NamedTuple):
    """A numeric field."""

    name: str
    type: Type  # without the union
    plain: pl.DataType  # a column of this type is written as it is


_Run = tuple[_Number, list[_Leaf]] | Field
"""Neighbours of one numeric type go through numpy together; any other field goes by itself."""


def _runs(fields: Sequence[Field]) -> list[_Run]:
    runs: list[_Run] = []
    for number, run in groupby(fields, key=lambda field: _number(field.type)):
        if number is None:
            runs += run
        else:
            runs.append((number, [_leaf(field.name, field.type) for field in run]))
    return runs


def _number(type_: Type) -> _Number | None:
    null = None
    if isinstance(type_, Union):
        if type_.optional is None:
            return None
        null, type_ = type_.null, type_.branches[type_.optional]
    if isinstance(type_, Enum):
        return _Number("int", null)
    if isinstance(type_, Primitive) and type_.kind in ("boolean", "int", "long", "float", "double"):
        return _Number("int" if type_.kind == "long" else type_.kind, null)
    return None


def _leaf(name: str, type_: Type) -> _Leaf:
    if isinstance(type_, Union) and type_.optional is not None:
        type_ = type_.branches[type_.optional]
    return _Leaf(name, type_, dtype(physical(type_)))


def _write_runs(runs: Sequence[_Run], columns: dict[str, pl.Series], rows: Rows, path: str, parts: Parts) -> None:
    for run in runs:
        if isinstance(run, Field):
            _write(run.type, columns[run.name], rows, path + run.name, parts)
        else:
            number, leaves = run
            _write_numbers(number, [_numbers(number, leaf, columns[leaf.name], rows, path) for leaf in leaves], parts)


# --- numbers: one byte matrix for a run of columns ----------------------------------------------------------------


def _numbers(
    number: _Number, leaf: _Leaf, column: pl.Series, rows: Rows, path: str
) -> tuple[npt.NDArray[Any], Mask | None]:
    """The values, (N,), and where they are not null (None: everywhere)."""
    if column.dtype != leaf.plain:
        column = fit(leaf.type, column, rows, path + leaf.name)
    if not column.null_count():
        return column.to_numpy(), None
    array = column.to_arrow()
    there = valid(array)
    if number.null is None:
        assert there is not None
        raise null_error(leaf.type, there, rows, path + leaf.name)
    data = array.buffers()[1]
    if number.kind == "boolean":
        return bits(data, array.offset, len(array)), there
    return np.frombuffer(data, _NUMPY[column.dtype], count=array.offset + len(array))[array.offset :], there


def _write_numbers(number: _Number, columns: Sequence[tuple[npt.NDArray[Any], Mask | None]], parts: Parts) -> None:
    values = np.stack([column for column, _ in columns], axis=1)  # (N, K)
    if number.null is None:
        parts.put(_plain(number.kind, values))
        return
    there = np.stack([np.ones(len(v), bool) if mask is None else mask for v, mask in columns], axis=1)
    if number.kind == "int":
        values = np.where(there, values, 0)  # what lies under a null must not widen the others
    plain = _plain(number.kind, values)
    rows, count = there.shape
    width = plain.matrix.shape[1] // count
    matrix = np.empty((rows, count, 1 + width), np.uint8)
    matrix[:, :, 0] = np.where(there, np.uint8(2 * (1 - number.null)), np.uint8(2 * number.null))  # the branch, zigzag
    matrix[:, :, 1:] = plain.matrix.reshape(rows, count, width)
    mask = np.ones(matrix.shape, bool)
    mask[:, :, 1:] = there[:, :, None]
    if plain.mask is None:
        lengths = count + width * np.count_nonzero(there, axis=1)
    else:
        mask[:, :, 1:] &= plain.mask.reshape(rows, count, width)
        lengths = np.count_nonzero(mask, axis=(1, 2))
    flat = (rows, count * (1 + width))
    parts.put(Piece(matrix.reshape(flat), mask.reshape(flat), lengths))


def _plain(kind: str, values: npt.NDArray[Any]) -> Piece:
    if kind == "int":
        return varints(values.astype(np.int64, copy=False))
    if kind == "boolean":
        return Piece(values.view(np.uint8))
    packed = np.ascontiguousarray(values, dtype=_LITTLE_ENDIAN[kind])
    return Piece(packed.view(np.uint8).reshape(len(values), packed.shape[1] * packed.itemsize))


# --- everything else: one column at a time ------------------------------------------------------------------------


def _write(type_: Type, column: pl.Series, rows: Rows, path: str, parts: Parts) -> None:
    if isinstance(type_, Union) and _number(type_) is None:
        _write_union(type_, column, rows, path, parts)
        return
    number = _number(type_)
    if number is not None:
        _write_numbers(number, [_numbers(number, _leaf("", type_), column, rows, path)], parts)
        return
    column = fit(type_, column, rows, path)
    if type_ == Primitive("null"):
        return
    if column.null_count():
        raise null_error(type_, column.is_not_null().to_numpy(), rows, path)
    match type_:
        case Primitive("string" | "bytes"):
            array = column.to_arrow().view(pa.large_binary())
            parts.put(varints(lengths_of(array)[:, None]))
            parts.put_binary(array)
        case Fixed(_, size):
            parts.put(_fixed(size, column.to_arrow(), rows, path))
        case Array(items):
            _write_array(items, column, rows, path, parts)
        case Map(values):
            _write_array(map_entry(values), column, rows, path, parts)
        case Record(_, fields):
            check_fields(column, [f.name for f in fields], path)
            columns = {name: column.struct.field(name) for name in (f.name for f in fields)}
            _write_runs(_runs(fields), columns, rows, f"{path}.", parts)


def _fixed(size: int, array: pa.LargeBinaryArray, rows: Rows, path: str) -> Piece:
    lengths = lengths_of(array)
    wrong = np.flatnonzero(lengths != size)
    if len(wrong):
        raise EncodeError(f"column {path}, row {rows[wrong[0]]}: {lengths[wrong[0]]} bytes where {size} are asked for")
    data, ends = data_and_ends(array)
    return Piece(data[ends[0] : ends[-1]].reshape(len(array), size))


def _write_array(items: Type, column: pl.Series, rows: Rows, path: str, parts: Parts) -> None:
    """One block with all items and the closing 0; an empty array is the 0 alone."""
    # As Arrow has them: two queries to polars would take longer than all else here, of a few rows.
    array, dtype = column.to_arrow(), column.dtype
    assert isinstance(dtype, pl.List)  # as `fit` has seen to
    counts, flat = np.diff(array.offsets.to_numpy()), pl.Series(column.name, array.flatten(), dtype.inner)
    inner = Parts(len(flat))
    _write(items, flat, np.repeat(rows, counts), f"{path}[]", inner)
    data, ends = data_and_ends(inner.join())
    offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    starts = ends[offsets]  # of each row's items
    parts.put(where(counts > 0, varints(counts[:, None])))
    parts.put_binary(binary_array(data[starts[0] :], starts[1:] - starts[:-1]))
    parts.put(Piece(np.zeros((len(column), 1), np.uint8)))


def _write_union(union: Union, column: pl.Series, rows: Rows, path: str, parts: Parts) -> None:
    """The number of the branch, then the value. Each branch is written for its own rows, then all are put in order."""
    optional = union.optional
    if optional is not None and union.branches[optional] in _TEXTS:
        _write_optional_text(union, fit(union.branches[optional], column, rows, path), parts)
        return
    branches = {optional: column} if optional is not None else _members(union, column, path)
    taken = {branch: values.is_not_null().to_numpy() for branch, values in branches.items()}
    crowded = np.flatnonzero(np.sum(list(taken.values()), axis=0) > 1)
    if len(crowded):
        raise EncodeError(f"column {path}, row {rows[crowded[0]]}: a value in more than one member of the union")
    tags = np.full(len(column), -1 if union.null is None else union.null)
    order = np.zeros(len(column), np.int64)
    bodies = [binary_array(np.zeros(0, np.uint8), np.zeros(1, np.int64))]  # of null
    for branch, there in taken.items():
        if not there.any():
            continue
        inner = Parts(int(np.count_nonzero(there)))
        _write(union.branches[branch], branches[branch].filter(pl.Series(there)), rows[there], path, inner)
        tags[there] = branch
        order[there] = sum(map(len, bodies)) + np.arange(inner.rows)
        bodies.append(inner.join())
    if (tags < 0).any():
        raise null_error(union, tags >= 0, rows, path)
    parts.put(varints(tags[:, None]))
    parts.put_binary(pa.concat_arrays(bodies).take(pa.array(order)))


def _members(union: Union, column: pl.Series, path: str) -> dict[int, pl.Series]:
    if column.dtype == pl.Null:
        column = column.cast(dtype(union))
    if not isinstance(column.dtype, pl.Struct):
        raise type_error(union, column, path)
    names = {branch: member_name(union, branch) for branch in union.members}
    check_fields(column, list(names.values()), path)
    return {branch: column.struct.field(name) for branch, name in names.items()}


def _write_optional_text(union: Union, column: pl.Series, parts: Parts) -> None:
    array = column.to_arrow().view(pa.large_binary())
    there, lengths = valid(array), lengths_of(array)
    tags = np.full((len(array), 1), 2 * union.members[0], np.uint8)
    if there is None:
        parts.put(Piece(tags))
        parts.put(varints(lengths[:, None]))
    else:
        tags[~there] = 2 * (1 - union.members[0])
        parts.put(Piece(tags))
        parts.put(where(there, varints((lengths * there)[:, None])))
    parts.put_binary(array)
