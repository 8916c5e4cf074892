"""Pictures of the made-up store: dolls that differ by person and by clothes, drawn where the truth says they are."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from streaming.simulators.store.backdrop import draw_backdrop
from streaming.simulators.store.cameras import DEFAULT_LOOKS, Camera, Look, looking_at
from streaming.simulators.store.crops import draw_crops
from streaming.simulators.store.dolls import Pixels, over
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities, with_hair_styles
from streaming.simulators.store.looks import tone_table, toned
from streaming.simulators.store.outfits import PATTERNS, Outfits, draw_outfits
from streaming.simulators.store.plan import supermarket
from streaming.simulators.store.sightings import sightings
from streaming.simulators.store.traffic import Traffic
from streaming.simulators.store.walks import walk

PLAN = supermarket(2, 4.0, 1)
PEOPLE, OUTFITS = draw_identities(20, seed=3), draw_outfits(60, seed=3)
PLAIN = Look()  # neither cast nor blur nor noise
AISLE = looking_at("aisle", (8.2, 8.6, 2.9), (4.4, 4.0), size_px=(640, 360), look=PLAIN)
WORN = OUTFITS.take(np.arange(20))
ONE_CAMERA = np.zeros(1, np.int64)
COLOURS = ("upper_rgb", "upper_second_rgb", "lower_rgb", "lower_second_rgb", "shoe_rgb")


@pytest.fixture(scope="module")
def positions() -> pl.DataFrame:
    return walk(PLAN, Traffic(duration_s=120, arrivals_per_min=10, people=20), seed=1).positions


def crop(person: int, outfit: int, *, look: Look = PLAIN, seed: int = 0) -> Pixels:
    people, outfits = PEOPLE.take(np.array([person])), OUTFITS.take(np.array([outfit]))
    return draw_crops(people, outfits, ONE_CAMERA, (look,), seed)[0].astype(np.int16)


def difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def test_crops_are_the_same_for_the_same_seed() -> None:
    rows = np.arange(40) % 20
    cameras = np.arange(40) % len(DEFAULT_LOOKS)
    first, again, other = (
        draw_crops(PEOPLE.take(rows), OUTFITS.take(rows), cameras, DEFAULT_LOOKS, seed) for seed in (5, 5, 6)
    )
    assert first.shape == (40, 128, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert difference(first, other) > 10


def test_a_crop_does_not_depend_on_its_neighbours_clothes() -> None:
    rows, cameras = np.arange(4), np.zeros(4, np.int64)
    a = draw_crops(PEOPLE.take(rows), OUTFITS.take(rows), cameras, (PLAIN,), 1)
    b = draw_crops(PEOPLE.take(rows), OUTFITS.take(np.array([0, 9, 9, 3])), cameras, (PLAIN,), 1)
    assert np.array_equal(a[[0, 3]], b[[0, 3]])
    assert not np.array_equal(a[1], b[1])


def test_other_clothes_change_the_body_and_leave_head_and_background() -> None:
    for person in range(6):
        before, after = crop(person, 2 * person), crop(person, 2 * person + 1)
        assert difference(before, after) > 3
        assert np.array_equal(before[:12], after[:12])  # head
        changed = (before != after).any(axis=2)
        assert 0.1 < changed.mean() < 0.75


def test_another_person_in_the_same_clothes_looks_different() -> None:
    for person in range(6):
        assert difference(crop(person, 0), crop(person + 1, 0)) > 3
        assert difference(crop(person, 0)[:14], crop(person + 1, 0)[:14]) > 2  # the head tells too


def test_hair_has_a_shape_of_its_own() -> None:
    """Dark hair on a person seen against a light floor: pixels of it, of the same person in other hair."""
    one = PEOPLE.take(np.array([1]))
    black = replace(one, hair_rgb=np.full((1, 3), 2.0), hair=np.array([0.3]), skin_rgb=np.full((1, 3), 220.0))
    white = replace(WORN.take(np.array([1])), **dict.fromkeys(COLOURS, np.full((1, 3), 240.0)))

    def dark(**style: bool | float) -> int:
        worn = replace(black, **{name: np.array([value]) for name, value in style.items()})
        pictures = [draw_crops(worn, white, ONE_CAMERA, (PLAIN,), seed)[0][:40] for seed in range(12)]
        return sum(int((picture.max(axis=2) < 12).sum()) for picture in pictures)

    plain = dark()
    assert dark(bald=True) < 0.3 * plain
    assert dark(volume=1.5) > 1.2 * plain
    assert dark(beard=True) > 1.05 * plain
    assert dark(bun=True) != plain


def test_hair_styles_are_of_a_person_and_few_have_each() -> None:
    many, few = with_hair_styles(draw_identities(400, 1), 1), with_hair_styles(draw_identities(7, 1), 1)
    for name in ("volume", "bald", "bun", "beard"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:7])
        assert len(np.unique(getattr(many, name))) > 1
    assert not (many.bald & many.bun).any() and many.volume.min() >= 1
    plain = draw_identities(400, 1)
    assert np.array_equal(plain.height_m, many.height_m) and not plain.bald.any() and (plain.volume == 1).all()


def test_cameras_see_colours_differently() -> None:
    warm = crop(0, 0, look=Look(gains=(1.0, 0.9, 0.6)))
    assert warm[..., 2].mean() < 0.7 * crop(0, 0)[..., 2].mean()
    noisy = crop(0, 0, look=Look(noise=8.0))
    assert np.std(noisy - crop(0, 0)) == pytest.approx(8.0, rel=0.2)


def test_crops_of_any_size() -> None:
    small = draw_crops(PEOPLE, WORN, np.zeros(20, np.int64), (PLAIN,), 0, size_px=(24, 48))
    assert small.shape == (20, 48, 24, 3)
    assert draw_crops(PEOPLE.take(np.arange(0)), OUTFITS.take(np.arange(0)), np.arange(0), (PLAIN,), 0).shape[0] == 0


def test_outfits_differ_in_all_they_have() -> None:
    many, few = draw_outfits(400, seed=1), draw_outfits(7, seed=1)
    for name in Outfits.__dataclass_fields__:
        assert np.array_equal(getattr(few, name), getattr(many, name)[:7])
        assert len(np.unique(getattr(many, name), axis=0)) > 1
    assert set(many.upper_pattern.tolist()) == set(range(len(PATTERNS)))
    contrast = np.abs(many.upper_rgb - many.upper_second_rgb).mean(axis=1)
    assert contrast.min() > 15  # a pattern can be seen


def area(name: str, *values: float) -> list[int]:
    """Pixels in the colour of the upper garment, magenta, on dolls whose outfits differ in one thing only."""
    count = len(values)
    same = OUTFITS.take(np.zeros(count, np.int64))
    plain = replace(
        same,
        upper_rgb=np.tile([255.0, 0.0, 255.0], (count, 1)),
        upper_second_rgb=np.tile([0.0, 255.0, 0.0], (count, 1)),
        upper_pattern=np.zeros(count, np.int64),
        sleeve=np.full(count, 2.0),
        coat=np.zeros(count),
    )
    dressed = replace(plain, **{name: np.array(values, getattr(plain, name).dtype)})
    areas = []
    for row in range(count):
        picture = draw_crops(PEOPLE.take(np.array([4])), dressed.take(np.array([row])), ONE_CAMERA, (PLAIN,), 2)[0]
        red, green, blue = picture.transpose(2, 0, 1)
        areas.append(int(((red > 150) & (green < 60) & (blue > 150)).sum()))
    return areas


def test_longer_garments_cover_more_and_patterns_share_the_cloth() -> None:
    none, short, to_the_elbow, long = area("sleeve", 0.0, 0.6, 1.0, 2.0)
    assert 0 < none < short < to_the_elbow < long
    shirt, jacket, coat = area("coat", 0.0, 0.4, 0.9)
    assert shirt < jacket < coat
    plain, stripes, pinstripes, checks, dots = area("upper_pattern", 0, 1, 2, 3, 4)
    for patterned in (stripes, checks):
        assert 0.3 * plain < patterned < 0.7 * plain
    assert stripes < dots < 0.95 * plain
    assert stripes < pinstripes < 0.95 * plain


def test_tones_by_hand() -> None:
    picture = np.full((1, 1, 3), 128, np.uint8)
    assert toned(picture, tone_table(PLAIN)).tolist() == [[[128, 128, 128]]]
    look = Look(gains=(0.5, 1.0, 2.0), gamma=2.0)  # 64/255 and 128/255 squared, and the limit
    assert toned(picture, tone_table(look)).tolist() == [[[16, 64, 255]]]


def test_a_doll_covers_the_ground_by_its_coverage() -> None:
    ground = np.full((1, 3, 3), 100, np.uint8)
    sprite = np.array([[[0, 0, 0, 0], [200, 10, 50, 255], [100, 0, 0, 128]]], np.uint8)
    assert over(sprite, ground).tolist() == [[[100, 100, 100], [200, 10, 50], [150, 50, 50]]]


def test_the_backdrop_tells_boxes_from_floor() -> None:
    drawn = draw_backdrop(PLAN, AISLE)
    assert drawn.rgb.shape == (360, 640, 3)
    names = {PLAN.boxes[label - 1].name for label in np.unique(drawn.box).tolist() if label}
    assert "gondola-1" in names
    for index, box in enumerate(PLAN.boxes):
        middle = np.array([(box.x0_m + box.x1_m) / 2, (box.y0_m + box.y1_m) / 2, box.height_m])
        pixel = AISLE.project(middle)[0]
        if box.name == "gondola-2":  # nothing stands before the top of the nearest gondola
            assert drawn.box[int(pixel[1]), int(pixel[0])] == index + 1
    floor = AISLE.project(np.array([4.0, 7.0, 0.0]))[0]
    assert drawn.box[int(floor[1]), int(floor[0])] == 0


def test_frames_are_deterministic_and_noise_changes_from_frame_to_frame(positions: pl.DataFrame) -> None:
    camera = replace(AISLE, look=DEFAULT_LOOKS[1])
    now = positions.filter(step=1000)
    painter = FramePainter(PLAN, camera, PEOPLE, OUTFITS, seed=4)
    frame = painter.draw(now, 7)
    assert frame.shape == (360, 640, 3)
    assert np.array_equal(frame, FramePainter(PLAN, camera, PEOPLE, OUTFITS, seed=4).draw(now, 7))
    assert 0 < difference(frame, painter.draw(now, 8)) < 10


def test_people_are_drawn_within_their_boxes_and_as_much_of_them_as_the_truth_says(
    positions: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each person alone, in the store and in the same store without what stands in it: the ratio of pixels is the share
    that shelves leave; the truth counts points, so it is right on average and roughly for each."""
    monkeypatch.setattr("streaming.simulators.store.frames._SHADOW", 1.0)  # a shadow is no part of a person
    bare = replace(PLAN, boxes=())
    drawn_shares, true_shares = [], []
    painters = [FramePainter(plan, AISLE, PEOPLE, OUTFITS) for plan in (PLAN, bare)]
    empty = [painter.draw(positions.clear(), 0) for painter in painters]
    for step in range(300, 1200, 150):
        for row in positions.filter(step=step).iter_slices(1):
            truth = sightings(PLAN, [AISLE], PEOPLE, row, fps=10)
            alone = sightings(bare, [AISLE], PEOPLE, row, fps=10)
            if alone.is_empty() or alone["visible_share"].item() < 1.0:
                continue  # cut by the picture's edge
            changed = [
                (painter.draw(row, 0) != ground).any(axis=2) for painter, ground in zip(painters, empty, strict=True)
            ]
            x0, y0, x1, y1 = (int(alone[name].item()) for name in ("x0_px", "y0_px", "x1_px", "y1_px"))
            outside = changed[1].copy()
            rim = 6 + (y1 - y0) // 12  # wide clothes
            outside[max(0, y0 - 6) : y1 + rim, max(0, x0 - rim) : x1 + rim] = False
            assert not outside.any()
            assert changed[1].sum() > 0.25 * (x1 - x0) * (y1 - y0)
            drawn_shares.append(changed[0].sum() / changed[1].sum())
            true_shares.append(truth["visible_share"].item() if len(truth) else 0.0)
    drawn, true = np.array(drawn_shares), np.array(true_shares)
    assert len(true) > 20
    assert 0.1 < (true < 0.9).mean() < 0.95
    assert np.abs(drawn - true).max() < 0.25
    assert np.mean(drawn - true) == pytest.approx(0.0, abs=0.05)


def test_who_is_nearer_is_drawn_over_who_is_behind(positions: pl.DataFrame) -> None:
    camera = Camera("c", 0.5, 7.5, 1.6, 0.0, 5.0, 500.0, 640, 360, PLAIN)
    one = positions.head(1).with_columns(y_m=pl.lit(7.5), activity=pl.lit("queue", positions.schema["activity"]))
    near, far = one.with_columns(x_m=pl.lit(4.0)), one.with_columns(x_m=pl.lit(7.0), outfit=pl.lit(1, pl.Int64))
    painter = FramePainter(replace(PLAN, boxes=()), camera, PEOPLE, OUTFITS)
    empty, alone = (painter.draw(rows, 0) for rows in (positions.clear(), near))
    for rows in (pl.concat([near, far]), pl.concat([far, near])):
        both = painter.draw(rows, 0)
        body = (alone != empty).any(axis=2)
        body[300:] = False  # shadows lie on one another
        assert (both[body] == alone[body]).all(axis=1).mean() > 0.97


def test_full_hd_frames() -> None:
    camera = AISLE.scaled(1920)
    frame = FramePainter(PLAN, camera, PEOPLE, OUTFITS).draw(walk(PLAN, Traffic(duration_s=1), 0).positions, 0)
    assert frame.shape == (1080, 1920, 3)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: draw_crops(PEOPLE, OUTFITS, np.zeros(20, np.int64), (PLAIN,), 0), "20 people in 60 outfits"),
        (lambda: draw_crops(PEOPLE, OUTFITS.take(np.arange(20)), np.ones(20, np.int64), (PLAIN,), 0), "1 looks"),
        (
            lambda: draw_crops(
                PEOPLE, OUTFITS.take(np.arange(20)), np.zeros(20, np.int64), (PLAIN,), 0, size_px=(0, 9)
            ),
            "0 × 9",
        ),
        (lambda: draw_outfits(0, 0), "not 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(build: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()  # type: ignore[operator]
