"""The identity stage on sightings made by hand: one name across cameras, whatever the cuts and the restarts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.identities import Appearance, IdentityStage, Rules
from streaming.identities.decisions import Decisions
from streaming.identities.ledger import Ledger
from streaming.identities.memory import TRACK, Memory
from streaming.privacy.seal import Plain
from streaming.state import StateTable
from streaming.testing import Changelog, every_row

NOW_MS = 1_700_000_000_000
CAMERAS = ("door", "shelf", "till")
DIMENSIONS = 8
RULES = Rules(appearance=Appearance(0.7, 8.0))
OVERLAP = Rules(appearance=Appearance(0.7, 8.0), overlapping=[frozenset({"door", "shelf"})])
SCHEMA = {
    "camera_id": pl.String, "captured_ms": pl.Int64, "frame": pl.Int64, "track_id": pl.Int64, "x_m": pl.Float32,
    "y_m": pl.Float32, "embedding": pl.Binary, "_partition": pl.Int32, "_offset": pl.Int64,
}  # fmt: skip


class Scene:
    """Frames of three cameras, five a second; every camera sends frames all the time."""

    def __init__(self) -> None:
        self._walks: list[tuple[str, int, float, float, int | None, float | None]] = []

    def walk(
        self, camera: str, track_id: int, from_s: float, to_s: float, who: int | None, x_m: float | None = None
    ) -> Scene:
        self._walks.append((camera, track_id, from_s, to_s, who, x_m))
        return self

    def rows(self, until_s: float) -> pl.DataFrame:
        chance = np.random.default_rng(0)
        rows: list[dict[str, Any]] = []
        for frame in range(round(until_s * 5)):
            for number, camera in enumerate(CAMERAS):
                shared = {
                    "camera_id": camera, "frame": frame, "captured_ms": NOW_MS + 200 * frame + 30 * number,
                    "_partition": number % 2, "_offset": frame * len(CAMERAS) + number,
                }  # fmt: skip
                seen = []
                for where, track_id, from_s, to_s, who, x_m in self._walks:
                    if where == camera and from_s <= frame / 5 < to_s:
                        look = None
                        if who is not None:
                            vector = np.eye(DIMENSIONS)[who] + chance.normal(0, 0.05, DIMENSIONS)
                            look = (vector / np.linalg.norm(vector)).astype("<f4").tobytes()
                        seen.append({"track_id": track_id, "embedding": look, "x_m": x_m, "y_m": x_m and 1.0})
                rows += [shared | one for one in seen] or [shared]
        return pl.DataFrame(rows, schema=SCHEMA)


def cut(rows: pl.DataFrame, offsets: list[int]) -> list[pl.DataFrame]:
    edges = sorted({0, *offsets, 10**9})
    return [rows.filter(pl.col("_offset").is_between(a, b, closed="left")) for a, b in pairwise(edges)]


def restarted(
    stage: IdentityStage, rows: pl.DataFrame, offsets: list[int], state: StateTable, log: Changelog
) -> tuple[pl.DataFrame, StateTable]:
    """What the stage says to rows that are cut at these offsets, with a restart from the changelog after each part."""
    out = []
    for part in cut(rows, offsets):
        out.append(stage(part, state))
        log.drain(state)
        state = stage.new_state()
        log.restore(state)
    return pl.concat(out), state


def final(out: pl.DataFrame) -> dict[tuple[str, int], str | None]:
    """Who each track is in the end."""
    corrections = out.filter(pl.col("corrects_from_ms").is_not_null())
    return {(camera, track): who for camera, track, who in corrections["camera_id", "track_id", "person_id"].rows()}


def ran(scene: Scene, until_s: float, rules: Rules = RULES) -> tuple[pl.DataFrame, StateTable, IdentityStage]:
    stage = IdentityStage(DIMENSIONS, rules)
    state = stage.new_state()
    return stage(scene.rows(until_s), state), state, stage


def shop() -> Scene:
    scene = Scene()
    for who in range(4):
        scene.walk("door", who + 1, 3.0 * who, 3.0 * who + 4, who, x_m=1.0)
        scene.walk("shelf", who + 1, 3.0 * who + 12, 3.0 * who + 17, who, x_m=9.0)
        scene.walk("till", who + 1, 3.0 * who + 25, 3.0 * who + 30, who, x_m=20.0)
    return scene


def test_one_name_from_the_door_to_the_till() -> None:
    out, _, _ = ran(shop(), 42)
    found = final(out)
    for track in range(1, 5):
        assert found["door", track] == found["shelf", track] == found["till", track] == f"P{track}"
    scores = out.filter(pl.col("corrects_from_ms").is_not_null())["link_score"]
    assert scores.min() > 0.5
    assert scores.max() <= 1.0


def test_sightings_leave_at_once_and_the_first_are_corrected() -> None:
    out, _, _ = ran(Scene().walk("door", 1, 0, 4, 0), 6)
    mine = out.filter(pl.col("track_id") == 1)
    sightings, corrections = mine.filter(pl.col("corrects_from_ms").is_null()), mine.drop_nulls("corrects_from_ms")
    assert sightings.height == 20  # each once, decided or not
    names = sightings["person_id"].to_list()
    assert names == [None] * names.count(None) + ["P1"] * (20 - names.count(None))
    assert 0 < names.count(None) <= 9
    corrects = corrections.select("corrects_person_id", "person_id", pl.col("corrects_from_ms").to_physical())
    assert corrects.rows() == [(None, "P1", NOW_MS)]
    assert out.filter(pl.col("track_id").is_null())["person_id"].null_count() > 0  # a frame without anybody stays a row
    assert "embedding" not in out.columns


def test_nobody_is_in_two_places_at_once() -> None:
    # The same look in two cameras that do not overlap, at the same time: two people.
    scene = Scene().walk("door", 1, 0, 8, 0).walk("till", 1, 3, 8, 0)
    assert len(set(final(ran(scene, 10)[0]).values())) == 2


def test_nobody_is_twice_in_one_camera() -> None:
    scene = Scene().walk("door", 1, 0, 8, 0).walk("door", 2, 2, 8, 0)
    assert len(set(final(ran(scene, 10)[0]).values())) == 2


@pytest.mark.parametrize("last", [15, 16, 17])
def test_two_in_a_single_frame_are_two(last: int) -> None:
    # One ends in the very frame in which the other begins; whatever the rhythm in which places are noted.
    scene = Scene().walk("door", 1, 0, (last + 1) / 5, 0).walk("door", 2, last / 5, 8, 0)
    assert len(set(final(ran(scene, 10)[0]).values())) == 2


@pytest.mark.parametrize("last", [15, 16, 17])
def test_who_is_told_late_was_in_that_frame_too(last: int) -> None:
    # As above, but the other is on trial then, and told with the next frame, when the first is not seen any more.
    scene = Scene().walk("door", 1, 0, (last + 1) / 5, 0).walk("door", 2, last / 5, 8, 0)
    rows = scene.rows(10).with_columns(_incomplete=(pl.col("camera_id") == "door") & (pl.col("frame") == last))
    is_late = (pl.col("track_id") == 2) & (pl.col("frame") == last)
    told_with = pl.when(is_late).then(pl.col("_offset") + len(CAMERAS)).otherwise("_offset")
    rows = rows.with_columns(_offset=told_with.fill_null(pl.col("_offset"))).sort("_offset", "captured_ms")
    stage = IdentityStage(DIMENSIONS, RULES)
    out = stage(rows, stage.new_state())
    assert len(set(final(out).values())) == 2
    assert "_incomplete" not in out.columns


@pytest.mark.parametrize(("x_m", "same"), [(1.1, True), (6.0, False)])
def test_in_overlapping_views_the_floor_says_who_is_who(x_m: float, same: bool) -> None:
    # Without any look: the place alone decides.
    scene = Scene().walk("door", 1, 0, 8, None, x_m=1.0).walk("shelf", 1, 3, 8, None, x_m=x_m)
    assert (len(set(final(ran(scene, 10, OVERLAP)[0]).values())) == 1) is same


def test_who_comes_into_two_views_in_one_step_is_one() -> None:
    scene = Scene().walk("door", 1, 0, 8, 0, x_m=1.0).walk("shelf", 1, 0, 8, 0, x_m=1.1)
    assert len(set(final(ran(scene, 10, OVERLAP)[0]).values())) == 1


def test_nobody_walks_faster_than_people_walk() -> None:
    near = Scene().walk("door", 1, 0, 4, 0, x_m=1.0).walk("till", 1, 6, 10, 0, x_m=5.0)
    far = Scene().walk("door", 1, 0, 4, 0, x_m=1.0).walk("till", 1, 6, 10, 0, x_m=40.0)
    assert len(set(final(ran(near, 12)[0]).values())) == 1
    assert len(set(final(ran(far, 12)[0]).values())) == 2


def test_a_stranger_is_somebody_new() -> None:
    scene = Scene().walk("door", 1, 0, 4, 0).walk("shelf", 1, 12, 16, 5)
    assert final(ran(scene, 18)[0]) == {("door", 1): "P1", ("shelf", 1): "P2"}


def test_a_link_is_taken_back_when_the_one_before_returns() -> None:
    # Track 1 hides; track 2 looks the same and is taken for it; then 1 comes back.
    scene = Scene().walk("door", 1, 0, 4, 0).walk("door", 2, 5, 12, 0).walk("door", 1, 9, 12, 0)
    out, _, _ = ran(scene, 14)
    told = out.filter(pl.col("track_id") == 2).drop_nulls("corrects_from_ms")
    assert told.select("corrects_person_id", "person_id").rows() == [(None, "P1"), ("P1", None), (None, "P2")]
    frames = out.filter(pl.col("corrects_from_ms").is_null() & pl.col("person_id").is_not_null())
    assert not frames.select("camera_id", "frame", "person_id").is_duplicated().any()


@given(st.lists(st.integers(1, 629), max_size=6))
@settings(max_examples=3, deadline=None)
def test_cuts_and_restarts_do_not_matter(offsets: list[int]) -> None:
    rows, stage = shop().rows(42), IdentityStage(DIMENSIONS, RULES)
    whole = stage.new_state()
    expected = stage(rows, whole)
    out, state = restarted(stage, rows, offsets, stage.new_state(), Changelog())
    assert out.equals(expected)
    assert every_row(state).equals(every_row(whole))


def test_a_camera_that_is_read_later_gives_the_same_names() -> None:
    rows, stage = shop().rows(42), IdentityStage(DIMENSIONS, RULES)
    behind = rows.with_columns(
        _turn=pl.col("captured_ms") + pl.when(pl.col("_partition") == 1).then(3_000).otherwise(0)
    )
    skewed = behind.sort("_turn", maintain_order=True).drop("_turn")
    assert final(stage(skewed, stage.new_state())) == final(stage(rows, stage.new_state()))


def stopped_door() -> tuple[pl.DataFrame, IdentityStage, StateTable]:
    """The door's camera and the till's stop after four seconds; somebody comes to the shelf two seconds later."""
    rows = Scene().walk("door", 1, 0, 4, 0).walk("shelf", 1, 6, 9, 1).rows(9)
    rows = rows.filter((pl.col("camera_id") == "shelf") | (pl.col("captured_ms") < NOW_MS + 4_000))
    stage = IdentityStage(DIMENSIONS, RULES)
    state = stage.new_state()
    assert final(stage(rows, state)) == {("door", 1): "P1"}
    return rows, stage, state


def test_a_camera_that_has_stopped_holds_up_nobody_who_is_seen_in_another() -> None:
    _, stage, state = stopped_door()
    assert stage.tick(NOW_MS + 9_000, [0], state).is_empty()  # it may only be late
    told = stage.tick(NOW_MS + 13_000, [0], state)
    assert final(told) == {("shelf", 1): "P2"}
    assert told["captured_ms"].dt.epoch("ms").to_list() == [NOW_MS + 8_000]
    state.drain()
    assert stage.tick(NOW_MS + 14_000, [0, 1], state).is_empty()
    assert len(state.drain().keys) == 0, "a tick that decides nobody leaves nothing to be written"


def test_a_tick_says_nothing_of_what_time_it_is_in_a_recording() -> None:
    _, stage, state = stopped_door()
    assert stage.tick(NOW_MS + 3_600_000, [0, 1], state).is_empty()


def test_names_are_never_used_again_and_looks_expire() -> None:
    rules = Rules(appearance=RULES.appearance, memory_s=5.0, retention_s=10.0)
    scene = Scene().walk("door", 1, 0, 3, 0).walk("door", 2, 20, 23, 0)
    out, state, stage = ran(scene, 25, rules)
    assert final(out) == {("door", 1): "P1", ("door", 2): "P2"}
    assert np.count_nonzero(state["kind"] == TRACK) == 1
    assert np.count_nonzero(state["look"].any(axis=1)) == 1  # nothing of the first is left, in free storage either
    stage.tick(NOW_MS + 60_000, [0, 1], state)  # the cameras are switched off: time goes on
    assert not state["look"].any()
    assert np.count_nonzero(state["kind"] == TRACK) == 0


def test_an_erased_person_leaves_nothing_and_is_not_met_again() -> None:
    _, state, stage = ran(Scene().walk("door", 1, 0, 6, 0), 4)
    assert state["look"].any()
    corrections = stage.corrected(Ledger(Memory(state)).erase(1, still_on_ms=NOW_MS + 1_000))
    assert corrections.select("corrects_person_id", "person_id", "link_score").rows() == [("P1", None, None)]
    assert not state["look"].any()
    assert not np.isfinite(state["place_m"]).any()
    rest = Scene().walk("door", 1, 0, 8, 0).rows(8).filter(pl.col("captured_ms") >= NOW_MS + 4_000)
    after = stage(rest, state)
    assert after["person_id"].null_count() == after.height  # the track goes on without a name, and without a look
    assert not state["look"].any()


def test_a_merge_by_hand_survives_a_restart_and_can_be_undone() -> None:
    scene = Scene().walk("door", 1, 0, 4, 0).walk("shelf", 1, 12, 16, 5)
    _, state, stage = ran(scene, 18)
    event, merged = Ledger(Memory(state)).merge(1, 2, at_ms=NOW_MS)
    assert stage.corrected(merged).select("camera_id", "corrects_person_id", "person_id").rows() == [
        ("shelf", "P2", "P1")
    ]
    log = Changelog()
    log.drain(state)
    resumed = stage.new_state()
    log.restore(resumed)
    back = Ledger(Memory(resumed)).undo(event)
    assert stage.corrected(back).select("camera_id", "corrects_person_id", "person_id").rows() == [
        ("shelf", "P1", "P2")
    ]


def two_names(looks: tuple[int, int] = (0, 0)) -> Scene:
    """Somebody under two names: at the till somebody else's track was taken for the first, while the other is seen at
    the door and the shelf."""
    scene = Scene()
    for n in range(6):
        scene.walk("door", n + 1, 4 * n, 4 * n + 1.9, looks[0], x_m=1.0)
        scene.walk("shelf", n + 1, 4 * n + 2, 4 * n + 3.9, looks[1], x_m=1.5)
    return scene.walk("till", 1, 9, 12, None, x_m=30.0)


def named_twice(looks: tuple[int, int]) -> StateTable:
    """The state after the scene, with what was seen at the shelf under another name, and the till's track a mistake."""
    _, state, _ = ran(two_names(looks), 24, OVERLAP)
    memory = Memory(state)
    numbers = {name: number for number, name in memory.cameras().items()}
    till, shelf = numbers["till"], numbers["shelf"]
    for slot in memory.decided().tolist():
        person = {till: 1, shelf: 2}.get(int(state["camera"][slot]), 1)
        Ledger(memory).relink(slot, person, 0.9)
    return state


@pytest.mark.parametrize(("looks", "persons"), [((0, 0), 1), ((0, 5), 2)])
def test_two_names_of_one_person_become_one_and_what_kept_them_apart_is_asked_again(
    looks: tuple[int, int], persons: int
) -> None:
    state = named_twice(looks)
    memory = Memory(state)
    decisions = Decisions(OVERLAP, Plain(), memory, NOW_MS + 24_000, np.array([], np.int64))
    made = decisions.unite([2])
    of = {int(state["camera"][slot]): int(state["person"][slot]) for slot in memory.decided().tolist()}
    assert len(set(of.values())) == persons
    if persons == 1:
        assert {(one.old, one.new) for one in made} == {(1, 0), (2, 1)}  # the elder name stays
        assert [one.camera_id for one in made if not one.new] == ["till"]
        assert sum(one.new == 1 for one in made) == 6
        assert all(0.5 < one.score <= 1 for one in made if one.new)
        assert decisions.unite([1]) == []
        event = Ledger(memory).events()[-1]
        assert event[1:5] == (NOW_MS + 24_000, 1, 2, ())
        assert 0.5 < event.score <= 1
    else:
        assert made == []
    assert decisions.unite([0, 77]) == []


def asked_at(state: StateTable, second: float) -> Decisions:
    return Decisions(OVERLAP, Plain(), Memory(state), NOW_MS + round(1000 * second), np.array([], np.int64))


def test_who_was_told_apart_by_hand_is_not_made_one_again() -> None:
    state = named_twice((0, 0))
    ledger = Ledger(Memory(state))
    assert asked_at(state, 24).unite([2])
    back = ledger.undo(ledger.events()[-1].number)
    assert {(one.camera_id, one.old, one.new) for one in back} == {("shelf", 1, 2)}
    assert asked_at(state, 24).unite([1, 2]) == []
    # Nor by a name that one of them has got meanwhile.
    ledger.unite(9, 2, at_ms=NOW_MS, score=0.9)
    assert asked_at(state, 24).unite([1, 9]) == []


def test_who_was_split_by_hand_is_not_made_one_again() -> None:
    state = named_twice((0, 0))
    asked_at(state, 24).unite([2])
    ledger = Ledger(Memory(state))
    split, _ = ledger.split(1, [("shelf", n) for n in range(1, 7)], at_ms=NOW_MS)
    other = ledger.events()[-1].other
    assert asked_at(state, 24).unite([1, other]) == []
    # What was told is taken back, and the split itself: nobody says any more that they are two.
    ledger.undo(split)
    assert ledger.told_apart(1) == set()


def test_a_young_person_who_is_somebody_else_after_all_is_an_event_too() -> None:
    _, state, _ = ran(Scene().walk("door", 1, 0, 3, 0, x_m=1.0).walk("shelf", 1, 4, 6, 0, x_m=2.0), 8, OVERLAP)
    memory = Memory(state)
    ledger, (door, shelf) = Ledger(memory), memory.decided().tolist()
    assert state["person"][[door, shelf]].tolist() == [1, 1]
    ledger.relink(shelf, memory.next("last_person"), 0.9)
    (made,) = asked_at(state, 8).review(np.array([shelf]))
    assert (made.old, made.new) == (2, 1)
    assert memory.persons_called(2) == [1]
    (event,) = ledger.events()
    assert event.score == made.score
    ledger.undo(event.number)
    assert asked_at(state, 8).review(np.array([shelf])) == []
    assert asked_at(state, 8).unite([1, 2]) == []


@given(st.lists(st.integers(24 * 15, 40 * 15), max_size=4), st.booleans())
@settings(max_examples=4, deadline=None)
def test_unions_hang_on_no_cut_and_no_restart_and_stay_undone(offsets: list[int], undone: bool) -> None:
    scene = two_names()
    for n in range(6, 10):
        scene.walk("door", n + 1, 4 * n, 4 * n + 1.9, 0, x_m=1.0)
        scene.walk("shelf", n + 1, 4 * n + 2, 4 * n + 3.9, 0, x_m=1.5)
    rows, stage, log = scene.rows(40), IdentityStage(DIMENSIONS, OVERLAP), Changelog()
    rows = rows.filter(pl.col("captured_ms") >= NOW_MS + 24_000)
    whole = named_twice((0, 0))
    if undone:
        asked_at(whole, 24).unite([2])
        Ledger(Memory(whole)).undo(Ledger(Memory(whole)).events()[-1].number)
    log.drain(whole)
    state = stage.new_state()
    log.restore(state)
    expected = stage(rows, whole)
    later = [event for event in Ledger(Memory(whole)).events() if event.at_ms > NOW_MS + 24_000]
    assert ((1, 2) in [(event.keeps, event.other) for event in later]) is not undone
    out, state = restarted(stage, rows, offsets, state, log)
    assert out.equals(expected)
    assert every_row(state).equals(every_row(whole))


class Reversed:
    """A seal for the test: bytes backwards, and one more in front."""

    def width(self, dimensions: int) -> int:
        return 4 * dimensions + 1

    def seal(self, looks: Any, tracks: Any, at_ms: int) -> Any:
        plain = np.ascontiguousarray(looks, dtype="<f4").view(np.uint8)
        return np.hstack([np.full((len(plain), 1), 9, np.uint8), plain[:, ::-1]])

    def open(self, sealed: Any, tracks: Any) -> Any:
        return np.ascontiguousarray(sealed[:, 1:][:, ::-1]).view("<f4")

    def forget(self, tracks: Any) -> None: ...


def test_sealed_looks_give_the_same_names() -> None:
    stage = IdentityStage(DIMENSIONS, RULES, seal=Reversed())
    assert stage(shop().rows(42), stage.new_state()).equals(ran(shop(), 42)[0])


def test_an_embedding_of_another_length_is_refused() -> None:
    rows = Scene().walk("door", 1, 0, 1, 0).rows(1)
    stage = IdentityStage(16, RULES)
    with pytest.raises(ValueError, match="an embedding has 32 bytes, not the 64 of 16 floats"):
        stage(rows, stage.new_state())
