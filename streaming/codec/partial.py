"""What can be read of a record that cannot be read whole, and a record made again from its fields.

    readable = read_fields(schema, record)      # fields up to the first fault, and the fault
    record = write_fields(schema, fields)       # after someone has corrected them

Fields are plain values, as JSON has them: times are whole numbers of the schema's unit. Bytes are shown as hexadecimal
digits, and are the one kind that is not taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
from fastavro.validation import ValidationError, validate

from streaming.codec._schema import Schema, parse
from streaming.codec._singly import words_of


class Readable(NamedTuple):
    """How far a record can be read."""

    fields: dict[str, Any]
    fault: str | None  # None: all of it is fine
    at_byte: int  # of the record: where the faulty field begins


class UnwritableFields(ValueError):
    """Fields that are no record of the schema; the message says which and why."""


def read_fields(schema: Schema, record: bytes) -> Readable:
    """The fields of a record without its frame, up to the first that cannot be read.

    Sizes in the data are safe to meet, as for whole records: fastavro takes from the record's bytes what is there.

    Raises:
        UnusableSchema: the schema is none that records are read by.
    """
    parse(schema)
    plain = _without_logical_types(schema)
    fields: dict[str, Any] = {}
    begin = 0
    for count, field in enumerate(plain["fields"], start=1):
        # From the start each time, as a field may be of a type that an earlier one has named.
        data = BytesIO(record)
        try:
            found = fastavro.schemaless_reader(data, {**plain, "fields": plain["fields"][:count]}, None)
        except Exception as error:  # whatever fastavro meets damage with
            return Readable(fields, f"{field['name']}: {words_of(error)}", begin)
        assert isinstance(found, dict)
        fields, begin = {name: _shown(value) for name, value in found.items()}, data.tell()
    left = len(record) - begin
    return Readable(fields, f"{left} bytes are left over behind the last field" if left else None, begin)


def write_fields(schema: Schema, fields: Mapping[str, Any]) -> bytes:
    """A record without its frame; a field that is not given takes the schema's default.

    Raises:
        UnwritableFields: one is missing, unknown or of another type.
    """
    plain: dict[str, Any] = _without_logical_types(schema)
    known = {field["name"]: field for field in plain["fields"]}
    if unknown := sorted(set(fields) - set(known)):
        raise UnwritableFields(f"there is no field {unknown[0]!r}; there are {', '.join(known)}")
    if missing := [name for name, field in known.items() if name not in fields and "default" not in field]:
        raise UnwritableFields(f"{missing[0]} is missing")
    whole = {name: fields.get(name, field.get("default")) for name, field in known.items()}
    data = BytesIO()
    try:
        validate(whole, plain)
        fastavro.schemaless_writer(data, plain, whole)
    except (ValidationError, ValueError, TypeError, OverflowError) as error:
        raise UnwritableFields(" ".join(str(error).split())[:300]) from error
    return data.getvalue()


def _without_logical_types(schema: Any) -> Any:
    """The same bytes with less meaning."""
    match schema:
        case dict():
            return {name: _without_logical_types(part) for name, part in schema.items() if name != "logicalType"}
        case list():
            return [_without_logical_types(part) for part in schema]
    return schema


def _shown(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {name: _shown(item) for name, item in value.items()}
        case list():
            return [_shown(item) for item in value]
    return value
