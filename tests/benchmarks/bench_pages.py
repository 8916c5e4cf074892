"""The pages in Chromium: frames a second with fifty live cards, first paint, weight, what an hour leaves. Prints JSON.

A gateway over topics in memory says four answers a match and second, as fast as the wall ever hears of one; the page
counts its own frames by requestAnimationFrame. Memory is that of the wall after an hour's worth of answers, against
that after the first half hour, when its lines of history are full.
"""

from __future__ import annotations

import gzip
import json
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from playwright.sync_api import Page, sync_playwright

from serve.gateway.testing import CHROMIUM_FLAGS, Site, find_chromium

CARDS = 50
ANSWERS_PER_S = 4.0
WATCHED_S = 15.0
HOUR_FRAMES = 120  # one in 30 s of game
FRAMES = """seconds => new Promise(done => {
  const times = [];
  const step = now => {
    times.push(now);
    if (now - times[0] < seconds * 1000) requestAnimationFrame(step); else done(times);
  };
  requestAnimationFrame(step);
})"""


@contextmanager
def talking(site: Site, first: int) -> Iterator[None]:
    """Answers of all matches, a stretch of each second's apart, until the end."""
    stop = threading.Event()

    def talk() -> None:
        frame, due_s = first, time.monotonic()
        while not stop.is_set():
            for number in range(CARDS):
                site.say(frame, math.sin(frame / 5 + number), f"m{number:02}", commentary_en=f"Sentence {frame}.")
            frame, due_s = frame + 1, due_s + 1 / ANSWERS_PER_S
            stop.wait(max(0.0, due_s - time.monotonic()))

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def loaded(page: Page, site: Site, path: str, ready: str) -> dict[str, float]:
    """First contentful paint, gzipped bytes and requests of a fresh visit."""
    answers: list[Any] = []
    page.on("response", lambda answer: answers.append(answer))  # it takes no builtin
    page.goto(site.url(path))
    page.wait_for_selector(ready)
    painted_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
    files = [answer for answer in answers if "/api/" not in answer.url]
    weight = sum(len(gzip.compress(answer.body())) for answer in files)
    return {"first_paint_ms": round(painted_ms), "weight_bytes": weight, "requests": len(answers)}


def frames(page: Page, site: Site) -> dict[str, float]:
    """Frames a second while every card changes four times a second."""
    page.goto(site.url("/"))
    page.locator(".card").nth(CARDS - 1).wait_for(state="attached")
    with talking(site, first=1):
        page.wait_for_timeout(1_000)
        times = page.evaluate(FRAMES, WATCHED_S)
    gaps_ms = sorted(b - a for a, b in pairwise(times))
    return {
        "cards": CARDS,
        "answers_per_s": CARDS * ANSWERS_PER_S,
        "frames_per_s": round(1000 * len(gaps_ms) / (times[-1] - times[0]), 1),
        "frame_p99_ms": round(gaps_ms[int(0.99 * len(gaps_ms))], 1),
    }


def held(page: Page) -> tuple[int, int]:
    """Bytes of the heap and nodes of the document, after the garbage is gone."""
    inspector = page.context.new_cdp_session(page)
    inspector.send("HeapProfiler.collectGarbage")
    heap = inspector.send("Runtime.getHeapUsage")["usedSize"]
    nodes = inspector.send("Memory.getDOMCounters")["nodes"]
    inspector.detach()
    return heap, nodes


def memory(page: Page, site: Site) -> dict[str, float]:
    """What the second half of an hour adds."""
    page.goto(site.url("/"))
    measured = []
    for start in (0, HOUR_FRAMES // 2):
        for frame in range(start, start + HOUR_FRAMES // 2):
            for number in range(CARDS):
                site.say(frame, math.sin(frame / 5 + number), f"m{number:02}", commentary_en=f"Sentence {frame}.")
            page.wait_for_selector(f'[data-id="m{CARDS - 1:02}"][data-last-id="0-{CARDS * (frame + 1) - 1}"]')
        measured.append(held(page))
    (heap, nodes), (heap_later, nodes_later) = measured
    return {
        "answers": HOUR_FRAMES * CARDS,
        "heap_mb": round(heap_later / 2**20, 2),
        "growth_mb": round((heap_later - heap) / 2**20, 2),
        "growth_nodes": nodes_later - nodes,
    }


def main() -> None:
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no Chromium on the path: apt install chromium")
    result: dict[str, Any] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        with Site(delayed_s=1e9) as site:
            for number in range(CARDS):
                site.play(f"m{number:02}", 1, seed=number)
            visits = {"wall": ("/", ".card"), "match": ("/matches/m00", '[data-points="1"]')}
            for name, (path, ready) in visits.items():
                page = browser.new_page(viewport={"width": 1280, "height": 720})
                result[name] = loaded(page, site, path, ready)
                page.close()
            page = browser.new_page(viewport={"width": 1920, "height": 1080})
            result["frames"] = frames(page, site)
            page.close()
        with Site(delayed_s=1e9, wall_interval_s=0.001) as site:
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            result["hour"] = memory(page, site)
            page.close()
        browser.close()
    sys.stdout.write(json.dumps({"pages": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
