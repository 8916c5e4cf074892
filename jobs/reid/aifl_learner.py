"""AIFL's batches: people, the same people in other clothes, and people whom nobody knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jobs.recipes.reid_aifl import ReIDAIFL
from jobs.reid.augment import augmented
from jobs.reid.crops import CropSet
from jobs.reid.learner import Learner, begun_embedder, computing_in
from jobs.reid.redress import Dresser, Redressed
from models.aifl import AIFL, Pair

Ints = npt.NDArray[np.int64]


class AIFLLearner(Learner):
    """`models.aifl.AIFL` around the recipe's network. The dresser is frozen, and no part of what is learned.

    Args:
        train: crops with identities.
        unlabelled: crops whose identities are not looked at; may be none.
        recipe: as of `jobs.recipes.reid_aifl`.
        dresser: where x̃ comes from.
    """

    def __init__(self, train: CropSet, unlabelled: Tensor, recipe: ReIDAIFL, dresser: Dresser) -> None:
        super().__init__()
        self._train, self._unlabelled, self._recipe, self._dresser = train, unlabelled, recipe, dresser
        people, self._labels = np.unique(train.identity, return_inverse=True)
        self.embedder = begun_embedder(recipe)
        self.aifl = AIFL(self.embedder, len(people), recipe.aifl, dtype=computing_in(recipe))
        self._worn, self._worn_unlabelled = dresser.worn(train.images), dresser.worn(unlabelled)
        who = torch.from_numpy(self._labels)
        self._ready, self._ready_unlabelled = self._dressed_before(train.images, who), self._dressed_before(unlabelled)
        self._ramp = 0.0

    def begin(self, epoch: int) -> None:
        """How much x̃ counts by now: a line from `enters_after` to `full_after`."""
        how = self._recipe.redressing
        self._ramp = min(max(epoch - how.enters_after, 0) / max(how.full_after - how.enters_after, 1), 1.0)

    def loss_of(self, rows: Ints, chance: torch.Generator) -> Tensor:
        """Of these crops, and some of strangers."""
        device = self._recipe.device
        at = torch.from_numpy(rows)
        share = self._ramp * self._recipe.redressing.share
        used = torch.rand(len(rows), generator=chance) < share
        images, worn = self._train.images[at], self._worn[at]
        pair = self._pair(images, worn, self._dressed(images, at, self._ready, chance) if share > 0 else None, chance)
        strangers = None
        if len(self._unlabelled) and self._ramp and self._recipe.aifl.unlabelled:
            drawn = torch.randint(len(self._unlabelled), (self._recipe.strangers,), generator=chance)
            images, worn = self._unlabelled[drawn], self._worn_unlabelled[drawn]
            made = self._dressed(images, drawn, self._ready_unlabelled, chance)
            strangers = self._pair(images, worn, made, chance)
        labels = torch.from_numpy(self._labels[rows]).to(device)
        terms = self.aifl(pair, labels, used.to(device), strangers, ramp=self._ramp)
        return torch.stack(list(terms.values())).sum()

    def _dressed_before(self, images: Tensor, who: Tensor | None = None) -> Redressed | None:
        """Every crop so often in other clothes, (copies, N, 3, H, W) and (copies, N, A); None: made anew each time.

        The dresser is frozen, and forwards through a generator costs as much as a step of what learns. A copy gives
        everybody one outfit in all of their pictures: were each crop dressed by its own luck, clothes would be noise
        in x̃ and tell nothing, and who is not changed would be lost too.
        """
        copies = self._recipe.redressing.copies
        if not copies or not len(images):
            return None
        chance = torch.Generator().manual_seed(self._recipe.seed)
        made = [self._dresser.dressed(images, chance, who) for _ in range(copies)]
        return Redressed(torch.stack([each.images for each in made]), torch.stack([each.apparel for each in made]))

    def _dressed(self, images: Tensor, rows: Tensor, ready: Redressed | None, chance: torch.Generator) -> Redressed:
        """Crops in other clothes, of these rows of their set."""
        if ready is None:
            return self._dresser.dressed(images, chance)
        copy = torch.randint(len(ready.images), (len(rows),), generator=chance)
        return Redressed(ready.images[copy, rows], ready.apparel[copy, rows])

    def _pair(self, images: Tensor, worn: Tensor, made: Redressed | None, chance: torch.Generator) -> Pair:
        """Clothes first, then camera and luck, of each apart."""
        device, how = self._recipe.device, self._recipe.augmentation
        plain = augmented(images, how, chance)
        if made is None:
            return Pair(*(each.to(device) for each in (plain, plain, worn, worn)))
        dressed = augmented(made.images, how, chance)
        return Pair(*(each.to(device) for each in (plain, dressed, worn, made.apparel)))
