"""Camera processes: one in this process, or one child a camera."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.children import Child
from jobs.signals import signals_set
from jobs.threads import beside

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.cameras.definition import Camera

_TELL_S = 1.0
_STOP_S = 15.0
HEAD_BYTES = 1_024
"""Of a record beside its value, at most."""

Tell = Callable[[Mapping[str, Any]], None]
"""Told once a second how one camera is: its id and the fields of `CaptureStatus`."""


class CameraEnded(RuntimeError):
    """A camera's process failed; the message has its own last words."""


def run_camera(camera: Camera, settings: Settings, tell: Tell) -> None:
    """Publish the frames of one camera from this process until it ends, or SIGTERM or Ctrl-C.

    Raises:
        BadSource: nothing can ever be read there.
        TransportUnavailable, AccessDenied, TopicMissing: Kafka is away, does not let us in, or lacks the topic.
        RegistryUnavailable: the schema's id cannot be asked for.
    """
    from streaming.cameras.capture import CameraProcess
    from streaming.cameras.opening import source_of
    from streaming.cameras.publishing import KafkaFrames
    from streaming.cameras.record import FrameEncoder
    from streaming.kafka.admin import ensure_topics
    from streaming.kafka.publisher import Publisher
    from streaming.topics import CAMERA_FRAMES

    kafka, stopping = settings.kafka.connection(), threading.Event()
    ensure_topics(kafka, [CAMERA_FRAMES])
    encoder = FrameEncoder(camera, settings.registry.open(), kafka.max_record_bytes - HEAD_BYTES)
    with closing(Publisher(kafka)) as publisher, signals_set(stopping):
        process = CameraProcess(camera, source_of(camera.source, camera.fps), encoder, KafkaFrames(publisher), stopping)

        def report() -> None:
            tell({"camera": camera.id, **asdict(process.status)})

        def every_second(over: threading.Event) -> None:
            while not over.wait(_TELL_S):
                report()

        with beside(every_second, "progress"):
            process.run()
        report()


def run_children(cameras: Sequence[Camera], arguments: Sequence[str], tell: Tell) -> None:
    """Publish the frames of several cameras, a process each, until all have ended, or SIGTERM or Ctrl-C.

    Args:
        cameras: which.
        arguments: of `sightline camera run`, for each of them.
        tell: how they are.

    Raises:
        CameraEnded: one of them failed; the others went on until they ended.
    """
    stopping = threading.Event()
    with tempfile.TemporaryDirectory(prefix="sightline-cameras-") as folder, signals_set(stopping):
        children: dict[str, Child] = {}
        try:
            for camera in cameras:
                command = ["jobs.cli", "camera", "run", camera.id, "--json", *arguments]
                children[camera.id] = Child(camera.id, command, {}, Path(folder) / f"{camera.id}.log")
            while not stopping.wait(_TELL_S):
                for name, child in children.items():
                    _told(name, child, tell)
                if all(child.ended is not None for child in children.values()):
                    break
        finally:
            stopper = [threading.Thread(target=child.stop, args=(_STOP_S,)) for child in children.values()]
            for thread in stopper:
                thread.start()
            for thread in stopper:
                thread.join()
        for name, child in children.items():
            _told(name, child, tell)
        failed = {name: child for name, child in children.items() if child.ended}
        if failed:
            last = "; ".join(f"{name}: {child.last_line}" for name, child in failed.items())
            raise CameraEnded(f"{len(failed)} of {len(children)} cameras failed: {last}")


def _told(name: str, child: Child, tell: Tell) -> None:
    """Pass on what a child said last of itself."""
    try:
        said = json.loads(child.last_line)
    except ValueError:
        return
    if isinstance(said, dict) and said.get("camera") == name:
        tell(said)
