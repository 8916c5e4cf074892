"""The demo's folder: whose it is, and what killed demos have left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from jobs.demo_home import OWNER, demo_home
from streaming.kafka import broker


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Brokers that were stopped, by the folder of their demo."""
    names: list[str] = []
    monkeypatch.setattr(broker.EmbeddedBroker, "stop", lambda self: names.append(self._home.parent.name))
    return names


def left_behind(parent: Path, name: str, owner: str | None, age_s: float = 0.0) -> Path:
    folder = parent / f"demo-{name}"
    (folder / "kafka").mkdir(parents=True)
    if owner is not None:
        (folder / OWNER).write_text(owner)
    moment = time.time() - age_s
    os.utime(folder, (moment, moment))
    return folder


def owner_of(pid: int, started: float) -> str:
    return json.dumps({"pid": pid, "started": started})


def test_a_folder_is_signed_and_goes_at_the_end(tmp_path: Path) -> None:
    with demo_home(tmp_path / "home", lambda words: None) as home:
        owner = json.loads((home / OWNER).read_text())
        assert owner == {"pid": os.getpid(), "started": psutil.Process().create_time()}
        assert [path.name for path in home.iterdir()] == [OWNER]
    assert not home.exists()


def test_a_demo_that_runs_is_left_alone(tmp_path: Path, stopped: list[str]) -> None:
    me = psutil.Process()
    running = left_behind(tmp_path, "a", owner_of(me.pid, me.create_time()))
    starting = left_behind(tmp_path, "b", None)  # its owner is about to sign
    with demo_home(tmp_path, lambda words: None):
        assert running.exists() and starting.exists()
    assert stopped == []


@pytest.mark.parametrize("owner", ["", "12", "{}", '{"pid": "x", "started": 1}', '{"pid": 1e99, "started": 1}', "[1]"])
def test_an_owner_that_cannot_be_read_blocks_nothing(tmp_path: Path, stopped: list[str], owner: str) -> None:
    folder = left_behind(tmp_path, "a", owner)
    with demo_home(tmp_path, lambda words: None):
        assert not folder.exists()
    assert stopped == ["demo-a"]


def test_a_number_that_another_process_has_now_keeps_no_broker_alive(tmp_path: Path, stopped: list[str]) -> None:
    folder = left_behind(tmp_path, "a", owner_of(os.getpid(), psutil.Process().create_time() - 3_600))
    with demo_home(tmp_path, lambda words: None):
        assert not folder.exists()
    assert stopped == ["demo-a"]


def test_a_killed_demo_is_cleared(tmp_path: Path, stopped: list[str]) -> None:
    code = "import sys; from pathlib import Path; from jobs.demo_home import demo_home\n"
    code += f"with demo_home(Path({str(tmp_path)!r}), print) as home: print(home, flush=True); sys.stdin.read()"
    killed = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with killed:
        assert killed.stdout is not None
        folder = Path(killed.stdout.readline().decode().strip())
        assert folder.is_dir()
        killed.kill()
    with demo_home(tmp_path, lambda words: None):
        assert not folder.exists()
    assert stopped == [folder.name]


def test_an_unsigned_folder_goes_when_it_is_old(tmp_path: Path, stopped: list[str]) -> None:
    folder = left_behind(tmp_path, "a", None, age_s=3_600)
    with demo_home(tmp_path, lambda words: None):
        assert not folder.exists()
    assert stopped == ["demo-a"]


def test_a_broker_that_does_not_end_does_not_keep_the_next_demo_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(self: broker.EmbeddedBroker) -> None:
        raise broker.BrokerError("process 7 does not end")

    monkeypatch.setattr(broker.EmbeddedBroker, "stop", stays)
    folder, said = left_behind(tmp_path, "a", ""), list[str]()
    with demo_home(tmp_path, said.append):
        assert folder.exists()  # the next demo tries again
    assert "process 7 does not end" in said[0]
