"""Every page in every theme and size, looked at: painted where it should be, legible, nothing cut or on top of another.

No pictures are kept to compare with: fonts differ between machines. What holds on all of them is measured instead, on
the same matches each time.
"""

import gzip
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serve.gateway.addresses import written_id
from serve.gateway.testing import T0_MS, Site, event_row, status_row

pytestmark = pytest.mark.browser

SIZES = {"phone": (360, 740), "laptop": (1280, 720), "studio": (1920, 1080)}
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

# The text of each visible element against the nearest ground behind it that is not see-through.
CONTRASTS = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && e.checkVisibility())
    .filter((e) => !e.closest(".visually-hidden, noscript"))
    .map((e) => {
      const [x, y] = [light(rgb(getComputedStyle(e).color)), light(ground(e))];
      return [e.className + ": " + e.textContent, (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05)];
    });
}"""

# Lines of text that are cut off without an ellipsis, and pairs of them that lie on top of each other.
COLLISIONS = """() => {
  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const host = node.parentElement;
    const plain = node.data.trim() && host.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!plain || host.closest(".visually-hidden, noscript, option, select")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const clips = [];
    for (let e = host; e && e !== document.body; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (style.overflowX !== "visible" || style.overflowY !== "visible") clips.push({ e, style });
    }
    for (const { left, right, top, bottom } of range.getClientRects()) {
      if (right - left < 1) continue;
      const box = { left, right, top, bottom, text: node.data.trim(), node, cut: "" };
      let seen = true;
      for (const { e, style } of clips) {
        const inner = e.getBoundingClientRect();
        const told = style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none";
        const scrolls = /auto|scroll/.test(style.overflowX + style.overflowY);
        const beside = left < inner.left - 1 || right > inner.right + 1;
        const outside = beside || top < inner.top - 4 || bottom > inner.bottom + 4;
        if (outside && !told && !scrolls) box.cut = e.className || e.tagName;
        box.left = Math.max(box.left, inner.left);
        box.right = Math.min(box.right, inner.right);
        box.top = Math.max(box.top, inner.top);
        box.bottom = Math.min(box.bottom, inner.bottom);
        if (box.right - box.left < 1 || box.bottom - box.top < 1) seen = false;
      }
      if (box.right > document.documentElement.clientWidth + 1) box.cut = "the window";
      if (seen) lines.push(box);
    }
  }
  const cut = lines.filter((line) => line.cut).map((line) => `${line.text} by ${line.cut}`);
  // The box of a line is taller than its letters: what counts is the middle half of it.
  const middle = ({ top, bottom }) => [top + (bottom - top) / 4, bottom - (bottom - top) / 4];
  const over = [];
  lines.forEach((a, i) => lines.slice(i + 1).forEach((b) => {
    const [a0, a1] = middle(a), [b0, b1] = middle(b);
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    if (a.node !== b.node && wide > 2 && Math.min(a1, b1) - Math.max(a0, b0) > 2) over.push(`${a.text} / ${b.text}`);
  }));
  return { cut, over, lines: lines.length };
}"""

STRUCTURE = """() => {
  const name = (e) => (e.getAttribute("aria-label") || e.textContent || e.title || "").trim();
  const controls = [...document.querySelectorAll("a, button, select, input, [tabindex]")];
  return {
    mains: document.querySelectorAll("main").length,
    heads: document.querySelectorAll("h1").length,
    lang: document.documentElement.lang,
    nameless: controls.filter((e) => e.checkVisibility() && !name(e)).map((e) => e.outerHTML.slice(0, 80)),
    foreign: document.querySelectorAll("main img, main script, header script, main b, iframe").length,
    width: document.documentElement.scrollWidth,
  };
}"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(delayed_s=1e9, silent_s=1e9, stuck_s=1e9) as made:
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
    page.wait_for_timeout(400)  # the axes come to rest within 200 ms


def pixels(page: Any, **options: Any) -> Any:
    """(H, W, 4) uint8."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot(**options))).convert("RGBA"))


def region(page: Any, picture: Any, selector: str) -> Any:
    found = page.locator(selector).first
    box = found.bounding_box()
    assert box and box["width"] > 2 and box["height"] > 2, f"{selector} has no room"
    x, y = max(0, round(box["x"])), max(0, round(box["y"]))
    return picture[y : y + round(box["height"]), x : x + round(box["width"]), :3].reshape(-1, 3).astype(int)


def painted(part: Any) -> float:
    """Share of the pixels that differ from the commonest colour."""
    _, counts = np.unique(part @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    return 1 - counts.max() / len(part)


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
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        whole = page.evaluate("document.documentElement.scrollHeight")
        if size != "phone" and name in ("match", "result", "hostile"):
            assert whole <= height + 1, f"{size}: the page scrolls"
        picture = pixels(page, full_page=True)
        for selector in shown:
            assert painted(region(page, picture, selector)) > 0.01, f"{size}: {selector} is blank"
        for selector in of_both_sides:
            some = range(1, min(8, page.locator(selector).count()) + 1)
            part = np.concatenate([region(page, picture, f":nth-match({selector}, {n})") for n in some])
            for colour in ("#4c9be8", "#f2784b"):
                assert near(part, colour) > 4, f"{size}: {selector} shows one side only"
        found = page.evaluate(COLLISIONS)
        assert found["lines"] > 10
        assert (found["cut"], found["over"]) == ([], []), size
        assert [text for text, contrast in page.evaluate(CONTRASTS) if contrast < 4.5] == [], size
        structure = page.evaluate(STRUCTURE)
        assert structure == {
            "mains": 1, "heads": 1, "lang": "en", "nameless": [], "foreign": 0, "width": width,
        }, size  # fmt: skip
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
        page.wait_for_timeout(400)
        box = page.locator('[data-testid="overlay-bar"]').bounding_box()
        assert box["width"] <= width + 1 and box["height"] <= height + 1, match_id
        assert box["y"] + box["height"] <= 1081
        picture = pixels(page, omit_background=True)
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

        def play(first: int, last: int) -> tuple[int, int]:
            """Frames one at a time, so that each is a message; then nodes and bytes that are still held."""
            for frame in range(first, last):
                for name in names:
                    busy.say(frame, frame % 7 / 10 - 0.3, name, commentary_en=f"Sentence {frame}.")
                if frame % 4 == 0 and frame > first:
                    page.wait_for_selector(f'[data-id="m9"][data-last-id^="0-{10 * frame + 9 - 40}"], [data-id="m9"]')
            page.wait_for_selector(f'[data-id="m9"][data-last-id="0-{10 * last - 1}"]')
            told.send("HeapProfiler.collectGarbage")
            counters = told.send("Memory.getDOMCounters")
            return counters["nodes"] + counters["jsEventListeners"], told.send("Runtime.getHeapUsage")["usedSize"]

        page.goto(busy.url("/"))
        nodes, heap = play(0, 70)  # the lines of history are full
        more_nodes, more_heap = play(70, 190)
        assert more_nodes <= nodes + 20
        assert more_heap <= heap + 400_000
