"""The demo's folder on this machine, and what demos that were killed have left there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from jobs.files import write_json

PREFIX = "demo-"
OWNER = "owner.json"
_ABANDONED_S = 600.0  # a folder still without an owner file: its demo died while making it

_CLOCK_S = 1.0  # two readings of when a process began may differ by so much


@contextmanager
def demo_home(parent: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """A folder of this demo's own; those of demos that were killed are cleared first, with their brokers."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in sorted(parent.glob(f"{PREFIX}*")):
        if left.is_dir() and not _is_alive(left):
            _clear(left, say)
    home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        _sign(home)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _sign(home: Path) -> None:
    """Write whose folder this is, all of it or nothing."""
    me = psutil.Process(os.getpid())
    write_json(home / OWNER, {"pid": me.pid, "started": me.create_time()})


def _is_alive(home: Path) -> bool:
    """Whether the demo of this folder still runs. A process of the same number that began at another time is not it."""
    try:
        owner = json.loads((home / OWNER).read_text("utf-8"))
        started = float(psutil.Process(int(owner["pid"])).create_time())
        return abs(started - float(owner["started"])) < _CLOCK_S
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            return time.time() - home.stat().st_mtime < _ABANDONED_S
        return False
    except (OSError, ValueError, TypeError, KeyError, OverflowError, psutil.Error):
        return False  # unreadable, or nobody's


def _clear(home: Path, say: Callable[[str], None]) -> None:
    from streaming.kafka.broker import BrokerError, EmbeddedBroker

    try:
        EmbeddedBroker(home / "kafka").stop()
    except BrokerError as stays:  # no reason not to show this demo
        say(f"the broker of a demo that was killed is still there: {stays}")
        return
    shutil.rmtree(home, ignore_errors=True)
