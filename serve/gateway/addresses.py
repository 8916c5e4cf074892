"""Match ids in addresses: any id that `streaming.features.match.validate` accepts has a page and an API.

An id is one percent-encoded segment of the path: `LCK/2024/1` is `/matches/LCK%2F2024%2F1`. Servers decode a path
before they route it, so that an encoded slash can no longer be told from one that divides, and `x%2Fevents` would be
the events of `x`: `EncodedSegments` lets routes see the path with each segment still encoded. Slashes written plainly
are understood too where they leave no doubt. An id of dots alone cannot be a segment, since browsers resolve `..`
however it is encoded: it is written with a `~` in front, and so is one of tildes and then dots.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Path
from pydantic import BeforeValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from streaming.features.match import MAX_MATCH_ID_BYTES

_DOTS = re.compile(r"~*\.{1,2}")
_TILDE_DOTS = re.compile(r"~+\.{1,2}")


def written_id(match_id: str) -> str:
    """A match id as a segment of an address."""
    return quote(f"~{match_id}" if _DOTS.fullmatch(match_id) else match_id, safe="")


def read_id(segment: str) -> str:
    """What `written_id` wrote; a slash at the end that divides is none of the id."""
    match_id = unquote(segment.removesuffix("/"))
    return match_id[1:] if _TILDE_DOTS.fullmatch(match_id) else match_id


MatchId = Annotated[
    str,
    # Characters of the id, of which each may take up to four bytes: validation of the stream counts bytes.
    Path(
        min_length=1,
        max_length=MAX_MATCH_ID_BYTES,
        description="As in match.events, percent-encoded.",
        examples=["sim-0007"],
    ),
    BeforeValidator(read_id),
]


class EncodedSegments:
    """ASGI middleware: routes see `/` only where it divides, and every segment as it can be decoded by `read_id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the path of a match address as it was sent."""
        raw: bytes = scope.get("raw_path") or b""
        if b"%" in raw and scope["type"] in ("http", "websocket") and _has_match_id(scope["path"]):
            segments = raw.partition(b"?")[0].decode("latin-1").split("/")
            # Decoded and encoded again: `%7e` and `~` are the same, and what is no UTF-8 becomes something that is.
            scope = {**scope, "path": "/".join(quote(unquote(segment), safe="~@:!$&'()*+,;=") for segment in segments)}
        await self._app(scope, receive, send)


def _has_match_id(path: str) -> bool:
    return path.startswith(("/matches/", "/overlay/", "/api/matches/"))
