from __future__ import annotations

import io
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.state import SHARED, Column, StateTable
from streaming.testing import drained, every_row

LAYOUT = {
    "clock_s": Column(np.float64, default=-1.0),
    "hidden": Column(np.float32, (3,)),
    "team": Column(str),
    "seen": Column(np.bool_, default=False),
    "total": Column(np.int64),
    "frame": Column(np.int32, default=7),
}


@pytest.fixture
def table() -> StateTable:
    return StateTable("fold", LAYOUT)


def test_a_new_key_starts_with_the_defaults(table: StateTable) -> None:
    (slot,) = table.slots(["m"])
    assert table["clock_s"][slot] == -1.0
    assert table["hidden"][slot].tolist() == [0.0, 0.0, 0.0]
    assert table["team"][slot] == ""
    assert table["frame"][slot] == 7
    assert "m" in table and "n" not in table
    assert len(table) == 1


def test_a_key_keeps_its_slot_and_two_keys_never_share_one(table: StateTable) -> None:
    first = table.slots(["a", "b", "a"])
    assert first[0] == first[2] != first[1]
    assert table.slots(["b", "a"]).tolist() == [first[1], first[0]]


def test_values_survive_growth(table: StateTable) -> None:
    keys = [f"k{i}" for i in range(1000)]
    for key in keys:
        slots = table.slots([key])
        table["total"][slots] = int(key[1:])
        table["team"][slots] = key
    slots = table.slots(keys)
    assert len(set(slots.tolist())) == 1000
    assert table["total"][slots].tolist() == list(range(1000))
    assert table["team"][slots].tolist() == keys
    assert table["clock_s"][slots].tolist() == [-1.0] * 1000


def test_drain_hands_out_what_was_touched_once_and_sorted(table: StateTable) -> None:
    slots = table.slots(["b", "a", "c"])
    table["total"][slots] = [2, 1, 3]
    table["hidden"][slots[0]] = [1.0, 2.0, 3.0]
    table["team"][slots[0]] = "Blue"
    table.touch(["b", "a"])
    rows = drained(table)
    assert rows["key"].to_list() == ["a", "b"]
    assert rows["team"].to_list() == ["", "Blue"]
    packed = ["<f8", "<f4", "<f4", "<f4", "?", "<i8", "<i4"]
    expected = zip(packed, (-1.0, 1.0, 2.0, 3.0, False, 2, 7), strict=True)
    assert rows["packed"][1] == b"".join(np.array(value, dtype).tobytes() for dtype, value in expected)
    assert table.drain() == ([], [], [])


def test_a_deleted_key_is_a_tombstone_and_comes_back_with_defaults(table: StateTable) -> None:
    slots = table.slots(["a", "b"])
    table["total"][slots] = 5
    table.touch(["a", "b"])
    table.delete(["a", "nobody"])
    changed, _, deleted = table.drain()
    assert (changed, deleted) == (["b"], ["a"])
    assert "a" not in table
    assert table["total"][table.slots(["a"])].tolist() == [0]


def test_a_key_deleted_and_made_again_is_no_tombstone(table: StateTable) -> None:
    table.slots(["a"])
    table.delete(["a"])
    table.slots(["a"])
    table.touch(["a"])
    changed, _, deleted = table.drain()
    assert (changed, deleted) == (["a"], [])


def test_the_last_row_of_a_key_wins_on_restore(table: StateTable) -> None:
    slots = table.slots(["a"])
    table["total"][slots] = 1
    first = every_row(table)
    table["total"][slots] = 2
    second = every_row(table)
    other = StateTable("fold", LAYOUT)
    other.restore(pl.concat([first, second]))
    assert other["total"][other.slots(["a"])].tolist() == [2]
    assert not other.drain().keys, "what was restored has not changed"


VALUES = st.fixed_dictionaries(
    {
        "clock_s": st.floats(),
        "hidden": st.lists(st.floats(width=32), min_size=3, max_size=3),
        "team": st.text(max_size=5),
        "seen": st.booleans(),
        "total": st.integers(-(2**63), 2**63 - 1),
        "frame": st.integers(-(2**31), 2**31 - 1),
    }
)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=10))
def test_a_snapshot_restores_every_value(rows: dict[str, dict[str, Any]]) -> None:
    table = StateTable("fold", LAYOUT)
    for key, values in rows.items():
        (slot,) = table.slots([key])
        for name, value in values.items():
            table[name][slot] = value
    snapshot = every_row(table)
    other = StateTable("fold", LAYOUT)
    other.restore(snapshot)
    assert every_row(other).equals(snapshot)
    assert snapshot["key"].to_list() == sorted(rows)


def test_another_layout_is_another_schema_id(table: StateTable) -> None:
    other = StateTable("fold", {**LAYOUT, "frame": Column(np.int64)})
    assert table.schema_id != other.schema_id
    assert table.schema_id == StateTable("fold", LAYOUT).schema_id
    assert 2**30 <= table.schema_id < 2**31


def test_the_schema_is_readable_avro(table: StateTable) -> None:
    key, team, packed = table.schema["fields"]
    assert (key["name"], team["name"]) == ("key", "team")
    assert packed["type"] == {"type": "fixed", "name": "packed_33", "size": 33}
    assert ["hidden", "<f4", [3]] in packed["columns"]


@given(st.dictionaries(st.text(max_size=200), st.text(max_size=20_000)))
def test_rows_are_written_as_fastavro_writes_them(teams: dict[str, str]) -> None:
    table = StateTable("fold", {"team": Column(str), "total": Column(np.int64)})
    slots = table.slots(list(teams))
    table["team"][slots] = list(teams.values())
    table["total"][slots] = [len(team) for team in teams.values()]
    table.touch(list(teams))
    changed, rows, _ = table.drain()
    assert changed == sorted(teams)
    for key, row in zip(changed, rows, strict=True):
        out = io.BytesIO()
        packed = len(teams[key]).to_bytes(8, "little")
        fastavro.schemaless_writer(out, table.schema, {"key": key, "team": teams[key], "packed": packed})
        assert row == out.getvalue()


def test_the_name_of_the_key_is_taken() -> None:
    for name in ("key", "packed", "check"):
        with pytest.raises(ValueError, match=f"state fold: '{name}' is taken"):
            StateTable("fold", {name: Column(str)})


def test_keys_go_to_the_changelog_of_their_partition_and_are_forgotten_with_it() -> None:
    table = StateTable("owned", {"total": Column(np.int64)})
    table.slots(["a", "b", "c"], [2, 0, 2])
    table.slots(["all"])
    table.touch(["a", "b", "c", "all"])
    table.delete(["c"])
    drained = table.drain_by_partition()
    assert {p: (changes.keys, changes.deleted) for p, changes in drained.items()} == {
        SHARED: (["all"], []),
        0: (["b"], []),
        2: (["a"], ["c"]),
    }
    table["total"][table.slots(["a", "b"])] += 1
    table.touch(["a", "b"])
    assert table.forget(2) == 1
    assert sorted(table.keys()) == ["all", "b"]
    assert table.drain()[::2] == (["b"], [])


def test_a_partitioned_table_wants_to_know_where_a_new_key_belongs() -> None:
    table = StateTable("owned", {"total": Column(np.int64)}, partitioned=True)
    slots = table.slots(["a"], [3])
    assert table.slots(["a"]).tolist() == slots.tolist()
    with pytest.raises(ValueError, match="owned is partitioned: say to which partition 'b' belongs"):
        table.slots(["b"])


def test_a_key_that_comes_back_in_another_partition_leaves_a_tombstone_in_the_first() -> None:
    table = StateTable("owned", {"total": Column(np.int64)})
    table.slots(["a"], [0])
    table.touch(["a"])
    table.drain()
    table.delete(["a"])
    table.slots(["a"], [1])
    table.touch(["a"])
    drained = table.drain_by_partition()
    assert {p: (changes.keys, changes.deleted) for p, changes in drained.items()} == {0: ([], ["a"]), 1: (["a"], [])}


def test_what_is_forgotten_leaves_nothing_in_the_storage() -> None:
    table = StateTable("owned", LAYOUT)
    slots = table.slots(["a", "b"], [0, 1])
    table["total"][slots], table["team"][slots], table["clock_s"][slots] = 5, "Blue", 9.0
    table.forget(0)
    assert table["total"].sum() == 5
    assert sorted(set(table["team"].tolist())) == ["", "Blue"]
    assert np.unique(table["clock_s"]).tolist() == [-1.0, 9.0]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "forget", "drain", "restart"]),
        st.sampled_from("abcd"),
        st.integers(0, 2),
        st.text(max_size=9),
    ),
    max_size=30,
)


@given(OPERATIONS)
def test_the_size_is_that_of_the_rows_as_drained_or_restored(operations: list[tuple[str, str, int, str]]) -> None:
    table, rows = StateTable("sized", LAYOUT), dict[str, bytes]()
    for what, key, partition, text in operations:
        if what == "write":
            table["team"][table.slots([key], [partition])] = text
            table.touch([key])
        elif what == "delete":
            table.delete([key])
        elif what == "forget":
            table.forget(partition)
        elif what == "restart":
            restored = StateTable("sized", LAYOUT)
            restored.restore(every_row(table))
            table = restored
        if what in ("drain", "restart"):
            table.touch(table.keys())
        changed, made, _ = table.drain()
        rows = {key: row for key, row in (rows | dict(zip(changed, made, strict=True))).items() if key in table}
        assert table.size_bytes == sum(map(len, rows.values()))


@given(st.lists(st.sampled_from([f"k{n}" for n in range(700)]), max_size=900), st.integers(0, 5))
def test_keys_that_are_new_together_are_admitted_once_each(keys: list[str], held: int) -> None:
    table = StateTable("many", {"total": Column(np.int64, default=3)})
    table["total"][table.slots([f"k{n}" for n in range(held)])] = 1
    slots = dict(zip(keys, table.slots(keys).tolist(), strict=True))
    assert table.slots(keys).tolist() == [slots[key] for key in keys]
    assert len(set(slots.values())) == len(slots)
    wanted = [1 if int(key[1:]) < held else 3 for key in slots]
    assert table["total"][list(slots.values())].tolist() == wanted
