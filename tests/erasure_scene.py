"""Two people pass two cameras, and one of them asks to be forgotten: records, the pipeline, and a search of bytes for
looks and for keys that open them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streaming import topics
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.codec._schema import dtype, parse
from streaming.features.frames import CheckFrames
from streaming.features.persons import CutPersons
from streaming.identities import Appearance, IdentityStage, Rules
from streaming.pipeline import Pipeline
from streaming.privacy.erasures import Erasures
from streaming.privacy.folder import KeyFolder
from streaming.privacy.keyed import KeyedSeal
from streaming.privacy.keyring import Retention, day_name, day_of
from streaming.privacy.punctured import DEPTH, KEY_BYTES
from streaming.privacy.seal import Seal, TrackName
from streaming.records import Records
from streaming.state import StateTable
from streaming.tracking import TrackStage
from tests.camera_frames import SCHEMA, T0_MS, person

CAMERAS, DIMENSIONS = ("door", "till"), 16
RETENTION = Retention(dict.fromkeys(CAMERAS, 7))
FORGOTTEN, STAYS = 0, 1
"""Who asks to be forgotten, and who does not: rows of `LOOKS`."""
LOOKS = np.random.default_rng(7).normal(size=(2, DIMENSIONS))
LOOKS /= np.linalg.norm(LOOKS, axis=1, keepdims=True)

_FRAME_MS = 200
_WIDTHS_PX = (20.0, 30.0)  # of their boxes: what tells the test's network who it is


def now_ms() -> int:
    return T0_MS + 60_000


def records(from_s: float, until_s: float, start_ms: int = T0_MS) -> Records:
    """What both cameras send: the first at the door for four seconds, and from the sixth to the tenth at the till; the
    other at the door all the time."""
    rows: list[dict[str, Any]] = []
    for frame in range(round(from_s * 1000) // _FRAME_MS, round(until_s * 1000) // _FRAME_MS):
        at_s = frame * _FRAME_MS / 1000
        for camera in CAMERAS:
            seen = []
            if (camera == "door" and at_s < 4) or (camera == "till" and 6 <= at_s < 10):
                seen.append(person(100.0 + frame, 100.0, 100.0 + frame + _WIDTHS_PX[FORGOTTEN], 180.0))
            if camera == "door":
                seen.append(person(400.0, 100 + frame / 10, 400 + _WIDTHS_PX[STAYS], 200 + frame / 10))
            captured_ms = start_ms + frame * _FRAME_MS
            rows.append({"camera_id": camera, "captured_ms": captured_ms, "frame": frame, "detections": seen})
    plain = {"width": 640, "height": 480, "jpeg": None, "dropped_total": 0}
    made = pl.DataFrame([{**plain, **row} for row in rows], schema=SCHEMA)
    encoder = Encoder(load_schema("camera-frames"), PackagedRegistry().id_of("camera-frames"))
    log_ms = made["captured_ms"].to_physical().to_list()
    keys = [camera.encode() for camera in made["camera_id"]]
    return Records.of(keys, encoder.encode(made).to_pylist(), timestamps_ms=log_ms)


class Embed:
    """In place of a network: rows of frames to rows of persons with the look of who it is."""

    name = "embed"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        kept = [name for name in rows.columns if name in ("camera_id", "captured_ms", "frame") or name.startswith("_")]
        people = rows.select(*kept, "detections").explode("detections").unnest("detections")
        width = (people["x1_px"] - people["x0_px"]).to_list()
        looks = [None if wide is None else LOOKS[int(wide > 25)].astype("<f4").tobytes() for wide in width]
        nowhere = {name: pl.lit(None, pl.Float32) for name in ("x_m", "y_m")}
        return people.with_columns(pl.Series("embedding", looks, pl.Binary), **nowhere)


class Tell:
    """Rows as person-sightings.avsc has them."""

    name = "tell"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        fields = {field.name: dtype(field.type) for field in parse(load_schema("person-sightings")).fields}
        known = {"corrects_person_id": "corrects", "source_partition": "_partition", "source_offset": "_offset",
                 "schema_id": "_schema_id", "ingest_time_ms": "_ingest_time_ms"}  # fmt: skip
        columns = []
        for name, kind in fields.items():
            column = name if name in rows.columns else known.get(name, "")
            value = pl.col(column) if column in rows.columns else pl.lit(None)
            blank = "" if kind == pl.String else False if kind == pl.Boolean else None
            is_text = name.startswith("model") or name == "weight_hash" or kind == pl.Boolean
            columns.append((value.fill_null(blank) if is_text else value).cast(kind).alias(name))
        return rows.select(*columns, pl.col("_ingest_time_ms").cast(pl.Datetime("ms", "UTC")).alias("ingest_time_ms"))


def seal_of(folder: Path, clock: Callable[[], int] = now_ms) -> Seal:
    return KeyedSeal(KeyFolder(folder, RETENTION, clock))


def people(folder: Path, seal: Seal, name: str = "people") -> Pipeline:
    """The stages that know of looks, as the pipeline of sightings has them."""
    rules = Rules(appearance=Appearance(0.7, 8.0))
    return Pipeline(
        name=name,
        source=topics.CAMERA_FRAMES,
        transforms=(CheckFrames(), CutPersons()),
        stages=(
            Embed(),
            TrackStage(dimensions=DIMENSIONS, seal=seal),
            IdentityStage(DIMENSIONS, rules, seal, Erasures(folder)),
            Tell(),
        ),
        sink=topics.PERSON_SIGHTINGS,
        dead_letters=False,
    )


def holds_look(data: bytes, who: int) -> bool:
    """Whether floats like a part of this look lie anywhere, at any place of a byte; means differ in their last bits."""
    for first in range(4):
        floats = np.frombuffer(data[first : first + (len(data) - first) // 4 * 4], "<f4")
        for part in (slice(0, 4), slice(6, 10)):
            if len(floats) < 4:
                continue
            with np.errstate(invalid="ignore"):
                near = np.ones(len(floats) - 3, dtype=bool)
                for at, value in enumerate(LOOKS[who][part]):
                    near &= np.abs(floats[at : at + len(near)] - value) < 1e-4
            if near.any():
                return True
    return False


def secrets_of(folder: Path, track: TrackName, day: int = day_of(T0_MS)) -> list[bytes]:
    """All from which the key of a track could be had, by the definition: from the day's root down to the key itself. To
    be asked while the day's key is whole."""
    file = folder / track[0] / f"{day_name(day)}.key"
    root = file.read_bytes()[-16 - KEY_BYTES : -16]
    name = f"{track[0]}/{track[1]}".encode()
    leaf = int.from_bytes(hashlib.blake2b(name, digest_size=6, person=b"sightline leaf").digest(), "big")
    found = [root]
    for bit in format(leaf, f"0{DEPTH}b"):
        found.append(
            hashlib.blake2b(bytes([int(bit)]), key=found[-1], digest_size=32, person=b"sightline node").digest()
        )
    return [*found, hashlib.blake2b(key=found[-1], digest_size=64, person=b"sightline siv").digest()]


def files_below(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, with its bytes up to the last that is not 0: Kafka makes its indexes of 10 MB of zeros."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes().rstrip(b"\0")
