"""The book of the scheduler: who acts, what ran, what was asked for. One SQLite file in the state folder.

SQLite and not a log of lines, since what is decided must hold as a whole: the check that this scheduler still acts and
all that it writes are one transaction, which a kill -9 at any point leaves done or undone, and which a command may read
meanwhile. It comes with Python.

The lease says who acts: an owner, a number that rises with every new owner, and when it ends. A scheduler that slept
through its end finds another number there, and can write no more.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.schedule.decide import Past, Plan
from jobs.schedule.runs import Anchor, Offsets, Request, Run, State

FILE = "schedule.sqlite"
KEPT = 1000
"""Ended runs kept, of each schedule."""

_MOST_REQUESTS = 100
_BUSY_S = 30.0
_MOST_LEASES = 10
_LAYOUT = 1
_TABLES = """
CREATE TABLE book (identity TEXT NOT NULL);
CREATE TABLE lease (only INTEGER PRIMARY KEY CHECK (only = 1), owner TEXT NOT NULL, fence INTEGER NOT NULL,
  until_ms INTEGER NOT NULL);
CREATE TABLE runs (number INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE,
  schedule TEXT NOT NULL, cause TEXT NOT NULL, due_ms INTEGER NOT NULL,
  state TEXT NOT NULL, attempt INTEGER NOT NULL, not_before_ms INTEGER NOT NULL, submitted_ms INTEGER,
  ended_ms INTEGER, reason TEXT NOT NULL, topic TEXT NOT NULL, ends TEXT);
CREATE INDEX runs_by_schedule ON runs (schedule, number);
CREATE TABLE anchors (schedule TEXT PRIMARY KEY, cron TEXT NOT NULL, zone TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE requests (number INTEGER PRIMARY KEY AUTOINCREMENT, schedule TEXT NOT NULL, asked_ms INTEGER NOT NULL);
"""
_USED = (State.SUCCEEDED, State.REFUSED)  # runs that did what they could with the events there were
_RUN = "run_id, schedule, cause, due_ms, state, attempt, not_before_ms, submitted_ms, ended_ms, reason, topic, ends"
_MARKS = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class BookBroken(RuntimeError):
    """The file cannot be read; the message says what may be done."""


class Deposed(RuntimeError):
    """Another scheduler acts now; nothing was written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who acts, and until when."""

    owner: str
    fence: int
    until_ms: int


class Book:
    """The file, made if it is missing. Not for two threads at once.

    Raises:
        BookBroken: not such a file, damaged, or not to be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        with self._readable():
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    @property
    def identity(self) -> str:
        """Eight signs that tell this book's jobs from those of others on the same cluster."""
        with self._readable():
            return str(self._db.execute("SELECT identity FROM book").fetchone()[0])

    def lease(self) -> Lease | None:
        """The last one given, which may be over."""
        with self._readable():
            row = self._db.execute("SELECT owner, fence, until_ms FROM lease").fetchone()
        return Lease(*row) if row is not None else None

    def take_lease(self, owner: str, now_ms: int, lasts_ms: int) -> Lease | None:
        """A lease for this owner from now on, new or prolonged; None while another has it."""
        with self._readable(), self._transaction():
            held = self.lease()
            mine = held is not None and held.owner == owner
            # One that lasts for ever is from before the clock was set back.
            if held is not None and not mine and now_ms < held.until_ms <= now_ms + _MOST_LEASES * lasts_ms:
                return None
            fence = (held.fence if held is not None else 0) + (not mine)
            taken = Lease(owner, fence, now_ms + lasts_ms)
            self._db.execute("REPLACE INTO lease VALUES (1, ?, ?, ?)", (owner, fence, taken.until_ms))
            return taken

    def leave(self, lease: Lease, now_ms: int) -> None:
        """Give the lease back, so that another need not wait for its end."""
        with self._readable(), self._transaction():
            self._db.execute("UPDATE lease SET until_ms = ? WHERE fence = ?", (now_ms, lease.fence))

    def write(self, plan: Plan, lease: Lease, now_ms: int) -> None:
        """All of the plan or nothing. A cause that is there already is not written again.

        Raises:
            Deposed: the lease is over.
        """
        with self._readable(), self._transaction():
            held = self.lease()
            if held is None or held.fence != lease.fence or now_ms >= held.until_ms:
                raise Deposed(f"another scheduler acts: {held.owner if held is not None else 'not known'}")
            # nosec comments below: what is put together are our own column names.
            for run in plan.begun:
                self._db.execute(f"INSERT OR IGNORE INTO runs ({_RUN}) VALUES {_MARKS}", _to_row(run))  # nosec B608
            for run in plan.changed:
                changed = (*_to_row(run), run.run_id)
                self._db.execute(f"UPDATE runs SET ({_RUN}) = {_MARKS} WHERE run_id = ?", changed)  # nosec B608
            for schedule, anchor in plan.anchors.items():
                row = (schedule, anchor.cron, anchor.zone, anchor.at_ms)
                self._db.execute("REPLACE INTO anchors VALUES (?, ?, ?, ?)", row)
            for request in plan.taken:
                self._db.execute("DELETE FROM requests WHERE number = ?", (request.number,))
            for schedule in {run.schedule for run in plan.begun}:
                self._forget_old(schedule)

    def past(self) -> Past:
        """What decisions are made from."""
        with self._readable():
            asked = self._db.execute("SELECT number, schedule, asked_ms FROM requests ORDER BY number").fetchall()
            anchors = self._db.execute("SELECT schedule, cron, zone, at_ms FROM anchors").fetchall()
            ended = self._db.execute(
                "SELECT schedule, max(ended_ms) FROM runs WHERE attempt > 0 AND ended_ms IS NOT NULL GROUP BY schedule"
            ).fetchall()
            return Past(
                open=self.open_runs(),
                anchors={schedule: Anchor(*rest) for schedule, *rest in anchors},
                ended_ms=dict(ended),
                bases=self._bases(),
                asked=[Request(*row) for row in asked],
            )

    def open_runs(self) -> list[Run]:
        """Runs to which something is still to happen, oldest first."""
        with self._readable():
            rows = self._db.execute(f"SELECT {_RUN} FROM runs WHERE ended_ms IS NULL ORDER BY number")  # nosec B608
            return [_from_row(row) for row in rows]

    def history(self, schedule: str | None = None, count: int = KEPT) -> list[Run]:
        """The latest runs, newest first."""
        with self._readable():
            rows = self._db.execute(
                f"SELECT {_RUN} FROM runs WHERE ?1 IS NULL OR schedule = ?1 ORDER BY number DESC LIMIT ?2",  # nosec B608
                (schedule, count),
            )
            return [_from_row(row) for row in rows]

    def ask(self, schedule: str, now_ms: int) -> Request:
        """Ask whoever acts for a run.

        Raises:
            ValueError: so many wait already.
        """
        with self._readable(), self._transaction():
            (waiting,) = self._db.execute("SELECT count(*) FROM requests").fetchone()
            if waiting >= _MOST_REQUESTS:
                raise ValueError(f"{waiting} requests wait already: start `sightline schedule run`")
            row = self._db.execute("INSERT INTO requests (schedule, asked_ms) VALUES (?, ?)", (schedule, now_ms))
            return Request(int(row.lastrowid or 0), schedule, now_ms)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _prepare(self) -> None:
        with self._transaction():
            (layout,) = self._db.execute("PRAGMA user_version").fetchone()
            if layout not in (0, _LAYOUT):
                raise BookBroken(f"{self._path} is of another version of Sightline ({layout}): move it away")
            if layout == 0:
                for statement in filter(None, map(str.strip, _TABLES.split(";"))):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO book VALUES (?)", (uuid.uuid4().hex[:8],))
                self._db.execute(f"PRAGMA user_version = {_LAYOUT}")

    def _bases(self) -> Mapping[tuple[str, str], Offsets]:
        rows = self._db.execute(
            "SELECT schedule, topic, ends FROM runs WHERE state IN (?, ?) AND ends IS NOT NULL ORDER BY number",
            _USED,
        )
        return {(schedule, topic): _offsets(ends) for schedule, topic, ends in rows}

    def _forget_old(self, schedule: str) -> None:
        """All but the latest, and the one that events are counted from."""
        self._db.execute(
            "DELETE FROM runs WHERE schedule = ?1 AND ended_ms IS NOT NULL"
            " AND number NOT IN (SELECT number FROM runs WHERE schedule = ?1 ORDER BY number DESC LIMIT ?2)"
            " AND number NOT IN (SELECT max(number) FROM runs WHERE schedule = ?1 AND state IN (?3, ?4) AND ends"
            " IS NOT NULL GROUP BY topic)",
            (schedule, KEPT, *_USED),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise BookBroken(
                f"{self._path}: {error}: if it is damaged, move it away; the history goes with it, and nothing else"
            ) from error


def _to_row(run: Run) -> tuple[object, ...]:
    ends = None if run.ends is None else json.dumps({str(p): offset for p, offset in run.ends.items()})
    return (
        run.run_id, run.schedule, run.cause, run.due_ms, str(run.state), run.attempt, run.not_before_ms,
        run.submitted_ms, run.ended_ms, run.reason, run.topic, ends,
    )  # fmt: skip


def _from_row(row: tuple[Any, ...]) -> Run:
    (run_id, schedule, cause, due_ms, state, attempt, not_before_ms, submitted_ms, ended_ms, reason, topic, ends) = row
    return Run(
        run_id, schedule, cause, due_ms, State(state), attempt, not_before_ms, submitted_ms, ended_ms, reason, topic,
        None if ends is None else _offsets(ends),
    )  # fmt: skip


def _offsets(text: str) -> Offsets:
    return {int(partition): int(offset) for partition, offset in json.loads(text).items()}
