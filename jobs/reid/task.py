"""What a recipe of people brings to `jobs.train`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from jobs.checkpoints import Checkpoints
from jobs.recipes.reid import ReID
from jobs.reid.crops import CropSet, load_crops, split_by_person
from jobs.reid.fit import FittedReID, fit
from jobs.task import OnEpoch, Task
from models.resnet import ResNet50Config

_FEW_PEOPLE = 100
_WHERE_IT_RUNS = ("data", "threads")


def person_task(recipe: ReID) -> Task:
    """The crops of the recipe, read, and which people are held out.

    Raises:
        UsageProblem: the crops cannot be used.
    """
    network = recipe.network
    crops = load_crops(recipe.data, height_px=network.height_px, width_px=network.width_px)
    train, held_out = split_by_person(crops, share=recipe.validation, seed=recipe.seed)

    def fitted(folder: Path, on_epoch: OnEpoch) -> FittedReID:
        checkpoints = Checkpoints(folder, subject(recipe, train))
        return fit(train, held_out, recipe, on_epoch=on_epoch, checkpoints=checkpoints)

    people, images = len(train.people), len(train)
    architecture = "resnet50" if isinstance(network, ResNet50Config) else "osnet"
    few = f"{people} people say little about others: {_FEW_PEOPLE} are a start, a thousand are better"
    return Task(
        recipe_name=f"reid-{architecture}",
        model_name=f"reid-{architecture}",
        title="person",
        source=crops.source,
        fingerprint=crops.fingerprint,
        counts={"people": people, "images": images, "held_out": len(held_out.people)},
        words=f"{people:,} people, {images:,} images of {crops.cameras} cameras",
        trained_on=f"{crops.source}, {people:,} people, {images:,} images",
        fit=fitted,
        held_out={"validation_people": len(held_out.people)},
        doubt=few if people < _FEW_PEOPLE else "",
    )


def subject(recipe: ReID, train: CropSet) -> str:
    """Digest of what decides the weights: neither where it runs nor where the data lies."""
    told = {name: value for name, value in asdict(recipe).items() if name not in _WHERE_IT_RUNS}
    return hashlib.sha256(json.dumps([told, train.fingerprint], sort_keys=True).encode()).hexdigest()
