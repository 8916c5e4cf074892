"""What learns from crops, batch by batch: the network, its losses, and what is done to a crop before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from jobs.errors import UsageProblem
from jobs.recipes.reid import BFLOAT16, ReID
from jobs.reid.augment import augmented
from jobs.reid.crops import CropSet
from models.bnneck import PersonEmbedder
from models.losses import PersonLoss

Ints = npt.NDArray[np.int64]
_NOT_OF_THE_BACKBONE = ("neck.", "fc.")


class Learner(nn.Module):
    """Everything that is learned, and is in a checkpoint; `embedder` is what remains."""

    embedder: PersonEmbedder

    def begin(self, epoch: int) -> None:
        """Told before every epoch, from 1."""

    def loss_of(self, rows: Ints, chance: torch.Generator) -> Tensor:
        """What to descend, of these crops; `chance` draws, on the CPU."""
        raise NotImplementedError


class PersonLearner(Learner):
    """The strong baseline: smoothed cross-entropy, batch-hard triplets, centre loss (`models.losses.PersonLoss`)."""

    def __init__(self, train: CropSet, recipe: ReID) -> None:
        super().__init__()
        self._train, self._recipe = train, recipe
        people, self._labels = np.unique(train.identity, return_inverse=True)
        loss = recipe.loss
        self.embedder = begun_embedder(recipe)
        self.loss = PersonLoss(
            len(people),
            self.embedder.dim,
            triplet=loss.triplet,
            margin=loss.margin,
            smoothing=loss.smoothing,
            centre=loss.centre,
        )

    def begin(self, epoch: int) -> None:
        """The triplets come in when the recipe says so."""
        loss = self._recipe.loss
        self.loss.triplet = loss.triplet if epoch > loss.triplet_after else 0.0

    def loss_of(self, rows: Ints, chance: torch.Generator) -> Tensor:
        """Of these crops, augmented."""
        device = self._recipe.device
        crops = augmented(self._train.images[torch.from_numpy(rows)], self._recipe.augmentation, chance).to(device)
        labels = torch.from_numpy(self._labels[rows]).to(device)
        pooled = self.embedder.pooled_in(computing_in(self._recipe), crops)
        losses = self.loss(pooled, self.embedder.neck(pooled), labels)
        self.loss.centres.move(pooled.detach(), labels)
        total: Tensor = losses.total
        return total


def computing_in(recipe: ReID) -> torch.dtype:
    """What its backbone computes in."""
    return torch.bfloat16 if recipe.precision == BFLOAT16 else torch.float32


def begun_embedder(recipe: ReID) -> PersonEmbedder:
    """The recipe's network, with the weights that it begins with.

    Raises:
        UsageProblem: they do not fit.
    """
    embedder = recipe.network.build()
    if recipe.weights:
        load_backbone(embedder, recipe.weights)
    return embedder


def load_backbone(embedder: PersonEmbedder, file: str) -> None:
    """Give the backbone the weights of a safetensors file: of a stored version, or named as in torchvision.

    Raises:
        UsageProblem: the file cannot be read, or its names or shapes are not the backbone's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found = load(Path(file).read_bytes())
    except (OSError, SafetensorError, KeyError) as error:
        raise UsageProblem(f"weights={file}: not a safetensors file that can be read: {error}") from None
    given = {
        name.removeprefix("backbone."): value
        for name, value in found.items()
        if not name.startswith(_NOT_OF_THE_BACKBONE)
    }
    counters = {name: value for name, value in embedder.backbone.state_dict().items() if name.endswith("_tracked")}
    try:
        embedder.backbone.load_state_dict(counters | given)
    except RuntimeError as error:
        raise UsageProblem(f"weights={file}: not of this backbone: {' '.join(str(error).split())[:400]}") from None
