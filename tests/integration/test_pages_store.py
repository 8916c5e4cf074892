"""The store's page in a real browser, over a small simulated store whose truth is known."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serve.gateway.store.service import StoreFiles
from serve.gateway.testing import Site
from streaming.store.plan_file import read_plan
from streaming.topics import STORE_ALERTS, STORE_METRICS
from tests.pages import SIZES, painted, pixels, region, require_legible, resize, still_picture
from tests.store_site import Scene, alert, configured, write

pytestmark = pytest.mark.browser

ON_PLAN = r"(p\d+|aisle-\d|queue-\d|entrance|door)"  # people stand where they stand


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.fixture
def site(scene: Scene, path: Path) -> Iterator[Site]:
    quiet = {"delayed_s": 1e9, "silent_s": 1e9, "stuck_s": 1e9, "people_interval_s": 0.05}
    files = StoreFiles(path, configured)
    with Site(files, audit=path.with_name("audit.jsonl"), show_frames=True, store_origin="simulated", **quiet) as made:
        scene.tell(made, read_plan(path).plan)
        yield made


def show(page: Any, site: Site, query: str = "") -> None:
    page.goto(site.url(f"/store{query}"))
    page.wait_for_selector('[data-testid="counts"][data-points]')
    for camera in ("cam-01", "cam-02"):  # each has its picture, not only the first
        page.wait_for_selector(f'[data-camera="{camera}"][data-captured]:not([data-captured=""])')


def at(page: Any, x_m: float, y_m: float) -> tuple[float, float]:
    """Where a place of the floor is on the screen."""
    found = page.evaluate(
        "([x, y]) => { const s = document.querySelector('.plan-drawing');"
        " const p = new DOMPoint(x, y).matrixTransform(s.getScreenCTM()); return [p.x, p.y]; }",
        [x_m, y_m],
    )
    return found[0], found[1]


def places(page: Any) -> dict[str, str]:
    rows = page.locator('[data-testid="place-row"]').all()
    return {row.get_attribute("data-place"): row.inner_text() for row in rows}


def test_a_zone_drawn_by_mouse_is_stored_and_counted(site: Site, scene: Scene, path: Path, page: Any) -> None:
    show(page, site)
    page.click('[data-testid="edit"]')
    page.click('[data-tool="zone"]')
    corners = [(0.5, 10.5), (9.0, 10.5), (9.0, 14.0), (0.5, 14.0)]
    for x_m, y_m in corners:
        page.mouse.click(*at(page, x_m, y_m))
    page.mouse.click(*at(page, *corners[0]))
    shape = page.locator('[data-shape="zone-1"]')
    shape.wait_for()
    shape.get_by_label("Name").fill("front")
    shape.get_by_label("Name").press("Enter")
    page.click('[data-testid="save"]')
    page.get_by_text("Saved.").wait_for()
    (drawn,) = [zone for zone in read_plan(path).plan.zone if zone.name == "front"]
    for corner, wanted in zip(drawn.polygon, corners, strict=True):
        assert corner == pytest.approx(wanted, abs=0.11)
    assert "not counted yet" in places(page)["front"]

    rows = scene.counted(read_plan(path).plan)  # as store-metrics counts after a restart
    site.tell(STORE_METRICS, *[row | {"revision": 1} for row in rows])
    last = max(row["window_end_ms"] for row in rows)
    in_front = next(row for row in rows if row["zone_id"] == "front" and row["window_end_ms"] == last)
    exactly = re.compile(rf"^{in_front['occupancy_end']}$")
    page.locator('[data-place="front"] [data-testid="place-now"]', has_text=exactly).wait_for()
    when = pl.col("captured_ms").dt.timestamp("ms").is_between(in_front["window_start_ms"], last, closed="left")
    inside = pl.col("x_m").is_between(0.5, 9.0) & pl.col("y_m").is_between(10.5, 14.0)
    truth = scene.sightings.filter(when & inside)["person_id"].n_unique()
    assert truth > 1 and abs(in_front["people"] - truth) <= 1  # who was in it between two steps only may be missed


def test_a_corner_is_moved_by_mouse_undone_and_a_zone_that_crosses_itself_is_told_beside_it(
    site: Site, path: Path, page: Any
) -> None:
    show(page, site)
    before = path.read_bytes()
    page.click('[data-testid="edit"]')
    (x0, y0), *_ = polygon = read_plan(path).plan.zone[0].polygon
    x1, y1 = polygon[2]
    page.mouse.click(*at(page, x0 + 0.6, y0 + 0.6))
    page.mouse.move(*at(page, x0, y0))
    page.mouse.down()
    page.mouse.move(*at(page, x0 + 1, y0 + 1), steps=4)
    page.mouse.move(*at(page, x1 + 1.0, (y0 + y1) / 2), steps=4)
    page.mouse.up()
    problem = page.locator('[data-shape="entrance"] .shape-problem')
    problem.wait_for()
    assert problem.inner_text() == "entrance crosses itself"
    assert page.locator('[data-testid="save"]').is_disabled()
    page.get_by_role("button", name="Undo").click()
    problem.wait_for(state="detached")
    assert page.get_by_label("Corner 1, x in metres").input_value() == str(x0)
    page.click('[data-testid="edit"]')
    assert path.read_bytes() == before


def test_zones_are_made_and_changed_by_keyboard_alone(site: Site, path: Path, page: Any) -> None:
    show(page, site)
    page.locator('[data-testid="edit"]').press("Enter")
    page.locator('[data-tool="line"]').press("Enter")
    page.get_by_role("button", name="Put a square instead").press("Enter")
    end = page.get_by_label("Corner 2, x in metres")
    end.fill("7.5")
    end.press("Tab")
    page.locator('[data-testid="save"]').press("Enter")
    page.get_by_text("Saved.").wait_for()
    assert read_plan(path).plan.line[-1].end[0] == 7.5


def test_of_two_editors_the_second_is_told_and_may_choose(site: Site, path: Path, page: Any) -> None:
    show(page, site)
    page.click('[data-testid="edit"]')
    page.click('[data-shape="queue-1"] .shape-head')
    page.get_by_label("Kind").select_option("area")
    path.write_text(path.read_text().replace("gone_s = 30.0", "gone_s = 20.0"))
    page.click('[data-testid="save"]')
    page.locator('[data-testid="conflict"]').wait_for()
    assert read_plan(path).plan.gone_s == 20.0
    page.get_by_role("button", name="Keep mine").click()
    page.click('[data-testid="save"]')
    page.get_by_text("Saved.").wait_for()
    assert {zone.name: zone.kind for zone in read_plan(path).plan.zone}["queue-1"] == "area"


def test_people_counts_and_alerts_move_by_themselves_and_survive_a_restart(
    site: Site, scene: Scene, path: Path, page: Any
) -> None:
    show(page, site)
    shown = int(page.inner_text('[data-testid="people-now"]'))
    rows = [row for row in scene.counted(read_plan(path).plan) if row["zone_id"] == "store"]
    newest = max(rows, key=lambda row: row["window_end_ms"])
    assert shown == newest["occupancy_end"]
    later = {name: newest[name] + 10_000 for name in ("window_start_ms", "window_end_ms", "emit_time_ms")}
    site.tell(STORE_METRICS, newest | later | {"occupancy_end": 41})
    page.locator('[data-testid="people-now"]', has_text="41").wait_for()
    site.stop()
    page.get_by_text("Reconnecting").wait_for()
    site.tell(STORE_ALERTS, alert(rule="camera-down", kind="camera_down", zone_id="cam-01", subject="cam-01"))
    site.start()
    page.locator('[data-testid="alert"][data-open="true"]').wait_for()
    page.locator('[data-testid="open-alerts"]', has_text="1 open alert").wait_for()
    assert page.locator('[data-testid="alert"]').count() == 3


def test_boxes_and_ids_lie_over_a_picture_without_heads(site: Site, scene: Scene, page: Any) -> None:
    page.clock.set_fixed_time(datetime.now(UTC))  # who was seen is there until nothing was heard for five seconds
    show(page, site)
    moment_ms = scene.told_ms + 2_000
    scene.tell_sightings(site, scene.told_ms, moment_ms)
    tile = '[data-camera="cam-02"]'
    page.wait_for_selector(f'{tile}[data-seen="{moment_ms}"]')
    there = scene.seen_at(moment_ms).filter((pl.col("camera_id") == "cam-02") & pl.col("track_id").is_not_null())
    assert there.height and page.get_attribute(tile, "data-people") == str(there.height)
    told = page.inner_text(f'{tile} [data-testid="tile-who"]')
    assert set(there["person_id"]) <= set(re.findall(r"p\d+", told))
    scene.tell_frames(site, moment_ms)  # not shown yet
    scene.tell_sightings(site, moment_ms, moment_ms + 2_000)
    page.wait_for_selector(f'{tile}[data-captured="{moment_ms}"]')
    canvas = pixels(page.locator(f"{tile} canvas"))
    green = (abs(canvas[..., :3].astype(int) - (63, 182, 139)).max(axis=-1) < 40).sum()
    assert green > 100 and painted(canvas[..., :3].reshape(-1, 3).astype(int)) > 0.5


def test_without_a_store_the_page_says_what_to_set(page: Any) -> None:
    with Site() as bare:
        page.goto(bare.url("/store"))
        page.get_by_text("There is no store here. Set store.plan").wait_for()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("editing", [False, True])
def test_the_page_is_painted_legible_and_whole_in_every_size(site: Site, page: Any, theme: str, editing: bool) -> None:
    page.clock.set_fixed_time(datetime.now(UTC))  # nothing moves by itself
    show(page, site, f"?theme={theme}")
    if editing:
        page.click('[data-testid="edit"]')
        page.locator(".shape-head").first.click()
    for size, (width, height) in SIZES.items():
        resize(page, width, height)
        picture = still_picture(page, full_page=True)
        if size != "phone":
            assert page.evaluate("document.documentElement.scrollHeight") <= height + 1, f"{size}: the page scrolls"
        for selector in (".plan-drawing", ".store-chart", ".tile-picture"):
            assert painted(region(page, picture, selector)) > 0.01, f"{size}: {selector} is blank"
        require_legible(page, size, least_lines=20, may_meet=f"^{ON_PLAN} / {ON_PLAN}$")


def test_the_page_speaks_chinese(site: Site, page: Any) -> None:
    show(page, site, "?lang=zh")
    assert "人在店内" in page.inner_text("h1")
    page.click('[data-testid="edit"]')
    page.get_by_role("button", name="画区域").wait_for()
