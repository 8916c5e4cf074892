"""Whether people keep their names from one real camera to another: clips with labelled boxes through the pipeline.

    camera*.mp4, gt_boxes.csv ─► the pipeline of sightings, uncalibrated ─► who each track was taken for, and who it is

Boxes are the labelled ones, as from a smart camera, so that what is judged is names alone; looks and time decide, there
is no floor. Two ways, since clips of one place say both:

- **in turn**: each clip begins a while after the one before it has ended, as if people walked from camera to camera;
- **at once**: as they were filmed, of cameras that are said to see the same place.

Nothing is drawn by chance: there is no seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import simplejpeg

from jobs.store_stream import NOW_MS, frames_of, settled, through
from streaming.identities import Appearance
from streaming.pipelines.person_sightings import Embed, Embedding, Store, person_sightings
from streaming.tracking.association import overlaps

FPS = 5
LABELS = "gt_boxes.csv"
_COLUMNS = ("camera", "frame", "person_id", "x1", "y1", "x2", "y2")
_AGREES = 0.5  # intersection over union of a told box and a labelled one
_QUIET_S = 4  # after the last frame, so that whoever was seen last is named
_AT_ONCE = 20  # frames in a batch

Frames = Sequence[tuple[int, bytes, tuple[int, int]]]
"""Of a clip: number, JPEG, width and height."""


class BadClips(ValueError):
    """A folder that has no labelled clips; the message says what is missing."""


def evaluate_clips(
    folder: Path,
    reference: str,
    roots: Sequence[str],
    gap_s: float,
    on_step: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """A report as JSON values.

    Args:
        folder: with a clip for each camera, `camera0.mp4`, …, and `gt_boxes.csv`: camera, frame, person_id, and x1, y1,
            x2, y2 in pixels.
        reference: NAME@ALIAS or NAME@VERSION of the embedding.
        roots: of the model store.
        gap_s: between two clips in turn.
        on_step: told how far it is, in words.

    Raises:
        BadClips: the folder has no such files, or they do not fit.
        ModelNotFoundError, BrokenModelError: there is no such model, or it embeds no people.
    """
    from serve.predictors.reid import appearance_of, load_reid_predictor

    labels, clips = read_labels(folder), list(read_clips(folder))
    predictor = load_reid_predictor(roots, reference)
    info = predictor.info

    def embed(crops: npt.NDArray[np.uint8]) -> Embedding:
        return Embedding(predictor.predict(crops), info.name, info.version, info.weight_hash)

    report: dict[str, Any] = {"model": asdict(info), "clips": len(clips), "gap_s": gap_s, "seeds": None}
    report["people"] = labels["person_id"].n_unique()
    for way, apart_s in (("in turn", gap_s), ("at once", None)):
        report[way] = judge_clips(clips, labels, embed, info.dimensions, appearance_of(predictor), apart_s)
        on_step(f"{way}: {report[way]['right']} right, {report[way]['wrong']} wrong, {report[way]['missed']} missed")
    return report


def read_labels(folder: Path) -> pl.DataFrame:
    """Who is where. Raises BadClips."""
    path = folder / LABELS
    try:
        labels = pl.read_csv(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadClips(f"{path}: {error}") from error
    if missing := set(_COLUMNS) - set(labels.columns):
        raise BadClips(f"{path} has no column {min(missing)}; wanted are {', '.join(_COLUMNS)}")
    return labels


def read_clips(folder: Path) -> Iterator[Frames]:
    """Of each clip about `FPS` frames a second. Raises BadClips."""
    import av

    paths = sorted(folder.glob("camera*.mp4"))
    if len(paths) < 2:
        raise BadClips(f"{folder} has {len(paths)} clips named camera*.mp4, and names need two cameras")
    for path in paths:
        try:
            with av.open(str(path)) as container:
                rate = container.streams.video[0].average_rate
                every = max(1, round(float(rate or FPS) / FPS))
                frames = []
                for number, frame in enumerate(container.decode(video=0)):
                    if number % every == 0:
                        image = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
                        size = (image.shape[1], image.shape[0])
                        frames.append((number, simplejpeg.encode_jpeg(image, 90), size))
        except (av.FFmpegError, OSError) as error:
            raise BadClips(f"{path} cannot be read: {error}") from error
        yield frames


def judge_clips(
    clips: Sequence[Frames],
    labels: pl.DataFrame,
    embed: Embed,
    dimensions: int,
    appearance: Appearance,
    gap_s: float | None,
) -> dict[str, Any]:
    """Run the pipeline over the clips, in turn with so many seconds between them, or (None) at once; what became of
    each track, and sums."""
    lengths_s = [0.0 if gap_s is None else len(clip) / FPS + gap_s for clip in clips]
    begins_s = [0.0, *itertools.accumulate(lengths_s[:-1])]
    rows = [
        _row(camera, place, frame, begin_s, labels)
        for camera, (clip, begin_s) in enumerate(zip(clips, begins_s, strict=True))
        for place, frame in enumerate([*clip, *_quiet(clip)])
    ]
    rows.sort(key=lambda row: (row["captured_ms"], row["camera_id"]))
    rows = [row | {"_offset": offset} for offset, row in enumerate(rows)]
    same = (frozenset(pair) for pair in itertools.combinations(map(_name, range(len(clips))), 2))
    pipeline = person_sightings(
        embed, dimensions, store=Store({}, [*same] if gap_s is None else ()), appearance=appearance, max_age_s=1e9
    )
    told = through(pipeline, (frames_of(rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE)))
    tracks = _tracks(
        told, settled(told).drop_nulls("track_id"), labels, [[number for number, *_ in clip] for clip in clips]
    )
    return judged(tracks)


def judged(tracks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over tracks `camera, track, person, told, score` in the order in which they were named: which were taken for
    the right person of before, which for another, and which for nobody although the person had been named in another
    camera."""
    whose: dict[str, int] = {}  # the name → the person who had it first
    named: dict[int, set[int]] = {}  # person → cameras in which a track of the person was named
    rows: list[dict[str, Any]] = []
    for track in tracks:
        person, elsewhere = track["person"], named.get(track["person"], set()) - {track["camera"]}
        first = whose.setdefault(track["told"], person)
        is_new = track["told"] not in {row["told"] for row in rows}
        verdict = (
            "first" if is_new and not elsewhere else "missed" if is_new else "right" if first == person else "wrong"
        )
        named.setdefault(person, set()).add(track["camera"])
        rows.append({**track, "taken_for": None if is_new else first, "verdict": verdict})
    sums = {
        verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("right", "wrong", "missed", "first")
    }
    return {**sums, "tracks": rows}


def _row(
    camera: int, place: int, frame: tuple[int | None, bytes, tuple[int, int]], begin_s: float, labels: pl.DataFrame
) -> dict[str, Any]:
    number, jpeg, (width, height) = frame
    mine = labels.filter(camera=camera, frame=-1 if number is None else number)
    persons = [
        {"x0_px": x0, "y0_px": y0, "x1_px": x1, "y1_px": y1, "score": 0.9, "crop": None}
        for x0, y0, x1, y1 in mine.select("x1", "y1", "x2", "y2").rows()
    ]
    captured_ms = NOW_MS + round(1000 * begin_s) + 1000 * place // FPS
    return {
        "camera_id": _name(camera), "captured_ms": captured_ms, "frame": place, "width": width, "height": height,
        "jpeg": jpeg, "dropped_total": 0, "detections": persons, "_partition": 0,
    }  # fmt: skip


def _quiet(clip: Frames) -> list[tuple[None, bytes, tuple[int, int]]]:
    """The last picture without anybody."""
    _, jpeg, size = clip[-1]
    return [(None, jpeg, size)] * (_QUIET_S * FPS)


def _name(camera: int) -> str:
    return f"camera{camera}"


def _tracks(
    told: pl.DataFrame, final: pl.DataFrame, labels: pl.DataFrame, numbers: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """Every track that was named, in that order: who it is by most of its boxes, and who it was told to be."""
    score = told.filter(pl.col("corrects_from_ms").is_not_null()).select("camera_id", "track_id", "link_score")
    scores = {(camera, track): value for camera, track, value in score.iter_rows()}
    found = []
    for (camera_id, track), rows in (
        final.drop_nulls("person_id").partition_by("camera_id", "track_id", as_dict=True, maintain_order=True).items()
    ):
        camera = int(str(camera_id).removeprefix("camera"))
        person = _person(rows, labels.filter(camera=camera), numbers[camera])
        if person is not None:
            score_ = scores.get((str(camera_id), int(track)))
            told_as = rows["person_id"][-1]
            found.append(
                {
                    "camera": camera, "track": int(track), "person": person, "told": told_as,
                    "score": None if score_ is None else round(float(score_), 4),
                }
            )  # fmt: skip
    order = {(camera, track): number for number, (camera, track, _) in enumerate(score.iter_rows())}
    return sorted(found, key=lambda row: order[(_name(row["camera"]), row["track"])])


def _person(rows: pl.DataFrame, labels: pl.DataFrame, numbers: Sequence[int]) -> int | None:
    """Whose most of these boxes are; None where they are nobody's."""
    votes: dict[int, int] = {}
    for place, *box in rows.select("frame", "x0_px", "y0_px", "x1_px", "y1_px").iter_rows():
        there = labels.filter(frame=numbers[place])
        if there.is_empty():
            continue
        alike = overlaps(there.select("x1", "y1", "x2", "y2").to_numpy().astype(float), np.array([box], float))[:, 0]
        if alike.max() >= _AGREES:
            person = int(there["person_id"][int(alike.argmax())])
            votes[person] = votes.get(person, 0) + 1
    return max(votes, key=lambda person: (votes[person], -person)) if votes else None
