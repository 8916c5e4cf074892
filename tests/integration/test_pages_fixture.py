"""The pages in a real browser, on a real gateway whose topics a test writes by hand."""

import math
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.gateway.run import Gateway
from serve.gateway.settings import BUILT_PAGES, GatewaySettings
from serve.gateway.testing import RowLog, event_row, insight_row, status_row

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
LAPTOP = {"width": 1280, "height": 720}
PHONE = {"width": 360, "height": 740}

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


class Site:
    """A gateway over topics in memory, which can go away and come back at the same address."""

    def __init__(self) -> None:
        self.log = RowLog()
        self.port = 0
        self.start()

    def start(self) -> None:
        listening = threading.Event()

        def on_listening(address: str) -> None:
            self.port = int(address.rsplit(":", 1)[1])
            listening.set()

        self._gateway = Gateway(self.log.feeds(), GatewaySettings(port=self.port, history_s=1e12), on_listening)
        self._thread = threading.Thread(target=self._gateway.serve)
        self._thread.start()
        assert listening.wait(20)

    def stop(self) -> None:
        self._gateway.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def say(self, frame: int, logit: float, match_id: str = "m1", **changed: Any) -> None:
        """One answer: gold gives three quarters of the logit, towers the rest."""
        p = 1 / (1 + math.exp(-logit))
        parts = {"contribution_gold": 0.75 * logit, "contribution_tower": 0.25 * logit, "change_tower": 0.1}
        self.log.append("match.insights", insight_row(match_id, frame, p=p, logit=logit, **(parts | changed)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: apt install chromium")
    if not Path(BUILT_PAGES, "index.html").is_file():
        pytest.skip("the pages are not built: run `make pages`")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=chromium, args=QUIET)
        yield found
        found.close()


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


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport=LAPTOP, color_scheme="dark", locale="en-US")
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    opened.complaints = []
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("console", lambda line: opened.complaints.append(line.text) if "Content Security" in line.text else None)
    yield opened
    assert opened.complaints == []
    context.close()


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
    assert "0:00" in page.inner_text(".tip")
    page.keyboard.press("ArrowRight")
    assert "0:30" in page.inner_text(".tip")
    page.locator(".feed-row.lit").first.wait_for()
    page.keyboard.press("Escape")
    page.locator(".tip").wait_for(state="hidden")
    page.hover('[data-testid="event-row"]')
    page.locator(".tip").wait_for()


def test_the_overlay_is_see_through_holds_the_last_answer_and_then_fades(site: Site, page: Any) -> None:
    page.clock.install()
    page.goto(site.url("/overlay/m1?w=800&h=200"))
    bar = page.locator('[data-testid="overlay-bar"][data-p]')
    bar.wait_for(state="attached")
    ground = "() => [document.documentElement, document.body].map(e => getComputedStyle(e).backgroundColor)"
    assert page.evaluate(ground) == ["rgba(0, 0, 0, 0)"] * 2
    shown = bar.inner_text()
    site.stop()
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


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("path", ["/", "/matches/m1", "/ops"])
def test_text_stands_out_and_nothing_is_wider_than_a_phone(site: Site, page: Any, path: str, theme: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(site.url(f"{path}?theme={theme}"))
    page.wait_for_selector('[data-testid="wall-card"], [data-points="4"], [data-testid="ops-row"]')
    assert [text for text, contrast in page.evaluate(CONTRASTS) if contrast < 4.5] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_number_reason_and_history_are_above_the_fold(site: Site, page: Any) -> None:
    page.goto(site.url("/matches/m1"))
    points(page, 4)
    for part in ("headline-p", "sentence", "curve", "contribution-sum", "trained-on"):
        box = page.locator(f'[data-testid="{part}"]').bounding_box()
        assert box["y"] + box["height"] <= LAPTOP["height"], part
