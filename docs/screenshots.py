"""The README's pictures, taken from a running demo: `python docs/screenshots.py URL` (see `sightline demo`)."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, from anywhere

from serve.gateway.addresses import written_id  # noqa: E402
from serve.gateway.testing import CHROMIUM_FLAGS, find_chromium  # noqa: E402


def main(url: str) -> None:
    """Write wall.png, match.png and overlay.png beside this file."""
    matches = httpx.get(f"{url}/api/matches").json()["matches"]
    longest = max((m for m in matches if m["status"] == "live"), key=lambda m: len(m["spark"]))
    if (chromium := find_chromium()) is None:
        sys.exit("no Chromium on the path: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        for name, path, width, height in (
            ("wall", "/?theme=dark", 1280, 720),
            ("match", f"/matches/{written_id(longest['id'])}?theme=dark", 1280, 720),
            ("overlay", f"/overlay/{written_id(longest['id'])}?theme=dark&w=900&h=200", 900, 200),
        ):
            page = browser.new_page(viewport={"width": width, "height": height}, bypass_csp=True)
            page.goto(f"{url}{path}")
            page.wait_for_timeout(3_000)
            if name == "overlay":  # transparent on air; a ground makes it visible here
                page.add_style_tag(content="html { background: #2b3440 !important }")
            page.screenshot(path=str(HERE / f"{name}.png"))
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
