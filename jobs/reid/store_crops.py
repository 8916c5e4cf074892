"""Crops as the pipeline of sightings cuts them out of the pictures of made-up stores.

Paper dolls walk a store of 8 cameras, another one for every seed. Their pictures are drawn, made JPEG, and go through
the pipeline's own transforms, with boxes of a detector that errs (`streaming.simulators.store.detections`): people half
hidden by shelves and by one another, cut off by the edge of the picture, small, and in the colours of each camera.
Everybody comes once, in clothes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import simplejpeg

from jobs.evaluate_store import StoreTrial
from jobs.store_stream import frames_of
from streaming.features.persons import CutPersons, crop_pixels
from streaming.pipelines.person_sightings import CROP_PX
from streaming.simulators.store.detections import detect
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.outfits import draw_outfits
from streaming.simulators.store.sightings import sightings, steps_per_frame
from streaming.simulators.store.walks import walk

Pixels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

_EVERY_S = 4  # a picture of every camera
_MOST_PEOPLE = 1_000  # in a store; so that no number is given twice
_BOX = ("x0_px", "y0_px", "x1_px", "y1_px", "score")


class StoreCrops(NamedTuple):
    """N crops of one store."""

    images: Pixels  # (N, H, W, 3), RGB
    identity: Ints  # (N,) no two stores share any
    camera: Ints  # (N,) by its place: the same in all stores


def store_crops(trial: StoreTrial, images: int, *, height_px: int, width_px: int) -> StoreCrops:
    """At most so many crops of each visitor of one store, of as many cameras as see them."""
    made, seed = trial.made(), trial.seed
    traffic = replace(made.traffic, people=min(4 * trial.people, _MOST_PEOPLE), return_share=0.0)
    made = made._replace(traffic=traffic)  # there is always somebody who has not come yet
    positions = walk(made.plan, traffic, seed=seed).positions
    positions = positions.filter(pl.col("step") % (_EVERY_S * trial.fps * steps_per_frame(trial.fps)) == 0)
    people, outfits = draw_identities(traffic.people, seed=seed), draw_outfits(traffic.people, seed=seed)
    seen = sightings(made.plan, made.cameras, people, positions, fps=trial.fps)
    reported = detect(seen, made.cameras, trial.errors, seed, frames=0, fps=trial.fps)
    chosen = _chosen(reported.drop_nulls("person_id"), images, np.random.default_rng([seed, 30]))
    by_step = {int(step): part for (step,), part in positions.partition_by("step", as_dict=True).items()}
    crops: list[Pixels] = []
    for number, camera in enumerate(made.cameras):
        painter = FramePainter(made.plan, camera, people, outfits, seed=seed)
        mine = chosen.filter(camera=number)
        for (frame,), boxes in mine.partition_by("frame", as_dict=True, maintain_order=True).items():
            picture = painter.draw(by_step[int(frame) * steps_per_frame(trial.fps)], int(frame))
            crops += _cut(picture, boxes, int(frame), height_px, width_px)
    identity = seed * _MOST_PEOPLE + chosen["person_id"].to_numpy()
    return StoreCrops(np.stack(crops), identity, chosen["camera"].to_numpy())


def _chosen(reported: pl.DataFrame, images: int, chance: np.random.Generator) -> pl.DataFrame:
    """So many boxes of everybody, from each camera one after another; sorted by camera and frame."""
    names = pl.Series(sorted(reported["camera_id"].unique()))
    luck = pl.Series(chance.random(reported.height))
    return (
        reported.with_columns(camera=pl.col("camera_id").replace_strict(names, range(len(names))), luck=luck)
        .with_columns(turn=pl.col("luck").rank("ordinal").over("person_id", "camera"))
        .sort("turn", "luck")
        .group_by("person_id", maintain_order=True)
        .head(images)
        .sort("camera", "frame", "person_id")
    )


def _cut(picture: Pixels, boxes: pl.DataFrame, frame: int, height_px: int, width_px: int) -> Iterator[Pixels]:
    """As the pipeline cuts them out, and as the network has them resized."""
    height, width = picture.shape[:2]
    row = {
        "camera_id": "", "captured_ms": 0, "frame": frame, "width": width, "height": height,
        "jpeg": simplejpeg.encode_jpeg(picture, 90), "dropped_total": 0,
        "detections": [{**box, "crop": None} for box in boxes.select(_BOX).to_dicts()], "_partition": 0, "_offset": 0,
    }  # fmt: skip
    crops = crop_pixels(CutPersons(None, CROP_PX)(frames_of([row]))["crops"], CROP_PX)
    for crop in crops:
        sized: Pixels = cv2.resize(crop, (width_px, height_px), interpolation=cv2.INTER_AREA)
        yield sized
