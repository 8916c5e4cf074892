"""Frames of cameras: which are believed, and the persons that are cut out of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.features.frame_rules import FrameLimits
from streaming.features.frames import CheckFrames
from streaming.features.jpeg import JpegLimits, decode_jpeg
from streaming.features.person_detectors import HogPersonDetector
from streaming.features.persons import CutPersons, Detections, crop_pixels
from tests.camera_frames import SCHEMA, T0_MS, frames, jpeg, person, picture, reasons

CHECK = CheckFrames()


def in_the_middle(images: Sequence[npt.NDArray[np.uint8]]) -> list[Detections]:
    """One person of a quarter of the frame's pixels."""
    quarters = [[w / 4, h / 4, 3 * w / 4, 3 * h / 4] for h, w, _ in (image.shape for image in images)]
    return [Detections(np.array([box], np.float32), np.array([0.5], np.float32)) for box in quarters]


def nobody(images: Sequence[npt.NDArray[np.uint8]]) -> list[Detections]:
    return [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)) for _ in images]


def test_good_frames_stay_as_they_are() -> None:
    rows = frames(
        {}, {"detections": []}, {"detections": [person()], "jpeg": None}, {"detections": [person(crop=jpeg())]}
    )
    checked = CHECK(rows)
    assert checked.drop("_reject").equals(rows)
    assert reasons(checked) == [None] * 4


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"camera_id": ""}, "camera_id is missing"),
        ({"camera_id": "x" * 129}, "camera_id has 129 bytes, more than 128"),
        ({"camera_id": "@all"}, "camera_id starts with '@', which is reserved"),
        ({"captured_ms": -1}, "captured_ms is -1, not a time from 1970 to 2100"),
        ({"frame": -3}, "frame is -3, not 0 or more"),
        ({"width": 0}, "width is 0, not 1 to 65535 pixels"),
        ({"height": -48}, "height is -48, not 1 to 65535 pixels"),
        (
            {"width": 65_535, "height": 65_535, "jpeg": None, "detections": []},
            "65535 x 65535 pixels, more than 16,777,216",
        ),
        ({"dropped_total": -1}, "dropped_total is -1, not 0 or more"),
        ({"jpeg": None}, "neither a picture nor detections"),
        ({"jpeg": b"GIF89a"}, "picture: not JPEG: it begins with 47494638"),
        ({"jpeg": jpeg(32, 48)}, "its picture is 32 x 48, and the frame says 64 x 48"),
        ({"detections": [person()] * 257}, "257 detections, more than 256"),
        ({"detections": [person(), person(x0=9, x1=9)]}, "detection 1: box 9.0, 4.0 to 9.0, 40.0 is empty"),
        ({"detections": [person(y0=9, y1=2)]}, "detection 0: box 8.0, 9.0 to 24.0, 2.0 is empty"),
        (
            {"detections": [person(x0=64, x1=70)]},
            "detection 0: box 64.0, 4.0 to 70.0, 40.0 lies outside the frame of 64 x 48",
        ),
        ({"detections": [person(x0=-9, x1=0)]}, "outside the frame of 64 x 48"),
        ({"detections": [person(x0=math.nan)]}, "detection 0: box NaN, 4.0 to 24.0, 40.0 is not finite"),
        ({"detections": [person(y1=math.inf)]}, "is not finite"),
        ({"detections": [person(score=1.5)]}, "detection 0: score 1.5 is not from 0 to 1"),
        ({"detections": [person(score=math.nan)]}, "score NaN is not from 0 to 1"),
        ({"detections": [person(), person(crop=b"")]}, "crop of detection 1: not JPEG: it begins with nothing"),
        ({"detections": [person(crop=jpeg(1100, 1000))]}, "crop of detection 0: 1100 x 1000 pixels, more than"),
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_rejected_by_itself(row: dict[str, Any], said: str) -> None:
    first, bad, last = reasons(CHECK(frames({}, row, {"detections": [person()]})))
    assert first is None and last is None
    assert bad is not None and bad.startswith("InvalidFrame: ") and said in bad


def test_limits_are_looked_at_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *_: pytest.fail("decoded"))
    limits = FrameLimits(picture=JpegLimits(max_bytes=len(jpeg()) - 1))
    (said,) = reasons(CutPersons(nobody)(CheckFrames(limits)(frames({}))))
    assert said is not None and "bytes of JPEG, more than" in said


def test_a_camera_whose_clock_is_an_hour_ahead_is_rejected_and_one_behind_is_not() -> None:
    hour_ms = 3_600_000
    rows = frames({"captured_ms": T0_MS + hour_ms}, {"captured_ms": T0_MS - hour_ms}, {"captured_ms": T0_MS + 59_000})
    said = reasons(CHECK(rows.with_columns(_ingest_time_ms=pl.lit(T0_MS))))
    assert said[1:] == [None, None]
    assert said[0] == "InvalidFrame: captured 3600.0 s after it reached Kafka: the camera's clock is wrong"


def test_a_reason_from_before_is_kept() -> None:
    rows = frames({"frame": -1}, {}).with_columns(_reject=pl.Series(["Late: too late", None]))
    assert reasons(CHECK(rows)) == ["Late: too late", None]
    assert reasons(CutPersons(nobody)(CHECK(rows))) == ["Late: too late", None]


def test_no_rows_are_no_rows() -> None:
    empty = CutPersons(nobody)(CHECK(frames()))
    assert empty.height == 0
    assert CutPersons(nobody)(CHECK(frames({}))).schema == empty.schema


def test_persons_are_cut_out_where_they_stand() -> None:
    rows = frames({"width": 400, "height": 300, "jpeg": jpeg(400, 300), "detections": [person(100, 50, 200, 250)]})
    cut = CutPersons(crop_px=(200, 100))(CHECK(rows))
    (crop,) = crop_pixels(cut["crops"], (200, 100))
    there = picture(400, 300)[50:250, 100:200]  # of the very size, so nothing is resized
    assert np.abs(crop.astype(int) - there.astype(int)).mean() < 3.0
    assert "jpeg" not in cut.columns


def test_a_crop_that_comes_with_a_detection_is_taken_before_the_frame_itself() -> None:
    own = jpeg(10, 20, shade=7)
    rows = frames({"detections": [person(crop=own), person()]}, {"jpeg": None, "detections": [person(crop=own)]})
    with_picture, without = CutPersons(crop_px=(20, 10))(CHECK(rows))["crops"].to_list()
    assert without == decode_jpeg(own).tobytes()
    assert with_picture[: len(without)] == without and len(with_picture) == 2 * len(without)


def test_boxes_without_any_picture_are_persons_without_crops() -> None:
    rows = CutPersons()(CHECK(frames({"jpeg": None, "detections": [person()]}, {"jpeg": None, "detections": []})))
    assert reasons(rows) == [None, None]
    assert rows["detections"].list.len().to_list() == [1, 0]
    assert rows["crops"].to_list() == [None, b""]


def test_a_box_that_reaches_beyond_the_frame_is_cut_at_its_edge() -> None:
    rows = CutPersons()(CHECK(frames({"detections": [person(-5, -5, 70, 20)]})))
    (box,) = rows["detections"][0].to_list()
    assert box == {"x0_px": 0.0, "y0_px": 0.0, "x1_px": 64.0, "y1_px": 20.0, "score": pytest.approx(0.9)}


def test_a_frame_of_another_size_in_mid_stream_has_boxes_in_its_own_pixels() -> None:
    rows = frames({}, {"width": 128, "height": 96, "jpeg": jpeg(128, 96)}, {})
    cut = CutPersons(in_the_middle)(CHECK(rows))
    assert cut["width"].to_list() == [64, 128, 64]
    assert [box[0]["x1_px"] for box in cut["detections"].to_list()] == [48.0, 96.0, 48.0]
    assert reasons(cut) == [None] * 3


@pytest.mark.parametrize("detect", [None, in_the_middle])
def test_a_picture_that_turns_out_to_be_damaged_takes_only_its_own_frame_along(detect: Any) -> None:
    broken = {"jpeg": jpeg()[:-30], "detections": None if detect else [person()]}
    good = {"detections": None if detect else []}
    cut = CutPersons(detect)(CHECK(frames(good, broken, good, good, good, good)))
    said = reasons(cut)
    assert said[1] is not None and said[1].startswith("InvalidFrame: picture: cannot be decoded")
    assert [i for i, reason in enumerate(said) if reason is not None] == [1]
    assert cut["detections"].list.len().to_list() == [
        len(detect([picture()])[0].scores) if detect and i != 1 else 0 for i in range(6)
    ]


def test_a_damaged_crop_is_named() -> None:
    rows = frames({"jpeg": None, "detections": [person(crop=jpeg()), person(crop=jpeg()[:-20])]})
    (said,) = reasons(CutPersons()(CHECK(rows)))
    assert said is not None and said.startswith("InvalidFrame: crop of detection 1: cannot be decoded")


def test_where_nobody_has_looked_and_nobody_can_the_frame_is_rejected() -> None:
    (said,) = reasons(CutPersons()(CHECK(frames({}))))
    assert said == "InvalidFrame: no detections came with it, and nothing here detects persons"


def test_a_camera_that_has_looked_is_believed_and_the_detector_not_asked() -> None:
    asked: list[int] = []

    def detect(images: Sequence[npt.NDArray[np.uint8]]) -> list[Detections]:
        asked.append(len(images))
        return in_the_middle(images)

    rows = CutPersons(detect)(CHECK(frames({"detections": []}, {}, {"detections": [person()]})))
    assert rows["detections"].list.len().to_list() == [0, 1, 1]
    assert asked == [1]


def test_what_a_detector_finds_outside_the_frame_is_dropped() -> None:
    boxes = [[0, 0, 0, 9], [70, 0, 80, 9], [math.nan, 0, 5, 5], [60, 40, 90, 90]]
    found = Detections(np.array(boxes, np.float32), np.ones(4, np.float32))
    rows = CutPersons(lambda images: [found] * len(images))(CHECK(frames({})))
    assert [list(box.values())[:4] for box in rows["detections"][0].to_list()] == [[60.0, 40.0, 64.0, 48.0]]
    assert len(crop_pixels(rows["crops"])) == 1


def test_crops_of_another_size_are_not_taken_for_whole_ones() -> None:
    crops = CutPersons(in_the_middle, crop_px=(7, 5))(CHECK(frames({})))["crops"]
    with pytest.raises(ValueError, match="105 bytes are no whole number of crops of 128 x 256 pixels"):
        crop_pixels(crops)


_KINDS: list[dict[str, Any]] = [
    {},
    {"jpeg": jpeg()[:-9]},
    {"jpeg": b"\xff\xd8"},
    {"detections": [person()]},
    {"detections": []},
    {"detections": [person(x1=0)]},
    {"width": 20, "height": 30, "jpeg": jpeg(20, 30)},
    {"jpeg": None, "detections": [person(crop=jpeg(5, 9)), person()]},
]


@given(st.lists(st.sampled_from(_KINDS), max_size=12), st.integers(0, 12))
@settings(deadline=None, max_examples=20)
def test_how_batches_are_cut_changes_nothing(kinds: list[dict[str, Any]], cut: int) -> None:
    rows, both = frames(*kinds), CutPersons(in_the_middle, crop_px=(16, 8))
    whole = both(CHECK(rows))
    parts = pl.concat([both(CHECK(rows[:cut])), both(CHECK(rows[cut:]))])
    assert whole.equals(parts)


@given(st.binary(max_size=300), st.lists(st.tuples(*[st.floats(width=32)] * 5), max_size=3), st.integers(-2, 70_000))
@settings(deadline=None, max_examples=40)
def test_no_frame_crashes(data: bytes, boxes: list[tuple[float, ...]], width: int) -> None:
    detections = [person(*box, crop=data if i else None) for i, box in enumerate(boxes)]
    row = {"jpeg": jpeg()[:20] + data, "detections": detections or None, "width": width}
    rows = CutPersons(in_the_middle, crop_px=(16, 8))(CHECK(frames(row, {})))
    assert reasons(rows)[1] is None
    assert rows["detections"].list.len()[1] == 1


def test_the_default_detector_finds_nobody_in_an_empty_room_nor_in_a_picture_too_small_for_a_person() -> None:
    detect = HogPersonDetector()
    empty, tiny = detect([np.full((240, 320, 3), 128, np.uint8), picture(20, 30)])
    assert len(empty.scores) == len(tiny.scores) == 0


def test_the_schema_of_these_tests_is_that_of_the_topic() -> None:
    assert list(SCHEMA)[:2] == ["camera_id", "captured_ms"] and SCHEMA["jpeg"] == pl.Binary
