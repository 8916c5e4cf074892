"""From what one writer wrote to what the reader asks for: Avro's schema resolution on columns.

`resolve` compares the two schemas once and returns the way from raw columns (physical types, as both readers deliver
them) to the reader's columns. What only the data can show (a text that is not UTF-8, a null where the reader has none,
a time outside the calendar) becomes a fault of that row; the row keeps a place-holder until it is dropped.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streaming.codec._schema import (
    MISSING,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
    describe,
    dtype,
    map_entry,
    member_name,
    physical,
)

Rows = npt.NDArray[np.int64]

_PROMOTED = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
_YEARS_S = (-62135596800, 253402300800)  # years 1 to 9999, what Python's datetime holds
_RANGES = {
    "date": (_YEARS_S[0] // 86400, _YEARS_S[1] // 86400),
    "timestamp-millis": (_YEARS_S[0] * 10**3, _YEARS_S[1] * 10**3),
    "timestamp-micros": (_YEARS_S[0] * 10**6, _YEARS_S[1] * 10**6),
    "time-millis": (0, 86400 * 10**3),
    "time-micros": (0, 86400 * 10**6),
}
_NANOS_PER_TICK = {"time-millis": 10**6, "time-micros": 10**3}


class IncompatibleSchema(ValueError):
    """The reader cannot make its columns from what this writer writes; the message names the field."""


class Faults:
    """Rows found bad on the way, each with the first reason."""

    def __init__(self) -> None:
        self.found: dict[int, str] = {}

    def add(self, rows: Rows, reason: str) -> None:
        for row in rows.tolist():
            self.found.setdefault(row, reason)


class Items(NamedTuple):
    """Values without nulls, and the record that each belongs to."""

    values: pl.Series
    rows: Rows

    def where(self, mask: npt.NDArray[np.bool_]) -> Items:
        return Items(self.values.filter(pl.Series(mask)), self.rows[mask])


Way = Callable[[Items, Faults], pl.Series]
"""Raw values to the reader's, as many; enum symbols are still texts, which the last cast settles."""

Columns = Callable[[pl.DataFrame, Faults], pl.DataFrame]


def resolve(writer: Record, reader: Record) -> Columns:
    """The way from the writer's raw frame to the reader's frame. Raises `IncompatibleSchema`."""
    _same_name(writer, reader, "the record")
    ways = [(source, way, dtype(field.type)) for field, source, way in _field_ways(writer, reader, "")]
    names = [field.name for field in reader.fields]

    def columns(raw: pl.DataFrame, faults: Faults) -> pl.DataFrame:
        rows = np.arange(raw.height, dtype=np.int64)
        made: list[pl.Series] = []
        for source, way, wanted in ways:
            column = raw.get_column(source) if source else _nothing(raw.height)
            if way is not None:
                column = way(Items(column, rows), faults)
                column = (column if column.dtype == wanted else column.cast(wanted)).alias(f"made{len(made)}")
            made.append(column)
        frame = pl.DataFrame(made)
        frame.columns = names
        return frame

    return columns


def _nothing(count: int) -> pl.Series:
    """Stands in for what a field is made from that comes from its default."""
    return pl.Series([None], dtype=pl.Null).new_from_index(0, count)


def _field_ways(writer: Record, reader: Record, path: str) -> list[tuple[Field, str, Way | None]]:
    """Each of the reader's fields, the raw column it comes from ("" for none), and the way."""
    numbers = {field.name: i for i, field in enumerate(writer.fields)}
    ways: list[tuple[Field, str, Way | None]] = []
    for field in reader.fields:
        name = next((name for name in (field.name, *field.aliases) if name in numbers), None)
        if name is not None:
            source = writer.fields[numbers[name]]
            ways.append((field, f"f{numbers[name]}", _way(source.type, field.type, path + field.name)))
        elif field.default is MISSING:
            raise IncompatibleSchema(f"field {path}{field.name} is not in the writer's schema and has no default")
        else:
            ways.append((field, "", _default(field, path + field.name)))
    return ways


def _default(field: Field, path: str) -> Way:
    try:
        value = _raw_default(field.type, field.default)
        raw = pl.Series("", [value], dtype(physical(field.type)), strict=True)
        way, faults = _way(field.type, field.type, path), Faults()
        one = raw if way is None else way(Items(raw, np.zeros(1, np.int64)), faults)
        if faults.found:
            raise ValueError(faults.found[0])
    except (TypeError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        raise IncompatibleSchema(
            f"field {path}: its default {field.default!r} is not {describe(field.type)}"
        ) from error
    return lambda items, _: one.new_from_index(0, len(items.values))


def _raw_default(type_: Type, default: Any) -> Any:
    """A default from the JSON of a schema as a raw value."""
    match type_:
        case Primitive("bytes") | Fixed():
            return default.encode("latin-1")
        case Enum(_, symbols):
            return symbols.index(default)
        case Array(items):
            return [_raw_default(items, item) for item in default]
        case Map(values):
            return [{"key": key, "value": _raw_default(values, value)} for key, value in default.items()]
        case Record(_, fields):
            given = {f.name: default.get(f.name, f.default) for f in fields}
            return {f"f{i}": _raw_default(f.type, given[f.name]) for i, f in enumerate(fields)}
        case Union(branches):
            return _raw_union_default(type_, branches, default)
    return default


def _raw_union_default(union: Union, branches: Sequence[Type], default: Any) -> Any:
    """A union's default is a value of its first branch."""
    if union.optional is not None:
        return None if default is None else _raw_default(branches[union.optional], default)
    members: dict[str, Any] = {member_name(union, i): None for i in union.members}
    if default is not None:
        first = union.members[0]
        members[member_name(union, first)] = _raw_default(branches[first], default)
    return members


def _way(writer: Type, reader: Type, path: str) -> Way | None:
    """The way between two types; None where raw values are the reader's."""
    if isinstance(writer, Union) or isinstance(reader, Union):
        return _union_way(writer, reader, path)
    match writer, reader:
        case Primitive(), Primitive():
            return _primitive_way(writer, reader, path)
        case Fixed(size=size), Fixed(size=wanted) if size == wanted:
            _same_name(writer, reader, path)
            _same_decimal(writer, reader, path)
            return _decimals(reader, path) if reader.precision else None
        case Enum(), Enum():
            _same_name(writer, reader, path)
            return _symbols(writer, reader, path)
        case Array(items), Array(wanted_items):
            return _list_way(_way(items, wanted_items, f"{path}[]"), dtype(wanted_items))
        case Map(values), Map(wanted_values):
            entry, wanted_entry = map_entry(values), map_entry(wanted_values)
            inner = _way(values, wanted_values, f"{path}{{}}")
            if inner is None:
                return None
            return _list_way(
                _struct_way([(wanted_entry.fields[0], "key", None), (entry.fields[1], "value", inner)]), None
            )
        case Record(), Record():
            _same_name(writer, reader, path)
            return _struct_way(_field_ways(writer, reader, f"{path}."))
    raise IncompatibleSchema(f"field {path}: the writer has {describe(writer)}, the reader {describe(reader)}")


def _same_name(writer: Fixed | Enum | Record, reader: Fixed | Enum | Record, path: str) -> None:
    written, wanted = writer.name.rpartition(".")[2], reader.name.rpartition(".")[2]
    if written != wanted and written not in reader.aliases:
        raise IncompatibleSchema(f"{path}: the writer has {describe(writer)}, the reader {describe(reader)}")


# --- leaves -------------------------------------------------------------------------------------------------------


def _primitive_way(writer: Primitive, reader: Primitive, path: str) -> Way | None:
    promoted = reader.kind in _PROMOTED.get(writer.kind, ())
    mixed = writer.logical and reader.logical and writer.logical != reader.logical
    if (writer.kind != reader.kind and not promoted) or mixed:
        raise IncompatibleSchema(f"field {path}: the writer has {describe(writer)}, the reader {describe(reader)}")
    _same_decimal(writer, reader, path)
    cast = _promotion(writer.kind, reader.kind, path) if promoted else None
    meaning = _meaning(reader, path)
    if cast is None or meaning is None:
        return cast or meaning
    return lambda items, faults: meaning(Items(cast(items, faults), items.rows), faults)


def _promotion(written: str, wanted: str, path: str) -> Way:
    if (written, wanted) != ("bytes", "string"):
        target = dtype(Primitive(wanted))
        return lambda items, _: items.values.cast(target)

    def texts(items: Items, faults: Faults) -> pl.Series:
        try:
            return items.values.cast(pl.String)
        except pl.exceptions.ComputeError:  # polars does not say which
            made = [_text(value) for value in items.values.to_list()]
            wrong = np.fromiter((text is None for text in made), bool, len(made))
            faults.add(items.rows[wrong], f"field {path}: bytes that are not UTF-8")
            return pl.Series(items.values.name, made, pl.String)

    return texts


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _meaning(type_: Primitive, path: str) -> Way | None:
    """The way from plain values to those of a logical type."""
    if type_.logical is None:
        return None
    if type_.logical == "decimal":
        return _decimals(type_, path)
    if type_.logical == "uuid":
        return _uuids(path)
    logical, wanted = type_.logical, dtype(type_)
    bounds = _RANGES.get(logical.removeprefix("local-"))
    ticks = pl.Int32() if type_.kind == "int" else pl.Int64()

    def times(items: Items, faults: Faults) -> pl.Series:
        values = items.values
        if bounds is not None and len(values):
            numbers = values.to_numpy()
            if numbers.min() < bounds[0] or numbers.max() >= bounds[1]:
                outside = (numbers < bounds[0]) | (numbers >= bounds[1])
                faults.add(
                    items.rows[outside], f"field {path}: {numbers[outside][0]} is outside the range of {logical}"
                )
                values = pl.Series(values.name, np.where(outside, 0, numbers), ticks)
        if logical in _NANOS_PER_TICK:
            values = values.cast(pl.Int64) * _NANOS_PER_TICK[logical]
        return values.cast(wanted)

    return times


def _same_decimal(writer: Primitive | Fixed, reader: Primitive | Fixed, path: str) -> None:
    written, wanted = (writer.precision, writer.scale), (reader.precision, reader.scale)
    if writer.precision and reader.precision and written != wanted:
        raise IncompatibleSchema(f"field {path}: decimal{written} cannot become decimal{wanted}")


def _decimals(type_: Primitive | Fixed, path: str) -> Way:
    limit, scale, wanted = 10**type_.precision, type_.scale, dtype(type_)

    def decimals(items: Items, faults: Faults) -> pl.Series:
        numbers = [int.from_bytes(value, "big", signed=True) for value in items.values.to_list()]
        wide = np.fromiter((abs(number) >= limit for number in numbers), bool, len(numbers))
        if wide.any():
            faults.add(items.rows[wide], f"field {path}: more than the {type_.precision} digits of its decimal type")
        values = [Decimal(0 if bad else number).scaleb(-scale) for number, bad in zip(numbers, wide, strict=True)]
        return pl.Series(items.values.name, values, wanted)

    return decimals


def _uuids(path: str) -> Way:
    def uuids(items: Items, faults: Faults) -> pl.Series:
        made = [_uuid(text) for text in items.values.to_list()]
        wrong = np.fromiter((text is None for text in made), bool, len(made))
        faults.add(items.rows[wrong], f"field {path}: not a UUID")
        return pl.Series(items.values.name, made, pl.String)

    return uuids


def _uuid(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))  # one spelling, so that equal ids are equal texts
    except ValueError:
        return None


def _symbols(writer: Enum, reader: Enum, path: str) -> Way:
    """Numbers of the writer's symbols to the reader's symbols."""
    known = [symbol if symbol in reader.symbols else reader.default for symbol in writer.symbols]
    table = pl.Series([*known, None], dtype=pl.String)  # the last one for numbers that no symbol has

    def symbols(items: Items, faults: Faults) -> pl.Series:
        numbers = items.values.to_numpy()
        outside = (numbers < 0) | (numbers >= len(known))
        made = table.gather(np.where(outside, len(known), numbers))
        if made.null_count():
            wrong = made.is_null().to_numpy()
            faults.add(items.rows[wrong & outside], f"field {path}: a number that no symbol of {writer.name} has")
            faults.add(items.rows[wrong], f"field {path}: a symbol that the reader's {reader.name} does not have")
            made = made.fill_null(reader.symbols[0])
        return made

    return symbols


# --- containers ---------------------------------------------------------------------------------------------------


def _struct_way(ways: Sequence[tuple[Field, str, Way | None]]) -> Way:
    def structs(items: Items, faults: Faults) -> pl.Series:
        raw = items.values.struct.unnest()
        made: list[pl.Series] = []
        for field, source, way in ways:
            column = raw[source] if source else _nothing(len(items.values))
            made.append((column if way is None else way(Items(column, items.rows), faults)).alias(field.name))
        return pl.DataFrame(made).to_struct(items.values.name)

    return structs


def _list_way(inner: Way | None, wanted: pl.DataType | None) -> Way | None:
    if inner is None:
        return None
    way = inner

    def lists(items: Items, faults: Faults) -> pl.Series:
        offsets = np.zeros(len(items.values) + 1, np.int64)
        counts = items.values.list.len().to_numpy().astype(np.int64)
        np.cumsum(counts, out=offsets[1:])
        flat = items.values.explode(empty_as_null=False, keep_nulls=False)
        made = way(Items(flat, np.repeat(items.rows, counts)), faults)
        return pl.Series(items.values.name, pa.LargeListArray.from_arrays(pa.array(offsets), made.to_arrow()))

    return lists


def _union_way(writer: Type, reader: Type, path: str) -> Way | None:
    """Each of the writer's branches finds its place in the reader; rows of one that finds none are bad."""
    if isinstance(writer, Union) and isinstance(reader, Union) and None not in (writer.optional, reader.optional):
        return _optional_way(writer, reader, path)
    branches = writer.branches if isinstance(writer, Union) else (writer,)
    places = [_place(branch, reader, path) for branch in branches]
    if all(isinstance(place, IncompatibleSchema) for place in places):
        raise IncompatibleSchema(f"field {path}: the writer has {describe(writer)}, the reader {describe(reader)}")

    def unions(items: Items, faults: Faults) -> pl.Series:
        parts: dict[int, list[tuple[Rows, pl.Series]]] = {}
        for branch, at, values in _taken(writer, items.values):
            place = places[branch]
            if isinstance(place, IncompatibleSchema):
                faults.add(items.rows[at], str(place))
            elif place.way is not None:
                part = place.way(Items(values, items.rows[at]), faults)
                parts.setdefault(place.branch, []).append((at, part))
            else:
                parts.setdefault(place.branch, []).append((at, values))
        return _gathered(reader, parts, len(items.values), items.values.name)

    return unions


class _Place(NamedTuple):
    branch: int  # of the reader's union; 0 where the reader has none
    way: Way | None


def _place(writer: Type, reader: Type, path: str) -> _Place | IncompatibleSchema:
    """The first branch of the reader that takes the writer's type."""
    fault = IncompatibleSchema(f"field {path}: {describe(writer)}, where the reader has {describe(reader)}")
    for branch, wanted in enumerate(reader.branches if isinstance(reader, Union) else (reader,)):
        try:
            return _Place(branch, _way(writer, wanted, path))
        except IncompatibleSchema:
            continue
    return fault


def _optional_way(writer: Union, reader: Union, path: str) -> Way | None:
    assert writer.optional is not None and reader.optional is not None
    inner = _way(writer.branches[writer.optional], reader.branches[reader.optional], path)
    if inner is None:
        return None
    way = inner

    def optionals(items: Items, faults: Faults) -> pl.Series:
        if not items.values.null_count():
            return way(items, faults)
        there = items.values.is_not_null().to_numpy()
        made = way(items.where(there), faults)
        return _spread([(np.flatnonzero(there), made)], len(there), items.values.name)

    return optionals


def _taken(writer: Type, values: pl.Series) -> list[tuple[int, Rows, pl.Series]]:
    """Branch, positions and values of what a writer's union holds; a type that is none is its own branch 0."""
    if not isinstance(writer, Union):
        return [(0, np.arange(len(values)), values)]
    if writer.optional is not None:
        members = {writer.optional: values}
    else:
        members = {i: values.struct.field(member_name(writer, i)) for i in writer.members}
    taken: list[tuple[int, Rows, pl.Series]] = []
    free = np.ones(len(values), bool)
    for branch, column in members.items():
        there = column.is_not_null().to_numpy()
        free &= ~there
        if there.any():
            taken.append((branch, np.flatnonzero(there), column.filter(pl.Series(there))))
    if writer.null is not None and free.any():
        taken.append(
            (writer.null, np.flatnonzero(free), pl.Series([None], dtype=pl.Null).new_from_index(0, free.sum()))
        )
    return taken


def _gathered(reader: Type, parts: dict[int, list[tuple[Rows, pl.Series]]], count: int, name: str) -> pl.Series:
    """The reader's column from the values of its branches; rows that got none have a place-holder."""
    if not isinstance(reader, Union):
        return _spread(parts.get(0, []), count, name, dtype(reader))
    if reader.optional is not None:
        return _spread(parts.get(reader.optional, []), count, name, dtype(reader.branches[reader.optional]))
    columns = [
        _spread(parts.get(i, []), count, member_name(reader, i), dtype(reader.branches[i])) for i in reader.members
    ]
    return pl.DataFrame(columns).to_struct(name)


def _spread(parts: Sequence[tuple[Rows, pl.Series]], count: int, name: str, empty: Any = None) -> pl.Series:
    """Values at their positions among `count`, null elsewhere."""
    if not parts:
        return pl.Series(name, [None], empty).new_from_index(0, count)
    places = np.full(count, -1, np.int64)
    at = np.concatenate([positions for positions, _ in parts])
    places[at] = np.arange(len(at))
    values = parts[0][1] if len(parts) == 1 else pl.concat([part for _, part in parts])
    index = pl.Series(places).set(pl.Series(places < 0), None) if len(at) < count else pl.Series(places)
    return values.gather(index).alias(name)
