"""Crops of people with identity and camera, from a parquet file with the columns pid, camid and image.

`image` holds encoded JPEG or PNG. "simulator:dolls" stands for paper dolls. Crops are decoded and resized once, and
kept as bytes: a thousand of 128 × 64 pixels take 25 MB. Splits are by person, never by image.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from jobs.errors import UsageProblem

Ints = npt.NDArray[np.int64]
_COLUMNS = {"pid": pl.Int64, "camid": pl.Int64, "image": pl.Binary}
LAYOUT_NAMES = ("market1501", "cuhk03", "prcc", "ltcc", "celeb-reid")
"""Of public sets, as they stand before the folder: "prcc:FOLDER"."""
SIMULATOR = "simulator:"
_MOST_PIXELS = 4096 * 4096
"""Of an encoded image; a larger one is refused before it is decoded."""


@dataclass(frozen=True)
class CropSet:
    """N crops."""

    source: str
    images: Tensor  # (N, 3, H, W) uint8, RGB
    identity: Ints  # (N,) as in the data
    camera: Ints  # (N,) as in the data
    clothes: Ints | None = None  # (N,) which outfit of which person; None where the data does not say

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def people(self) -> Ints:
        """Their identities, rising."""
        return np.unique(self.identity)

    @property
    def cameras(self) -> int:
        """How many there are."""
        return len(np.unique(self.camera))

    def of(self, people: npt.ArrayLike) -> CropSet:
        """The crops of these people, in their order here."""
        return self.take(np.flatnonzero(np.isin(self.identity, people)))

    def take(self, rows: Ints) -> CropSet:
        """These crops, in this order."""
        clothes = None if self.clothes is None else self.clothes[rows]
        images = self.images[torch.from_numpy(rows)]
        return CropSet(self.source, images, self.identity[rows], self.camera[rows], clothes)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of a digest over everything that a model can learn from."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for values in (self.images.numpy(), self.identity, self.camera):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:16]


def load_crops(data: str, *, height_px: int, width_px: int) -> CropSet:
    """All crops of a file, resized; or drawn, of "simulator:people?people=N&images=N&seed=N".

    Besides a file, `data` may be paper dolls, "simulator:dolls?people=N&..." (`jobs.reid.dolls`), or a public set,
    "market1501:FOLDER", of which the part to learn from is read (`jobs.reid.public_sets`).

    Raises:
        UsageProblem: the simulator is not understood; no such file, other columns, or an image that cannot be used,
            whose row the message names.
    """
    if data.partition("?")[0] == "simulator:dolls":
        from jobs.reid.dolls import doll_crops, parsed_dolls

        return doll_crops(parsed_dolls(data), height_px=height_px, width_px=width_px)
    if data.partition(":")[0] in LAYOUT_NAMES:
        from jobs.reid.public_sets import load_part

        return load_part(data, "train", height_px=height_px, width_px=width_px)
    if data.startswith(SIMULATOR):
        from jobs.reid.simulated import simulated_crops

        return simulated_crops(data, height_px=height_px, width_px=width_px)
    path = Path(data)
    try:
        found = pl.read_parquet(path, columns=list(_COLUMNS))
    except FileNotFoundError:
        raise UsageProblem(f"{data}: no such file; give a parquet file with {', '.join(_COLUMNS)}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        why = " ".join(str(error).split())
        raise UsageProblem(f"{data}: not a parquet file with the columns {', '.join(_COLUMNS)}: {why}") from None
    for name, kind in _COLUMNS.items():
        if found.schema[name] != kind or found[name].null_count():
            raise UsageProblem(f"{data}: column {name} must be {kind} without nulls, not {found.schema[name]}")
    if not len(found):
        raise UsageProblem(f"{data}: has no crops")
    images = np.empty((len(found), height_px, width_px, 3), np.uint8)
    for row, encoded in enumerate(found["image"]):
        try:
            images[row] = decoded(encoded, height_px, width_px)
        except (OSError, ValueError, SyntaxError) as error:
            raise UsageProblem(f"{data}: image of row {row} cannot be used: {error}; leave it out") from None
    planes = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return CropSet(path.name, planes, found["pid"].to_numpy().copy(), found["camid"].to_numpy().copy())


def split_by_person(crops: CropSet, *, share: float, seed: int) -> tuple[CropSet, CropSet]:
    """Those to learn from and those held out: this share of the people, at least one where it is above 0.

    Raises:
        UsageProblem: fewer than two people are left to learn from.
    """
    people = crops.people
    held = 0 if share == 0 else max(1, round(share * len(people)))
    if len(people) - held < 2:
        raise UsageProblem(
            f"{crops.source}: {len(people)} people, of whom {held} are held out, leave fewer than 2 to learn from"
        )
    order = np.random.default_rng(seed).permutation(people)
    return crops.of(order[held:]), crops.of(order[:held])


def decoded(encoded: bytes, height_px: int, width_px: int) -> npt.NDArray[np.uint8]:
    """A JPEG or PNG as (H, W, 3) RGB, resized.

    Raises:
        OSError, ValueError, SyntaxError: it cannot be read, or has too many pixels.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG"))  # reads the header alone
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(str(error)) from None
    with image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"{image.width} × {image.height} pixels are more than {_MOST_PIXELS:,}")
        rgb = image.convert("RGB")
    if rgb.size != (width_px, height_px):
        rgb = rgb.resize((width_px, height_px), Image.Resampling.BILINEAR)
    return np.asarray(rgb, np.uint8)
