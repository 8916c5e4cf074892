"""People to learn from: files of crops, splits, batches, augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import UsageProblem
from jobs.recipes.reid import Augmentation
from jobs.reid.augment import augmented, erased, moved, recoloured
from jobs.reid.crops import load_crops, split_by_person
from jobs.reid.evaluate import person_folds
from jobs.reid.histogram import histogram_embeddings
from jobs.reid.sampling import pk_batches
from tests.person_crops import person_crops, png


def test_crops_are_read_in_the_order_of_the_file_and_resized(tmp_path: Path) -> None:
    file = person_crops(tmp_path / "people.parquet", people=3, images=2)
    crops = load_crops(str(file), height_px=16, width_px=8)
    assert crops.images.shape == (12, 3, 16, 8) and crops.images.dtype == torch.uint8
    assert crops.identity.tolist() == [100] * 4 + [101] * 4 + [102] * 4
    assert crops.camera.tolist() == [1, 1, 2, 2] * 3
    upper, lower = crops.images[0, :, :8].float().mean((1, 2)), crops.images[0, :, 8:].float().mean((1, 2))
    assert (upper - lower).abs().max() > 10, "rows and columns are mixed up"
    assert load_crops(str(file), height_px=16, width_px=8).fingerprint == crops.fingerprint
    assert crops.of([100, 101]).fingerprint != crops.fingerprint


def test_a_grey_image_is_read_as_one_of_three_equal_channels(tmp_path: Path) -> None:
    write(tmp_path / "grey.parquet", png(np.arange(32, dtype=np.uint8).reshape(8, 4)))
    crops = load_crops(str(tmp_path / "grey.parquet"), height_px=8, width_px=4)
    assert torch.equal(crops.images[0, 0], crops.images[0, 2])
    assert crops.images[0, 1].flatten().tolist() == list(range(32))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "image of row 0 cannot be used"),
        (b"GIF89a" + bytes(50), "image of row 0 cannot be used"),
        (png(np.zeros((4, 4, 3), np.uint8))[:40], "image of row 0 cannot be used"),
        (png(np.zeros((1, 4096 * 4096 + 1), np.uint8)), "pixels are more than 16,777,216"),
        (png(np.zeros((100_000, 1000), np.uint8)), "row 0 cannot be used.*exceeds limit"),
    ],
    ids=["empty", "another format", "cut short", "too large", "a bomb"],
)
def test_an_image_that_cannot_be_used_is_named_with_its_row(image: bytes, message: str, tmp_path: Path) -> None:
    write(tmp_path / "bad.parquet", image)
    with pytest.raises(UsageProblem, match=message):
        load_crops(str(tmp_path / "bad.parquet"), height_px=8, width_px=4)


def test_a_file_that_holds_no_crops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="no such file"):
        load_crops(str(tmp_path / "none.parquet"), height_px=8, width_px=4)
    (tmp_path / "text.parquet").write_text("pid,camid,image")
    with pytest.raises(UsageProblem, match="not a parquet file with the columns pid, camid, image"):
        load_crops(str(tmp_path / "text.parquet"), height_px=8, width_px=4)
    pl.DataFrame({"pid": ["a"], "camid": [1], "image": [b""]}).write_parquet(tmp_path / "names.parquet")
    with pytest.raises(UsageProblem, match="column pid must be Int64"):
        load_crops(str(tmp_path / "names.parquet"), height_px=8, width_px=4)
    write(tmp_path / "empty.parquet")
    with pytest.raises(UsageProblem, match="has no crops"):
        load_crops(str(tmp_path / "empty.parquet"), height_px=8, width_px=4)


def test_nobody_is_on_both_sides_of_a_split(tmp_path: Path) -> None:
    crops = load_crops(str(person_crops(tmp_path / "p.parquet", people=6, images=1)), height_px=8, width_px=4)
    train, held_out = split_by_person(crops, share=0.3, seed=0)
    assert len(held_out.people) == 2 and not set(train.people) & set(held_out.people)
    assert len(train) + len(held_out) == len(crops)
    assert split_by_person(crops, share=0.0, seed=0)[1].people.tolist() == []
    with pytest.raises(UsageProblem, match="leave fewer than 2 to learn from"):
        split_by_person(crops.of([100, 101]), share=0.3, seed=0)


def test_everybody_is_judged_in_one_fold(tmp_path: Path) -> None:
    crops = load_crops(str(person_crops(tmp_path / "p.parquet", people=7, images=1)), height_px=8, width_px=4)
    parts = person_folds(crops, folds=3, seed=1)
    assert sorted(np.concatenate(parts).tolist()) == crops.people.tolist()
    assert sorted(len(part) for part in parts) == [2, 2, 3]
    assert [part.tolist() for part in parts] != [part.tolist() for part in person_folds(crops, folds=3, seed=2)]
    with pytest.raises(UsageProblem, match="4 folds of 7 people"):
        person_folds(crops, folds=4, seed=0)


@given(seed=st.integers(0, 10_000), people=st.integers(1, 9), images=st.integers(1, 5))
@settings(max_examples=60)
def test_a_batch_has_p_people_with_k_images_each(seed: int, people: int, images: int) -> None:
    chance = np.random.default_rng(seed)
    identity = np.repeat(np.arange(6) * 3, chance.integers(1, 9, 6))
    batches = pk_batches(identity, people=people, images=images, chance=chance)
    assert batches
    for batch in batches:
        groups = identity[batch].reshape(-1, images)
        assert (groups == groups[:, :1]).all() and len(set(groups[:, 0])) == len(groups) == min(people, 6)
        for group, rows in zip(groups, batch.reshape(-1, images), strict=True):
            if (identity == group[0]).sum() >= images:
                assert len(set(rows)) >= min(images, 1)


def test_an_epoch_of_equal_people_sees_every_image_once() -> None:
    identity = np.repeat(np.arange(8), 4)
    batches = pk_batches(identity, people=8, images=2, chance=np.random.default_rng(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(32))


def test_a_seed_draws_the_same_batches_and_another_seed_others() -> None:
    identity = np.repeat(np.arange(8), 4)
    drawn = [np.array(pk_batches(identity, people=4, images=2, chance=np.random.default_rng(s))) for s in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


RAMP = (torch.arange(24 * 12).reshape(1, 1, 24, 12) % 251).expand(64, 3, 24, 12).to(torch.uint8)


def test_nothing_asked_for_changes_nothing() -> None:
    made = augmented(RAMP, Augmentation(flip=0, pad_px=0, erase=0, jitter=0), torch.Generator())
    assert torch.equal(made, RAMP.float() / 255)


def test_some_are_mirrored_as_a_whole() -> None:
    chance = torch.Generator().manual_seed(0)
    made = augmented(RAMP, Augmentation(flip=0.5, pad_px=0, erase=0, jitter=0), chance)
    plain = RAMP.float() / 255
    mirrored = [torch.equal(image, plain[0].flip(2)) for image in made]
    kept = [torch.equal(image, plain[0]) for image in made]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True)) and 15 < sum(mirrored) < 49


def test_moved_images_show_a_part_of_themselves_and_black() -> None:
    plain = RAMP.float() / 255 + 0.001
    made = moved(plain, 3, torch.Generator().manual_seed(0))
    bordered = torch.nn.functional.pad(plain[0], (3, 3, 3, 3))
    places = {(y, x): bordered[:, y : y + 24, x : x + 12] for y in range(7) for x in range(7)}
    found = [place for image in made for place, cut in places.items() if torch.equal(image, cut)]
    assert len(found) == 64 and len(set(found)) > 20
    assert {y for y, _ in found} == {x for _, x in found} == set(range(7))


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_erasing_hides_one_rectangle_of_the_paper_s_size(seed: int) -> None:
    made = erased(torch.full((32, 3, 40, 20), 2.0), 1.0, torch.Generator().manual_seed(seed))
    for image in made:
        hidden = (image != 2).all(dim=0)
        rows, columns = hidden.any(dim=1), hidden.any(dim=0)
        assert torch.equal(hidden, rows[:, None] & columns[None])
        assert int(rows.sum()) == int(torch.nonzero(rows).max() - torch.nonzero(rows).min()) + 1
        assert 0.01 < hidden.float().mean() < 0.45
    assert torch.equal(erased(made, 0.0, torch.Generator()), made)


def test_recolouring_moves_colours_apart_but_stays_in_range() -> None:
    images = torch.rand(32, 3, 8, 4, generator=torch.Generator().manual_seed(1))
    made = recoloured(images, 0.3, torch.Generator().manual_seed(0))
    assert made.min() >= 0 and made.max() <= 1
    gain = (made.mean(dim=(2, 3)) / images.mean(dim=(2, 3))).std(dim=1)
    assert (gain > 1e-3).all(), "all channels alike: another light, not another camera"


def test_a_histogram_tells_colours_and_their_places_apart() -> None:
    red, blue = (np.zeros((3, 12, 4), np.uint8) for _ in range(2))
    red[0], blue[2] = 200, 200
    both = np.concatenate([red[:, :6], blue[:, 6:]], axis=1)
    found = histogram_embeddings(np.stack([red, blue, both, both[:, ::-1], red]))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    cosine = found @ found.T
    np.testing.assert_allclose(cosine[0, 4], 1, atol=1e-6)
    np.testing.assert_allclose(cosine[0, 1], 2 / 3, atol=1e-6)  # saturation and value are the same, hue is not
    np.testing.assert_allclose(cosine[0, 2], 5 / 6, atol=1e-6)
    np.testing.assert_allclose(cosine[2, 3], 2 / 3, atol=1e-6)


def test_hue_is_that_of_the_standard_library() -> None:
    import colorsys

    from jobs.reid.histogram import _hsv

    rgb = np.random.default_rng(0).random((5, 3, 4, 3)).astype(np.float32)
    rgb[0] = 0.5
    wanted = [colorsys.rgb_to_hsv(*pixel) for pixel in rgb.transpose(0, 2, 3, 1).reshape(-1, 3).tolist()]
    np.testing.assert_allclose(np.stack(_hsv(rgb), axis=-1).reshape(-1, 3), wanted, atol=1e-5)


def write(path: Path, *images: bytes) -> None:
    kinds = {"pid": pl.Int64, "camid": pl.Int64, "image": pl.Binary}
    pl.DataFrame([(1, 1, image) for image in images], kinds, orient="row").write_parquet(path)
