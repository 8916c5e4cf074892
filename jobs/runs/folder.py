"""Folders of runs: made, written by one process at a time, found again."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jobs.errors import UsageProblem, meaning
from jobs.runs.record import CURVE, BrokenRun, RunRecord, State, curve_line, read_record, write_curve


class OpenRun:
    """A run that this process works on; `begun` and `continued` make one."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder, self.record = folder, record

    def epoch(self, report: Mapping[str, Any]) -> None:
        """Add an epoch to the curve."""
        with (self.folder / CURVE).open("a", encoding="utf-8") as stream:
            stream.write(curve_line(report))

    def registered(self, model: str) -> None:
        """Note the version that the store has now."""
        self._put(replace(self.record, model=model))

    def done(self, metrics: Mapping[str, Any], epochs: list[Mapping[str, Any]]) -> None:
        """The end, with the figures and the whole curve; what was kept to go on from is removed."""
        write_curve(self.folder, epochs)
        self._put(replace(self.record, metrics=metrics))
        self.end("done", "")
        for left in (*self.folder.glob("checkpoint.*"), *self.folder.glob("ray-*")):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)

    def end(self, state: State, reason: str) -> None:
        """Note how it ended."""
        self._put(replace(self.record, state=state, reason=reason, ended=_now()))

    def _put(self, record: RunRecord) -> None:
        record.write(self.folder)
        self.record = record


@contextmanager
def begun(root: Path, record: Callable[[str], RunRecord]) -> Iterator[OpenRun]:
    """A new run, ours for the body, which ends with it.

    Args:
        root: folder of all runs; need not exist.
        record: of a run of this name.

    Raises:
        UsageProblem: no folder can be made there.
    """
    run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    try:
        (root / run).mkdir(parents=True)
        made = record(run)
        made.write(root / run)
    except OSError as error:
        raise UsageProblem(f"{root}: no run can be kept there: {error.strerror}; set another home") from error
    with _ours(root / run), _ending(opened := OpenRun(root / run, made)):
        yield opened


@contextmanager
def continued(root: Path, run: str) -> Iterator[OpenRun]:
    """A run that was cut short, ours for the body.

    Raises:
        UsageProblem: there is none of this name, it is at work, or it is done.
        BrokenRun: its record cannot be read.
    """
    folder = find_run(root, run)
    with _ours(folder):
        record = read_record(folder)
        if record.model:
            raise UsageProblem(f"{run}: has made {record.model} already; there is nothing to go on with")
        opened = OpenRun(
            folder, replace(record, state="running", reason="", ended="", resumed=(*record.resumed, _now()))
        )
        with _ending(opened):
            opened.record.write(folder)
            yield opened


def all_runs(root: Path) -> list[tuple[str, RunRecord | None]]:
    """Every run, newest first; None where the record cannot be read."""
    if not root.is_dir():
        return []
    found: list[tuple[str, RunRecord | None]] = []
    for folder in sorted(root.iterdir(), key=lambda each: each.name, reverse=True):
        if folder.is_dir():
            with suppress(BrokenRun):
                found.append((folder.name, look_at(folder)))
                continue
            found.append((folder.name, None))
    return found


def look_at(folder: Path) -> RunRecord:
    """The record, as things are now: a run whose process is gone is interrupted, whatever it wrote last.

    Raises:
        BrokenRun: it cannot be read.
    """
    record = read_record(folder)
    if record.state != "running" or _held(folder):
        return record
    return replace(record, state="interrupted", reason="its process ended without a word")


def find_run(root: Path, run: str) -> Path:
    """The folder of a run, by its name or the beginning of it.

    Raises:
        UsageProblem: there is none, or several begin so.
    """
    names = [folder.name for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    fitting = [run] if run in names else [name for name in names if run and name.startswith(run)]
    if len(fitting) == 1:
        return root / fitting[0]
    if fitting:
        raise UsageProblem(f"several runs begin with {run!r}: {', '.join(sorted(fitting))}")
    near = get_close_matches(run, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "`sightline runs ls` lists those there are"
    raise UsageProblem(f"no run {run!r} in {root}; {hint}")


@contextmanager
def _ending(run: OpenRun) -> Iterator[None]:
    """Note why the body ended where it did not come to its end by itself."""
    try:
        yield
    except BaseException as error:
        state: State = "failed" if isinstance(error, Exception) else "interrupted"
        with suppress(OSError):  # with a full disk nothing can be noted; what went wrong first is what counts
            run.end(state, meaning(error)[0])
        raise


@contextmanager
def _ours(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageProblem(f"{folder.name}: is at work in another process") from None
        yield
    finally:
        os.close(lock)


def _held(folder: Path) -> bool:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
