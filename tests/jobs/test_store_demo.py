"""The store's demo, part by part: its scene and truth, its cameras, what it counts, what it takes from a log."""

from __future__ import annotations

import base64
import json
import re
import threading
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.camera_book import read_cameras
from jobs.children import Child
from jobs.demo_parts import DemoFailed
from jobs.settings import load_settings
from jobs.store_demo.cameras import (
    Broadcast,
    cameras_of_clips,
    cameras_of_scene,
    fitting,
    last_status,
    named,
    plan_of_clips,
    write_book,
)
from jobs.store_demo.demo import StoreDemo, StoreDemoOptions
from jobs.store_demo.report import table
from jobs.store_demo.scene import BEGIN_S, FPS, SIZE_PX, Scene
from jobs.store_demo.tally import Tally
from streaming.cameras.definition import CAMERA_ID
from streaming.cameras.opening import source_of
from streaming.cameras.source import BadSource
from streaming.features.jpeg import jpeg_size
from streaming.simulators.store.walks import walk
from streaming.store.plan_file import parse_store

SEED, LENGTH_S = 3, 90.0


@cache
def scene() -> Scene:
    return Scene(SEED, LENGTH_S)


def told(since_opening: int | None) -> dict[str, Any]:
    return json.loads(scene().line("cam-01", 1_790_000_000_000, since_opening))


def test_a_closed_store_is_shown_empty_and_an_open_one_with_the_boxes_of_its_people() -> None:
    closed = told(None)
    assert closed["detections"] == []
    picture = base64.b64decode(closed["jpeg"])
    size = jpeg_size(picture)
    assert (closed["width"], closed["height"]) == (size.width, size.height) == SIZE_PX
    seen = [told(number)["detections"] for number in range(0, 100, 10)]
    assert any(seen)
    assert told(0) == told(round(LENGTH_S * FPS)), "after its end it begins anew"


def test_visitors_are_those_of_the_walks_lap_by_lap() -> None:
    walks = walk(scene().made.plan, scene().made.traffic, SEED)
    there = walks.positions.filter(pl.col("time_s") > BEGIN_S)
    first = there.filter(pl.col("time_s") <= BEGIN_S + 10.0)["visit"].n_unique()
    assert abs(scene().visitors(10.0) - first) <= 1  # who leaves in the very step of the opening
    lap = scene().visitors(LENGTH_S - BEGIN_S)
    everybody = walks.visits["arrived_s"].count()
    assert scene().visitors(2 * LENGTH_S - BEGIN_S) == lap + everybody
    assert scene().visitors(3 * LENGTH_S - BEGIN_S) == lap + 2 * everybody


@given(st.floats(0, 500), st.floats(0, 500))
def test_visitors_never_grow_fewer(one_s: float, other_s: float) -> None:
    assert scene().visitors(min(one_s, other_s)) <= scene().visitors(max(one_s, other_s))


def test_the_plan_and_rules_of_the_scene_and_of_clips_can_be_used(tmp_path: Path) -> None:
    plan, rules = parse_store(scene().plan_table())
    assert {camera.name for camera in plan.camera} == {camera.camera_id for camera in scene().cameras}
    assert plan.floor is not None and {rule.kind for rule in rules} >= {"line", "crowding", "camera_down"}
    book = tmp_path / "cameras.toml"
    write_book(book, cameras_of_scene(scene(), tmp_path))
    cameras = read_cameras(book)
    assert all(camera.homography is not None and camera.purpose for camera in cameras)
    plan, _ = parse_store(plan_of_clips(cameras))
    assert plan.floor is None and [(c.width_px, c.height_px) for c in plan.camera] == [SIZE_PX] * 2


def test_the_scene_is_read_from_its_pipes_as_smart_cameras(tmp_path: Path) -> None:
    cameras = cameras_of_scene(scene(), tmp_path)
    broadcast = Broadcast(scene(), cameras)
    assert broadcast.opened_ms is None
    source = source_of(cameras[0].source, cameras[0].fps)
    assert source.live
    info = source.open()
    broadcast.open_doors()
    frames = [source.read() for _ in range(3)]
    source.close()
    broadcast.stop()
    assert (info.width, info.height) == SIZE_PX
    stamps = [frame.stated_ms for frame in frames if frame is not None and frame.stated_ms is not None]
    assert len(stamps) == 3 and np.all(np.diff(stamps) >= 1000 // FPS)
    assert broadcast.opened_ms is not None
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("scene ")]


@given(st.text(max_size=80).filter(lambda text: "/" not in text and "\0" not in text), st.lists(st.just("clip")))
def test_a_clips_camera_has_an_id_that_may_be_one_and_is_not_taken(stem: str, taken: list[str]) -> None:
    found = named(Path(f"{stem}.mp4"), taken)
    assert re.fullmatch(CAMERA_ID, found) and found not in taken


def test_clips_of_one_name_are_two_cameras() -> None:
    assert named(Path("a/till 1.mp4"), ["till-1"]) == "till-1-2"


@given(st.integers(1, 16_384), st.integers(1, 16_384))
def test_what_is_sent_of_a_clip_is_never_wide_and_keeps_its_proportions(width: int, height: int) -> None:
    wide, high = fitting(width, height)
    assert wide <= 960 and high >= 1
    assert abs(high - wide * height / width) <= 0.5 or high == 1


def test_a_clip_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(BadSource, match=r"notes\.mp4"):
        cameras_of_clips([tmp_path / "notes.mp4"])


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def sighting(offset: int, track: int | None = None, person: str | None = None, **more: Any) -> dict[str, Any]:
    row = {"camera_id": "cam-01", "captured_ms": at(1_000 + offset), "track_id": track, "person_id": person}
    correction = {"corrects_person_id": None, "corrects_from_ms": None}
    return row | correction | {"source_partition": 0, "source_offset": offset} | more


def rows(*told: dict[str, Any]) -> pl.DataFrame:
    kinds: dict[str, Any] = {"track_id": pl.Int64, "corrects_from_ms": pl.Datetime("ms", "UTC")}
    kinds |= {"person_id": pl.String, "corrects_person_id": pl.String, "captured_ms": pl.Datetime("ms", "UTC")}
    return pl.DataFrame(list(told), schema_overrides=kinds)


def test_sightings_are_counted_by_frame_and_names_follow_their_corrections() -> None:
    tally = Tally()
    tally.take_sightings(rows(sighting(0), sighting(1, 7, "P1"), sighting(1, 8, "P2")), now_ms=1_100)
    tally.take_sightings(rows(sighting(200, 7, "P1"), sighting(201, 9, "P3")), now_ms=1_300)
    assert (tally.frames, tally.sightings, tally.people, tally.corrections) == (4, 4, 3, 0)
    assert tally.latency_ms == {"p50": 99.5, "p99": 100.0}, "of frames taken after the first answer"
    same = sighting(202, None, "P1", corrects_person_id="P3", corrects_from_ms=at(900))
    other = sighting(202, 8, "P1", corrects_person_id="P2", corrects_from_ms=at(900))
    tally.take_sightings(rows(same, other), now_ms=1_400)
    assert (tally.frames, tally.sightings, tally.people, tally.corrections) == (4, 4, 1, 2)


def window(start: int, revision: int, entered: int, zone: str = "store") -> dict[str, Any]:
    times = {"window_start_ms": at(start), "window_end_ms": at(start + 10_000)}
    return {"zone_id": zone, "revision": revision, "entered": entered} | times


def test_visits_are_those_of_the_latest_revision_of_each_window_of_the_store() -> None:
    tally = Tally()
    assert tally.counted_until_ms is None
    tally.take_metrics(pl.DataFrame([window(0, 0, 2), window(10_000, 0, 1), window(0, 0, 9, zone="back")]))
    tally.take_metrics(pl.DataFrame([window(0, 2, 4), window(0, 1, 3)]))
    assert (tally.visits, tally.counted_until_ms) == (5, 20_000)
    tally.take_alerts(pl.DataFrame({"state": ["raised", "cleared", "raised"]}))
    assert tally.alerts == 2


def test_the_last_status_of_a_camera_is_found_among_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "camera.log"
    assert last_status(log) == {}
    log.write_text("x" * 10_000 + '\n{"camera": "a", "sent": 1}\n{"camera": "a", "sent": 2}\n{"message": "end"}\n{cut')
    assert last_status(log)["sent"] == 2


class Ended:
    """A child that has ended."""

    def __init__(self, log: Path, code: int) -> None:
        self.name, self.ended, self.last_line, self.log = "camera-a", code, "it broke", log


@pytest.mark.parametrize(("clips", "code", "fails"), [(True, 0, False), (True, 2, True), (False, 0, True)])
def test_only_the_camera_of_a_clip_may_end(tmp_path: Path, clips: bool, code: int, fails: bool) -> None:
    settings = load_settings({"home": (str(tmp_path), "--set")}).settings
    demo = StoreDemo(StoreDemoOptions(), settings, tmp_path, lambda words: None, 0.0)
    demo._scene = None if clips else scene()  # noqa: SLF001
    (tmp_path / "log").write_text("")
    child: Child = Ended(tmp_path / "log", code)  # type: ignore[assignment]
    demo._children.append(child)  # noqa: SLF001
    demo._filming["a"] = child  # noqa: SLF001
    if fails:
        with pytest.raises(DemoFailed, match="the camera-a ended by itself: it broke"):
            demo.raise_if_ended()
    else:
        demo.raise_if_ended()


def test_a_report_says_counted_beside_truth_and_nothing_where_there_is_nothing() -> None:
    report = {
        "frames": {"sent": 1200, "dropped": 1, "unusable": 0, "answered": 1190},
        "people": {"names": 5, "visits_counted": 6, "visitors_in_truth": 7},
        "sightings": 900,
        "corrections": 3,
        "alerts": 2,
        "latency_ms": {"p50": 250.0, "p99": 800.0},
    }
    said = dict(table(report))
    assert said["frames"] == "1,200 sent, 1 dropped, 1,190 answered"
    assert said["visits"] == "6 counted; 7 in truth"
    assert said["frame to sighting"] == "p50 250 ms, p99 800 ms"
    assert table({"source": "made-up store"}) == [("stopped", "before anything was sent")]
