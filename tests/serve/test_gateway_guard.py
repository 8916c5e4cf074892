"""The door, without a socket: which token opens what, how a browser shows one, and what is refused before that."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from fastapi import Request
from fastapi.routing import APIRoute

from serve.gateway.app import create_app
from serve.gateway.body_limit import BodyLimit
from serve.gateway.hub import Hub
from serve.gateway.settings import GatewaySettings
from serve.gateway.testing import ready_board
from serve.gateway.tokens import SCOPES, TokenBook, mint, utc_now

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON = {"accept": "application/json"}
MATCHES = ("LCK/1", "LPL/1")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


@pytest.fixture
def tokens() -> dict[str, str]:
    """Text by name, filled by `settings`."""
    return {}


@pytest.fixture
def settings(tmp_path, tokens) -> GatewaySettings:
    now, book = utc_now(), TokenBook()
    wanted = {scope: {"scopes": [scope]} for scope in SCOPES}
    wanted |= {"lck": {"scopes": ["matches:read"], "matches": ("LCK/*",)}}
    wanted |= {"over": {"scopes": list(SCOPES), "expires": now - timedelta(seconds=1)}}
    for name, options in wanted.items():
        tokens[name], kept = mint(name.replace(":", "-"), options.pop("scopes"), now, **options)
        book = book.with_token(kept)
    path = tmp_path / "tokens.json"
    path.write_text(book.model_dump_json())
    path.chmod(0o600)
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>built</title>")
    (tmp_path / "assets" / "a.js").write_text("1")
    return GatewaySettings(pages=tmp_path, tokens=path, ready_wait_s=0.1)


@asynccontextmanager
async def gateway(settings: GatewaySettings, **client) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(ready_board(settings, *MATCHES), Hub(settings.max_streams), settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, **({"base_url": "http://gateway.example"} | client)) as made:
        yield made


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def all_routes() -> Iterator[tuple[str, str]]:
    """(method, path) of every HTTP route there is, with names filled in."""
    app = create_app(ready_board(GatewaySettings()), Hub(1), GatewaySettings())
    for route in app.routes:
        if isinstance(route, APIRoute):
            path = (
                re.sub(r"\{match_id:path\}", "LCK%2F1", route.path)
                .replace("{name}", "a.js")
                .replace("{camera}", "door")
            )
            yield from ((method, path) for method in route.methods)


NEEDS = {
    **dict.fromkeys(
        ("/", "/matches", "/matches/LCK%2F1", "/overlay/LCK%2F1", "/api/matches", "/api/matches/LCK%2F1",
         "/api/matches/LCK%2F1/events", "/api/stream"), "matches:read",
    ),
    **dict.fromkeys(
        ("/store", "/api/v1/store", "/api/v1/store/events", "/api/v1/store/counts", "/api/v1/store/heat",
         "/api/v1/store/flows", "/api/v1/store/cameras/door/frame"), "stores:read",
    ),
    "/api/v1/store/plan": "stores:read",  # to change it takes stores:admin: tests/serve/test_gateway_store.py
    **dict.fromkeys(
        ("/shop", "/api/v1/shop", "/api/v1/shop/items", "/api/v1/shop/events", "/api/v1/shop/figures"), "shops:read",
    ),  # to say what a shopper did takes shops:write: tests/serve/test_gateway_shop.py
    **dict.fromkeys(("/ops", "/api/ops", "/api/ops/stream", "/metrics"), "ops:read"),
    **dict.fromkeys(("/docs", "/api/openapi.json", "/a.js"), "any token"),
    **dict.fromkeys(("/livez", "/healthz", "/assets/a.js"), "none"),
}  # fmt: skip


def test_every_route_is_in_the_table() -> None:
    assert {path for _, path in all_routes()} | {"/api/openapi.json"} == set(NEEDS)


@pytest.mark.parametrize("path", [path for path in NEEDS if not path.endswith(("/events", "/stream"))])
async def test_each_route_opens_to_its_scope_alone(settings, tokens, path) -> None:
    need = NEEDS[path]
    async with gateway(settings) as client:
        told = {name: await client.get(path, headers=JSON | bearer(token)) for name, token in tokens.items()}
        for scope in SCOPES:
            opened = told[scope].status_code in (200, 307, 404)  # 404: no such file beside the page
            assert opened is (need in ("none", "any token", scope)), (scope, told[scope].status_code)
            if not opened:
                assert told[scope].status_code == 403
        without = await client.get(path, headers=JSON)
        for answer in (without, told["over"]):
            assert (answer.status_code == 401) is (need != "none")
        if need != "none":
            if path.startswith(("/api", "/metrics")):
                assert without.headers["www-authenticate"] == "Bearer"
            assert "no valid token" in without.json()["detail"]


async def test_a_token_that_holds_nothing_is_kept_in_no_cookie(settings, tokens) -> None:
    async with gateway(settings) as client:
        for token in ("%C4%80", "nonsense", tokens["over"]):
            answer = await client.get(f"/assets/a.js?token={token}")
            assert answer.status_code == 200 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/api/matches/LCK%2F1/events", "/api/stream", "/api/ops/stream"])
async def test_streams_are_refused_like_the_rest(settings, tokens, path) -> None:
    async with gateway(settings) as client:
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=bearer(tokens["stores:read"]))).status_code == 403


async def test_changing_anything_needs_admin_whatever_the_route(settings, tokens) -> None:
    async with gateway(settings) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for name in ("matches:read", "ops:read"):
                refused = await client.request(method, "/api/ops", headers=bearer(tokens[name]))
                assert refused.status_code == 403 and "ops:admin" in refused.json()["detail"]
            allowed = await client.request(method, "/api/ops", headers=bearer(tokens["ops:admin"]))
            assert allowed.status_code == 405  # no route changes anything so far


async def test_a_token_for_some_matches_sees_no_others(settings, tokens) -> None:
    async with gateway(settings, headers=bearer(tokens["lck"])) as client:
        listed = (await client.get("/api/matches")).json()["matches"]
        assert [match["id"] for match in listed] == ["LCK/1"]
        assert [m["id"] for m in (await client.get("/matches", headers=JSON)).json()["matches"]] == ["LCK/1"]
        assert (await client.get("/api/matches/LCK%2F1")).status_code == 200
        for path in ("/api/matches/LPL%2F1", "/api/matches/LPL%2F1/events", "/api/matches/LPL%2F404"):
            refused = await client.get(path)  # whether there is such a match is not told
            assert (refused.status_code, refused.json()["detail"]) == (403, "this token is for other matches")
        refused = await client.get("/matches/LPL%2F1", headers=JSON)
        assert refused.status_code == 403


async def test_the_probes_say_no_more_than_whether(settings, tokens) -> None:
    app = create_app(board := ready_board(settings), Hub(1), settings)
    board.broker.failed("match.insights", "no broker answers at kafka-7.internal", 1)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        for headers in ({}, bearer(tokens["matches:read"]), bearer("sl_nonsense")):
            answer = await client.get("/healthz", headers=headers)
            assert answer.status_code == 503 and answer.json() == {"healthy": False, "reasons": []}
        assert "kafka-7.internal" in (await client.get("/healthz", headers=bearer(tokens["ops:read"]))).text
        assert (await client.get("/livez")).text == "alive\n"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {} x", "Bearer x{}"])
async def test_a_header_that_shows_no_token_opens_nothing_not_even_with_a_cookie(
    settings, tokens, authorization
) -> None:
    token = tokens["matches:read"]
    headers = {"authorization": authorization.format(token), "cookie": f"sightline={token}"}
    async with gateway(settings) as client:
        assert (await client.get("/api/matches", headers=headers)).status_code == 401


async def test_an_address_with_a_token_becomes_a_cookie_and_an_address_without(settings, tokens) -> None:
    token = tokens["matches:read"]
    async with gateway(settings) as client:
        onward = await client.get(f"/overlay/LCK%2F1?w=800&token={token}&lang=zh", headers=HTML)
        assert onward.status_code == 200 and token not in onward.text
        assert 'content="0;url=/overlay/LCK%2F1?w=800&amp;lang=zh"' in onward.text
        assert onward.headers["cache-control"] == "no-store" and onward.headers["referrer-policy"] == "no-referrer"
        cookie = onward.headers["set-cookie"]
        assert cookie == f"sightline={token}; HttpOnly; Path=/; SameSite=strict"
        shown = await client.get("/overlay/LCK%2F1?w=800", headers=HTML)  # the client keeps cookies
        assert "built" in shown.text and "set-cookie" not in shown.headers
        assert (await client.get("/api/matches/LCK%2F1")).status_code == 200
        assert (await client.get("/api/ops")).status_code == 403


async def test_over_tls_the_cookie_is_bound_to_host_and_tls(settings, tokens) -> None:
    async with gateway(settings, base_url="https://gateway.example") as client:
        onward = await client.get(f"/?token={tokens['matches:read']}", headers=HTML)
        assert onward.headers["set-cookie"].startswith("__Host-sightline=sl_")
        assert onward.headers["set-cookie"].endswith("; HttpOnly; Path=/; SameSite=strict; Secure")
        assert onward.headers["strict-transport-security"] == "max-age=31536000"
        plain = {"cookie": f"sightline={tokens['matches:read']}"}  # a neighbour without TLS may have planted that
    async with gateway(settings, base_url="https://gateway.example") as client:
        assert (await client.get("/api/matches", headers=plain)).status_code == 401
    async with gateway(settings, base_url="https://localhost:8600") as client:
        assert "strict-transport-security" not in (await client.get("/livez")).headers


async def test_programs_may_put_the_token_in_the_address_of_a_get(settings, tokens) -> None:
    token = tokens["matches:read"]
    async with gateway(settings) as client:
        answer = await client.get(f"/api/matches?token={token}&title=lol")
        assert len(answer.json()["matches"]) == 2 and "set-cookie" not in answer.headers
        assert (await client.get(f"/api/matches?token={token}&sort=x")).status_code == 400
        page = await client.get(f"/matches/LCK%2F1?token={token}", headers=JSON)
        assert page.json()["id"] == "LCK/1" and "set-cookie" not in page.headers
        moved = await client.get(f"/matches?token={token}&x=1", headers=JSON)
        assert moved.status_code == 200
        posted = await client.post(f"/api/matches?token={tokens['ops:admin']}")
        assert posted.status_code == 401


async def test_no_route_sees_a_token_in_an_address(settings, tokens) -> None:
    app, seen = create_app(ready_board(settings), Hub(1), settings), []

    @app.get("/api/seen")
    async def look(request: Request) -> None:
        seen.append(str(request.url))

    app.router.routes.insert(0, app.router.routes.pop())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        await client.get(f"/api/seen?a=1&token={tokens['ops:read']}&b=%20%C3%A9")
    assert seen == ["http://x/api/seen?a=1&b=+%C3%A9"]


async def test_a_person_without_a_token_is_asked_for_one(settings, tokens) -> None:
    async with gateway(settings) as client:
        asked = await client.get("/ops?x=1&token=wrong", headers=HTML)
        assert asked.status_code == 401 and 'name="next" value="/ops?x=1"' in asked.text
        assert asked.headers["referrer-policy"] == "same-origin" and asked.headers["cache-control"] == "no-store"
        assert "<script" not in asked.text and "style" not in asked.text
        form = {"token": f" {tokens['ops:read']}\n", "next": "/ops?x=1"}
        came = {"origin": "http://gateway.example", "sec-fetch-site": "same-origin"}
        wrong = await client.post("/session", data=form | {"token": "x"}, headers=came)
        assert wrong.status_code == 401 and 'name="next" value="/ops?x=1"' in wrong.text
        opened = await client.post("/session", data=form, headers=came)
        assert (opened.status_code, opened.headers["location"]) == (303, "/ops?x=1")
        assert (await client.get("/ops?x=1", headers=HTML)).status_code == 200
        other = await client.get("/", headers=HTML)
        assert other.status_code == 403 and "no scope matches:read" in other.text and "<form" in other.text


@pytest.mark.parametrize(
    ("form", "headers", "code"),
    [
        ({"token": "wrong", "next": "/ops"}, {}, 401),
        ({"next": "/ops"}, {}, 401),
        ({}, {}, 401),
        ({"token": "{}", "next": "/ops"}, {"origin": "http://elsewhere.example"}, 403),
        ({"token": "{}", "next": "/ops"}, {"origin": "null"}, 403),
        ({"token": "{}", "next": "//elsewhere.example"}, {}, 303),
        ({"token": "x" * 70_000}, {}, 413),
        ({str(n): "x" for n in range(5)}, {}, 400),
    ],
)
async def test_what_the_form_may_say(settings, tokens, form, headers, code) -> None:
    data = {name: value.format(tokens["ops:read"]) for name, value in form.items()}
    async with gateway(settings) as client:
        answer = await client.post("/session", data=data, headers=headers)
        assert answer.status_code == code
        assert answer.headers.get("location", "/elsewhere.example") == "/elsewhere.example"
        assert ("set-cookie" in answer.headers) is (code == 303)


async def test_over_video_nobody_is_asked_for_anything(settings) -> None:
    async with gateway(settings) as client:
        quiet = await client.get("/overlay/LCK%2F1", headers=HTML)
    body = re.sub(r"<title>.*?</title>", "", quiet.text)
    assert quiet.status_code == 401 and re.sub(r"<[^>]*>", "", body).strip() == ""


async def test_whoever_follows_a_link_is_led_on_from_here_so_that_the_cookie_comes_along(settings, tokens) -> None:
    followed = HTML | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    async with gateway(settings) as client:
        onward = await client.get("/ops?x=1", headers=followed)
        assert onward.status_code == 200 and 'content="0;url=/ops?x=1"' in onward.text
        assert "set-cookie" not in onward.headers
        again = HTML | {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
        assert (await client.get("/ops?x=1", headers=again)).status_code == 401  # no cookie: asked, not led in circles


async def test_pages_from_elsewhere_get_nothing_unless_allowed(settings, tokens) -> None:
    headers = bearer(tokens["matches:read"])
    here, there = {"origin": "http://gateway.example"}, {"origin": "https://studio.example"}
    ask = there | {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    async with gateway(settings) as client:
        assert (await client.get("/api/matches", headers=headers | here)).status_code == 200
        refused = await client.get("/api/matches", headers=headers | there)
        assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers
        assert (await client.options("/api/matches", headers=ask)).status_code == 403
    allowing = settings.model_copy(update={"cors_origins": "https://studio.example, http://b.example:1"})
    async with gateway(allowing) as client:
        allowed = await client.get("/api/matches", headers=headers | there)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://studio.example"
        assert "access-control-allow-credentials" not in allowed.headers  # no cookies: a token of its own
        preflight = await client.options("/api/matches", headers=ask)
        assert preflight.status_code == 200 and preflight.headers["access-control-allow-methods"] == "GET"
        denied = await client.get("/api/matches", headers=there)
        assert denied.status_code == 401 and "access-control-allow-origin" in denied.headers  # a page can read why
        other = {"origin": "https://evil.example"}
        assert (await client.get("/api/matches", headers=headers | other)).status_code == 403


async def test_open_on_this_machine_answers_to_its_names_alone(settings) -> None:
    alone = settings.model_copy(update={"tokens": None})
    async with gateway(alone) as client:
        rebound = await client.get("/api/matches")  # a page elsewhere whose name was made to mean 127.0.0.1
        assert rebound.status_code == 421 and "not to 'gateway.example'" in rebound.json()["detail"]
        assert (await client.get("/livez")).status_code == 421
    async with gateway(alone, base_url="http://127.0.0.1:8600") as client:
        assert (await client.get("/api/ops")).status_code == 200
        assert (await client.post("/session")).status_code == 405  # nothing to sign in to
    async with gateway(alone.model_copy(update={"open": True})) as client:
        assert (await client.get("/api/ops")).status_code == 200


async def test_too_many_requests_of_one_client(settings, tokens) -> None:
    few = settings.model_copy(update={"rate_per_s": 0.001, "rate_burst": 2})
    async with gateway(few) as client:
        one, other = bearer(tokens["matches:read"]), bearer(tokens["lck"])
        codes = [(await client.get("/api/matches", headers=one)).status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        refused = await client.get("/api/matches", headers=one)
        assert 900 < int(refused.headers["retry-after"]) <= 1000 and "too many requests" in refused.json()["detail"]
        assert (await client.get("/api/matches", headers=other)).status_code == 200  # a token has its own share
        guesses = [(await client.get("/api/matches", headers=bearer(f"sl_{n}"))).status_code for n in range(3)]
        assert guesses == [401, 401, 429]  # and so has the address of those without one
        assert [(await client.get(path)).status_code for path in ("/livez", "/healthz")] == [200, 200]


def test_shares_of_streams_are_counted_by_client() -> None:
    hub = Hub(max_streams=3, max_streams_per_client=1)
    with hub.stream("a"):
        assert hub.has_its_share("a") and not hub.has_its_share("b") and not hub.full
        with hub.stream("b"), hub.stream("c"):
            assert hub.full
    assert not hub.has_its_share("a") and hub.open_streams == 0


async def test_a_client_with_its_share_of_streams_is_told_so(settings, tokens) -> None:
    hub = Hub(5, max_streams_per_client=1)
    app = create_app(ready_board(settings), hub, settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        with hub.stream("token matches-read"):
            refused = await client.get("/api/stream", headers=bearer(tokens["matches:read"]))
    assert refused.status_code == 429 and refused.headers["retry-after"] == "10"
    assert refused.json()["detail"].startswith("token matches-read has as many streams open")


async def sent(app, body: list[bytes | None], **headers: str) -> tuple[int | None, list[bytes]]:
    """Status of the answer to a request whose body comes in these pieces; None stands for silence."""
    answers: list[int] = []
    pieces = list(body)

    async def receive() -> dict:
        if not pieces or pieces[0] is None:
            await asyncio.sleep(3600)
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            answers.append(message["status"])

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive, send)
    return (answers[0] if answers else None), pieces


async def test_bodies_have_a_size_and_a_time() -> None:
    heard: list[bytes] = []

    async def reads_all(scope, receive, send) -> None:
        more = True
        while more:
            message = await receive()
            heard.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = BodyLimit(reads_all, max_bytes=10, timeout_s=0.05)
    assert (await sent(app, [b"12345", b"67890"]))[0] == 200
    assert (await sent(app, [b"12345", b"678901", b"never read"])) == (413, [b"never read"])
    assert (await sent(app, [b"never read"], content_length="11")) == (413, [b"never read"])
    assert (await sent(app, [b"never read"], content_length="9" * 5000)) == (413, [b"never read"])
    for nonsense in ("-1", "x", "²", ""):
        assert (await sent(app, [b"never read"], content_length=nonsense))[0] == 413
    assert (await sent(app, [b"1", None]))[0] == 408
    assert heard == [b"12345", b"67890", b"12345", b"1"]


async def test_an_error_of_the_application_stays_one() -> None:
    async def breaks(scope, receive, send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await sent(BodyLimit(breaks, max_bytes=10), [b""])


async def test_every_answer_has_the_headers_an_error_of_ours_too(settings, tokens) -> None:
    app = create_app(ready_board(settings), Hub(1), settings)

    @app.get("/api/broken")
    async def broken() -> None:
        raise ZeroDivisionError

    app.router.routes.insert(0, app.router.routes.pop())  # before the one that takes every name
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://x", headers=bearer(tokens["ops:read"])
    ) as client:
        answers = {
            500: await client.get("/api/broken"),
            401: await client.get("/api/ops", headers=bearer("x")),
            403: await client.get("/api/matches"),
            404: await client.get("/none.txt"),
            405: await client.request("OPTIONS", "/api/ops"),
            413: await client.post("/session", content=b"x" * 70_000),
        }
    for code, answer in answers.items():
        assert answer.status_code == code
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"


async def test_openapi_says_how_to_show_a_token(settings, tokens) -> None:
    async with gateway(settings) as client:
        schema = (await client.get("/api/openapi.json", headers=bearer(tokens["ops:read"]))).json()
    assert schema["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    for operations in schema["paths"].values():
        assert {"401", "403", "429"} <= set(operations["get"]["responses"])
