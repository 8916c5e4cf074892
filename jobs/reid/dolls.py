"""Crops of paper dolls with the exact truth of who it is and what they wear: "simulator:dolls?people=200&outfits=3".

A person, an outfit and a crop's pose, camera and background are drawn apart from each other, so that the very same
picture exists in other clothes (`first_outfit`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from urllib.parse import parse_qsl

import numpy as np
import torch

from jobs.errors import UsageProblem
from jobs.reid.crops import CropSet

DOLLS = "simulator:dolls"
WARDROBE = 8
"""Outfits that a doll owns."""
_BLURRED_AT_PX = 128  # height of a crop with the whole blur of its camera; a smaller one is scaled down after it
_EXAMPLE = f"{DOLLS}?people=200&outfits=1&cameras=4&images=3&first=0&seed=0"
_MOST_CROPS = 200_000


@dataclass(frozen=True)
class Dolls:
    """Which dolls are drawn, and how often."""

    people: int = 200
    outfits: int = 1  # worn by each
    cameras: int = 4  # which see each in every outfit
    images: int = 3  # by each camera
    first: int = 0  # number of the first person; the same number is the same person
    first_outfit: int = 0  # of the wardrobe
    lent: int = 0  # everybody wears what the person so many places on owns; after the last comes the first
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("people", "outfits", "cameras", "images"):
            if getattr(self, name) < 1:
                raise UsageProblem(f"{DOLLS}: {name}={getattr(self, name)} must be at least 1")
        if self.first_outfit + self.outfits > WARDROBE:
            raise UsageProblem(f"{DOLLS}: a doll owns {WARDROBE} outfits, not {self.first_outfit + self.outfits}")
        crops = self.people * self.outfits * self.cameras * self.images
        if crops > _MOST_CROPS or self.first + self.people > _MOST_CROPS:
            raise UsageProblem(f"{DOLLS}: {crops:,} crops, and {_MOST_CROPS:,} people and crops are the most")

    @property
    def source(self) -> str:
        """As `parsed_dolls` takes it."""
        return f"{DOLLS}?" + "&".join(f"{each.name}={getattr(self, each.name)}" for each in fields(self))


def parsed_dolls(source: str) -> Dolls:
    """What "simulator:dolls?people=N&..." asks for.

    Raises:
        UsageProblem: a key or a number that is not understood, or numbers that make no sense.
    """
    _, _, query = source.partition("?")
    known = {each.name for each in fields(Dolls)}
    asked: dict[str, int] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known or not re.fullmatch("[0-9]{1,9}", value):
            raise UsageProblem(f"{source}: {key}={value} is not understood; write {_EXAMPLE}")
        asked[key] = int(value)
    return Dolls(**asked)


def doll_crops(dolls: Dolls, *, height_px: int, width_px: int) -> CropSet:
    """The crops, by person, then outfit, then camera. `clothes` tells every outfit from every other.

    Two sets that differ in `first_outfit` alone are the same pictures in other clothes.

    Raises:
        UsageProblem: more cameras than the store has.
    """
    from streaming.simulators.store.cameras import hang_cameras
    from streaming.simulators.store.crops import draw_crops
    from streaming.simulators.store.identities import draw_identities, with_hair_styles
    from streaming.simulators.store.outfits import draw_outfits
    from streaming.simulators.store.plan import supermarket

    try:
        hung = hang_cameras(supermarket(5, 6.5, 3), dolls.cameras)
    except ValueError as error:
        raise UsageProblem(f"{DOLLS}: {error}") from None
    looks = [replace(camera.look, blur_px=camera.look.blur_px * height_px / _BLURRED_AT_PX) for camera in hung]
    shape = (dolls.people, dolls.outfits, dolls.cameras, dolls.images)
    person, outfit, camera, _ = (each.ravel() for each in np.indices(shape))
    person, outfit = person + dolls.first, outfit + dolls.first_outfit
    owner = dolls.first + (person - dolls.first + dolls.lent) % dolls.people
    clothes = owner * WARDROBE + outfit
    last = dolls.first + dolls.people
    drawn = draw_crops(
        with_hair_styles(draw_identities(last, dolls.seed), dolls.seed).take(person),
        draw_outfits(last * WARDROBE, dolls.seed).take(clothes),
        camera,
        looks,
        dolls.seed * _MOST_CROPS + dolls.first,
        size_px=(width_px, height_px),
    )
    planes = torch.from_numpy(np.ascontiguousarray(drawn.transpose(0, 3, 1, 2)))
    return CropSet(dolls.source, planes, person, camera + 1, clothes)
