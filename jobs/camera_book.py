"""The cameras there are, in `cameras.toml` beside the settings file, or in the working folder where there is none.

    [[camera]]
    id = "door"
    source = "rtsp://viewer:secret@10.0.0.7/stream1"
    purpose = "count visitors"
    retention_days = 7
    fps = 5.0
    size = "1920x1080"
    homography = [[…], […], […]]     # if calibrated: floor plan (m) to image (px)

Sources may hold passwords, so nobody but the owner may read the file.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.files import write_text
from streaming.cameras.definition import Camera
from streaming.locking import folder_locked

FILE = "cameras.toml"
MODE = 0o600
MAX_BYTES = 4 << 20


class BadCameraFile(ValueError):
    """The file of cameras cannot be used; the message names it, the camera and the remedy, and no secret."""


def read_cameras(path: Path) -> tuple[Camera, ...]:
    """The cameras of a file, in its order; none where there is no file.

    Raises:
        BadCameraFile: it cannot be read, others may read it, an entry is wrong, or two have one id.
    """
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            text = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BadCameraFile(f"{path}: cannot be read: {error.strerror}") from None
    if stat.S_IMODE(about.st_mode) & 0o077:
        raise BadCameraFile(f"{path}: others can read it, and sources may hold passwords: chmod 600 {path}")
    if len(text) > MAX_BYTES:
        raise BadCameraFile(f"{path}: more than {MAX_BYTES:,} bytes")
    try:
        said = tomllib.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadCameraFile(f"{path}: not TOML: {error}") from None
    entries = said.pop("camera", [])
    if said or not isinstance(entries, list):
        raise BadCameraFile(f"{path}: {next(iter(said), 'camera')!r} is not [[camera]]; there is nothing else in it")
    cameras = tuple(_camera(path, number, entry) for number, entry in enumerate(entries, start=1))
    twice = [name for name, count in Counter(camera.id for camera in cameras).items() if count > 1]
    if twice:
        raise BadCameraFile(f"{path}: two cameras have the id {twice[0]!r}: their frames could not be told apart")
    return cameras


def _camera(path: Path, number: int, entry: Any) -> Camera:
    try:
        return Camera.model_validate(entry)
    except ValidationError as error:
        named = entry.get("id") if isinstance(entry, dict) else None
        raise BadCameraFile(f"{path}: camera {number}{f' ({named})' if named else ''}: {explained(error)}") from None


def explained(error: ValidationError) -> str:
    """What is wrong with a camera, without its values: one may be a password."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'entry'}: {first['msg'].removeprefix('Value error, ')}"


@contextmanager
def changing(path: Path) -> Iterator[list[Camera]]:
    """The cameras of a file, written back when the body ends well. Nobody else changes them meanwhile."""
    with folder_locked(path.parent):
        cameras = list(read_cameras(path))
        yield cameras
        write_text(path, to_toml(cameras), MODE)


def to_toml(cameras: Sequence[Camera]) -> str:
    """The file's text."""
    return "\n".join("\n".join(["[[camera]]", *_lines(camera)]) + "\n" for camera in cameras)


def _lines(camera: Camera) -> Iterator[str]:
    for name, value in camera.model_dump(mode="json").items():
        if value is not None:
            # A JSON string is a TOML string, but for one character.
            yield f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
