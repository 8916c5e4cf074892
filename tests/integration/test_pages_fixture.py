"""The pages in a real browser, on a real gateway whose topics a test writes by hand."""

from collections.abc import Iterator
from typing import Any

import pytest

from serve.gateway.testing import Site, event_row, status_row
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

LAPTOP = {"width": 1280, "height": 720}


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    made.log.append("match.events", event_row("m1", 0, kind="start", team_a="Northwind", team_b="Sundogs"))
    made.log.append("match.events", event_row("m1", 1))
    for frame in range(4):
        made.say(frame, 0.2 * frame)
    made.log.append("sightline.status", status_row(1_700_000_000_000))
    yield made
    made.stop()


def points(page: Any, count: int) -> None:
    page.wait_for_selector(f'[data-testid="curve"][data-points="{count}"]')


def test_the_wall_leads_to_a_match_whose_curve_moves_and_gives_its_reasons(site: Site, page: Any) -> None:
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(site.url("/"))
    page.click('[data-testid="wall-card"]')
    points(page, 4)
    site.say(4, -0.9, key_moment=True, moment="B:towers", commentary_en="Red's tower flips it.", top_reason="tower")
    points(page, 5)
    assert page.inner_text('[data-testid="headline-p"]').split() == ["71", "%"]
    assert "Red" in page.inner_text(".headline-who")
    assert page.inner_text('[data-testid="sentence"]') == "Red's tower flips it."
    assert page.inner_text('[data-testid="state"]')
    rows = page.locator('[data-testid="contribution-row"]').evaluate_all("rows => rows.map(r => +r.dataset.value)")
    assert sum(rows) == pytest.approx(-0.9, abs=1e-3)
    assert "71" in page.inner_text('[data-testid="contribution-sum"]')
    assert hosts == {f"127.0.0.1:{site.port}"}


def test_a_gateway_that_restarts_costs_no_answer_and_doubles_none(site: Site, page: Any) -> None:
    page.goto(site.url("/matches/m1"))
    points(page, 4)
    site.stop()
    page.get_by_text("Reconnecting").wait_for()
    site.say(4, 0.5)
    site.say(5, 0.6)
    site.log.append("match.events", event_row("m1", 2, side="B"))
    site.start()
    points(page, 6)
    page.get_by_text("Reconnecting").wait_for(state="hidden")
    site.say(6, 0.7)
    points(page, 7)
    page.locator('[data-testid="event-row"]').nth(2).wait_for()
    assert page.locator('[data-testid="event-row"]').count() == 3


def test_a_finished_match_shows_its_result(site: Site, page: Any) -> None:
    page.goto(site.url("/matches/m1"))
    points(page, 4)
    site.log.append("match.events", event_row("m1", 200, kind="end", side="A"))
    site.say(4, 1.2, status="ended", winner="A")
    result = page.locator('[data-testid="result"]')
    result.wait_for()
    assert "Northwind won" in result.inner_text()
    assert "Blue won" in page.inner_text(".headline")


def test_the_curve_and_the_event_log_light_each_other(site: Site, page: Any) -> None:
    page.goto(site.url("/matches/m1"))
    points(page, 4)
    page.focus('[data-testid="curve"]')
    page.keyboard.press("Home")
    page.locator(".tip", has_text="0:00").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator(".tip", has_text="0:30").wait_for()
    page.locator(".feed-row.lit").first.wait_for()
    page.keyboard.press("Escape")
    page.locator(".tip").wait_for(state="hidden")
    page.hover('[data-testid="event-row"]')
    page.locator(".tip").wait_for()


def test_the_overlay_is_see_through_holds_the_last_answer_and_then_fades(site: Site, page: Any) -> None:
    page.add_init_script(
        "window.lost = 0; const Native = EventSource; window.EventSource = class extends Native {"
        " constructor(url) { super(url); this.addEventListener('error', () => { window.lost += 1; }); } };"
    )
    page.clock.install()
    page.goto(site.url("/overlay/m1?w=800&h=200"))
    bar = page.locator('[data-testid="overlay-bar"][data-p]')
    bar.wait_for(state="attached")
    ground = "() => [document.documentElement, document.body].map(e => getComputedStyle(e).backgroundColor)"
    assert page.evaluate(ground) == ["rgba(0, 0, 0, 0)"] * 2
    shown = bar.inner_text()
    site.stop()
    wait_until(lambda: page.evaluate("lost"))  # what the page hears of the network has a clock of its own
    page.clock.run_for(10_000)
    assert bar.inner_text() == shown
    assert "out" not in (bar.get_attribute("class") or "").split()
    page.clock.run_for(10_000)
    assert "out" in (bar.get_attribute("class") or "").split()
    assert bar.inner_text() == shown
    site.start()


def test_an_overlay_for_no_match_shows_nothing(site: Site, page: Any) -> None:
    page.goto(site.url("/overlay/nope"))
    page.wait_for_selector('[data-testid="overlay-bar"]', state="attached")
    assert page.locator('[data-testid="overlay-bar"]').evaluate("e => getComputedStyle(e).opacity") == "0"


def test_a_pipeline_opens_on_the_ops_page(site: Site, page: Any) -> None:
    page.goto(site.url("/ops"))
    page.click('[data-testid="ops-row"]')
    details = page.locator('[data-testid="ops-details"]')
    details.wait_for()
    assert "Partitions" in details.inner_text()
    assert page.get_attribute('[data-testid="ops-row"]', "aria-expanded") == "true"


def test_number_reason_and_history_are_above_the_fold(site: Site, page: Any) -> None:
    page.goto(site.url("/matches/m1"))
    points(page, 4)
    for part in ("headline-p", "sentence", "curve", "contribution-sum", "trained-on"):
        box = page.locator(f'[data-testid="{part}"]').bounding_box()
        assert box["y"] + box["height"] <= LAPTOP["height"], part


def test_a_match_with_a_slash_in_its_id_opens_from_the_wall(site: Site, page: Any) -> None:
    for match_id in ("LCK/2024/1", "..", "a b%é"):
        site.say(0, 0.3, match_id)
    page.goto(site.url("/"))
    for match_id in ("LCK/2024/1", "..", "a b%é"):
        page.locator(f'[data-testid="wall-card"][data-id="{match_id}"]').click()
        points(page, 1)
        site.say(1, 0.4, match_id)
        points(page, 2)
        page.go_back()


def test_a_restarted_and_then_remade_match_begins_anew(site: Site, page: Any) -> None:
    page.goto(site.url("/matches/m1"))
    points(page, 4)
    start = event_row("m1", 300, kind="start", event_time_ms=1_800_000_000_000, clock_s=0.0)
    site.log.append("match.events", start)
    site.say(0, -0.4, attempt=1)
    points(page, 1)
    assert "Red" in page.inner_text(".headline-who")
    site.say(1, -0.5, attempt=1)
    site.say(0, -0.1, attempt=1)  # the pipeline answers again from the start
    site.say(1, 0.2, attempt=1, status="void")
    page.get_by_text("Remade", exact=False).first.wait_for()
    points(page, 2)
    assert "Remade" in page.inner_text('[data-testid="state"]')
    page.locator('[data-testid="result"]', has_text="no winner").wait_for()


def test_answers_of_the_baseline_are_called_so_in_words_but_not_on_air(site: Site, page: Any) -> None:
    site.say(4, 0.9, flags="degraded", model_version="1+baseline")
    page.goto(site.url("/"))
    why = page.locator('[data-id="m1"] [data-testid="card-cause"]')
    why.wait_for()
    assert "baseline answers for now" in why.inner_text() and "patch" in why.inner_text()
    page.goto(site.url("/matches/m1"))
    points(page, 5)
    page.get_by_text("baseline answers for now").wait_for()
    assert "1+baseline" in page.inner_text("footer")
    page.goto(site.url("/overlay/m1"))
    page.locator(".overlay-about").wait_for()
    assert page.inner_text(".overlay-about") == "≈"
    assert "baseline" not in page.inner_text("body").lower() and "degraded" not in page.inner_text("body").lower()
    page.goto(site.url("/matches/m1"))
    points(page, 5)
    site.say(5, 0.8, model_version="2")
    points(page, 6)
    page.get_by_text("baseline answers for now").wait_for(state="hidden")
    page.get_by_text("tsstn-lol 2").wait_for()


def test_every_model_of_a_pipeline_has_a_line_of_its_own(site: Site, page: Any) -> None:
    models = [
        {"title": title, "name": f"tsstn-{title}", "version": "7", "weight_hash": f"hash{title}", "trained_on": told}
        for title, told in (("dota2", "OpenDota"), ("hok", "simulator"), ("lol", "LoL 2014-2016"))
    ]
    site.log.append(
        "sightline.status", status_row(1_700_000_001_000, models=models, latency_p50_ms=None, latency_p99_ms=None)
    )
    page.goto(site.url("/ops"))
    page.locator('[data-testid="row-model"]').nth(2).wait_for()
    lines = page.locator('[data-testid="row-model"]').all_inner_texts()
    assert [line.split() for line in lines] == [
        ["tsstn-dota2", "7", "hashdota2", "·", "OpenDota"],
        ["tsstn-hok", "7", "hashhok", "·", "simulator"],
        ["tsstn-lol", "7", "hashlol", "·", "LoL", "2014-2016"],
    ]
    row = page.inner_text('[data-testid="ops-row"]')
    assert row.count("–") == 5, "its last word is old: no lag, no rates, no latency"


def test_a_quiet_page_keeps_its_stream(page: Any) -> None:
    with Site(heartbeat_s=0.2) as quiet:
        quiet.say(0, 0.1)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.install()
        page.goto(quiet.url("/matches/m1"))
        points(page, 1)
        for _ in range(12):  # two minutes for the page, in which the gateway has nothing to say but that it is there
            with page.expect_event("console", lambda line: line.text == "beat"):
                page.evaluate(
                    "url => { const s = new EventSource(url); s.addEventListener('beat', () => "
                    "{ console.log('beat'); s.close(); }); }",
                    quiet.url("/api/matches/m1/events?last_id=0-0"),
                )
            page.clock.run_for(10_000)
        own = [url for url in asked if "/api/matches/m1" in url and not url.endswith("last_id=0-0")]
        assert len(own) == 1, own


def test_the_interface_for_programs_has_a_page(site: Site, page: Any) -> None:
    page.goto(site.url("/"))
    page.get_by_role("link", name="Interface for programs").click()
    page.locator('[data-testid="operation"]').first.wait_for()
    told = page.inner_text('[data-testid="docs"]')
    for word in ("/api/openapi.json", "/api/matches/{match_id}/events", "/healthz", "InsightMessage", "resync"):
        assert word in told, word
