"""An Avro schema as a tree of small frozen types, and the polars columns it stands for.

    boolean int long float double bytes string    Boolean Int32 Int64 Float32 Float64 Binary String
    fixed, enum                                   Binary, Enum
    array, record                                 List, Struct
    map                                           List(Struct(key String, value))
    [null, T] in either order                     T, nullable
    any other union                               Struct(member0, member1, …): one field per branch other than null,
                                                  at most one of them not null (Spark's form)
    timestamp-*, local-timestamp-*                Datetime of that unit, in UTC or without a zone
    date, time-*, decimal, uuid                   Date, Time, Decimal (Binary beyond 38 digits), String

Schemas come from outside, so whatever could make a decoder allocate or recurse without bound is refused here: recursive
types, arrays of items that take no bytes, huge fixed types, exploding trees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl
from fastavro.schema import parse_schema

Schema = dict[str, Any]
"""An Avro schema as JSON has it; always a record."""

MISSING: Any = object()
MAX_TYPES = 4096
MAX_WIDENING = 64  # columns to a byte of an array's items, at most
MAX_FIXED_BYTES = 1 << 20
MAX_DEPTH = 32

_PRIMITIVES = {
    "null": pl.Null(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "bytes": pl.Binary(),
    "string": pl.String(),
}
_LOGICAL: dict[tuple[str, str], pl.DataType] = {
    ("long", "timestamp-millis"): pl.Datetime("ms", "UTC"),
    ("long", "timestamp-micros"): pl.Datetime("us", "UTC"),
    ("long", "timestamp-nanos"): pl.Datetime("ns", "UTC"),
    ("long", "local-timestamp-millis"): pl.Datetime("ms"),
    ("long", "local-timestamp-micros"): pl.Datetime("us"),
    ("long", "local-timestamp-nanos"): pl.Datetime("ns"),
    ("int", "date"): pl.Date(),
    ("int", "time-millis"): pl.Time(),
    ("long", "time-micros"): pl.Time(),
    ("string", "uuid"): pl.String(),
}
_MAX_DECIMAL_DIGITS = 38  # of polars


class UnusableSchema(ValueError):
    """Not an Avro schema that has a safe form in columns; the message says which part and why."""


@dataclass(frozen=True)
class Primitive:
    """One of Avro's eight primitives, perhaps with a logical type."""

    kind: str
    logical: str | None = None
    precision: int = 0  # of a decimal
    scale: int = 0


@dataclass(frozen=True)
class Fixed:
    """`size` bytes; a decimal if it has a precision."""

    name: str
    size: int
    aliases: tuple[str, ...] = ()
    precision: int = 0
    scale: int = 0


@dataclass(frozen=True)
class Enum:
    """One of `symbols`; a reader falls back to `default` for symbols that it does not know."""

    name: str
    symbols: tuple[str, ...]
    default: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Array:
    """Any number of items."""

    items: Type


@dataclass(frozen=True)
class Map:
    """Any number of values by name."""

    values: Type


@dataclass(frozen=True)
class Union:
    """One of its branches, by number."""

    branches: tuple[Type, ...]

    @cached_property
    def null(self) -> int | None:
        """The number of the null branch."""
        return next((i for i, branch in enumerate(self.branches) if branch == Primitive("null")), None)

    @cached_property
    def members(self) -> tuple[int, ...]:
        """The numbers of the other branches."""
        return tuple(i for i, branch in enumerate(self.branches) if branch != Primitive("null"))

    @cached_property
    def optional(self) -> int | None:
        """The number of T in `[null, T]` or `[T, null]`; None for any other union."""
        return self.members[0] if len(self.branches) == 2 and len(self.members) == 1 else None


@dataclass(frozen=True)
class Field:
    """A named part of a record. A reader without the field in the data takes the default, as JSON has it."""

    name: str
    type: Type
    aliases: tuple[str, ...] = ()
    default: Any = MISSING


@dataclass(frozen=True)
class Record:
    """Fields in the order in which they are written."""

    name: str
    fields: tuple[Field, ...]
    aliases: tuple[str, ...] = ()


Type = Primitive | Fixed | Enum | Array | Map | Union | Record


def parse(schema: Schema) -> Record:
    """The tree of a schema. Raises `UnusableSchema`."""
    try:
        parsed = parse_schema(schema)
        tree = _Builder().build(parsed, depth=0)
    except UnusableSchema:
        raise
    except Exception as error:  # fastavro meets malformed JSON with whatever comes: KeyError, TypeError, …
        raise UnusableSchema(f"not an Avro schema: {type(error).__name__}: {error}") from error
    if not isinstance(tree, Record):
        raise UnusableSchema(f"the outermost type must be a record, not {describe(tree)}")
    return tree


class _Builder:
    """Turns parsed JSON into types, resolving names."""

    def __init__(self) -> None:
        self._named: dict[str, Type] = {}
        self._open: set[str] = set()
        self._types = 0

    def build(self, json: Any, depth: int) -> Type:
        self._types += 1
        if depth > MAX_DEPTH or self._types > MAX_TYPES:
            raise UnusableSchema(f"more than {MAX_TYPES} types, or nested deeper than {MAX_DEPTH}")
        if isinstance(json, list):
            union = Union(tuple(self.build(branch, depth + 1) for branch in json))
            if not union.members:
                raise UnusableSchema("a union without a branch other than null")
            return union
        if isinstance(json, str):
            if json in _PRIMITIVES:
                return Primitive(json)
            if json in self._open:
                raise UnusableSchema(f"{json} contains itself; such a type has no form in columns")
            self._types += size(self._named[json])
            return self._named[json]
        kind = json["type"]
        if kind == "array":
            items = self.build(json["items"], depth + 1)
            if min_bytes(items) == 0:
                raise UnusableSchema(
                    "an array whose items take no bytes: a short record could claim any number of them"
                )
            _refuse_widening(items)
            return Array(items)
        if kind == "map":
            values = self.build(json["values"], depth + 1)
            _refuse_widening(map_entry(values))
            return Map(values)
        if kind in ("record", "error", "fixed", "enum"):
            return self._build_named(kind, json, depth)
        if isinstance(kind, str) and kind in _PRIMITIVES:
            return _primitive(kind, json)
        return self.build(kind, depth + 1)  # {"type": {"type": …}}

    def _build_named(self, kind: str, json: Schema, depth: int) -> Type:
        name = json["name"]
        aliases = tuple(alias.rpartition(".")[2] for alias in json.get("aliases", ()))
        built: Type
        if kind == "fixed":
            if not 0 <= json["size"] <= MAX_FIXED_BYTES:
                raise UnusableSchema(f"fixed {name}: {json['size']} bytes, the limit is {MAX_FIXED_BYTES}")
            built = Fixed(name, json["size"], aliases, *_decimal(json))
        elif kind == "enum":
            if not json["symbols"]:
                raise UnusableSchema(f"enum {name} has no symbols")
            built = Enum(name, tuple(json["symbols"]), json.get("default"), aliases)
        else:
            self._open.add(name)
            fields = tuple(
                Field(
                    field["name"],
                    self.build(field["type"], depth + 1),
                    tuple(field.get("aliases", ())),
                    field.get("default", MISSING),
                )
                for field in json["fields"]
            )
            self._open.discard(name)
            if not fields or len({field.name for field in fields}) < len(fields):
                raise UnusableSchema(f"record {name} has {'two fields of one name' if fields else 'no fields'}")
            built = Record(name, fields, aliases)
            if min_bytes(built) > 16 * MAX_FIXED_BYTES:
                raise UnusableSchema(f"record {name} takes {min_bytes(built)} bytes at least")
        self._named[name] = built
        return built


def _primitive(kind: str, json: Schema) -> Primitive:
    logical = json.get("logicalType")
    if kind == "bytes" and logical == "decimal":
        precision, scale = _decimal(json)
        return Primitive(kind, "decimal" if precision else None, precision, scale)
    return Primitive(kind, logical if (kind, logical) in _LOGICAL else None)


def _decimal(json: Schema) -> tuple[int, int]:
    """Precision and scale; (0, 0) where there is no usable decimal, which leaves the bytes as they are."""
    precision, scale = json.get("precision", 0), json.get("scale", 0)
    if json.get("logicalType") != "decimal" or not 0 < precision <= _MAX_DECIMAL_DIGITS or not 0 <= scale <= precision:
        return 0, 0
    return precision, scale


def children(type_: Type) -> tuple[Type, ...]:
    """The types directly inside this one."""
    match type_:
        case Array(items):
            return (items,)
        case Map(values):
            return (values,)
        case Union(branches):
            return branches
        case Record(_, fields):
            return tuple(field.type for field in fields)
    return ()


def _refuse_widening(items: Type) -> None:
    """Refuse items of which a few bytes become many columns, as of a record that may be null."""
    if size(items) > MAX_WIDENING * min_bytes(items):
        raise UnusableSchema(
            f"items of {size(items)} types that take {min_bytes(items)} byte(s) at least: a short record could fill "
            "the memory"
        )


def size(type_: Type) -> int:
    """How many types the tree holds."""
    return 1 + sum(size(child) for child in children(type_))


def min_bytes(type_: Type) -> int:
    """The fewest bytes that a value takes."""
    match type_:
        case Primitive(kind):
            return {"null": 0, "float": 4, "double": 8}.get(kind, 1)
        case Fixed(_, length):
            return length
        case Record(_, fields):
            return sum(min_bytes(field.type) for field in fields)
        case Union(branches):
            return 1 + min(min_bytes(branch) for branch in branches)
    return 1


def dtype(type_: Type) -> pl.DataType:
    """The polars type of a column of this Avro type."""
    match type_:
        case Primitive(kind, logical):
            if logical == "decimal":
                return pl.Decimal(type_.precision, type_.scale)
            return _LOGICAL[kind, logical] if logical else _PRIMITIVES[kind]
        case Fixed(precision=precision, scale=scale):
            return pl.Decimal(precision, scale) if precision else pl.Binary()
        case Enum(_, symbols):
            return pl.Enum(symbols)
        case Array(items):
            return pl.List(dtype(items))
        case Map(values):
            return pl.List(pl.Struct({"key": pl.String(), "value": dtype(values)}))
        case Union(branches):
            if type_.optional is not None:
                return dtype(branches[type_.optional])
            return pl.Struct({member_name(type_, i): dtype(branches[i]) for i in type_.members})
        case Record(_, fields):
            return pl.Struct({field.name: dtype(field.type) for field in fields})


def member_name(union: Union, branch: int) -> str:
    """The struct field that holds this branch of a union that is more than optional."""
    return f"member{union.members.index(branch)}"


def physical(type_: Type) -> Type:
    """The same bytes with less meaning: no logical types, enums as the int that they are written as, and fields named
    by position, so that no name of the writer's can clash with ours or trouble another library."""
    match type_:
        case Primitive(kind):
            return Primitive(kind)
        case Fixed(name, length):
            return Fixed(name, length)
        case Enum():
            return Primitive("int")
        case Array(items):
            return Array(physical(items))
        case Map(values):
            return Map(physical(values))
        case Union(branches):
            return Union(tuple(physical(branch) for branch in branches))
        case Record(name, fields):
            return Record(name, tuple(Field(f"f{i}", physical(field.type)) for i, field in enumerate(fields)))


def map_entry(values: Type) -> Record:
    """A map is written as an array of these is."""
    return Record("entry", (Field("key", Primitive("string")), Field("value", values)))


def is_columnar(type_: Type) -> bool:
    """Whether polars reads it at all. What it does not read it may answer with a panic, so it is not asked."""
    match type_:
        case Primitive(kind):
            return kind != "null"
        case Fixed(_, length):
            return length > 0
        case Map():
            return False
        case Union(branches):
            return type_.optional is not None and is_columnar(branches[type_.optional])
        case Record(_, fields):
            return all(is_columnar(field.type) for field in fields)
        case Array(items):
            return is_columnar(items)
    return True


def to_json(type_: Type) -> Any:
    """The schema of a physical type as JSON; every named type gets a name of its own, so nothing refers back.

    Each branch of a union that is more than optional is wrapped in a record, which adds no byte to the data but lets
    fastavro say which branch it met: its record name is `branchN`.
    """
    return _JsonWriter().write(type_)


class _JsonWriter:
    def __init__(self) -> None:
        self._names = 0

    def write(self, type_: Type) -> Any:
        match type_:
            case Primitive(kind):
                return kind
            case Fixed(_, length):
                return {"type": "fixed", "name": self._name(), "size": length}
            case Array(items):
                return {"type": "array", "items": self.write(items)}
            case Map(values):
                return {"type": "map", "values": self.write(values)}
            case Union(branches):
                if type_.optional is not None:
                    return [self.write(branch) for branch in branches]
                return [self._branch(i, branch) for i, branch in enumerate(branches)]
            case Record(_, fields):
                return {
                    "type": "record",
                    "name": self._name(),
                    "fields": [{"name": field.name, "type": self.write(field.type)} for field in fields],
                }
        raise TypeError(f"{describe(type_)} is not physical")

    def _branch(self, number: int, branch: Type) -> Any:
        return {
            "type": "record",
            "name": f"branch{number}",
            "namespace": self._name(),  # unions may be many, each with its branch 0
            "fields": [{"name": "value", "type": self.write(branch)}],
        }

    def _name(self) -> str:
        self._names += 1
        return f"t{self._names}"


def describe(type_: Type) -> str:
    """The type in a few words, for messages."""
    match type_:
        case Primitive(kind, logical):
            return f"{kind} ({logical})" if logical else kind
        case Fixed(name, length):
            return f"fixed {name} of {length} bytes"
        case Enum(name) | Record(name):
            return f"{type(type_).__name__.lower()} {name}"
        case Array(items):
            return f"array of {describe(items)}"
        case Map(values):
            return f"map of {describe(values)}"
        case Union(branches):
            return f"[{', '.join(describe(branch) for branch in branches)}]"


def with_fields(record: Record, *, first: Field | None = None, last: Field | None = None) -> Record:
    """The record with a field more on either side."""
    return replace(record, fields=(*([first] if first else []), *record.fields, *([last] if last else [])))
