"""Where a store lies: a folder, or any place that fsspec reaches by a URL. Nothing here knows what a model is.

Both kinds can do two things that the store is built on. `create` makes a file that was not there, whole or not at all,
and of two who create the same file one is told that it exists: versions are claimed and aliases moved by it. And a
file is never larger in memory than the limit that the reader gives.

What `create` promises on a URL is what its driver does with `mode="create"`. Object stores that have conditional
writes (S3, Google, Azure: drivers s3fs, gcsfs, adlfs) hold it against anybody. Where a driver has none (ftp, sftp,
smb, http), it looks first and writes then: two within the same moment may both believe that they were first, and the
later one's file stands.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from models.store.errors import BadReference, BrokenModelError, StoreUnavailableError

DRAFT = ".draft-"
"""What a file is called while it is being written."""

_PART_BYTES = 1 << 20
_URL = re.compile(r"[a-z][a-z0-9+.:-]*://")


class Root(Protocol):
    """One place. Paths are relative to it, parts joined by /."""

    def at(self, path: str) -> str:
        """The whole place of a path, for people."""

    def children(self, path: str) -> tuple[str, ...]:
        """Names in a folder, in no order; none where there is no such folder."""

    def read(self, path: str, limit_bytes: int) -> bytes:
        """A whole file.

        Raises:
            FileNotFoundError: there is no such file.
            BrokenModelError: it is larger than the limit; no more than that was read.
        """

    def create(self, path: str, data: bytes) -> None:
        """A new file, seen by others only once it is whole; its folder is made.

        Raises:
            FileExistsError: it is there already, and was left alone.
        """

    def replace(self, path: str, data: bytes) -> None:
        """A file, new or in place of the old one."""

    def delete(self, path: str) -> None:
        """A file, or a folder and all below it; one that is not there is no error."""

    def untouched_s(self, path: str) -> float | None:
        """Seconds since the last change of the file, or of any file in the folder; None where nobody can tell."""


def is_url(place: str) -> bool:
    """A URL, and not a path?"""
    return _URL.match(place) is not None


def checked_url(url: str) -> str:
    """The URL, if it can be that of a store.

    Raises:
        BadReference: it holds a password, or a cache lies before the place.
    """
    if "::" in url:
        raise BadReference(f"{url}: a store is read where it lies: leave out the part before '::'")
    if urlsplit(url).password is not None:
        shown = re.sub(r"//[^/]*@", "//", url)
        raise BadReference(
            f"{shown}: must be without user and password; give those to fsspec, as environment variables "
            f"FSSPEC_{urlsplit(url).scheme.upper()}_… or in ~/.config/fsspec"
        )
    return url


def open_root(place: Path | str) -> Root:
    """The root at a folder's path or a URL; nothing is made or asked yet.

    Raises:
        BadReference: nothing can be reached by such a URL here.
    """
    text = str(place)
    if not is_url(text):
        return FolderRoot(Path(text))
    if text.startswith("file://"):
        return FolderRoot(Path(text.removeprefix("file://")))
    return UrlRoot(text)


class FolderRoot:
    """A folder on a file system that has hard links, local or shared."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def at(self, path: str) -> str:
        """As `Root.at`."""
        return str(self._folder / path)

    def children(self, path: str) -> tuple[str, ...]:
        """As `Root.children`; a root that is a file is an error."""
        try:
            return tuple(entry.name for entry in os.scandir(self._folder / path))
        except FileNotFoundError:
            return ()
        except NotADirectoryError:
            if self._folder.is_dir():
                return ()
            raise BrokenModelError(f"{self._folder} is a file, no model store; set models.store to a folder") from None

    def read(self, path: str, limit_bytes: int) -> bytes:
        """As `Root.read`."""
        try:
            with (self._folder / path).open("rb") as stream:
                return _within(stream.read(limit_bytes + 1), limit_bytes, self.at(path))
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(self.at(path)) from error

    def create(self, path: str, data: bytes) -> None:
        """As `Root.create`: written beside its place, then linked there."""
        with self._draft(path, data) as draft:
            os.link(draft, self._folder / path)
        _sync_folder((self._folder / path).parent)

    def replace(self, path: str, data: bytes) -> None:
        """As `Root.replace`: readers see the old file or the new one."""
        with self._draft(path, data) as draft:
            draft.replace(self._folder / path)
        _sync_folder((self._folder / path).parent)

    def delete(self, path: str) -> None:
        """As `Root.delete`."""
        place = self._folder / path
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)

    def untouched_s(self, path: str) -> float | None:
        """As `Root.untouched_s`."""
        place = self._folder / path
        with suppress(FileNotFoundError):
            return time.time() - max(found.stat().st_mtime for found in (place, *place.rglob("*")))
        return None

    @contextmanager
    def _draft(self, path: str, data: bytes) -> Iterator[Path]:
        folder = (self._folder / path).parent
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=DRAFT, dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, 0o644)
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


class UrlRoot:
    """A place that fsspec reaches, such as s3://bucket/models. What it says is never remembered: others write, too."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self._url = checked_url(url).rstrip("/")
        try:
            self._fs, self._path = url_to_fs(url)
        except (ValueError, ImportError) as error:  # no such kind of place; its driver is not installed
            raise BadReference(f"{url}: cannot be a model store here: {error}") from error

    def __str__(self) -> str:
        return self._url

    def at(self, path: str) -> str:
        """As `Root.at`."""
        return f"{self._url}/{path}"

    def children(self, path: str) -> tuple[str, ...]:
        """As `Root.children`."""
        with self._asking(path) as place, suppress(FileNotFoundError, NotADirectoryError):
            return tuple(_last_part(name) for name in self._fs.ls(place, detail=False))
        return ()

    def read(self, path: str, limit_bytes: int) -> bytes:
        """As `Root.read`."""
        parts, left = [], limit_bytes + 1
        with self._asking(path) as place, self._fs.open(place, "rb") as stream:
            while left and (part := stream.read(min(left, _PART_BYTES))):  # some drivers give less than is asked for
                parts.append(part)
                left -= len(part)
        return _within(b"".join(parts), limit_bytes, self.at(path))

    def create(self, path: str, data: bytes) -> None:
        """As `Root.create`."""
        folder, _, name = path.rpartition("/")
        if name in self.children(folder):  # some drivers ignore the mode
            raise FileExistsError(self.at(path))
        self._write(path, data, mode="create")

    def replace(self, path: str, data: bytes) -> None:
        """As `Root.replace`."""
        self._write(path, data, mode="overwrite")

    def delete(self, path: str) -> None:
        """As `Root.delete`."""
        with self._asking(path) as place, suppress(FileNotFoundError):
            self._fs.rm(place, recursive=True)

    def untouched_s(self, path: str) -> float | None:
        """As `Root.untouched_s`."""
        with self._asking(path) as place:
            try:
                changed = [self._fs.modified(file).timestamp() for file in self._fs.find(place)]
            except NotImplementedError:
                return None
        return time.time() - max(changed) if changed else None

    def _write(self, path: str, data: bytes, mode: str) -> None:
        with self._asking(path) as place:
            self._fs.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(place, data, mode=mode)

    @contextmanager
    def _asking(self, path: str) -> Iterator[Any]:
        """Drivers raise whatever their libraries do: what is no answer about one file is trouble with the place."""
        self._fs.invalidate_cache()
        try:
            yield f"{self._path}/{path}".rstrip("/")
        except (FileNotFoundError, FileExistsError, NotADirectoryError):
            raise
        except IsADirectoryError as error:
            raise FileNotFoundError(self.at(path)) from error
        except Exception as error:
            words = " ".join(str(error).split())
            raise StoreUnavailableError(f"{self.at(path)}: {type(error).__name__}: {words}") from error


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _within(data: bytes, limit_bytes: int, place: str) -> bytes:
    if len(data) > limit_bytes:
        raise BrokenModelError(f"{place} is larger than the {limit_bytes:,} bytes that such a file may have")
    return data


def _sync_folder(folder: Path) -> None:
    """So that files become visible after a power cut in the order in which they were made."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
