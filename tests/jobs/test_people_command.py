"""`sightline people` and `sightline audit`: orders to forget somebody, keys that go, and who looked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from jobs.camera_book import FILE, to_toml
from jobs.errors import Exit
from serve.gateway.audit import AuditLog, entries
from streaming.cameras.definition import Camera
from streaming.privacy import erasures, folder
from streaming.privacy.erasures import Erasures
from streaming.privacy.folder import KeyFolder, now_ms
from streaming.privacy.keyring import Retention, day_of
from streaming.topics import DAY_MS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `sightline …` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")
    monkeypatch.setattr(erasures, "_LOOK_S", 0.0)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(list(arguments))
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """As a pipeline has made it."""
    KeyFolder(tmp_path / "home" / "keys", Retention({"door": 9}))
    return tmp_path / "home" / "keys"


def test_an_order_stands_until_a_pipeline_has_carried_it_out(run: Run, tmp_path: Path, keys: Path) -> None:
    code, out, err = run("people", "erase", "P17", "--wait", "0.1s")
    assert (code, out) == (Exit.OK, "") and "will be forgotten as soon as" in err
    assert [entry.what for entry in entries(tmp_path / "audit.jsonl")] == ["asked to forget person P17"]
    orders = Erasures(keys)
    (order,) = orders.standing()
    assert order.person_id == "P17" and order.erased_ms is None
    orders.carried_out(order, 3)
    orders.carried_out(orders.standing()[0], 0)  # and now nothing is found any more

    _, out, _ = run("people", "erasures", "--json")
    (told,) = json.loads(out)
    assert (told["person_id"], told["tracks"]) == ("P17", 3) and told["erased_ms"] is not None
    assert "P17" in run("people", "erasures")[1]


def test_it_waits_for_the_pipeline(run: Run, keys: Path) -> None:
    orders, over = Erasures(keys), threading.Event()

    def pipeline() -> None:
        while not over.wait(0.02):
            for order in orders.standing():
                orders.carried_out(order, 0 if order.tracks else 2)

    thread = threading.Thread(target=pipeline)
    thread.start()
    try:
        _, _, err = run("people", "erase", "P4", "--wait", "60s")
    finally:
        over.set()
        thread.join()
    assert "P4 is forgotten: 2 tracks" in err


def test_who_has_no_account_may_ask_too(run: Run, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")  # as in a container that runs under any id

    monkeypatch.setattr("getpass.getuser", nobody)
    assert run("people", "erase", "P17", "--wait", "0.1s")[0] == Exit.OK
    assert Erasures(keys).standing()[0].who.startswith("unknown@")


@pytest.mark.parametrize("person", ["17", "anna", "P0", "../P1"])
def test_who_is_no_person_is_refused_and_nothing_is_written(run: Run, tmp_path: Path, person: str) -> None:
    code, _, err = run("people", "erase", person)
    assert code == Exit.BAD_INPUT and "is no person" in err
    assert list(tmp_path.iterdir()) == []


def test_where_no_pipeline_keeps_keys_nobody_would_obey(run: Run, tmp_path: Path) -> None:
    code, _, err = run("people", "erase", "P1")
    assert code == Exit.BAD_INPUT and "set privacy.keys" in err
    assert list(tmp_path.iterdir()) == []


def test_keys_past_their_cameras_retention_are_destroyed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Camera(id="door", source="clip.mp4", purpose="count visitors", retention_days=2)
    (tmp_path / FILE).write_text(to_toml([camera]))
    (tmp_path / FILE).chmod(0o600)
    keys, today = tmp_path / "home" / "keys", day_of(now_ms())
    for day in (today, today - 3):
        KeyFolder(keys, Retention({"door": 9})).key("door", 1, day)
    Erasures(keys).order("P1", "anna", now_ms() - 4 * DAY_MS)
    Erasures(keys).order("P2", "anna", now_ms() - 2 * DAY_MS)

    _, out, _ = run("people", "expire", "--json")
    assert json.loads(out) == {"keys": [f"door/{folder.day_name(today - 3)}"], "erasures": 1, "orders": 0}
    assert len(list(keys.rglob("*.key"))) == 1


def test_without_cameras_nothing_says_what_may_go(run: Run, tmp_path: Path) -> None:
    KeyFolder(tmp_path / "home" / "keys", Retention({"door": 9})).key("door", 1, day_of(now_ms()) - 3)
    code, _, err = run("people", "expire")
    assert code == Exit.BAD_INPUT and "no cameras" in err
    assert list((tmp_path / "home" / "keys").rglob("*.key"))


def test_the_audit_log_is_read_only_if_it_is_whole(run: Run, tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "looks.jsonl")
    for number in range(3):
        log.looked("anna", f"camera door {number}", 1_790_000_000_000 + number)
    given = ("--set", f"gateway.audit={tmp_path / 'looks.jsonl'}")
    code, out, err = run("audit", "--last", "2", *given)
    assert code == Exit.OK and "door 1" in out and "door 0" not in out and "2026-09-21 14:13:20" in out
    known = err.split()[-1]
    assert [entry["number"] for entry in json.loads(run("audit", "--json", "--known", known, *given)[1])] == [1, 2, 3]

    lines = (tmp_path / "looks.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "looks.jsonl").write_text("".join(lines[:2]))
    assert run("audit", *given)[0] == Exit.OK
    code, out, err = run("audit", "--known", known, *given)
    assert (code, out) == (Exit.FAILED, "") and "cut off" in err
    (tmp_path / "looks.jsonl").write_text("".join(lines).replace("anna", "ben", 1))
    code, out, err = run("audit", *given)
    assert (code, out) == (Exit.FAILED, "") and "entry 1" in err


def test_nobody_looked_yet(run: Run) -> None:
    code, _, err = run("audit")
    assert code == Exit.OK and "nobody has looked" in err
    code, _, err = run("audit", "--known", "17")
    assert code == Exit.BAD_INPUT and "NUMBER:CHAIN" in err
