"""A polars column as the physical type that is written, or an error that names the column and the first row."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from streaming.codec._pieces import Mask, Rows
from streaming.codec._schema import Array, Enum, Fixed, Map, Primitive, Record, Type, describe, dtype

_INTEGER: dict[str, pl.DataType] = {"int": pl.Int32(), "long": pl.Int64()}
_NANOS_PER_TICK = {"time-millis": 10**6, "time-micros": 10**3}
_EXACT = Context(prec=80)


class EncodeError(ValueError):
    """A frame that does not fit its schema; the message names the column and the first row."""


def fit(type_: Type, column: pl.Series, rows: Rows, path: str) -> pl.Series:
    """The column as the physical type of `type_`; nulls stay. Raises `EncodeError` for what would lose something.

    `rows` and `path` say where the values are: for each, the row of the frame, and the name of the column.
    """
    given = column.dtype
    wanted = dtype(type_)
    if given == pl.Null and type_ != Primitive("null"):
        column, given = column.cast(wanted), wanted
    match type_:
        case Primitive("null"):
            if column.null_count() == len(column):
                return column
        case Primitive(("int" | "long") as kind, logical):
            number = _INTEGER[kind]
            if logical and given == wanted:
                return _cast(_ticks(type_, column), number)
            if given.is_integer():
                return _ranged(column, number, rows, path)
        case Primitive("double"):
            if given in (pl.Float32, pl.Float64):
                return _cast(column, pl.Float64())
        case Primitive("string"):
            if given == pl.String or isinstance(given, (pl.Categorical, pl.Enum)):
                return _cast(column, pl.String())
        case Primitive("bytes", "decimal") | Fixed() if isinstance(given, pl.Decimal):
            return _unscaled(type_, column, rows, path)
        case Primitive("bytes") | Fixed():
            if given == pl.Binary:
                return column
        case Enum(_, symbols):
            if given == wanted:
                return column.to_physical().cast(pl.Int32)
            if given == pl.String or isinstance(given, (pl.Categorical, pl.Enum)):
                return _symbol_numbers(_cast(column, pl.String()), symbols, rows, path)
        case Array() | Map():
            if isinstance(given, pl.List):
                return column
        case Record():
            if isinstance(given, pl.Struct):
                return column
        case _:
            if given == wanted:
                return column
    raise type_error(type_, column, path)


def _cast(column: pl.Series, wanted: pl.DataType) -> pl.Series:
    return column if column.dtype == wanted else column.cast(wanted)


def _ticks(type_: Primitive, column: pl.Series) -> pl.Series:
    if type_.logical in _NANOS_PER_TICK:
        return column.cast(pl.Int64) // _NANOS_PER_TICK[type_.logical]
    return column.cast(_INTEGER[type_.kind])


def _ranged(column: pl.Series, wanted: pl.DataType, rows: Rows, path: str) -> pl.Series:
    if column.dtype == wanted:
        return column
    narrow = column.cast(wanted, strict=False)
    if narrow.null_count() > column.null_count():
        row = int((narrow.is_null() & column.is_not_null()).arg_true()[0])
        kind = "int" if wanted == pl.Int32 else "long"
        raise EncodeError(f"column {path}, row {rows[row]}: {column[row]} does not fit an Avro {kind}")
    return narrow


def _symbol_numbers(column: pl.Series, symbols: tuple[str, ...], rows: Rows, path: str) -> pl.Series:
    numbers = pl.Series(pc.index_in(column.to_arrow(), value_set=pa.array(symbols, pa.large_string())))
    if numbers.null_count() > column.null_count():
        row = int((numbers.is_null() & column.is_not_null()).arg_true()[0])
        raise EncodeError(f"column {path}, row {rows[row]}: {column[row]!r} is not a symbol of the enum")
    return numbers.cast(pl.Int32)


def _unscaled(type_: Primitive | Fixed, column: pl.Series, rows: Rows, path: str) -> pl.Series:
    """Decimals as big-endian two's complement."""
    if not type_.precision or column.dtype.scale > type_.scale:  # type: ignore[attr-defined]
        raise type_error(type_, column, path)
    encoded: list[bytes | None] = []
    for row, value in enumerate(column.to_list()):
        if value is None:
            encoded.append(None)
            continue
        number = int(value.scaleb(type_.scale, _EXACT))
        width = type_.size if isinstance(type_, Fixed) else (number.bit_length() + 8) // 8
        if abs(number) >= 10**type_.precision or number.bit_length() >= 8 * width:
            raise EncodeError(f"column {path}, row {rows[row]}: {value} does not fit {describe(type_)}")
        encoded.append(number.to_bytes(width, "big", signed=True))
    return pl.Series(encoded, dtype=pl.Binary)


def check_fields(column: pl.Series, wanted: Sequence[str], path: str) -> None:
    """Raise `EncodeError` unless the struct has all these fields."""
    given = column.struct.fields
    missing = [name for name in wanted if name not in given]
    if missing:
        raise EncodeError(f"column {path}: field {missing[0]} is missing")


def type_error(type_: Type, column: pl.Series, path: str) -> EncodeError:
    """For a column of a type that does not hold the field's values."""
    return EncodeError(
        f"column {path}: {column.dtype} where Avro {describe(type_)} asks for {dtype(type_)}; cast it first"
    )


def null_error(type_: Type, valid: Mask, rows: Rows, path: str) -> EncodeError:
    """For the first value that is not valid."""
    return EncodeError(
        f"column {path}, row {rows[int(np.argmin(valid))]}: null where Avro {describe(type_)} allows none"
    )
