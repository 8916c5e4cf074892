"""Camera frames in, who was where in the store out.

camera.frames ─► validate ─► persons (decode, detect, cut out) ─► embed* ─► track* ─► identities* ─► person.sightings

Pictures end with the crops, and crops with their embeddings: neither is in any state, or leaves. How people look is in
the state of tracks and identities, sealed by `keys`.

**Another network.** Where the embedding has releases, a promotion or a rollback takes over between two batches, in all
partitions at once, and never goes back behind what the state says. Looks of the old network mean nothing to the new
one: they are sealed with the network that made them and do not open for another. So tracks on screen go on by where
they are, and keep their names while looks of them are learned anew; whoever is out of sight is known again by place and
time alone, and else gets a new name. At once and not at midnight, when keys change: who promotes a network wants it to
answer, a bad one must be gone as fast, and to ask both for a day costs twice as much.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

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
from streaming.identities.orders import IdentityOrders
from streaming.pipeline import DependencyUnavailable, Facts, NewestFirst, Pipeline
from streaming.privacy.erasures import Erasures
from streaming.privacy.folder import KeyFolder
from streaming.privacy.keyed import KeyedSeal
from streaming.releases import RELEASE_TEXTS, Release, ReleaseLost
from streaming.state import Column, StateTable
from streaming.tracking import ByteTrack, TrackStage

log = logging.getLogger(__name__)

_TOLD_MS = 1_800_000
"""For so long it is said that another network has taken over: as long as anybody out of sight would be known again."""

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
    appearance: Appearance | None = None  # what its looks say; None: as the pipeline was told


Embed = Callable[[npt.NDArray[np.uint8]], Embedding]
"""Crops (N, H, W, 3), RGB, of one size, to their embeddings. That of a crop must not depend on the others.
Raises `streaming.pipeline.DependencyUnavailable` while the model cannot be reached."""


@runtime_checkable
class ReleasedEmbed(Protocol):
    """An `Embed` of which more than one version is loaded (`streaming.releases`)."""

    def offered(self) -> Release:
        """The newest that can answer at once. Raises DependencyUnavailable: none can yet."""

    def alerts(self) -> tuple[str, ...]:
        """Versions that were meant to take over and cannot, a sentence each."""

    def __call__(self, crops: npt.NDArray[np.uint8], release: Release) -> Embedding:
        """As `Embed`, by this release, loaded first where it is not.

        Raises:
            ReleaseLost: it can be loaded no more.
            DependencyUnavailable: as `Embed`.
        """


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
    """Frames to rows of persons with their embeddings: one call a batch, by one network.

    Args:
        embed: the network, or its releases.
        dimensions: D of its embeddings.
        views: as of `Store`.
        takes_over: told which network the looks are of, before the stages behind this one see them.
    """

    name = "embed"

    def __init__(
        self,
        embed: Embed | ReleasedEmbed,
        dimensions: int,
        views: Mapping[str, FloorView],
        takes_over: Callable[[str, Appearance | None], None] = lambda weight_hash, appearance: None,
    ) -> None:
        self._embed, self._dimensions, self._views, self._takes_over = embed, dimensions, views, takes_over
        self._now_ms = 0  # of frames; for words alone

    def new_state(self) -> StateTable:
        """One row a partition: by which weights its looks are made, and since when."""
        texts = {name: Column(str) for name in ("weight_hash", "model", *RELEASE_TEXTS)}
        return StateTable(
            self.name, {**texts, "moves": Column(np.int64), "since_ms": Column(np.int64)}, partitioned=True
        )

    def facts(self, state: StateTable) -> Facts:
        """Alerts: a network that cannot take over, and for half an hour one that has."""
        alerts = self._embed.alerts() if isinstance(self._embed, ReleasedEmbed) else ()
        since_ms = int(state["since_ms"].max(initial=0))
        if since_ms and self._now_ms - since_ms < _TOLD_MS:
            model = str(state["model"][int(state["since_ms"].argmax())])
            moment = datetime.fromtimestamp(since_ms / 1000, UTC)
            words = f"{model} tells people apart since {moment:%H:%M:%S} UTC: who was out of sight then has a new name"
            alerts = (*alerts, words)
        return Facts(alerts=alerts)

    def tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> pl.DataFrame:
        """Says nothing; but looks that are opened before the first frame of a run are of the network of the last."""
        latest = _latest(state)
        if latest is not None:
            self._takes_over(str(state["weight_hash"][latest]), None)
        return pl.DataFrame()

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Rows of `CutPersons` to rows of `one_per_person`, with `embedding` in place of `crop`, and the network.

        Raises:
            EmbeddingChanged: the partition's looks were made by other weights, and these have no releases.
            ValueError: the network is not of `dimensions`.
        """
        persons = one_per_person(rows, self._views)
        shown = persons["crop"].is_not_null()
        crops = np.frombuffer(b"".join(persons["crop"].drop_nulls().to_list()), np.uint8).reshape(-1, *CROP_PX, 3)
        found, release = self._answered(crops, state)
        if found.vectors.shape != (len(crops), self._dimensions):
            raise ValueError(f"{len(crops)} embeddings have shape {found.vectors.shape}, not (N, {self._dimensions})")
        if rows.height:
            self._now_ms = int(rows["captured_ms"].dt.epoch("ms").max())  # type: ignore[arg-type]
        self._note(found, release, rows["_partition"].unique().to_list(), state)
        self._takes_over(found.weight_hash, found.appearance)
        vectors = iter([vector.tobytes() for vector in np.ascontiguousarray(found.vectors, "<f4")])
        return persons.drop("crop").with_columns(
            pl.Series("embedding", [next(vectors) if is_shown else None for is_shown in shown], pl.Binary),
            _model_name=pl.lit(found.model_name),
            _model_version=pl.lit(found.model_version),
            _weight_hash=pl.lit(found.weight_hash),
        )

    def _answered(self, crops: npt.NDArray[np.uint8], state: StateTable) -> tuple[Embedding, Release | None]:
        """By the release that is offered, or the one in service where that is later; and which."""
        if not isinstance(self._embed, ReleasedEmbed):
            return self._embed(crops), None
        offered, latest = self._embed.offered(), _latest(state)
        release = offered
        if latest is not None and state["release"][latest]:
            now = Release(
                str(state["reference"][latest]),
                int(state["moves"][latest]),
                int(str(state["release"][latest]).rpartition("@")[2]),
            )
            release = offered if offered.may_follow(now) else now
        try:
            return self._embed(crops, release), release
        except ReleaseLost as gone:
            if release == offered:
                raise DependencyUnavailable(str(gone)) from gone
            log.warning("a release that answered can be had no more; the one offered now takes over: %s", gone)
            return self._embed(crops, offered), offered

    def _note(self, found: Embedding, release: Release | None, partitions: list[int], state: StateTable) -> None:
        model = f"{found.model_name}@{found.model_version}"
        latest = _latest(state)
        before = "" if latest is None else str(state["weight_hash"][latest])
        changes = bool(before) and before != found.weight_hash
        if changes and release is None:
            raise EmbeddingChanged(
                f"the people that are remembered were embedded by {state['model'][latest]}, and this is {model}, to "
                f"which they mean nothing: set store.embedding to {state['model'][latest]}, or delete the topic "
                f"{topics.state_topic('person-sightings').name} to forget them and begin anew"
            )
        if changes:
            log.warning("%s tells people apart from now on: looks of another network are forgotten", model)
        for partition in partitions:
            key = f"@model/{partition}"
            (slot,) = state.slots([key], [partition])
            told = (found.weight_hash, model, *(() if release is None else (release.exact, release.reference)))
            columns = ("weight_hash", "model", *RELEASE_TEXTS)[: len(told)]
            moves = 0 if release is None else release.moves
            if [state[name][slot] for name in columns] == list(told) and state["moves"][slot] == moves:
                continue
            for name, value in zip(columns, told, strict=True):
                state[name][slot] = value
            state["moves"][slot] = moves
            if changes:
                state["since_ms"][slot] = self._now_ms
            state.touch([key])


def _latest(state: StateTable) -> int | None:
    """The partition's row whose network answered last; None before the first answer."""
    known = np.flatnonzero(state["weight_hash"] != "")
    if not len(known):
        return None
    order = np.lexsort([state["moves"][known], state["since_ms"][known]])
    return int(known[order[-1]])


class Sightings:
    """The rows as person-sightings.avsc has them."""

    name = "tell"

    def new_state(self) -> StateTable:
        """One row: the model of the last frame, for what is told when none comes."""
        return StateTable(self.name, dict.fromkeys(_MODEL, Column(str)))

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Rows of `IdentityStage` to rows of the topic. A tick's, which are corrections alone, are of the model that
        answered last, by which they were decided; the rest of them is null."""
        left_out = [pl.lit(None, kind).alias(name) for name, kind in _TOLD.items() if name not in rows.columns]
        rows = rows.with_columns(left_out)
        (latest,) = state.slots([_LATEST])
        # A correction stands behind the row that led to it, and is of the same model.
        model = {
            name: pl.col(f"_{name}").forward_fill().fill_null(pl.lit(state[name][latest] or None, pl.String))
            for name in _MODEL
        }
        # Sightings of earlier frames that are told with this one stand before its own.
        origin = ("_partition", "_offset")
        is_own = pl.col("captured_ms") == pl.col("captured_ms").max().over(origin)
        begins_frame = is_own & pl.struct(*origin, "captured_ms").is_first_distinct()
        told = rows.with_columns(
            pl.col("captured_ms").cast(_TIME),
            covered=pl.col("_covered").fill_null(False),
            found_px=pl.when(begins_frame).then("_found"),
            **model,
            ingest_time_ms=pl.col("_ingest_time_ms").cast(_TIME),
            source_partition="_partition",
            source_offset="_offset",
            schema_id="_schema_id",
        )
        last = told.row(-1, named=True)
        if any(last[name] is not None and last[name] != state[name][latest] for name in _MODEL):
            for name in _MODEL:
                state[name][latest] = last[name]
            state.touch([_LATEST])
        return told


_LATEST = "@model"
_MODEL = ("model_name", "model_version", "weight_hash")
_TIME = pl.Datetime("ms", "UTC")
_TOLD: dict[str, pl.DataType] = {
    **dict.fromkeys((*BOX, "score", "x_m", "y_m"), pl.Float32()),
    "_covered": pl.Boolean(),
    "_found": pl.List(pl.Float32()),
    **{f"_{name}": pl.String() for name in _MODEL},
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_ingest_time_ms": pl.Int64(),
    "_schema_id": pl.Int32(),
}
"""What rows of frames have."""


def person_sightings(
    embed: Embed | ReleasedEmbed,
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
        embed: the network by which people are told apart, or its releases, which need `keys`.
        dimensions: D of its embeddings.
        store: its cameras.
        detect: finds persons in frames whose camera has not done so; None: such frames are refused.
        appearance: what looks of this network say.
        keys: by which looks are sealed before they leave the process, and orders about persons; None where they never
            leave it: in replays, and in tests.
        max_age_s: frames that have waited longer are passed over for newer ones.
    """
    store = store or Store()
    rules = Rules(overlapping=store.overlapping, appearance=appearance or Appearance())
    seals = () if keys is None else (KeyedSeal(keys), KeyedSeal(keys))
    if isinstance(embed, ReleasedEmbed) and not seals:
        raise ValueError("an embedding with releases needs keys: without, looks of another network would open")
    track_seal, identity_seal = seals or (None, None)
    identities = IdentityStage(
        dimensions,
        rules,
        seal=identity_seal,
        erasures=None if keys is None else Erasures(keys.path),
        orders=None if keys is None else IdentityOrders(keys.path),
    )

    def takes_over(weight_hash: str, known: Appearance | None) -> None:
        for seal in seals:
            seal.of_network(weight_hash)
        if known is not None and known != identities.rules.appearance:
            identities.rules = replace(identities.rules, appearance=known)

    return Pipeline(
        name="person-sightings",
        source=topics.CAMERA_FRAMES,
        transforms=(CheckFrames(FrameLimits(max_detections=MAX_PERSONS)), CutPersons(detect, CROP_PX)),
        stages=(
            PersonEmbedding(embed, dimensions, store.views, takes_over),
            TrackStage(_TRACKER, dimensions=dimensions, seal=track_seal),
            identities,
            Sightings(),
        ),
        sink=topics.PERSON_SIGHTINGS if keys is None else keys.retention.bounded(topics.PERSON_SIGHTINGS),
        shedding=NewestFirst(max_age_s),
        dead_letters=False,
    )
