"""The keys, in files: KEYS/CAMERA/2026-11-23.key, for their owner alone. Whoever reads them can open what is sealed.

A key is made when it is first asked for, by whichever process is first; all that share the folder see the same. It is
destroyed with the camera's retention by any of them, in its first call of a day; `expire` does it where none runs. The
bytes of a file that goes are overwritten, also those of a draft that a crash left behind. That is all that can be done
from here: a file system that copies on write, an SSD or a backup may keep the old blocks, so keep the folder off
backups, on an encrypted disk, and away from Kafka's.

The folder belongs where every worker of the pipeline finds it. A worker that does not find a key loses the looks that
were sealed with it, and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from streaming.cameras.definition import CAMERA_ID
from streaming.locking import folder_locked
from streaming.privacy.keyring import Retention, day_name, day_named, day_of
from streaming.privacy.punctured import KEY_BYTES, PuncturableKey
from streaming.privacy.seal import TrackName

log = logging.getLogger(__name__)

FOLDER_MODE, FILE_MODE = 0o700, 0o600
SUFFIX = ".key"
_DRAFTS = f".*{SUFFIX}-*"

_MAGIC = b"sightline key 1\n"
_CHECK_BYTES = 16
_MOST_BYTES = 64 << 20  # of one file: some 25,000 tracks struck out of one camera's day
_LOOK_S = 1.0


class BadKeyFolder(OSError):
    """The folder of keys cannot be used; the message says why, and the remedy."""


class _Held(NamedTuple):
    """A key as it was read, and what its file looked like then."""

    stamp: tuple[int, ...] | None
    key: PuncturableKey | None


def now_ms() -> int:
    """UTC."""
    return time.time_ns() // 1_000_000


class KeyFolder:
    """Keys of tracks (`streaming.privacy.keyed.TrackKeys`). One thread owns it; a copy that was pickled reads anew.

    Args:
        path: of the folder, made if it is not there.
        retention: of each camera.
        clock: UTC in ms; what decides which keys still hold.
    """

    def __init__(self, path: Path, retention: Retention, clock: Callable[[], int] = now_ms) -> None:
        """Raises BadKeyFolder: it cannot be made or written, or others may look into it."""
        self.path, self.retention, self._clock = path, retention, clock
        self._held: dict[tuple[str, int], _Held] = {}
        self._changes = 0
        self._looked_s = float("-inf")
        self._expired_day = -1
        self._said: set[str] = set()  # each once
        make_folder(path)

    def __reduce__(self) -> tuple[type[KeyFolder], tuple[Path, Retention, Callable[[], int]]]:
        return type(self), (self.path, self.retention, self._clock)

    def key(self, camera: str, track_id: int, day: int) -> bytes | None:
        """For AES-SIV, 64 bytes; None if the day's key is gone, cannot be read, or has lost this track."""
        if not self.retention.allows(camera, day, self._clock()):
            return None
        if (camera, day) not in self._held:
            self._held[camera, day] = self._read_or_make(camera, day)
        whole = self._held[camera, day].key
        leaf = None if whole is None else whole.key_of(_name(camera, track_id))
        return None if leaf is None else hashlib.blake2b(key=leaf, digest_size=64, person=b"sightline siv").digest()

    def erase(self, tracks: Sequence[TrackName]) -> None:
        """Strike tracks out of every day's key of their cameras. When this returns it is on the disk.

        Raises:
            BadKeyFolder: it could not be written; then some may still be there, and it is to be called again.
        """
        if not tracks:
            return  # standing orders are obeyed at every batch, and nothing has changed
        for camera in sorted({camera for camera, _ in tracks}):
            names = [_name(camera, track_id) for other, track_id in tracks if other == camera]
            self._strike_out(camera, names)
        self._forget_held()

    def version(self) -> int:
        """Looks, once a second at most, whether files have changed, and destroys those whose time is over."""
        today = day_of(self._clock())
        if today != self._expired_day:
            self.expire()
            self._forget_held()  # another process may have been faster
            self._expired_day = today
        elif time.monotonic() - self._looked_s >= _LOOK_S:
            self._looked_s = time.monotonic()
            # One that could not be made is tried again: the disk may have been full.
            if any(held.stamp is None or _stamp(self._file(*of)) != held.stamp for of, held in self._held.items()):
                self._forget_held()
        return self._changes

    def expire(self) -> list[str]:
        """Destroy every key whose time is over; CAMERA/DAY of each."""
        gone: list[str] = []
        for folder in {draft.parent for draft in self.path.glob(f"*/{_DRAFTS}")}:
            with folder_locked(folder):
                _destroy_drafts(folder)
        for file in sorted(self.path.glob(f"*/*{SUFFIX}")):
            camera, day = file.parent.name, day_named(file.name.removesuffix(SUFFIX))
            if day is None or self.retention.allows(camera, day, self._clock()):
                continue
            with folder_locked(file.parent):
                _destroy(file)
            gone.append(f"{camera}/{day_name(day)}")
        if gone:
            log.info("destroyed the keys of %s", ", ".join(gone))
            self._forget_held()
        return gone

    def _forget_held(self) -> None:
        self._held.clear()
        self._changes += 1

    def _file(self, camera: str, day: int) -> Path:
        return self.path / camera / f"{day_name(day)}{SUFFIX}"

    def _read_or_make(self, camera: str, day: int) -> _Held:
        """Never raises for what lies in the folder: a camera goes on without looks rather than not at all."""
        file = self._file(camera, day)
        try:
            if not CAMERA_ID.fullmatch(camera):
                raise ValueError(f"{camera!r} is no id of a camera")
            if not file.exists():
                make_folder(self.path)  # it may have been taken away
                make_folder(file.parent)
                with folder_locked(file.parent):
                    if not file.exists():
                        _write(file, PuncturableKey.whole(secrets.token_bytes(KEY_BYTES)))
            return _Held(_stamp(file), _read(file))
        except (OSError, ValueError) as wrong:
            if (said := f"no look of camera {camera} on {day_name(day)} is kept: {wrong}") not in self._said:
                self._said.add(said)
                log.error("%s", said)
            return _Held(_stamp(file), None)

    def _strike_out(self, camera: str, names: Sequence[bytes]) -> None:
        folder = self.path / camera
        if not CAMERA_ID.fullmatch(camera) or not folder.is_dir():
            return
        try:
            with folder_locked(folder):
                _destroy_drafts(folder)
                for file in sorted(folder.glob(f"*{SUFFIX}")):
                    try:
                        key = _read(file)
                    except ValueError as wrong:
                        log.error("destroyed, since nobody can be struck out of it: %s", wrong)
                        _destroy(file)
                        continue
                    for name in names:
                        key = key.without(name)
                    _write(file, key)
        except OSError as error:
            raise BadKeyFolder(f"{folder}: a person could not be struck out: {error}") from None


def _name(camera: str, track_id: int) -> bytes:
    return f"{camera}/{track_id}".encode()


def make_folder(path: Path) -> None:
    """Make a folder of keys, if it is not there. Raises BadKeyFolder: see `KeyFolder`."""
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise BadKeyFolder(f"{path}: cannot be made: {error.strerror}") from None
    if mode & 0o077:
        raise BadKeyFolder(f"{path}: mode {mode:03o} lets others at the keys of people's looks; chmod 700 {path}")
    if not os.access(path, os.W_OK):
        raise BadKeyFolder(f"{path}: cannot be written; keys could neither be made nor destroyed")


def put(file: Path, text: bytes) -> None:
    """Write a file that is no key, for its owner alone, so that others see all of it or what was there before."""
    draft = file.with_name(f".{file.stem}-{secrets.token_hex(4)}")
    try:
        draft.touch(FILE_MODE, exist_ok=False)
        draft.write_bytes(text)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _read(file: Path) -> PuncturableKey:
    """Raises ValueError: it is no key."""
    with file.open("rb") as stream:
        data = stream.read(_MOST_BYTES + 1)
    body = data[len(_MAGIC) : -_CHECK_BYTES]
    if len(data) > _MOST_BYTES or not data.startswith(_MAGIC) or data[-_CHECK_BYTES:] != _check(body):
        raise ValueError(f"{file} is damaged, or no key")
    return PuncturableKey.from_bytes(body)


def _write(file: Path, key: PuncturableKey) -> None:
    """Put a key where another may be, in one rename; then overwrite the other's bytes."""
    body = key.to_bytes()
    draft = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(_MAGIC + body + _check(body))
            stream.flush()
            os.fsync(stream.fileno())
        with file.open("r+b") if file.exists() else nullcontext() as before:
            draft.replace(file)
            if before is not None:
                _overwrite(before.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def _destroy(file: Path) -> None:
    try:
        with file.open("r+b") as stream:
            file.unlink()  # first: nobody reads half of it
            _overwrite(stream.fileno())
    except FileNotFoundError:
        return  # another process was faster
    _sync_folder(file.parent)


def _destroy_drafts(folder: Path) -> None:
    """Keys, and nobody's any more: whoever writes one holds the lock that the caller has now."""
    for draft in folder.glob(_DRAFTS):
        _destroy(draft)


def _overwrite(descriptor: int) -> None:
    os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES, person=b"sightline file").digest()


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
