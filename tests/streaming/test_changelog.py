"""What is written to a changelog comes back; what is not as it was written is named by topic, partition and offset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.changelog import Lanes, Latest, StateChangelog, StateCorrupt, StateLayoutChanged, lanes_of
from streaming.codec import Decoder
from streaming.layouts import Columns, Migrate
from streaming.records import OffsetRange, Records
from streaming.state import SHARED, Changes, Column, StateTable
from streaming.testing import every_row, lanes
from streaming.transport import Fetched, LogCorrupt, Output

TOPIC, LANES = "state", 2
LAYOUT = {"total": Column(np.int32), "hidden": Column(np.float32, (3,)), "team": Column(str)}


def table(migrate: Migrate | None = None, /, **layout: Column) -> StateTable:
    return StateTable("fold", layout or LAYOUT, migrate=migrate)


def changelog(*tables: StateTable, former: Sequence[str] = ()) -> StateChangelog:
    return StateChangelog(TOPIC, {own.name: own for own in tables}, former)


def written(outputs: Sequence[Output]) -> list[Records]:
    """The partitions of a topic to which all of this was written."""
    parts = [
        Records.joined([out.records for out in outputs if out.partition_of(LANES) == lane]) for lane in range(LANES)
    ]
    return [Records.of(p.keys.to_pylist(), p.values.to_pylist()) for p in parts]  # offsets from 0


def put(state: StateTable, totals: dict[str, int], partition: int = SHARED) -> None:
    slots = state.slots(list(totals), [partition] * len(totals))
    state["total"][slots] = list(totals.values())
    state["team"][slots] = [key.upper() for key in totals]
    state["hidden"][slots] = np.array(list(totals.values()))[:, None] * [1, 2, 3]
    state.touch(list(totals))


def totals(state: StateTable) -> dict[str, int]:
    keys = sorted(state.keys())
    return dict(zip(keys, state["total"][state.slots(keys)].tolist(), strict=True))


def a_changelog() -> list[Records]:
    """Keys of partitions 0 to 2, and shared ones; some of them changed twice, one gone."""
    state = table()
    log, outputs = changelog(state), []
    for step in range(3):
        for partition in (0, 1, 2):
            put(state, {f"m{partition}": 10 * step + partition, f"n{partition}/x": step}, partition)
        put(state, {"all": step})
        outputs += log.drain(0)
    state.delete(["n1/x"])
    return written([*outputs, *log.drain(0)])


EXPECTED = {"m0": 20, "m1": 21, "m2": 22, "n0/x": 2, "n2/x": 2, "all": 2}


def test_the_last_row_of_every_key_comes_back() -> None:
    state = table()
    changelog(state).restore(lanes(a_changelog()))
    assert totals(state) == EXPECTED
    assert state["team"][state.slots(["n0/x"])].tolist() == ["N0/X"]
    assert state["hidden"][state.slots(["m2"])].tolist() == [[22.0, 44.0, 66.0]]
    assert state.drain() == ([], [], []), "what was restored has not changed"


def test_a_partition_alone_comes_back_with_what_is_shared_only_if_asked_for() -> None:
    parts = a_changelog()
    state = table()
    log = changelog(state)
    log.restore(lanes(parts, {2}), only={2})
    assert totals(state) == {"m2": 22, "n2/x": 2}
    log.restore(lanes(parts, {1, SHARED}), only={1, SHARED})
    assert totals(state) == {"m2": 22, "n2/x": 2, "m1": 21, "all": 2}
    assert {partition: len(changes.keys) for partition, changes in drained(state).items()} == {SHARED: 1, 1: 1, 2: 2}
    put(state, {"never committed": 1}, partition=2)
    log.restore(lanes(parts, {2}), only={2})
    assert totals(state) == {"m2": 22, "n2/x": 2, "m1": 21, "all": 2}, "restored again, it takes its own place"
    assert not state.drain().keys


def drained(state: StateTable) -> dict[int, Changes]:
    state.touch(state.keys())
    return state.drain_by_partition()


def test_what_belongs_to_a_partition_lies_in_its_own_and_what_is_shared_in_the_first() -> None:
    assert lanes_of({0, 3, 5}, 4) == [0, 1, 3]
    assert lanes_of({SHARED, 7}, 4) == [0, 3]


def test_a_key_that_moved_to_a_lower_partition_is_not_taken_by_the_tombstone_it_left() -> None:
    state = table()
    log = changelog(state)
    put(state, {"a": 1}, partition=1)
    outputs = log.drain(0)
    state.delete(["a"])
    put(state, {"a": 2}, partition=0)
    outputs += log.drain(0)
    restored = table()
    changelog(restored).restore(lanes(written(outputs)))
    assert totals(restored) == {"a": 2}


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9) | st.none()), max_size=40), st.data())
def test_latest_keeps_the_last_of_every_key_however_it_is_cut(rows: list[tuple[str, int | None]], data: object) -> None:
    assert isinstance(data, st.DataObject)
    every = Records.of([key.encode() for key, _ in rows], [None if v is None else b"%d" % v for _, v in rows])
    latest, start = Latest(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streaming.changelog._FOLD_ROWS", 3)
        while start < len(rows):
            end = data.draw(st.integers(start + 1, len(rows)))
            latest.add(every.take(np.arange(start, end)))
            start = end
        kept = latest.records()
    last = {key: number for number, (key, _) in enumerate(rows)}
    assert kept.offsets.tolist() == sorted(last.values())
    assert kept.values.to_pylist() == [every.values[n].as_py() for n in sorted(last.values())]


def test_the_schema_is_written_once_to_each_partition_and_not_again_after_a_restart() -> None:
    parts = a_changelog()
    described = [[key for key in part.keys.to_pylist() if key.startswith(b"@layout/")] for part in parts]
    own = f"@layout/fold/{table().schema_id}".encode()
    assert described == [[own] * 3, [own]]  # of partitions 0 and 2 and the shared rows; of partition 1
    state = table()
    log = changelog(state)
    log.restore(lanes(parts))
    put(state, {"m1": 5}, partition=1)
    assert [out.records.keys.to_pylist() for out in log.drain(0)] == [[b"fold@1/m1"]]


def older(**layout: Column) -> list[Records]:
    """Rows a=1, b=2 of a stage with this layout, in partition 0."""
    state = StateTable("fold", layout)
    slots = state.slots(["a", "b"], [0, 0])
    for column, spec in layout.items():
        state[column][slots] = ["1", "2"] if spec.is_text else np.array([1, 2]).reshape(2, *[1] * len(spec.shape))
    state.touch(["a", "b"])
    return written(changelog(state).drain(0))


def test_rows_of_an_older_layout_are_taken_over_beside_rows_of_todays() -> None:
    old = older(total=Column(np.int16), gone=Column(np.float64), note=Column(str))
    state = table(total=Column(np.int64), fresh=Column(np.float64, default=7.0))
    log = changelog(state)
    log.restore(lanes(old))
    assert totals(state) == {"a": 1, "b": 2}
    assert state["fresh"][state.slots(["a", "b"])].tolist() == [7.0, 7.0]
    state["fresh"][state.slots(["b"])] = 8.0
    state.touch(["b"])
    mixed = [Records.joined([a, b]) for a, b in zip(old, written(log.drain(0)), strict=True)]
    again = table(total=Column(np.int64), fresh=Column(np.float64, default=7.0))
    changelog(again).restore(lanes(mixed))
    assert every_row(again).equals(every_row(state))


def test_a_layout_that_does_not_fit_is_refused_by_column_and_nothing_is_taken_over() -> None:
    state = table(total=Column(np.int32), hidden=Column(np.float32, (4,)))
    put_before = state.slots(["before"])
    with pytest.raises(
        StateLayoutChanged, match=r"state/0: rows of stage fold, the first at offset 1, .*column hidden"
    ):
        changelog(state).restore(lanes(older(total=Column(np.int32), hidden=Column(np.float32, (3,)))))
    assert state.keys() == ["before"] and state.slots(["before"]).tolist() == put_before.tolist()


def test_a_migration_takes_over_what_would_not_fit() -> None:
    def halves(columns: Columns) -> Columns:
        return columns if columns["hidden"].shape[1:] == (4,) else {**columns, "hidden": columns["hidden"].repeat(2, 1)}

    state = table(halves, hidden=Column(np.float32, (4,)))
    changelog(state).restore(lanes(older(hidden=Column(np.float32, (2,)))))
    assert state["hidden"][state.slots(["b"])].tolist() == [[2.0, 2.0, 2.0, 2.0]]


def test_rows_of_a_stage_that_there_is_no_more_are_passed_over_only_if_it_is_named() -> None:
    parts = a_changelog()
    other = StateTable("other", LAYOUT)
    with pytest.raises(StateCorrupt, match=r"state/0: .* offset \d+ .* no stage 'fold'.*`former_stages`"):
        changelog(other).restore(lanes(parts))
    changelog(other, former=["fold"]).restore(lanes(parts))
    assert not len(other)


Place = tuple[int, int]  # partition, offset


def places(parts: Sequence[Records], kind: str) -> Iterator[Place]:
    """Where the last records of their keys are: schemas, rows, or tombstones."""
    for partition, records in enumerate(parts):
        last = {key: number for number, key in enumerate(records.keys.to_pylist())}
        for key, number in last.items():
            is_row = not key.startswith(b"@layout")
            is_gone = records.values[number].as_py() is None
            if kind == ("schema" if not is_row else "tombstone" if is_gone else "row"):
                yield partition, number


def with_record(parts: Sequence[Records], place: Place, key: bytes | None, value: bytes | None) -> list[Records]:
    made = []
    for partition, records in enumerate(parts):
        keys, values = records.keys.to_pylist(), records.values.to_pylist()
        if partition == place[0]:
            keys[place[1]], values[place[1]] = key, value
        made.append(Records.of(keys, values))
    return made


def record(parts: Sequence[Records], place: Place) -> tuple[bytes, bytes]:
    return parts[place[0]].keys[place[1]].as_py(), parts[place[0]].values[place[1]].as_py()


def broken(draw: st.DataObject, value: bytes) -> bytes:
    """The value with some bits flipped, cut short, or with something behind it."""
    match draw.draw(st.sampled_from(("flip", "cut", "more", "foreign"))):
        case "flip":
            bits = draw.draw(st.sets(st.integers(0, len(value) * 8 - 1), min_size=1, max_size=3))
            number = int.from_bytes(value, "big")
            for bit in bits:
                number ^= 1 << bit
            return number.to_bytes(len(value), "big")
        case "cut":
            return value[: draw.draw(st.integers(0, len(value) - 1))]
        case "more":
            return value + draw.draw(st.binary(min_size=1, max_size=9))
    return draw.draw(st.binary(max_size=60).filter(lambda other: other != value))


@given(st.data())
def test_a_row_that_was_changed_is_named_and_nothing_is_taken_over(data: st.DataObject) -> None:
    parts = a_changelog()
    place = data.draw(st.sampled_from(sorted(places(parts, "row"))))
    key, value = record(parts, place)
    state = table()
    with pytest.raises(StateCorrupt) as told:
        changelog(state).restore(lanes(with_record(parts, place, key, broken(data, value))))
    assert (told.value.topic, told.value.partition, told.value.offset) == (TOPIC, *place)
    assert not len(state)


@given(st.data())
def test_a_schema_that_was_changed_is_noticed(data: st.DataObject) -> None:
    parts = a_changelog()
    place = data.draw(st.sampled_from(sorted(places(parts, "schema"))))
    key, value = record(parts, place)
    with pytest.raises(StateCorrupt, match=f"^{TOPIC}/{place[0]}: the record at offset"):
        changelog(table()).restore(lanes(with_record(parts, place, key, broken(data, value))))


@given(st.data())
def test_a_row_under_another_key_is_noticed(data: st.DataObject) -> None:
    parts = a_changelog()
    place = data.draw(st.sampled_from(sorted(places(parts, "row"))))
    key, value = record(parts, place)
    others = {
        *(b"fold@3/m1", b"fold@9/m0", b"fold@0/new", b"fold/new", b"other/m", b"@layout/fold/1", b"m0", b"", None),
        *(
            b"fold@x/m",
            b"fold@-1/m",
            b"fold@01/m",
            b"fold@99999999999999999999/m",
            b"fold",
            b"/m",
            b"\xff/m",
            b"fold@0/\xff",
        ),
    }
    other = data.draw(st.sampled_from(sorted(others - {key}, key=repr)))
    with pytest.raises(StateCorrupt, match=f"^{TOPIC}/{place[0]}: the record at offset {place[1]} "):
        changelog(table()).restore(lanes(with_record(parts, place, other, value)))


def test_a_topic_that_was_grown_is_noticed_by_rows_and_by_tombstones() -> None:
    grown = [*a_changelog(), Records.of([], [])]
    with pytest.raises(
        StateCorrupt, match="partition 2 lies elsewhere in a topic of 3 partitions, unless it was grown"
    ):
        changelog(table()).restore(lanes(grown))
    gone = Records.of([b"fold@4/x"], [None])
    with pytest.raises(StateCorrupt, match="partition 4 lies elsewhere in a topic of 3 partitions"):
        changelog(table()).restore(lanes([gone, gone.take(np.arange(0)), gone.take(np.arange(0))]))


def test_a_row_whose_schema_is_missing_is_refused() -> None:
    parts = a_changelog()
    kept = np.array([not key.startswith(b"@layout") for key in parts[1].keys.to_pylist()])
    with pytest.raises(StateCorrupt, match=r"state/1: .*no schema \d+ of stage fold lies there"):
        changelog(table()).restore(lanes([parts[0], parts[1].take(np.flatnonzero(kept))]))


def test_a_batch_that_fails_its_checksum_has_the_remedy_of_a_changelog() -> None:
    def pieces() -> Iterator[Fetched]:
        yield Fetched(OffsetRange(0, 0, 0), Records.of([], []))
        raise LogCorrupt(TOPIC, 1, 7, 9, "it fails its checksum")

    with pytest.raises(StateCorrupt, match=r"state/1: the record at offset 7 .* delete the topic") as told:
        changelog(table()).restore(Lanes(2, pieces()))
    assert "group's offset" not in str(told.value)
    make, arguments = told.value.__reduce__()  # as it travels from a worker to its driver
    assert str(make(*arguments)) == str(told.value)


def test_the_value_can_be_read_by_its_published_schema() -> None:
    (part, _) = a_changelog()
    values = dict(zip(part.keys.to_pylist(), part.values.to_pylist(), strict=True))
    own = table()
    schema = json.loads(values[f"@layout/fold/{own.schema_id}".encode()])
    decoded = Decoder(schema, {own.schema_id: schema}).decode(Records.of([None], [values[b"fold@0/m0"]]))
    assert decoded.frame["key"].to_list() == ["m0"] and len(decoded.frame["check"][0]) == 4
