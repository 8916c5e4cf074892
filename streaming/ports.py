"""Free ports of the loopback, for servers that are told theirs before they start."""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def free_ports(count: int, besides: Collection[int] = ()) -> list[int]:
    """So many ports that nobody listens on, each another one.

    All are held until the last is found: asked for one after another, one may be given twice. Once they are told,
    anybody may take one before its server does, which then has to say so.

    Args:
        count: 1 or more.
        besides: what was promised to servers that do not listen yet, and is not given again.
    """
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
            if port not in besides:
                found.append(port)
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen there now; connections that have ended do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
    return True
