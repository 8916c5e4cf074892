"""A store to try identities in: people who walk a floor plan past eight cameras, with the truth.

No pictures: boxes come from a pinhole camera 3.5 m up, with jitter, misses, people hidden behind others and false
boxes; embeddings are a person's own vector, what the camera adds to everybody, what one passage adds (pose, side,
light) and noise, so hard that the nearest single look from another camera is the right person in four of five cases.

    python -m tests.seen_walks [--seeds 5]      IDF1 of each seed as JSON
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.store_stream import settled
from streaming.identities import Appearance, IdentityStage, Rules
from streaming.identities.appearance import centred
from streaming.tracking import TrackStage
from streaming.tracking.metrics import Comparison, hota, identity_scores

Floats = npt.NDArray[np.float64]

PEOPLE, DIMENSIONS = 60, 64
FRAME_MS = 200
START_MS = 1_700_000_000_000
FLOOR_M = (40.0, 24.0)
CAMERAS = {  # west, north, east, south of the floor that each sees, m; it hangs in the middle of the north side
    "door": (0.0, 0.0, 8.0, 7.0),
    "fruit": (10.0, 0.0, 18.0, 7.0),
    "bread": (17.0, 0.0, 25.0, 7.0),  # sees a metre of the floor that "fruit" sees
    "wine": (29.0, 0.0, 38.0, 7.0),
    "meat": (29.0, 9.0, 38.0, 16.0),
    "toys": (14.0, 9.0, 23.0, 16.0),
    "books": (4.0, 12.0, 12.0, 20.0),
    "till": (10.0, 17.0, 19.0, 24.0),  # and this one some of "books"
}
OVERLAPPING = (frozenset({"fruit", "bread"}), frozenset({"books", "till"}))
_BOX = ("x0_px", "y0_px", "x1_px", "y1_px")
_FOCAL_PX, _MOUNT_M, _BODY_M = 700.0, 3.5, (0.5, 1.7)
_MISSED, _FALSE = 0.05, 0.05  # of those visible; of frames with a box of nobody
_CAMERA_SHIFT, _PASSAGE_NOISE, _LOOK_NOISE = 0.55, 0.85, 0.85


@dataclass(frozen=True)
class Walks:
    """What was seen, as rows for `TrackStage`, and who it was."""

    detections: pl.DataFrame
    truth: pl.DataFrame  # camera_id, frame, id, box of everybody who can be seen


def store_walks(seed: int, people: int = PEOPLE, arriving_s: float = 200.0) -> Walks:
    """A morning in the store."""
    chance = np.random.default_rng(seed)
    own = _unit(chance.normal(size=(people, DIMENSIONS)))
    shift = _unit(chance.normal(size=(len(CAMERAS), DIMENSIONS))) * _CAMERA_SHIFT
    paths = [_path(chance) for _ in range(people)]
    begins = np.sort(chance.uniform(0, arriving_s, people))
    frames = (
        int(max(begin + len(path) * FRAME_MS / 1000 for begin, path in zip(begins, paths, strict=True)) * 1000)
        // FRAME_MS
    )
    where = np.full((frames + 1, people, 2), np.nan)
    for person, (begin, path) in enumerate(zip(begins, paths, strict=True)):
        first = round(begin * 1000 / FRAME_MS)
        where[first : first + len(path), person] = path[: frames + 1 - first]
    detections: list[pl.DataFrame] = []
    truth: list[pl.DataFrame] = []
    for number, (name, view) in enumerate(CAMERAS.items()):
        seen, true = _camera(chance, number, name, view, where, own, shift[number])
        detections.append(seen)
        truth.append(true)
    return Walks(pl.concat(detections).sort("captured_ms", "camera_id", maintain_order=True), pl.concat(truth))


def _path(chance: np.random.Generator) -> Floats:
    """Floor places, one a frame: in at the door, to four to seven shelves, to the till, and out."""
    views = list(CAMERAS.values())
    shelves = chance.permutation(np.arange(1, len(views) - 1))[: chance.integers(3, 6)]
    stops = [(0.3, 3.0 + chance.normal(0, 0.5))]
    for number in [0, *shelves.tolist(), len(views) - 1]:
        west, north, east, south = views[number]
        stops.append((chance.uniform(west + 0.7, east - 0.7), chance.uniform(north + 2.0, south - 0.7)))
    stops.append((0.3, 22.0))
    speed_m, out = chance.uniform(0.9, 1.5) * FRAME_MS / 1000, []
    for number, (here, there) in enumerate(pairwise(stops)):
        steps = max(1, int(np.hypot(there[0] - here[0], there[1] - here[1]) / speed_m))
        out.append(np.linspace(here, there, steps, endpoint=False))
        if number < len(stops) - 2:
            pause = int(chance.uniform(3, 15) * 1000 / FRAME_MS)
            out.append(np.array(there) + np.cumsum(chance.normal(0, 0.03, (pause, 2)), axis=0))
    return np.concatenate(out)


def _camera(
    chance: np.random.Generator,
    number: int,
    name: str,
    view: tuple[float, float, float, float],
    where: Floats,
    own: Floats,
    shift: Floats,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    west, north, east, south = view
    x, y = where[..., 0], where[..., 1]
    inside = (x > west) & (x < east) & (y > north) & (y < south)
    entered = inside & ~np.vstack([np.zeros((1, inside.shape[1]), bool), inside[:-1]])
    passage = np.cumsum(entered, axis=0)  # (frames, people)
    extra = _unit(chance.normal(size=(int(passage.max(initial=0)) + 1, inside.shape[1], len(shift)))) * _PASSAGE_NOISE
    true: list[tuple[int, Floats, Floats]] = []  # frame, people, boxes
    seen: list[tuple[int, Floats, Floats]] = []  # frame, boxes with score and place, looks
    for frame in range(len(where)):
        here = np.flatnonzero(inside[frame])
        box = _boxes(x[frame, here] - (west + east) / 2, y[frame, here] - north)
        visible = ~_hidden(box)
        here, box = here[visible], box[visible]
        true.append((frame, here, box))
        kept = np.flatnonzero(chance.random(len(here)) > _MISSED)
        jitter = chance.normal(0, 0.02, (len(kept), 4)) * (box[kept, 3:] - box[kept, 1:2])
        look = own[here[kept]] + shift + extra[passage[frame, here[kept]], here[kept]]
        look = _unit(look + _unit(chance.normal(size=look.shape)) * _LOOK_NOISE)
        places = where[frame, here[kept]] + chance.normal(0, 0.15, (len(kept), 2))
        scores = np.clip(chance.normal(0.8, 0.15, len(kept)), 0.15, 1.0)[:, None]
        found = np.hstack([box[kept] + jitter, scores, places])
        if chance.random() < _FALSE:
            at = _boxes(chance.uniform(-3, 3, 1), chance.uniform(2, 7, 1))
            found = np.vstack([found, [[*at[0], chance.uniform(0.3, 0.9), np.nan, np.nan]]])
            look = np.vstack([look, _unit(chance.normal(size=(1, len(shift))))])
        if not len(found):
            found, look = np.full((1, 7), np.nan), np.full((1, len(shift)), np.nan)
        seen.append((frame, found, look))
    values = np.vstack([found for _, found, _ in seen])
    looks = [
        row.tobytes() if row[0] == row[0] else None for row in np.vstack([look for *_, look in seen]).astype("<f4")
    ]
    columns = (*_BOX, "score", "x_m", "y_m")
    detections = pl.DataFrame(
        {
            "camera_id": [name] * len(values),
            "frame": np.repeat([frame for frame, *_ in seen], [len(found) for _, found, _ in seen]),
            **{column: pl.Series(values[:, at], dtype=pl.Float32).fill_nan(None) for at, column in enumerate(columns)},
            "embedding": pl.Series(looks, dtype=pl.Binary),
        }
    ).with_columns(
        captured_ms=START_MS + pl.col("frame") * FRAME_MS + 11 * number,
        _partition=pl.lit(number % 4, pl.Int32),
        _offset=pl.col("frame") * len(CAMERAS) + number,
        _schema_id=pl.lit(1, pl.Int32),
    )
    boxes = np.vstack([box for *_, box in true])
    truth = pl.DataFrame(
        {
            "camera_id": [name] * len(boxes),
            "frame": np.repeat([frame for frame, *_ in true], [len(here) for _, here, _ in true]),
            "id": np.concatenate([here for _, here, _ in true]),
            **{column: pl.Series(boxes[:, at], dtype=pl.Float32) for at, column in enumerate(_BOX)},
        }
    )
    return detections.with_columns(_ingest_time_ms=pl.col("captured_ms") + 60), truth


def _boxes(x_m: Floats, y_m: Floats) -> Floats:
    """Boxes in px of bodies so far to the east of the camera and to the south of it, (N, 4)."""
    away = y_m + 1.5
    scale = _FOCAL_PX / away
    foot, left = 300 + _MOUNT_M * scale, 640 + (x_m - _BODY_M[0] / 2) * scale
    return np.stack([left, foot - _BODY_M[1] * scale, left + _BODY_M[0] * scale, foot], axis=1)


def _hidden(box: Floats) -> npt.NDArray[np.bool_]:
    """Whether somebody nearer covers more than 0.6 of the box."""
    low, high = np.maximum(box[:, None, :2], box[None, :, :2]), np.minimum(box[:, None, 2:], box[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1) / np.prod(box[:, 2:] - box[:, :2], axis=-1)[:, None]
    return ((shared > 0.6) & (box[None, :, 3] > box[:, None, 3])).any(axis=1)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def rank_1(walks: Walks) -> float:
    """How often, of the looks of one camera, the nearest to a look from another is the same person, over all ordered
    pairs of cameras and those who were in both: one look of each person and camera."""
    looks = labelled_looks(walks)
    vectors = np.stack([np.frombuffer(value, "<f4") for value in looks["embedding"]])
    who, camera = looks["id"].to_numpy(), looks["camera_id"].to_numpy()
    hits = []
    for one in CAMERAS:
        for other in CAMERAS:
            query, gallery = np.flatnonzero(camera == one), np.flatnonzero(camera == other)
            query = query[np.isin(who[query], who[gallery])]
            if one != other and len(query):
                best = gallery[(vectors[query] @ vectors[gallery].T).argmax(axis=1)]
                hits += (who[best] == who[query]).tolist()
    return float(np.mean(hits))


def labelled_looks(walks: Walks) -> pl.DataFrame:
    """One look of each person and camera, by the detection nearest to the true box."""
    both = walks.detections.drop_nulls("x_m").join(walks.truth, on=["camera_id", "frame"], suffix="_true")
    near = (pl.col("x0_px") - pl.col("x0_px_true")).abs() + (pl.col("y1_px") - pl.col("y1_px_true")).abs()
    matched = both.with_columns(_away=near).sort("_away").group_by("camera_id", "id", maintain_order=True).first()
    return matched.sort("camera_id", "id").select("camera_id", "id", "embedding")


def fitted(walks: Walks) -> Appearance:
    """The appearance model of this kind of embedding, from labelled looks."""
    looks = labelled_looks(walks)
    vectors = np.stack([np.frombuffer(value, "<f4") for value in looks["embedding"]])
    camera = looks["camera_id"].rank("dense").cast(pl.Int64).to_numpy()
    who = looks["id"].to_numpy()
    vectors = centred(vectors, camera)
    alike = vectors @ vectors.T
    across = np.triu(camera[:, None] != camera[None, :])
    same = who[:, None] == who[None, :]
    return Appearance.fit(alike[across & same].astype(np.float64), alike[across & ~same].astype(np.float64))


def identified(walks: Walks, rules: Rules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sightings as they left, and with all corrections applied."""
    track, identify = TrackStage(dimensions=DIMENSIONS), IdentityStage(DIMENSIONS, rules)
    tracks, persons = track.new_state(), identify.new_state()
    out = identify(track(walks.detections, tracks), persons)
    return out.filter(pl.col("corrects_from_ms").is_null()), settled(out)


def compared(walks: Walks, sightings: pl.DataFrame) -> Comparison:
    """Against the truth, by camera and frame."""
    told = sightings.drop_nulls("track_id").with_columns(id=pl.col("person_id"))
    return Comparison.of(walks.truth, told)


def main() -> None:
    parser = argparse.ArgumentParser(description="IDF1 across the store of each seed.")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    rules = Rules(overlapping=OVERLAPPING, appearance=fitted(store_walks(1000)))
    result = []
    for seed in range(options.seeds):
        walks = store_walks(seed)
        as_told, corrected = (compared(walks, rows) for rows in identified(walks, rules))
        scores = identity_scores(corrected)
        result.append(
            {
                "seed": seed,
                "rank_1": round(rank_1(walks), 3),
                "idf1": round(scores.idf1, 3),
                "idp": round(scores.idp, 3),
                "idr": round(scores.idr, 3),
                "idf1_as_told": round(identity_scores(as_told).idf1, 3),
                "hota": round(hota(corrected).hota, 3),
                "persons": corrected.sizes[1],
            }
        )
        sys.stdout.write(json.dumps(result[-1]) + "\n")


if __name__ == "__main__":
    main()
