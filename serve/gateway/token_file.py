"""The file of tokens: read with care, and looked at again while the gateway runs: a revocation counts at once."""

from __future__ import annotations

import logging
import stat
import time
from collections.abc import Callable
from pathlib import Path

from serve.gateway.tokens import BadTokenFile, TokenBook

MODE = 0o600
_OF_OTHERS = 0o007
_MAX_BYTES = 1 << 20
_LOOK_S = 1.0

logger = logging.getLogger(__name__)


def read_tokens(path: Path) -> TokenBook:
    """The tokens of a file.

    Raises:
        BadTokenFile: it is not there, others may read it, it is too large or not what `sightline tokens` writes.
    """
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OF_OTHERS:
                raise BadTokenFile(f"{path}: mode {mode:03o} is open to every user of this machine; chmod 600 {path}")
            text = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadTokenFile(f"{path}: {why}; make one with `sightline tokens create`") from None
    if len(text) > _MAX_BYTES:
        raise BadTokenFile(f"{path}: above {_MAX_BYTES:,} bytes, which no file of tokens is")
    return TokenBook.parse(text, str(path))


class TokenFile:
    """The tokens that hold now. One event loop owns it; it looks at the file once a second at most.

    A file that is gone holds none: every token is revoked. A file that has become unusable is reported, and the tokens
    read last go on to hold, so that a slip of an editor does not end a broadcast.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read it.

        Raises:
            BadTokenFile: it cannot be used.
        """
        self._path, self._clock = path, clock
        self._book = read_tokens(path)
        self._stamp = self._look()
        self._looked_s = clock()

    def book(self) -> TokenBook:
        """What holds now."""
        if self._clock() - self._looked_s >= _LOOK_S:
            self._looked_s = self._clock()
            if (stamp := self._look()) != self._stamp:
                self._stamp = stamp
                self._read_again()
        return self._book

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode

    def _read_again(self) -> None:
        if self._stamp is None:
            logger.warning("%s is gone: no token holds any more", self._path)
            self._book = TokenBook()
            return
        try:
            self._book = read_tokens(self._path)
        except BadTokenFile as problem:
            logger.error("%s (the tokens read before go on to hold)", problem)
