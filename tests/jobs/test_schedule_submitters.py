"""What every submitter does, in memory and on this machine; a Ray cluster does the same in tests/integration."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.schedule.local_jobs import KEPT, LocalJobs
from jobs.schedule.ray_jobs import RayJobs
from jobs.schedule.submitter import SubmitterAway
from tests.schedule_submitters import MemoryJobs, check_submitter, lasting, until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalJobs]:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")
    jobs = LocalJobs(tmp_path / "jobs")
    yield jobs
    for begun in (tmp_path / "jobs").glob("*/begun"):
        if jobs.jobs([begun.parent.name])[begun.parent.name].state == "running":
            os.killpg(int(begun.read_text()), signal.SIGKILL)
    until(lambda: jobs.jobs(["x"]) and not jobs._children, "children are gone")  # noqa: SLF001  # or they are left behind


@pytest.fixture
def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_in_memory() -> None:
    check_submitter(MemoryJobs(), ("sleep",))


def test_on_this_machine(local: LocalJobs, tmp_path: Path) -> None:
    check_submitter(local, lasting(tmp_path))


def test_another_submitter_of_the_same_folder_finds_the_job_and_does_not_run_it_twice(
    local: LocalJobs, tmp_path: Path
) -> None:
    local.submit("one-1", ("version",))
    other = LocalJobs(tmp_path / "jobs")
    other.submit("one-1", ("version",))
    until(lambda: other.jobs(["one-1"])["one-1"].state == "succeeded", "it succeeds")
    other.submit("one-1", ("version",))
    assert other.jobs(["one-1"])["one-1"].state == "succeeded"
    assert (tmp_path / "jobs" / "one-1" / "log").read_text().count("sightline") == 1


def test_a_job_that_is_killed_has_failed(local: LocalJobs, tmp_path: Path) -> None:
    local.submit("one-1", lasting(tmp_path))
    begun = tmp_path / "jobs" / "one-1" / "begun"
    until(begun.exists, "it begins")
    os.kill(int(begun.read_text()), signal.SIGKILL)
    until(lambda: local.jobs(["one-1"])["one-1"].state == "failed", "it is seen to have failed")
    assert local.jobs(["one-1"])["one-1"].reason == "ended by a signal: it said nothing"


def test_one_that_was_never_begun_is_not_known(local: LocalJobs, tmp_path: Path) -> None:
    (tmp_path / "jobs" / "one-1").mkdir(parents=True)  # all that a submitter did before it was killed
    assert local.jobs(["one-1"])["one-1"].state == "unknown"
    (tmp_path / "jobs" / "one-1" / "lock").touch()
    assert local.jobs(["one-1"])["one-1"].state == "unknown"


def test_a_folder_that_cannot_be_made_is_a_submitter_away(tmp_path: Path) -> None:
    (tmp_path / "jobs").touch()
    with pytest.raises(SubmitterAway, match="jobs"):
        LocalJobs(tmp_path / "jobs").submit("one-1", ("version",))


def test_old_folders_go(local: LocalJobs, tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        folder = tmp_path / "jobs" / f"old-{number}"
        folder.mkdir(parents=True)
        (folder / "ended").write_text("0")
        os.utime(folder / "ended", (number, number))
    local.submit("one-1", ("version",))
    left = {path.name for path in (tmp_path / "jobs").iterdir()}
    assert left >= {f"old-{number}" for number in range(10, KEPT + 5)} | {"one-1"} and "old-0" not in left


def test_a_cluster_that_is_not_there_is_away_and_not_a_failure(free_address: str) -> None:
    jobs = RayJobs(free_address, ROOT, {})
    for ask in (lambda: jobs.jobs(["one-1"]), lambda: jobs.submit("one-1", ("version",)), lambda: jobs.stop("one-1")):
        with pytest.raises(SubmitterAway, match=free_address):
            ask()
    assert jobs.jobs([]) == {}
