"""The routes, without a socket: what they answer, to whom, and how they refuse."""

import gzip
import re
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.addresses import read_id, written_id
from serve.gateway.app import create_app
from serve.gateway.board import TOPICS, Board
from serve.gateway.hub import Hub
from serve.gateway.pages import Pages, prefers_json
from serve.gateway.rows import answer_rows
from serve.gateway.schemas import STREAMED, MatchDetail, MatchList, Ops
from serve.gateway.settings import GatewaySettings
from serve.gateway.streams import now_ms
from serve.gateway.testing import event_row, frame_of, insight_row, ready_board
from streaming.features.match import validate

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path) -> GatewaySettings:
    pages = tmp_path / "dist"
    (pages / "assets").mkdir(parents=True)
    (pages / "index.html").write_text("<!doctype html><title>built</title>")
    (pages / "assets" / "main-abc123.js").write_text("export const x = 1;\n" * 200)
    (pages / "icon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("no")
    return GatewaySettings(pages=pages, ready_wait_s=0.1)


@pytest.fixture
def board(settings) -> Board:
    return ready_board(settings)


@pytest.fixture
async def client(board, settings):
    app = create_app(board, Hub(settings.max_streams), settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


async def test_matches_and_one_match(client) -> None:
    listed = MatchList.model_validate_json((await client.get("/api/matches")).content)
    assert [match.id for match in listed.matches] == ["m1"] and listed.broker.ready
    response = await client.get("/api/matches/m1")
    detail = MatchDetail.model_validate_json(response.content)
    assert (len(detail.curve), len(detail.events), detail.last_id) == (3, 1, "0-2.0-0")
    assert response.headers["cache-control"] == "no-store"
    assert (await client.get("/api/matches", params={"title": "hok"})).json()["matches"] == []


@pytest.mark.parametrize(
    ("path", "code", "detail"),
    [
        ("/api/matches/x", 404, "no match 'x'; /api/matches lists those there are"),
        ("/matches/x", 404, "no match 'x'; /api/matches lists those there are"),
        ("/api/matches/x/events", 404, "no match 'x'; /api/matches lists those there are"),
        ("/api/matches/" + "x" * 129, 400, "match_id: String should have at most 128 characters"),
        ("/api/matches/m1/events?last_id=oops", 400, "last id 'oops' is not a position such as 2-1045.1-8310"),
        ("/api/matches?sort=best", 400, "sort: Input should be 'closest' or 'swing'"),
        ("/api/matches?status=dead", 400, "status: Input should be 'live', 'ended' or 'void'"),
        ("/nothing.txt", 404, "nothing at 'nothing.txt'"),
        ("/assets/../../secret.txt", 404, None),
        ("/assets/%2e%2e%2f%2e%2e%2fsecret.txt", 404, None),
        ("/..%2fsecret.txt", 404, None),
    ],
)
async def test_refusals_are_one_line_of_json(client, path, code, detail) -> None:
    response = await client.get(path, headers={"accept": "application/json"})
    assert response.status_code == code
    told = response.json()["detail"]
    assert "\n" not in told and (detail is None or told == detail)


async def test_last_event_id_header_is_checked_too(client) -> None:
    response = await client.get("/api/matches/m1/events", headers={"last-event-id": "?"})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("application/json", True),
        ("application/json;q=0.9,text/html;q=0.8", True),
        ("application/*", True),
        (HTML, False),
        ("*/*", False),
        ("", False),
        ("application/json,text/html", False),
        ("text/*;q=0.5, application/json;q=0.4", False),
        ("*/*;q=0.1, text/html;q=0", True),
        ("application/json;q=broken", False),
    ],
)
def test_who_gets_json(accept: str, json: bool) -> None:
    assert prefers_json(accept) is json


async def test_the_same_address_is_a_page_or_json(client) -> None:
    page = await client.get("/matches/m1", headers={"accept": HTML})
    assert "built" in page.text and page.headers["vary"] == "Accept" and page.headers["cache-control"] == "no-cache"
    answer = await client.get("/matches/m1", headers={"accept": "application/json"})
    assert answer.json()["id"] == "m1" and answer.headers["vary"].startswith("Accept")
    assert (await client.get("/matches", headers={"accept": HTML})).headers["location"] == "/"
    listed = await client.get("/matches?status=live", headers={"accept": "application/json"})
    assert [match["id"] for match in listed.json()["matches"]] == ["m1"]


@pytest.mark.parametrize("path", ["/", "/ops", "/docs", "/overlay/m1", "/matches/unknown", "/matches/LCK%2F1"])
async def test_pages(client, path) -> None:
    page = await client.get(path, headers={"accept": HTML})
    assert page.status_code == 200 and "built" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy and page.headers["x-content-type-options"] == "nosniff"
    assert policy.endswith("frame-ancestors 'none'")


async def test_assets_are_kept_for_ever_and_compressed(client) -> None:
    request = client.build_request("GET", "/assets/main-abc123.js", headers={"accept-encoding": "gzip"})
    response = await client.send(request, stream=True)
    body = b"".join([chunk async for chunk in response.aiter_raw()])
    assert response.headers["content-encoding"] == "gzip" and len(body) < 200
    assert gzip.decompress(body).startswith(b"export const x")
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await client.get("/icon.svg")).headers["cache-control"] == "no-cache"


def test_only_plain_names_are_files(settings) -> None:
    pages = Pages(settings.pages)
    assert pages.asset("main-abc123.js") is not None
    for name in ("../index.html", "../../secret.txt", "/etc/passwd", "..", ".", "", "a\x00b", "x" * 200):
        assert pages.asset(name) is None and pages.root_file(name) is None


async def test_pages_that_are_not_built_say_how(settings, board, tmp_path) -> None:
    settings = settings.model_copy(update={"pages": tmp_path / "none"})
    app = create_app(board, Hub(1), settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        page = await client.get("/")
        assert page.status_code == 503 and "make pages" in page.text
        assert (await client.get("/assets/x.js")).status_code == 404


async def test_health_ops_and_metrics_agree(client, board) -> None:
    assert (await client.get("/livez")).text == "alive\n"
    assert (await client.get("/healthz")).json() == {"healthy": True, "reasons": []}
    board.broker.failed(TOPICS[0], "no broker answers", now_ms())
    response = await client.get("/healthz")
    assert response.status_code == 503 and "waiting for Kafka: unreachable since" in response.json()["reasons"][0]
    ops = Ops.model_validate_json((await client.get("/api/ops")).content)
    assert not ops.healthy and ops.reasons == response.json()["reasons"]
    metrics = await client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert re.search(r"^sightline_broker_reachable 0\.0$", metrics.text, re.M)


async def test_a_gateway_that_still_reads_back_asks_for_patience(settings) -> None:
    app = create_app(Board(settings, now_ms()), Hub(1), settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        response = await client.get("/api/matches/m1")
        assert response.status_code == 503 and response.headers["retry-after"] == "2"
        assert response.json()["detail"] == "not ready: connecting"
        listed = (await client.get("/api/matches")).json()  # the wall says so itself
        assert listed["matches"] == [] and not listed["broker"]["ready"]


async def test_no_more_streams_than_allowed(settings, board) -> None:
    hub = Hub(max_streams=1)
    app = create_app(board, hub, settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        with hub.stream():
            response = await client.get("/api/stream")
        assert response.status_code == 503 and "1 streams are open" in response.json()["detail"]
        assert hub.open_streams == 0


async def test_openapi_is_complete_and_needs_no_network(client) -> None:
    schema = (await client.get("/api/openapi.json")).json()
    assert {"/api/matches", "/api/matches/{match_id}/events", "/api/ops", "/metrics", "/healthz"} <= set(
        schema["paths"]
    )
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            assert "422" not in operation["responses"]
    named = set(re.findall(r"#/components/schemas/(\w+)", str(schema)))
    assert named <= set(schema["components"]["schemas"])
    streamed = {model.__name__ for model in STREAMED}
    assert streamed <= set(schema["components"]["schemas"])
    assert "/api/matches/{id}/events" in schema["info"]["description"]


IDS = [
    "LCK/2024/1", "..", ".", "~..", "a b", "100%", "%2e%2e", "é中文😀", "x", "x/events", "x/ws", "x%2Fevents", "a/../b",
    "/", "m1/", "\\", "?q#f", "\n", "\x00", "~x", "a+b&c=d;e,f", "'\"<script>", "😀" * 32,
]  # fmt: skip


async def test_every_id_that_is_accepted_has_a_page_and_an_api(settings) -> None:
    assert validate(frame_of([event_row(name, 1) for name in IDS]))["_reject"].is_null().all()
    board = ready_board(settings)
    board.apply_insights(
        answer_rows(frame_of([insight_row(name, 0) for name in IDS]), 0, np.arange(len(IDS))), now_ms()
    )
    app = create_app(board, Hub(1), settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for name in IDS:
            for path in (f"/api/matches/{written_id(name)}", f"/matches/{written_id(name)}"):
                answer = await client.get(path, headers={"accept": "application/json"})
                assert answer.status_code == 200 and answer.json()["id"] == name, path
            for path in (f"/matches/{written_id(name)}", f"/overlay/{written_id(name)}"):
                assert "built" in (await client.get(path, headers={"accept": HTML})).text, path
            refused = await client.get(f"/api/matches/{written_id(name)}/events?last_id=oops")
            assert refused.status_code == 400  # the stream is there: it is the position that is none
        assert (await client.get("/api/matches/LCK/2024/1")).json()["id"] == "LCK/2024/1"
        assert (await client.get("/api/matches/%FF")).status_code == 404


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_an_id_in_an_address_reads_back(name: str) -> None:
    segment = written_id(name)
    assert "/" not in segment and unquote(segment) not in (".", "..")
    assert read_id(segment) == name
