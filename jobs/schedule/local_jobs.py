"""Attempts as processes of this machine, for those without a cluster. They outlive the scheduler.

FOLDER/ATTEMPT/lock     held by the process for as long as it lives
begun    its id, written before anything else
ended    its exit code, written last
log      what it said
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from jobs.errors import Exit
from jobs.files import write_text
from jobs.schedule.runs import Job
from jobs.schedule.submitter import SubmitterAway

KEPT = 200
"""Folders of jobs that have ended."""

_PATIENCE_S = 10.0  # from SIGTERM to SIGKILL
_LAST_BYTES = 2_000


class LocalJobs:
    """Jobs of this machine; all who use the folder see the same ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[subprocess.Popen[bytes]] = []
        self._asked_s: dict[str, float] = {}  # when each was asked to stop

    def submit(self, attempt: str, words: Sequence[str]) -> None:
        """As `Submitter` has it."""
        job = self._folder / attempt
        try:
            job.mkdir(parents=True, exist_ok=True)
            with (job / "lock").open("ab") as lock, (job / "log").open("ab") as log:
                if not _locked(lock.fileno(), fcntl.LOCK_EX) or (job / "begun").exists():
                    return
                child = subprocess.Popen(  # nosec B603  # our own module, no shell
                    [sys.executable, "-m", __name__, str(lock.fileno()), str(job), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock.fileno()],  # it goes on holding what we let go of
                    start_new_session=True,
                )
        except OSError as problem:
            raise SubmitterAway(f"{job}: {problem}") from problem
        self._children.append(child)
        self._forget_old()

    def jobs(self, attempts: Collection[str]) -> Mapping[str, Job]:
        """As `Submitter` has it."""
        self._children = [child for child in self._children if child.poll() is None]
        return {attempt: _job(self._folder / attempt) for attempt in attempts}

    def stop(self, attempt: str) -> None:
        """As `Submitter` has it."""
        job = self._folder / attempt
        if _job(job).state != "running":
            return
        asked_s = self._asked_s.setdefault(attempt, time.monotonic())
        number = signal.SIGKILL if time.monotonic() - asked_s > _PATIENCE_S else signal.SIGTERM
        with suppress(OSError, ValueError):  # it has just ended, or only just begins
            os.killpg(int((job / "begun").read_text("ascii")), number)

    def _forget_old(self) -> None:
        ended = sorted((path for path in self._folder.iterdir() if (path / "ended").exists()), key=_ended_at)
        for path in ended[:-KEPT]:
            shutil.rmtree(path, ignore_errors=True)


def _ended_at(job: Path) -> int:
    return (job / "ended").stat().st_mtime_ns


def _job(job: Path) -> Job:
    try:
        with (job / "lock").open("rb") as lock:
            if not _locked(lock.fileno(), fcntl.LOCK_SH):
                return Job("running")
        if not (job / "begun").exists():
            return Job("unknown")
        code = (job / "ended").read_text("ascii") if (job / "ended").exists() else "by a signal"
        if code == str(int(Exit.REFUSED)):
            return Job("refused", _last_line(job / "log"))
        return Job("succeeded") if code == "0" else Job("failed", f"ended {code}: {_last_line(job / 'log')}")
    except FileNotFoundError:
        return Job("unknown")
    except OSError as problem:
        raise SubmitterAway(f"{job}: {problem}") from problem


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _LAST_BYTES))
        lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1][-500:] if lines else "it said nothing"


def main(argv: Sequence[str]) -> int:
    """The process of a job: LOCK JOB WORD…"""
    from jobs.cli import main as cli

    lock, job = int(argv[0]), Path(argv[1])
    os.set_inheritable(lock, False)  # what it starts may outlive it
    write_text(job / "begun", str(os.getpid()))
    code = cli(argv[2:])
    write_text(job / "ended", str(int(code)))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
