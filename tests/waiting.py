"""Waiting for what another thread or process is to bring about: never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 240.0
"""So long even a slow machine that is busy with other things does not take; reached only where a test fails."""


def wait_until(
    condition: Callable[[], object],
    patience_s: float = PATIENCE_S,
    *,
    pause_s: float = 0.005,
    otherwise: Callable[[], str] = lambda: "it did not come about",
) -> None:
    """Look again and again, until it holds.

    Args:
        condition: may raise, where it is known that it never will.
        patience_s: so long.
        pause_s: between two looks; longer where a look takes the time of those who are looked at.
        otherwise: what to say where it does not come about.
    """
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(pause_s)
