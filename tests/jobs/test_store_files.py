"""What a store's pipelines are made of: its file, its cameras, its model; and the command that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs import run
from jobs.camera_book import MODE, to_toml
from jobs.errors import SettingsError, UsageProblem
from jobs.files import write_text
from jobs.pipelines import PIPELINES, holding, local, outline
from jobs.settings import Settings, load_settings
from jobs.store import detector, person_model, read_store, store_of
from models.store import ModelNotFoundError
from streaming.cameras.definition import Camera
from streaming.features.onnx_detectors import BadDetector
from streaming.features.person_detectors import HogPersonDetector
from tests.detector_files import SIDE, detr, yolox

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "store.example.toml"
STRAIGHT_DOWN = ((10.0, 0.0, 0.0), (0.0, 10.0, 0.0), (0.0, 0.0, 1.0))


def settings(**given: Any) -> Settings:
    named = {f"store.{name}": (value, "--set") for name, value in given.items()}
    return load_settings({"kafka.bootstrap_servers": ("127.0.0.1:9", "--set"), **named}).settings


def camera(name: str, **given: Any) -> Camera:
    return Camera.model_validate({"id": name, "source": "x.mp4", "purpose": "test", "retention_days": 1, **given})


def test_the_example_is_a_store_with_rules() -> None:
    plan, rules = read_store(settings(plan=EXAMPLE))
    assert [known.name for known in plan.camera] == ["door", "till"]
    assert [rule.kind for rule in rules] == ["crowding", "camera_down", "camera_covered"]


def test_a_store_that_is_not_named_is_said_with_the_remedy() -> None:
    with pytest.raises(SettingsError, match=r"store\.plan is not set: .*deploy/store\.example\.toml"):
        read_store(settings())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[camera]", "not TOML"),
        ("", "camera is missing"),
        ('[[camera]]\nname = "a"\n[[zone]]\nname = "z"\npolygon = [[0, 0], [1, 1]]', "zone z: its polygon"),
        ('rule = 3\n[[camera]]\nname = "a"', "rules are 3, not a list"),
        ('[[camera]]\nname = "a"\n[[rule]]\nname = "r"\nkind = "crowding"\nzone = "q"\npeople = 2', "q"),
    ],
)
def test_a_store_that_cannot_be_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "store.toml"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=said) as problem:
        read_store(settings(plan=path))
    assert str(path) in str(problem.value)


def test_a_file_that_is_not_there_is_a_problem_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"store\.plan: .*gone\.toml: no such file"):
        read_store(settings(plan=tmp_path / "gone.toml"))


def test_cameras_that_are_calibrated_say_which_see_the_same_floor() -> None:
    beside = ((10.0, 0.0, -100.0), (0.0, 10.0, 0.0), (0.0, 0.0, 1.0))
    known = store_of(
        [
            camera("a", homography=STRAIGHT_DOWN, size="160x120"),
            camera("b", homography=beside, size="160x120"),
            camera("plain", size="160x120"),
        ]
    )
    assert set(known.views) == {"a", "b"}
    assert known.overlapping == {frozenset("ab")}


def test_the_embedding_that_ships_is_found_with_what_its_looks_say() -> None:
    model = person_model(settings())
    assert model.exact == "reid-small@1"
    assert model.appearance.same_cosine != 0.5, "fitted, not the default"
    with pytest.raises(ModelNotFoundError, match="make one with: sightline train reid-osnet"):
        person_model(settings(embedding="reid-gone@live"))


def test_the_detector_is_opencvs_own_or_that_of_the_file_that_is_set(tmp_path: Path) -> None:
    assert isinstance(detector(settings()), HogPersonDetector)
    (tmp_path / "detr.onnx").write_bytes(detr())
    given = {"detector": tmp_path / "detr.onnx", "detector_layout": "detr", "detector_person": 1}
    (found,) = detector(settings(**given, detector_side_px=SIDE))([np.full((100, 200, 3), 255, np.uint8)])
    assert found.boxes.tolist() == [pytest.approx((100, 0, 200, 100), abs=1e-3)]


def test_a_detector_that_will_not_do_is_said_before_a_frame_comes(tmp_path: Path) -> None:
    with pytest.raises(BadDetector, match=r"gone\.onnx cannot be read"):
        detector(settings(detector=tmp_path / "gone.onnx"))
    (tmp_path / "yolox.onnx").write_bytes(yolox())
    with pytest.raises(BadDetector, match=r"yolox\.onnx: .*layout"):
        detector(settings(detector=tmp_path / "yolox.onnx", detector_layout="detr"))


@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_can_be_made_and_is_what_its_outline_says(name: str, tmp_path: Path) -> None:
    write_text(tmp_path / "cameras.toml", to_toml([camera("door")]), MODE)
    given = settings(plan=EXAMPLE, cameras=tmp_path / "cameras.toml").model_copy(update={"home": tmp_path})
    made = local(name, given).pipeline
    known = outline(name)
    # How long the topic is kept follows from the cameras.
    assert (made.name, made.source.name, made.sink.name) == (name, known.source.name, known.sink.name)


def test_frames_are_held_by_the_dozen_and_records_by_the_thousand() -> None:
    limits = settings(max_batch_frames=8)
    assert holding(outline("person-sightings"), limits) == holding(outline("person-sightings"), limits)
    assert (holding(outline("person-sightings"), limits).batch, holding(outline("store-metrics"), limits).batch) == (
        8, limits.pipeline.max_batch_records,
    )  # fmt: skip


def test_only_win_prediction_has_a_shadow() -> None:
    with pytest.raises(UsageProblem, match="store-metrics has none; there is one of: win-prediction"):
        run.run_pipeline("store-metrics", settings(), "reid-osnet@1")
