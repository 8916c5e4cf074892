"""Persons found by networks of ONNX files that the tests make themselves: each layout's boxes are known by hand."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.features.onnx_detectors import DETR, LAYOUTS, NANODET, YOLOX, BadDetector, OnnxPersonDetector, fitted
from streaming.features.onnx_file import Node, onnx_file
from tests.detector_files import SIDE, detr, nanodet, yolox


def run(network: bytes, given: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    net = cv2.dnn.readNetFromONNX(np.frombuffer(network, np.uint8))
    net.setInput(given)
    return np.asarray(net.forward())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    made = {"yolox": yolox(), "nanodet": nanodet(), "detr": detr()}
    for name, network in made.items():
        (folder / f"{name}.onnx").write_bytes(network)
    return {name: folder / f"{name}.onnx" for name in made}


def detector(files: dict[str, Path], name: str, **options: Any) -> OnnxPersonDetector:
    # The mean is left out: these networks look at how bright a place is.
    bare = replace(LAYOUTS[name], side_px=SIDE, mean=(0.0,) * 3, deviation=(1.0,) * 3) if name != "detr" else DETR
    return OnnxPersonDetector(files[name], replace(bare, side_px=SIDE), person=int(name != "nanodet"), **options)


def white_at(column: int, row: int, *, height: int = SIDE, width: int = SIDE, side: int = 8) -> npt.NDArray[np.uint8]:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[row * side : (row + 1) * side, column * side : (column + 1) * side] = 255
    return picture


@pytest.mark.parametrize(
    ("name", "box"),
    [("yolox", (20 - 8, 28 - 16, 20 + 8, 28 + 16)), ("nanodet", (20 - 8, 28 - 16, 20 + 12, 28 + 24))],
)
def test_a_box_lies_where_the_layout_says(files: dict[str, Path], name: str, box: tuple[float, ...]) -> None:
    (found,) = detector(files, name)([white_at(2, 3)])
    assert found.boxes.tolist() == [pytest.approx(box, abs=1e-3)]
    assert found.scores[0] > 0.99
    assert found.boxes.dtype == found.scores.dtype == np.float32


def test_boxes_and_logits_of_queries_are_fractions_of_the_frame(files: dict[str, Path]) -> None:
    bright, dark = np.full((120, 200, 3), 255, np.uint8), np.zeros((120, 200, 3), np.uint8)
    found, nobody = detector(files, "detr")([bright, dark])
    assert found.boxes.tolist() == [pytest.approx((100, 0, 200, 120), abs=1e-3)]
    assert len(nobody.scores) == 0


@given(st.integers(0, 7), st.integers(0, 3), st.sampled_from([1, 2, 5]), st.booleans())
@settings(deadline=None, max_examples=25)
def test_a_box_is_in_pixels_of_its_frame_and_within_it(
    files: dict[str, Path], column: int, row: int, times: int, upright: bool
) -> None:
    picture = white_at(column, row, height=32 * times, width=64 * times, side=8 * times)
    middle = np.array([8 * column + 4, 8 * row + 4], np.float64)
    reach = np.array([8, 16])
    if upright:  # a frame that is higher than wide fits by its height
        picture, middle = np.ascontiguousarray(picture.transpose(1, 0, 2)), middle[::-1]
    within = np.array(picture.shape[1::-1]) / times
    expected = np.concatenate([np.maximum(middle - reach, 0), np.minimum(middle + reach, within)]) * times
    (found,) = detector(files, "yolox")([picture])
    assert found.boxes.tolist() == [pytest.approx(expected.tolist(), abs=0.01 * times)]


def test_what_is_found_in_a_frame_does_not_depend_on_the_others(files: dict[str, Path]) -> None:
    pictures = [white_at(1, 1), white_at(0, 0, height=32), np.zeros((SIDE, SIDE, 3), np.uint8)]
    detect = detector(files, "nanodet")
    for together, alone in zip(detect(pictures), [detect([picture])[0] for picture in pictures], strict=True):
        assert together.boxes.tolist() == alone.boxes.tolist()


def test_of_two_boxes_of_one_person_the_weaker_is_dropped(files: dict[str, Path]) -> None:
    picture = white_at(2, 2)
    picture[16:24, 24:32] = 230  # beside it, half of the same box
    counts = [len(detector(files, "yolox", max_overlap=least)([picture])[0].scores) for least in (0.3, 0.4)]
    assert counts == [1, 2]  # they share 8 of 24 columns: an overlap of a third


def test_the_least_score_is_the_callers(files: dict[str, Path]) -> None:
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    assert len(detector(files, "yolox", min_score=0.99)([grey])[0].scores) == 0


def test_a_network_goes_with_its_detector_to_another_process(files: dict[str, Path]) -> None:
    detect = detector(files, "nanodet")
    here = detect([white_at(2, 3)])
    there = pickle.loads(pickle.dumps(detect))([white_at(2, 3)])  # noqa: S301  # our own bytes
    assert here[0].boxes.tolist() == there[0].boxes.tolist()


def test_a_file_that_is_none_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    picture = white_at(0, 0)
    with pytest.raises(BadDetector, match=r"away\.onnx cannot be read: No such file or directory$"):
        OnnxPersonDetector(tmp_path / "away.onnx", YOLOX)([picture])
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(BadDetector, match=r"text\.onnx: OpenCV cannot run it"):
        OnnxPersonDetector(tmp_path / "text.onnx", YOLOX)([picture])


def test_an_operator_that_opencv_does_not_have_is_named(tmp_path: Path) -> None:
    constants = {"where": np.zeros((1, 4, 4, 2), np.float32)}
    deformable = [Node("GridSample", ["images", "where"], "out", {"mode": "bilinear"})]
    path = tmp_path / "deformable.onnx"
    path.write_bytes(onnx_file(deformable, constants, {"images": (1, 3, None, None)}, ["out"]))
    with pytest.raises(BadDetector, match=r"deformable\.onnx: OpenCV cannot run it: .*GridSample"):
        OnnxPersonDetector(path, replace(DETR, side_px=SIDE))([white_at(0, 0)])


@pytest.mark.parametrize(("name", "layout"), [("detr", YOLOX), ("yolox", DETR), ("detr", NANODET), ("nanodet", DETR)])
def test_a_file_of_another_layout_is_named(files: dict[str, Path], name: str, layout: Any) -> None:
    with pytest.raises(BadDetector, match=rf"{name}\.onnx: .*layout"):
        OnnxPersonDetector(files[name], replace(layout, side_px=SIDE))([white_at(0, 0)])


def test_a_class_that_the_network_does_not_have_is_said(files: dict[str, Path]) -> None:
    with pytest.raises(BadDetector, match=r"yolox\.onnx"):
        OnnxPersonDetector(files["yolox"], replace(YOLOX, side_px=SIDE), person=3)([white_at(0, 0)])


def test_the_input_keeps_the_form_of_a_frame() -> None:
    pixels, scale = fitted(np.full((108, 192, 3), 255, np.uint8), replace(YOLOX, side_px=96))
    assert pixels.shape == (96, 96, 3)
    assert (pixels[:54] == 255).all() and (pixels[54:] == 114).all()
    assert scale.tolist() == [0.5, 0.5, 0.5, 0.5]
    shorter, _ = fitted(np.zeros((108, 192, 3), np.uint8), replace(NANODET, side_px=96))
    assert shorter.shape == (64, 96, 3)


def test_colours_are_normalised_and_in_the_order_that_the_network_knows() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    pixels, _ = fitted(red, replace(DETR, side_px=32))
    assert pixels[0, 0].tolist() == pytest.approx([(255 - 123.675) / 58.395, -116.28 / 57.12, -103.53 / 57.375])
    assert fitted(red, replace(YOLOX, side_px=32))[0][0, 0].tolist() == [0, 0, 255]


def test_the_writer_of_files_knows_every_kind_of_attribute() -> None:
    given = np.array([[[[-2.0, 4.0], [6.0, -8.0]]]], np.float32)
    shape = {"images": (1, 1, None, None)}
    leaky = onnx_file([Node("LeakyRelu", ["images"], "out", {"alpha": 0.25})], {}, shape, ["out"])
    assert run(leaky, given).ravel().tolist() == [-0.5, 4.0, 6.0, -2.0]
    twice = {"none": np.zeros(0, np.float32), "twice": np.array([1, 1, 2, 2], np.float32)}
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    larger = onnx_file([Node("Resize", ["images", "none", "twice"], "out", nearest)], twice, shape, ["out"])
    assert run(larger, given)[0, 0].tolist() == given[0, 0].repeat(2, 0).repeat(2, 1).tolist()
    turned = onnx_file([Node("Transpose", ["images"], "out", {"perm": [0, 1, 3, 2]})], {}, shape, ["out"])
    assert run(turned, given)[0, 0].tolist() == given[0, 0].T.tolist()
    scaled = {"scales": np.array([0, -1], np.int64)}
    flat = onnx_file([Node("Reshape", ["images", "scales"], "out")], scaled, shape, ["out"])
    assert run(flat, given).tolist() == [[-2.0, 4.0, 6.0, -8.0]]
