"""`sightline people merge|split|undo|events|orders`: what is written, what is waited for, and what is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.commands import identities
from jobs.errors import Exit
from serve.gateway.audit import entries
from streaming.identities import Ledger
from streaming.identities.memory import Memory
from streaming.identities.obeying import listed, obey
from streaming.identities.orders import EVENTS, FOLDER, IdentityOrders
from streaming.privacy.folder import KeyFolder, now_ms
from streaming.privacy.keyring import Retention
from tests.streaming.test_identity_stage import NOW_MS, Scene, ran

Run = Callable[..., tuple[int, str, str]]
SEEN = "till@2023-11-14T22:13:30Z"
"""Ten seconds after `NOW_MS`."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `sightline people …` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")
    monkeypatch.setattr(identities, "_LOOK_S", 0.01)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["people", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


@pytest.fixture
def orders(tmp_path: Path) -> IdentityOrders:
    """In a folder as a pipeline has made it."""
    keys = tmp_path / "home" / "keys"
    KeyFolder(keys, Retention({"door": 9}))
    return IdentityOrders(keys)


@pytest.fixture
def memory() -> Memory:
    """P1 at the door and the till, P2 at the shelf."""
    scene = Scene().walk("door", 1, 0, 4, 0).walk("shelf", 1, 8, 11, 5).walk("till", 1, 8, 12, 0)
    return Memory(ran(scene, 14)[1])


@contextmanager
def pipeline(memory: Memory, keys: Path) -> Iterator[None]:
    """One that ticks all the time."""
    over, orders = threading.Event(), IdentityOrders(keys)

    def ticks() -> None:
        while not over.wait(0.01):
            obey(memory, orders, now_ms())

    thread = threading.Thread(target=ticks)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_orders_are_carried_out_while_the_command_waits(
    run: Run, memory: Memory, orders: IdentityOrders, tmp_path: Path
) -> None:
    with pipeline(memory, tmp_path / "home" / "keys"):
        code, _, err = run("merge", "P1", "P2", "--wait", "60s")
        (merge,) = orders.all()
        assert code == Exit.OK and f"P2 is P1: event {merge.event}" in err
        code, out, _ = run("split", "P1", SEEN, "--wait", "60s", "--json")
        assert code == Exit.OK and json.loads(out)["made"] == "P3"
        assert json.loads(out)["seen"] == [["till", NOW_MS + 10_000]]
        code, _, err = run("undo", merge.event or "", "--wait", "60s")
        assert code == Exit.OK and f"undo {merge.event} of P1 and P2: event {merge.event}" in err
        code, _, err = run("undo", merge.order_id, "--wait", "60s")
        assert code == Exit.FAILED and f"refused: {merge.event} is undone already" in err
    whose = {name: int(memory.state["person"][slot]) for slot in memory.decided() for name in memory.names([slot])}
    assert whose == {("door", 1): 1, ("shelf", 1): 2, ("till", 1): 3}
    assert [entry.what for entry in entries(tmp_path / "audit.jsonl")] == [
        "asked to make P2 and P1 one",
        f"asked to split {SEEN} from P1",
        f"asked to undo {merge.event} of P1 and P2",
        f"asked to undo {merge.order_id} of P1 and P2",
    ]


def test_lists_tell_who_and_why(run: Run, memory: Memory, orders: IdentityOrders) -> None:
    Ledger(memory).unite(1, 2, at_ms=NOW_MS, score=0.75)
    assert run("events")[1].split() == ["event", "what", "when", "(UTC)", "by", "score", "undone", "by"]
    orders.tell(listed(memory))
    (event,) = json.loads(run("events", "--json")[1])
    assert (event["keeps"], event["other"], event["score"], event["order_id"]) == ("P1", "P2", 0.75, None)
    orders.give("undo", ["P1", "P2"], "anna", now_ms(), undoes=event["event"])
    orders.give("split", ["P1"], "ben", now_ms(), seen=[("till", NOW_MS + 10_000)])
    orders.give("merge", ["P1", "P9"], "ben", now_ms())
    obey(memory, orders, now_ms())

    rule, split = run("events")[1].splitlines()[1:]
    assert " ".join(rule.split()) == f"{event['event']} P2 is P1 2023-11-14 22:13:20 rule 0.75 anna"
    assert "P3 is no more P1" in split and split.split()[-3:] == ["ben", "-", "-"]
    told = run("orders")[1]
    assert "refused: there is no person P9, or no longer" in told and "it is P3" in told
    assert {one["kind"] for one in json.loads(run("orders", "--json")[1])} == {"undo", "split", "merge"}


def test_an_order_stands_until_a_pipeline_runs(run: Run, orders: IdentityOrders, memory: Memory) -> None:
    code, out, err = run("merge", "P1", "P2", "--wait", "0.05s")
    assert (code, out) == (Exit.OK, "") and "as soon as the pipeline runs" in err
    (order,) = orders.all()
    assert order.done_ms is None and order.who
    assert len(obey(memory, orders, now_ms())) == 1


def test_who_is_erased_meanwhile_is_told(run: Run, orders: IdentityOrders, monkeypatch: pytest.MonkeyPatch) -> None:
    def erased(pause_s: float) -> None:
        orders.forget({"P2"})

    monkeypatch.setattr(time, "sleep", erased)
    code, _, err = run("merge", "P1", "P2", "--wait", "60s")
    assert code == Exit.BAD_INPUT and "somebody whom it names was erased" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["merge", "P1", "anna"], "'anna' is no person"),
        (["merge", "P1", "P1"], "one with itself"),
        (["split", "P1", "till"], "'till' is no camera and time"),
        (["split", "P1", "till@noon"], "is no camera and time"),
        (["split", "P1", "../till@14:03:20"], "is no camera and time"),
        (["split", "P1", "till@9999-12-31T23:59:59"], "has not been yet"),
        (["split", "P1", "till@1960-12-31T23:59:59"], "was before 1970"),
        (["split", "P1", *["till@14:03:20"] * 65], "65 sightings; 64 at most"),
        (["undo", "E12"], "no event E12"),
        (["undo", "0000000a"], "no order that stands"),
        (["undo", "../keys"], "no order that stands"),
        (["merge", "P1", "P2", "--wait", "soon"], "is not a duration"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(
    run: Run, orders: IdentityOrders, arguments: list[str], said: str, tmp_path: Path
) -> None:
    code, _, err = run(*arguments)
    assert code == Exit.BAD_INPUT and said in err
    assert orders.all() == [] and not (tmp_path / "audit.jsonl").exists()


def test_what_an_undo_undid_is_ordered_anew(run: Run, orders: IdentityOrders) -> None:
    undo = orders.give("undo", ["P1", "P2"], "anna", now_ms(), undoes="E12")
    code, _, err = run("undo", undo.order_id)
    assert code == Exit.BAD_INPUT and "order anew what it undid" in err


@pytest.mark.parametrize("arguments", [["merge", "P1", "P2"], ["events"], ["orders"], ["undo", "E1"]])
def test_where_no_pipeline_keeps_keys_nobody_would_obey(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    code, _, err = run(*arguments)
    assert code == Exit.BAD_INPUT and "set privacy.keys" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{}", "[{}]", "", " " * (9 << 20)])
def test_a_list_that_is_none_is_named(run: Run, orders: IdentityOrders, tmp_path: Path, text: str) -> None:
    orders.tell([])
    (tmp_path / "home" / "keys" / FOLDER / EVENTS).write_text(text)
    code, _, err = run("events")
    assert code == Exit.BAD_INPUT and EVENTS in err and "writes it anew" in err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14:03:20", "2026-11-23T14:03:20+00:00"),
        ("14:03", "2026-11-23T14:03:00+00:00"),
        ("23:45", "2026-11-22T23:45:00+00:00"),  # it has not been yet today
        ("00:15+01:00", "2026-11-23T00:15:00+01:00"),
        ("01:15+02:00", "2026-11-23T01:15:00+02:00"),
        ("00:15+09:00", "2026-11-24T00:15:00+09:00"),  # there it is tomorrow
        ("2026-11-20T14:03:20", "2026-11-20T14:03:20+00:00"),
        ("2026-11-20T14:03:20.5Z", "2026-11-20T14:03:20.500+00:00"),
    ],
)
def test_times_are_of_utc_or_as_they_say(text: str, expected: str) -> None:
    def ms(iso: str) -> int:
        return round(1000 * datetime.fromisoformat(iso).timestamp())

    moment: Any = identities._moment  # noqa: SLF001 - all of its cases
    assert moment(text, ms("2026-11-23T22:30:00+00:00")) == ms(expected)
