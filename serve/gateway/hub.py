"""Wakes the streams when there is news. Streams hold no queue: each keeps its position and reads on from the board, so
that a slow client costs nothing but its own delay."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from serve.gateway.board import StreamCounts

WALL = ""
"""The bell that rings for every match; no match has this id."""


class Hub:
    """Bells and the count of open streams. One event loop owns it."""

    def __init__(self, max_streams: int, max_streams_per_client: int | None = None) -> None:
        self.closed = asyncio.Event()
        self.open_streams = 0
        self.slow_clients = 0  # let go since the start because they took nothing any more
        self._max_streams = max_streams
        self._max_streams_per_client = max_streams if max_streams_per_client is None else max_streams_per_client
        self._clients: Counter[str] = Counter()
        self._bells: dict[str, asyncio.Event] = {}

    @property
    def closing(self) -> bool:
        """Whether every stream should end."""
        return self.closed.is_set()

    @property
    def counts(self) -> StreamCounts:
        """For the ops page."""
        return StreamCounts(self.open_streams, self.slow_clients)

    @property
    def full(self) -> bool:
        """Whether as many streams are open as are allowed."""
        return self.open_streams >= self._max_streams

    def has_its_share(self, client: str) -> bool:
        """Whether this client has as many streams open as one may."""
        return self._clients[client] >= self._max_streams_per_client

    def bell(self, match_id: str) -> asyncio.Event:
        """What the next `ring` for this match sets. Take it before reading the board, and nothing is missed."""
        return self._bells.setdefault(match_id, asyncio.Event())

    def ring(self, match_ids: Iterable[str]) -> None:
        """These matches have news."""
        for match_id in match_ids:
            self._ring(match_id)
        self._ring(WALL)

    def ring_one(self, bell: str) -> None:
        """News for those who listen to this bell, which the wall does not."""
        self._ring(bell)

    def ring_all(self) -> None:
        """There is news for everybody."""
        for match_id in list(self._bells):
            self._ring(match_id)

    def close(self) -> None:
        """Let every stream end, so that the server can stop."""
        self.closed.set()
        self.ring_all()

    @contextmanager
    def stream(self, client: str = "") -> Iterator[None]:
        """Count a stream while it is open."""
        self.open_streams += 1
        self._clients[client] += 1
        try:
            yield
        finally:
            self.open_streams -= 1
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def _ring(self, match_id: str) -> None:
        if (bell := self._bells.pop(match_id, None)) is not None:
            bell.set()


async def rang(bell: asyncio.Event, timeout_s: float) -> bool:
    """Wait for a bell; False when it stayed silent."""
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        return False
    return True
