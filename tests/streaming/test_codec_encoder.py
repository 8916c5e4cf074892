"""Encoding: bytes worked out by hand, and errors that name the column and the row."""

from __future__ import annotations

import pickle
import struct
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from streaming.codec import EncodeError, Encoder, Schema, load_schema

ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b"]}
FIXED = {"type": "fixed", "name": "F", "size": 2}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 2}
INTS = {"type": "array", "items": "int"}
STRINGS = {"type": "array", "items": "string"}
MEMBERS = pl.Struct({"member0": pl.Int32, "member1": pl.String})
EITHER = ["null", "int", "string"]


def one(type_: Any) -> Schema:
    return {"type": "record", "name": "R", "fields": [{"name": "x", "type": type_}]}


def body(type_: Any, column: pl.Series) -> list[bytes]:
    """The Avro bytes of one column, without the frame."""
    values = Encoder(one(type_), 7).encode(pl.DataFrame([column.alias("x")])).to_pylist()
    assert all(value[:5] == b"\x00\x00\x00\x00\x07" for value in values)
    return [value[5:] for value in values]


@pytest.mark.parametrize(
    ("type_", "column", "expected"),
    [
        ("boolean", pl.Series([True, False]), [b"\x01", b"\x00"]),
        ("int", pl.Series([0, -1, 1, 63], dtype=pl.Int32), [b"\x00", b"\x01", b"\x02", b"\x7e"]),
        ("int", pl.Series([64, -65, 0], dtype=pl.Int16), [b"\x80\x01", b"\x81\x01", b"\x00"]),
        ("int", pl.Series([2**31 - 1, -(2**31)]), [b"\xfe\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x0f"]),
        ("long", pl.Series([2**63 - 1, -(2**63)]), [b"\xfe" + b"\xff" * 8 + b"\x01", b"\xff" * 9 + b"\x01"]),
        ("float", pl.Series([1.0], dtype=pl.Float32), [b"\x00\x00\x80\x3f"]),
        ("double", pl.Series([1.0, float("nan")]), [bytes(6) + b"\xf0\x3f", bytes(6) + b"\xf8\x7f"]),
        ("string", pl.Series(["", "Ω", "x" * 64]), [b"\x00", b"\x04\xce\xa9", b"\x80\x01" + b"x" * 64]),
        ("bytes", pl.Series([b"\x00\xff"]), [b"\x04\x00\xff"]),
        (["null", "string"], pl.Series(["a", None]), [b"\x02\x02a", b"\x00"]),
        (["string", "null"], pl.Series(["a", None]), [b"\x00\x02a", b"\x02"]),
        (["null", "double"], pl.Series([1.0, None]), [b"\x02" + bytes(6) + b"\xf0\x3f", b"\x00"]),
        (["null", "long"], pl.Series([None, 64, -1]), [b"\x00", b"\x02\x80\x01", b"\x02\x01"]),
        (["null", "double"], pl.Series([None, None], dtype=pl.Null), [b"\x00", b"\x00"]),
        (STRINGS, pl.Series([["a", ""], []]), [b"\x04\x02a\x00\x00", b"\x00"]),
        (INTS, pl.Series([[1], [], [-1, 64]]), [b"\x02\x02\x00", b"\x00", b"\x04\x01\x80\x01\x00"]),
        ({"type": "map", "values": "int"}, pl.Series([[{"key": "k", "value": 1}]]), [b"\x02\x02k\x02\x00"]),
        (ENUM, pl.Series(["b", "a"]), [b"\x02", b"\x00"]),
        (FIXED, pl.Series([b"ab"]), [b"ab"]),
        (MILLIS, pl.Series([1]).cast(pl.Datetime("ms", "UTC")), [b"\x02"]),
        (MILLIS, pl.Series([1]), [b"\x02"]),
        ({"type": "int", "logicalType": "date"}, pl.Series([-1], dtype=pl.Int32).cast(pl.Date), [b"\x01"]),
        (DECIMAL, pl.Series([Decimal("-1.28")]), [b"\x04\xff\x80"]),
        (EITHER, pl.Series([{"member0": None, "member1": "a"}, None]), [b"\x04\x02a", b"\x00"]),
        (EITHER, pl.Series([{"member0": 64, "member1": None}], dtype=MEMBERS), [b"\x02\x80\x01"]),
    ],
)  # fmt: skip
def test_bytes_by_the_avro_specification(type_: Any, column: pl.Series, expected: list[bytes]) -> None:
    assert body(type_, column) == expected


def test_fields_follow_one_another_in_the_schemas_order() -> None:
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": name, "type": kind} for name, kind in [("b", "double"), ("a", "string"), ("c", "boolean")]],
    }
    frame = pl.DataFrame({"a": ["k", ""], "_offset": [1, 2], "c": [True, False], "b": [0.5, -2.0]})
    assert Encoder(schema, 258).encode(frame).to_pylist() == [
        b"\x00\x00\x00\x01\x02" + struct.pack("<d", 0.5) + b"\x02k\x01",
        b"\x00\x00\x00\x01\x02" + struct.pack("<d", -2.0) + b"\x00\x00",
    ]


def test_no_rows_are_no_values() -> None:
    schema = load_schema("match-events")
    columns = {field["name"]: pl.Series([], dtype=pl.Null) for field in schema["fields"]}
    assert Encoder(schema, 1).encode(pl.DataFrame(columns)).to_pylist() == []


@pytest.mark.parametrize(
    ("type_", "column", "message"),
    [
        ("string", pl.Series(["a", None, None]), "column x, row 1: null where Avro string allows none"),
        ("double", pl.Series([None, 1.0]), "column x, row 0: null where Avro double allows none"),
        ("double", pl.Series(["1"]), "column x: String where Avro double asks for Float64; cast it first"),
        ("float", pl.Series([0.1]), "column x: Float64 where Avro float asks for Float32; cast it first"),
        ("string", pl.Series([1]), "column x: Int64 where Avro string asks for String; cast it first"),
        ("int", pl.Series([0, 2**31]), "column x, row 1: 2147483648 does not fit an Avro int"),
        ("long", pl.Series([2**63], dtype=pl.UInt64), "column x, row 0: 9223372036854775808 does not fit an Avro long"),
        ("long", pl.Series([1.5]), "column x: Float64 where Avro long asks for Int64; cast it first"),
        (FIXED, pl.Series([b"ab", b"abc"]), "column x, row 1: 3 bytes where 2 are asked for"),
        (ENUM, pl.Series(["a", "c"]), "column x, row 1: 'c' is not a symbol of the enum"),
        (STRINGS, pl.Series([["a"], ["b", None]]), r"column x\[\], row 1: null where Avro string"),
        (STRINGS, pl.Series(["a"]), r"column x: String where Avro array of string asks for List"),
        (MILLIS, pl.Series([1]).cast(pl.Datetime("us", "UTC")), "column x: Datetime"),
        (MILLIS, pl.Series([1]).cast(pl.Datetime("ms")), "column x: Datetime"),
        (["int", "string"], pl.Series([{"member0": 1, "member1": "a"}]), "row 0: a value in more than one member"),
        (["int", "string"], pl.Series([{"member0": None, "member1": None}]), "column x, row 0: null where Avro"),
        (one("int"), pl.Series([{"y": 1}]), "column x: field x is missing"),
        (DECIMAL, pl.Series([Decimal("10.00")]), "row 0: 10.00 does not fit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_first_row(type_: Any, column: pl.Series, message: str) -> None:
    if isinstance(type_, dict) and type_.get("type") == "record":
        type_ = {**type_, "name": "Inner"}
    with pytest.raises(EncodeError, match=message.replace("(", r"\(")):
        body(type_, column)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(EncodeError, match="column x is missing; the schema R asks for it"):
        Encoder(one("int"), 1).encode(pl.DataFrame({"y": [1]}))


def test_an_id_that_no_registry_gives_is_refused() -> None:
    with pytest.raises(ValueError, match="schema id 2147483648"):
        Encoder(one("int"), 1 << 31)


def test_an_encoder_travels() -> None:
    encoder = pickle.loads(pickle.dumps(Encoder(one("int"), 3)))  # noqa: S301 - our own bytes
    assert encoder.encode(pl.DataFrame({"x": [1]})).to_pylist() == [b"\x00\x00\x00\x00\x03\x02"]


def test_a_frame_in_chunks_is_written_as_a_whole_one_is() -> None:
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "a", "type": "string"},
            {"name": "b", "type": ["null", "long"]},
            {"name": "c", "type": "boolean"},
            {"name": "d", "type": INTS},
        ],
    }
    first = pl.DataFrame({"a": ["x", "yy"], "b": [1, None], "c": [True, False], "d": [[1], []]})
    second = pl.DataFrame({"a": [""], "b": [300], "c": [True], "d": [[2, 3]]})
    whole, chunks = pl.concat([first, second], rechunk=True), pl.concat([first, second], rechunk=False)
    assert chunks.n_chunks() == 2
    encoder = Encoder(schema, 1)
    assert encoder.encode(chunks).equals(encoder.encode(whole))
    last = b"\x00\x00\x00\x00\x01" + b"\x00" + b"\x02\xd8\x04" + b"\x01" + b"\x04\x04\x06\x00"
    assert encoder.encode(chunks)[2].as_py() == last
