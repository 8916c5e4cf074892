"""Orders about who is who: their files, what the stage makes of them, once in each state, and what is counted again."""

from __future__ import annotations

import json
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streaming.codec import Decoder, PackagedRegistry
from streaming.identities import IdentityStage, Ledger
from streaming.identities.memory import EVENT, ORDER, Memory
from streaming.identities.orders import EVENTS, FOLDER, MAX_SEEN, STANDS_MS, IdentityOrders, Order
from streaming.pipelines.store_metrics import store_metrics
from streaming.privacy import erasures, folder
from streaming.privacy.erasures import Erasures
from streaming.records import Records
from streaming.store.plan import Camera, StorePlan
from streaming.testing import Changelog, MemoryLog, every_row
from streaming.topics import CAMERA_FRAMES, DAY_MS, PERSON_SIGHTINGS
from tests.camera_frames import T0_MS
from tests.erasure_scene import CAMERAS, keys_in, people, records
from tests.erasure_scene import now_ms as scene_now_ms
from tests.pipelines_on_log import OnLog
from tests.streaming.test_identity_stage import DIMENSIONS, NOW_MS, OVERLAP, RULES, Scene, named_twice

ASKED_MS = NOW_MS + 20_000
PARTITIONS = [0, 1]


@pytest.fixture(autouse=True)
def _looks_at_files_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (folder, erasures):
        monkeypatch.setattr(module, "_LOOK_S", 0.0)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def orders(keys: Path) -> IdentityOrders:
    return IdentityOrders(keys)


class Running:
    """Somebody at the door, somebody else at the shelf, the first again at the till and the door; and the orders."""

    def __init__(self, keys: Path) -> None:
        self.stage = IdentityStage(DIMENSIONS, RULES, erasures=Erasures(keys), orders=IdentityOrders(keys))
        self.orders = IdentityOrders(keys)
        self.state = self.stage.new_state()
        scene = Scene().walk("door", 1, 0, 4, 0).walk("shelf", 1, 8, 11, 5).walk("till", 1, 8, 12, 0)
        self.stage(scene.walk("door", 2, 15, 18, 0).rows(20), self.state)

    @property
    def whose(self) -> dict[tuple[str, int], int]:
        memory = Memory(self.state)
        return {name: int(self.state["person"][slot]) for slot in memory.decided() for name in memory.names([slot])}

    def tick(self, after_s: float = 1.0) -> list[tuple[Any, ...]]:
        """Corrections, by a tick so long after orders are given."""
        told = self.stage.tick(ASKED_MS + round(1000 * after_s), PARTITIONS, self.state)
        return told.select("camera_id", "track_id", "corrects_person_id", "person_id").rows() if told.height else []

    def back(self, log: Changelog) -> None:
        """As after a restart, with what the log has."""
        self.state = self.stage.new_state()
        log.restore(self.state)

    def answer(self, order: Order) -> Order:
        found = self.orders.read(order.order_id)
        assert found is not None
        return found


@pytest.fixture
def running(keys: Path) -> Running:
    made = Running(keys)
    assert made.whose == {("door", 1): 1, ("shelf", 1): 2, ("till", 1): 1, ("door", 2): 1}
    assert made.tick(-1) == []
    return made


# --- files ------------------------------------------------------------------------------------------------------------


def given(orders: IdentityOrders, **more: Any) -> Order:
    wanted: dict[str, Any] = {"kind": "merge", "persons": ["P1", "P2"], "who": "anna", "at_ms": ASKED_MS}
    return orders.give(**(wanted | more))


def test_an_order_is_read_as_it_was_given_by_whoever_has_the_folder(orders: IdentityOrders, keys: Path) -> None:
    merge = given(orders)
    split = given(orders, kind="split", persons=["P7"], seen=[("till", NOW_MS)], at_ms=ASKED_MS - 1)
    undo = given(orders, kind="undo", undoes="E12", at_ms=ASKED_MS + 1)
    assert pickle.loads(pickle.dumps(orders)).all() == [split, merge, undo]  # noqa: S301 - our own, as Ray does
    files = list((keys / FOLDER).iterdir())
    assert sorted(file.name for file in files) == sorted(f"{one.order_id}.json" for one in (merge, split, undo))
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert IdentityOrders(keys / "elsewhere").all() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"persons": ["P1", "P1"]},
        {"persons": ["P1"]},
        {"persons": ["P1", "P2", "P3"]},
        {"persons": ["P1", "../P2"]},
        {"persons": ["P1", "P2"], "seen": [("till", 1)]},
        {"kind": "split", "persons": ["P1"]},
        {"kind": "split", "persons": ["P1", "P2"], "seen": [("till", 1)]},
        {"kind": "split", "persons": ["P1"], "seen": [("../till", 1)]},
        {"kind": "split", "persons": ["P1"], "seen": [("till", -1)]},
        {"kind": "split", "persons": ["P1"], "seen": [("till", 1)] * (MAX_SEEN + 1)},
        {"kind": "undo"},
        {"kind": "undo", "undoes": "12"},
        {"kind": "erase"},
    ],
)
def test_what_is_no_order_is_not_written(orders: IdentityOrders, keys: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Order"):
        given(orders, **wrong)
    assert not keys.exists()


def spoilt(order: Order, **changed: Any) -> str:
    return json.dumps(order.model_dump() | changed)


@pytest.mark.parametrize(
    "text",
    [
        lambda order: "",
        lambda order: "[]",
        lambda order: "\udcff".encode(errors="surrogateescape").decode("latin-1"),
        lambda order: spoilt(order, order_id="0" * 8),
        lambda order: spoilt(order, asked_ms="1"),
        lambda order: spoilt(order, asked_ms=1 << 60),
        lambda order: spoilt(order, persons=["P1", "P2\n"]),
        lambda order: spoilt(order, more=1),
        lambda order: spoilt(order) + " " * 20_000,
        lambda order: "[" * 20_000,
    ],
)
def test_a_file_that_is_no_order_is_passed_over_and_said_once(
    orders: IdentityOrders, keys: Path, text: Callable[[Order], str], caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = given(orders), given(orders)
    file = keys / FOLDER / f"{bad.order_id}.json"
    file.write_text(text(bad))
    for _ in range(2):
        assert orders.all() == [good]
    (said,) = [record.getMessage() for record in caplog.records]
    assert str(file) in said and "give it again" in said and "\n" not in said


def test_files_of_others_are_left_alone(orders: IdentityOrders, keys: Path) -> None:
    order = given(orders)
    for name in ("README.json", "1.json", "../0000000a.json", ".1f6a09c2-0000"):
        (keys / FOLDER / name).write_text("{}")
    (keys / FOLDER / "0000000b.json").mkdir()
    assert orders.all() == [order]
    assert orders.read("../0000000a") is None
    assert orders.read("0000000c") is None
    orders.forget({"P9"})
    assert (keys / FOLDER / "README.json").exists()


# --- merge, split, undo -----------------------------------------------------------------------------------------------


def test_a_merge_is_carried_out_once_and_noted_and_listed(running: Running) -> None:
    order = given(running.orders)
    assert running.tick() == [("shelf", 1, "P2", "P1")]
    done = running.answer(order)
    assert (done.done_ms, done.refused) == (ASKED_MS + 1_000, None)
    (event,) = running.orders.events() or []
    assert event.event == done.event and (event.keeps, event.other, event.tracks) == ("P1", "P2", ())
    assert (event.at_ms, event.score, event.order_id, event.is_undone) == (ASKED_MS, None, order.order_id, False)
    running.state.drain()
    assert running.tick(2) == []
    assert running.state.drain().keys == []
    assert running.answer(order) == done


def test_a_split_is_of_who_was_seen_then(running: Running) -> None:
    order = given(running.orders, kind="split", persons=["P1"], seen=[("till", NOW_MS + 12_600)])
    assert running.tick() == [("till", 1, "P1", "P3")]
    done = running.answer(order)
    assert done.made == "P3" and done.names == {"P1", "P3"}
    (event,) = running.orders.events() or []
    assert (event.keeps, event.other, event.tracks) == ("P1", "P3", (("till", 1),))
    assert running.whose == {("door", 1): 1, ("shelf", 1): 2, ("till", 1): 3, ("door", 2): 1}


@pytest.mark.parametrize("by_order", [True, False])
def test_what_was_ordered_is_undone(running: Running, by_order: bool) -> None:
    order = given(running.orders)
    running.tick()
    undoes = order.order_id if by_order else running.answer(order).event
    undo = given(running.orders, kind="undo", undoes=undoes, at_ms=ASKED_MS + 1)
    assert running.tick(2) == [("shelf", 1, "P1", "P2")]
    assert running.answer(undo).event == running.answer(order).event
    (event,) = running.orders.events() or []
    assert (event.is_undone, event.undone_by, event.order_id) == (True, undo.order_id, order.order_id)


def test_what_a_rule_made_one_is_listed_with_its_score_and_undone_for_good(keys: Path) -> None:
    stage = IdentityStage(DIMENSIONS, OVERLAP, orders=IdentityOrders(keys))
    state, orders = named_twice((0, 0)), IdentityOrders(keys)
    Ledger(Memory(state)).unite(1, 2, at_ms=NOW_MS, score=0.75)
    stage.tick(ASKED_MS, PARTITIONS, state)
    event = (orders.events() or [])[-1]
    assert (event.score, event.order_id, event.at_ms) == (0.75, None, NOW_MS)
    given(orders, kind="undo", undoes=event.event, persons=[event.keeps, event.other])
    told = stage.tick(ASKED_MS + 1, PARTITIONS, state)
    assert set(told.select("camera_id", "corrects_person_id", "person_id").rows()) == {("shelf", "P1", "P2")}
    assert Ledger(Memory(state)).told_apart(1) == {2}


def test_orders_are_carried_out_in_the_order_in_which_they_were_given(running: Running) -> None:
    undo_ms, merge = ASKED_MS + 2, given(running.orders)
    given(running.orders, kind="undo", undoes=merge.order_id, at_ms=undo_ms)
    told = running.tick()
    assert told == [("shelf", 1, "P2", "P1"), ("shelf", 1, "P1", "P2")]


def test_an_order_that_was_given_by_a_clock_ahead_waits(running: Running) -> None:
    order = given(running.orders, at_ms=ASKED_MS + 3_000)
    assert running.tick() == [] and running.answer(order).done_ms is None
    assert running.tick(3) == [("shelf", 1, "P2", "P1")]


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"persons": ["P1", "P9"]}, "there is no person P9, or no longer"),
        ({"persons": ["P9", "P1"]}, "there is no person P9, or no longer"),
        ({"at_ms": NOW_MS + 1_000}, "who is called P2 now came after this was asked"),
        ({"kind": "split", "persons": ["P2"], "seen": [("shelf", NOW_MS + 9_000)]}, "needs some of its 1 tracks"),
        ({"kind": "split", "persons": ["P1"], "seen": [("till", NOW_MS)]}, "till saw nobody who is called P1 at 20"),
        ({"kind": "split", "persons": ["P1"], "seen": [("shelf", NOW_MS + 9_000)]}, "shelf saw nobody who is called"),
        ({"kind": "undo", "undoes": "E1"}, "there is no event E1 of P1 and P2, or no longer"),
        ({"kind": "undo", "undoes": "0" * 8}, "order 00000000 was not carried out"),
    ],
)
def test_what_cannot_be_is_refused_once_and_changes_nothing(
    running: Running, wanted: dict[str, Any], reason: str, keys: Path
) -> None:
    before = running.whose
    order = given(running.orders, **wanted)
    assert running.tick() == []
    answer = running.answer(order)
    assert reason in (answer.refused or "") and (answer.event, answer.done_ms) == (None, ASKED_MS + 1_000)
    assert running.tick(2) == [] and running.answer(order) == answer
    assert running.whose == before and running.orders.events() == []


def test_who_was_beside_the_other_in_one_camera_is_not_made_one(keys: Path) -> None:
    stage, orders = IdentityStage(DIMENSIONS, RULES, orders=IdentityOrders(keys)), IdentityOrders(keys)
    state = stage.new_state()
    stage(Scene().walk("door", 1, 0, 4, 0).walk("door", 2, 0, 4, 5).rows(6), state)
    given(orders)
    assert stage.tick(ASKED_MS, PARTITIONS, state).is_empty()
    assert orders.all()[0].refused == "P1 and P2 were beside one another in one camera: they are two"


def test_a_name_that_has_become_anothers_is_refused_with_that_name(running: Running) -> None:
    given(running.orders)
    running.tick()
    order = given(running.orders, persons=["P2", "P1"], at_ms=ASKED_MS + 1)
    running.tick(2)
    assert running.answer(order).refused == "P2 is P1 now"


def test_what_was_refused_or_undone_is_not_undone(running: Running) -> None:
    refused, merge = given(running.orders, persons=["P1", "P9"]), given(running.orders)
    running.tick()
    for at_ms in (1, 2):
        given(running.orders, kind="undo", undoes=merge.order_id, at_ms=ASKED_MS + at_ms)
    last = given(running.orders, kind="undo", undoes=refused.order_id, at_ms=ASKED_MS + 3)
    running.tick(2)
    event = running.answer(merge).event
    assert [one.refused for one in running.orders.all()[2:]] == [
        None,
        f"{event} is undone already",
        f"order {refused.order_id} made nobody one or two",
    ]
    assert running.answer(last).event is None


def test_an_answer_that_cannot_be_written_is_written_later(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: IdentityOrders, order: Order) -> None:
        raise OSError(28, "No space left on device")

    merge, wrong = given(running.orders), given(running.orders, persons=["P1", "P9"], at_ms=ASKED_MS + 1)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(IdentityOrders, "answered", full)
        assert running.tick() == [("shelf", 1, "P2", "P1")]  # it is done all the same
    assert [one.done_ms for one in running.orders.all()] == [None, None]
    assert running.tick(2) == []
    assert running.answer(merge).event == (running.orders.events() or [])[0].event
    assert running.answer(wrong).refused == "there is no person P9, or no longer"


def test_a_copy_of_an_order_that_was_refused_is_refused_again(running: Running) -> None:
    order = given(running.orders, at_ms=NOW_MS + 1_000)
    running.tick()
    running.orders.answered(order)  # as of a backup of the folder
    assert running.tick(2) == []
    answer = running.answer(order)
    assert "it was refused before" in (answer.refused or "") and answer.done_ms == ASKED_MS + 2_000


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_a_restart_from_before_carries_it_out_again_and_one_from_after_does_not(running: Running) -> None:
    before, after = Changelog(), Changelog()
    for log in (before, after):
        log.drain(running.state)
        running.state.touch(running.state.keys())
    orders = [
        given(running.orders),
        given(running.orders, persons=["P1", "P9"], at_ms=ASKED_MS + 1),
        given(running.orders, kind="split", persons=["P1"], seen=[("till", NOW_MS + 9_000)], at_ms=ASKED_MS + 2),
    ]
    corrections = running.tick()
    done, whose = [running.answer(order) for order in orders], running.whose
    after.drain(running.state)
    expected = every_row(running.state)

    running.back(after)
    assert running.tick(2) == []
    assert [running.answer(order) for order in orders] == done
    running.back(before)
    assert whose != running.whose
    assert running.tick() == corrections != []
    assert running.whose == whose
    assert every_row(running.state).equals(expected)
    assert [running.answer(order) for order in orders] == done


def test_an_event_is_found_by_whom_it_is_about_where_its_number_is_another(running: Running) -> None:
    for _ in range(3):
        Memory(running.state).next("number")
    given(running.orders)
    running.tick()
    (event,) = running.orders.events() or []
    assert event.event != "E5"
    given(running.orders, kind="undo", undoes="E5", at_ms=ASKED_MS + 1)
    assert running.tick(2) == [("shelf", 1, "P1", "P2")]


def test_orders_lapse_and_are_not_known_any_more(running: Running) -> None:
    order = given(running.orders)
    running.tick()
    running.tick(STANDS_MS / 1000)
    assert running.orders.all() != []
    running.tick(STANDS_MS / 1000 + 1)
    assert running.orders.read(order.order_id) is None
    assert len(Memory(running.state).of_kind(ORDER)) == 1  # or a copy of the file would be a new order
    running.tick((STANDS_MS + DAY_MS) / 1000 + 1)
    assert len(Memory(running.state).of_kind(ORDER)) == 0
    assert running.orders.events() == []  # the tracks are gone


def test_where_no_pipeline_runs_orders_and_list_lapse_too(orders: IdentityOrders, keys: Path) -> None:
    old, new = given(orders, at_ms=NOW_MS - 1), given(orders, at_ms=NOW_MS)
    orders.tell([])
    assert orders.lapse(NOW_MS) == 1
    assert orders.all() == [new] != [old] and orders.events() == []
    os.utime(keys / FOLDER / EVENTS, (0, NOW_MS / 1000 - 1))
    assert orders.lapse(NOW_MS) == 0
    assert orders.events() is None


# --- who is erased ----------------------------------------------------------------------------------------------------


def test_with_a_person_go_the_orders_and_events_that_name_them(running: Running, keys: Path) -> None:
    given(running.orders, kind="split", persons=["P1"], seen=[("till", NOW_MS + 9_000)])  # P3
    kept = [given(running.orders, persons=["P3", other], at_ms=ASKED_MS + 1) for other in ("P2", "P9")]
    running.tick()
    (keys / FOLDER / ".0000000a-1234").write_text("P1")  # of a writer that died
    given(running.orders, persons=["P3", "P1"], at_ms=ASKED_MS + 90_000)  # not carried out yet
    Erasures(keys).order("P1", "anna", ASKED_MS)
    running.tick(2)
    assert running.whose == {("till", 1): 3, ("shelf", 1): 3}
    assert {one.order_id for one in running.orders.all()} == {one.order_id for one in kept}
    (event,) = running.orders.events() or []
    assert (event.keeps, event.other) == ("P3", "P2")
    for file in (keys / FOLDER).iterdir():
        assert b"P1" not in file.read_bytes()
    # By the old name of somebody who was merged.
    Erasures(keys).order("P2", "anna", ASKED_MS)
    running.tick(3)
    assert running.whose == {}
    assert running.orders.all() == [] and running.orders.events() == []
    assert [file.name for file in (keys / FOLDER).iterdir()] == [EVENTS]
    assert len(Memory(running.state).of_kind(EVENT)) == 0


def test_an_erasure_waits_for_orders_that_cannot_be_deleted(
    running: Running, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(self: IdentityOrders, names: object) -> None:
        raise OSError(30, "Read-only file system")

    given(running.orders)
    Erasures(keys).order("P2", "anna", ASKED_MS)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(IdentityOrders, "forget", stuck)
        running.tick()
    assert ("shelf", 1) in running.whose
    running.tick(2)
    assert running.whose == {} and running.orders.all() == []


# --- what is counted --------------------------------------------------------------------------------------------------


def test_windows_are_counted_again_after_a_split_and_after_its_undoing(keys: Path) -> None:
    """The pipelines as runners execute them, with a restart after every commit."""
    log = MemoryLog()
    log.create(CAMERA_FRAMES.name, 1)
    log.append(CAMERA_FRAMES.name, records(0, 40))
    world, orders = OnLog(people(keys_in(keys)), log, scene_now_ms()), IdentityOrders(keys)
    told = MemoryLog()
    told.create(PERSON_SIGHTINGS.name, 1)
    store = OnLog(store_metrics(StorePlan(tuple(Camera(name) for name in CAMERAS))), told, world.now_ms)
    read: list[Records] = []

    def visits() -> dict[int, tuple[int, int]]:
        """Of each window that was issued since: its start in s, its revision, and how many came into the store."""
        new, issued = world.answers()[len(read) :], len(store.answers())
        read.extend(new)
        told.append(PERSON_SIGHTINGS.name, Records.joined(new))
        store.process(100_000)
        store.flow = store.started()
        store.tick(world.now_ms + 60_000)
        decoder = Decoder("store-metrics", PackagedRegistry())
        said = pl.concat([decoder.decode(one).frame for one in store.answers()[issued:]]).filter(zone_id="store")
        assert not store.rejected()
        columns = said.select(pl.col("window_start_ms").dt.timestamp("ms") - T0_MS, "revision", "entered")
        return {start_ms // 1000: (revision, entered) for start_ms, revision, entered in columns.rows()}

    world.run([100] * 4, restarts=True)
    assert visits()[0] == (0, 2)
    order = orders.give("split", ["P1"], "anna", world.now_ms, seen=[("till", T0_MS + 8_000)])
    world.tick(world.now_ms + 1_000)
    world.flow = world.started()
    assert visits()[0] == (1, 3)
    orders.give("undo", ["P1"], "anna", world.now_ms, undoes=order.order_id)
    world.tick(world.now_ms + 2_000)
    world.flow = world.started()
    assert visits()[0] == (2, 2)
    # Somebody else was at the door all the time.
    refused = orders.give("merge", ["P1", "P2"], "anna", world.now_ms)
    world.tick(world.now_ms + 3_000)
    (answer,) = [one for one in orders.all() if one.order_id == refused.order_id]
    assert "beside one another" in (answer.refused or "")
