"""The shop's page in a real browser: clicks, offers with their reasons, what disappears, and the operator's side."""

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from serve.gateway.testing import Site
from streaming.codec import Decoder, PackagedRegistry
from streaming.records import OffsetRange
from streaming.topics import USER_SESSIONS
from tests.pages import SIZES, STRUCTURE, painted, region, require_legible, resize, still_picture
from tests.shop_site import answer, event, goods_rows, now_ms, stock, take_out, tell_answers, tell_events
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)>/\"'</script>" + "W" * 80
HEBREW = "מנורה לגינה \u202e\u2066 (חדש!)"
EMOJI = "🫖 Teapot 👩‍👩‍👧‍👦 {first}"
QUIET = {"delayed_s": 1e9, "silent_s": 1e9, "stuck_s": 1e9, "shop_origin": "simulated"}
ROWS = goods_rows(60)
for place, title in enumerate((EVIL, HEBREW, EMOJI)):
    ROWS[place] |= {"title": title, "category": ROWS[0]["category"]}
ROWS[3] |= {"price": None, "title": ""}
IDS = [row["item_id"] for row in ROWS]
TITLES = {row["item_id"]: row["title"] or row["item_id"] for row in ROWS}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(shop=True, **QUIET) as made:
        stock(made.log, ROWS)
        tell_history(made)
        yield made


def tell_history(site: Site) -> None:
    """Half an hour of others: two arms, of which the second is clicked on more."""
    chance, until_ms = random.Random(7), now_ms()
    told, acts = [], []
    for number in range(120):
        session, arm = f"s{number}", ("knn", "gru4rec")[number % 2]
        at_ms = until_ms - 1_800_000 + 15_000 * number
        items = chance.sample(IDS[:40], 6)
        row = answer(session, items, items[0], experiment="rows", arm=arm, event_time_ms=at_ms)
        told.append(row)
        named = {"answer_id": row["answer_id"], "event_time_ms": at_ms + 5}
        acts.append(event(session, "impression", **named | {"items": items}))
        if chance.random() < {"knn": 0.2, "gru4rec": 0.6}[arm]:
            acts.append(event(session, "view", **named, item_id=items[1]))
    tell_answers(site.log, *told)
    tell_events(site.log, *acts)


def show(page: Any, site: Site, query: str = "") -> str:
    """The page, with its goods on it, which hears what is offered; the id of its session."""
    with page.expect_response("**/api/v1/shop/events?*"):
        page.goto(site.url(f"/shop{query}"))
        page.wait_for_selector('main[data-view] [data-testid="goods"][data-shown="30"]', state="attached")
    return page.evaluate("sessionStorage.getItem('sightline.shop.session')")


def sent(site: Site, session: str, kind: str) -> list[dict[str, Any]]:
    """What the page has said to the shop."""
    ends = site.log.end(USER_SESSIONS.name, 0)
    records = site.log.slice(USER_SESSIONS.name, OffsetRange(0, 0, ends))
    rows = Decoder("user-sessions", PackagedRegistry()).decode(records).frame.to_dicts()
    return [row for row in rows if row["session_id"] == session and row["kind"] == kind]


def look(page: Any, site: Site, session: str, item: str, offered: list[str], **changed: Any) -> None:
    """Click on an item of the goods, and have the answer come."""
    search = page.get_by_role("searchbox")
    search.fill(TITLES[item])
    card = page.locator(f'[data-testid="goods"] [data-item="{item}"] button')
    card.click()
    wait_until(lambda: any(row["item_id"] == item for row in sent(site, session, "view")))
    tell_answers(site.log, answer(session, offered, item, **changed))
    page.wait_for_selector(f'[data-testid="offer"][data-answer="a-{session}-{item}"]')


def row_of(page: Any) -> list[str]:
    return [card.get_attribute("data-item") for card in page.locator('[data-testid="offer"] .good').all()]


def test_a_click_changes_the_row_and_says_why(site: Site, page: Any) -> None:
    session = show(page, site)
    assert page.inner_text("h1") == "Look at something: what suits it appears here."
    reasons = {
        "reason_of": [0, 1, 2],
        "reason_items": [IDS[10], IDS[10], ""],
        "reason_kinds": ["view", "view", "new"],
        "reason_shares": [1.0, 1.0, 0.0],
    }
    look(page, site, session, IDS[10], IDS[20:23], **reasons)
    assert row_of(page) == IDS[20:23]
    assert plain(page.inner_text("h1")) == f"Because you just looked at {TITLES[IDS[10]]}."
    said = [plain(card.inner_text()) for card in page.locator('[data-testid="offer"] .good-why').all()]
    assert said == ["", "", "Something new, to find out whether you like it."], "what all share is said once"
    page.get_by_text(re.compile("^answered in ")).wait_for()
    wait_until(lambda: len(sent(site, session, "impression")) == 1)
    (shown,) = sent(site, session, "impression")
    assert (shown["answer_id"], shown["items"]) == (f"a-{session}-{IDS[10]}", IDS[20:23])

    page.click(f'[data-testid="offer"] [data-item="{IDS[21]}"] button')
    wait_until(lambda: len(sent(site, session, "view")) == 2)
    assert sent(site, session, "view")[1]["answer_id"] == f"a-{session}-{IDS[10]}", "a click names the offer it is on"
    tell_answers(site.log, answer(session, IDS[30:32], IDS[21], reason_items=[IDS[10], IDS[21]]))
    page.wait_for_selector(f'[data-answer="a-{session}-{IDS[21]}"]')
    assert row_of(page) == IDS[30:32]


def plain(text: str) -> str:
    return text.replace("\u2068", "").replace("\u2069", "")


def test_what_is_withdrawn_sold_out_or_deleted_disappears_by_itself(page: Any) -> None:
    with Site(shop=True, **QUIET) as site:
        rows = goods_rows(30)
        stock(site.log, rows)
        session = show(page, site)
        ids = [row["item_id"] for row in rows]
        page.click(f'[data-testid="goods"] [data-item="{ids[0]}"] button')
        page.click('[data-testid="add"]')
        tell_answers(site.log, answer(session, ids[10:18], ids[0]))
        page.wait_for_selector(f'[data-answer="a-{session}-{ids[0]}"]')
        assert row_of(page) == ids[10:16]
        stock(site.log, [rows[10] | {"withdrawn": True}, rows[0] | {"in_stock": False}, rows[12] | {"price": 1.23}])
        take_out(site.log, ids[11])
        for gone in (ids[10], ids[11], ids[0]):
            page.wait_for_selector(f'.good[data-item="{gone}"]', state="detached")
        assert row_of(page) == ids[12:18], "those behind them move up"
        page.locator(f'[data-testid="offer"] [data-item="{ids[12]}"]', has_text="1.23").wait_for()
        assert page.inner_text('[data-testid="goods-total"]') == "27 items"
        assert page.locator('[data-testid="add"]').is_disabled()
        assert "No longer to be had" in page.inner_text('[data-testid="basket"]')
        assert page.locator('[data-testid="buy"]').is_disabled()
        stock(site.log, [rows[10]])  # and what is back in stock comes back
        page.wait_for_selector(f'[data-testid="goods"] [data-item="{ids[10]}"]')


def test_a_basket_is_filled_and_bought_by_keyboard_alone(site: Site, page: Any) -> None:
    session = show(page, site)
    page.get_by_role("searchbox").press("Enter")  # nothing typed: nothing said
    page.get_by_role("searchbox").fill("seeds")
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_selector('[data-testid="goods"]:not([data-shown="30"])')
    first = page.locator('[data-testid="goods"] .good').first
    item = first.get_attribute("data-item")
    first.get_by_role("button").press("Enter")
    page.locator('[data-testid="add"]').press("Enter")
    price = page.inner_text('[data-testid="looked"] .good-price')
    assert page.inner_text('[data-testid="basket-total"]') == price
    page.locator('[data-testid="buy"]').press("Enter")
    page.get_by_text("nothing is charged").wait_for()
    for kind in ("view", "cart", "purchase"):
        wait_until(lambda kind=kind: [row["item_id"] for row in sent(site, session, kind)] == [item])
    wait_until(lambda: [row["text"] for row in sent(site, session, "search")] == ["seeds"])


def test_an_act_that_ends_after_a_purchase_takes_no_thanks_back(site: Site, page: Any) -> None:
    session, held = show(page, site), list[Any]()

    def hold_views(route: Any) -> None:
        held.append(route) if (route.request.post_data_json or {}).get("kind") == "view" else route.continue_()

    page.route("**/api/v1/shop/events", hold_views)
    page.locator(f'[data-testid="goods"] [data-item="{IDS[4]}"] button').click()
    page.locator('[data-testid="add"]').click()
    page.locator('[data-testid="buy"]').click()
    page.get_by_text("nothing is charged").wait_for()
    with page.expect_request_finished(lambda request: (request.post_data_json or {}).get("kind") == "view"):
        held[0].continue_()
    page.evaluate("new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted)))")
    assert "nothing is charged" in page.inner_text('[data-testid="said"]')
    assert [row["item_id"] for row in sent(site, session, "view")] == [IDS[4]]
    page.locator(f'[data-testid="goods"] [data-item="{IDS[5]}"] button').click()
    page.wait_for_selector('[data-testid="said"]:empty', state="attached")


def test_what_was_bought_before_one_failed_is_not_bought_again(site: Site, page: Any) -> None:
    session = show(page, site)
    for item in IDS[4:6]:
        page.locator(f'[data-testid="goods"] [data-item="{item}"] button').click()
        page.locator(f'.looked-item[data-item="{item}"] [data-testid="add"]').click()
    page.locator(".basket-line").nth(1).wait_for()

    def refuse(route: Any) -> None:
        body = route.request.post_data_json or {}
        lost = (body.get("kind"), body.get("item_id")) == ("purchase", IDS[5])
        route.fulfill(status=503, json={"detail": "away"}) if lost else route.continue_()

    page.route("**/api/v1/shop/events", refuse)
    page.locator('[data-testid="buy"]').click()
    page.wait_for_selector(".basket-line:only-child")
    page.wait_for_selector('[data-testid="buy"]:enabled')
    page.unroute("**/api/v1/shop/events")
    page.locator('[data-testid="buy"]').click()
    page.get_by_text("nothing is charged").wait_for()
    assert [row["item_id"] for row in sent(site, session, "purchase")] == IDS[4:6]


def test_an_impression_that_was_not_taken_is_said_again(site: Site, page: Any) -> None:
    session, refused = show(page, site), list[dict[str, Any]]()
    first = page.locator('[data-testid="goods"] .good').first
    item = str(first.get_attribute("data-item"))
    first.get_by_role("button").click()
    wait_until(lambda: len(sent(site, session, "view")) == 1)

    def is_impression(request: Any) -> bool:
        return (request.post_data_json or {}).get("kind") == "impression"

    def refuse(route: Any) -> None:
        if not is_impression(route.request) or refused:
            route.continue_()
            return
        refused.append(route.request.post_data_json)
        route.fulfill(status=503, json={"detail": "away"})

    page.route("**/api/v1/shop/events", refuse)
    with page.expect_response(lambda response: response.status == 201 and is_impression(response.request)):
        tell_answers(site.log, answer(session, IDS[20:22], item))
    (taken,) = sent(site, session, "impression")
    assert [(one["answer_id"], one["items"]) for one in refused] == [(taken["answer_id"], taken["items"])]


def test_a_reload_keeps_the_visit_and_somebody_new_begins_another(site: Site, page: Any) -> None:
    session = show(page, site)
    look(page, site, session, IDS[15], IDS[20:22])
    assert show(page, site) == session
    page.wait_for_selector(f'[data-answer="a-{session}-{IDS[15]}"]')
    page.get_by_role("button", name="Be somebody new").click()
    page.get_by_text("Look at something").wait_for()
    assert page.evaluate("sessionStorage.getItem('sightline.shop.session')") != session
    assert row_of(page) == []


def test_titles_of_markup_emoji_and_right_to_left_are_text_in_their_place(site: Site, page: Any) -> None:
    session = show(page, site)
    strange = IDS[:4]
    for item in (IDS[0], IDS[1]):
        # Each is the reason of another one, so that it stands in a sentence as well.
        look(page, site, session, item, [name for name in strange if name != item])
        assert page.locator('[data-testid="looked"] bdi.looked-title').inner_text() == TITLES[item]
        assert set(row_of(page)) == set(strange) - {item}
        for size, (width, height) in SIZES.items():
            resize(page, width, height)
            assert page.evaluate("document.documentElement.scrollWidth") == width, size
            cards = page.locator('[data-testid="offer"] .good').all()
            assert len({round(card.bounding_box()["width"]) for card in cards}) == 1, "no title makes its card wider"
        resize(page, 1280, 720)
    assert page.evaluate(STRUCTURE)["foreign"] == 0
    assert HEBREW.split()[0] in page.inner_text("h1")
    order = page.evaluate(  # the sentence is English whatever the title brings along: its end stands on the right
        "() => { const t = document.querySelector('h1').firstChild, box = (at) => { const r = document.createRange();"
        " r.setStart(t, at); r.setEnd(t, at + 1); return r.getBoundingClientRect(); };"
        " return [box(0).left, box(t.length - 1).right, box(t.length - 3).right]; }"
    )
    assert order[0] < order[2] <= order[1]


def test_without_kafka_a_click_is_said_to_count_for_nothing(page: Any) -> None:
    with Site(shop=True, **QUIET) as site:
        stock(site.log, goods_rows(30))
        show(page, site)
        site.log.away = "broker:9092 does not answer"
        page.locator('[data-testid="goods"] .good-card').first.click()
        page.get_by_text("Kafka does not take this now").wait_for()
        page.get_by_text("Kafka does not answer").wait_for()
        site.log.away = None
        page.locator('[data-testid="goods"] .good-card').nth(1).click()
        page.locator('[data-testid="said"]', has_text=re.compile("^$")).wait_for(state="hidden")


def test_the_operator_sees_clicks_over_time_by_arm_coverage_and_cold_items(site: Site, page: Any) -> None:
    show(page, site, "?view=operator")
    page.wait_for_selector('[data-testid="operator"][data-points]')
    found = page.evaluate("fetch('/api/v1/shop/figures?minutes=60').then(r => r.json())")
    rows = {row.get_attribute("data-arm"): row.inner_text() for row in page.locator('[data-testid="arm"]').all()}
    for arm in found["arms"]:
        if arm["experiment"]:
            assert f"{100 * arm['ctr']:.1f}\u202f%" in rows[arm["arm"]]
    assert "the reference" in rows["gru4rec"] and "not told apart yet" in rows["knn"]
    share = 100 * found["items_offered"] / found["items"]
    assert page.inner_text('[data-testid="coverage"]').startswith(f"{share:.1f}\u202f%: {found['items_offered']} of 60")
    assert page.inner_text('[data-testid="cold"]').startswith(f"{found['cold']} looked at by nobody")
    assert page.locator(".cold-line").count() == min(12, found["cold"])
    assert page.locator('[data-testid="operator"] .visually-hidden tbody tr').count() >= 10, "the chart in words"
    assert page.inner_text("h1") == "What offers are worth"


def test_markup_in_a_title_is_text_to_the_operator_too(page: Any) -> None:
    with Site(shop=True, **QUIET) as site:
        rows = goods_rows(30)
        rows[-1] |= {"title": EVIL}
        stock(site.log, rows)
        show(page, site, "?view=operator")
        title = page.locator(".cold-title", has_text="onerror")
        title.wait_for()
        assert title.inner_text() == EVIL and page.evaluate(STRUCTURE)["foreign"] == 0


def test_without_a_shop_the_page_says_what_to_set(page: Any) -> None:
    with Site() as bare:
        page.goto(bare.url("/shop"))
        page.get_by_text("There is no shop here. Set gateway.shop to true").wait_for()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("view", ["shopper", "operator"])
def test_the_page_is_painted_legible_and_whole_in_every_size(site: Site, page: Any, theme: str, view: str) -> None:
    session = show(page, site, f"?theme={theme}&view=shopper")
    look(page, site, session, IDS[2], [IDS[0], IDS[1], *IDS[20:26]], reason_kinds=["view"] * 3 + ["cart"] * 5)
    page.click('[data-testid="add"]')
    if view == "operator":
        page.click('button[data-view="operator"]')
        page.wait_for_selector('[data-testid="operator"][data-points] canvas')
    for size, (width, height) in SIZES.items():
        resize(page, width, height)
        picture = still_picture(page, full_page=True)
        if size != "phone":
            assert page.evaluate("document.documentElement.scrollHeight") <= height + 1, f"{size}: the page scrolls"
        shown = [".shop-chart canvas", ".coverage-bar"] if view == "operator" else [".offer-cards", ".goods-grid"]
        for selector in shown:
            assert painted(region(page, picture, selector)) > 0.01, f"{size}: {selector} is blank"
        require_legible(page, size, least_lines=20)


def test_every_control_shows_that_it_has_the_focus(site: Site, page: Any) -> None:
    show(page, site)
    page.get_by_role("searchbox").focus()
    for _ in range(4):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle; })()"
        )
        assert style != "none"
    page.emulate_media(reduced_motion="reduce")
    moving = page.evaluate(
        "() => [...document.querySelectorAll('body *')].filter(e =>"
        " parseFloat(getComputedStyle(e).transitionDuration) > 0).map(e => e.className)"
    )
    assert moving == []


def test_the_page_speaks_chinese(site: Site, page: Any) -> None:
    session = show(page, site, "?lang=zh")
    look(page, site, session, IDS[12], IDS[20:22])
    assert plain(page.inner_text("h1")) == f"因为您刚刚看了{TITLES[IDS[12]]}。"
    page.get_by_role("button", name="运营").click()
    page.get_by_text("覆盖率").wait_for()
