"""Crops of made-up people, drawn on the spot.

    simulator:people?people=800&images=12&seed=0    each whole and alone (`streaming.simulators.store.crops`)
    simulator:store?stores=16&images=24&seed=1      as the pipeline cuts them out (`jobs.reid.store_crops`)

Paper dolls, each in one outfit, from any side, as the cameras of the made-up store see colours. Who learns from them
knows dolls, and nothing of photographs.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import numpy as np
import torch

from jobs.errors import UsageProblem
from jobs.reid.crops import SIMULATOR, CropSet

FIRST_JUDGED = 100
"""From this seed on, made-up stores are for judging (`sightline evaluate store`), and not to be learned from."""
_NUMBERS = {  # least, most, what it is unless told
    "people": {"people": (2, 20_000, 800), "images": (2, 100, 12), "seed": (0, 10**12, 0)},
    "store": {"stores": (1, FIRST_JUDGED, 16), "images": (2, 100, 24), "seed": (0, FIRST_JUDGED - 1, 1)},
}
_EXAMPLES = "simulator:people?people=800&images=12&seed=0 or simulator:store?stores=16&images=24&seed=1"


def simulated_crops(source: str, *, height_px: int, width_px: int) -> CropSet:
    """The crops of such a source.

    Raises:
        UsageProblem: it is not understood, or stores are asked for that are there to judge by.
    """
    kind, numbers = _understood(source)
    make = _of_stores if kind == "store" else _of_people
    return make(numbers, height_px, width_px)


def _of_people(numbers: dict[str, int], height_px: int, width_px: int) -> CropSet:
    """As many images of each of so many people, by cameras in turn."""
    from streaming.simulators.store.cameras import DEFAULT_LOOKS
    from streaming.simulators.store.crops import draw_crops
    from streaming.simulators.store.identities import draw_identities
    from streaming.simulators.store.outfits import draw_outfits

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


def _of_stores(numbers: dict[str, int], height_px: int, width_px: int) -> CropSet:
    """Everybody who came to so many stores, in as many images as they were seen in, at most `images`."""
    from jobs.evaluate_store import StoreTrial
    from jobs.reid.store_crops import store_crops

    first, last = numbers["seed"], numbers["seed"] + numbers["stores"] - 1
    if last >= FIRST_JUDGED:
        raise UsageProblem(f"stores of seeds {first} to {last}: those from {FIRST_JUDGED} on are there to judge by")
    found = [
        store_crops(StoreTrial(seed=seed, after_s=0.0), numbers["images"], height_px=height_px, width_px=width_px)
        for seed in range(first, last + 1)
    ]
    images, identity, camera = (np.concatenate(parts) for parts in zip(*found, strict=True))
    words = f"simulator store, seeds {first} to {last}, at most {numbers['images']} images each"
    return CropSet(words, torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), identity, camera)


def _understood(source: str) -> tuple[str, dict[str, int]]:
    kind, _, query = source.removeprefix(SIMULATOR).partition("?")
    if kind not in _NUMBERS:
        raise UsageProblem(f"{source}: no simulated {kind!r} to tell apart; write {_EXAMPLES}")
    known = _NUMBERS[kind]
    numbers = {key: usual for key, (_, _, usual) in known.items()}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known or not re.fullmatch("[0-9]{1,12}", value):
            raise UsageProblem(f"{source}: {key}={value} is not understood; write {_EXAMPLES}")
        least, most, _ = known[key]
        if not least <= int(value) <= most:
            raise UsageProblem(f"{source}: {key} must lie in {least}..{most:,}")
        numbers[key] = int(value)
    return kind, numbers
