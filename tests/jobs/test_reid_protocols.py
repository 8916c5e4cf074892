"""Protocols across clothes by hand, and public sets read from folders in their authors' layout."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs.errors import UsageProblem
from jobs.reid.crops import CropSet, load_crops
from jobs.reid.protocols import CHANGED, SAME, STANDARD, judged_among_look_alikes, judged_under
from jobs.reid.public_sets import GALLERY, QUERY, TRAIN, load_part
from models.metrics.retrieval import JUNK, rank

SIZE = {"height_px": 8, "width_px": 4}


def crop_set(identity: list[int], camera: list[int], clothes: list[int] | None) -> CropSet:
    images = torch.zeros(len(identity), 3, 8, 4, dtype=torch.uint8)
    worn = None if clothes is None else np.array(clothes)
    return CropSet("by hand", images, np.array(identity), np.array(camera), worn)


def at(*degrees: float) -> np.ndarray:
    """Unit embeddings by their angle."""
    turn = np.deg2rad(degrees)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)


def test_who_is_left_in_a_gallery() -> None:
    query, asked = crop_set([7], [1], [70]), at(0)
    #                   same camera, same clothes, other clothes, stranger
    gallery = crop_set([7, 7, 7, 9], [1, 2, 2, 2], [70, 70, 71, 90])
    found = at(1, 10, 40, 20)
    by = {name: judged_under(name, query, gallery, asked, found) for name in (STANDARD, CHANGED, SAME)}
    assert by[STANDARD].first.tolist() == [1]
    assert by[STANDARD].average_precision.tolist() == [(1 / 1 + 2 / 3) / 2]
    assert by[CHANGED].first.tolist() == [2], "the stranger, then other clothes"
    assert by[SAME].first.tolist() == [1] and by[SAME].average_precision.tolist() == [1]


def test_a_query_that_never_changes_is_not_judged_on_changed_clothes() -> None:
    people = crop_set([7, 7, 9], [1, 2, 2], [70, 70, 90])
    found = judged_under(CHANGED, people, people, at(0, 1, 2), at(0, 1, 2))
    assert found.judged == 0


def test_the_gallery_of_look_alikes_has_only_who_dresses_alike() -> None:
    query = crop_set([7], [1], None)
    gallery = crop_set([7, 9, 8, 5], [2, 2, 2, 2], None)
    by_feature, by_clothes = at(30, 10, 20, 50), at(90, 80, 5, 1)
    found = [
        judged_among_look_alikes(query, gallery, at(0), by_feature, (at(0), by_clothes), look_alikes=count)
        for count in (1, 2, 3, 50)
    ]
    # Nearest in clothes are 5, 8, 9; ahead of the right one by feature are 9 and 8.
    assert [each.first.tolist() for each in found] == [[1], [2], [3], [3]]


def test_clothes_that_nobody_tells_are_asked_for_by_name() -> None:
    people = crop_set([7, 7], [1, 2], None)
    with pytest.raises(UsageProblem, match="by hand: does not say who wears what"):
        judged_under(SAME, people, people, at(0, 1), at(0, 1))


@pytest.mark.parametrize("wrong", [np.zeros((1, 2), np.int64), np.zeros((2, 1), bool)], ids=["no flags", "shape"])
def test_what_is_left_out_must_fit(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="left_out must be bool"):
        rank([[0.1, 0.2]], [7], [7, 8], [1], [2, 2], left_out=wrong)


def put(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        shade = np.full((16, 8, 3), 10 * number, np.uint8)
        Image.fromarray(shade).save(stream, "PNG" if place.suffix == ".png" else "JPEG")
        place.write_bytes(stream.getvalue())


def labels(crops: CropSet) -> list[tuple[int, ...]]:
    worn = [] if crops.clothes is None else [crops.clothes.tolist()]
    return list(zip(crops.identity.tolist(), crops.camera.tolist(), *worn, strict=True))


def test_market_1501(tmp_path: Path) -> None:
    put(tmp_path, "bounding_box_train/0002_c1s1_000451_03.jpg", "bounding_box_train/0007_c6s4_001377_02.jpg")
    put(tmp_path, "bounding_box_test/-1_c1s1_000401_03.jpg", "bounding_box_test/0000_c2s1_000401_01.jpg")
    put(tmp_path, "query/0001_c3s1_001301_00.jpg")
    (tmp_path / "bounding_box_train" / "Thumbs.db").write_bytes(b"left by somebody's Windows")
    train = load_crops(f"market1501:{tmp_path}", **SIZE)
    assert labels(train) == [(2, 1), (7, 6)] and train.images.shape == (2, 3, 8, 4)
    assert train.images[1].float().mean() > train.images[0].float().mean() + 5, "not in the order of names"
    assert labels(load_part(f"market1501:{tmp_path}", QUERY, **SIZE)) == [(1, 3)]
    assert labels(load_part(f"market1501:{tmp_path}", GALLERY, **SIZE)) == [(JUNK, 1), (0, 2)]


def test_cuhk03(tmp_path: Path) -> None:
    put(tmp_path, "bounding_box_train/0003_c1_21.png", "query/0001_c2_7.png", "bounding_box_test/0001_c1_1.png")
    parts = [labels(load_part(f"cuhk03:{tmp_path}", part, **SIZE)) for part in (TRAIN, QUERY, GALLERY)]
    assert parts == [[(3, 1)], [(1, 2)], [(1, 1)]]


def test_prcc(tmp_path: Path) -> None:
    put(tmp_path, "rgb/train/001/A_cropped_rgb001.jpg", "rgb/train/001/B_cropped_rgb002.jpg")
    put(tmp_path, "rgb/train/002/C_cropped_rgb003.jpg")
    put(tmp_path, *(f"rgb/test/{camera}/065/cropped_rgb{number}.jpg" for camera in "ABC" for number in (364, 365)))
    assert labels(load_crops(f"prcc:{tmp_path}", **SIZE)) == [(1, 1, 1000), (1, 2, 1000), (2, 3, 2001)]
    query, gallery = (load_part(f"prcc:{tmp_path}", part, **SIZE) for part in (QUERY, GALLERY))
    assert labels(query) == [(65, 2, 65000)] * 2 + [(65, 3, 65001)] * 2
    assert labels(gallery) == [(65, 1, 65000)] * 2
    found = {name: judged_under(name, query, gallery, at(0, 0, 0, 0), at(0, 0)).first for name in (SAME, CHANGED)}
    assert np.isfinite(found[SAME]).tolist() == [True, True, False, False], "camera B alone wears the same"
    assert np.isfinite(found[CHANGED]).tolist() == [False, False, True, True]


def test_a_picture_of_prcc_without_its_camera_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "rgb/train/001/cropped_rgb001.jpg")
    with pytest.raises(UsageProblem, match=r"cropped_rgb001\.jpg: not a name of prcc, such as 001/A_"):
        load_crops(f"prcc:{tmp_path}", **SIZE)


def test_ltcc(tmp_path: Path) -> None:
    put(tmp_path, "train/000_1_c11_015891.png", "query/001_2_c1_000001.png", "test/001_3_c4_000002.png")
    parts = [labels(load_part(f"ltcc:{tmp_path}", part, **SIZE)) for part in (TRAIN, QUERY, GALLERY)]
    assert parts == [[(0, 11, 1)], [(1, 1, 1002)], [(1, 4, 1003)]]


def test_celeb_reid(tmp_path: Path) -> None:
    put(tmp_path, "train/1_1_0.jpg", "query/633_2_0.jpg", "gallery/633_10_0.jpg", "gallery/634_1_0.jpg")
    query, gallery = (load_part(f"celeb-reid:{tmp_path}", part, **SIZE) for part in (QUERY, GALLERY))
    assert labels(query) == [(633, 1)] and labels(gallery) == [(633, 2), (634, 2)]
    assert judged_under(STANDARD, query, gallery, at(0), at(1, 5)).first.tolist() == [1]


def test_a_folder_that_is_no_such_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"train: no such folder; there should be images such as 000_1_c11"):
        load_crops(f"ltcc:{tmp_path}", **SIZE)
    (tmp_path / "train").mkdir()
    with pytest.raises(UsageProblem, match=r"no \.jpg or \.png in it"):
        load_crops(f"ltcc:{tmp_path}", **SIZE)
    put(tmp_path, "train/holiday.png")
    with pytest.raises(UsageProblem, match=r"holiday\.png: not a name of ltcc, such as 000_1"):
        load_crops(f"ltcc:{tmp_path}", **SIZE)
    (tmp_path / "train" / "holiday.png").unlink()
    (tmp_path / "train" / "000_1_c1_000001.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(UsageProblem, match=r"000_1_c1_000001\.png: cannot be used"):
        load_crops(f"ltcc:{tmp_path}", **SIZE)
    with pytest.raises(UsageProblem, match="no layout 'duke'; there are: market1501, "):
        load_part(f"duke:{tmp_path}", TRAIN, **SIZE)
