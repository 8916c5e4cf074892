"""The README's pictures, taken from a running demo: `python docs/screenshots.py URL` (see `sightline demo`), with
`store` or `shop` after it where that is what the demo shows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, from anywhere

from serve.gateway.addresses import written_id  # noqa: E402
from serve.gateway.testing import CHROMIUM_FLAGS, find_chromium  # noqa: E402


class Picture(NamedTuple):
    """One page, in CSS pixels."""

    name: str
    path: str
    width: int
    height: int
    wait_for: str = "main"
    act: Callable[[Page], None] = lambda page: None  # before it is taken


def go_shopping(page: Page) -> None:
    """Look at some things of one category, one after another, each once the offer for the one before is there."""
    page.wait_for_selector('[data-testid="goods"] .good-card')
    category = page.locator('[data-testid="goods"] .good-category').first.inner_text()
    for place in range(3):
        page.locator('[data-testid="goods"] .good', has_text=category).nth(place).get_by_role("button").click()
        page.get_by_text("answered in").wait_for()
        if place == 1:
            page.click('[data-testid="add"]')


def of_matches(url: str) -> list[Picture]:
    """The wall, and the match that is on air for longest."""
    matches: list[dict[str, Any]] = httpx.get(f"{url}/api/matches").json()["matches"]
    longest = written_id(max((m for m in matches if m["status"] == "live"), key=lambda m: len(m["spark"]))["id"])
    return [
        Picture("wall", "/?theme=dark", 1280, 720),
        Picture("match", f"/matches/{longest}?theme=dark", 1280, 720),
        Picture("overlay", f"/overlay/{longest}?theme=dark&w=900&h=200", 900, 200, "body"),
    ]


def main(url: str, what: str) -> None:
    """Write PNGs beside this file."""
    others = {
        "store": [Picture("store", "/store?theme=dark", 1440, 900, ".tile-picture")],
        "shop": [Picture("shop", "/shop?theme=dark", 1440, 900, act=go_shopping)],
    }
    pictures = others[what] if what in others else of_matches(url)
    if (chromium := find_chromium()) is None:
        sys.exit("no Chromium on the path: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        for picture in pictures:
            size: Any = {"width": picture.width, "height": picture.height}
            page = browser.new_page(viewport=size, bypass_csp=True)
            page.goto(f"{url}{picture.path}")
            page.wait_for_selector(picture.wait_for)
            picture.act(page)
            page.wait_for_timeout(3_000)
            if picture.name == "overlay":  # transparent on air; a ground makes it visible here
                page.add_style_tag(content="html { background: #2b3440 !important }")
            page.screenshot(path=str(HERE / f"{picture.name}.png"))
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), (sys.argv[2:] or ["matches"])[0])
