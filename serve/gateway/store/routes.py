"""The routes of the store: /api/v1/store and what is below it, and the page."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from serve.gateway.access import Visitor
from serve.gateway.audit import AuditUnwritable
from serve.gateway.door import STREAM_OK, Door, as_json, parsed, problems
from serve.gateway.guard import needs
from serve.gateway.pages import Pages
from serve.gateway.position import STORE_PATTERN, StorePosition
from serve.gateway.store.plan import thing_of
from serve.gateway.store.schemas import Counts, Flows, HeatMap, Plan, PlanRefused, StoreState
from serve.gateway.store.service import NotShown, StoreService
from serve.gateway.store.streams import store_stream
from serve.gateway.streams import now_ms
from streaming.store.plan import MAX_NAME_BYTES, STORE, PlanProblem
from streaming.store.plan_file import PlanChanged, StoredPlan

StoreReader = Annotated[Visitor, needs("stores:read")]
_PEOPLE = "people of the store"
_FRAME_WAIT_S = 2.0
_FRAME: dict[str, Any] = {
    "description": "JPEG, heads blurred.",
    "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {"Sightline-Captured-Ms": {"schema": {"type": "integer"}, "description": "When it was taken."}},
}
_POSITION: dict[str, Any] = {"json_schema_extra": {"pattern": STORE_PATTERN}}
LastId = Annotated[
    str, Query(max_length=512, description="Position to follow from; Last-Event-ID goes first.", **_POSITION)
]
LastEventId = Annotated[str, Header(max_length=512, **_POSITION)]
Minutes = Annotated[int, Query(ge=1, le=24 * 60, description="Up to the newest window.")]


def _position_of(last_id: LastId = "", last_event_id: LastEventId = "") -> StorePosition | None:
    return parsed(StorePosition.parse, last_event_id or last_id)


async def _there(request: Request) -> StoreService:
    door: Door = request.app.state.door
    store: StoreService | None = request.app.state.store
    return await door.service(store, "there is no store here: set store.plan to the file of its plan")


# After the visitor in every route: whether there is a store is not told to everybody.
There = Annotated[StoreService, Depends(_there)]


def add_store(app: FastAPI, door: Door, pages: Pages, store: StoreService | None) -> None:
    """The routes; without a store they say so."""
    app.state.door, app.state.store = door, store

    @app.get("/api/v1/store", response_model=StoreState, responses=problems(404, 503))
    async def state(visitor: StoreReader, there: There) -> Response:
        """The store now: people, places, alerts, cameras."""
        _look(there, visitor, _PEOPLE)
        return as_json(there.state(now_ms()))

    @app.get(
        "/api/v1/store/events", response_class=StreamingResponse, responses={200: STREAM_OK, **problems(400, 404, 503)}
    )
    async def follow(
        visitor: StoreReader, there: There, position: Annotated[StorePosition | None, Depends(_position_of)]
    ) -> Response:
        """Follow the store: counts and alerts after the last id seen, who is where now, then all that comes."""
        door.check_room(visitor)
        _look(there, visitor, _PEOPLE)
        start = there.board.position if position is None else position
        return door.event_stream(store_stream(there, door.hub, start), visitor)

    @app.get("/api/v1/store/counts", response_model=Counts, responses=problems(400, 404, 503))
    async def counts(
        visitor: StoreReader,
        there: There,
        zone: Annotated[str, Query(max_length=MAX_NAME_BYTES, description="Zone, line, funnel or `store`.")] = STORE,
        since_ms: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        step_s: Annotated[int, Query(ge=10, le=86_400, description="Windows of so long together, or longer.")] = 60,
    ) -> Response:
        """One place over time."""
        try:
            return as_json(there.counts(zone, since_ms, step_s))
        except KeyError as unknown:
            raise HTTPException(404, unknown.args[0]) from None

    @app.get("/api/v1/store/heat", response_model=HeatMap, responses=problems(400, 404, 503))
    async def heat(visitor: StoreReader, there: There, minutes: Minutes = 60) -> Response:
        """Where people spend their time."""
        try:
            return as_json(there.heat(minutes))
        except PlanProblem as problem:
            raise HTTPException(404, str(problem)) from None

    @app.get("/api/v1/store/flows", response_model=Flows, responses=problems(400, 404, 503))
    async def flows(visitor: StoreReader, there: There, minutes: Minutes = 60) -> Response:
        """Which ways people take."""
        return as_json(there.flows(minutes))

    @app.get(
        "/api/v1/store/cameras/{camera}/frame",
        response_class=Response,
        responses={200: _FRAME, 204: {"description": "No frame after that yet."}, **problems(400, 404, 503)},
    )
    async def frame(
        visitor: StoreReader,
        there: There,
        camera: Annotated[str, Path(min_length=1, max_length=MAX_NAME_BYTES)],
        after_ms: Annotated[int, Query(ge=0, le=2**53, description="One taken after; 0 waits a moment.")] = 0,
    ) -> Response:
        """The newest frame of a camera of which it is known who is in it, heads blurred. Each look is written down."""
        try:
            window = there.window_of(camera)
        except KeyError as unknown:
            raise HTTPException(404, unknown.args[0]) from None
        except NotShown as why:
            raise HTTPException(403, str(why)) from None
        _look(there, visitor, f"camera {camera}")
        shown = await window.newest(camera, after_ms, _FRAME_WAIT_S if after_ms == 0 else 0.0)
        if shown is None:
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        headers = {"Cache-Control": "no-store", "Sightline-Captured-Ms": str(shown.captured_ms)}
        return Response(shown.jpeg, headers=headers, media_type="image/jpeg")

    @app.get("/api/v1/store/plan", response_model=Plan, responses=problems(404, 503))
    async def plan(visitor: StoreReader, there: There) -> Response:
        """The plan and the rules, and in ETag their version."""
        return _plan(there.plan.stored())

    @app.put(
        "/api/v1/store/plan",
        response_model=Plan,
        responses={**problems(404, 408, 412, 413, 428, 503), 400: {"model": PlanRefused, "description": "No plan."}},
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
        },
    )
    async def put_plan(
        visitor: Annotated[Visitor, needs("stores:admin")],
        there: There,
        request: Request,
        if_match: Annotated[str, Header(max_length=128, description="ETag of the version that was changed.")] = "",
    ) -> Response:
        """Replace the plan, if nobody else has meanwhile. Runs count by it when they next start."""
        try:
            table = json.loads(await request.body())
            json.dumps(table, ensure_ascii=False).encode()  # half of a surrogate pair is JSON, and no text
        except (ValueError, RecursionError):
            return _no_plan("the body is no JSON that could be a plan", None)
        if not if_match:
            raise HTTPException(428, "say in If-Match which version was changed: the ETag that came with it")
        try:
            stored = there.plan.write(table, if_match.strip().removeprefix("W/").strip('"'))
        except PlanProblem as problem:
            return _no_plan(str(problem), thing_of(problem, table))
        except PlanChanged as changed:
            raise HTTPException(412, str(changed)) from None
        return _plan(stored)

    @app.get("/store", include_in_schema=False)
    async def page(visitor: StoreReader) -> Response:
        return pages.page()


def _look(store: StoreService, visitor: Visitor, what: str) -> None:
    try:
        store.looks.looks(visitor.client, what, now_ms())
    except AuditUnwritable as why:
        raise HTTPException(503, str(why)) from None


def _plan(stored: StoredPlan) -> Response:
    response = as_json(Plan(etag=stored.etag, saved_ms=stored.saved_ms, plan=dict(stored.table)))
    response.headers["ETag"] = f'"{stored.etag}"'
    return response


def _no_plan(why: str, thing: str | None) -> Response:
    return JSONResponse(PlanRefused(detail=" ".join(why.split()), thing=thing).model_dump(), 400)
