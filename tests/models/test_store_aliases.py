"""Aliases: moves that nobody overwrites unseen, and a history of all of them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.store import AliasMove, AliasMovedError, BrokenModelError, ModelNotFoundError, ModelStore
from models.store.aliases import PROMOTE, ROLLBACK, meanings
from tests.stored_models import save_small
from tests.waiting import PATIENCE_S


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path)
    for seed in range(3):
        save_small(store, seed=seed)
    return store


def test_every_move_is_kept_with_who_when_and_why(store: ModelStore, tmp_path: Path) -> None:
    store.set_alias("m", "live", 1, who="ann@desk", why="the first\n one")
    store.set_alias("m", "live", 3)
    first, second = ModelStore(tmp_path).history("m", "live")
    assert (first.kind, first.before, first.version, first.who, first.why) == (
        PROMOTE,
        None,
        1,
        "ann@desk",
        "the first one",
    )
    assert (second.before, second.version, second.forced) == (1, 3, False) and "@" in second.who
    assert first.when <= second.when and first.when.endswith("+00:00")
    assert store.history("m", "candidate") == ()


def test_a_state_tells_a_move_even_if_it_leads_back(store: ModelStore) -> None:
    assert store.alias_state("m") is None
    states = []
    for version in (1, 2, 1, 1):
        store.set_alias("m", "live", version)
        states.append(store.alias_state("m"))
    assert [state.version for state in states if state] == [1, 2, 1, 1]
    assert len(set(states)) == 4
    assert store.alias_state("m") == states[-1], "and is the same while nobody moves it"


def test_what_was_decided_on_an_old_state_is_refused(store: ModelStore) -> None:
    store.set_alias("m", "live", 1)
    seen = store.alias_state("m")
    store.set_alias("m", "live", 2)
    store.set_alias("m", "live", 1)
    with pytest.raises(AliasMovedError, match=r"m@live means version 1 now: it was moved by somebody else"):
        store.move_alias("m", "live", 3, seen=seen)
    with pytest.raises(AliasMovedError):
        store.move_alias("m", "live", 3, seen=None)
    assert store.resolve("m@live") == ("m", 1) and len(store.history("m")) == 3


RACE = """
import sys
from models.store import AliasMovedError, ModelStore
root, version = sys.argv[1:]
store = ModelStore(root)
seen = store.alias_state("m")
print("ready", flush=True)
sys.stdin.readline()
try:
    store.move_alias("m", "live", int(version), seen=seen, who=version)
    print("won", flush=True)
except AliasMovedError as told:
    print(told, flush=True)
"""


def test_of_two_processes_that_promote_at_once_one_wins_and_one_is_told(store: ModelStore, tmp_path: Path) -> None:
    store.set_alias("m", "live", 1)
    racers = {
        version: subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), str(version)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for version in (2, 3)
    }  # fmt: skip
    try:
        for racer in racers.values():
            assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
        for racer in racers.values():
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        said = {version: racer.communicate(timeout=PATIENCE_S)[0] for version, racer in racers.items()}
    finally:
        for racer in racers.values():
            racer.kill()
            racer.wait()
    winner = next(version for version, words in said.items() if words == "won\n")
    loser = 5 - winner
    assert f"m@live means version {winner} now: it was moved by somebody else" in said[loser]
    assert store.resolve("m@live") == ("m", winner)
    assert [(move.before, move.version, move.who) for move in store.history("m")][1:] == [(1, winner, str(winner))]


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_of_many_that_move_at_once_one_wins(kind: str, tmp_path: Path) -> None:
    store = ModelStore(tmp_path if kind == "folder" else f"memory://{uuid.uuid4().hex}")
    save_small(store)
    begin, won = threading.Barrier(8), []

    def move(number: int) -> None:
        begin.wait(PATIENCE_S)
        try:
            store.move_alias("m", "live", 1, seen=None, who=str(number))
            won.append(str(number))
        except AliasMovedError:
            pass

    threads = [threading.Thread(target=move, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    if kind == "folder":  # fsspec's memory looks before it writes, as the drivers without conditional writes do
        assert len(won) == 1
    history = store.history("m")
    assert len(history) == 1 and history[0].who in won


def test_an_alias_of_an_older_store_is_where_its_history_begins(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    save_small(store)
    save_small(store)
    (tmp_path / "m" / "aliases").mkdir()
    (tmp_path / "m" / "aliases" / "live").write_text("1\n")
    state = store.alias_state("m")
    assert state is not None and (state.version, state.moves) == (1, 0)
    assert store.aliases("m").keys() == {"live"}
    store.set_alias("m", "live", 2)
    assert store.resolve("m") == ("m", 2) and store.history("m")[0].before == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "2"}, "version '2' is no version number"),
        ({"version": None}, "version 'None' is no version number"),
        ({"version": 0}, "version '0' is no version number"),
        ({"before": -1}, "before '-1' is no version number"),
        ({"kind": "move"}, "kind 'move' is neither promote nor rollback"),
        ({"who": 7}, "who, when and why must be text"),
        ({"forced": 0}, "forced true or false"),
        ({"more": 1}, "are not those of a move"),
    ],
)
def test_a_move_that_was_tampered_with_is_named(
    store: ModelStore, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    store.set_alias("m", "live", 1)
    file = tmp_path / "m" / "history" / "live" / "000001.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(BrokenModelError, match=rf"live/000001.json: .*{said}"):
        store.load("m@live")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b" " * 100_000], ids=len)
def test_a_move_that_is_cut_off_or_huge_is_named(store: ModelStore, tmp_path: Path, text: bytes) -> None:
    store.set_alias("m", "live", 1)
    (tmp_path / "m" / "history" / "live" / "000001.json").write_bytes(text)
    with pytest.raises(BrokenModelError, match=r"live/000001.json"):
        store.resolve("m@live")


def test_an_alias_of_no_version_is_refused_and_leaves_no_move(store: ModelStore) -> None:
    with pytest.raises(ModelNotFoundError, match="m@9"):
        store.set_alias("m", "live", 9)
    assert store.history("m") == ()


def moves(*steps: tuple[str, int, int | None]) -> list[AliasMove]:
    return [AliasMove(kind, version, before, "", "", "") for kind, version, before in steps]


def test_a_rollback_takes_the_last_promotion_that_still_holds_away() -> None:
    history = moves((PROMOTE, 5, 4), (PROMOTE, 6, 5), (ROLLBACK, 5, 6))
    assert meanings(history[:2]) == (4, 5, 6)
    assert meanings(history) == (4, 5)
    assert meanings(moves((PROMOTE, 1, None))) == (1,) and meanings([]) == ()
    again = [*history, *moves((PROMOTE, 7, 5), (ROLLBACK, 5, 7), (ROLLBACK, 4, 5))]
    assert meanings(again) == (4,)


@given(st.lists(st.one_of(st.integers(1, 9), st.none()), max_size=30))
def test_what_stands_last_is_what_the_alias_means(steps: list[int | None]) -> None:
    """A number is a promotion of that version, None a rollback where there is something to return to."""
    stack, history = [1], moves((PROMOTE, 1, None))
    for step in steps:
        before = stack[-1]
        if step is not None:
            stack.append(step)
            history += moves((PROMOTE, step, before))
        elif len(stack) > 1:
            stack.pop()
            history += moves((ROLLBACK, stack[-1], before))
    assert meanings(history) == tuple(stack) and stack[-1] == history[-1].version
