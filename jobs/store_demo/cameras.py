"""What the demo's camera processes are given: their book, and clips, or pipes that the made-up store is told into."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobs.camera_book import MODE, to_toml
from jobs.files import write_text
from jobs.store_demo.scene import FPS, Scene
from streaming.cameras.definition import Camera
from streaming.cameras.opening import source_of

PURPOSE = "to show Sightline; nothing outlives the demo"
CLIP_FPS = 3.0
CLIP_WIDTH_PX = 960  # what is wider is sent smaller
_RETRY_S = 0.1
_JOIN_S = 5.0
_TAIL_BYTES = 4_096


def cameras_of_clips(files: Sequence[Path]) -> tuple[Camera, ...]:
    """A camera a clip, named by its file; each is opened once.

    Raises:
        BadSource: there is no video in one of them.
    """
    found: list[Camera] = []
    for path in files:
        source = source_of(str(path.absolute()), CLIP_FPS)
        try:
            info = source.open()
        finally:
            source.close()
        name = named(path, [camera.id for camera in found])
        size = fitting(info.width, info.height)
        found.append(_camera(name, path.absolute(), fps=CLIP_FPS, size=size))
    return tuple(found)


def named(path: Path, taken: Sequence[str]) -> str:
    """The id of a clip's camera: its file's name as far as an id may be so, and none that is taken."""
    plain = re.sub(r"[^\w.-]", "-", path.stem).lstrip(".-")[:56] or "clip"
    return next(name for n in range(1, 10_000) if (name := plain if n == 1 else f"{plain}-{n}") not in taken)


def fitting(width: int, height: int) -> tuple[int, int]:
    """The size of what is sent of a clip, in its own proportions."""
    if width <= CLIP_WIDTH_PX:
        return width, height
    return CLIP_WIDTH_PX, max(1, round(height * CLIP_WIDTH_PX / width))


def cameras_of_scene(scene: Scene, folder: Path) -> tuple[Camera, ...]:
    """The cameras of the made-up store, each with a named pipe of its own in `folder`, which are made."""
    found = []
    for camera in scene.cameras:
        pipe = folder / f"{camera.camera_id}.jsonl"
        os.mkfifo(pipe, MODE)
        # Twice the rate of the pipe: the store paces itself, and what comes late is not to be left out.
        found.append(
            _camera(
                camera.camera_id,
                pipe,
                fps=2.0 * FPS,
                size=(camera.width_px, camera.height_px),
                homography=tuple(map(tuple, camera.homography.tolist())),
            )
        )
    return tuple(found)


def _camera(name: str, source: Path, **more: Any) -> Camera:
    return Camera(id=name, source=str(source), purpose=PURPOSE, retention_days=1, **more)


def write_book(path: Path, cameras: Sequence[Camera]) -> None:
    """The file of `sightline camera`."""
    write_text(path, to_toml(cameras), MODE)


def plan_of_clips(cameras: Sequence[Camera]) -> dict[str, Any]:
    """Cameras that nobody has calibrated: no floor, and zones only as they are drawn on the page."""
    sized = [
        {"name": camera.id, "width_px": size[0], "height_px": size[1]} for camera in cameras if (size := camera.size)
    ]
    return {"camera": sized, "rule": [{"name": "camera-covered", "kind": "camera_covered", "limit_s": 10}]}


def last_status(log: Path) -> Mapping[str, Any]:
    """What a camera's process said last of itself, `sightline camera run --json`; nothing where it has not yet."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        with suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and "sent" in said:
                return said
    return {}


class Broadcast:
    """Tells the made-up store into the pipes of its cameras, a thread each, in real time. Who is late skips frames.

    Args:
        scene: what there is to see.
        cameras: of `cameras_of_scene`.
    """

    def __init__(self, scene: Scene, cameras: Sequence[Camera]) -> None:
        self._scene = scene
        self._began_s = time.time() - time.monotonic()  # who sets the machine's clock does not tear the times
        self._opened: int | None = None  # the first frame with people
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(camera,), name=f"scene {camera.id}", daemon=True)
            for camera in cameras
        ]
        for thread in self._threads:
            thread.start()

    def open_doors(self) -> None:
        """People come in from now on."""
        self._opened = self._now() + 1

    @property
    def opened_ms(self) -> int | None:
        """When, UTC."""
        return None if self._opened is None else self._opened * 1000 // FPS

    def stop(self) -> None:
        """Tell no more; the readers have ended, or are about to."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _now(self) -> int:
        """Frames since 1970."""
        return int((self._began_s + time.monotonic()) * FPS)

    def _run(self, camera: Camera) -> None:
        while not self._stopping.is_set():
            with suppress(BrokenPipeError), self._reader(camera.source) as pipe:
                self._tell(camera.id, pipe)

    def _tell(self, camera_id: str, pipe: Any) -> None:
        number = self._now()
        while not self._stopping.is_set():
            number = max(number + 1, self._now())
            due_s = number / FPS - self._began_s - time.monotonic()
            if self._stopping.wait(max(0.0, due_s)):
                return
            opened = self._opened
            since = number - opened if opened is not None and number >= opened else None
            pipe.write(self._scene.line(camera_id, number * 1000 // FPS, since))

    def _reader(self, path: str) -> Any:
        """The pipe once somebody reads it. Raises BrokenPipeError when it is time to stop before that."""
        while not self._stopping.wait(_RETRY_S):
            with suppress(OSError):  # ENXIO: nobody does yet
                opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
                os.set_blocking(opened, True)
                return os.fdopen(opened, "wb", buffering=0)
        raise BrokenPipeError
