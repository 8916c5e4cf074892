"""The folder beside the place in which a set is made: `.NAME.building`. One build at a time; what it holds when a build
is cut short is what the next one goes on from."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import UsageProblem
from jobs.files import write_json
from jobs.stream_set.partition import Tally, read_tally
from jobs.stream_set.plan import Plan

_PLAN = "plan.json"


class DiskFull(OSError):
    """There is no room for the set; the message says how to go on."""


class Staging:
    """The parts of it; `staging` makes one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.set = folder / "set"  # becomes the training set

    def partition(self, number: int) -> Path:
        """Where a partition leaves what it has."""
        return self.folder / f"partition-{number}"

    def done(self, plan: Plan) -> dict[int, Tally]:
        """The partitions that are done."""
        tallies = {wanted.partition: read_tally(self.partition(wanted.partition)) for wanted in plan.ranges}
        return {partition: tally for partition, tally in tallies.items() if tally is not None}

    def plan(self) -> Plan | None:
        """That of the build which was cut short, if it can be understood."""
        try:
            return Plan.from_json(json.loads((self.folder / _PLAN).read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, plan: Plan) -> None:
        """Forget what is there, and begin on this plan."""
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
        write_json(self.folder / _PLAN, plan.to_json())

    def publish(self, out: Path) -> None:
        """Move the set to its place, all at once, and leave nothing else behind."""
        try:
            os.replace(self.set, out)
        except OSError as error:
            raise UsageProblem(f"--out {out}: cannot be put there: {error.strerror}") from error
        self.remove()

    def remove(self) -> None:
        """All of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """The staging folder of a set, ours alone for the body.

    Raises:
        UsageProblem: the place is taken, cannot be written, or another build is under way.
    """
    refuse_taken(out)
    folder = out.parent / f".{out.name}.building"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UsageProblem(f"--out {out}: {folder} cannot be made: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageProblem(f"--out {out}: another build of it is under way") from None
        with explaining_full_disk(folder):
            yield Staging(folder)
    finally:
        os.close(lock)


def refuse_taken(out: Path) -> None:
    """Raises UsageProblem where something is at the place already, other than an empty folder."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise UsageProblem(f"--out {out}: is there already; name a new folder, or remove it first")


@contextmanager
def explaining_full_disk(folder: Path) -> Iterator[None]:
    """Say of a disk without room what is left to do about it.

    Raises:
        DiskFull: in place of any error that means so.
    """
    try:
        yield
    except OSError as error:
        # polars gives the number in words only
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error):
            raise DiskFull(
                f"{folder}: no space left; make room and run the same command again: partitions that are done are kept"
            ) from error
        raise
