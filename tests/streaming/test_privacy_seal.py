"""Sealed looks: what opens them, what does not, and stages that go on as if nothing were sealed, or forget."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streaming.identities import IdentityStage
from streaming.identities.ledger import Ledger
from streaming.identities.memory import TRACK, Memory
from streaming.privacy import erasures, folder
from streaming.privacy.erasures import Erasure, Erasures, number_of
from streaming.privacy.folder import KeyFolder
from streaming.privacy.keyed import KeyedSeal
from streaming.privacy.keyring import Retention
from streaming.state import StateTable
from streaming.testing import Changelog, every_row
from streaming.topics import DAY_MS
from streaming.tracking import TrackStage
from tests.streaming.test_identity_stage import CAMERAS, DIMENSIONS, NOW_MS, RULES, Scene, final, ran, shop
from tests.streaming.test_track_stage import shop as seen

RETENTION = Retention(dict.fromkeys((*CAMERAS, "door", "till"), 3))
WIDTH = 4
LOOKS = arrays(np.float32, (2, WIDTH), elements=st.floats(-1, 1, width=32))

Sealer = Callable[..., KeyedSeal]


def at_once() -> int:
    return NOW_MS + 60_000


@pytest.fixture(autouse=True)
def _looks_at_files_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (folder, erasures):
        monkeypatch.setattr(module, "_LOOK_S", 0.0)


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    def made(name: str = "keys", clock: Callable[[], int] = at_once) -> KeyedSeal:
        return KeyedSeal(KeyFolder(tmp_path / name, RETENTION, clock))

    return made


# --- looks ------------------------------------------------------------------------------------------------------------


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(looks=LOOKS)
def test_what_is_sealed_opens_in_any_process_that_has_the_key(sealer: Sealer, looks: np.ndarray) -> None:
    tracks = [("door", 1), ("till", 2)]
    sealed = sealer().seal(looks, tracks, NOW_MS)

    assert sealed.shape == (2, sealer().width(WIDTH))
    assert sealed.any(axis=1).tolist() == looks.any(axis=1).tolist()  # no look is no bytes
    np.testing.assert_array_equal(sealer().open(sealed, tracks), looks)
    np.testing.assert_array_equal(sealer().seal(looks, tracks, NOW_MS), sealed)  # the same look, the same bytes
    for look, row in zip(looks, sealed, strict=True):
        assert not look.any() or look.tobytes() not in row.tobytes()


def test_nothing_else_opens(sealer: Sealer) -> None:
    look, track = np.ones((1, WIDTH), np.float32), [("door", 1)]
    sealed = sealer().seal(look, track, NOW_MS)
    for wrong in ([("door", 2)], [("till", 1)], [("strange", 1)]):
        assert not sealer().open(sealed, wrong).any()
    assert not sealer("other keys").open(sealed, track).any()
    for at in range(sealed.shape[1]):
        bent = sealed.copy()
        bent[0, at] ^= 1
        assert not sealer().open(bent, track).any(), f"byte {at}"
    assert sealer().open(sealed, track).all()


def test_a_forgotten_track_is_neither_opened_nor_sealed_though_it_was_open_before(sealer: Sealer) -> None:
    look, mine, other = np.ones((1, WIDTH), np.float32), [("door", 1)], [("door", 2)]
    seal, beside = sealer(), sealer()
    sealed, kept = (seal.seal(look, track, NOW_MS) for track in (mine, other))
    assert beside.open(sealed, mine).all()
    seal.forget(mine)

    for process in (seal, beside, sealer()):
        assert not process.open(sealed, mine).any()
        assert not process.seal(look, mine, NOW_MS).any()
        assert process.open(kept, other).all()


def test_a_look_is_gone_with_its_day_though_it_was_open_before(sealer: Sealer) -> None:
    clock = [NOW_MS]
    seal, track = sealer(clock=lambda: clock[0]), [("door", 1)]
    sealed = seal.seal(np.ones((1, WIDTH), np.float32), track, NOW_MS)
    clock[0] += 2 * DAY_MS
    assert seal.open(sealed, track).all()
    clock[0] += DAY_MS
    assert not seal.open(sealed, track).any()
    clock[0] -= 3 * DAY_MS  # as by a clock set back: the key is destroyed, not hidden
    assert not sealer(clock=lambda: clock[0]).open(sealed, track).any()


def test_times_that_cannot_be_are_no_days(sealer: Sealer) -> None:
    look, track = np.ones((1, WIDTH), np.float32), [("door", 1)]
    for at_ms in (-1, 0, NOW_MS - 4 * DAY_MS, NOW_MS + 3 * DAY_MS, 2**62):
        assert not sealer().seal(look, track, at_ms).any()


def test_a_pickled_seal_takes_no_look_along(tmp_path: Path) -> None:
    seal = KeyedSeal(KeyFolder(tmp_path / "keys", RETENTION))
    look = np.full((1, WIDTH), 0.71, np.float32)
    seal.seal(look, [("door", 1)], folder.now_ms())
    assert look[0, :1].tobytes() not in pickle.dumps(seal)


# --- stages -----------------------------------------------------------------------------------------------------------


def restored(state: StateTable, stage: IdentityStage | TrackStage) -> StateTable:
    log, resumed = Changelog(), stage.new_state()
    log.drain(state)
    log.restore(resumed)
    return resumed


def embedded(rows: pl.DataFrame) -> pl.DataFrame:
    """Every box has the look of where it goes."""
    looks = [np.eye(WIDTH, dtype="<f4")[int(x // 1_000) % WIDTH].tobytes() for x in rows["x0_px"].fill_null(0.0)]
    return rows.with_columns(embedding=pl.Series(looks, dtype=pl.Binary))


def test_identities_are_the_same_sealed_or_not_over_a_restart(sealer: Sealer) -> None:
    plain, _, _ = ran(shop(), 42)
    rows = shop().rows(42)
    early, late = rows.filter(pl.col("_offset") < 300), rows.filter(pl.col("_offset") >= 300)
    first = IdentityStage(DIMENSIONS, RULES, seal=sealer())
    state = first.new_state()
    told = first(early, state)
    second = IdentityStage(DIMENSIONS, RULES, seal=sealer())

    assert pl.concat([told, second(late, restored(state, second))]).equals(plain)


def test_tracks_are_the_same_sealed_or_not_over_a_restart(sealer: Sealer) -> None:
    rows = embedded(seen())
    stage = TrackStage(dimensions=WIDTH)
    plain = stage(rows, stage.new_state())
    early, late = rows.filter(pl.col("_offset") < 40), rows.filter(pl.col("_offset") >= 40)
    first, second = (TrackStage(dimensions=WIDTH, seal=sealer()) for _ in range(2))
    state = first.new_state()
    told = first(early, state)

    assert pl.concat([told, second(late, restored(state, second))]).equals(plain)


def test_a_worker_without_the_keys_forgets_looks_counts_them_and_goes_on(sealer: Sealer) -> None:
    rows = shop().rows(42)
    early, late = rows.filter(pl.col("_offset") < 300), rows.filter(pl.col("_offset") >= 300)
    first = IdentityStage(DIMENSIONS, RULES, seal=sealer())
    state = first.new_state()
    first(early, state)
    had = int((state["look"] != 0).any(axis=1).sum())
    moved = IdentityStage(DIMENSIONS, RULES, seal=sealer("another machine"))
    resumed = restored(state, moved)
    told = moved(late, resumed)

    forgotten = moved.facts(resumed).totals["looks forgotten"]
    assert 0 < forgotten <= had
    assert told.filter(pl.col("corrects_from_ms").is_null()).height == ran(shop(), 42)[0].filter(
        pl.col("corrects_from_ms").is_null() & (pl.col("_offset") >= 300)
    ).height  # fmt: skip
    again = IdentityStage(DIMENSIONS, RULES, seal=sealer("another machine"))
    assert again.facts(restored(resumed, again)).totals["looks forgotten"] == forgotten  # counted once


def test_a_camera_without_the_keys_tracks_on_by_place(sealer: Sealer) -> None:
    rows = embedded(seen())
    early, late = rows.filter(pl.col("_offset") < 40), rows.filter(pl.col("_offset") >= 40)
    first = TrackStage(dimensions=WIDTH, seal=sealer())
    state = first.new_state()
    first(early, state)
    living = int((state["look"] != 0).any(axis=1).sum())
    moved = TrackStage(dimensions=WIDTH, seal=sealer("another machine"))
    resumed = restored(state, moved)
    told = moved(late, resumed)

    assert moved.facts(resumed).totals["looks forgotten"] == living > 0
    assert told["track_id"].drop_nulls().is_in(np.arange(1, 200)).all()
    assert set(told["_offset"]) == set(late["_offset"])


def test_a_look_met_without_its_key_does_not_weigh_on_the_next(sealer: Sealer) -> None:
    # A track of three looks; then the keys are lost, and one more look comes: it is that look and no mean with nothing.
    scene = Scene().walk("door", 1, 0, 9, 0)
    rows = scene.rows(9)
    first = IdentityStage(DIMENSIONS, RULES, seal=sealer())
    state = first.new_state()
    first(rows.filter(pl.col("captured_ms") < NOW_MS + 3_000), state)
    seal = sealer("another machine")
    moved = IdentityStage(DIMENSIONS, RULES, seal=seal)
    resumed = restored(state, moved)
    moved(rows.filter(pl.col("captured_ms") >= NOW_MS + 3_000), resumed)
    slots = Memory(resumed).of_kind(TRACK)

    assert np.linalg.norm(Memory(resumed).open_looks(slots, seal)) == pytest.approx(1.0, abs=0.05)


def test_looks_that_may_not_be_kept_do_not_count(sealer: Sealer) -> None:
    stage = IdentityStage(DIMENSIONS, RULES, seal=sealer(clock=lambda: NOW_MS + 5 * DAY_MS))  # as in a replay
    state = stage.new_state()
    out = stage(Scene().walk("door", 1, 0, 4, 0).rows(6), state)
    slots = Memory(state).of_kind(TRACK)
    assert final(out) == {("door", 1): "P1"}
    assert not state["look"].any() and state["count"][slots].tolist() == [0]


# --- orders to forget -------------------------------------------------------------------------------------------------


def asked(tmp_path: Path, person: str, at_ms: int = NOW_MS + 5_000) -> Erasures:
    orders = Erasures(tmp_path / "keys")
    orders.order(person, "anna", at_ms)
    return orders


def test_an_order_given_while_the_one_before_is_noted_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    orders = asked(tmp_path, "P1")
    (first,) = orders.standing()
    another = threading.Thread(target=asked, args=(tmp_path, "P1", NOW_MS + 9_000))
    read = Erasures._read_one  # noqa: SLF001 - where both meet

    def read_and_ask_again(self: Erasures, file: Path) -> Erasure | None:
        found = read(self, file)
        another.start()
        another.join(0.2)  # it has to wait
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Erasures, "_read_one", read_and_ask_again)
        orders.carried_out(first, 2)
    another.join()
    assert [one.asked_ms for one in Erasures(tmp_path / "keys").standing()] == [NOW_MS + 9_000]


def test_an_order_is_carried_out_with_the_next_row_and_noted(tmp_path: Path, sealer: Sealer) -> None:
    scene = Scene().walk("door", 1, 0, 4, 0).walk("door", 2, 0, 9, 5)
    rows = scene.rows(10)
    stage = IdentityStage(DIMENSIONS, RULES, sealer(), Erasures(tmp_path / "keys"))
    state = stage.new_state()
    names = final(stage(rows.filter(pl.col("captured_ms") < NOW_MS + 5_000), state))
    log = Changelog()
    log.drain(state)
    before = every_row(state)
    orders = asked(tmp_path, names["door", 1] or "")
    told = stage(rows.filter(pl.col("captured_ms") >= NOW_MS + 5_000), state)

    assert final(told)["door", 1] is None
    assert {one.tracks for one in orders.standing()} == {1}
    assert names["door", 1] not in told["person_id"].to_list()
    assert names["door", 2] in told["person_id"].to_list()
    # Whoever comes back with the state of before the order forgets again, and cannot open the look meanwhile.
    old = stage.new_state()
    log.restore(old)
    assert every_row(old).equals(before)
    assert sealer().open(old["look"][Memory(old).tracks_of(1)], [("door", 1)]).any() == (names["door", 1] != "P1")
    stage.tick(NOW_MS + 6_000, [0, 1], old)
    assert not len(Memory(old).tracks_of(number_of(names["door", 1] or "")))
    stage.tick(NOW_MS + 7_000, [0, 1], old)
    (order,) = orders.standing()
    assert order.erased_ms is not None and order.tracks == 2


def test_an_order_is_about_tracks_that_began_before_it(tmp_path: Path, sealer: Sealer) -> None:
    asked(tmp_path, "P1", at_ms=NOW_MS - 1)
    stage = IdentityStage(DIMENSIONS, RULES, sealer(), Erasures(tmp_path / "keys"))
    state = stage.new_state()
    out = stage(Scene().walk("door", 1, 0, 4, 0).rows(6), state)
    stage.tick(NOW_MS + 6_000, [0, 1], state)
    assert final(out) == {("door", 1): "P1"}
    assert len(Memory(state).tracks_of(1)) == 1  # another pipeline's P1 was meant


@pytest.mark.parametrize("by_hand", [True, False])
def test_who_was_merged_is_found_by_the_old_name(tmp_path: Path, sealer: Sealer, by_hand: bool) -> None:
    scene = Scene().walk("door", 1, 0, 4, 0).walk("till", 1, 0, 4, 5)
    stage = IdentityStage(DIMENSIONS, RULES, sealer(), Erasures(tmp_path / "keys"))
    state = stage.new_state()
    stage(scene.rows(6), state)
    ledger = Ledger(Memory(state))
    ledger.merge(1, 2, at_ms=NOW_MS) if by_hand else ledger.unite(1, 2, at_ms=NOW_MS, score=0.9)
    asked(tmp_path, "P2")
    stage.tick(NOW_MS + 6_000, [0, 1], state)
    assert not len(Memory(state).tracks_of(1))
    assert ledger.events() == []


def test_state_from_before_they_were_one_forgets_both(tmp_path: Path, sealer: Sealer) -> None:
    stage = IdentityStage(DIMENSIONS, RULES, sealer(), Erasures(tmp_path / "keys"))
    state = stage.new_state()
    stage(Scene().walk("door", 1, 0, 4, 0).walk("till", 1, 0, 4, 5).walk("shelf", 1, 0, 4, 3).rows(6), state)
    before = restored(state, stage)
    Ledger(Memory(state)).merge(2, 1, at_ms=NOW_MS)
    orders = asked(tmp_path, "P1")
    for old in (state, before):
        for second in (6, 7):
            stage.tick(NOW_MS + 1_000 * second, [0, 1], old)
        assert np.unique(old["person"][Memory(old).decided()]).tolist() == [3]
    assert [(one.person_id, one.who, one.erased_ms is None) for one in orders.standing()] == [
        ("P1", "anna", False),
        ("P2", "anna", False),
    ]


def test_who_was_split_off_is_not_forgotten_with_the_other(tmp_path: Path, sealer: Sealer) -> None:
    scene = Scene().walk("door", 1, 0, 4, 0).walk("till", 1, 0, 4, 5)
    stage = IdentityStage(DIMENSIONS, RULES, sealer(), Erasures(tmp_path / "keys"))
    state = stage.new_state()
    stage(scene.rows(6), state)
    ledger, memory = Ledger(Memory(state)), Memory(state)
    for slot in memory.decided().tolist():
        ledger.relink(slot, 1, 0.9)
    ledger.split(1, [("till", 1)], at_ms=NOW_MS)
    asked(tmp_path, "P1")
    stage.tick(NOW_MS + 6_000, [0, 1], state)
    stage.tick(NOW_MS + 7_000, [0, 1], state)  # the order stands
    assert memory.names(memory.decided()) == [("till", 1)]
    assert ledger.events() == []


def test_keys_that_cannot_be_destroyed_leave_the_order_open(
    tmp_path: Path, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = IdentityStage(DIMENSIONS, RULES, sealer(), Erasures(tmp_path / "keys"))
    state = stage.new_state()
    stage(Scene().walk("door", 1, 0, 4, 0).rows(6), state)
    orders = asked(tmp_path, "P1")

    def full(file: Path, key: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "_write", full)
    stage.tick(NOW_MS + 6_000, [0, 1], state)
    assert len(Memory(state).tracks_of(1)) == 1
    assert [(one.tracks, one.erased_ms) for one in orders.standing()] == [(0, None)]
    monkeypatch.undo()
    monkeypatch.setattr(erasures, "_LOOK_S", 0.0)
    stage.tick(NOW_MS + 7_000, [0, 1], state)
    assert len(Memory(state).tracks_of(1)) == 0


@pytest.mark.parametrize("name", ["17", "P0", "P01", "p1", "P", "P1/../P2", "P" + "9" * 30, ""])
def test_what_is_no_person_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no person"):
        asked(tmp_path, name)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "{", json.dumps({"person_id": "P2", "asked_ms": 1, "who": ""}), '{"person_id": "P1"}']
)
def test_a_file_that_is_no_order_is_passed_over(tmp_path: Path, sealer: Sealer, text: str) -> None:
    sealer()
    orders = asked(tmp_path, "P3")
    (tmp_path / "keys" / "erasures" / "P1.json").write_text(text)
    assert [one.person_id for one in orders.standing()] == ["P3"]


def test_orders_lapse_when_nothing_can_be_left(tmp_path: Path, sealer: Sealer) -> None:
    sealer()
    orders = asked(tmp_path, "P3", at_ms=NOW_MS)
    assert orders.lapse(NOW_MS) == 0
    assert orders.lapse(NOW_MS + 1) == 1
    assert orders.standing() == ()
