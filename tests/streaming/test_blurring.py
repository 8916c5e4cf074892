"""Heads in pictures: what is left of them is a few means, everything else stays, and nothing is overlooked quietly."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.features import blurring
from streaming.features.blurring import CELLS, blurred, blurred_jpeg, heads
from streaming.features.jpeg import BadJpeg
from streaming.simulators.store.crops import draw_crops
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.sightings import sightings
from streaming.simulators.store.traffic import Traffic
from streaming.simulators.store.walks import walk
from tests.streaming.test_simulated_store_pictures import AISLE, OUTFITS, PEOPLE, PLAIN, PLAN

BOX_NAMES = ("x0_px", "y0_px", "x1_px", "y1_px")
WHOLE_CROP = [[0.0, 0.0, 64.0, 128.0]]


def noise(seed: int, height: int = 120, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**16), x0=st.integers(0, 40), y0=st.integers(0, 60))
def test_of_a_head_nothing_is_left_but_the_means_of_its_cells(seed: int, x0: int, y0: int) -> None:
    """Whatever a picture shows there, another one with the same means gives the same result: it cannot be undone."""
    image, box = noise(seed), [[float(x0), float(y0), x0 + 36.0, y0 + 60.0]]
    (region,) = heads(np.array(box), 90, 120)
    left, top, right, bottom = region
    left, top = right - (right - left) // CELLS * CELLS, bottom - (bottom - top) // CELLS * CELLS
    other, chance = image.copy(), np.random.default_rng(seed + 1)
    whole = (region[2] - region[0]) % CELLS == 0 and (region[3] - region[1]) % CELLS == 0
    if whole:  # cells are whole pixels: pixels may change places within one
        high, wide = (bottom - top) // CELLS, (right - left) // CELLS
        for y in range(top, bottom, high):
            for x in range(left, right, wide):
                cell = other[y : y + high, x : x + wide].reshape(-1, 3)
                other[y : y + high, x : x + wide] = chance.permutation(cell).reshape(high, wide, 3)
    else:
        other[region[1] : region[3], region[0] : region[2]] = 128
        image[region[1] : region[3], region[0] : region[2]] = 129  # the same step of brightness
    assert (other != image).any()
    np.testing.assert_array_equal(blurred(image, box), blurred(other, box))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**16))
def test_what_is_no_head_stays_as_it_is_and_the_picture_handed_in_too(seed: int) -> None:
    image, box = noise(seed), [[20.0, 30.0, 50.0, 110.0]]
    before = image.copy()
    shown = blurred(image, box)
    changed = np.argwhere((shown != image).any(axis=2))
    x0, y0, x1, y1 = next(heads(np.array(box), 90, 120))

    np.testing.assert_array_equal(image, before)
    assert (changed.min(axis=0) >= (y0, x0)).all() and (changed.max(axis=0) < (y1, x1)).all()
    assert y1 < 110  # the body is shown


def test_rendered_people_cannot_be_told_apart_by_their_heads_any_more() -> None:
    """Twenty people in two outfits each: by the detail of the head (what is left when each cell's mean is taken away)
    everybody is found again in the other picture; afterwards there is no detail."""
    rows, camera = np.arange(20), np.zeros(20, np.int64)
    first, second = (draw_crops(PEOPLE, OUTFITS.take(rows + at), camera, (PLAIN,), seed=1) for at in (0, 20))

    def details(crops: np.ndarray, hide: bool) -> np.ndarray:
        found = []
        for crop in crops:
            head = (blurred(crop, WHOLE_CROP) if hide else crop)[:12, 20:44].astype(np.float64)
            high = head - head.reshape(12, 24, 3).mean(axis=(0, 1))
            found.append(np.abs(np.diff(high, n=2, axis=0)).ravel())
        return np.array(found)

    plain = [details(crops, hide=False) for crops in (first, second)]
    alike = np.abs(plain[0][:, None] - plain[1]).sum(axis=2).argmin(axis=1)
    assert (alike == rows).mean() == 1.0
    hidden = [details(crops, hide=True) for crops in (first, second)]
    assert max(part.max() for part in hidden) <= 16 < max(part.max() for part in plain) / 3


def test_every_person_of_a_rendered_frame_has_the_head_covered() -> None:
    positions = walk(PLAN, Traffic(duration_s=120, arrivals_per_min=10, people=20), seed=1).positions
    seen = sightings(PLAN, [AISLE], PEOPLE, positions)
    count = seen.group_by("frame").len().sort("len", "frame").row(-1)[0]
    people = seen.filter(pl.col("frame") == count)
    picture = FramePainter(PLAN, AISLE, PEOPLE, OUTFITS).draw(positions.filter(pl.col("step") == 2 * count), count)
    shown = blurred(picture, people.select(BOX_NAMES).to_numpy())

    assert people.height >= 3
    for x0, y0, x1, y1 in people.select(BOX_NAMES).iter_rows():
        head = np.s_[int(y0) : int(y0 + 0.15 * (y1 - y0)) + 1, int(x0) : int(x1) + 1]
        detail = [np.abs(np.diff(part[head].astype(np.int16), n=2, axis=1)).max(initial=0) for part in (picture, shown)]
        assert detail[1] <= max(24, detail[0] / 3)


def test_a_frame_in_which_nobody_looked_for_people_is_hidden_as_a_whole() -> None:
    shown = blurred(noise(3, 480, 640), None)
    assert np.abs(np.diff(shown.astype(np.int16), axis=1)).max() <= 8
    assert (blurred(noise(3), []) == noise(3)).all()  # somebody looked, and found nobody


class Faces:
    """Instead of the cascade."""

    def detectMultiScale(self, grey: np.ndarray, **options: object) -> np.ndarray:  # noqa: N802 -- OpenCV's name
        return np.array([[30, 40, 24, 24]])


def test_a_face_without_a_box_is_covered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blurring, "_cascade", Faces)
    image = noise(5)
    shown = blurred(image, [])
    changed = np.argwhere((shown != image).any(axis=2))
    assert changed.min(axis=0).tolist() == [34, 24] and changed.max(axis=0).tolist() == [69, 59]


def test_the_cascade_is_there() -> None:
    assert not blurring._cascade().empty()  # noqa: SLF001 -- a file that OpenCV ships


@pytest.mark.parametrize(
    "box",
    [
        [np.nan, 0, 10, 10], [0, 0, np.inf, 10], [500, 500, 600, 700], [-50, -90, -10, -20], [10, 10, 10, 10],
        [30, 30, 10, 10],
    ],
)  # fmt: skip
def test_a_box_that_is_none_hides_nothing_and_harms_nothing(box: list[float]) -> None:
    np.testing.assert_array_equal(blurred(noise(1), [box])[40:], noise(1)[40:])


def test_of_a_jpeg_neither_the_head_nor_a_preview_is_left() -> None:
    plain = np.full((120, 90, 3), 90, np.uint8)
    plain[:40:2] = 255
    made = simplejpeg.encode_jpeg(plain, 95)
    preview = b"\xff\xe1" + (2 + 20).to_bytes(2, "big") + b"Exif\0\0a small picture"[:20]
    shown = blurred_jpeg(made[:2] + preview + made[2:], [[0.0, 0.0, 90.0, 120.0]])
    assert b"a small" not in shown
    stripes = np.diff(simplejpeg.decode_jpeg(shown)[:38].astype(np.int16), n=2, axis=0)
    assert np.abs(stripes).max() <= 12
    with pytest.raises(BadJpeg):
        blurred_jpeg(made[: len(made) // 2], [])
