"""Frames of cameras: heads are gone from what is shown, and nothing is shown of which it is not known who is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import simplejpeg

from serve.gateway.store.service import StoreFiles
from serve.gateway.testing import Site
from streaming.features.jpeg import decode_jpeg
from streaming.topics import CAMERA_FRAMES, PERSON_SIGHTINGS
from tests.store_site import configured, write
from tests.waiting import PATIENCE_S, wait_until

WIDTH, HEIGHT = 160, 120
BOX = (40.0, 20.0, 80.0, 110.0)


def picture(seed: int = 0) -> np.ndarray:
    """(H, W, 3), smooth enough that JPEG keeps it, and detailed enough that a blur shows."""
    random = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    return np.asarray(cv2.resize(random, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))


def jpeg_of(image: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), 95)


class Lab:
    """A gateway, and one camera whose frames and sightings are told by hand."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def frame(self, captured_ms: int, jpeg: bytes | None = None) -> None:
        jpeg = jpeg_of(picture()) if jpeg is None else jpeg
        row = {
            "camera_id": "cam-01",
            "captured_ms": captured_ms,
            "frame": captured_ms,
            "width": WIDTH,
            "height": HEIGHT,
        }
        self.site.tell(CAMERA_FRAMES, row | {"jpeg": jpeg})

    def sighting(self, captured_ms: int, **changed: Any) -> None:
        box = dict(zip(("x0_px", "y0_px", "x1_px", "y1_px"), BOX, strict=True))
        row = {"camera_id": "cam-01", "captured_ms": captured_ms, "frame": captured_ms, "track_id": 1, **box}
        self.site.tell(PERSON_SIGHTINGS, row | changed)

    def nobody(self, captured_ms: int, **changed: Any) -> None:
        """The frame shows no confirmed track."""
        self.sighting(captured_ms, track_id=None, x0_px=None, y0_px=None, x1_px=None, y1_px=None, **changed)

    def ask(self, camera: str = "cam-01", after_ms: int = 0) -> httpx.Response:
        url = self.site.url(f"/api/v1/store/cameras/{camera}/frame")
        return httpx.get(url, params={"after_ms": after_ms}, timeout=PATIENCE_S)


@pytest.fixture
def lab(tmp_path: Path):
    files = StoreFiles(write(tmp_path), lambda: configured(["cam-01"]))
    with Site(files, audit=tmp_path / "audit.jsonl", show_frames=True) as site:
        yield Lab(site)


def head_is_gone(shown: httpx.Response) -> bool:
    image = decode_jpeg(shown.content).astype(int)
    return bool(np.abs(image[25:40, 45:75] - picture()[25:40, 45:75].astype(int)).mean() > 20)


def test_a_frame_is_shown_once_it_is_known_who_was_there_until_a_moment_later_and_each_look_is_written_down(
    lab: Lab, tmp_path: Path
) -> None:
    lab.frame(1_000)
    lab.sighting(1_000)
    lab.frame(3_000)
    lab.sighting(2_499)
    assert lab.ask().status_code == 204
    lab.sighting(2_500)
    lab.sighting(3_000)
    wait_until(lambda: lab.ask().status_code == 200)
    shown = lab.ask()
    assert shown.headers["sightline-captured-ms"] == "1000" and shown.headers["cache-control"] == "no-store"
    assert head_is_gone(shown)
    assert lab.ask(after_ms=1_000).status_code == 204
    lab.sighting(5_000)
    wait_until(lambda: lab.ask(after_ms=1_000).headers.get("sightline-captured-ms") == "3000")
    looks = [json.loads(line)["what"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert looks == ["camera cam-01"]


def test_who_is_confirmed_a_second_after_the_first_frame_has_no_head_in_it(lab: Lab) -> None:
    lab.frame(1_000)
    for captured_ms in range(1_000, 2_000, 200):
        lab.nobody(captured_ms)
    for captured_ms in range(2_000, 2_600, 200):
        lab.sighting(captured_ms)
    lab.nobody(2_600)
    wait_until(lambda: lab.ask().status_code == 200)
    assert head_is_gone(lab.ask())


def test_who_is_found_but_never_confirmed_has_no_head_either(lab: Lab) -> None:
    lab.frame(1_000)
    lab.nobody(1_000, found_px=list(BOX))
    lab.nobody(2_500)
    wait_until(lambda: lab.ask().status_code == 200)
    assert head_is_gone(lab.ask())


def test_a_frame_that_cannot_be_decoded_shows_nothing_and_the_next_is_shown(lab: Lab) -> None:
    lab.frame(1_000, b"no picture at all")
    lab.sighting(1_000)
    lab.sighting(2_500)
    assert lab.ask().status_code == 204
    lab.frame(2_500)
    lab.sighting(4_000)
    wait_until(lambda: lab.ask().headers.get("sightline-captured-ms") == "2500")


def test_a_camera_of_many_frames_a_second_is_kept_for_as_long_as_one_of_few(lab: Lab) -> None:
    for captured_ms in range(1_000, 7_000, 10):
        lab.frame(captured_ms, b"not looked at" if captured_ms > 1_000 else None)
    lab.sighting(1_000)
    lab.sighting(7_000)
    wait_until(lambda: lab.ask().headers.get("sightline-captured-ms") == "1000")


def test_a_camera_without_a_purpose_is_not_looked_at(lab: Lab, tmp_path: Path) -> None:
    refused = lab.ask("cam-02")
    assert refused.status_code == 403 and "no purpose and retention" in refused.json()["detail"]
    state = httpx.get(lab.site.url("/api/v1/store")).json()
    assert [(camera["name"], camera["shown"], camera["purpose"]) for camera in state["cameras"]] == [
        ("cam-01", True, "count visitors"),
        ("cam-02", False, ""),
    ]
    assert "camera cam-02" not in (tmp_path / "audit.jsonl").read_text()
