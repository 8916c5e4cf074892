"""What the routes of all pages share: refusals, room for streams, waiting for a gateway that has just started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from fastapi import HTTPException
from fastapi.responses import Response
from pydantic import BaseModel

from serve.gateway.access import Access, Visitor
from serve.gateway.board import Board
from serve.gateway.broker import BrokerHealth
from serve.gateway.hub import Hub
from serve.gateway.match import Match
from serve.gateway.rate_limit import RateLimit
from serve.gateway.schemas import Problem
from serve.gateway.settings import GatewaySettings
from serve.gateway.streams import Stream, while_open
from serve.gateway.transport import EventStream

_READY_CHECK_S = 0.05

STREAM_OK: dict[str, Any] = {
    "description": "Server-sent events.",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": 'id: 2-1045.2-8310\nevent: insight\ndata: {"id":"2-1045","p":0.63}\n\n',
        }
    },
}


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Refusals of a route, for its description."""
    words = {
        400: "Not a valid request.",
        401: "No valid token.",
        403: "The token does not open this, or a page from elsewhere asks.",
        404: "Nothing of this name.",
        408: "The body of the request did not come.",
        412: "Somebody else has changed it since it was read.",
        413: "The body of the request is too large.",
        421: "Another host was meant.",
        428: "What it is to replace was not said.",
        429: "Too many requests, or streams of one client.",
        503: "Not ready, or too many streams.",
    }
    return {code: {"model": Problem, "description": words[code]} for code in codes}


class Reading(Protocol):
    """What is read from topics."""

    @property
    def broker(self) -> BrokerHealth:
        """Whether all that was written before this gateway started is known."""


class Service(Protocol):
    """What a gateway has beside the matches."""

    @property
    def board(self) -> Reading:
        """What it knows."""


Where = TypeVar("Where")
AnyService = TypeVar("AnyService", bound=Service)


def parsed(parse: Callable[[str], Where], written: str) -> Where | None:
    """The position that is written, if one is; 400 where `parse` takes it for none."""
    try:
        return parse(written) if written else None
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


class Door:
    """What the routes share: finding a match, waiting for a gateway that has just started, room for a stream."""

    def __init__(self, board: Board, hub: Hub, settings: GatewaySettings, access: Access, limit: RateLimit) -> None:
        self.board, self.hub, self.settings = board, hub, settings
        self._access, self._limit = access, limit

    async def ready(self, broker: BrokerHealth) -> None:
        """Give a gateway that reads the topics back a moment, rather than deny what it is about to know."""
        for _ in range(round(self.settings.ready_wait_s / _READY_CHECK_S)):
            if broker.ready or self.hub.closing:
                return
            await asyncio.sleep(_READY_CHECK_S)
        if not broker.ready:
            why = f"not ready: {broker.state().text}"
            raise HTTPException(503, why, headers={"Retry-After": "2"})

    async def service(self, service: AnyService | None, absent: str) -> AnyService:
        """A service, once it can know what it is asked; 404 with these words where there is none."""
        if service is None:
            raise HTTPException(404, absent)
        if not service.board.broker.ready:
            await self.ready(service.board.broker)
        return service

    async def match(self, match_id: str, visitor: Visitor) -> Match:
        """The match of this id, once the gateway can know it, if it is for this visitor."""
        if not visitor.sees(match_id):
            raise HTTPException(403, "this token is for other matches")
        if (match := self.board.get(match_id)) is None or not self.board.broker.ready:
            await self.ready(self.board.broker)
            match = self.board.get(match_id)
        if match is None:
            raise HTTPException(404, f"no match {match_id!r}; /api/matches lists those there are")
        return match

    def check_room(self, visitor: Visitor) -> None:
        """Refuse a stream that would be one too many, of all or of this visitor's."""
        if self.hub.full:
            why = f"{self.hub.open_streams} streams are open, as many as are allowed; try again later"
            raise HTTPException(503, why, headers={"Retry-After": "10"})
        if self.hub.has_its_share(visitor.client):
            why = f"{visitor.client} has as many streams open as one client may; close some"
            raise HTTPException(429, why, headers={"Retry-After": "10"})

    def event_stream(self, stream: Stream, visitor: Visitor) -> EventStream:
        """A stream as an answer, if there is room."""
        self.check_room(visitor)
        kept = self.while_open(stream, visitor)
        return EventStream(kept, self.hub, visitor.client, self.settings.send_timeout_s)

    def while_open(self, stream: Stream, visitor: Visitor) -> Stream:
        """A stream for as long as the visitor's token holds."""
        return while_open(stream, lambda: self._access.holds(visitor))

    def may_speak(self, visitor: Visitor) -> bool:
        """Take what a client says on a WebSocket for a request."""
        return self._limit.wait_s(visitor.client) == 0.0


def as_json(model: BaseModel, status_code: int = 200) -> Response:
    """A model as an answer that nobody keeps. It was checked when it was made: FastAPI need not do so again."""
    return Response(
        model.model_dump_json(), status_code, headers={"Cache-Control": "no-store"}, media_type="application/json"
    )
