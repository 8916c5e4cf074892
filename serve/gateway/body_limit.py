"""No body is read beyond a size, nor waited for beyond a time, whatever its headers say."""

from __future__ import annotations

import asyncio

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_TIMEOUT_S = 10.0


class _Refused(Exception):
    """The body goes beyond what is allowed."""


class BodyLimit:
    """ASGI middleware: 413 for a body that is too large, 408 for one that does not come."""

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float = BODY_TIMEOUT_S) -> None:
        self._app, self._max_bytes, self._timeout_s = app, max_bytes, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, counting what is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        too_large = JSONResponse({"detail": f"a body may have {self._max_bytes:,} bytes"}, 413)
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > self._max_bytes:
            await too_large(scope, receive, send)
            return
        read_bytes, ended, answered = 0, False, False
        refusal: JSONResponse | None = None

        async def receive_within() -> Message:
            nonlocal read_bytes, ended, refusal
            if ended:  # what comes now is the end of the connection, for which streams wait as long as they last
                return await receive()
            try:
                async with asyncio.timeout(self._timeout_s):
                    message = await receive()
            except TimeoutError:
                refusal = JSONResponse({"detail": f"no body within {self._timeout_s:g} s"}, 408)
                raise _Refused from None
            read_bytes += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if read_bytes > self._max_bytes:
                refusal = too_large
                raise _Refused
            return message

        async def send_noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, receive_within, send_noted)
        except Exception:
            if refusal is None:
                raise
            if not answered:
                await refusal(scope, receive, send)
