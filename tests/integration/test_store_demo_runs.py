"""The store's demo as a user sees it: a made-up store, and a clip, from camera process to what the page is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from tests.demo_process import running

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.long]


def cameras_told(url: str) -> list[dict[str, Any]]:
    state = httpx.get(f"{url}/api/v1/store").json()
    cameras: list[dict[str, Any]] = state["cameras"]
    return cameras


def test_a_made_up_store_is_watched_counted_and_told_beside_its_truth(tmp_path: Path) -> None:
    with running(tmp_path, "--store", "--for", "40s") as demo:
        url = demo.said(r"open (http\S+)/store")
        demo.said(r"(the doors of the store are open)")
        demo.said(r"first counts: after ([0-9.]+) s")
        cameras = cameras_told(url)
        assert len(cameras) == 2 and all(camera["shown"] and camera["purpose"] for camera in cameras)
        demo.ends()
    report = json.loads(demo.report.read_text())
    frames, people = report["frames"], report["people"]
    assert 0 < frames["answered"] <= frames["sent"]
    assert report["sightings"] > 0 and people["names"] > 0
    assert people["visits_counted"] > 0 and people["visitors_in_truth"] > 0
    assert report["steps_s"]["first_answer"] < report["steps_s"]["first_sighting"]
    assert not list((tmp_path / "home").glob("demo-*")), "nothing is left"
    assert any(line.startswith("the cameras are made up") for line in demo.lines)


def test_a_clip_becomes_a_camera_whose_every_frame_is_answered(tmp_path: Path) -> None:
    clip = tmp_path / "back door.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(20):
            picture = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with running(tmp_path, "--store", "--replay", str(clip)) as demo:
        url = demo.said(r"open (http\S+)/store")
        demo.said(r"(the clips are over and answered)")
        (camera,) = cameras_told(url)
        assert camera["name"] == "back-door" and camera["size"] == [320, 240]
    report = json.loads(demo.report.read_text())
    assert report["frames"]["answered"] == report["frames"]["sent"] >= 10
    assert report["people"]["visitors_in_truth"] is None
    assert any(re.search("people are found by", line) for line in demo.lines)
