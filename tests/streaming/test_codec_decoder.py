"""Decoding: several writers, what is set aside and why, and sizes from outside that must not be believed."""

from __future__ import annotations

import io
import pickle
import struct
import time
from datetime import UTC, datetime
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from streaming.codec import Decoder, Encoder, PackagedRegistry, RegistryUnavailable, Schema, UnusableSchema, load_schema
from streaming.codec import decoder as decoding
from streaming.codec._block import BlockReader
from streaming.codec._schema import parse
from streaming.codec._wire import split
from streaming.records import Records
from streaming.state import Column, StateTable
from streaming.testing import every_row

NAME = {"name": "name", "type": "string"}
X = {"name": "x", "type": "long"}
POINT: Schema = {
    "type": "record",
    "name": "Point",
    "fields": [
        NAME,
        X,
        {"name": "y", "type": ["null", "double"]},
    ],
}


def record(fields: list[dict[str, Any]], name: str = "Point") -> Schema:
    return {"type": "record", "name": name, "fields": fields}


def one(type_: Any) -> Schema:
    return record([{"name": "x", "type": type_}])


def point(name: bytes, x: bytes, y: bytes = b"\x00") -> bytes:
    """A framed record of schema 1, from the pieces as they are on the wire."""
    return b"\x00\x00\x00\x00\x01" + bytes([2 * len(name)]) + name + x + y


def records(*values: bytes | None) -> Records:
    return Records.of([None] * len(values), list(values))


def zigzag(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()


GOOD = point(b"a", b"\x02", b"\x02" + struct.pack("<d", 0.5))


@pytest.mark.parametrize("copies", [1, 100])
def test_a_poll_is_rows_in_the_order_of_its_records(copies: int) -> None:
    poll = records(*[GOOD, None, point(b"bc", b"\x03"), b"\x00\x00", b"\x01" + GOOD[1:], GOOD[:-1], GOOD] * copies)
    decoded = Decoder(POINT, {1: POINT}).decode(poll)
    expected = [("a", 1, 0.5), ("bc", -2, None), ("a", 1, 0.5)] * copies
    assert decoded.frame.rows() == expected
    assert decoded.frame.schema == {"name": pl.String, "x": pl.Int64, "y": pl.Float64}
    assert decoded.rows.tolist() == [7 * i + j for i in range(copies) for j in (0, 2, 6)]
    assert decoded.schema_ids.dtype == np.int32
    assert decoded.schema_ids.tolist() == [1] * 3 * copies
    assert decoded.bad[:4] == [
        (1, None, "BadFraming", "the value is null: a tombstone where a record is expected"),
        (3, None, "BadFraming", "2 bytes: too short for magic byte and schema id"),
        (4, None, "BadFraming", "magic byte 1, not 0: not in Confluent framing"),
        (5, 1, "CorruptRecord", "ends in the middle of a field"),
    ]
    assert len(decoded.bad) == 4 * copies


def test_an_empty_poll_has_the_columns_all_the_same() -> None:
    decoded = Decoder("match-events", PackagedRegistry()).decode(records())
    assert decoded.frame.height == 0
    assert decoded.frame.schema["event_time_ms"] == pl.Datetime("ms", "UTC")
    assert decoded.frame.schema["heroes_a"] == pl.List(pl.String)
    assert decoded.frame.width == len(load_schema("match-events")["fields"])
    assert (len(decoded.rows), decoded.bad) == (0, [])


def test_a_slice_of_arrow_values_is_read_where_it_begins() -> None:
    values = pa.array([b"junk", None, *[GOOD] * 40], pa.large_binary())[2:]
    poll = Records(values, values, np.arange(40), np.zeros(40, np.int64))
    assert Decoder(POINT, {1: POINT}).decode(poll).frame.height == 40


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (point(b"a", b"\x02", b"\x04" + bytes(8)), "names a branch of a union that does not exist"),
        (point(b"\xff", b"\x02"), "text that is not UTF-8: invalid start byte at byte 0 of it"),
        (GOOD + b"!!", "2 bytes left over behind the last field"),
        (b"\x00\x00\x00\x00\x01\x01", "ends in the middle of a field"),  # a text of -1 bytes
        (b"\x00\x00\x00\x00\x01" + zigzag(1 << 40), "ends in the middle of a field"),
        (b"\x00\x00\x00\x00\x01" + zigzag(-(1 << 63)), "ends in the middle of a field"),
        (b"\x00\x00\x00\x00\x01" + b"\xff" * 40, "ends in the middle of a field"),
    ],
)
@pytest.mark.parametrize("around", [0, 2, 200])
def test_one_bad_record_costs_none_of_its_neighbours(bad: bytes, message: str, around: int) -> None:
    decoded = Decoder(POINT, {1: POINT}).decode(records(*[GOOD] * around, bad, *[GOOD] * around))
    assert decoded.frame.rows() == [("a", 1, 0.5)] * 2 * around
    assert [(b.row, b.schema_id, b.error) for b in decoded.bad] == [(around, 1, "CorruptRecord")]
    assert message in decoded.bad[0].message


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (["null", "string"], b"\x02\x02a", [b"\x04\x02a", b"\x06\x02a", b"\x03\x02a"]),
        (["string", "null"], b"\x00\x02a", [b"\x04\x02a", b"\x04"]),
        (["null", "string"], b"\x02\x80\x01" + b"x" * 64, [b"\x04\x80\x01" + b"x" * 64]),
        (["null", "long"], b"\x02\x02", [b"\x04\x02", b"\x82\x01\x02"]),
        (["null", {"type": "array", "items": "int"}], b"\x02\x02\x02\x00", [b"\x04\x02\x02\x00", b"\x04\x00"]),
        (
            ["null", {"type": "enum", "name": "E", "symbols": ["a"]}],
            b"\x02\x00",
            [b"\x02\x02", b"\x04\x00", b"\x02\x01"],
        ),
        ({"type": "array", "items": ["null", "int"]}, b"\x02\x02\x02\x00", [b"\x02\x04\x02\x00"]),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, b"\x02", [b"\x04", b"\x01", b"\x80\x02"]),
    ],
)
@pytest.mark.parametrize("around", [0, 40])
def test_a_branch_or_symbol_that_is_not_there_is_bad(type_: Any, good: bytes, bad: list[bytes], around: int) -> None:
    prefix = b"\x00\x00\x00\x00\x01"
    schema = record([{"name": "x", "type": type_}, {"name": "y", "type": "int"}])
    values = [prefix + good + b"\x02"] * around + [prefix + body + b"\x02" for body in bad]
    decoded = Decoder(schema, {1: schema}).decode(records(*values))
    assert [b.row for b in decoded.bad] == list(range(around, around + len(bad)))
    assert decoded.frame["y"].to_list() == [1] * around


def test_numbers_out_of_their_range_are_bad_whatever_is_around_them() -> None:
    schema = record([
        {"name": "i", "type": "int"},
        {"name": "in_list", "type": {"type": "array", "items": "int"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ])  # fmt: skip

    def value(i: int, item: int, at: int) -> bytes:
        return b"\x00\x00\x00\x00\x01" + zigzag(i) + b"\x02" + zigzag(item) + b"\x00" + zigzag(at)

    good = value(-(2**31), 2**31 - 1, 1_700_000_000_000)
    for around in (0, 30):
        values = [value(2**31, 0, 0), value(0, -(2**31) - 1, 0), value(0, 0, 253402300800000), *[good] * around]
        decoded = Decoder(schema, {1: schema}).decode(records(*values))
        assert [b.row for b in decoded.bad] == [0, 1, 2]
        assert [b.error for b in decoded.bad] == ["CorruptRecord", "CorruptRecord", "BadValue"]
        assert "field at: 253402300800000 is outside the range of timestamp-millis" in decoded.bad[2].message
        at = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        assert decoded.frame.rows() == [(-(2**31), [2**31 - 1], at)] * around


# --- sizes from outside -------------------------------------------------------------------------------------------

BOMBS = [
    ("string", zigzag(1 << 62)),
    ("bytes", zigzag(1 << 31)),
    ({"type": "array", "items": "string"}, zigzag(1 << 60)),
    ({"type": "array", "items": "int"}, zigzag(1 << 40) + b"\x02"),
    ({"type": "array", "items": "double"}, zigzag((1 << 63) - 1) + bytes(16)),
    ({"type": "array", "items": "float"}, zigzag(1 << 33) + bytes(16)),
    ({"type": "array", "items": "long"}, zigzag(-(1 << 62)) + zigzag(1 << 62) + b"\x02"),
    ({"type": "array", "items": "long"}, zigzag(-(1 << 63)) + b"\x02"),
    ({"type": "array", "items": {"type": "array", "items": "int"}}, zigzag(1 << 50) * 3),
    ({"type": "array", "items": one(["null", "string"])}, zigzag(1 << 50)),
    ({"type": "map", "values": "null"}, zigzag(1 << 50) + b"\x00"),
    ({"type": "map", "values": "string"}, zigzag(-(1 << 60)) + zigzag(1 << 60)),
]


@pytest.mark.parametrize(("type_", "bomb"), BOMBS)
@pytest.mark.parametrize("copies", [1, 50])
def test_a_claimed_size_allocates_nothing_and_loops_for_nothing(type_: Any, bomb: bytes, copies: int) -> None:
    schema = record([{"name": "x", "type": type_}], name="Outer")
    decoder = Decoder(schema, {1: schema})
    before_kb, started = peak_kb(), time.process_time()
    decoded = decoder.decode(records(*[b"\x00\x00\x00\x00\x01" + bomb] * copies))
    assert len(decoded.bad) == copies
    assert decoded.frame.height == 0
    assert time.process_time() - started < 2.0
    assert peak_kb() - before_kb < 64 * 1024


def peak_kb() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


WIDE = {"type": "record", "name": "Wide", "fields": [{"name": f"f{i}", "type": "double"} for i in range(200)]}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (one({"type": "array", "items": "null"}), "items take no bytes"),
        (one({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}), "items take no bytes"),
        (one({"type": "array", "items": ["null", WIDE]}), "could fill the memory"),
        (one({"type": "map", "values": ["null", WIDE]}), "could fill the memory"),
        (record([{"name": "next", "type": ["null", "Point"]}]), "contains itself"),
        (one({"type": "fixed", "name": "F", "size": 1 << 40}), "the limit is"),
        (one("nothing"), "not an Avro schema"),
        ({"type": "array", "items": "int"}, "outermost"),
        (record([]), "no fields"),
        ({"name": "x"}, "not an Avro schema"),
    ],
)
def test_schemas_without_a_safe_form_are_refused(schema: Schema, message: str) -> None:
    with pytest.raises(UnusableSchema, match=message):
        Decoder(schema, {})
    decoded = Decoder(POINT, {1: schema}).decode(records(GOOD, GOOD))
    assert [(b.row, b.error) for b in decoded.bad] == [(0, "UnusableSchema"), (1, "UnusableSchema")]
    assert message in decoded.bad[0].message


def test_a_schema_that_multiplies_is_refused() -> None:
    fields: list[dict[str, Any]] = [{"name": "f0", "type": record([{"name": "x", "type": "int"}], "T0")}]
    for i in range(1, 40):
        halves = [{"name": "a", "type": f"T{i - 1}"}, {"name": "b", "type": f"T{i - 1}"}]
        fields.append({"name": f"f{i}", "type": record(halves, f"T{i}")})
    with pytest.raises(UnusableSchema, match="more than 4096 types"):
        parse(record(fields))
    deep: Any = "int"
    for _ in range(20_000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(UnusableSchema):
        parse(one(deep))


def test_names_of_the_writers_cannot_clash_with_ours() -> None:
    names = ["guard", "f0", "f1", "_reject", "value"]
    schema = record([{"name": name, "type": "int"} for name in names])
    frame = pl.DataFrame({name: pl.Series([i] * 30, dtype=pl.Int32) for i, name in enumerate(names)})
    values = Encoder(schema, 1).encode(frame)
    assert Decoder(schema, {1: schema}).decode(records(*values.to_pylist())).frame.equals(frame)


# --- writers ------------------------------------------------------------------------------------------------------


class DeadRegistry:
    """Knows schema 1; for any other it is out of reach."""

    def schema(self, schema_id: int) -> Schema:
        if schema_id == 1:
            return POINT
        raise RegistryUnavailable("out of reach")

    def id_of(self, schema_name: str) -> int:
        raise RegistryUnavailable("out of reach")


def test_a_registry_out_of_reach_is_nobodys_bad_record() -> None:
    decoder = Decoder(POINT, DeadRegistry())
    assert decoder.decode(records(GOOD)).frame.height == 1
    with pytest.raises(RegistryUnavailable):
        decoder.decode(records(GOOD, b"\x00\x00\x00\x00\x02" + GOOD[5:]))
    assert decoder.decode(records(GOOD)).frame.height == 1


def test_an_unknown_id_is_bad_until_it_is_registered() -> None:
    known = {1: POINT}
    decoder = Decoder(POINT, known)
    poll = records(GOOD, b"\x00\x00\x00\x00\x02" + GOOD[5:])
    assert decoder.decode(poll).bad[0][:3] == (1, 2, "UnknownSchema")
    known[2] = POINT
    assert decoder.decode(poll).schema_ids.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("writer", "message"),
    [
        (record([NAME]), "field x is not in the writer's schema and has no default"),
        (record([{"name": "name", "type": "int"}, X]), "field name: the writer has int, the reader string"),
        (record([NAME, {"name": "x", "type": "double"}]), "field x: the writer has double, the reader long"),
        ({**POINT, "name": "Other"}, "the record: the writer has record Other, the reader record Point"),
    ],
)
def test_an_incompatible_writer_is_a_reason_not_a_crash(writer: Schema, message: str) -> None:
    decoded = Decoder(POINT, {1: POINT, 2: writer}).decode(records(GOOD, b"\x00\x00\x00\x00\x02\x00"))
    assert decoded.frame.height == 1
    assert decoded.bad[0][:3] == (1, 2, "IncompatibleSchema")
    assert message in decoded.bad[0].message


def test_missing_fields_promotions_aliases_and_order() -> None:
    old = record([{"name": "x", "type": "int"}, {"name": "gone", "type": "string"}, {"name": "label", "type": "bytes"}])
    reader = record([
        {"name": "name", "type": "string", "aliases": ["label"]},
        {"name": "x", "type": "double"},
        {"name": "y", "type": ["null", "double"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": ["new"]},
    ])  # fmt: skip
    decoded = Decoder(reader, {1: POINT | {"name": "Point"}, 3: old}).decode(
        records(GOOD, b"\x00\x00\x00\x00\x03\x06\x02?\x04hi", b"\x00\x00\x00\x00\x03\x06\x02?\x02\xff")
    )
    assert decoded.frame.rows() == [("a", 1.0, 0.5, ["new"]), ("hi", 3.0, None, ["new"])]
    assert decoded.bad == [(2, 3, "BadValue", "field name: bytes that are not UTF-8")]


def test_a_null_where_the_reader_has_none_is_that_records_fault() -> None:
    reader = record([{"name": "y", "type": "double"}])
    decoded = Decoder(reader, {1: POINT}).decode(records(*[GOOD, point(b"a", b"\x02")] * 20))
    assert decoded.frame.rows() == [(0.5,)] * 20
    assert [b.row for b in decoded.bad] == list(range(1, 40, 2))
    assert decoded.bad[0].message == "field y: null, where the reader has double"


def test_arrays_in_several_blocks_are_read_as_other_writers_may_write_them() -> None:
    schema = one({"type": "array", "items": "int"})
    in_blocks = b"\x00\x00\x00\x00\x01" + b"\x02\x02" + zigzag(-2) + zigzag(2) + b"\x04\x06" + b"\x00"
    whole = b"\x00\x00\x00\x00\x01" + b"\x06\x02\x04\x06" + b"\x00"
    decoded = Decoder(schema, {1: schema}).decode(records(*[whole, in_blocks] * 20))
    assert decoded.frame["x"].to_list() == [[1, 2, 3]] * 40
    assert decoded.bad == []


def test_long_arrays_are_read_too() -> None:
    schema = record([
        {"name": "vector", "type": {"type": "array", "items": "float"}},
        {"name": "words", "type": {"type": "array", "items": "string"}},
    ])  # fmt: skip
    frame = pl.DataFrame(
        {"vector": [[0.5] * 1000] * 20, "words": [["ok"] * 100] * 20},
        schema={"vector": pl.List(pl.Float32), "words": pl.List(pl.String)},
    )
    values = Encoder(schema, 1).encode(frame)
    assert Decoder(schema, {1: schema}).decode(records(*values.to_pylist())).frame.equals(frame)


def test_a_state_changelog_is_read_by_its_own_schema() -> None:
    layout = {"clock_s": Column(np.float64, default=-1.0), "hidden": Column(np.float32, (3,)), "team": Column(str)}
    table = StateTable("fold", layout)
    slots = table.slots(["m1", "m2"])
    table["hidden"][slots] = [[1, 2, 3], [4, 5, 6]]
    table["team"][slots] = ["T1", "王者"]
    values = Encoder(table.schema, table.schema_id).encode(every_row(table))
    decoded = Decoder(table.schema, {table.schema_id: table.schema}).decode(records(*values.to_pylist()))
    restored = StateTable("fold", layout)
    restored.restore(decoded.frame)
    assert every_row(restored).equals(every_row(table))


# --- the ways of reading ------------------------------------------------------------------------------------------


def test_small_and_large_polls_take_different_ways_and_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [GOOD, point(b"b", b"\x04"), GOOD[:-3], point(b"\xff", b"\x02"), GOOD + b"\x00"] * 10
    answers = []
    for block_from in (1, 10_000):
        monkeypatch.setattr(decoding, "BLOCK_FROM", block_from)
        answers.append(Decoder(POINT, {1: POINT}).decode(records(*values)))
    assert answers[0].frame.equals(answers[1].frame)
    assert answers[0].bad == answers[1].bad


def test_the_guard_names_the_first_record_that_is_longer_than_its_fields() -> None:
    good, longer = b"\x00\x00\x00\x00\x01" + bytes(8), b"\x00\x00\x00\x00\x01" + bytes(9)
    block = BlockReader(parse(one("double"))).read(pa.array([good] * 7 + [longer] + [good] * 9, pa.large_binary()))
    assert (block.rows, block.frame.height) == (7, 7)
    assert block.fault == "a record that is longer or shorter than its fields"


def test_what_a_block_does_not_read_is_judged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the screen ever let damage through, the guard and fastavro still find it."""
    decoder = Decoder(one("double"), {1: one("double")})
    good, longer = b"\x00\x00\x00\x00\x01" + bytes(8), b"\x00\x00\x00\x00\x01" + bytes(9)
    monkeypatch.setattr(decoding, "screen", lambda _: lambda data, starts, ends: np.ones(len(starts), bool))
    decoded = decoder.decode(records(*[good] * 20, longer, *[good] * 20))
    assert [(b.row, b.message) for b in decoded.bad] == [(20, "1 bytes left over behind the last field")]
    assert decoded.frame.height == 40
    assert decoded.rows.tolist() == [*range(20), *range(21, 41)]


def test_damage_never_reaches_polars_and_its_panics(capfd: pytest.CaptureFixture[str]) -> None:
    wrong = [GOOD[:-1], b"\x00\x00\x00\x00\x01" + zigzag(1 << 40), point(b"a", b"\xff" * 12)]
    decoded = Decoder(POINT, {1: POINT}).decode(records(*[GOOD] * 50, *wrong))
    assert [b.row for b in decoded.bad] == [50, 51, 52]
    assert capfd.readouterr().err == ""


def test_a_decoder_travels_without_what_it_learnt() -> None:
    decoder = Decoder("match-events", PackagedRegistry())
    row = {"match_id": "m", "sequence": 1, "event_time_ms": 5, "title": "lol", "kind": "start", "clock_s": 0.0}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, load_schema("match-events"), row)
    poll = records(b"\x00\x00\x00\x00\x01" + out.getvalue())
    here = decoder.decode(poll)
    there = pickle.loads(pickle.dumps(decoder)).decode(poll)  # noqa: S301 - our own bytes
    assert there.frame.equals(here.frame)
    assert here.frame["count"].to_list() == [1.0]


def test_frames_are_split_by_id() -> None:
    values = [b"\x00\x00\x00\x01\x02rest", b"\x00\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x07\x00\x00\x00\x01", b""]
    assert split(pa.array(values, pa.large_binary())).ids.tolist() == [258, 2**32 - 1, -1, -1, -1]
