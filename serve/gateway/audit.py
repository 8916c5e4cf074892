"""Who looked at what, and when: a log that is only ever added to, and tells when it was altered.

    {"number": 17, "at_ms": 1790000000000, "who": "anna", "what": "store page", "chain": "5c1f…"}

One JSON object a line. `chain` is SHA-256 over the chain of the entry before and the entry's own JSON without it, so an
entry that was changed, moved or taken out breaks the chain from there on (`verified`). Two things the chain alone
cannot tell: that the newest entries were cut off, and that the whole log was written anew by somebody who may write
the file. For both, keep what `verified` tells of the last entry somewhere else, and hand it in the next time.

A file that has grown to `MAX_FILE_BYTES` is put aside under the number of its first entry (`audit.17.jsonl`), and the
chain goes on in a new one. Nothing here deletes any: how long looks are to be accounted for is for the operator to say.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from streaming.locking import folder_locked

MODE = 0o600
MAX_FILE_BYTES = 8 << 20
MAX_CHARS = 500
"""Of `who` and of `what`, each; the rest is cut."""

_START = hashlib.sha256(b"sightline audit log").hexdigest()
_MAX_LINE_BYTES = 16 << 10  # two texts of MAX_CHARS, each character escaped to twelve bytes at most, and the rest


class Entry(NamedTuple):
    """One look."""

    number: int  # from 1, without gaps
    at_ms: int  # UTC
    who: str
    what: str
    chain: str


class AuditBroken(ValueError):
    """The log is not as it was written; the message says from where on."""


class AuditUnwritable(RuntimeError):
    """It cannot be written down who looks, so nobody may."""


class AuditLog:
    """Where looks are written down. Safe from several threads and processes.

    Args:
        path: of the file, whose folder exists; made for its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._mine = path, threading.Lock()

    def looked(self, who: str, what: str, at_ms: int) -> None:
        """Write down a look, before what is looked at is shown.

        Args:
            who: name of the token, or of the account, that asked.
            what: what was shown: a page, a camera, a person.
            at_ms: UTC.

        Raises:
            AuditUnwritable: it was not written; the message says why. Then nothing may be shown.
        """
        try:
            with self._mine, folder_locked(self._path.parent):
                self._add(who[:MAX_CHARS], what[:MAX_CHARS], at_ms)
        except (OSError, AuditBroken) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise AuditUnwritable(f"{self._path}: {why}; what is shown of people must be written down first") from None

    def _add(self, who: str, what: str, at_ms: int) -> None:
        files = _files(self._path)
        last = _last(files[-1]) if files else None
        number, chain = (1, _START) if last is None else (last.number + 1, last.chain)
        said = {"number": number, "at_ms": at_ms, "who": who, "what": what}
        line = json.dumps({**said, "chain": _chained(chain, said)}).encode() + b"\n"
        if files and files[-1] == self._path and self._path.stat().st_size >= MAX_FILE_BYTES:
            self._put_aside()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            size = os.fstat(descriptor).st_size
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, size)  # half an entry would break the log for good
                raise OSError("an entry was written in part only; is the disk full?")
        finally:
            os.close(descriptor)

    def _put_aside(self) -> None:
        with self._path.open("rb") as file:
            first = _entry(self._path, 1, file.readline(_MAX_LINE_BYTES))
        self._path.rename(self._path.with_name(f"{self._path.stem}.{first.number}{self._path.suffix}"))


def entries(path: Path) -> Iterator[Entry]:
    """All that were written, the oldest first, those in files put aside among them.

    Raises:
        AuditBroken: an entry is not one, or not the one that follows. The first may have any number: files put aside
            may have been removed.
    """
    before: Entry | None = None
    for file, line, entry in _read(path):
        if before is not None or entry.number == 1:
            number, chain = (before.number + 1, before.chain) if before is not None else (1, _START)
            if entry.number != number:
                raise AuditBroken(f"{file}:{line}: entry {entry.number} stands where entry {number} was written")
            if entry.chain != _chained(chain, _content(entry)):
                raise AuditBroken(f"{file}:{line}: entry {number} or what stood before it was changed")
        before = entry
        yield entry


def verified(path: Path, known: tuple[int, str] | None = None) -> Entry | None:
    """The last entry of a log that is whole; None if there is none yet.

    Args:
        path: of the log.
        known: number and chain of an entry, told by an earlier call and kept elsewhere.

    Raises:
        AuditBroken: see `entries`; or the log does not hold the entry that is known to have been there.
    """
    last, holds = None, known is None
    for last in entries(path):
        holds |= known == (last.number, last.chain)
    if not holds and known is not None:
        raise AuditBroken(f"{path}: entry {known[0]} is not there as it was: entries were cut off or written anew")
    return last


def _read(path: Path) -> Iterator[tuple[Path, int, Entry]]:
    for file in _files(path):
        with file.open("rb") as stream:
            line = 0
            while raw := stream.readline(_MAX_LINE_BYTES):
                line += 1
                yield file, line, _entry(file, line, raw)


def _content(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in entry._asdict().items() if name != "chain"}


def _chained(chain: str, said: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{chain}\n{json.dumps(said, sort_keys=True)}".encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    """The log's files, the oldest first."""
    aside = []
    for file in path.parent.glob(f"{path.stem}.*{path.suffix}"):
        number = file.name.removeprefix(f"{path.stem}.").removesuffix(path.suffix)
        if number.isdecimal() and number.isascii():
            aside.append((int(number), file))
    return [file for _, file in sorted(aside)] + ([path] if path.exists() else [])


def _last(path: Path) -> Entry | None:
    """The last entry of a file; None if it is empty."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _MAX_LINE_BYTES))
        lines = file.read().splitlines(keepends=True)
    return _entry(path, None, lines[-1]) if lines else None


def _entry(path: Path, line: int | None, raw: bytes) -> Entry:
    where = f"{path}:{line}" if line else f"{path}, last line"
    try:
        said = json.loads(raw)
        entry = Entry(**said)
    except (ValueError, TypeError, RecursionError):
        raise AuditBroken(f"{where}: this is no entry of the log; put the file aside to begin a new one") from None
    kinds = zip(entry, (int, int, str, str, str), strict=True)
    if not raw.endswith(b"\n") or not all(type(value) is kind for value, kind in kinds):
        raise AuditBroken(f"{where}: this is no entry of the log; put the file aside to begin a new one")
    return entry
