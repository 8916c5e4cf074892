"""Every route against whatever may be sent: no error of ours, all headers there, and answers as they are declared.

Two ways: requests made of raw bytes, for all routes, those of the pages too; and, where schemathesis is installed,
requests made from the OpenAPI document, whose answers it checks against it. Both say how many they tried.
"""

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import quote_from_bytes, unquote

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from starlette.routing import Match

from serve.gateway.app import create_app
from serve.gateway.hub import Hub
from serve.gateway.settings import GatewaySettings
from serve.gateway.shop.board import TOPICS as SHOP_TOPICS
from serve.gateway.shop.service import ShopService
from serve.gateway.store.board import TOPICS
from serve.gateway.store.service import StoreFiles, StoreService
from serve.gateway.testing import RowLog, ready_board
from serve.gateway.tokens import SCOPES, TokenBook, mint, utc_now
from tests.store_site import write

IDS = ("m1", "LCK/2024/1", "..", "é中", "%2f", "a b")
RAW_EXAMPLES, DECLARED_EXAMPLES = 40, 25  # of a route
QUIET = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much)

STREAMS = {
    "GET /api/matches/{match_id}/events", "GET /api/stream", "GET /api/ops/stream", "GET /api/v1/store/events",
    "GET /api/v1/shop/events",
}  # fmt: skip
"""Declared as text; schemathesis reads each event as an object, for which OpenAPI 3.1 has no words."""

MORE_IS_ASKED = {"PUT /api/v1/store/plan", "POST /api/v1/shop/events"}
"""An object as JSON has it is not yet a plan, and which version it replaces nobody can guess; what an event needs hangs
on its kind."""

CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "positive_data_acceptance",
]  # fmt: skip
"""Not `negative_data_rejection`: of a parameter given twice the last one counts, and that is meant."""

ASSURED = ("content-security-policy", "x-content-type-options", "referrer-policy", "cross-origin-opener-policy")


def gateway(settings: GatewaySettings) -> FastAPI:
    hub = Hub(settings.max_streams)
    hub.close()  # streams say what there is, and end
    board = ready_board(settings, *IDS)
    assert settings.audit is not None
    store = StoreService(settings, StoreFiles(write(settings.audit.parent)), board.pipelines, None, 0)
    for topic in TOPICS:
        store.board.broker.read(topic, 0)
        store.board.broker.caught_up(topic)
    feeds = RowLog().feeds().shop
    assert feeds is not None
    shop = ShopService(settings, feeds, board.pipelines, 0)
    for topic in SHOP_TOPICS:
        shop.board.broker.read(topic, 0)
        shop.board.broker.caught_up(topic)
    return create_app(board, hub, settings, store, shop)


@pytest.fixture(params=["open", "with tokens"])
def settings(request, tmp_path) -> GatewaySettings:
    (tmp_path / "index.html").write_text("<title>built</title>")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.js").write_text("1")
    common = {"pages": tmp_path, "ready_wait_s": 0.0, "rate_per_s": 1e9, "rate_burst": 1_000_000_000}
    common |= {"shop_events_per_s": 1e9, "shop_events_burst": 1_000_000_000}
    common["audit"] = tmp_path / "audit.jsonl"
    if request.param == "open":
        return GatewaySettings(open=True, **common)
    path = tmp_path / "tokens.json"
    path.write_text(TokenBook(tokens=(_TOKEN[1],)).model_dump_json())
    path.chmod(0o600)
    return GatewaySettings(tokens=path, **common)


@pytest.fixture
def say(capsys) -> Callable[[str], None]:
    def said(words: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\nfuzz of the gateway, {words}\n")

    return said


_TOKEN = mint("fuzz", SCOPES, utc_now())

VISIBLE = st.characters(min_codepoint=33, max_codepoint=126)  # uvicorn refuses any other in an address

pieces = st.one_of(
    st.sampled_from([quote_from_bytes(name.encode(), safe="") for name in IDS]),
    st.sampled_from(["m1", "..", ".", "", "events", "ws", "a.js", "%", "%2", "%zz", "%00", "%FF", "%2F", "~..", "*"]),
    st.binary(max_size=12).map(lambda raw: quote_from_bytes(raw, safe="")),
    st.text(VISIBLE, max_size=8).map(lambda raw: raw.replace("?", "").replace("#", "")),
)
wild_paths = st.lists(pieces, max_size=4).map(lambda parts: "/" + "/".join(parts))
texts = st.one_of(st.sampled_from(["", "lol", "live", "swing", "0-1.0-0", "9" * 30]), st.text(max_size=12))
pairs = st.tuples(st.sampled_from(["title", "league", "status", "sort", "last_id", "token", "w"]), texts)
queries = st.lists(st.one_of(pairs, st.just(("token", _TOKEN[0]))), max_size=3).map(
    lambda pairs: "&".join(f"{name}={quote_from_bytes(value.encode('utf-8', 'replace'))}" for name, value in pairs)
)
queries = st.one_of(queries, st.text(VISIBLE, max_size=20))
names = st.sampled_from(
    [b"accept", b"authorization", b"cookie", b"origin", b"last-event-id", b"content-length", b"sec-fetch-site",
     b"sec-fetch-mode", b"accept-encoding", b"access-control-request-method", b"x-forwarded-for"]
)  # fmt: skip
values = st.one_of(
    st.sampled_from(
        [b"application/json", b"text/html", b"*/*;q=x", b"gzip", b"5", b"-1", b"99999999", b"cross-site", b"navigate",
         b"http://localhost", b"null", b"http://[", f"Bearer {_TOKEN[0]}".encode(), f"sightline={_TOKEN[0]}".encode()]
    ),
    st.binary(max_size=16),
)  # fmt: skip


def requests(paths: st.SearchStrategy[str], method: str = "GET") -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries(
        {
            "method": st.one_of(st.just(method), st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "BREW"])),
            "path": paths,
            "query": queries,
            "headers": st.lists(st.tuples(names, values), max_size=4),
            "known": st.booleans(),
            "body": st.lists(st.binary(max_size=40), min_size=1, max_size=3),
        }
    )


def paths_of(route: str) -> st.SearchStrategy[str]:
    """Addresses of a route, with anything where it takes a name."""
    stem, brace, rest = route.partition("{")
    end = rest.partition("}")[2]
    return pieces.map(lambda piece: stem + piece + end) if brace else st.just(route)


async def answered(app: FastAPI, request: dict) -> tuple[int, dict[str, str], bytes, dict]:
    """Status, headers and body of one answer, and the request as the application was given it."""
    headers = [(b"host", b"localhost"), *request["headers"]]
    if request["known"]:
        headers.append((b"authorization", f"Bearer {_TOKEN[0]}".encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": request["method"],
        "path": unquote(request["path"]),
        "raw_path": request["path"].encode("latin-1"),
        "query_string": request["query"].encode("latin-1"),
        "root_path": "",
        "headers": headers,
        "client": ("10.0.0.1", 1),
        "server": ("localhost", 80),
        "state": {},
    }
    body, told = list(request["body"]), []

    async def receive() -> dict:
        if not body:
            await asyncio.Event().wait()  # the client stays
        piece = body.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(body)}

    async def send(message) -> None:
        told.append(message)

    await app(scope, receive, send)
    start, *rest = told
    got = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], got, b"".join(message.get("body", b"") for message in rest), scope


def route_of(app: FastAPI, scope: dict) -> str | None:
    for route in app.routes:
        if isinstance(route, APIRoute) and route.matches(scope)[0] is Match.FULL:
            return route.path
    return None


def test_no_request_made_of_bytes_breaks_anything(settings, say) -> None:
    app, tried, codes = gateway(settings), Counter(), Counter()
    routes = {route.path: min(route.methods) for route in app.routes if isinstance(route, APIRoute)}
    targets = [requests(wild_paths), *(requests(paths_of(path), method) for path, method in routes.items())]
    with asyncio.Runner() as runner:
        for made in targets:

            @examples(max_examples=RAW_EXAMPLES, deadline=None, database=None, suppress_health_check=QUIET)
            @given(made)
            def send(request: dict) -> None:
                status, headers, body, scope = runner.run(answered(app, request))
                tried[route_of(app, scope)] += 1
                codes[status] += 1
                assert status < 500, (status, body)
                assert set(ASSURED) <= headers.keys()
                assert _TOKEN[0].encode() not in body
                assert "\n" not in headers.get("location", "") and not headers.get("location", "/").startswith("//")
                if status >= 400 and "json" in headers["content-type"] and "content-encoding" not in headers:
                    detail = json.loads(body)["detail"]
                    assert isinstance(detail, str) and "\n" not in detail

            send()
    assert routes.keys() <= tried.keys()
    assert {200, 404} <= codes.keys()
    say(f"raw requests: {tried.total():,} tried over {len(routes)} routes, answers {dict(sorted(codes.items()))}")


def test_no_request_made_from_the_document_gets_an_answer_that_is_not_in_it(settings, say) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from schemathesis import checks
    from schemathesis.specs.openapi.checks import positive_data_acceptance, response_schema_conformance

    checks.load_all_checks()
    wanted = checks.CHECKS.get_by_names(CHECKS)
    app, tried = gateway(settings), Counter()
    headers = {"host": "localhost", "authorization": f"Bearer {_TOKEN[0]}"}
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=headers)
    for operation in operations(schema):
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

            @examples(max_examples=DECLARED_EXAMPLES, deadline=None, database=None, suppress_health_check=QUIET)
            @given(operation.as_strategy(generation_mode=mode))
            def send(case) -> None:
                tried[case.operation.label] += 1
                unchecked = [response_schema_conformance] if case.operation.label in STREAMS else []
                if case.operation.label in MORE_IS_ASKED:
                    unchecked.append(positive_data_acceptance)
                case.call_and_validate(headers=headers, checks=wanted, excluded_checks=unchecked)

            with contextlib.suppress(Unsatisfiable):  # a route that takes nothing can be given nothing wrong
                send()
    assert len(tried) == sum(1 for _ in operations(schema))
    say(f"schemathesis: {tried.total():,} requests over {len(tried)} operations, all answers as declared")


def operations(schema) -> Iterator:
    for found in schema.get_all_operations():
        yield found.ok()
