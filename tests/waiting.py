"""Waiting for what another thread or process is to bring about: never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""So long even a busy machine does not take; reached only where a test fails."""


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Look again and again, until it holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)
