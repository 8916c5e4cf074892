"""Crops of made-up people, drawn on the spot: simulator:people?people=800&images=12&seed=0.

Paper dolls (`streaming.simulators.store.crops`), each in one outfit, from any side, as the cameras of the made-up store
see colours. Who learns from them knows dolls, and nothing of photographs.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import numpy as np
import torch

from jobs.errors import UsageProblem
from jobs.reid.crops import SIMULATOR, CropSet

_ONLY = "people"
_MOST = {"people": 20_000, "images": 100}
_LEAST = 2
_EXAMPLE = "simulator:people?people=800&images=12&seed=0"


def simulated_crops(source: str, *, height_px: int, width_px: int) -> CropSet:
    """As many images of each of so many people, by cameras in turn.

    Raises:
        UsageProblem: the source is not understood.
    """
    from streaming.simulators.store.cameras import DEFAULT_LOOKS
    from streaming.simulators.store.crops import draw_crops
    from streaming.simulators.store.identities import draw_identities
    from streaming.simulators.store.outfits import draw_outfits

    numbers = _numbers(source)
    people, images, seed = numbers["people"], numbers["images"], numbers["seed"]
    who = np.repeat(np.arange(people), images)
    camera = np.tile(np.arange(images) % len(DEFAULT_LOOKS), people)
    drawn = draw_crops(
        draw_identities(people, seed).take(who),
        draw_outfits(people, seed).take(who),
        camera,
        DEFAULT_LOOKS,
        seed,
        size_px=(width_px, height_px),
    )
    words = f"simulator people, {people:,} people, {images} images each, seed {seed}"
    return CropSet(words, torch.from_numpy(np.ascontiguousarray(drawn.transpose(0, 3, 1, 2))), who, camera)


def _numbers(source: str) -> dict[str, int]:
    kind, _, query = source.removeprefix(SIMULATOR).partition("?")
    if kind != _ONLY:
        raise UsageProblem(f"{source}: no simulated {kind!r} to tell apart; write {_EXAMPLE}")
    numbers = {"people": 800, "images": 12, "seed": 0}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in numbers or not re.fullmatch("[0-9]{1,12}", value):
            raise UsageProblem(f"{source}: {key}={value} is not understood; write {_EXAMPLE}")
        numbers[key] = int(value)
    for key, most in _MOST.items():
        if not _LEAST <= numbers[key] <= most:
            raise UsageProblem(f"{source}: {key} must lie in {_LEAST}..{most:,}")
    return numbers
