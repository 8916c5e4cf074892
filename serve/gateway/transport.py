"""Streams on the wire: server-sent events and WebSocket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serve.gateway.hub import Hub
from serve.gateway.match import Message
from serve.gateway.streams import Stream

RETRY_MS = 1_000
_GOING_AWAY, _POLICY_VIOLATION = 1001, 1008

logger = logging.getLogger(__name__)


def sse_bytes(message: Message | None) -> bytes:
    """One server-sent event. A heartbeat is one too, not a comment: browsers never show those to a page, which could
    not tell a quiet stream from a dead one. JSON holds no raw line break, so one data line is enough."""
    if message is None:
        return b"event: beat\ndata: null\n\n"
    id_line = "" if message.position is None else f"id: {message.position}\n"
    return f"{id_line}event: {message.event}\ndata: {message.data.model_dump_json()}\n\n".encode()


def ws_text(message: Message | None) -> str:
    """The same as one JSON object."""
    if message is None:
        return '{"id":null,"event":"beat","data":null}'
    position = "null" if message.position is None else f'"{message.position}"'
    return f'{{"id":{position},"event":"{message.event}","data":{message.data.model_dump_json()}}}'


class EventStream(StreamingResponse):
    """A stream as server-sent events. It is counted while it is open, and let go when the client takes nothing."""

    media_type = "text/event-stream"

    def __init__(self, stream: Stream, hub: Hub, client: str, send_timeout_s: float) -> None:
        super().__init__(_events(stream), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._hub, self._client, self._send_timeout_s = hub, client, send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run until the client leaves, the stream ends or the client is too slow."""

        async def send_in_time(message: MutableMapping[str, Any]) -> None:
            async with asyncio.timeout(self._send_timeout_s):
                await send(message)

        with self._hub.stream(self._client):
            try:
                await super().__call__(scope, receive, send_in_time)
            except* TimeoutError:
                self._hub.slow_clients += 1
                logger.warning("%s: a client took nothing for %g s, let go", scope["path"], self._send_timeout_s)


async def _events(stream: Stream) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    async for message in stream:
        yield sse_bytes(message)


class TooTalkative(Exception):
    """A client says more than it may, though nothing is heard."""


async def send_over_websocket(
    socket: WebSocket, stream: Stream, hub: Hub, client: str, send_timeout_s: float, may_speak: Callable[[], bool]
) -> None:
    """Send a stream over an accepted WebSocket until either side ends it. What the client says is not heard, and each
    word of it is counted: `may_speak` says whether that was too much."""
    with hub.stream(client):
        listening = asyncio.create_task(_until_gone(socket, may_speak))
        sending = asyncio.create_task(_send_all(socket, stream, send_timeout_s))
        try:
            await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
            sending.cancel()
            unheard, failure = await asyncio.gather(listening, sending, return_exceptions=True)
        if isinstance(unheard, TooTalkative):
            await socket.close(_POLICY_VIOLATION, "too many messages; this stream only speaks")
        elif isinstance(failure, TimeoutError):
            hub.slow_clients += 1
            logger.warning("%s: a client took nothing for %g s, let go", socket.url.path, send_timeout_s)
        elif isinstance(failure, Exception) and not isinstance(failure, WebSocketDisconnect):
            raise failure
        elif failure is None and not hub.closing:
            await socket.close(_GOING_AWAY, "this match is no longer kept, or the token no longer holds")


async def _until_gone(socket: WebSocket, may_speak: Callable[[], bool]) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        if not may_speak():
            raise TooTalkative


async def _send_all(socket: WebSocket, stream: Stream, send_timeout_s: float) -> None:
    async for message in stream:
        async with asyncio.timeout(send_timeout_s):
            await socket.send_text(ws_text(message))
