"""Every page in every theme and size, looked at: painted where it should be, legible, nothing cut or on top of another.

No pictures are kept to compare with: fonts differ between machines. What holds on all of them is measured instead, on
the same matches each time.
"""

import gzip
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serve.gateway.addresses import written_id
from serve.gateway.testing import T0_MS, Site, event_row, status_row
from tests.pages import COLLISIONS, SIZES, painted, region, require_legible, resize, still_picture
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)>/\"'</script>"
BUDGET_BYTES, BUDGET_REQUESTS = 400_000, 20

# Page → address, what says that it is drawn, regions that must show something, regions that must show both sides.
PAGES: dict[str, tuple[str, str, list[str], list[str]]] = {
    "wall": ("/", '[data-testid="wall-card"] .card-p', [".top", ".wall-grid"], [".card .duel", ".card-spark"]),
    "match": ("/matches/live", '[data-points="40"]', [".headline", ".feed"], [".chart.curve", ".chart.stack", ".bar"]),
    "result": ("/matches/over", '[data-testid="result"]', [".result", ".feed"], [".chart.curve", ".headline .duel"]),
    "ops": ("/ops", '[data-testid="ops-details"]', [".tiles", ".row-lag", ".details-chart canvas"], []),
    "docs": ("/docs", '[data-testid="operation"]', [".docs-operation", ".docs table"], []),
    "hostile": (f"/matches/{written_id(EVIL)}", '[data-points="40"]', [".headline", ".feed"], [".chart.curve"]),
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(delayed_s=1e9, silent_s=1e9, stuck_s=1e9, ops_interval_s=3_600) as made:  # nothing moves by itself
        teams = {"team_a": "Northwind", "team_b": "Sundogs", "league": "Spring Cup"}
        made.play("live", 40, seed=1, origin="simulated", **teams)
        made.play("over", 30, seed=2, origin="replay", **teams)
        made.log.append("match.events", event_row("over", 900, kind="end", side="A", clock_s=900.0))
        made.say(30, 2.0, "over", status="ended", winner="A", origin="replay", emit_time_ms=T0_MS)
        made.play("baseline", 20, seed=3, flags="degraded", model_version="3+baseline", **teams)
        evil = {"team_a": EVIL + "W" * 80, "team_b": "x" * 128, "league": EVIL * 3, "title": "lol"}
        made.play(EVIL, 40, seed=4, origin="live", **evil)
        for number in range(8):
            made.play(f"more-{number}", 12, seed=10 + number, title="dota2", team_a="", team_b="")
        made.log.append("match.events", event_row("young", 0, kind="start", team_a="Just", team_b="Started"))
        for second in range(120):
            wave = status_row(T0_MS + 1000 * second, lag_s=second % 20 / 10, errors=["no broker answers " + "x" * 200])
            made.log.append("sightline.status", wave)
        waits = {"pipeline": "shadow", "state": "waiting", "reason": "no model tsstn-hok@candidate", "models": []}
        made.log.append("sightline.status", status_row(T0_MS, **waits, latency_p50_ms=None, latency_p99_ms=None))
        yield made


def show(page: Any, site: Site, name: str, theme: str, **query: str) -> None:
    path, ready, _, _ = PAGES[name]
    page.goto(site.url(path + "?" + "&".join(f"{key}={value}" for key, value in {"theme": theme, **query}.items())))
    if name == "ops":
        page.locator('[data-pipeline="win-prediction"]').click()
    page.wait_for_selector(ready)


def near(part: Any, colour: str) -> int:
    """Pixels that have this colour, as "#rrggbb", within what antialiasing and depth of a layer change."""
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    return int((np.abs(part - wanted).max(axis=1) < 48).sum())


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_painted_legible_and_whole_in_every_size(site: Site, page: Any, name: str, theme: str) -> None:
    _, _, shown, of_both_sides = PAGES[name]
    show(page, site, name, theme)
    for size, (width, height) in SIZES.items():
        resize(page, width, height)
        picture = still_picture(page, full_page=True)
        whole = page.evaluate("document.documentElement.scrollHeight")
        if size != "phone" and name in ("match", "result", "hostile"):
            assert whole <= height + 1, f"{size}: the page scrolls"
        for selector in shown:
            assert painted(region(page, picture, selector)) > 0.01, f"{size}: {selector} is blank"
        for selector in of_both_sides:
            some = range(1, min(8, page.locator(selector).count()) + 1)
            part = np.concatenate([region(page, picture, f":nth-match({selector}, {n})") for n in some])
            for colour in ("#4c9be8", "#f2784b"):
                assert near(part, colour) > 4, f"{size}: {selector} shows one side only"
        require_legible(page, size, least_lines=10)
    ground = {"dark": (14, 17, 22), "light": (255, 255, 255)}[theme]
    assert tuple(int(value) for value in picture[-1, 1, :3]) == ground


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height"), [(360, 120), (800, 200), (1920, 300)])
def test_the_overlay_fits_its_box_and_leaves_the_rest_see_through(
    site: Site, page: Any, width: int, height: int, theme: str
) -> None:
    page.set_viewport_size({"width": 1920, "height": 1080})
    for match_id in ("live", EVIL):
        query = f"w={width}&h={height}&theme={theme}&parts=bar,reasons,sentence"
        page.goto(site.url(f"/overlay/{written_id(match_id)}?{query}"))
        page.wait_for_selector('[data-testid="overlay-bar"][data-p]:not(.out)')
        picture = still_picture(page, omit_background=True)
        box = page.locator('[data-testid="overlay-bar"]').bounding_box()
        assert box["width"] <= width + 1 and box["height"] <= height + 1, match_id
        assert box["y"] + box["height"] <= 1081
        alpha = picture[..., 3]
        assert (alpha[: 1080 - height - 4] == 0).all(), "something is painted outside the box"
        inside = picture[1080 - round(box["height"]) :, round(box["x"]) : round(box["x"] + box["width"])]
        part = inside[inside[..., 3] == 255][:, :3].astype(int)
        assert near(part, "#4c9be8") > 20 and near(part, "#f2784b") > 20
        assert 0.05 < (inside[..., 3] > 0).mean() < 0.95
        found = page.evaluate(COLLISIONS)
        assert (found["cut"], found["over"]) == ([], [])
        # Over video: an outline in the opposite of the letters, and no shadow.
        styles = page.evaluate(
            "() => [...document.querySelectorAll('.overlay-number, .overlay-team')].map(e => getComputedStyle(e))"
            ".map(s => [s.textShadow, parseFloat(s.webkitTextStrokeWidth) > 0, s.paintOrder])"
        )
        assert styles and all(style == ["none", True, "stroke"] or style[:2] == ["none", True] for style in styles)


@pytest.mark.parametrize("name", ["wall", "match", "ops"])
def test_every_control_is_reached_by_keyboard_and_shows_it(site: Site, page: Any, name: str) -> None:
    show(page, site, name, "dark")
    page.evaluate("document.activeElement?.blur()")
    wanted = page.evaluate(
        "() => [...document.querySelectorAll('a, button, select, [tabindex=\"0\"]')]."
        "filter(e => e.checkVisibility()).length"
    )
    reached = set()
    for _ in range(wanted + 2):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "() => { const e = document.activeElement; if (e === document.body) return null;"
            " e.dataset.stop ??= String(Math.random()); const s = getComputedStyle(e);"
            " return [e.dataset.stop, s.outlineStyle, parseFloat(s.outlineWidth), e.outerHTML.slice(0, 90)]; }"
        )
        if told is None:
            continue
        reached.add(told[0])
        assert told[1] != "none" and told[2] >= 2, told[3]
    assert len(reached) >= wanted


@pytest.mark.parametrize("name", ["wall", "match", "ops"])
def test_who_asked_for_less_motion_sees_none(site: Site, page: Any, name: str) -> None:
    page.emulate_media(reduced_motion="reduce")
    show(page, site, name, "dark")
    moving = page.evaluate(
        "() => [...document.querySelectorAll('body *')].filter(e => { const s = getComputedStyle(e);"
        " return parseFloat(s.transitionDuration) > 0 || s.animationName !== 'none'; }).map(e => e.className)"
    )
    assert moving == []


def test_nobody_else_sees_motion_of_more_than_200_ms(site: Site, page: Any) -> None:
    for name in PAGES:
        show(page, site, name, "dark")
        longest = page.evaluate(
            "() => Math.max(...[...document.querySelectorAll('body *')].flatMap(e =>"
            " getComputedStyle(e).transitionDuration.split(',').map(parseFloat)))"
        )
        assert longest <= 0.2, name


@pytest.mark.parametrize("name", ["wall", "match", "ops"])
def test_a_page_stays_within_its_budget_of_bytes_and_requests(site: Site, page: Any, name: str) -> None:
    loaded: list[Any] = []
    page.on("requestfinished", lambda request: loaded.append(request))
    show(page, site, name, "dark")
    files = [request for request in loaded if "/api/" not in request.url]
    weight = sum(len(gzip.compress(request.response().body())) for request in files)
    assert 0 < weight <= BUDGET_BYTES
    assert len(loaded) <= BUDGET_REQUESTS


def test_charts_have_an_equivalent_in_text(site: Site, page: Any) -> None:
    show(page, site, "match", "dark")
    assert page.locator(".visually-hidden table").count() == 2
    assert page.locator(".visually-hidden table").first.locator("tbody tr").count() == 40
    for chart in page.locator(".chart").all():
        assert chart.get_attribute("aria-label")


def test_an_hour_of_answers_leaves_the_wall_no_larger(page: Any) -> None:
    with Site(wall_interval_s=0.001, delayed_s=1e9) as busy:
        names = [f"m{number}" for number in range(10)]
        told = page.context.new_cdp_session(page)

        def held() -> tuple[int, int]:
            """Nodes and bytes."""
            told.send("HeapProfiler.collectGarbage")
            counters = told.send("Memory.getDOMCounters")
            return counters["nodes"] + counters["jsEventListeners"], told.send("Runtime.getHeapUsage")["usedSize"]

        def play(first: int, last: int) -> tuple[int, int]:
            """Frames one at a time, so that each is a message; then what is held."""
            for frame in range(first, last):
                for name in names:
                    busy.say(frame, frame % 7 / 10 - 0.3, name, commentary_en=f"Sentence {frame}.")
                if frame % 4 == 0 and frame > first:
                    page.wait_for_selector(f'[data-id="m9"][data-last-id^="0-{10 * frame + 9 - 40}"], [data-id="m9"]')
            page.wait_for_selector(f'[data-id="m9"][data-last-id="0-{10 * last - 1}"]')
            return held()

        page.goto(busy.url("/"))
        nodes, heap = play(0, 70)  # the lines of history are full
        play(70, 190)

        def no_larger() -> bool:
            """What has just gone may be collected only the next time."""
            more_nodes, more_heap = held()
            return more_nodes <= nodes + 20 and more_heap <= heap + 400_000

        wait_until(no_larger, pause_s=0.2, otherwise=lambda: f"{held()} after {nodes, heap}")
