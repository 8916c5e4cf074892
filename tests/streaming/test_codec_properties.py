"""The codec against fastavro, record by record: random schemas, random rows, and more than ten thousand corruptions."""

from __future__ import annotations

import io
import itertools
import math
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.codec import Decoder, Encoder, PackagedRegistry
from streaming.codec._schema import Array, Enum, Fixed, Map, Primitive, Record, Type, Union, dtype, member_name, parse
from streaming.codec.registry import packaged_ids
from streaming.records import Records

Json = dict[str, Any]

SYNTHETIC: dict[int, Json] = {
    100: {
        "type": "record",
        "name": "Numbers",
        "fields": [
            {"name": name, "type": kind}
            for name, kind in zip("abcdefg", ["int", "long", "double", "float", "boolean", "long", "int"], strict=True)
        ],
    },
    101: {
        "type": "record",
        "name": "Optionals",
        "fields": [
            {"name": "last_null", "type": ["string", "null"]},
            {"name": "whole", "type": ["null", "int"]},
            {"name": "flag", "type": ["null", "boolean"]},
            {"name": "real", "type": ["float", "null"]},
            {"name": "blob", "type": ["null", "bytes"]},
            {"name": "tag", "type": ["null", {"type": "fixed", "name": "Tag", "size": 3}]},
            {"name": "grade", "type": ["null", {"type": "enum", "name": "Grade", "symbols": ["low", "high"]}]},
            {"name": "grades", "type": ["null", {"type": "array", "items": "Grade"}]},
        ],
    },
    102: {
        "type": "record",
        "name": "Nested",
        "namespace": "a.b",
        "fields": [
            {
                "name": "at",
                "type": {
                    "type": "record",
                    "name": "Point",
                    "fields": [{"name": "x", "type": "float"}, {"name": "y", "type": ["null", "long"]}],
                },
            },
            {"name": "path", "type": {"type": "array", "items": "Point"}},
            {"name": "maybe", "type": ["null", "a.b.Point"]},
            {"name": "grid", "type": {"type": "array", "items": {"type": "array", "items": "int"}}},
            {"name": "words", "type": {"type": "array", "items": ["null", "string"]}},
            {"name": "vector", "type": {"type": "array", "items": "float"}},
        ],
    },
    103: {
        "type": "record",
        "name": "Logical",
        "fields": [
            {"name": "ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "us", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
            {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {"name": "clock", "type": {"type": "int", "logicalType": "time-millis"}},
            {"name": "clock_us", "type": {"type": "long", "logicalType": "time-micros"}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {
                "name": "cost",
                "type": {
                    "type": "fixed",
                    "name": "Cost",
                    "size": 6,
                    "logicalType": "decimal",
                    "precision": 12,
                    "scale": 3,
                },
            },
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "grade", "type": {"type": "enum", "name": "Grade", "symbols": ["low", "mid", "high"]}},
            {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 16}},
        ],
    },
    104: {
        "type": "record",
        "name": "Odd",  # what polars does not read
        "fields": [
            {"name": "counts", "type": {"type": "map", "values": "int"}},
            {"name": "either", "type": ["null", "int", "string"]},
            {
                "name": "both",
                "type": [
                    "string",
                    {
                        "type": "record",
                        "name": "Pair",
                        "fields": [{"name": "p", "type": "int"}, {"name": "q", "type": ["null", "double"]}],
                    },
                ],
            },
            {"name": "none", "type": "null"},
            {"name": "maps", "type": {"type": "array", "items": {"type": "map", "values": ["null", "Pair"]}}},
        ],
    },
}
SCHEMAS: dict[int, Json] = {**{i: PackagedRegistry().schema(i) for i in packaged_ids()}, **SYNTHETIC}


# --- random values, as fastavro writes them -----------------------------------------------------------------------


def datum(type_: Type, rng: random.Random) -> Any:
    match type_:
        case Primitive("null"):
            return None
        case Primitive("boolean"):
            return rng.random() < 0.5
        case Primitive(("int" | "long") as kind, logical):
            return whole(kind, logical, rng)
        case Primitive("float"):
            return rng.choice([0.0, -1.5, math.inf, math.nan, 1e-3, rng.gauss(0, 100)])
        case Primitive("double"):
            return rng.choice([0.0, -1.5, -math.inf, math.nan, 1e300, rng.gauss(0, 100)])
        case Primitive("string", "uuid"):
            return str(uuid.UUID(int=rng.getrandbits(128)))
        case Primitive("string"):
            return rng.choice(["", "lol", "Ω≈ç", "x" * rng.randrange(200), "王者荣耀 🐉", "A:dragons", "\x00"])
        case Primitive("bytes", "decimal") | Fixed(precision=1 | 2 | 3 | 9 | 12):
            digits = rng.choice([0, 1, type_.precision])
            return Decimal(rng.randrange(-(10**digits) + 1, 10**digits)).scaleb(-type_.scale)
        case Primitive("bytes"):
            return rng.randbytes(rng.choice([0, 1, 5, 100]))
        case Fixed(_, size):
            return rng.randbytes(size)
        case Enum(_, symbols):
            return rng.choice(symbols)
        case Array(items):
            return [datum(items, rng) for _ in range(rng.choice([0, 0, 1, 2, 5, 70 if rng.random() < 0.05 else 3]))]
        case Map(values):
            return {f"k{i}": datum(values, rng) for i in range(rng.choice([0, 1, 3]))}
        case Union(branches):
            return datum(rng.choice(branches), rng)
        case Record(_, fields):
            return {field.name: datum(field.type, rng) for field in fields}
    raise AssertionError(type_)


def whole(kind: str, logical: str | None, rng: random.Random) -> int:
    if logical is not None and "timestamp" in logical:
        return rng.choice([0, -1, 1_700_000_000_000, rng.randrange(-(10**12), 10**13)])
    if logical is not None and logical.startswith("time"):
        return rng.randrange(86_400_000)
    if logical == "date":
        return rng.randrange(-700_000, 2_900_000)
    bits = 31 if kind == "int" else 63
    return rng.choice([0, 1, -1, 63, -64, 64, rng.randrange(10_000), 2**bits - 1, -(2**bits), rng.getrandbits(bits)])


def written(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def framed(schema_id: int, payload: bytes) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + payload


# --- what fastavro says, in the form of a polars row --------------------------------------------------------------


def as_row(type_: Type, value: Any) -> Any:
    """fastavro's value as polars returns it."""
    match type_:
        case Array(items):
            return [as_row(items, item) for item in value]
        case Map(values):
            return [{"key": key, "value": as_row(values, item)} for key, item in value.items()]
        case Union(branches):
            if type_.optional is not None:
                return None if value is None else as_row(branches[type_.optional], value)
            return {
                member_name(type_, i): as_row(branches[i], value) if is_a(branches[i], value) else None
                for i in type_.members
            }
        case Record(_, fields):
            return {field.name: as_row(field.type, value[field.name]) for field in fields}
        case Primitive("string", "uuid"):
            return str(value)
    return value


def is_a(type_: Type, value: Any) -> bool:
    match type_:
        case Primitive("int"):
            return isinstance(value, int)
        case Primitive("string"):
            return isinstance(value, str)
        case Record():
            return isinstance(value, dict)
    raise AssertionError(type_)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) and isinstance(a, datetime | date | time | str) == isinstance(b, datetime | date | time | str)


class Oracle:
    """fastavro's verdict on single records."""

    def __init__(self, schema: Json) -> None:
        self.type = parse(schema)
        self.schema = fastavro.parse_schema(schema)

    def row(self, payload: bytes) -> Any:
        """The row, or None for a record that fastavro does not read to its end."""
        data = io.BytesIO(payload)
        try:
            value = fastavro.schemaless_reader(data, self.schema, None)
        except Exception:
            return None
        return as_row(self.type, value) if data.tell() == len(payload) else None

    def is_plain(self, payload: bytes) -> bool:
        """Whether fastavro would itself write these bytes, with every number in the range of its type."""
        value = fastavro.schemaless_reader(io.BytesIO(payload), self.schema, None)
        try:
            return written(self.schema, value) == payload and fastavro.validate(value, self.schema, raise_errors=False)
        except Exception:
            return False


# --- corruption ---------------------------------------------------------------------------------------------------


def corrupt(kind: str, record: bytes, other: bytes, rng: random.Random) -> bytes | None:
    head, body = record[:5], record[5:]
    at = rng.randrange(len(body)) if body else 0
    match kind:
        case "grown":
            return record[: 5 + at] + rng.randbytes(rng.randint(1, 12)) + record[5 + at :]
        case "longer":
            return record + rng.randbytes(rng.randint(1, 12))
        case "cut":
            return head + body[:at]
        case "garbage":
            return head + rng.randbytes(len(body))
        case "flip":
            return head + body[:at] + bytes([body[at] ^ 1 << rng.randrange(8)]) + body[at + 1 :] if body else head
        case "byte":
            return head + body[:at] + bytes([rng.choice([0, 1, 2, 3, 4, 5, 127, 128, 255])]) + body[at + 1 :]
        case "huge":
            return (
                head
                + body[:at]
                + rng.choice([b"\xff" * 9 + b"\x01", b"\xfe" * 8 + b"\x7f", b"\x80" * 9 + b"\x01", b"\xff" * 30])
                + body[at:]
            )
        case "spliced":
            return head + body[:at] + other[5:][at:]
        case "no payload":
            return head
        case "empty":
            return b""
        case "null":
            return None
        case "short":
            return record[: rng.randrange(5)]
        case "wrong id":
            return record[:1] + rng.choice([*SCHEMAS, 9, 77, 2**31 - 1, 2**31, 2**32 - 1]).to_bytes(4, "big") + body
        case "wrong magic":
            return bytes([rng.randrange(1, 256)]) + record[1:]
    raise AssertionError(kind)


KINDS = [
    "grown",
    "longer",
    "cut",
    "garbage",
    "flip",
    "byte",
    "huge",
    "spliced",
    "no payload",
    "empty",
    "null",
    "short",
    "wrong id",
    "wrong magic",
]
OF_EACH_KIND = 51  # with every schema: more than 10,000 in all


@pytest.mark.parametrize("schema_id", SCHEMAS)
def test_corrupt_records_are_named_and_disturb_no_other(schema_id: int) -> None:
    rng = random.Random(schema_id)
    schema = SCHEMAS[schema_id]
    oracle, decoder = Oracle(schema), Decoder(schema, SCHEMAS)
    seen: Counter[str] = Counter()
    while min(seen[kind] for kind in KINDS) < OF_EACH_KIND:
        size = rng.choice([1, 5, 40, 200])
        good = [framed(schema_id, written(oracle.schema, datum(oracle.type, rng))) for _ in range(size)]
        values: list[bytes | None] = list(good)
        for row in rng.sample(range(size), math.ceil(size * rng.choice([0.05, 0.2, 0.5]))):
            kind = KINDS[sum(seen.values()) % len(KINDS)]
            values[row] = corrupt(kind, good[row], rng.choice(good), rng)
            seen[kind] += 1
        check(schema_id, oracle, decoder, values)


def check(schema_id: int, oracle: Oracle, decoder: Decoder, values: list[bytes | None]) -> None:
    """Every record is either a row that fastavro agrees with, or named as bad for a reason that fastavro shares."""
    decoded = decoder.decode(Records.of([None] * len(values), values))
    rows, bad = dict(zip(decoded.rows.tolist(), decoded.frame.to_dicts(), strict=True)), {b.row: b for b in decoded.bad}
    assert sorted([*rows, *bad]) == list(range(len(values)))
    assert list(rows) == sorted(rows)
    assert list(bad) == sorted(bad)
    assert set(decoded.schema_ids.tolist()) <= versions(schema_id)
    for row, value in enumerate(values):
        written_id = (
            int.from_bytes(value[1:5], "big") if value is not None and len(value) >= 5 and value[0] == 0 else None
        )
        if written_id != schema_id:
            if written_id in versions(schema_id):  # bytes of one version may well read as another's
                continue
            assert bad[row].schema_id == written_id
            assert bad[row].error == ("BadFraming" if written_id is None else named(written_id))
            continue
        assert value is not None
        expected = oracle.row(value[5:])
        if row in rows:
            assert expected is not None, (value, rows[row])
            assert same(rows[row], expected), (value, rows[row], expected)
        else:
            assert bad[row].error in ("CorruptRecord", "BadValue"), bad[row]
            too_long = "digits of its decimal" in bad[row].message  # fastavro rounds to the precision
            assert expected is None or too_long or not oracle.is_plain(value[5:]), (value, bad[row])


def versions(schema_id: int) -> set[int]:
    """All ids of records of this name: its own, and those it evolved from or into."""
    return {known for known, schema in SCHEMAS.items() if schema["name"] == SCHEMAS[schema_id]["name"]}


def named(schema_id: int) -> str:
    return "IncompatibleSchema" if schema_id in SCHEMAS else "UnknownSchema"


# --- whole schemas ------------------------------------------------------------------------------------------------

PRIMITIVES = ["boolean", "int", "long", "float", "double", "string", "bytes"]
LOGICAL = [
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    {"type": "string", "logicalType": "uuid"},
]


def random_type(rng: random.Random, names: Iterator[int], depth: int) -> Any:
    kinds = ["primitive"] * 4 + ["logical", "fixed", "enum", "optional", "optional"]
    match rng.choice(kinds + ["array", "record", "map"] * (depth > 0)):
        case "logical":
            return rng.choice(LOGICAL)
        case "fixed":
            return {"type": "fixed", "name": f"n{next(names)}", "size": rng.randint(1, 9)}
        case "enum":
            return {"type": "enum", "name": f"n{next(names)}", "symbols": ["a", "b", "c"][: rng.randint(1, 3)]}
        case "optional":
            inner = random_type(rng, names, depth - 1)
            inner = "int" if isinstance(inner, list) else inner
            return rng.choice([["null", inner], [inner, "null"]])
        case "array":
            return {"type": "array", "items": random_type(rng, names, depth - 1)}
        case "map":
            return {"type": "map", "values": random_type(rng, names, depth - 1)}
        case "record":
            return random_record(rng, names, depth - 1)
    return rng.choice(PRIMITIVES)


def random_record(rng: random.Random, names: Iterator[int], depth: int) -> Json:
    fields = [{"name": f"field{i}", "type": random_type(rng, names, depth)} for i in range(rng.randint(1, 6))]
    return {"type": "record", "name": f"n{next(names)}", "fields": fields}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**9), st.sampled_from([0, 1, 3, 40]))
def test_what_fastavro_writes_survives_decoding_and_encoding(seed: int, count: int) -> None:
    rng = random.Random(seed)
    schema = random_record(rng, itertools.count(), depth=3)
    oracle = Oracle(schema)
    payloads = [written(oracle.schema, datum(oracle.type, rng)) for _ in range(count)]
    values = [framed(5, payload) for payload in payloads]
    decoded = Decoder(schema, {5: schema}).decode(Records.of([None] * count, values))
    assert decoded.bad == []
    assert decoded.frame.schema == {field.name: dtype(field.type) for field in oracle.type.fields}
    for row, payload in zip(decoded.frame.to_dicts(), payloads, strict=True):
        assert same(row, oracle.row(payload)), (schema, payload)
    assert Encoder(schema, 5).encode(decoded.frame).to_pylist() == values


@pytest.mark.parametrize("schema_id", SCHEMAS)
def test_every_schema_survives_in_polls_of_any_size(schema_id: int) -> None:
    oracle, rng = Oracle(SCHEMAS[schema_id]), random.Random(1)
    decoder, encoder = Decoder(SCHEMAS[schema_id], SCHEMAS), Encoder(SCHEMAS[schema_id], schema_id)
    values = [framed(schema_id, written(oracle.schema, datum(oracle.type, rng))) for _ in range(300)]
    whole_poll = decoder.decode(Records.of([None] * 300, values)).frame
    singles = [decoder.decode(Records.of([None], [value])).frame for value in values]
    assert pl.concat(singles).equals(whole_poll)
    assert encoder.encode(whole_poll).to_pylist() == values
    assert encoder.encode(whole_poll[7:130]).to_pylist() == values[7:130]  # a slice has offsets of its own


# --- schema evolution ---------------------------------------------------------------------------------------------

KIND: Json = {"type": "enum", "name": "Kind"}
SPOT: Json = {"type": "record", "name": "Spot"}
X: Json = {"name": "x", "type": "double"}
Y: Json = {"name": "y", "type": "float", "default": 2.0}
READER: Json = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "id", "type": "string", "aliases": ["key"]},
        {"name": "clock", "type": "double"},
        {"name": "gold", "type": ["null", "double"], "default": None},
        {"name": "count", "type": "long", "default": 7},
        {"name": "blob", "type": "bytes", "default": "\u00ff"},
        {"name": "team", "type": "string", "default": "?"},
        {"name": "kind", "type": {**KIND, "symbols": ["a", "b", "z"], "default": "z"}, "default": "b"},
        {"name": "tags", "type": {"type": "array", "items": "double"}, "default": [1.5]},
        {"name": "at", "type": {**SPOT, "fields": [X, Y]}, "default": {"x": 1.0}},
    ],
}  # fmt: skip
WRITERS: dict[int, list[Json]] = {
    1: READER["fields"],
    2: [{"name": "clock", "type": "int"}, {"name": "id", "type": "string"}],
    3: [
        {"name": "extra", "type": {"type": "map", "values": "string"}},
        {"name": "key", "type": "bytes"},
        {"name": "gold", "type": "float"},
        {"name": "clock", "type": "long"},
        {"name": "tags", "type": {"type": "array", "items": "int"}},
    ],
    4: [
        {"name": "kind", "type": {**KIND, "symbols": ["new", "b", "a"]}},
        {"name": "gold", "type": ["int", "null"]},
        {"name": "count", "type": ["null", "int"]},
        {"name": "clock", "type": "float"},
        {"name": "blob", "type": "string"},
        {"name": "at", "type": {**SPOT, "fields": [{"name": "w", "type": "string"}, {"name": "x", "type": "long"}]}},
        {"name": "team", "type": ["null", "string", "bytes"]},
        {"name": "id", "type": "string"},
    ],
}  # fmt: skip


def test_several_writers_in_one_poll_make_one_frame_as_fastavro_resolves_them() -> None:
    rng = random.Random(4)
    writers = {i: {"type": "record", "name": "Event", "fields": fields} for i, fields in WRITERS.items()}
    types = {i: parse(schema) for i, schema in writers.items()}
    ids = [rng.choice(list(writers)) for _ in range(400)]
    payloads = [written(writers[i], datum(types[i], rng)) for i in ids]
    values = [framed(i, payload) for i, payload in zip(ids, payloads, strict=True)]
    decoded = Decoder(READER, writers).decode(Records.of([None] * 400, values))
    rows = dict(zip(decoded.rows.tolist(), decoded.frame.to_dicts(), strict=True))
    assert list(rows) == sorted(rows)
    assert decoded.schema_ids.tolist() == [ids[row] for row in rows]
    assert decoded.frame.schema == {field.name: dtype(field.type) for field in parse(READER).fields}
    assert {b.error for b in decoded.bad} == {"BadValue"}
    for row, (i, payload) in enumerate(zip(ids, payloads, strict=True)):
        try:
            expected = fastavro.schemaless_reader(io.BytesIO(payload), writers[i], READER)
        except Exception:
            assert row not in rows, payload  # a null, or bytes that are no text, where the reader has no place for them
            continue
        expected["at"].setdefault("y", 2.0)  # fastavro takes a default as it stands
        if isinstance(expected["blob"], str):
            expected["blob"] = expected["blob"].encode("latin-1")
        assert same(rows[row], expected), (rows[row], expected)
