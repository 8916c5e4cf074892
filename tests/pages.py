"""What holds of every page in a real browser, on any machine: painted, legible, nothing cut or on top of another."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from PIL import Image

from tests.waiting import wait_until

SIZES = {"phone": (360, 740), "laptop": (1280, 720), "studio": (1920, 1080)}

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


def pixels(page: Any, **options: Any) -> Any:
    """(H, W, 4) uint8."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot(**options))).convert("RGBA"))


def still_picture(page: Any, **options: Any) -> Any:
    """(H, W, 4) uint8, of a page at rest: some frames later it looks the same. A chart glides to its new axis in a
    fifth of a second, by frames that a slow machine draws late."""
    seen = [pixels(page, **options)]

    def rests() -> bool:
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        seen[:] = [seen[-1], pixels(page, **options)]
        return np.array_equal(*seen)

    wait_until(rests, otherwise=lambda: "the page does not come to rest")
    return seen[-1]


def resize(page: Any, width: int, height: int) -> None:
    """A window of this size, once the page has it."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function("([width, height]) => innerWidth === width && innerHeight === height", arg=[width, height])


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


def require_legible(page: Any, size: str, *, least_lines: int, may_meet: str = "(?!)") -> None:
    """Text is not cut, nothing lies on top of other text but pairs "ONE / OTHER" of this pattern, and all of it stands
    out; one heading, a name for every control, nothing wider than the window.

    Args:
        page: at rest, in a window of this size.
        size: of `SIZES`.
        least_lines: of text; fewer, and it was not looked at.
        may_meet: a regular expression.
    """
    found = page.evaluate(COLLISIONS)
    assert found["lines"] > least_lines
    over = [pair for pair in found["over"] if not re.search(may_meet, pair)]
    assert (found["cut"], over) == ([], []), size
    assert [text for text, contrast in page.evaluate(CONTRASTS) if contrast < 4.5] == [], size
    structure = {"mains": 1, "heads": 1, "lang": "en", "nameless": [], "foreign": 0, "width": SIZES[size][0]}
    assert page.evaluate(STRUCTURE) == structure, size
