"""Names in real clips: what is said of each track, and that the public clips can be judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import simplejpeg

from jobs.evaluate_clips import FPS, BadClips, Frames, judge_clips, judged, read_clips, read_labels
from jobs.report.clips import COLUMNS, WAYS, clip_rows, clips_page
from streaming.identities import Appearance
from streaming.pipelines.person_sightings import CROP_PX, Embedding
from tests.person_frames import COLOURS, HEIGHT, WIDTH, by_colour, picture

RED, BLUE = 1, 2


def track(camera: int, person: int, told: str, number: int = 1) -> dict[str, Any]:
    return {"camera": camera, "track": number, "person": person, "told": told, "score": 0.9}


def test_a_name_is_right_wrong_or_missed_and_who_comes_first_is_neither() -> None:
    found = judged(
        [
            track(0, RED, "P1"), track(0, BLUE, "P2"), track(1, RED, "P1"), track(1, BLUE, "P3"), track(2, BLUE, "P1"),
            track(0, RED, "P1", 7),
        ]
    )  # fmt: skip
    assert [row["verdict"] for row in found["tracks"]] == ["first", "first", "right", "missed", "wrong", "right"]
    assert [row["taken_for"] for row in found["tracks"]] == [None, None, RED, None, RED, RED]
    assert (found["right"], found["wrong"], found["missed"], found["first"]) == (2, 1, 1, 2)


def two_clips() -> tuple[list[Frames], pl.DataFrame]:
    """Red, then blue, walk through both pictures; every third frame of a clip is looked at."""
    clips: list[Frames] = []
    labels: list[dict[str, Any]] = []
    for camera in (0, 1):
        clip = []
        for place in range(7 * FPS):
            lefts = {"red": 10 + 4 * place, "blue": 10 + 4 * (place - 2 * FPS)}
            there = {name: left for name, left in lefts.items() if 10 <= left <= WIDTH - 30}
            image = simplejpeg.encode_jpeg(picture(list(there.items())), 90, colorsubsampling="444")
            clip.append((3 * place, image, (WIDTH, HEIGHT)))
            labels += [
                {"camera": camera, "frame": 3 * place, "person_id": 1 + list(COLOURS).index(name), "x1": left, "y1": 30,
                 "x2": left + 24, "y2": 90}
                for name, left in there.items()
            ]  # fmt: skip
        clips.append(clip)
    return clips, pl.DataFrame(labels)


@pytest.mark.parametrize("gap_s", [15.0, None])
def test_clips_through_the_pipeline_have_a_row_for_every_person_and_camera(gap_s: float | None) -> None:
    clips, labels = two_clips()
    found = judge_clips(clips, labels, by_colour, 4, Appearance(0.7, 8.0), gap_s)
    assert {(row["camera"], row["person"]) for row in found["tracks"]} == {
        (camera, person) for camera in (0, 1) for person in (RED, BLUE)
    }
    assert all(0 < row["score"] <= 1 for row in found["tracks"])
    if gap_s is not None:
        assert (found["right"], found["wrong"], found["missed"], found["first"]) == (2, 0, 0, 2)
    report = {
        "model": {"name": "by-colour", "version": "3", "trained_on": "nothing"},
        "clips": 2, "people": 2, "gap_s": 15.0, **dict.fromkeys(WAYS, found),
    }  # fmt: skip
    assert all(len(row) == len(COLUMNS) for row in clip_rows(found)) and "by-colour@3" in clips_page(report)


def test_a_folder_without_labelled_clips_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadClips, match=r"gt_boxes\.csv"):
        read_labels(tmp_path)
    (tmp_path / "gt_boxes.csv").write_text("camera,frame,x1,y1,x2,y2\n")
    with pytest.raises(BadClips, match="no column person_id"):
        read_labels(tmp_path)
    (tmp_path / "camera0.mp4").write_bytes(b"no clip")
    with pytest.raises(BadClips, match="has 1 clips"):
        list(read_clips(tmp_path))
    (tmp_path / "camera1.mp4").write_bytes(b"no clip")
    with pytest.raises(BadClips, match=r"camera0\.mp4 cannot be read"):
        list(read_clips(tmp_path))


def in_stripes(crops: npt.NDArray[np.uint8]) -> Embedding:
    """Mean colours of eight stripes: what clothes look like from afar."""
    high, wide = CROP_PX
    stripes = crops.reshape(len(crops), 8, high // 8 * wide, 3).mean(axis=2).reshape(len(crops), 24) - 128.0
    length = np.maximum(np.linalg.norm(stripes, axis=1, keepdims=True), 1e-9)
    return Embedding((stripes / length).astype(np.float32), "stripes", "1", "abc")


def test_everybody_in_the_public_clips_has_a_name_in_both_cameras(data_dir: Path) -> None:
    folder = data_dir / "reid" / "clonedperson_scene99"
    if not folder.is_dir():
        pytest.skip(f"no clips at {folder}")
    labels, clips = read_labels(folder), list(read_clips(folder))
    found = judge_clips(clips, labels, in_stripes, 24, Appearance(), 20.0)
    everybody = {(camera, person) for camera, person in labels.select("camera", "person_id").unique().rows()}
    assert {(row["camera"], row["person"]) for row in found["tracks"]} == everybody
    assert all(0 < row["score"] <= 1 for row in found["tracks"])
