"""Runs that cannot begin, and demos that are stopped before they have: a prompt end, the reason, and nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka import admin
from streaming.kafka.settings import KafkaSettings
from streaming.transport import TransportUnavailable
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.ray]

ROOT = Path(__file__).parents[2]


class Process:
    """One of our commands in a group of its own, with what it says."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        self.log = folder / "log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env={**os.environ, "SIGHTLINE_HOME": str(folder / "home"), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, what: Callable[[], bool]) -> None:
        def has_come() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return what()

        wait_until(has_come, pause_s=0.1, otherwise=self.log.read_text)

    def said(self, words: str) -> Callable[[], bool]:
        return lambda: words in self.log.read_text()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        for process in [*self.family(), psutil.Process(self.process.pid)] if self.process.poll() is None else []:
            process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*command: str, **environment: str) -> Process:
        started.append(Process(tmp_path, *command, **environment))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


def require_gone(family: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def last_status(kafka: str) -> tuple[str, str]:
    try:
        records = admin.read_all(KafkaSettings(bootstrap_servers=kafka), "sightline.status")[0]
    except (LookupError, TransportUnavailable):
        return "", ""
    frame = Decoder("pipeline-status", PackagedRegistry()).decode(records).frame
    return (frame["state"][-1], frame["reason"][-1]) if frame.height else ("", "")


def test_sigterm_ends_a_run_that_waits_for_a_cluster_without_room(start: Callable[..., Process], kafka: str) -> None:
    run = start(
        "jobs.run",
        "win-prediction",
        SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS=kafka,
        SIGHTLINE_SERVE__GPUS_PER_REPLICA="64",  # which no machine has
    )
    run.wait_until(run.said("state restored"))
    run.wait_until(lambda: last_status(kafka)[0] == "starting")
    assert "loading the models into Ray Serve" in last_status(kafka)[1]
    family = run.family()
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(PATIENCE_S) == 0, run.log.read_text()
    require_gone(family)
    assert last_status(kafka)[0] == "stopped"


@pytest.mark.long
def test_a_model_that_is_missing_ends_a_run_with_its_name(start: Callable[..., Process], kafka: str) -> None:
    run = start(
        "jobs.run",
        "win-prediction",
        SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS=kafka,
        SIGHTLINE_MODELS__TITLES__LOL="tsstn-lol@4711",
    )
    assert run.process.wait(PATIENCE_S) == 3, run.log.read_text()
    last = run.log.read_text().strip().splitlines()[-1]
    assert last.startswith("sightline: ") and "tsstn-lol" in last and "4711" in last


@pytest.mark.parametrize(
    "moment", [pytest.param("preparing the data folder", marks=pytest.mark.long), "starting Kafka", "Kafka: "]
)
def test_ctrl_c_ends_a_demo_that_starts(start: Callable[..., Process], tmp_path: Path, moment: str) -> None:
    demo = start("jobs.cli", "demo", "--port", "0", PYTHONUNBUFFERED="1")
    demo.wait_until(demo.said(moment))
    family = demo.family()
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(PATIENCE_S) == 0, demo.log.read_text()
    require_gone(family)
    home = str(tmp_path / "home")
    brokers = [p for p in psutil.process_iter(["cmdline"]) if home in " ".join(p.info["cmdline"] or [])]
    require_gone(brokers)
    assert [path.name for path in (tmp_path / "home").iterdir()] == []
