"""The file of a store's plan: it reads back as written, the second of two editors is told, nothing is half-written."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.store.plan import PlanProblem
from streaming.store.plan_file import PlanChanged, parse_store, read_plan, to_toml, write_plan
from tests.store_walks import PLAN

TABLE: dict[str, Any] = {
    **PLAN,
    "time_zone": "Europe/Berlin",
    "rule": [{"name": "full", "kind": "crowding", "zone": "till", "people": 4}],
}

BOW_TIE = [[0, 0], [1, 1], [1, 0], [0, 1]]

names = st.text(st.characters(codec="utf-8", exclude_characters="/>"), min_size=1, max_size=12)
numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3)) | st.integers(-1000, 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "store.toml"
    place.write_text("# ours\n" + to_toml(TABLE))
    return place


@given(st.dictionaries(st.sampled_from("abcdef"), st.one_of(names, numbers, st.lists(st.lists(numbers)))), st.data())
def test_any_table_reads_back_as_written(table: dict[str, Any], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.dictionaries(st.sampled_from(["name", "polygon"]), names | st.lists(numbers))))
    whole = {**table, "floor": {"cell_m": 0.5}, **({"zone": rows} if rows else {})}
    assert tomllib.loads(to_toml(whole)) == whole


def test_what_is_written_is_what_is_read(path: Path) -> None:
    before = read_plan(path)
    assert before.table == TABLE and [rule.name for rule in before.rules] == ["full"]
    table = copy.deepcopy(TABLE)
    table["zone"][0]["polygon"] = [[0, 0], [4.5, 0], [4.5, 9], [0, 9]]
    after = write_plan(path, table, before.etag)
    assert after.plan.zone[0].polygon[1] == (4.5, 0.0)
    assert after.etag != before.etag and read_plan(path) == after
    assert list(path.parent.iterdir()) == [path]


def test_the_second_of_two_editors_is_told_and_changes_nothing(path: Path) -> None:
    etag = read_plan(path).etag
    first = write_plan(path, {**TABLE, "leave_s": 3}, etag)
    with pytest.raises(PlanChanged, match=f"version {first.etag} by now, not {etag}; load it again"):
        write_plan(path, {**TABLE, "leave_s": 5}, etag)
    assert read_plan(path) == first


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"zone": [{"name": "x", "polygon": BOW_TIE}], "rule": [], "funnel": []}, "zone x: its polygon crosses itself"),
        ({"zone": PLAN["zone"][:2], "funnel": []}, "rule full: there is no zone 'till'"),
        ({"rule": "none"}, "not a list of tables"),
        ({"leave_s": "2"}, "leave_s is '2', not a number"),
        ({"zones": []}, "there is no 'zones'"),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused_and_the_file_stays(path: Path, changed: dict[str, Any], said: str) -> None:
    before = path.read_bytes()
    with pytest.raises(PlanProblem, match=said):
        write_plan(path, {**TABLE, **changed}, read_plan(path).etag)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_file_that_is_none_says_where_and_why(path: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanProblem, match=r"none\.toml: no such file or directory; write the plan"):
        read_plan(tmp_path / "none.toml")
    path.write_text("zone = [")
    with pytest.raises(PlanProblem, match=r"store\.toml: not TOML"):
        read_plan(path)
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(PlanProblem, match="more than 1,048,576 bytes"):
        read_plan(path)
    with pytest.raises(PlanProblem, match="not a table"):
        parse_store([])  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_leaves_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etag, before = read_plan(path).etag, path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PlanProblem, match="cannot be written: no space left"):
        write_plan(path, TABLE, etag)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
