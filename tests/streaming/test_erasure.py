"""A person is erased: afterwards no topic, state or file holds the look, nor anything that opens a copy of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from streaming.identities.memory import Memory
from streaming.identities.orders import IdentityOrders
from streaming.pipeline import Pipeline
from streaming.pipelines.store_alerts import store_alerts
from streaming.pipelines.store_metrics import store_metrics
from streaming.privacy import erasures, folder
from streaming.privacy.erasures import Erasures
from streaming.records import Records
from streaming.state import StateTable
from streaming.store.plan import Camera, StorePlan
from streaming.testing import MemoryLog
from streaming.topics import CAMERA_FRAMES, PERSON_SIGHTINGS
from streaming.tracking import TrackStage
from tests.camera_frames import T0_MS
from tests.erasure_scene import (
    CAMERAS,
    FORGOTTEN,
    LOOKS,
    STAYS,
    files_below,
    holds_look,
    keys_in,
    now_ms,
    people,
    records,
    seal_of,
    secrets_of,
    unsealed,
)
from tests.pipelines_on_log import OnLog

MINE, THEIRS = [("door", 1), ("till", 1)], [("door", 2)]
"""Tracks of who is forgotten, and of who is not."""


@pytest.fixture(autouse=True)
def _looks_at_files_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (folder, erasures):
        monkeypatch.setattr(module, "_LOOK_S", 0.0)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def answered(pipeline: Pipeline, until_s: float = 16.0, log_ms: int = now_ms()) -> OnLog:
    """Up to when the first person has left, of frames that go on for longer, in commits of a second, with a restart
    after each."""
    log = MemoryLog()
    log.create(CAMERA_FRAMES.name, 1)
    log.append(CAMERA_FRAMES.name, records(0, until_s))
    return OnLog(pipeline, log, log_ms).run([10] * 12, restarts=True)


def texts_of(state: StateTable) -> str:
    """All that is said in words in the rows of a table, and their keys."""
    slots = state.slots(state.keys())
    columns = [state[name][slots].tolist() for name, spec in state.layout.items() if spec.is_text]
    return " ".join([*state.keys(), *(text for column in columns for text in column)])


def in_topics(world: OnLog) -> Iterator[tuple[str, bytes]]:
    """Every record that was ever written, none of them compacted away."""
    written = [(CAMERA_FRAMES.name, world.log.records(CAMERA_FRAMES.name, 0))]
    for commit in world.commits:
        written += [(out.topic, out.records) for out in (*commit.answers, *commit.dead_letters, *commit.state)]
    for topic, part in written:
        yield topic, b"".join(value or b"" for column in (part.keys, part.values) for value in column.to_pylist())


def person_of(world: OnLog, track: tuple[str, int]) -> int:
    memory = Memory(world.flow.tables["identities"])
    found = {name: int(memory.state["person"][slot]) for slot in memory.decided() for name in memory.names([slot])}
    return found[track]


def erased(world: OnLog, keys: Path) -> str:
    """The first person asks, and the pipeline goes on."""
    person = f"P{person_of(world, MINE[0])}"
    assert person_of(world, MINE[1]) == int(person[1:]) != person_of(world, THEIRS[0])
    orders = Erasures(keys)
    orders.order(person, "anna", now_ms())
    world.run([10] * 3, restarts=True)
    (order,) = orders.standing()
    assert order.tracks == len(MINE) and order.erased_ms is not None
    return person


def test_no_topic_and_no_file_holds_the_look_or_a_key_to_it(keys: Path, tmp_path: Path) -> None:
    world = answered(people(keys_in(keys)))
    mine = [secret for track in MINE for secret in secrets_of(keys, track)]
    theirs = [secret for track in THEIRS for secret in secrets_of(keys, track)][:1]
    assert all(any(root in data for _, data in files_below(tmp_path)) for root in theirs)  # the search finds such
    erased(world, keys)

    for where, data in [*in_topics(world), *files_below(tmp_path)]:
        assert not holds_look(data, FORGOTTEN), where
        assert not holds_look(data, STAYS), where  # sealed, too
        assert not [secret for secret in mine if secret in data], where


def test_orders_and_events_that_name_the_person_go_too(keys: Path, tmp_path: Path) -> None:
    world, orders = answered(people(keys_in(keys))), IdentityOrders(keys)
    mine, theirs = f"P{person_of(world, MINE[0])}", f"P{person_of(world, THEIRS[0])}"
    for kept in (theirs, mine):
        orders.give("merge", [kept, "P99"], "anna", now_ms())
    split = orders.give("split", [mine], "anna", now_ms(), seen=[("till", T0_MS + 8_000)])
    world.tick(now_ms())
    (event,) = orders.events() or []
    orders.give("undo", [event.keeps, event.other], "anna", now_ms(), undoes=split.order_id)
    world.tick(now_ms() + 1)
    files = {name for name, data in files_below(tmp_path) if re.search(rf"\b{mine}\b".encode(), data)}
    assert len(files) == 4  # three orders and the list
    erased(world, keys)

    naming = [name for name, data in files_below(tmp_path) if re.search(rf"\b({mine}|{event.other})\b".encode(), data)]
    assert naming == [str(keys / "erasures" / f"{mine}.json")]
    assert [one.persons for one in orders.all()] == [(theirs, "P99")]
    assert orders.events() == []
    state, gone = world.flow.tables["identities"], [int(name[1:]) for name in (mine, event.other)]
    rows = state.slots(state.keys())
    assert not np.isin(state["person"][rows], gone).any() and not np.isin(state["linked"][rows], gone).any()


def test_unsealed_the_search_finds_the_look_though_the_row_is_long_gone(keys: Path, tmp_path: Path) -> None:
    """What the test above would show without its subject: the log keeps what was deleted."""
    world = answered(unsealed(keys_in(keys)))
    erased(world, keys)
    assert {where for where, data in in_topics(world) if holds_look(data, FORGOTTEN)} == {"sightline.state.unsealed"}
    assert not holds_look(world.flow.tables["identities"]["look"].tobytes(), FORGOTTEN)


def test_state_from_before_opens_no_more_but_for_the_others(keys: Path) -> None:
    """As of a backup, or of segments that were not compacted."""
    world = answered(people(keys_in(keys)))
    before = Memory(world.started().tables["identities"])
    slots = {name: slot for slot in before.decided() for name in before.names([slot])}
    sealed = {name: before.state["look"][[slot]].copy() for name, slot in slots.items()}
    living = world.flow.tables["track"]
    tracked = {(camera, number): living["look"][slot][None].copy() for slot in np.flatnonzero(living["track_id"] > 0)
               for camera, number in [(living["camera_id"][slot], int(living["track_id"][slot]))]}  # fmt: skip
    for name in (*MINE, *THEIRS):
        np.testing.assert_allclose(seal_of(keys).open(sealed[name], [name])[0], LOOKS[int(name in THEIRS)], atol=1e-3)
    erased(world, keys)

    for name in MINE:
        assert not seal_of(keys).open(sealed[name], [name]).any()
        assert not seal_of(keys).seal(LOOKS[:1].astype(np.float32), [name], now_ms()).any()
    for name in THEIRS:
        assert seal_of(keys).open(sealed[name], [name]).any()
        assert seal_of(keys).open(tracked[name], [name]).any()


def test_a_restored_backup_forgets_the_person_again(keys: Path) -> None:
    world = answered(people(keys_in(keys)))
    kept, at = list(world.commits), list(world.at)
    person = erased(world, keys)
    world.commits, world.at = kept, at  # Kafka is as it was, the keys and orders are not
    world.flow = world.started()
    assert person_of(world, MINE[0]) == int(person[1:])
    world.run([10] * 3, restarts=True)

    assert not len(Memory(world.flow.tables["identities"]).tracks_of(int(person[1:])))


def test_a_worker_without_the_folder_of_keys_goes_on(keys: Path) -> None:
    world = answered(people(keys_in(keys)))
    shutil.rmtree(keys)
    world.flow = world.started()
    world.run([10] * 3, restarts=True)
    stage = world.pipeline.stages[1]
    assert isinstance(stage, TrackStage)
    assert stage.facts(world.flow.tables["track"]).totals["looks forgotten"] >= len(THEIRS)  # who is in view
    assert world.flow.tables["track"]["look"].any()  # and looks are kept again, by new keys
    assert world.at == [150]


@pytest.mark.parametrize("count", [store_metrics, lambda plan: store_alerts(plan, ())], ids=["metrics", "alerts"])
def test_what_counts_forgets_the_name_within_minutes(keys: Path, count: Callable[[StorePlan], Pipeline]) -> None:
    world = answered(people(keys_in(keys)), until_s=150, log_ms=now_ms() + 120_000)
    person = f"P{person_of(world, MINE[0])}"
    told = MemoryLog()
    told.create(PERSON_SIGHTINGS.name, 1)
    store = OnLog(count(StorePlan(tuple(Camera(name) for name in CAMERAS))), told, world.now_ms)

    def counted() -> str:
        """What is remembered once all that was said of people has been read."""
        told.append(PERSON_SIGHTINGS.name, Records.joined(world.answers()[len(read) :]))
        read.extend(world.answers()[len(read) :])
        store.process(100_000)
        return " ".join(texts_of(table) for table in store.flow.tables.values())

    read: list[Records] = []
    assert re.search(rf"\b{person}\b", counted())
    Erasures(keys).order(person, "anna", now_ms())
    world.run([10])
    counted()
    world.run([100] * 20)
    after = counted()
    assert world.is_done
    assert not re.search(rf"\b{person}\b", after)
    assert re.search(rf"\bP{person_of(world, THEIRS[0])}\b", after)  # who did not ask
    assert not store.rejected()
