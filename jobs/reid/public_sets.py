"""Public sets of people in the folders that their authors publish: "market1501:FOLDER", "prcc:FOLDER", ...

    market1501  bounding_box_train, query, bounding_box_test / 0002_c1s1_000451_03.jpg     person, camera; -1: junk
    cuhk03      the same folders and names (Zhong et al., "Re-ranking", CUHK03-NP), as PNG: of `labeled` or `detected`
    prcc        rgb/train/001/A_cropped_rgb001.jpg; rgb/test/A, B, C / 001 / *.jpg         camera C: other clothes
    ltcc        train, query, test / 000_1_c11_015891.png                                  person, clothes, camera
    celeb-reid  train, query, gallery / 1_1_0.jpg                                          person, picture

Which of PRCC's queries count under which protocol follows from who wears what (`jobs.reid.protocols`): the gallery is
camera A, those of camera B wear the same clothes, those of camera C others (Gu et al., Simple-CCReID). Celeb-reID tells
neither cameras nor clothes: queries and gallery count as two cameras.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from jobs.errors import UsageProblem
from jobs.reid.crops import CropSet, decoded

TRAIN, QUERY, GALLERY = "train", "query", "gallery"
_MOST_CLOTHES = 1000  # of a person


class _Told(NamedTuple):
    """What a file's place and name say."""

    person: int
    camera: int
    clothes: int | None


@dataclass(frozen=True)
class _Layout:
    """Where a set keeps its parts, and how its files are to be read."""

    parts: Mapping[str, tuple[str, ...]]  # part → folders
    told: Callable[[str, re.Match[str]], _Told | None]  # of folder and matched path below it; None: it lacks something
    pattern: str  # of the path below the folder
    example: str


def load_part(data: str, part: str, *, height_px: int, width_px: int) -> CropSet:
    """The crops of one part of a public set, resized, in the order of their names.

    Args:
        data: "LAYOUT:FOLDER".
        part: TRAIN, QUERY or GALLERY.
        height_px: of the crops.
        width_px: of the crops.

    Raises:
        UsageProblem: no such layout, no such folder, no image in it, a name of another kind, or an image that cannot be
            used; the message says which.
    """
    name, _, root = data.partition(":")
    if name not in _LAYOUTS:
        raise UsageProblem(f"{data}: no layout {name!r}; there are: {', '.join(_LAYOUTS)}")
    layout = _LAYOUTS[name]
    images, told = [], []
    for folder in layout.parts[part]:
        for path in _files(Path(root) / folder, layout):
            below = path.relative_to(Path(root) / folder).as_posix()
            found = re.fullmatch(layout.pattern, below)
            about = None if found is None else layout.told(folder, found)
            if about is None:
                raise UsageProblem(f"{path}: not a name of {name}, such as {layout.example}")
            told.append(about)
            try:
                images.append(decoded(path.read_bytes(), height_px, width_px))
            except (OSError, ValueError, SyntaxError) as error:
                raise UsageProblem(f"{path}: cannot be used: {error}; leave it out") from None
    planes = torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)))
    clothes = [each.clothes for each in told if each.clothes is not None]
    return CropSet(
        f"{name} {part}",
        planes,
        np.array([each.person for each in told]),
        np.array([each.camera for each in told]),
        np.array(clothes) if clothes else None,
    )


def _files(folder: Path, layout: _Layout) -> Iterator[Path]:
    if not folder.is_dir():
        raise UsageProblem(f"{folder}: no such folder; there should be images such as {layout.example}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    if not found:
        raise UsageProblem(f"{folder}: no .jpg or .png in it; there should be images such as {layout.example}")
    yield from found


def _market(_: str, found: re.Match[str]) -> _Told:
    return _Told(int(found["person"]), int(found["camera"]), None)


def _prcc(folder: str, found: re.Match[str]) -> _Told | None:
    camera = folder[-1] if folder[-1] in "ABC" else found["camera"]  # of test images the folder says it
    if camera is None:
        return None
    person = int(found["person"])
    return _Told(person, "ABC".index(camera) + 1, person * _MOST_CLOTHES + (camera == "C"))


def _ltcc(_: str, found: re.Match[str]) -> _Told:
    person = int(found["person"])
    return _Told(person, int(found["camera"]), person * _MOST_CLOTHES + int(found["clothes"]))


def _celeb(folder: str, found: re.Match[str]) -> _Told:
    return _Told(int(found["person"]), 1 if folder == "query" else 2, None)


_BOXES = {TRAIN: ("bounding_box_train",), QUERY: ("query",), GALLERY: ("bounding_box_test",)}
_LAYOUTS = {
    "market1501": _Layout(
        _BOXES, _market, r"(?P<person>-1|\d+)_c(?P<camera>\d)s\d_\d+_\d+\.jpg", "0002_c1s1_000451_03.jpg"
    ),
    "cuhk03": _Layout(_BOXES, _market, r"(?P<person>\d+)_c(?P<camera>\d)_\d+\.png", "0003_c1_21.png"),
    "prcc": _Layout(
        {TRAIN: ("rgb/train",), QUERY: ("rgb/test/B", "rgb/test/C"), GALLERY: ("rgb/test/A",)},
        _prcc,
        r"(?P<person>\d+)/(?P<camera>[ABC])?[^/]*\.jpg",
        "001/A_cropped_rgb001.jpg",
    ),
    "ltcc": _Layout(
        {TRAIN: ("train",), QUERY: ("query",), GALLERY: ("test",)},
        _ltcc,
        r"(?P<person>\d+)_(?P<clothes>\d{1,3})_c(?P<camera>\d+)_\d+\.png",
        "000_1_c11_015891.png",
    ),
    "celeb-reid": _Layout(
        {TRAIN: ("train",), QUERY: ("query",), GALLERY: ("gallery",)},
        _celeb,
        r"(?P<person>\d+)_\d+_\d+\.jpg",
        "1_1_0.jpg",
    ),
}
