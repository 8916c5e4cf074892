"""A network that can be made slow, silent or dead: a TCP proxy on the loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK_BYTES = 16_384
_LOOK_S = 0.05


class Proxy:
    """Passes what comes to `port` on to `target`, both on the loopback; told to, late, not at all, or never again."""

    def __init__(self) -> None:
        self.target: int | None = None
        self.delay_s = 0.0
        self.cuts = 0
        self._silent = threading.Event()
        self._refusing = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_LOOK_S)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @contextmanager
    def slow(self, delay_s: float) -> Iterator[None]:
        """Every piece takes so long, each way."""
        self.delay_s = delay_s
        yield
        self.delay_s = 0.0

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing arrives, and nobody is told: as when a cable is pulled."""
        self._silent.set()
        yield
        self.cut()  # what was under way is gone
        self._silent.clear()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """All connections are reset, and new ones as well."""
        self._refusing.set()
        self.cut()
        yield
        self._refusing.clear()

    def cut(self) -> None:
        """End all connections of now."""
        with self._lock:
            ended, self._open = self._open, set()
        self.cuts += len(ended) // 2
        for end in ended:
            _end(end)

    def close(self) -> None:
        self._closed.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                if self._refusing.is_set() or self.target is None:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5.0)
            except OSError:
                _end(client)
                continue
            with self._lock:
                self._open |= {client, server}
            for one, other in ((client, server), (server, client)):
                one.settimeout(None)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(_CHUNK_BYTES):
                while self._silent.is_set() and not self._closed.is_set():
                    time.sleep(_LOOK_S)
                if self.delay_s:
                    time.sleep(self.delay_s)
                other.sendall(piece)
        with self._lock:
            self._open -= {one, other}
        _end(one)
        _end(other)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
