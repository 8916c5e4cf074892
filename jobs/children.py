"""Processes that a command starts and surely stops: each in a group of its own, ended politely, then firmly.

A child never outlives its parent: on Linux the kernel ends it when the parent dies, even by kill -9.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class Child:
    """One Python module run as `python -m MODULE ARGS`, its output in a log file.

    `environment` is set on top of this process's own; None takes a variable away.
    """

    def __init__(self, name: str, module: Sequence[str], environment: Mapping[str, str | None], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # nosec B603  # our own modules, no shell
                [sys.executable, "-m", *module],
                env={name: value for name, value in {**os.environ, **environment}.items() if value is not None},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C reaches the parent alone, which stops things in order
                preexec_fn=ending_with_parent(),
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._process.poll()

    @property
    def last_line(self) -> str:
        """The last thing it said: the reason, when it ended by itself."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def stop(self, timeout_s: float) -> int:
        """SIGTERM, then after the time-out SIGKILL to its whole group; the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it started and left behind, too
        return self._process.wait()


def ending_with_parent() -> Callable[[], None] | None:
    """What a process calls so that it ends when the thread that started it does; None where there is no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork: the child may only make the call

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask_kernel
