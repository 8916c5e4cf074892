"""A folder for one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Nobody else who asks for it has this folder meanwhile; they wait, in this process too. A process that dies lets
    go of it.

    Raises:
        OSError: it is not there, or cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
