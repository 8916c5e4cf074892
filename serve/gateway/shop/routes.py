"""The routes of the shop: /api/v1/shop and what is below it, and the page."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from serve.gateway.access import Visitor
from serve.gateway.door import STREAM_OK, Door, as_json, parsed, problems
from serve.gateway.guard import needs
from serve.gateway.pages import Pages
from serve.gateway.position import SHOP_PATTERN, ShopPosition
from serve.gateway.shop.schemas import ItemList, ShopFigures, ShopperEvent, ShopState, Written
from serve.gateway.shop.service import ShopService
from serve.gateway.shop.streams import shop_stream
from serve.gateway.shop.writing import BadEvent, NotWritten
from serve.gateway.streams import now_ms

ShopReader = Annotated[Visitor, needs("shops:read")]
ShopWriter = Annotated[Visitor, needs("shops:write")]
_POSITION: dict[str, Any] = {"json_schema_extra": {"pattern": SHOP_PATTERN}}
LastId = Annotated[
    str, Query(max_length=64, description="Position to follow from; Last-Event-ID goes first.", **_POSITION)
]
LastEventId = Annotated[str, Header(max_length=64, **_POSITION)]
SessionId = Annotated[str, Query(max_length=128, description="Whose offers; empty for none.")]


def _position_of(last_id: LastId = "", last_event_id: LastEventId = "") -> ShopPosition | None:
    return parsed(ShopPosition.parse, last_event_id or last_id)


async def _there(request: Request) -> ShopService:
    door: Door = request.app.state.door
    shop: ShopService | None = request.app.state.shop
    return await door.service(shop, "there is no shop here: set gateway.shop = true")


# After the visitor in every route: whether there is a shop is not told to everybody.
There = Annotated[ShopService, Depends(_there)]


def add_shop(app: FastAPI, door: Door, pages: Pages, shop: ShopService | None) -> None:
    """The routes; without a shop they say so."""
    app.state.door, app.state.shop = door, shop

    @app.get("/api/v1/shop", response_model=ShopState, responses=problems(404, 503))
    async def state(visitor: ShopReader, there: There) -> Response:
        """The shop now: how much may be offered, in which categories."""
        return as_json(there.state(now_ms()))

    @app.get("/api/v1/shop/items", response_model=ItemList, responses=problems(400, 404, 503))
    async def items(
        visitor: ShopReader,
        there: There,
        category: Annotated[str, Query(max_length=500, description="Only of this one; empty for all.")] = "",
        search: Annotated[str, Query(max_length=200, description="Words of the title or category.")] = "",
        start: Annotated[int, Query(ge=0, le=10**7)] = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 24,
    ) -> Response:
        """Items that may be offered, a page at a time."""
        return as_json(await run_in_threadpool(there.items, category, search, start, limit))

    @app.get(
        "/api/v1/shop/events", response_class=StreamingResponse, responses={200: STREAM_OK, **problems(400, 404, 503)}
    )
    async def follow(
        visitor: ShopReader,
        there: There,
        position: Annotated[ShopPosition | None, Depends(_position_of)],
        session: SessionId = "",
    ) -> Response:
        """Follow the shop: items that changed after the last id seen, the newest offer of a session, then all that
        comes."""
        start = ShopPosition(there.board.catalogue.index.position) if position is None else position
        return door.event_stream(shop_stream(there, door.hub, session, start), visitor)

    @app.post(
        "/api/v1/shop/events", status_code=201, response_model=Written, responses=problems(400, 404, 408, 413, 503)
    )
    async def put_event(visitor: ShopWriter, there: There, event: ShopperEvent) -> Response:
        """Say what a shopper did. 201 once it lies on user.sessions; after 503 it may all the same, and sent again
        count twice, unless it is an impression. Pages of other origins cannot: those that `gateway.cors_origins` names
        may read."""
        if (wait_s := there.limit.wait_s(visitor.client)) > 0.0:
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise HTTPException(429, "too many events; gateway.shop_events_per_s sets how many", headers=headers)
        there.board.look(event.session_id, time_ms := now_ms())
        try:
            await there.writer.put(event.model_dump() | {"event_time_ms": time_ms})
        except BadEvent as wrong:
            raise HTTPException(400, str(wrong)) from None
        except NotWritten as problem:
            why = f"the event could not be written: {problem}; send it again"
            raise HTTPException(503, why, headers={"Retry-After": "2"}) from None
        return as_json(Written(event_time_ms=time_ms), 201)

    @app.get("/api/v1/shop/figures", response_model=ShopFigures, responses=problems(400, 404, 503))
    async def figures(
        visitor: ShopReader, there: There, minutes: Annotated[int, Query(ge=1, le=24 * 60)] = 60
    ) -> Response:
        """What the offers of the last minutes were worth by arm, and which items they reach."""
        return as_json(await there.figures(minutes, now_ms()))

    @app.get("/shop", include_in_schema=False)
    async def page(visitor: ShopReader) -> Response:
        return pages.page()
