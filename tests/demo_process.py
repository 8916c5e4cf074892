"""`sightline demo` as a process, as a user sees it: started by its command, ended by itself or by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).parents[1]


class Demo:
    """`sightline demo` as a process, with what it says."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.report = folder / "report.json"
        self.lines: list[str] = []
        command = [sys.executable, "-m", "jobs.cli", "demo", "--port", "0", "--report", str(self.report), *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "SIGHTLINE_HOME": str(folder / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip())

    def said(self, pattern: str) -> str:
        """The first group of the pattern, once a line has it."""
        found: list[str] = []

        def look() -> bool:
            found.extend(match[1] for line in list(self.lines) if (match := re.search(pattern, line)))
            return bool(found)

        wait_until(look, pause_s=0.1, otherwise=lambda: "\n".join(self.lines))
        return found[0]

    def processes(self) -> list[psutil.Process]:
        """All that it started and that is still there, the broker too, which is nobody's child."""
        home = str(self.report.parent / "home")
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        brokers = [p for p in psutil.process_iter(["cmdline"]) if home in " ".join(p.info["cmdline"] or [])]
        return [*children, *brokers]

    def ends(self) -> None:
        """Wait until it has ended by itself."""
        wait_until(lambda: self.process.poll() is not None, pause_s=0.1, otherwise=lambda: "\n".join(self.lines))


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Demo]:
    """A demo, ended by Ctrl-C unless it has ended; what was promised has to be kept."""
    demo = Demo(folder, *arguments)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.send_signal(signal.SIGINT)
        try:
            code = demo.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(demo.process.pid, signal.SIGKILL)
            raise
    assert code == 0, "\n".join(demo.lines)
