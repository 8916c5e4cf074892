"""The shop's routes and streams: what they tell, what they refuse, what they write, and what offers were worth."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.app import create_app
from serve.gateway.hub import Hub
from serve.gateway.position import ShopPosition
from serve.gateway.settings import GatewaySettings
from serve.gateway.shop.board import ShopBoard
from serve.gateway.shop.figures import Material, fitting_step_s, shop_figures
from serve.gateway.shop.rows import ANSWER_COLUMNS, answer_rows, event_rows
from serve.gateway.shop.schemas import ItemList, ShopFigures, ShopState
from serve.gateway.shop.service import ShopService
from serve.gateway.shop.streams import catalogue_feed, shop_stream
from serve.gateway.shop.window import Window
from serve.gateway.shop.words import MAX_TITLE_CHARS, Cause, reason_words
from serve.gateway.shop.writing import EventWriter, NotWritten
from serve.gateway.testing import RowLog, Site, encoded, ready_board
from serve.gateway.tokens import TokenBook, mint, utc_now
from streaming.codec import Decoder, PackagedRegistry
from streaming.records import OffsetRange, Records
from streaming.topics import ITEM_CATALOGUE, SESSION_RECOMMENDATIONS, USER_SESSIONS, Topic
from tests.shop_feed import item
from tests.shop_site import answer, event, goods_rows, now_ms, service_of, stock, take_out, tell_answers, tell_events
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio

ITEMS = [
    item("red", title="Red kettle", category="Kitchen > kettles", price=20.0),
    item("blue", title="Blue kettle", category="Kitchen > kettles", price=25.0),
    item("rug", title="Warm rug", category="Home > rugs"),
    item("gone", title="Gone", category="Home > rugs", withdrawn=True),
    item("sold", title="Sold out", category="Home > rugs", in_stock=False),
]


@pytest.fixture
def settings(tmp_path) -> GatewaySettings:
    (tmp_path / "index.html").write_text("<title>built</title>")
    return GatewaySettings(pages=tmp_path, shop=True, ready_wait_s=0.1, heartbeat_s=0.02)


@pytest.fixture
def log() -> RowLog:
    return RowLog()


@pytest.fixture
def service(settings, log) -> ShopService:
    stock(log, ITEMS)
    made = service_of(settings, log, ready=True)
    read_catalogue(made, log)
    return made


def read_catalogue(service: ShopService, log: RowLog) -> set[str]:
    """What a follower of the catalogue does."""
    start = service.board.catalogue.position
    wanted = OffsetRange(0, start, log.end(ITEM_CATALOGUE.name, 0))
    feeds = log.feeds().shop
    assert feeds is not None
    catalogue_feed(feeds, service.board).decode(log.slice(ITEM_CATALOGUE.name, wanted))
    return service.board.apply_catalogue()


def decoded(topic: Topic, *rows: dict[str, Any]) -> pl.DataFrame:
    assert topic.schema is not None
    values = encoded(topic, rows)
    return Decoder(topic.schema, PackagedRegistry()).decode(Records.of([None] * len(values), values)).frame


def answered(service: ShopService, *rows: dict[str, Any]) -> set[str]:
    return service.board.apply_answers(answer_rows(decoded(SESSION_RECOMMENDATIONS, *rows)), now_ms())


def happened(service: ShopService, *rows: dict[str, Any]) -> None:
    service.board.apply_events(event_rows(decoded(USER_SESSIONS, *rows), now_ms()), now_ms())


@asynccontextmanager
async def client_of(service: ShopService | None, settings: GatewaySettings, **options):
    app = create_app(ready_board(settings), Hub(settings.max_streams), settings, None, service)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", **options) as client:
        yield client


async def test_the_shop_now(service, settings) -> None:
    async with client_of(service, settings) as client:
        state = ShopState.model_validate_json((await client.get("/api/v1/shop")).content)
        page = await client.get("/shop")
    assert (state.items, state.last_id) == (3, "5")
    assert [(one.name, one.items) for one in state.categories] == [("Home > rugs", 1), ("Kitchen > kettles", 2)]
    assert page.status_code == 200 and "built" in page.text


@pytest.mark.parametrize(
    ("query", "total", "ids"),
    [
        ("", 3, {"red", "blue", "rug"}),
        ("category=Kitchen > kettles", 2, {"red", "blue"}),
        ("category=Kitchen", 0, set()),
        ("search=KETTLE blue", 1, {"blue"}),
        ("search=home", 1, {"rug"}),
        ("search=gone", 0, set()),
        ("limit=1&start=3", 3, set()),
    ],
)
async def test_only_what_may_be_offered_is_listed(service, settings, query, total, ids) -> None:
    async with client_of(service, settings) as client:
        found = ItemList.model_validate_json((await client.get(f"/api/v1/shop/items?{query}")).content)
    assert (found.total, {one.item_id for one in found.items}) == (total, ids)


async def test_pages_of_the_catalogue_have_each_item_once(settings, log) -> None:
    stock(log, goods_rows(48))
    service = service_of(settings, log, ready=True)
    read_catalogue(service, log)
    pages = [service.items("", "", start, 10).items for start in range(0, 60, 10)]
    ids = [one.item_id for page in pages for one in page]
    assert len(ids) == 48 == len(set(ids))
    assert len({one.category for one in pages[0]}) > 4, "categories are mixed"


@pytest.mark.parametrize(
    ("path", "code", "detail"),
    [
        ("/api/v1/shop/events?last_id=oops", 400, "last id 'oops' is not a position such as 5021"),
        ("/api/v1/shop/items?limit=101", 400, "limit: Input should be less"),
        ("/api/v1/shop/figures?minutes=0", 400, "minutes: Input should be greater"),
    ],
)
async def test_refusals_are_one_line_of_json(service, settings, path, code, detail) -> None:
    async with client_of(service, settings) as client:
        response = await client.get(path)
    assert response.status_code == code and detail in response.json()["detail"]


async def test_without_the_setting_there_is_no_shop(settings) -> None:
    async with client_of(None, settings) as client:
        for path in ("", "/items", "/events", "/figures"):
            response = await client.get("/api/v1/shop" + path)
            assert response.status_code == 404 and "gateway.shop = true" in response.json()["detail"]
        assert (await client.post("/api/v1/shop/events", json={"session_id": "s", "kind": "view"})).status_code == 404


# What is offered


async def test_an_offer_has_what_may_be_offered_with_its_reason_in_both_languages(service) -> None:
    service.board.look("me", now_ms())
    more = {
        "reason_of": [0, 1, 1, 3],
        "reason_items": ["rug", "blue", "rug", ""],
        "reason_kinds": ["view", "cart", "view", "new"],
        "reason_shares": [1.0, 0.6, 0.4, 0.0],
    }
    told = answered(service, answer("me", ["blue", "red", "gone", "never heard of"], "rug", **more))
    assert told == {"\x00shop\x00me"}
    newest = service.board.newest("me")
    assert newest is not None
    offer = service.board.offer(newest)
    assert [one.item.title for one in offer.items] == ["Blue kettle", "Red kettle"]
    assert [one.why_en for one in offer.items] == [
        "Because you just looked at \u2068Warm rug\u2069.",
        "Because you put \u2068Blue kettle\u2069 in your basket.",
    ]
    assert offer.items[1].why_zh == "因为您把\u2068Blue kettle\u2069加入了购物篮。"
    assert [(one.kind, one.item_id, one.share) for one in offer.items[1].reasons] == [
        ("cart", "blue", 0.6),
        ("view", "rug", 0.4),
    ]


def test_reasons_in_words() -> None:
    cup, pan = Cause("the <b>cup</b>", is_latest=True, share=0.7), Cause("{a} pan", share=0.3)
    assert plain(reason_words([])) == "Many others look at this now."
    assert plain(reason_words([cup])) == "Because you just looked at the <b>cup</b>."
    assert plain(reason_words([pan])) == "Because you looked at {a} pan."
    assert plain(reason_words([cup, pan])) == "Because you looked at the <b>cup</b> and {a} pan."
    assert plain(reason_words([cup, pan._replace(share=0.1)])) == "Because you just looked at the <b>cup</b>."
    assert plain(reason_words([cup._replace(same_item=True), pan])) == "You looked at this before."
    assert plain(reason_words([pan._replace(kind="purchase"), cup])) == "Because you bought {a} pan."
    assert plain(reason_words([Cause("", "new", share=0.0)])).startswith("Something new")
    assert plain(reason_words([Cause("水壶")], "zh")) == "因为您看过水壶。"


def plain(sentence: str) -> str:
    return sentence.replace("\u2068", "").replace("\u2069", "")


@given(st.text())
def test_a_title_keeps_its_direction_to_itself_and_is_not_endless(title: str) -> None:
    said = reason_words([Cause(title + "\u2069\u202e" + title)])
    inside = said.removeprefix("Because you looked at \u2068").removesuffix("\u2069.")
    assert not set("\u2066\u2067\u2068\u2069\u202a\u202b\u202c\u202d\u202e") & set(inside)
    assert len(inside) <= MAX_TITLE_CHARS


async def test_only_sessions_that_are_looked_at_are_kept_and_so_many(settings, log) -> None:
    service = service_of(settings.model_copy(update={"max_shop_sessions": 3}), log, ready=True)
    board = service.board
    for number in range(5):
        board.look(f"s{number}", now_ms())
    answered(service, *(answer(f"s{number}", [], "x") for number in range(6)))
    assert [board.newest(f"s{number}") is not None for number in range(6)] == [False, False, True, True, True, False]
    board.tick(now_ms() + round(settings.shop_session_s * 1000) + 1000)
    assert board.newest("s4") is None


# What flows


async def events(service: ShopService, hub: Hub, session: str, position: int, count: int) -> list[Any]:
    stream, got = shop_stream(service, hub, session, ShopPosition(position)), []
    async with asyncio.timeout(PATIENCE_S):
        async for message in stream:
            if message is not None:
                got.append(message)
            if len(got) >= count:
                break
    await stream.aclose()
    return got


async def test_a_stream_tells_what_changed_then_the_offer_then_how_far_to_trust_it(service, log) -> None:
    service.board.look("me", now_ms())
    answered(service, answer("me", ["blue"], "red"))
    stock(log, [item("red", title="Red kettle", price=19.0)])
    take_out(log, "rug")
    read_catalogue(service, log)
    got = await events(service, Hub(10), "me", 5, 3)
    assert [message.event for message in got] == ["items", "offer", "state"]
    assert {one.item_id: one.may_be_offered for one in got[0].data.items} == {"red": True, "rug": False}
    assert str(got[0].position) == "7" and got[1].position is None
    assert got[2].data.model == "session-gru4rec 3"


async def test_a_stream_hears_of_what_comes_later_in_its_session_alone(service, log) -> None:
    hub = Hub(10)
    following = asyncio.create_task(events(service, hub, "me", 5, 3))
    await asyncio.sleep(0)
    for bell in answered(service, answer("you", ["red"], "rug"), answer("me", ["blue"], "red")):
        hub.ring_one(bell)
    stock(log, [item("blue", title="Blue kettle", withdrawn=True)])
    for bell in read_catalogue(service, log):
        hub.ring_one(bell)
    got = {message.event: message.data for message in await following}
    assert got["offer"].session_id == "me"
    assert [one.may_be_offered for one in got["items"].items] == [False]


async def test_nothing_is_left_of_a_stream_that_has_ended(service) -> None:
    hub = Hub(10)
    for number in range(5):
        await events(service, hub, f"visit-{number}", 5, 1)
    assert not hub._bells  # noqa: SLF001 - what would grow


async def test_who_comes_back_gets_each_change_once_as_it_is_now(service, log) -> None:
    for price in (1.0, 2.0, 3.0):
        stock(log, [item("red", title="Red kettle", price=price)])
    read_catalogue(service, log)
    got = await events(service, Hub(10), "", 6, 1)
    assert [one.price for one in got[0].data.items] == [3.0]
    assert [message.event for message in await events(service, Hub(10), "", 8, 1)] == ["state"]


async def test_a_position_of_another_kafka_or_too_many_changes_begin_anew(settings, log) -> None:
    stock(log, goods_rows(600))
    service = service_of(settings, log, ready=True)
    read_catalogue(service, log)
    (resync, state) = await events(service, Hub(10), "", 9999, 2)
    assert "position 9999 is not on this log; load the shop again" in resync.data.reason and state.event == "state"
    (resync, state) = await events(service, Hub(10), "", 0, 2)
    assert "more than 500 items have changed" in resync.data.reason and state.event == "state"


@given(st.integers(0, 10**19 - 1))
def test_a_position_reads_back_as_written(offset: int) -> None:
    assert ShopPosition.parse(str(ShopPosition(offset))) == ShopPosition(offset)


# What shoppers do


async def test_an_event_lies_on_the_topic_before_the_answer(service, settings, log) -> None:
    async with client_of(service, settings) as client:
        sent = await client.post(
            "/api/v1/shop/events",
            json={"session_id": "me", "kind": "view", "item_id": "red", "answer_id": "a1"},
        )
    assert sent.status_code == 201
    records = log.slice(USER_SESSIONS.name, OffsetRange(0, 0, log.end(USER_SESSIONS.name, 0)))
    (row,) = Decoder("user-sessions", PackagedRegistry()).decode(records).frame.to_dicts()
    assert records.keys.to_pylist() == [b"me"]
    assert (row["kind"], row["item_id"], row["answer_id"], row["user_id"]) == ("view", "red", "a1", None)
    assert row["event_time_ms"].timestamp() * 1000 == pytest.approx(sent.json()["event_time_ms"])


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        ({"kind": "view"}, 400, "item_id is missing"),
        ({"kind": "search", "text": "  "}, 400, "search without text"),
        ({"kind": "search", "text": "é" * 501}, 400, "text has 1002 bytes"),
        ({"kind": "view", "item_id": "é" * 100}, 400, "item_id has 200 bytes"),
        ({"kind": "view", "item_id": "a\nb"}, 400, "item_id has a control character"),
        ({"kind": "impression", "answer_id": "a", "items": []}, 400, "an impression of no items"),
        ({"kind": "impression", "answer_id": "a", "items": ["x"] * 101}, 400, "items: List should have at most 100"),
        ({"kind": "login", "user_id": "u"}, 400, "kind: Input should be 'view'"),
        ({"kind": "forget", "user_id": "u"}, 400, "user_id: Extra inputs are not permitted"),
        ({"kind": "view", "item_id": "x", "event_time_ms": 0}, 400, "event_time_ms: Extra inputs"),
        ({"kind": "view", "item_id": "x", "session_id": ""}, 400, "session_id: String should have at least 1"),
        ({"kind": "view", "item_id": "x" * 70_000}, 413, "a body may have 65,536 bytes"),
    ],
)
async def test_what_the_pipeline_would_refuse_is_not_written(service, settings, log, body, code, detail) -> None:
    async with client_of(service, settings) as client:
        refused = await client.post("/api/v1/shop/events", json={"session_id": "me"} | body)
    assert refused.status_code == code and detail in refused.json()["detail"]
    assert log.end(USER_SESSIONS.name, 0) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[" * 5000,
        b'{"session_id": "\\ud800", "kind": "view", "item_id": "x"}',
        b'{"session_id": "me", "kind": "impression", "answer_id": "a", "items": ["\\ud800"]}',
    ],
)
async def test_a_body_that_is_no_event_is_refused(service, settings, content) -> None:
    async with client_of(service, settings, headers={"content-type": "application/json"}) as client:
        assert (await client.post("/api/v1/shop/events", content=content)).status_code == 400


VIEW = {"session_id": "me", "kind": "view", "item_id": "red"}


async def test_without_the_broker_nothing_is_said_to_be_written(service, settings, log) -> None:
    log.away = "broker:9092 does not answer"
    async with client_of(service, settings) as client:
        refused = await client.post("/api/v1/shop/events", json=VIEW)
        assert refused.status_code == 503 and "send it again" in refused.json()["detail"]
        assert refused.headers["retry-after"] == "2"
        log.away = None
        assert (await client.post("/api/v1/shop/events", json=VIEW)).status_code == 201
    assert log.end(USER_SESSIONS.name, 0) == 1


async def test_who_sends_too_many_is_asked_to_wait(service, settings, log) -> None:
    quick = settings.model_copy(update={"shop_events_burst": 3, "shop_events_per_s": 0.01})
    service = service_of(quick, log, ready=True)
    async with client_of(service, quick) as client:
        codes = [(await client.post("/api/v1/shop/events", json=VIEW)).status_code for _ in range(4)]
        last = await client.post("/api/v1/shop/events", json=VIEW)
    assert codes == [201, 201, 201, 429] and int(last.headers["retry-after"]) > 50


async def test_a_page_from_elsewhere_may_not_send_events(service, settings, log) -> None:
    async with client_of(service, settings) as client:
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert (await client.post("/api/v1/shop/events", json=VIEW, headers=headers)).status_code == 403
        ours = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
        assert (await client.post("/api/v1/shop/events", json=VIEW, headers=ours)).status_code == 201
        as_text = await client.post("/api/v1/shop/events", content=b"{}", headers={"content-type": "text/plain"})
        assert as_text.status_code == 400
    assert log.end(USER_SESSIONS.name, 0) == 1


async def test_a_page_that_may_read_from_elsewhere_may_not_send_events_either(settings, log) -> None:
    there = {"origin": "https://studio.example"}
    allowing = settings.model_copy(update={"cors_origins": "https://studio.example"})
    service = service_of(allowing, log, ready=True)
    async with client_of(service, allowing, headers=there) as client:
        assert (await client.get("/api/v1/shop")).status_code == 200
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        assert (await client.options("/api/v1/shop/events", headers=asked)).status_code == 400
        for kind in ({}, {"content-type": "text/plain"}):  # what a browser sends without asking first
            sent = await client.post("/api/v1/shop/events", content=json.dumps(VIEW), headers=kind)
            assert 400 <= sent.status_code < 500
    assert log.end(USER_SESSIONS.name, 0) == 0


async def test_scopes_open_the_shop_and_writing_apart(service, settings, tmp_path) -> None:
    book, written = TokenBook(), {}
    for scope in ("shops:read", "shops:write", "stores:admin", "ops:admin"):
        written[scope], kept = mint(scope.replace(":", "-"), [scope], utc_now())
        book = book.with_token(kept)
    path = tmp_path / "tokens.json"
    path.write_text(book.model_dump_json())
    path.chmod(0o600)
    codes = {}
    async with client_of(service, settings.model_copy(update={"tokens": path})) as client:
        for scope, token in written.items():
            headers = {"authorization": f"Bearer {token}"}
            reads = await client.get("/api/v1/shop", headers=headers)
            writes = await client.post("/api/v1/shop/events", json=VIEW, headers=headers)
            codes[scope] = (reads.status_code, writes.status_code)
        assert (await client.post("/api/v1/shop/events", json=VIEW)).status_code == 401
    assert codes == {
        "shops:read": (200, 403), "shops:write": (403, 201), "stores:admin": (403, 403), "ops:admin": (403, 403),
    }  # fmt: skip


async def test_events_that_wait_for_others_go_together_and_each_hears_of_its_own() -> None:
    begun, may_go, batches = threading.Event(), threading.Event(), []

    def write(keys, values) -> list[bool]:
        begun.set()
        assert may_go.wait(PATIENCE_S)
        batches.append(list(keys))
        return [key != b"lost" for key in keys]

    writer = EventWriter(write, PackagedRegistry())
    first = asyncio.create_task(writer.put(event("a", "view", item_id="x")))
    await asyncio.to_thread(begun.wait, 20)
    rows = [
        event("b", "view", item_id="x"), event("c", "view"), event("lost", "view", item_id="x"),
        event("d", "cart", item_id="x"),
    ]  # fmt: skip
    others = [asyncio.create_task(writer.put(row)) for row in rows]
    await asyncio.sleep(0)
    may_go.set()
    await first
    told = await asyncio.gather(*others, return_exceptions=True)
    assert batches == [[b"a"], [b"b", b"lost", b"d"]]
    assert [type(one).__name__ for one in told] == ["NoneType", "BadEvent", "NotWritten", "NoneType"]
    with pytest.raises(NotWritten, match="does not confirm"):
        await writer.put(event("lost", "view", item_id="x"))


# What it was worth


def scene(service: ShopService, at_ms: int) -> None:
    """Two arms of ten answers each, one in ten clicked in the first, three in the second."""
    for arm, clicks in (("a", 1), ("b", 3)):
        for number in range(10):
            session = f"{arm}{number}"
            more = {"experiment": "try", "arm": arm, "event_time_ms": at_ms + 1000 * number}
            row = answer(session, ["red", "blue"], "rug", **more)
            answered(service, row)
            named = {"answer_id": row["answer_id"], "event_time_ms": more["event_time_ms"] + 10}
            happened(service, event(session, "impression", **named | {"items": ["red", "blue"]}))
            if number < clicks:
                happened(service, event(session, "view", **named, item_id="blue"))


async def test_figures_of_arms_over_time_coverage_and_cold_items(service, settings) -> None:
    at_ms = now_ms() - 120_000
    scene(service, at_ms)
    answered(service, answer("never-shown", ["red"], "rug", event_time_ms=at_ms))
    async with client_of(service, settings) as client:
        found = ShopFigures.model_validate_json((await client.get("/api/v1/shop/figures?minutes=10")).content)
    assert [(arm.arm, arm.answers, arm.clicks, arm.ctr) for arm in found.arms] == [("a", 10, 1, 0.1), ("b", 10, 3, 0.3)]
    assert (found.answers, found.step_s, found.arms[0].difference, found.arms[1].differs) == (21, 10, None, False)
    assert sum(point.answers for point in found.points) == 20 and sum(point.clicks for point in found.points) == 4
    assert len({point.time_ms for point in found.points}) == 1 + (at_ms // 10_000 != (at_ms + 9000) // 10_000)
    assert (found.items, found.items_offered) == (3, 2)
    assert (found.cold, found.cold_offered) == (2, 1), "only the blue kettle was looked at"
    assert [(one.item.item_id, one.offered) for one in found.newest_cold] == [("rug", False), ("red", True)]


async def test_figures_of_a_second_are_made_once_for_all_who_ask_for_the_same_minutes(service, monkeypatch) -> None:
    made: list[int] = []

    def counting(material: Material) -> ShopFigures:
        made.append(round((material.until_ms - material.since_ms) / 60_000))
        return shop_figures(material)

    monkeypatch.setattr("serve.gateway.shop.service.shop_figures", counting)
    at_ms = now_ms()
    for minutes in (10, 20, 10, 20, 10):
        assert (await service.figures(minutes, at_ms)).until_ms == at_ms
    assert made == [10, 20]
    assert (await service.figures(10, at_ms + 1001)).until_ms == at_ms + 1001
    assert made == [10, 20, 10]


async def test_the_step_that_is_not_over_is_not_in_the_curve(service) -> None:
    began_ms = now_ms() // 10_000 * 10_000
    scene(service, began_ms - 5_000)  # half of it before the step begins
    found = await service.figures(10, began_ms + 9_999)
    assert sum(arm.answers for arm in found.arms) == 20
    assert [(point.time_ms, point.arm, point.answers) for point in found.points] == [
        (began_ms - 10_000, "a", 5), (began_ms - 10_000, "b", 5),
    ]  # fmt: skip


async def test_what_is_older_than_the_minutes_asked_for_counts_for_nothing(service, settings) -> None:
    scene(service, now_ms() - 10 * 60_000)
    async with client_of(service, settings) as client:
        found = ShopFigures.model_validate_json((await client.get("/api/v1/shop/figures?minutes=5")).content)
    assert (found.answers, found.arms, found.points, found.items_offered, found.cold) == (0, [], [], 0, 3)


async def test_figures_say_from_when_on_answers_are_kept(settings, log) -> None:
    service = service_of(settings.model_copy(update={"max_shop_answers": 10}), log, ready=True)
    at_ms = now_ms() - 60_000
    for number in range(30):
        answered(service, answer(f"s{number}", ["red"], "rug", event_time_ms=at_ms + number))
    material = service.material(60, now_ms())
    assert material.answers is not None and material.answers.height <= 10
    assert material.since_ms == at_ms + 30 - material.answers.height


async def test_events_that_the_pipeline_refuses_are_counted_nowhere(service) -> None:
    happened(
        service,
        event("a", "view", item_id="red", event_time_ms=now_ms() + 10**7),
        event("a", "impression", answer_id="x", items=["y"] * 201),
        event("a", "view", item_id="z" * 200, answer_id="x"),
    )
    assert len(service.board.named) == 0 and (service.board.reach()[0] < 0).all()


def test_steps_fit_the_time_there_is() -> None:
    assert [fitting_step_s(span_s) for span_s in (0, 240, 241, 3600, 86_400)] == [10, 10, 20, 180, 3600]


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(1, 20))
def test_a_window_keeps_the_newest_rows_and_no_more(sizes: list[int], most: int) -> None:
    window, number = Window(most), 0
    for size in sizes:
        window.add(rows_at(range(number, number + size)))
        number += size
        kept = window.rows()
        held = [] if kept is None else kept["event_time_ms"].dt.timestamp("ms").to_list()
        assert len(held) == len(window) <= most
        assert held == list(range(number - len(held), number))
        assert len(held) == number or window.dropped_ms == number - len(held) - 1


def test_a_window_forgets_by_time() -> None:
    window = Window(100)
    window.add(rows_at(range(10)))
    window.forget(7)
    kept = window.rows()
    assert kept is not None and kept["event_time_ms"].dt.timestamp("ms").to_list() == [7, 8, 9]
    window.forget(10)
    assert window.rows() is None


def rows_at(times_ms: range) -> pl.DataFrame:
    return pl.DataFrame({"event_time_ms": list(times_ms)}, schema={"event_time_ms": pl.Int64}).cast(
        pl.Datetime("ms", "UTC")
    )


def test_a_bound_of_items_is_the_catalogues_own(settings) -> None:
    board = ShopBoard(settings, PackagedRegistry(), 0)
    ids = np.array([f"made up {number}" for number in range(1000)], dtype=object)
    board.apply_events(
        [event_rows(decoded(USER_SESSIONS, *(event("a", "view", item_id=name) for name in ids)), now_ms())[0]], now_ms()
    )
    assert len(board.reach()[0]) == 0, "items that the catalogue does not have take no room"


def test_columns_are_those_that_the_arithmetic_asks_for() -> None:
    frame = decoded(SESSION_RECOMMENDATIONS, answer("s", ["a", "b"], "c", propensities=[1.0]))
    (rows,) = answer_rows(frame)
    assert rows.frame.columns == list(ANSWER_COLUMNS) and rows.frame.is_empty(), "lists that do not go together"


# All of it


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(shop=True, shop_origin="simulated", delayed_s=1e9) as made:
        stock(made.log, ITEMS)
        yield made


def test_from_the_topics_to_the_stream_and_back(site) -> None:
    with httpx.Client(base_url=site.url(""), timeout=PATIENCE_S) as client:
        wait_until(lambda: client.get("/api/v1/shop").json()["items"] == 3)
        with client.stream("GET", "/api/v1/shop/events?session=me") as stream:
            lines = stream.iter_lines()
            assert client.post("/api/v1/shop/events", json=VIEW).status_code == 201
            tell_answers(site.log, answer("me", ["blue"], "red"))
            assert "Blue kettle" in next(line for line in lines if '"answer_id"' in line)
            take_out(site.log, "blue")
            assert '"may_be_offered":false' in next(line for line in lines if '"items":[' in line)
        tell_events(site.log, event("me", "view", item_id="rug"))
        wait_until(lambda: client.get("/api/v1/shop/figures").json()["cold"] == 0)
        assert client.get("/api/v1/shop").json()["state"] == "simulated"
