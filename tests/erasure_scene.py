"""Two people pass two cameras, and one of them asks to be forgotten: records, the pipeline, and a search of bytes for
looks and for keys that open them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import simplejpeg

from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.identities import Appearance, IdentityStage, Rules
from streaming.pipeline import Pipeline
from streaming.pipelines.person_sightings import Embedding, person_sightings
from streaming.privacy.erasures import Erasures
from streaming.privacy.folder import KeyFolder
from streaming.privacy.keyed import KeyedSeal
from streaming.privacy.keyring import Retention, day_name, day_of
from streaming.privacy.punctured import DEPTH, KEY_BYTES
from streaming.privacy.seal import Seal, TrackName
from streaming.records import Records
from streaming.tracking import TrackStage
from tests.camera_frames import SCHEMA, T0_MS, person

CAMERAS, DIMENSIONS = ("door", "till"), 16
RETENTION = Retention(dict.fromkeys(CAMERAS, 7))
FORGOTTEN, STAYS = 0, 1
"""Who asks to be forgotten, and who does not: rows of `LOOKS`."""
LOOKS = np.random.default_rng(7).normal(size=(2, DIMENSIONS))
LOOKS /= np.linalg.norm(LOOKS, axis=1, keepdims=True)

_FRAME_MS = 200
_CROPS = [
    simplejpeg.encode_jpeg(np.full((64, 32, 3), colour, np.uint8), 90) for colour in ((200, 20, 20), (20, 20, 200))
]


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
                seen.append(person(100.0 + frame, 100.0, 120.0 + frame, 180.0, crop=_CROPS[FORGOTTEN]))
            if camera == "door":
                seen.append(person(400.0, 100 + frame / 10, 430.0, 200 + frame / 10, crop=_CROPS[STAYS]))
            captured_ms = start_ms + frame * _FRAME_MS
            rows.append({"camera_id": camera, "captured_ms": captured_ms, "frame": frame, "detections": seen})
    plain = {"width": 640, "height": 480, "jpeg": None, "dropped_total": 0}
    made = pl.DataFrame([{**plain, **row} for row in rows], schema=SCHEMA)
    encoder = Encoder(load_schema("camera-frames"), PackagedRegistry().id_of("camera-frames"))
    log_ms = made["captured_ms"].to_physical().to_list()
    keys = [camera.encode() for camera in made["camera_id"]]
    return Records.of(keys, encoder.encode(made).to_pylist(), timestamps_ms=log_ms)


def embed(crops: npt.NDArray[np.uint8]) -> Embedding:
    """In place of a network: who it is can be seen by the colour."""
    who = (crops[..., 2].mean(axis=(1, 2)) > crops[..., 0].mean(axis=(1, 2))).astype(np.int64)
    return Embedding(LOOKS[who].astype(np.float32), "colours", "1", NETWORK)


def keys_in(folder: Path, clock: Callable[[], int] = now_ms) -> KeyFolder:
    return KeyFolder(folder, RETENTION, clock)


NETWORK = "0" * 8


def seal_of(folder: Path) -> Seal:
    seal = KeyedSeal(keys_in(folder))
    seal.of_network(NETWORK)
    return seal


def people(keys: KeyFolder) -> Pipeline:
    """The pipeline of sightings."""
    return person_sightings(embed, DIMENSIONS, appearance=Appearance(0.7, 8.0), keys=keys)


def unsealed(keys: KeyFolder) -> Pipeline:
    """The same, as if nobody had thought of keys, but for the orders to forget."""
    pipeline = people(keys)
    embedding, _, _, tell = pipeline.stages
    identities = IdentityStage(DIMENSIONS, Rules(appearance=Appearance(0.7, 8.0)), erasures=Erasures(keys.path))
    stages = (embedding, TrackStage(dimensions=DIMENSIONS), identities, tell)
    return replace(pipeline, name="unsealed", stages=stages)


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
