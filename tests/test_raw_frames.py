"""Raw frames are not stored unless asked: read from every pipeline, every schema, and the syntax of every module."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming import topics
from streaming.kafka.admin import topic_options
from tests.test_no_unsafe_loading import modules

ROOT = Path(__file__).parents[1]
PIPELINES = ROOT / "streaming" / "pipelines"

WRITERS = {
    "imwrite", "imencode", "VideoWriter", "imsave", "tofile", "savez", "savez_compressed", "encode_jpeg", "savemat",
    "write_parquet", "write_ipc", "write_avro",
}  # fmt: skip
"""What makes a file of a picture, or bytes for one."""

ALLOWED = {
    "jobs/evaluate_clips.py: encode_jpeg": "frames of clips that the user has, in memory",
    "jobs/evaluate_store.py: encode_jpeg": "drawn people, in memory",
    "jobs/reid/store_crops.py: encode_jpeg": "drawn people, in memory",
    "jobs/store_demo/scene.py: encode_jpeg": "drawn people, on their way to a camera of the demo",
    "jobs/stream_set/days.py: write_parquet": "training sets, of matches",
    "jobs/stream_set/partition.py: write_ipc": "training sets, of matches",
    "streaming/cameras/record.py: encode_jpeg": "a camera's frames, on their way to camera.frames",
    "streaming/features/blurring.py: encode_jpeg": "heads are coarse by then",
}
"""`FILE: CALL` → why it stores no raw frame. An entry that is not needed fails."""

READERS = {
    "jobs/pipelines.py": "bounds how many a run holds",
    "streaming/pipelines/person_sightings.py": "reads them",
    "jobs/run_cameras.py": "makes the topic that the camera's process writes to",
    "streaming/cameras/record.py": "makes its records",
    "streaming/cameras/publishing.py": "writes them",
    "jobs/commands/live.py": "hands them to the gateway, which shows them without heads and keeps none",
    "serve/gateway/testing.py": "frames of paper dolls, for tests",
    "streaming/kafka/acls.py": "says who may read and write them",
}
"""Who may name `camera.frames` → why."""


def calls(source: str) -> Iterator[str]:
    """Writers that a module names."""
    for node in ast.walk(ast.parse(source)):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
        if name in WRITERS:
            yield name


def test_nothing_makes_a_file_of_a_frame() -> None:
    found = set()
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        found |= {f"{name}: {call}" for call in calls(path.read_text(encoding="utf-8"))}
    assert found - ALLOWED.keys() == set()
    assert ALLOWED.keys() - found == set(), "no longer needed"


def test_who_names_the_topic_of_frames_is_known() -> None:
    found = {
        name
        for path in modules()
        if "CAMERA_FRAMES" in (text := path.read_text(encoding="utf-8")) or '"camera.frames' in text
        if (name := path.relative_to(ROOT).as_posix()) != "streaming/topics.py"
    }
    assert found - READERS.keys() == set()


def test_no_record_but_a_frame_holds_a_picture_or_a_look() -> None:
    found = {}
    for path in sorted((ROOT / "streaming" / "schemas").glob("*.avsc")):
        if held := list(fields_of_bytes(json.loads(path.read_text(encoding="utf-8")))):
            found[path.stem] = held
    assert found == {"camera-frames": ["jpeg", "crop"]}


def fields_of_bytes(schema: object, name: str = "") -> Iterator[str]:
    """Fields of an Avro schema that hold bytes."""
    if isinstance(schema, list):
        for part in schema:
            yield from fields_of_bytes(part, name)
    elif isinstance(schema, dict):
        for field in schema.get("fields", ()):
            yield from fields_of_bytes(field["type"], field["name"])
        for inner in ("items", "values", "type"):
            if inner in schema:
                yield from fields_of_bytes(schema[inner], name)
    elif schema in ("bytes", "fixed"):
        yield name


def test_a_pipeline_of_frames_keeps_none_that_it_cannot_accept() -> None:
    """Read from the source: to build one takes a model."""
    found = {}
    for path in sorted(PIPELINES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Pipeline":
                given = {one.arg: ast.unparse(one.value) for one in node.keywords}
                if given["source"].endswith("CAMERA_FRAMES"):
                    found[path.stem] = given.get("dead_letters")
    assert found == {"person_sightings": "False"}


def test_looks_are_sealed_wherever_the_pipeline_is_run() -> None:
    """A call without keys is one that is read and not run (`outline`), or that of drawn people in memory."""
    without = set()
    for path in sorted((ROOT / "jobs").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_made = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "person_sightings"
            if is_made and "keys" not in {one.arg for one in node.keywords}:
                without.add(path.relative_to(ROOT).as_posix())
    assert without == {"jobs/pipelines.py", "jobs/evaluate_store.py", "jobs/evaluate_clips.py"}


def test_frames_are_kept_an_hour_and_not_as_long_as_kafka_would() -> None:
    options = topic_options(topics.CAMERA_FRAMES)
    assert int(options["retention.ms"]) == topics.HOUR_MS
    assert int(options["segment.ms"]) <= topics.HOUR_MS / 4  # a segment goes as a whole
    assert topics.CAMERA_FRAMES.dead_letters.retention_ms <= topics.DAY_MS


def test_the_stages_of_people_keep_no_picture_in_their_state() -> None:
    for name in ("tracking", "identities"):
        module = importlib.import_module(f"streaming.{name}.stage")
        assert not {"jpeg", "crop", "crops"} & set(ast_names(inspect.getsource(module)))


def ast_names(source: str) -> Iterator[str]:
    """Names and texts of a module, without its docstrings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("source", ["import cv2\ncv2.imwrite(path, frame)", "from cv2 import imencode\nimencode(a)"])
def test_the_scan_sees(source: str) -> None:
    assert list(calls(source)) != []
