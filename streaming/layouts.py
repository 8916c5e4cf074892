"""What a row of keyed state looks like on its changelog, and how rows of an older layout become rows of today's.

A row is an Avro record: the key, the texts, and all columns of a fixed size packed into one `fixed` field, because it
is written for every batch and costs by the field. The packed field says in `columns` what is in it, in JSON, so that a
changelog that carries its schemas (`streaming.changelog`) can be read without the version that wrote it.

An older layout is taken over where nothing can be lost:

- a column that is new starts with its default;
- one that is gone is dropped;
- a number may have become wider: any value of the old type is one of the new.

Anything else is `Unfit`, unless the stage says what becomes of it (`Migrate`). A column under another name is one that
is gone and one that is new: that, too, takes a `Migrate`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

KEY, PACKED, CHECK = "key", "packed", "check"
"""Fields of a changelog row that are no columns. The last is the checksum."""

MAX_SCHEMA_BYTES = 64 * 1024

_TYPES = {np.dtype(code).newbyteorder("<").str for code in "?bhiqBHIQefd"}
_EXACT_INTEGERS = {np.dtype(kind) for kind in ("i8", "u8")}  # which no float holds without loss

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
Migrate = Callable[[Columns], Columns]
"""Columns of an older layout by name, (N, *shape) each, to what they are to be; what it returns is fitted as above. It
is called for every layout that is not today's, and tells them apart by their columns."""


class BadSchema(ValueError):
    """Bytes that are no schema of a state row."""


class Unfit(ValueError):
    """A column of an older layout of which no value of today's can be made."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(f"column {column} {why}")
        self.column = column


class PackedColumn(NamedTuple):
    """One column of a fixed size."""

    name: str
    code: str  # numpy's: "<f8"
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{np.dtype(self.code).name}{list(self.shape) if self.shape else ''}"


@dataclass(frozen=True)
class RowLayout:
    """The columns of a stage's rows."""

    stage: str
    texts: tuple[str, ...]
    packed: tuple[PackedColumn, ...]

    @classmethod
    def parse(cls, text: bytes) -> RowLayout:
        """The layout of a schema as `published` writes it, and of no other.

        Raises:
            BadSchema: it is not one.
        """
        if len(text) > MAX_SCHEMA_BYTES:
            raise BadSchema(f"{len(text)} bytes; a schema has {MAX_SCHEMA_BYTES} at most")
        try:
            schema = json.loads(text)
            fields, stage = {field["name"]: field for field in schema["fields"]}, schema["stage"]
            columns = [PackedColumn(name, code, tuple(shape)) for name, code, shape in fields[PACKED]["columns"]]
        except KeyError as missing:
            if missing.args != (PACKED,):
                raise BadSchema(f"it has no {missing}") from missing
            columns = []
        except (ValueError, TypeError, RecursionError) as broken:
            raise BadSchema(f"it is no schema in JSON ({type(broken).__name__}: {broken})") from broken
        if bad := [column for column in columns if not _is_sound(column)]:
            raise BadSchema(f"it packs {bad[0]!r}, which is no column")
        texts = tuple(name for name in fields if name not in (KEY, PACKED, CHECK))
        layout = cls(stage, texts, tuple(columns))
        if layout.published() != text:
            raise BadSchema("it is not written as we write schemas")
        return layout

    def published(self) -> bytes:
        """The schema of its changelog rows, checksum and all, as JSON."""
        check = {"name": CHECK, "type": {"type": "fixed", "name": "crc32", "size": 4}, "doc": "of record key and row"}
        return json.dumps(self.schema | {"fields": [*self.schema["fields"], check]}, sort_keys=True).encode()

    @property
    def schema(self) -> dict[str, Any]:
        """Avro schema of a row without its checksum."""
        fields: list[dict[str, Any]] = [{"name": name, "type": "string"} for name in (KEY, *self.texts)]
        if size := self.dtype.itemsize:
            fields.append(
                {
                    "name": PACKED,
                    "type": {"type": "fixed", "name": f"{PACKED}_{size}", "size": size},
                    "doc": "columns one after another without gaps, by numpy's type and shape",
                    "columns": [[name, code, list(shape)] for name, code, shape in self.packed],
                }
            )
        name = f"State_{''.join(c if c.isalnum() and c.isascii() else '_' for c in self.stage)}"
        return {"type": "record", "name": name, "namespace": "sightline", "stage": self.stage, "fields": fields}

    @property
    def schema_id(self) -> int:
        """The schema's own id, at or above 2**30, apart from the packaged and registered ones: another layout is
        another id."""
        return (1 << 30) | (zlib.crc32(self.published()) & ((1 << 30) - 1))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the packed columns."""
        return np.dtype([(name, code, shape) for name, code, shape in self.packed])

    def unpack(self, rows: pl.DataFrame) -> dict[str, Array]:
        """The columns, (N, *shape) each, of N decoded rows."""
        packed = np.empty(len(rows), self.dtype)  # of texts alone, nothing
        if self.dtype.itemsize:
            packed = np.frombuffer(b"".join(rows[PACKED].to_list()), dtype=self.dtype)
        columns = {name: np.asarray(rows[name].to_list(), dtype=object) for name in self.texts}
        return columns | {column.name: packed[column.name] for column in self.packed}

    def fit(self, columns: Columns, migrate: Migrate | None = None) -> dict[str, Array]:
        """Columns of another layout as columns of this one, as far as it has them; the others start with defaults.

        Raises:
            Unfit: values could be lost.
        """
        if migrate is not None:
            columns = migrate(columns)
        fitted: dict[str, Array] = {}
        for name in self.texts:
            if name in columns:
                fitted[name] = _text(name, columns[name])
        for column in self.packed:
            if column.name in columns:
                fitted[column.name] = _number(column, columns[column.name])
        return fitted


def _text(name: str, values: Array) -> Array:
    if values.dtype != object:
        raise Unfit(name, f"was {values.dtype.name} and is text now")
    return values


def _number(column: PackedColumn, values: Array) -> Array:
    wanted, shape = np.dtype(column.code), values.shape[1:]
    was = "text" if values.dtype == object else str(PackedColumn(column.name, values.dtype.str, shape))
    if shape != column.shape or not _widens(values.dtype, wanted):
        raise Unfit(column.name, f"was {was} and is {column} now")
    return values.astype(wanted, copy=False)


def _widens(old: np.dtype[Any], new: np.dtype[Any]) -> bool:
    """Whether every value of the old type is one of the new. Truth values are no numbers."""
    if old == new:
        return True
    if old.kind not in "iuf" or new.kind not in "iuf" or (new.kind == "f" and old in _EXACT_INTEGERS):
        return False
    return np.can_cast(old, new, "safe")


def _is_sound(column: PackedColumn) -> bool:
    name, code, shape = column
    sizes = all(type(size) is int and 0 < size <= MAX_SCHEMA_BYTES for size in shape) and len(shape) <= 4
    return isinstance(name, str) and bool(name) and isinstance(code, str) and code in _TYPES and sizes
