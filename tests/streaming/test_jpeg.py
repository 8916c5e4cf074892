"""JPEG bytes from outside: what is refused before it is decoded, and that nothing crashes the decoder."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.features.jpeg import BadJpeg, JpegLimits, JpegSize, decode_jpeg, jpeg_size
from tests.camera_frames import jpeg, picture

GOOD = jpeg(96, 64)


def progressive() -> bytes:
    return bytes(cv2.imencode(".jpg", picture(96, 64), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])


def with_size(data: bytes, width: int, height: int) -> bytes:
    """The same with another size in its frame header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def test_the_size_is_that_of_the_picture() -> None:
    assert jpeg_size(GOOD) == JpegSize(96, 64)
    assert jpeg_size(progressive()) == JpegSize(96, 64)


def test_a_picture_comes_back_as_it_was_but_for_what_jpeg_loses() -> None:
    there = np.abs(decode_jpeg(GOOD).astype(int) - picture(96, 64).astype(int))
    assert there.mean() < 3.0


def test_a_grey_picture_is_a_picture_of_three_equal_colours() -> None:
    grey = bytes(cv2.imencode(".jpg", picture(96, 64)[:, :, 0])[1])
    assert jpeg_size(grey) == JpegSize(96, 64)
    image = decode_jpeg(grey)
    assert image.shape == (64, 96, 3) and (image[..., 0] == image[..., 2]).all()


def test_a_thumbnail_in_the_header_is_not_taken_for_the_picture() -> None:
    thumb = jpeg(16, 8)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumb) + 2) + thumb
    assert jpeg_size(GOOD[:2] + segment + GOOD[2:]) == JpegSize(96, 64)


def test_fill_bytes_before_a_marker_mean_nothing() -> None:
    assert jpeg_size(GOOD[:2] + b"\xff\xff\xff" + GOOD[2:]) == JpegSize(96, 64)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JPEG: it begins with nothing"),
        (b"\x89PNG\r\n\x1a\n", "not JPEG: it begins with 89504e47"),
        (b"\xff\xd8", "truncated in its header, after 2 bytes"),
        (b"\xff\xd8\xff\xd9", "a JPEG that ends before its first scan"),
        (b"\xff\xd8\xff\xda\x00\x02", "a JPEG without a frame header"),
        (b"\xff\xd8\x12\x34", "no marker at byte 2"),
        (b"\xff\xd8\xff\xe0\x00\x01\xff\xda", "truncated in its header"),
        (with_size(GOOD, 0, 64), "0 x 64 pixels"),
        (with_size(GOOD, 96, 0), "96 x 0 pixels"),
        (with_size(GOOD, 65_500, 65_500), "65500 x 65500 pixels, more than 16,777,216"),
        (GOOD.replace(b"\xff\xc0", b"\xff\xc3"), "a JPEG of process 3"),
        (GOOD.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), "3 components of 12 bits"),
        (GOOD[: GOOD.index(b"\xff\xc0")] + GOOD[GOOD.index(b"\xff\xda") :], "without a frame header"),
    ],
)
def test_what_is_refused_before_it_is_decoded(data: bytes, said: str) -> None:
    with pytest.raises(BadJpeg) as refused:
        jpeg_size(data)
    assert said in str(refused.value)


def test_two_frame_headers_are_refused() -> None:
    at = GOOD.index(b"\xff\xc0")
    with pytest.raises(BadJpeg, match="two frame headers"):
        jpeg_size(GOOD[:at] + GOOD[at : at + 19] + GOOD[at:])


def test_bytes_pixels_and_scans_have_limits_of_their_own() -> None:
    assert jpeg_size(GOOD, JpegLimits(max_bytes=len(GOOD), max_pixels=96 * 64, max_scans=1))
    for limits, said in (
        (JpegLimits(max_bytes=len(GOOD) - 1), f"{len(GOOD):,} bytes of JPEG, more than {len(GOOD) - 1:,}"),
        (JpegLimits(max_pixels=96 * 64 - 1), "96 x 64 pixels, more than 6,143"),
    ):
        with pytest.raises(BadJpeg) as refused:
            jpeg_size(GOOD, limits)
        assert str(refused.value) == said
    scans = progressive().count(b"\xff\xda")
    with pytest.raises(BadJpeg, match=f"{scans} scans, more than {scans - 1}"):
        jpeg_size(progressive(), JpegLimits(max_scans=scans - 1))


def test_scans_after_the_only_one_that_is_decoded_cost_nothing_and_are_no_reason() -> None:
    trailing = GOOD[:-2] + b"\xff\xda" * 9 + GOOD[-2:]
    assert jpeg_size(trailing, JpegLimits(max_scans=1)) == JpegSize(96, 64)
    at = trailing.index(b"\xff\xda") + 4
    of_one_component = trailing[:at] + b"\x01" + trailing[at + 1 :]
    with pytest.raises(BadJpeg, match="10 scans, more than 1"):
        jpeg_size(of_one_component, JpegLimits(max_scans=1))


@given(cut=st.integers(0, len(GOOD) - 1))
@settings(deadline=None, max_examples=60)
def test_a_truncated_picture_is_never_half_a_picture(cut: int) -> None:
    with pytest.raises(BadJpeg):
        jpeg_size(GOOD[:cut])
        decode_jpeg(GOOD[:cut])


@given(
    changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    base=st.sampled_from([GOOD, progressive()]),
)
@settings(deadline=None, max_examples=150)
def test_damaged_bytes_are_refused_or_are_a_picture_of_the_size_that_was_said(
    changes: list[tuple[int, int]], base: bytes
) -> None:
    data = bytearray(base)
    for at, value in changes:
        data[at % len(data)] = value
    try:
        size = jpeg_size(bytes(data), JpegLimits(max_pixels=1 << 20))
        image = decode_jpeg(bytes(data))
    except BadJpeg:
        return
    assert image.shape == (size.height, size.width, 3)


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_bytes_behind_the_first_marker_are_refused_or_have_a_size(data: bytes) -> None:
    try:
        size = jpeg_size(b"\xff\xd8" + data)
    except BadJpeg:
        return
    assert size.width > 0 and size.height > 0
