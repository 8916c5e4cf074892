"""Identities across the made-up store, against the truth, without a pixel drawn: what a camera would report, with looks
that are a person's own vector, what the camera adds to everybody, what one passage adds (pose, side, light), and noise.

As drawn, by the embedding that ships: `sightline evaluate store`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from jobs.evaluate_store import LEAST_VISIBLE, before_corrections, compared
from jobs.store_stream import settled
from streaming.features.floor import overlapping
from streaming.identities import Appearance, IdentityStage, Rules
from streaming.simulators.store.counted import floor_views
from streaming.simulators.store.detections import DetectorErrors, detect
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.presets import Store, store
from streaming.simulators.store.sightings import sightings
from streaming.simulators.store.walks import walk
from streaming.tracking import TrackStage
from streaming.tracking.looks import Looks, unit
from streaming.tracking.metrics import Comparison, identity_scores

SEED, PEOPLE, DIMENSIONS = 7, 14, 64
FPS, SECONDS, START_MS = 5, 60, 1_700_000_000_000
CAMERA_SHIFT, PASSAGE_NOISE, LOOK_NOISE = 0.55, 0.85, 0.85
APPEARANCE = Appearance(0.41, 63.0)  # as fitted to such looks of other people
BOX = ("x0_px", "y0_px", "x1_px", "y1_px")


@pytest.fixture(scope="module")
def made() -> Store:
    plain = store(8)
    traffic = replace(plain.traffic, duration_s=SECONDS, people=PEOPLE, arrivals_per_min=20.0, return_share=0.0)
    return plain._replace(traffic=traffic)


@pytest.fixture(scope="module")
def truth(made: Store) -> pl.DataFrame:
    """Whom cameras see any part of."""
    positions = walk(made.plan, made.traffic, seed=SEED).positions
    people = draw_identities(PEOPLE, seed=SEED)
    seen = sightings(made.plan, made.cameras, people, positions, fps=FPS, epoch_ms=START_MS)
    return seen.filter(pl.col("frame") < FPS * SECONDS)


@pytest.fixture(scope="module")
def detections(made: Store, truth: pl.DataFrame) -> pl.DataFrame:
    """Rows for `TrackStage`, and whose they are."""
    frames, errors = FPS * SECONDS, DetectorErrors()
    found = detect(truth, made.cameras, errors, SEED, frames=frames, fps=FPS, epoch_ms=START_MS)
    named = found.with_columns(pl.Series("embedding", looks(found), pl.Binary))
    placed = [
        rows.with_columns(x_m=pl.Series(at[:, 0]).fill_nan(None), y_m=pl.Series(at[:, 1]).fill_nan(None))
        for camera, view in floor_views(made).items()
        for rows in [named.filter(camera_id=camera)]
        for at in [view.places(rows.select(BOX).to_numpy().astype(np.float64), view.width_px, view.height_px)]
    ]
    cameras = pl.DataFrame({"camera_id": list(floor_views(made))}).with_row_index("_camera")
    every = cameras.join(pl.DataFrame({"frame": range(frames)}), how="cross").with_columns(
        captured_ms=START_MS + pl.col("frame") * 1000 // FPS,
        _partition=(pl.col("_camera") % 4).cast(pl.Int32),
        _offset=pl.col("frame") * len(cameras) + pl.col("_camera"),
        _schema_id=pl.lit(1, pl.Int32),
    )
    rows = every.join(pl.concat(placed).drop("captured_ms"), on=["camera_id", "frame"], how="left").sort(
        "frame", "_camera", maintain_order=True
    )
    return rows.drop("_camera").with_columns(_ingest_time_ms=pl.col("captured_ms") + 60)


def looks(found: pl.DataFrame) -> list[bytes]:
    """A look of each detection; of a false box, nobody's."""
    chance, strangers = np.random.default_rng(SEED), found["person_id"].is_null().to_numpy()
    own, shift = directions(chance, PEOPLE), CAMERA_SHIFT * directions(chance, found["camera_id"].n_unique())
    camera = found["camera_id"].rank("dense").to_numpy() - 1
    passage = found.select(pl.struct("visit", "camera_id").rank("dense")).to_series().to_numpy() - 1
    person = found["person_id"].fill_null(0).to_numpy()
    made = own[person] + shift[camera] + PASSAGE_NOISE * directions(chance, int(passage.max()) + 1)[passage]
    made[strangers] = directions(chance, int(strangers.sum()))
    made = unit(made) + LOOK_NOISE * directions(chance, len(made))
    return [look.tobytes() for look in unit(made).astype("<f4")]


def directions(chance: np.random.Generator, count: int) -> Looks:
    return unit(chance.normal(size=(count, DIMENSIONS)).astype(np.float32))


def test_a_single_look_is_often_wrong(detections: pl.DataFrame) -> None:
    # Of each person one look from each camera: is the nearest from another camera the same person?
    one = detections.drop_nulls("person_id").unique(("camera_id", "person_id"), keep="first", maintain_order=True)
    vectors = np.stack([np.frombuffer(look, "<f4") for look in one["embedding"]])
    who, camera = one["person_id"].to_numpy(), one["camera_id"].to_numpy()
    alike = np.where(camera[:, None] == camera, -np.inf, vectors @ vectors.T)
    assert 0.2 < np.mean(who[alike.argmax(axis=1)] == who) < 0.95


def test_people_keep_their_names_across_the_store(made: Store, truth: pl.DataFrame, detections: pl.DataFrame) -> None:
    rules = Rules(overlapping=overlapping(floor_views(made)), appearance=APPEARANCE)
    track, identify = TrackStage(dimensions=DIMENSIONS), IdentityStage(DIMENSIONS, rules)
    told = identify(track(detections.drop("person_id", "visit"), track.new_state()), identify.new_state())

    def judged(rows: pl.DataFrame) -> Comparison:
        seen = pl.col("visible_share") >= LEAST_VISIBLE
        return compared(truth.filter(seen), truth.filter(~seen), rows)

    as_told, corrected = (
        identity_scores(judged(rows)).idf1 for rows in (before_corrections(told), settled(told).drop_nulls("track_id"))
    )
    assert corrected >= 0.95
    assert as_told < corrected
