"""SIGTERM and SIGINT as an event, for commands that have things to bring to an end in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signals_set(event: threading.Event) -> Iterator[None]:
    """Within the body, SIGTERM and SIGINT set the event instead of ending the process. Handlers belong to the main
    thread: elsewhere this changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
