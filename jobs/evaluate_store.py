"""How well people keep their names across a made-up store, and how well they are counted, against the exact truth.

    walks ─► pictures of every camera ─► the pipeline of sightings ─► IDF1 over all cameras
                                                    └─► store metrics ─► counts

Pictures are drawn, made JPEG, and go through `streaming.pipelines.person_sightings` as from a camera that sends its own
boxes, with jitter, misses and false ones (`streaming.simulators.store.detections`). Truth is the box of everybody of
whom a camera sees at least half; a box of somebody who is seen less counts neither for nor against, as in MOTChallenge
(Dendorfer et al., arXiv:2003.09003). People of another seed than the embedding has learned from. Cameras go on for a
while after what is judged, as those of a store do: were all lights out at once, whoever is out of sight by then would
be gone for good, and counted as such.

The detector misses most of those who are half hidden, so that even perfect names reach an IDF1 of about .9.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import simplejpeg

from jobs.errors import UsageProblem
from jobs.gate_row import gate_row
from jobs.store_counts import WINDOW_S, store_counts
from jobs.store_stream import NOW_MS, frames_of, settled, through
from streaming.features.floor import overlapping
from streaming.identities import Appearance
from streaming.pipelines.person_sightings import Embed, Embedding, Store, person_sightings
from streaming.simulators.store.counted import floor_views
from streaming.simulators.store.detections import DetectorErrors, detect
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.outfits import draw_outfits
from streaming.simulators.store.presets import Store as MadeStore
from streaming.simulators.store.presets import store
from streaming.simulators.store.sightings import sightings, steps_per_frame
from streaming.simulators.store.walks import Walks, walk
from streaming.tracking.association import overlaps
from streaming.tracking.metrics import Comparison, hota, identity_scores

LEAST_IDF1, MOST_ERROR = 0.85, 0.02
COUNTS = {
    "crossings": "crossings_error",
    "occupancy": "occupancy_error",
    "visits": "entered_error",
    "time in zones": "zones_error",
}
"""Counts that are to be right within `MOST_ERROR`, as `jobs.store_counts` has them."""
LEAST_VISIBLE = 0.5
_AGREES = 0.5  # intersection over union of two boxes of one person
_AT_ONCE_S = 2.0  # of the store's time in a batch
_QUIET_S = 4.0  # after it, with nobody found, so that whoever was seen last is named
_PARTITIONS = 4
_BOXES = ("x0_px", "y0_px", "x1_px", "y1_px")


@dataclass(frozen=True)
class StoreTrial:
    """A stretch of opening time of one made-up store."""

    seed: int = 0
    cameras: int = 8
    people: int = 60
    duration_s: float = 300.0
    after_s: float = 40.0  # filmed as well, and not judged
    fps: int = 5
    width_px: int = 640
    height_px: int = 360
    errors: DetectorErrors = field(default_factory=DetectorErrors)

    def made(self) -> MadeStore:
        """The store, with so many people that all of them come."""
        made = store(self.cameras, size_px=(self.width_px, self.height_px))
        rate = 1.25 * self.people / (self.duration_s / 60.0)
        traffic = replace(
            made.traffic, duration_s=self.duration_s + self.after_s, people=self.people, arrivals_per_min=rate
        )
        return made._replace(traffic=traffic)

    def judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those with a `frame` that is judged."""
        return rows.filter(pl.col("frame") < int(self.duration_s * self.fps))


def evaluate_store(
    reference: str,
    roots: Sequence[str],
    trial: StoreTrial,
    seeds: Sequence[int],
    on_step: Callable[[str], None] = lambda words: None,
    clips: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A report over several seeds, as JSON values.

    Args:
        reference: NAME@ALIAS or NAME@VERSION of the embedding.
        roots: of the model store.
        trial: what is the same for all.
        seeds: of people, clothes, walks and errors.
        on_step: told how far it is, in words.
        clips: what `jobs.evaluate_clips.evaluate_clips` found in real clips, to be judged beside; None: nobody asked.

    Raises:
        UsageProblem: a trial ends amid a window.
        ModelNotFoundError, BrokenModelError: there is no such model, or it embeds no people.
    """
    if trial.duration_s % WINDOW_S:
        raise UsageProblem(f"a trial of {trial.duration_s:g} s ends amid a window: whole {WINDOW_S:g} s are counted")
    from serve.predictors.reid import appearance_of, load_reid_predictor

    predictor = load_reid_predictor(roots, reference)
    info = predictor.info

    def embed(crops: npt.NDArray[np.uint8]) -> Embedding:
        return Embedding(predictor.predict(crops), info.name, info.version, info.weight_hash)

    started, trials = time.monotonic(), []
    for seed in seeds:
        one = replace(trial, seed=seed)
        trials.append(judge_store(one, embed, info.dimensions, appearance_of(predictor), on_step))
        on_step(f"seed {seed}: IDF1 {trials[-1]['idf1']:.3f}")
    worst_idf1 = min(found["idf1"] for found in trials)
    gates = [gate_row("IDF1 of the worst seed", f"≥ {LEAST_IDF1}", f"{worst_idf1:.3f}", worst_idf1 >= LEAST_IDF1)]
    for what, figure in COUNTS.items():
        worst = max(found["counts"][figure] for found in trials)
        gates.append(
            gate_row(f"error of {what}, worst seed", f"≤ {MOST_ERROR:.0%}", f"{worst:.1%}", worst <= MOST_ERROR)
        )
    if clips is not None:
        gates.append(clips_gate(clips))
    return {
        "model": asdict(info),
        "trial": asdict(trial),
        "clips": clips,
        "trials": trials,
        "mean_idf1": round(float(np.mean([found["idf1"] for found in trials])), 4),
        "gates": gates,
        "passed": all(row["passed"] for row in gates),
        "seconds": round(time.monotonic() - started, 1),
    }


def clips_gate(clips: Mapping[str, Any]) -> dict[str, Any]:
    """Whether somebody is known again in another camera's clip, and nobody taken for another."""
    ways = {way: clips[way] for way in ("in turn", "at once")}
    got = "; ".join(
        f"{way} {one['right']} right, {one['wrong']} wrong, {one['missed']} missed" for way, one in ways.items()
    )
    passed = all(one["right"] and not one["wrong"] for one in ways.values())
    return gate_row("names across real clips", "some right, none wrong", got, passed)


def judge_store(
    trial: StoreTrial,
    embed: Embed,
    dimensions: int,
    appearance: Appearance,
    on_step: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """Run the pipelines over one trial; figures as JSON values."""
    made = trial.made()
    walks = walk(made.plan, made.traffic, seed=trial.seed)
    seen = _Seen.of(trial, made, walks)
    views = floor_views(made)
    pipeline = person_sightings(
        embed, dimensions, store=Store(views, overlapping(views)), appearance=appearance, max_age_s=1e9
    )
    told = through(pipeline, seen.batches(on_step))
    boxes = trial.judged(seen.truth)
    truth = boxes.filter(pl.col("visible_share") >= LEAST_VISIBLE)
    ignored = boxes.filter(pl.col("visible_share") < LEAST_VISIBLE)
    final = trial.judged(settled(told).drop_nulls("track_id"))
    comparison = compared(truth, ignored, final)
    scores = identity_scores(comparison)
    as_told = identity_scores(compared(truth, ignored, trial.judged(before_corrections(told))))
    return {
        "seed": trial.seed,
        "people": truth["person_id"].n_unique(),
        "persons_told": final["person_id"].drop_nulls().n_unique(),
        "boxes": truth.height,
        "idf1": round(scores.idf1, 4),
        "idp": round(scores.idp, 4),
        "idr": round(scores.idr, 4),
        "idf1_as_told": round(as_told.idf1, 4),
        "hota": round(hota(comparison).hota, 4),
        "counts": store_counts(made, walks, told, trial.duration_s),
    }


def before_corrections(told: pl.DataFrame) -> pl.DataFrame:
    """Sightings under the names that they were told with. What is told late may have a name by then that was somebody
    else's in that frame as long as nothing was corrected: then the first to be told keeps it."""
    sightings = told.filter(pl.col("corrects_from_ms").is_null() & pl.col("track_id").is_not_null())
    first = pl.struct("camera_id", "frame", "person_id").is_first_distinct()
    return sightings.filter(pl.col("person_id").is_null() | first)


def compared(truth: pl.DataFrame, ignored: pl.DataFrame, told: pl.DataFrame) -> Comparison:
    """Told boxes against the truth, by camera and frame, without those that fit somebody ignored better than anybody.

    Args:
        truth: `streaming.simulators.store.sightings.SIGHTINGS_SCHEMA`, whose boxes count.
        ignored: the same, whose boxes do not.
        told: rows of person.sightings that are people.
    """
    frame = ("camera_id", "frame")
    left_out = set[int]()
    numbered = told.with_row_index("_row")
    sides = [rows.partition_by(frame, as_dict=True) for rows in (truth, ignored, numbered)]
    for key, mine in sides[2].items():
        if key not in sides[1]:
            continue
        boxes = [_corners(side[key]) if key in side else np.empty((0, 4)) for side in sides]
        spared = overlaps(boxes[1], boxes[2]).max(axis=0)
        wanted = overlaps(boxes[0], boxes[2]).max(axis=0, initial=0.0)
        rows = mine["_row"].to_numpy()
        left_out.update(rows[(spared >= _AGREES) & (spared > wanted)].tolist())
    kept = numbered.filter(~pl.col("_row").is_in(list(left_out)))
    return Comparison.of(truth.select(*frame, *_BOXES, id="person_id"), kept.select(*frame, *_BOXES, id="person_id"))


def _corners(rows: pl.DataFrame) -> npt.NDArray[np.float64]:
    return rows.select(pl.col(_BOXES).cast(pl.Float64)).to_numpy()


@dataclass(frozen=True)
class _Seen:
    """What the cameras see of a trial."""

    trial: StoreTrial
    truth: pl.DataFrame
    reports: dict[tuple[str, int], pl.DataFrame]  # what the detector says, by camera and frame
    painters: dict[str, FramePainter]
    positions: dict[int, pl.DataFrame]  # by step
    frames: int

    @classmethod
    def of(cls, trial: StoreTrial, made: MadeStore, walks: Walks) -> _Seen:
        people = draw_identities(made.traffic.people, seed=trial.seed)
        outfits = draw_outfits(len(walks.visits), seed=trial.seed)
        everybody = sightings(made.plan, made.cameras, people, walks.positions, fps=trial.fps)
        frames = int((trial.duration_s + trial.after_s) * trial.fps)
        everybody = everybody.filter(pl.col("frame") < frames)
        reported = detect(everybody, made.cameras, trial.errors, trial.seed, frames=frames, fps=trial.fps)
        by_frame = reported.partition_by("camera_id", "frame", as_dict=True)
        return cls(
            trial,
            everybody.filter(pl.col("visible_share") >= trial.errors.least_visible_share),
            {(str(camera), int(frame)): part for (camera, frame), part in by_frame.items()},
            {
                camera.camera_id: FramePainter(made.plan, camera, people, outfits, seed=trial.seed)
                for camera in made.cameras
            },
            {int(step): part for (step,), part in walks.positions.partition_by("step", as_dict=True).items()},
            frames,
        )

    def batches(self, on_step: Callable[[str], None]) -> Iterator[pl.DataFrame]:
        """Rows of camera.frames, in the order of their time."""
        size, rows = round(_AT_ONCE_S * self.trial.fps), list[dict[str, Any]]()
        frames = self.frames + round(_QUIET_S * self.trial.fps)
        for frame in range(frames):
            rows += [self._row(camera, number, frame) for number, camera in enumerate(self.painters)]
            if (frame + 1) % size == 0 or frame + 1 == frames:
                yield frames_of(rows)
                rows = []
                if (frame + 1) % (30 * size) == 0:
                    on_step(
                        f"seed {self.trial.seed}: {(frame + 1) / self.trial.fps:.0f} s of {frames / self.trial.fps:.0f}"
                    )

    def _row(self, camera: str, number: int, frame: int) -> dict[str, Any]:
        step = frame * steps_per_frame(self.trial.fps)
        empty = next(iter(self.positions.values())).clear()
        image = self.painters[camera].draw(self.positions.get(step, empty), frame)
        boxes = self.reports.get((camera, frame))
        persons = [] if boxes is None else boxes.select(*_BOXES, "score").to_dicts()
        captured_ms = NOW_MS + frame * 1000 // self.trial.fps
        return {
            "camera_id": camera, "captured_ms": captured_ms, "frame": frame, "width": self.trial.width_px,
            "height": self.trial.height_px, "jpeg": simplejpeg.encode_jpeg(image, 90), "dropped_total": 0,
            "detections": [{**person, "crop": None} for person in persons],
            "_partition": number % _PARTITIONS, "_offset": frame * len(self.painters) + number,
        }  # fmt: skip
