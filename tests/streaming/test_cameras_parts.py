"""The parts of a camera process that know no device: buffer, back-off, pacing, addresses, definition, records."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streaming.cameras.address import shown, without_secrets
from streaming.cameras.back_off import BackOff
from streaming.cameras.buffer import NewestBuffer
from streaming.cameras.definition import Camera
from streaming.cameras.pacing import Sampler, SourceTimes, believed_ms, steady_clock
from streaming.cameras.record import FrameEncoder
from streaming.cameras.source import BadFrame, Captured
from streaming.codec import Decoder, PackagedRegistry
from streaming.features.frames import CheckFrames
from streaming.features.jpeg import BadJpeg, Image, decode_jpeg, jpeg_size
from streaming.records import Records
from tests.camera_frames import T0_MS, person, picture, reasons
from tests.waiting import PATIENCE_S

CAMERA: dict[str, Any] = {"id": "door", "source": "clip.mp4", "purpose": "count visitors", "retention_days": 7}


# --- buffer -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.lists(st.sampled_from(["put", "take", "fail"]), max_size=60))
def test_the_buffer_never_drops_the_newest_and_counts_what_it_drops(capacity: int, steps: list[str]) -> None:
    buffer: NewestBuffer[int] = NewestBuffer(capacity)
    put, taken = 0, []
    for step in steps:
        if step == "put":
            put += 1
            buffer.put(put)
        elif (item := buffer.take(0.0)) is not None:
            if step == "take":
                taken.append(item)
            else:
                buffer.put_back(item)
        assert len(buffer) <= capacity
        assert put == len(taken) + buffer.dropped + len(buffer)
    buffer.close()
    while (item := buffer.take(0.0)) is not None:
        taken.append(item)
    assert buffer.finished
    assert taken == sorted(set(taken))
    assert taken[-1:] == ([put] if put else [])  # the newest is always among them


def test_what_is_driven_out_is_the_oldest() -> None:
    buffer: NewestBuffer[str] = NewestBuffer(2)
    for item in "abc":
        buffer.put(item)
    assert (buffer.take(0.0), buffer.dropped) == ("b", 1)
    buffer.put("d")
    buffer.put_back("b")  # c and d fill it: b is the oldest, and goes
    assert (buffer.take(0.0), buffer.take(0.0), buffer.take(0.0), buffer.dropped) == ("c", "d", None, 2)


def test_who_waits_is_woken_by_the_next_frame_and_by_the_end() -> None:
    buffer: NewestBuffer[int] = NewestBuffer(1)
    got: list[int | None] = []
    reader = threading.Thread(target=lambda: got.extend([buffer.take(60.0), buffer.take(60.0)]))
    reader.start()
    buffer.put(1)
    buffer.close()
    reader.join(PATIENCE_S)
    assert got == [1, None]


def test_a_buffer_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="one frame or more, not 0"):
        NewestBuffer(0)


# --- back-off -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 100_000), st.integers(0, 2**32))
def test_waits_double_up_to_the_cap_and_spread_over_their_upper_half(failures: int, seed: int) -> None:
    back_off = BackOff(first_s=0.5, cap_s=30.0)
    longest_s = 0.5 * 2 ** (failures - 1) if failures < 7 else 30.0
    assert longest_s / 2 <= back_off.delay_s(failures, random.Random(seed)) <= longest_s


def test_waits_of_two_cameras_differ() -> None:
    assert BackOff().delay_s(3, random.Random(1)) != BackOff().delay_s(3, random.Random(2))


@pytest.mark.parametrize(("first_s", "cap_s"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_a_back_off_that_would_not_wait_is_refused(first_s: float, cap_s: float) -> None:
    with pytest.raises(ValueError, match="waits begin above 0"):
        BackOff(first_s, cap_s)


# --- pacing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source_fps", "fps", "wanted"), [(25, 10, 100), (25, 5, 50), (30, 12.5, 125), (5, 10, 50)])
def test_a_sampler_gives_the_rate_that_is_asked_for(source_fps: float, fps: float, wanted: int) -> None:
    sampler = Sampler(fps)
    got = sum(sampler.wants(i / source_fps) for i in range(round(10 * source_fps)))
    assert got - wanted in (0, 1)  # the last may come a little early


@given(st.lists(st.floats(0, 2, allow_nan=False), max_size=200), st.floats(0.5, 60))
def test_a_sampler_never_gives_more(gaps: list[float], fps: float) -> None:
    times = np.cumsum([0.0, *gaps])
    sampler = Sampler(fps)
    kept = sum(sampler.wants(float(at_s)) for at_s in times)
    assert 1 <= kept <= times[-1] * fps + 1.3


def test_a_gap_is_not_made_up_for() -> None:
    sampler = Sampler(10)
    times = [0.0, 5.0, 5.01, 5.02, 5.1]
    assert [sampler.wants(at_s) for at_s in times] == [True, True, False, False, True]


def test_recorded_frames_are_as_far_apart_as_they_say_unless_that_cannot_be() -> None:
    stated = [100.0, 100.5, 100.4, 100.6, 3700.6, None, 3700.8, 3701.0]
    times = SourceTimes(0.1)
    #                      back →step        hour →step, nothing →step, again →step
    assert [round(times.next(s), 6) for s in stated] == [0.0, 0.5, 0.6, 0.8, 0.9, 1.0, 1.1, 1.3]


def test_a_clock_that_is_set_does_not_tear_times() -> None:
    wall, monotonic = [1000.0], [50.0]
    now_s = steady_clock(lambda: wall[0], lambda: monotonic[0])
    assert now_s() == 1000.0
    wall[0], monotonic[0] = 1000.0 - 3600.0, 51.5
    assert now_s() == 1001.5


def test_a_camera_an_hour_wrong_is_not_believed() -> None:
    assert believed_ms(None, 5.0, 10.0) == (5_000, False)
    assert believed_ms(4_200, 5.0, 10.0) == (4_200, False)
    assert believed_ms(3_605_000, 5.0, 10.0) == (5_000, True)
    assert believed_ms(3_595_000, 7_200.0, 10.0) == (7_200_000, True)


# --- addresses and definition -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("rtsp://viewer:pa55@10.0.0.7:554/stream1", "rtsp://***@10.0.0.7:554/stream1"),
        ("http://cam/video?user=a&password=pa55#pa55", "http://cam/video?***"),
        ("rtsp://pa55@[::1]/x", "rtsp://***@[::1]/x"),
        ("https://u:p@ss:pa55@host/x", "https://***@host/x"),
        ("rtsp://u:pa55@host:port/x", "rtsp://***"),
        ("/clips/a.mp4", "/clips/a.mp4"),
    ],
)
def test_no_secret_of_an_address_is_shown(address: str, said: str) -> None:
    assert shown(address) == said
    assert "pa55" not in without_secrets(f"Connection refused: '{address}'")
    if "://" in address:
        assert said in without_secrets(f"Connection refused: '{address}'")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "a b"}, "id"),
        ({"id": "../x"}, "id"),
        ({"purpose": "  "}, "say what the pictures are for"),
        ({"retention_days": 0}, "greater than or equal to 1"),
        ({"fps": 0}, "greater than 0"),
        ({"fps": float("nan")}, "finite"),
        ({"size": "big"}, "'big' is not WIDTHxHEIGHT"),
        ({"size": "99999x9"}, "sides are 1 to 16384 pixels"),
        ({"source": "ftp://x/y"}, "no ftp:// is read"),
        ({"homography": [[1, 2, 3], [2, 4, 6], [0, 0, 1]]}, "cannot be inverted"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_camera_that_makes_no_sense_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Camera.model_validate(CAMERA | change)


@pytest.mark.parametrize("missing", ["purpose", "retention_days"])
def test_purpose_and_retention_are_required(missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        Camera.model_validate({name: value for name, value in CAMERA.items() if name != missing})


def test_the_source_is_not_in_what_a_camera_prints_of_itself() -> None:
    assert "pa55" not in repr(Camera.model_validate(CAMERA | {"source": "rtsp://u:pa55@h/x"}))


# --- records ------------------------------------------------------------------------------------------------------


def encoded(captured: Captured, *, max_bytes: int = 1_000_000, **of_camera: Any) -> pl.DataFrame:
    camera = Camera.model_validate(CAMERA | of_camera)
    encoder = FrameEncoder(camera, PackagedRegistry(), max_bytes)
    value = encoder.encode(captured, captured_ms=T0_MS, frame=7, dropped_total=3)
    assert len(value) <= max_bytes
    decoded = Decoder("camera-frames", PackagedRegistry()).decode(Records.of([b"door"], [value]))
    assert not decoded.bad
    assert reasons(CheckFrames()(decoded.frame)) == [None]
    return decoded.frame


def noise(width: int, height: int) -> Image:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_a_frame_becomes_a_record_that_is_believed() -> None:
    (row,) = encoded(Captured(0.0, 64, 48, picture)).to_dicts()
    assert np.abs(decode_jpeg(row["jpeg"]).astype(int) - picture().astype(int)).mean() < 6.0
    assert (row["camera_id"], row["frame"], row["dropped_total"], row["detections"]) == ("door", 7, 3, None)
    assert round(row["captured_ms"].timestamp() * 1000) == T0_MS


def test_a_source_that_changes_its_size_is_scaled_to_the_cameras_boxes_included() -> None:
    captured = Captured(0.0, 64, 48, picture, [person(8, 4, 24, 40)])
    (row,) = encoded(captured, size="128x48").to_dicts()
    size = jpeg_size(row["jpeg"])
    assert (row["width"], row["height"], size.width, size.height) == (128, 48, 128, 48)
    (box,) = row["detections"]
    assert [box[name] for name in ("x0_px", "y0_px", "x1_px", "y1_px")] == [16.0, 4.0, 48.0, 40.0]


def test_detections_without_a_picture_are_a_record() -> None:
    (row,) = encoded(Captured(0.0, 640, 480, None, [])).to_dicts()
    assert (row["jpeg"], row["detections"], row["width"]) == (None, [], 640)


def test_a_picture_too_large_for_kafka_loses_quality_and_is_no_record_where_that_is_not_enough() -> None:
    captured = Captured(0.0, 400, 300, lambda: noise(400, 300))
    full = len(encoded(captured)["jpeg"][0])
    assert len(encoded(captured, max_bytes=full // 2)["jpeg"][0]) < full // 2
    with pytest.raises(BadFrame, match=r"at the least quality, and kafka\.max_record_bytes allows 2,000"):
        encoded(captured, max_bytes=2_000)


def test_a_picture_that_cannot_be_made_is_a_bad_frame() -> None:
    def make() -> Image:
        raise BadJpeg("cut off")

    with pytest.raises(BadFrame, match="its picture: cut off"):
        encoded(Captured(0.0, 64, 48, make))
