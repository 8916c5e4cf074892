"""One record after the other, by fastavro: for schemas that polars does not read, for few records, and for the records
that need a verdict of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
import polars as pl

from streaming.codec._schema import Array, Map, Primitive, Record, Type, Union, dtype, member_name, physical, to_json

Shape = Callable[[Any], Any]


class Single(NamedTuple):
    """What became of some records."""

    frame: pl.DataFrame  # columns f0, f1, … of physical types
    rows: list[int]  # positions of the frame's rows among the records
    faults: dict[int, str]  # position → what is wrong


class SingleReader:
    """Reads the records of one writer schema. Sizes in the data are safe to meet: fastavro reads from the record's
    bytes and takes what is there, and items that take no bytes are refused with the schema."""

    def __init__(self, schema: Record) -> None:
        record = physical(schema)
        assert isinstance(record, Record)
        self._schema = fastavro.parse_schema(to_json(record))
        columns = [(i, field.name, dtype(field.type), _shape(field.type)) for i, field in enumerate(record.fields)]
        self._empty = pl.DataFrame(schema={name: wanted for _, name, wanted, _ in columns})
        self._flat = {name: wanted for _, name, wanted, _ in columns if not wanted.is_nested()}
        self._nested = [column for column in columns if column[2].is_nested()]

    def read(self, records: Sequence[bytes]) -> Single:
        """Read records without their frame."""
        values: list[dict[str, Any]] = []
        rows: list[int] = []
        faults: dict[int, str] = {}
        for row, record in enumerate(records):
            try:
                values.append(self._read(record))
                rows.append(row)
            except Exception as error:  # whatever fastavro meets damage with: EOFError, IndexError, UnicodeError, …
                faults[row] = words_of(error)
        if not values:
            return Single(self._empty, rows, faults)
        try:
            return Single(self._frame(values), rows, faults)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            return self._sift(values, rows, faults)

    def _read(self, record: bytes) -> dict[str, Any]:
        data = BytesIO(record)
        value = fastavro.schemaless_reader(data, self._schema, None, return_record_name=True)
        left = len(record) - data.tell()
        if left:
            raise ValueError(f"{left} bytes left over behind the last field")
        assert isinstance(value, dict)
        return value

    def _frame(self, values: Sequence[dict[str, Any]]) -> pl.DataFrame:
        columns = pl.DataFrame(values, schema=self._flat, strict=True).get_columns() if self._flat else []
        for place, name, wanted, shape in self._nested:
            column = [value[name] for value in values] if shape is None else [shape(value[name]) for value in values]
            columns.insert(place, pl.Series(name, column, wanted, strict=True))
        return pl.DataFrame(columns)

    def _sift(self, values: Sequence[dict[str, Any]], rows: Sequence[int], faults: dict[int, str]) -> Single:
        """Some value does not fit its column, as an int of 40 bits does not: find the records one by one."""
        fit: list[dict[str, Any]] = []
        fitting: list[int] = []
        for row, value in zip(rows, values, strict=True):
            try:
                self._frame([value])
            except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
                faults[row] = "a number that does not fit its type"
            else:
                fit.append(value)
                fitting.append(row)
        return Single(self._frame(fit) if fit else self._empty, fitting, faults)


def words_of(error: Exception) -> str:
    """What fastavro meant by an exception, for a person."""
    if isinstance(error, EOFError):
        return "ends in the middle of a field"
    if isinstance(error, UnicodeDecodeError):
        return f"text that is not UTF-8: {error.reason} at byte {error.start} of it"
    if isinstance(error, IndexError):
        return "ends in the middle of a field, or names a branch of a union that does not exist"
    return str(error) or type(error).__name__


def _shape(type_: Type) -> Shape | None:
    """From what fastavro returns to what polars builds a column from; None where that is the same."""
    match type_:
        case Primitive("int"):
            return _int32
        case Array(items):
            item = _shape(items)
            return None if item is None else lambda values: [item(value) for value in values]
        case Map(values):
            of_value = _shape(values) or _same
            return lambda entries: [{"key": key, "value": of_value(value)} for key, value in entries.items()]
        case Union(branches):
            return _union_shape(type_, branches)
        case Record(_, fields):
            shapes = [(field.name, _shape(field.type)) for field in fields]
            if all(shape is None for _, shape in shapes):
                return None
            return lambda value: {name: (shape or _same)(value[name]) for name, shape in shapes}
    return None


def _union_shape(union: Union, branches: tuple[Type, ...]) -> Shape | None:
    if union.optional is None:
        members = {f"branch{i}": (member_name(union, i), _shape(branches[i]) or _same) for i in union.members}
        empty = {name: None for name, _ in members.values()}

        def member(branch: tuple[str, dict[str, Any]]) -> dict[str, Any]:
            found = members.get(branch[0].rpartition(".")[2])
            return empty if found is None else {**empty, found[0]: found[1](branch[1]["value"])}

        return member
    inner = _shape(branches[union.optional])
    if isinstance(branches[union.optional], Record):  # arrives with its name
        return lambda value: None if value is None else (inner or _same)(value[1])
    return None if inner is None else lambda value: None if value is None else inner(value)


def _int32(value: int | None) -> int | None:
    """Polars would make a null of a number within a list or struct that does not fit."""
    if value is not None and not -(1 << 31) <= value < 1 << 31:
        raise OverflowError(f"{value} does not fit an int")
    return value


def _same(value: Any) -> Any:
    return value
