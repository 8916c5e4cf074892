"""The HTTP face of the gateway. Wiring only: what is known is the board's, what flows is the streams'."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, WebSocket
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

from serve.gateway import metrics, schemas
from serve.gateway.access import Access, Visitor
from serve.gateway.addresses import EncodedSegments, MatchId
from serve.gateway.board import Board, Order
from serve.gateway.body_limit import BodyLimit
from serve.gateway.door import STREAM_OK, Door, as_json, parsed, problems
from serve.gateway.guard import FORBIDDEN, POLICY_VIOLATION, TRY_AGAIN_LATER, Guard, is_page, needs, visitor_of
from serve.gateway.hub import Hub
from serve.gateway.pages import Pages, SecurityHeaders, prefers_json
from serve.gateway.position import PATTERN as POSITION_PATTERN
from serve.gateway.position import Position
from serve.gateway.rate_limit import RateLimit
from serve.gateway.schemas import Health, MatchDetail, MatchList, Ops, Status
from serve.gateway.settings import GatewaySettings
from serve.gateway.shop import schemas as shop_schemas
from serve.gateway.shop.routes import add_shop
from serve.gateway.shop.service import ShopService
from serve.gateway.sign_in import MAX_FORM_FIELDS, SESSION_PATH, local_address, set_cookie, sign_in_page
from serve.gateway.store import schemas as store_schemas
from serve.gateway.store.routes import add_store
from serve.gateway.store.service import StoreService
from serve.gateway.streams import match_stream, now_ms, ops_stream, wall_stream
from serve.gateway.transport import send_over_websocket

_NO_SUCH_MATCH = 4404

_AS_POSITION: dict[str, Any] = {"json_schema_extra": {"pattern": POSITION_PATTERN}}
LastId = Annotated[
    str,
    Query(
        max_length=128,
        description="Position to follow from; Last-Event-ID goes first.",
        examples=["2-1045.2-8310"],
        **_AS_POSITION,
    ),
]
LastEventId = Annotated[str, Header(max_length=128, **_AS_POSITION)]
Accept = Annotated[str, Header()]
MatchReader = Annotated[Visitor, needs("matches:read")]
OpsReader = Annotated[Visitor, needs("ops:read")]
_PAGE: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "The page."}


def create_app(
    board: Board,
    hub: Hub,
    settings: GatewaySettings,
    store: StoreService | None = None,
    shop: ShopService | None = None,
) -> FastAPI:
    """The application over boards that someone else fills (`serve.gateway.reader`).

    Raises:
        BadTokenFile: the file of tokens cannot be used.
    """
    access, limit = Access.of(settings), RateLimit(settings.rate_per_s, settings.rate_burst)
    app = _Gateway(
        title="Sightline gateway",
        summary="Win probability of live matches, with the reasons.",
        description=f"{schemas.__doc__}\n{store_schemas.__doc__}\n{shop_schemas.__doc__}",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; ours is `/docs` in serve/web
        redoc_url=None,
        responses=problems(401, 403, 408, 413, 421, 429),
    )
    # The last one added comes first.
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=6)
    app.add_middleware(EncodedSegments)
    app.add_middleware(Guard, access=access, limit=limit, settings=settings)
    if settings.origins:
        named = ("Authorization", "Last-Event-ID")
        app.add_middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=("GET",), allow_headers=named)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _refused)
    door = Door(board, hub, settings, access, limit)
    if access.guarded:
        _add_session(app, access)
    _add_matches(app, door)
    _add_ops(app, door)
    pages = Pages(settings.pages)
    add_store(app, door, pages, store)
    add_shop(app, door, pages, shop)
    _add_pages(app, door, pages)
    return app


class _Gateway(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """FastAPI's, but an error of ours has the headers too: `add_middleware` stays within its handler."""
        return SecurityHeaders(super().build_middleware_stack())

    def openapi(self) -> dict[str, Any]:
        """FastAPI's, less the 422 that it announces for every route: ours say 400, in one line."""
        schema = super().openapi()
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        known = schema["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            known.pop(name, None)
        # Streams are text to OpenAPI: what their messages look like has to be added.
        streamed = (*schemas.STREAMED, *store_schemas.STREAMED, *shop_schemas.STREAMED)
        _, messages = models_json_schema(
            [(model, "serialization") for model in streamed],
            ref_template="#/components/schemas/{model}",
        )
        schema["components"]["schemas"] = dict(sorted((messages["$defs"] | known).items()))
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{}, {"token": []}]  # without a file of tokens none is needed
        return schema


def _position_of(last_id: LastId = "", last_event_id: LastEventId = "") -> Position:
    # A browser that reconnects by itself repeats the old address, but its header is up to date.
    return parsed(Position.parse, last_event_id or last_id) or Position()


class _Filter(BaseModel):
    title: Annotated[str | None, Query(max_length=64, examples=["lol"])] = None
    league: Annotated[str | None, Query(max_length=128)] = None
    status: Status | None = None
    sort: Annotated[Order, Query(description="Running matches: nearest to even, or moving most, first.")] = "closest"


def _listing(door: Door, wanted: _Filter, visitor: Visitor) -> MatchList:
    """Matches that are for this visitor, in the order asked for."""
    board = door.board
    found = board.summaries(title=wanted.title, league=wanted.league, status=wanted.status, order=wanted.sort)
    matches = [match for match in found if visitor.sees(match.id)]
    return MatchList(time_ms=now_ms(), broker=board.broker.state(), matches=matches)


def _add_matches(app: FastAPI, door: Door) -> None:
    board, hub = door.board, door.hub

    @app.get("/api/matches", response_model=MatchList, responses=problems(400))
    async def matches(wanted: Annotated[_Filter, Query()], visitor: MatchReader) -> Response:
        """All matches at a glance."""
        return as_json(_listing(door, wanted, visitor))

    @app.get(
        "/api/matches/{match_id:path}/events",
        response_class=StreamingResponse,
        responses={200: STREAM_OK, **problems(400, 404, 503)},
    )
    async def match_events(
        match_id: MatchId, position: Annotated[Position, Depends(_position_of)], visitor: MatchReader
    ) -> Response:
        """Follow one match: what came after the last id seen, then all that comes, once each."""
        await door.match(match_id, visitor)
        return door.event_stream(match_stream(board, hub, match_id, position), visitor)

    # After the routes that end in a word: a path takes all that is left.
    @app.get("/api/matches/{match_id:path}", response_model=MatchDetail, responses=problems(400, 404, 503))
    async def match(match_id: MatchId, visitor: MatchReader) -> Response:
        """One match with its whole curve, its event log and, at the end, its result."""
        return as_json(board.detail(await door.match(match_id, visitor), now_ms()))

    @app.get("/api/stream", response_class=StreamingResponse, responses={200: STREAM_OK, **problems(503)})
    async def wall(visitor: MatchReader) -> Response:
        """Follow all matches: everything at once, then what changes, a match four times a second at most."""
        return door.event_stream(wall_stream(board, hub, visitor.sees), visitor)

    @app.websocket("/api/matches/{match_id:path}/ws")
    async def match_socket(socket: WebSocket, match_id: MatchId, last_id: LastId = "") -> None:
        """The same as the event stream, over a WebSocket."""
        await socket.accept()
        visitor = visitor_of(socket.scope)
        try:
            if not visitor.may("matches:read"):
                raise HTTPException(403, "this token has no scope matches:read")
            position = parsed(Position.parse, last_id) or Position()
            await door.match(match_id, visitor)
            door.check_room(visitor)
        except HTTPException as problem:
            codes = {400: POLICY_VIOLATION, 403: FORBIDDEN, 404: _NO_SUCH_MATCH}
            # A close frame has room for 123 bytes of reason.
            reason = problem.detail.encode()[:120].decode(errors="ignore")
            await socket.close(codes.get(problem.status_code, TRY_AGAIN_LATER), reason)
            return
        await send_over_websocket(
            socket,
            door.while_open(match_stream(board, hub, match_id, position), visitor),
            hub,
            visitor.client,
            door.settings.send_timeout_s,
            may_speak=lambda: door.may_speak(visitor),
        )


def _add_ops(app: FastAPI, door: Door) -> None:
    board, hub = door.board, door.hub
    registry = metrics.registry(lambda: board.ops(hub.counts, now_ms(), with_history=False))

    @app.get("/api/ops", response_model=Ops)
    async def ops(visitor: OpsReader) -> Response:
        """How the pipelines and what they stand on fare."""
        return as_json(board.ops(hub.counts, now_ms()))

    @app.get("/api/ops/stream", response_class=StreamingResponse, responses={200: STREAM_OK, **problems(503)})
    async def follow_ops(visitor: OpsReader) -> Response:
        """The same, then its figures each second."""
        return door.event_stream(ops_stream(board, hub), visitor)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus(visitor: OpsReader) -> Response:
        """The same figures for Prometheus."""
        return Response(metrics.exposition(registry), media_type=metrics.CONTENT_TYPE)

    @app.get(
        "/healthz",
        response_model=Health,
        responses={503: {"model": Health, "description": "Something waits for an answer and none comes."}},
    )
    async def healthz(visitor: Annotated[Visitor, needs()]) -> Response:
        """Whether answers flow or there is nothing to answer; why not is told to those who may read ops."""
        health = board.health(now_ms())
        if not visitor.may("ops:read"):
            health = Health(healthy=health.healthy, reasons=[])
        return as_json(health, status_code=200 if health.healthy else 503)

    @app.get("/livez", response_class=PlainTextResponse)
    async def livez() -> str:
        """Whether this process runs."""
        return "alive\n"


def _add_pages(app: FastAPI, door: Door, pages: Pages) -> None:

    @app.get("/matches", response_model=MatchList, responses={200: _PAGE, **problems(400)})
    async def matches_or_wall(
        wanted: Annotated[_Filter, Query()], visitor: MatchReader, accept: Accept = "*/*"
    ) -> Response:
        """All matches: JSON where that is preferred, else the wall."""
        if prefers_json(accept):
            return _varied(as_json(_listing(door, wanted, visitor)))
        return _varied(RedirectResponse("/"))

    @app.get("/matches/{match_id:path}", response_model=MatchDetail, responses={200: _PAGE, **problems(400, 404, 503)})
    async def match_or_page(match_id: MatchId, visitor: MatchReader, accept: Accept = "*/*") -> Response:
        """One match: JSON where that is preferred, else its page."""
        if prefers_json(accept):
            return _varied(as_json(door.board.detail(await door.match(match_id, visitor), now_ms())))
        return _varied(pages.page())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return pages.page()

    @app.get("/", include_in_schema=False)
    @app.get("/overlay/{match_id:path}", include_in_schema=False)
    async def page(visitor: MatchReader) -> Response:
        return pages.page()

    @app.get("/ops", include_in_schema=False)
    async def ops(visitor: OpsReader) -> Response:
        return pages.page()

    @app.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        return pages.asset(name) or _no_file(name)

    @app.get("/{name}", include_in_schema=False)
    async def root_file(name: str) -> Response:
        return pages.root_file(name) or _no_file(name)


def _varied(response: Response) -> Response:
    response.headers["Vary"] = "Accept"
    return response


def _no_file(name: str) -> Response:
    return JSONResponse({"detail": f"nothing at {name[:128]!r}"}, 404)


def _add_session(app: FastAPI, access: Access) -> None:

    @app.post(SESSION_PATH, include_in_schema=False)
    async def session(request: Request) -> Response:
        try:
            form = parse_qs((await request.body()).decode("latin-1"), max_num_fields=MAX_FORM_FIELDS)
        except ValueError:
            raise HTTPException(400, f"a form of at most {MAX_FORM_FIELDS} fields is wanted") from None
        token, to = form.get("token", [""])[0].strip(), local_address(form.get("next", ["/"])[0])
        if not access.visitor(token, "").known:
            return sign_in_page("This is no token that holds. Was it copied whole?", request.scope, to=to)
        response = RedirectResponse(to, 303, headers={"Cache-Control": "no-store"})
        set_cookie(response, request.scope, token)
        return response


async def _refused(request: Request, error: Exception) -> Response:
    """As FastAPI does; a person whose token does not open a page may give another one."""
    assert isinstance(error, HTTPException)
    if error.status_code == 403 and is_page(request.scope, request.headers):
        return sign_in_page(f"{error.detail.capitalize()}. Another one may.", request.scope, 403)
    return await http_exception_handler(request, error)


async def _bad_request(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    told = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in problems)
    return JSONResponse({"detail": told or str(error)}, 400)
