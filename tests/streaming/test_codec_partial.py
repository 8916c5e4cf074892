"""Records that cannot be read whole: what is there up to the fault, and corrected fields back to bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.codec import (
    Decoder,
    PackagedRegistry,
    UnusableSchema,
    UnwritableFields,
    frame_prefix,
    load_schema,
    read_fields,
    write_fields,
)
from streaming.records import Records

EVENTS = load_schema("match-events")
FIELDS: dict[str, Any] = {
    "match_id": "m", "sequence": 3, "event_time_ms": 123, "title": "lol", "kind": "snapshot", "clock_s": 60.0,
}  # fmt: skip


def test_a_good_record_is_read_to_its_end() -> None:
    record = write_fields(EVENTS, FIELDS)
    readable = read_fields(EVENTS, record)
    assert readable.fault is None and readable.at_byte == len(record)
    assert {name: readable.fields[name] for name in FIELDS} == FIELDS
    assert readable.fields["gold"] is None and readable.fields["count"] == 1.0  # the schema's defaults
    assert write_fields(EVENTS, readable.fields) == record


def test_what_was_written_is_what_the_decoder_reads() -> None:
    registry = PackagedRegistry()
    value = frame_prefix(registry.id_of("match-events")) + write_fields(EVENTS, FIELDS)
    decoded = Decoder("match-events", registry).decode(Records.of([b"m"], [value]))
    assert decoded.bad == [] and decoded.frame["clock_s"].to_list() == [60.0]
    assert decoded.frame["event_time_ms"].dt.epoch("ms").to_list() == [123]


def test_a_cut_record_is_read_up_to_the_cut() -> None:
    record = write_fields(EVENTS, {**FIELDS, "league": "LCK"})
    end = record.index(b"LCK")
    readable = read_fields(EVENTS, record[: end + 1])
    assert readable.fault == "league: ends in the middle of a field"
    assert list(readable.fields)[-1] == "team_b" and "league" not in readable.fields
    assert readable.at_byte == end - 2  # branch and length come before the text


def test_bytes_left_over_are_the_fault() -> None:
    record = write_fields(EVENTS, FIELDS)
    assert read_fields(EVENTS, record + b"xy").fault == "2 bytes are left over behind the last field"


@given(st.binary(max_size=80))
def test_any_bytes_give_fields_and_a_fault_or_a_record(record: bytes) -> None:
    readable = read_fields(EVENTS, record)
    assert 0 <= readable.at_byte <= len(record)
    assert (readable.fault is None) == (
        len(readable.fields) == len(EVENTS["fields"]) and readable.at_byte == len(record)
    )


def test_a_type_that_an_earlier_field_has_named() -> None:
    fixed = {"type": "fixed", "name": "Mark", "size": 2}
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": fixed}, {"name": "b", "type": "Mark"}]}
    assert read_fields(schema, b"\x01\x02\xff\x00").fields == {"a": "0102", "b": "ff00"}
    assert read_fields(schema, b"\x01\x02\xff") == ({"a": "0102"}, "b: ends in the middle of a field", 2)


def test_a_schema_that_could_fill_the_memory_is_refused() -> None:
    items = {"type": "array", "items": {"type": "record", "name": "Nothing", "fields": [{"name": "x", "type": "null"}]}}
    with pytest.raises(UnusableSchema, match="take no bytes"):
        read_fields({"type": "record", "name": "R", "fields": [{"name": "a", "type": items}]}, b"\xfe\xff\xff\x0f")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({**FIELDS, "clock_s": "late"}, "clock_s is <late>"),
        ({**FIELDS, "sequence": 2**70}, "sequence is <1180591620717411303424>"),
        ({**FIELDS, "kind": None}, r"kind\) is None"),
        ({"match_id": "m"}, "sequence is missing"),
        ({**FIELDS, "goldd": 1.0}, "there is no field 'goldd'; there are match_id"),
    ],
)
def test_fields_that_are_no_record_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UnwritableFields, match=said):
        write_fields(EVENTS, fields)
