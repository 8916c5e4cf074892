"""Rows of an older layout become rows of today's where nothing can be lost; else they are refused by column."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.layouts import MAX_SCHEMA_BYTES, BadSchema, Columns, PackedColumn, RowLayout, Unfit
from streaming.state import Column, StateTable

CODES = ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8")
NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name not in ("key", "packed", "check"))


@st.composite
def layouts(draw: st.DrawFn) -> RowLayout:
    names = draw(st.lists(NAMES, unique=True, max_size=6))
    texts = draw(st.integers(0, len(names)))
    shapes = st.lists(st.integers(1, 5), max_size=2).map(tuple)
    packed = [PackedColumn(name, draw(st.sampled_from(CODES)), draw(shapes)) for name in names[texts:]]
    return RowLayout(draw(st.text(min_size=1, max_size=8)), tuple(names[:texts]), tuple(packed))


@given(layouts())
def test_a_layout_is_read_from_its_own_schema(layout: RowLayout) -> None:
    assert RowLayout.parse(layout.published()) == layout


@given(layouts(), st.data())
def test_a_broken_schema_is_refused_and_nothing_else_happens(layout: RowLayout, data: st.DataObject) -> None:
    text = bytearray(layout.published())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[at]))
    try:
        read = RowLayout.parse(bytes(text))
    except BadSchema:
        return
    assert read.published() == bytes(text)  # a letter of a name has changed: another layout, with another id
    assert read.schema_id != layout.schema_id


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(text: bytes) -> None:
    with pytest.raises(BadSchema):
        RowLayout.parse(text)


def edited(column: list[Any]) -> bytes:
    schema = json.loads(RowLayout("fold", (), (PackedColumn("a", "<f8", (2,)),)).published())
    schema["fields"][1]["columns"] = [column]
    return json.dumps(schema, sort_keys=True).encode()


@pytest.mark.parametrize(
    "column",
    [["a", "<f8", [1 << 40]], ["a", "|O", []], ["a", "<f8", [-2]], ["a", "<f8", [True]], ["a", 8, [2]],
     ["", "<f8", [2]], ["a", "<f8", [2] * 5], ["a", "<f8", [3]], ["a", "<f8", [[2]]], ["a", "<f8"], "a"],
)  # fmt: skip
def test_columns_that_no_layout_has_are_refused(column: list[Any]) -> None:
    with pytest.raises(BadSchema):
        RowLayout.parse(edited(column))


def test_a_schema_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(BadSchema, match=f"{MAX_SCHEMA_BYTES} at most"):
        RowLayout.parse(b"[" * (MAX_SCHEMA_BYTES + 1))
    with pytest.raises(BadSchema):
        RowLayout.parse(b"[" * MAX_SCHEMA_BYTES)


def layout(**columns: Column) -> RowLayout:
    return StateTable("fold", columns).row_layout


def test_a_new_column_is_left_to_its_default_and_an_old_one_is_dropped() -> None:
    now = layout(kept=Column(np.int32), fresh=Column(np.float64), name=Column(str))
    fitted = now.fit({"kept": np.array([1, 2], "<i4"), "gone": np.array([3.0, 4.0])})
    assert {name: values.tolist() for name, values in fitted.items()} == {"kept": [1, 2]}


@pytest.mark.parametrize(
    ("old", "new"),
    [("<i4", "<i8"), ("|u1", "<i2"), ("<f4", "<f8"), ("<i4", "<f8"), ("|i1", "<f2"), ("<u4", "<i8"), ("<i8", "<i8")],
)
def test_every_value_of_a_wider_type_is_the_same(old: str, new: str) -> None:
    info = np.finfo(old) if old[1] == "f" else np.iinfo(old)
    values = np.array([info.min, 0, 1, info.max], old)
    fitted = layout(a=Column(np.dtype(new).type)).fit({"a": values})["a"]
    assert fitted.dtype == np.dtype(new)
    assert [v == w for v, w in zip(fitted.tolist(), values.tolist(), strict=True)] == [True] * 4


@pytest.mark.parametrize(
    ("old", "new"),
    [("<i8", "<i4"), ("<f8", "<f4"), ("<i8", "<f8"), ("<u8", "<f8"), ("<i4", "<f4"), ("<i4", "<u8"), ("|b1", "<i4"),
     ("<i4", "|b1"), ("<f4", "<i8")],
)  # fmt: skip
def test_a_type_that_could_lose_something_is_refused_by_name(old: str, new: str) -> None:
    with pytest.raises(Unfit, match=rf"column a was {np.dtype(old).name} and is {np.dtype(new).name} now"):
        layout(a=Column(np.dtype(new).type)).fit({"a": np.zeros(2, old)})


def test_another_shape_and_text_for_a_number_are_refused() -> None:
    with pytest.raises(Unfit, match=r"column a was float32\[3\] and is float32\[4\] now"):
        layout(a=Column(np.float32, (4,))).fit({"a": np.zeros((2, 3), "<f4")})
    with pytest.raises(Unfit, match="column a was text and is int64 now"):
        layout(a=Column(np.int64)).fit({"a": np.array(["x"], object)})
    with pytest.raises(Unfit, match="column a was int64 and is text now"):
        layout(a=Column(str)).fit({"a": np.zeros(1, "<i8")})


def test_a_migration_says_what_becomes_of_a_column_and_is_fitted_itself() -> None:
    def renamed(columns: Columns) -> Columns:
        return {"seconds": columns["ms"] / 1000} if "ms" in columns else columns

    now = layout(seconds=Column(np.float64))
    assert now.fit({"ms": np.array([1500], "<i8")}, renamed)["seconds"].tolist() == [1.5]
    assert now.fit({"seconds": np.array([2.0])}, renamed)["seconds"].tolist() == [2.0]
    with pytest.raises(Unfit, match="column seconds"):
        layout(seconds=Column(np.float32)).fit({"ms": np.array([1500], "<i8")}, renamed)
