"""What recipes of people bring to `jobs.train`: an embedding, one that does not read clothes, and who dresses anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.checkpoints import Checkpoints
from jobs.errors import UsageProblem
from jobs.recipes.as_gan import ASGANRecipe
from jobs.recipes.reid import ReID
from jobs.recipes.reid_aifl import JITTER, ReIDAIFL
from jobs.reid.crops import CropSet, load_crops, split_by_person
from jobs.reid.fit import FittedReID, fit
from jobs.reid.learner import Learner, computing_in
from jobs.task import OnEpoch, Task
from models.osnet import OSNetConfig
from models.resnet import ResNet50Config
from models.small_cnn import SmallCNNConfig

if TYPE_CHECKING:
    from models.store import ModelStore

_FEW_PEOPLE = 100
_WHERE_IT_RUNS = ("data", "threads")


def person_task(recipe: ReID) -> Task:
    """The crops of the recipe, read, and which people are held out.

    Raises:
        UsageProblem: the crops cannot be used.
    """
    names = {OSNetConfig: "reid-osnet", ResNet50Config: "reid-resnet50", SmallCNNConfig: "reid-small"}
    name = names[type(recipe.network)]
    return _embedding_task(recipe, name, name)


def aifl_task(recipe: ReIDAIFL, models: ModelStore) -> Task:
    """The same, with crops whose identities are not looked at, and the AS-GAN that dresses anew.

    Raises:
        UsageProblem: the crops cannot be used, or the model is no AS-GAN or of another size.
        ModelNotFoundError, BrokenModelError: as of the store.
    """
    from jobs.reid.aifl_learner import AIFLLearner
    from jobs.reid.redress import ASGANDresser, Dresser, JitterDresser
    from models.as_gan import ASGAN

    network, how = recipe.network, recipe.redressing
    size = {"height_px": network.height_px, "width_px": network.width_px}
    stored = models.load(how.model)
    generator = stored.build()
    if not isinstance(generator, ASGAN):
        raise UsageProblem(f"redressing.model={how.model}: is no AS-GAN; train one with `sightline train as-gan`")
    by_gan = ASGANDresser(generator, **size, device=recipe.device, dtype=computing_in(recipe))
    dresser: Dresser = JitterDresser(by_gan, how.jitter) if how.by == JITTER else by_gan
    strangers = load_crops(recipe.unlabelled, **size) if recipe.unlabelled else None

    def learner(train: CropSet) -> Learner:
        images = train.images[:0] if strangers is None else strangers.images
        return AIFLLearner(train, images, recipe, dresser)

    around = "-resnet50" if isinstance(network, ResNet50Config) else ""
    also = f"{stored.weight_hash} {strangers.fingerprint if strangers else ''}"
    return _embedding_task(recipe, f"reid-aifl{around}", f"reid-aifl{around}", learner=learner, also=also)


def as_gan_task(recipe: ASGANRecipe, models: ModelStore) -> Task:
    """The crops of the recipe, all to learn from, and the embedding whose view of a head is kept.

    Raises:
        UsageProblem: the crops cannot be used, or the model is no person embedding.
        ModelNotFoundError, BrokenModelError: as of the store.
    """
    from jobs.reid.fit_as_gan import FittedASGAN, fit_as_gan, what_decides
    from models.bnneck import PersonEmbedder

    network = recipe.network
    crops = load_crops(recipe.data, height_px=network.height_px, width_px=network.width_px)
    identity, seen_by = None, ""
    if recipe.identity:
        stored = models.load(recipe.identity)
        embedder = stored.build()
        if not isinstance(embedder, PersonEmbedder):
            raise UsageProblem(f"identity={recipe.identity}: is no person embedding")
        identity, seen_by = embedder, stored.weight_hash
    digest = _digest([what_decides(recipe), crops.fingerprint, seen_by])

    def fitted(folder: Path, on_epoch: OnEpoch) -> FittedASGAN:
        return fit_as_gan(crops, recipe, identity=identity, on_epoch=on_epoch, checkpoints=Checkpoints(folder, digest))

    people, images = len(crops.people), len(crops)
    return Task(
        recipe_name="as-gan",
        model_name="as-gan",
        title="apparel",
        source=crops.source,
        fingerprint=crops.fingerprint,
        counts={"people": people, "images": images, "held_out": 0},
        words=f"{people:,} people, {images:,} images of {crops.cameras} cameras",
        trained_on=f"{crops.source}, {people:,} people, {images:,} images",
        fit=fitted,
        doubt="" if identity else "identity is empty: no embedding watches that a head stays the same",
    )


def subject(recipe: ReID, train: CropSet, also: str = "") -> str:
    """Digest of what decides the weights: neither where it runs nor where the data lies."""
    told = {name: value for name, value in asdict(recipe).items() if name not in _WHERE_IT_RUNS}
    return _digest([told, train.fingerprint, also] if also else [told, train.fingerprint])


def _embedding_task(
    recipe: ReID,
    recipe_name: str,
    model_name: str,
    *,
    learner: Callable[[CropSet], Learner] | None = None,
    also: str = "",
) -> Task:
    network = recipe.network
    crops = load_crops(recipe.data, height_px=network.height_px, width_px=network.width_px)
    train, held_out = split_by_person(crops, share=recipe.validation, seed=recipe.seed)

    def fitted(folder: Path, on_epoch: OnEpoch) -> FittedReID:
        checkpoints = Checkpoints(folder, subject(recipe, train, also))
        return fit(train, held_out, recipe, learner=learner, on_epoch=on_epoch, checkpoints=checkpoints)

    people, images = len(train.people), len(train)
    few = f"{people} people say little about others: {_FEW_PEOPLE} are a start, a thousand are better"
    return Task(
        recipe_name=recipe_name,
        model_name=model_name,
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


def _digest(told: object) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
