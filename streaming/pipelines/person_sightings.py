"""Camera frames in, who was where in the store out.

camera.frames ─► validate ─► persons (decode, detect, cut out) ─► embed* ─► track* ─► identities* ─► person.sightings

Pictures end with the crops, and crops with their embeddings: neither is in any state, or leaves. How people look is in
the state of tracks and identities, sealed by `keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming import topics
from streaming.features.floor import FloorView
from streaming.features.frame_rules import BOX, FrameLimits
from streaming.features.frames import CheckFrames
from streaming.features.person_rows import one_per_person
from streaming.features.persons import CutPersons, Detect
from streaming.identities import Appearance, IdentityStage, Rules
from streaming.pipeline import NewestFirst, Pipeline
from streaming.privacy.erasures import Erasures
from streaming.privacy.folder import KeyFolder
from streaming.privacy.keyed import KeyedSeal
from streaming.state import Column, StateTable
from streaming.tracking import ByteTrack, TrackStage

CROP_PX = (128, 64)
"""Height and width of the crops that travel: 24 KB each."""
_TRACKER = ByteTrack(confirm_hits=2, lost_s=0.5)
"""Short tracks that are one person's for sure: who was hidden for longer is found again by the identities, which know
the floor, the other cameras and everybody's looks."""
MAX_PERSONS = 64
"""In a frame; with `CROP_PX` its crops take at most 1.5 MB."""


@dataclass(frozen=True)
class Embedding:
    """What a network says of N crops, and which one it is."""

    vectors: npt.NDArray[np.float32]  # (N, D), of unit length
    model_name: str
    model_version: str
    weight_hash: str


Embed = Callable[[npt.NDArray[np.uint8]], Embedding]
"""Crops (N, H, W, 3), RGB, of one size, to their embeddings. That of a crop must not depend on the others.
Raises `streaming.pipeline.DependencyUnavailable` while the model cannot be reached."""


class EmbeddingChanged(RuntimeError):
    """The state was made by another network, and its looks mean nothing to this one."""


@dataclass(frozen=True)
class Store:
    """What is known of the cameras of a store.

    Args:
        views: by camera, of those that are calibrated.
        overlapping: pairs of cameras that see some floor in common.
    """

    views: Mapping[str, FloorView] = field(default_factory=dict)
    overlapping: Collection[frozenset[str]] = ()


class PersonEmbedding:
    """Frames to rows of persons with their embeddings: one call a batch.

    Args:
        embed: the network.
        dimensions: D of its embeddings.
        views: as of `Store`.
    """

    name = "embed"

    def __init__(self, embed: Embed, dimensions: int, views: Mapping[str, FloorView]) -> None:
        self._embed, self._dimensions, self._views = embed, dimensions, views

    def new_state(self) -> StateTable:
        """One row a partition: by which weights its looks were made."""
        return StateTable(self.name, {"weight_hash": Column(str), "model": Column(str)}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Rows of `CutPersons` to rows of `one_per_person`, with `embedding` in place of `crop`, and the network.

        Raises:
            EmbeddingChanged: the partition's looks were made by other weights.
            ValueError: the network is not of `dimensions`.
        """
        persons = one_per_person(rows, self._views)
        shown = persons["crop"].is_not_null()
        crops = np.frombuffer(b"".join(persons["crop"].drop_nulls().to_list()), np.uint8).reshape(-1, *CROP_PX, 3)
        found = self._embed(crops)
        if found.vectors.shape != (len(crops), self._dimensions):
            raise ValueError(f"{len(crops)} embeddings have shape {found.vectors.shape}, not (N, {self._dimensions})")
        self._note(found, rows["_partition"].unique().to_list(), state)
        vectors = iter([vector.tobytes() for vector in np.ascontiguousarray(found.vectors, "<f4")])
        return persons.drop("crop").with_columns(
            pl.Series("embedding", [next(vectors) if is_shown else None for is_shown in shown], pl.Binary),
            _model_name=pl.lit(found.model_name),
            _model_version=pl.lit(found.model_version),
            _weight_hash=pl.lit(found.weight_hash),
        )

    def _note(self, found: Embedding, partitions: list[int], state: StateTable) -> None:
        model = f"{found.model_name}@{found.model_version}"
        for partition in partitions:
            key = f"@model/{partition}"
            (slot,) = state.slots([key], [partition])
            before = state["weight_hash"][slot]
            if before and before != found.weight_hash:
                raise EmbeddingChanged(
                    f"the people that are remembered were embedded by {state['model'][slot]}, and this is {model}, to "
                    f"which they mean nothing: set store.embedding to {state['model'][slot]}, or delete the topic "
                    f"{topics.state_topic('person-sightings').name} to forget them and begin anew"
                )
            if not before:
                state["weight_hash"][slot], state["model"][slot] = found.weight_hash, model
                state.touch([key])


class Sightings:
    """The rows as person-sightings.avsc has them."""

    name = "tell"

    def new_state(self) -> StateTable:
        """None is kept."""
        return StateTable(self.name, {}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Rows of `IdentityStage` to rows of the topic; of a tick's, which are corrections alone, the rest is null."""
        left_out = [pl.lit(None, kind).alias(name) for name, kind in _TOLD.items() if name not in rows.columns]
        rows = rows.with_columns(left_out)
        # A correction stands behind the row that led to it, and is of the same model.
        model = {name: pl.col(f"_{name}").forward_fill() for name in ("model_name", "model_version", "weight_hash")}
        begins_frame = pl.struct("_partition", "_offset").is_first_distinct()
        return rows.with_columns(
            pl.col("captured_ms").cast(_TIME),
            covered=pl.col("_covered").fill_null(False),
            found_px=pl.when(begins_frame).then("_found"),
            **model,
            ingest_time_ms=pl.col("_ingest_time_ms").cast(_TIME),
            source_partition="_partition",
            source_offset="_offset",
            schema_id="_schema_id",
        )


_TIME = pl.Datetime("ms", "UTC")
_TOLD: dict[str, pl.DataType] = {
    **dict.fromkeys((*BOX, "score", "x_m", "y_m"), pl.Float32()),
    "_covered": pl.Boolean(),
    "_found": pl.List(pl.Float32()),
    **dict.fromkeys(("_model_name", "_model_version", "_weight_hash"), pl.String()),
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_ingest_time_ms": pl.Int64(),
    "_schema_id": pl.Int32(),
}
"""What rows of frames have."""


def person_sightings(
    embed: Embed,
    dimensions: int,
    *,
    store: Store | None = None,
    detect: Detect | None = None,
    appearance: Appearance | None = None,
    keys: KeyFolder | None = None,
    max_age_s: float = 5.0,
) -> Pipeline:
    """Frames in, a row for every person in each of them out, or one for a frame that shows nobody; and corrections.

    What cannot be accepted is counted and its reason said, but not kept: a frame is a picture of people.

    Args:
        embed: the network by which people are told apart.
        dimensions: D of its embeddings.
        store: its cameras.
        detect: finds persons in frames whose camera has not done so; None: such frames are refused.
        appearance: what looks of this network say.
        keys: by which looks are sealed before they leave the process, and orders to forget persons; None: for tests.
        max_age_s: frames that have waited longer are passed over for newer ones.
    """
    store = store or Store()
    rules = Rules(overlapping=store.overlapping, appearance=appearance or Appearance())
    return Pipeline(
        name="person-sightings",
        source=topics.CAMERA_FRAMES,
        transforms=(CheckFrames(FrameLimits(max_detections=MAX_PERSONS)), CutPersons(detect, CROP_PX)),
        stages=(
            PersonEmbedding(embed, dimensions, store.views),
            TrackStage(_TRACKER, dimensions=dimensions, seal=KeyedSeal(keys) if keys is not None else None),
            IdentityStage(
                dimensions,
                rules,
                seal=KeyedSeal(keys) if keys is not None else None,
                orders=Erasures(keys.path) if keys is not None else None,
            ),
            Sightings(),
        ),
        sink=topics.PERSON_SIGHTINGS if keys is None else keys.retention.bounded(topics.PERSON_SIGHTINGS),
        shedding=NewestFirst(max_age_s),
        dead_letters=False,
    )
