"""One step of AS-GAN: every term of the generator and of the discriminator, by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jobs.recipes.as_gan import ASGANRecipe
from models.as_gan import ASGAN
from models.bnneck import PersonEmbedder
from models.layers.discriminator import MultiScaleDiscriminator
from models.losses import apparel as losses


class Terms(NamedTuple):
    """Terms of the generator."""

    plain: dict[str, Tensor]
    weighed: dict[str, Tensor]


class GANStep(nn.Module):
    """Both sides of the game, and what they are judged by."""

    def __init__(self, recipe: ASGANRecipe, identity: PersonEmbedder | None) -> None:
        super().__init__()
        self._recipe = recipe
        self.network: ASGAN = recipe.network.build()
        self.discriminator = MultiScaleDiscriminator(
            recipe.discriminator_width, recipe.network.dim, scales=recipe.scales
        )
        self.identity = None if identity is None else identity.eval().requires_grad_(False)

    def generator_terms(
        self, images: Tensor, same: Tensor, chance: torch.Generator, *, cycle: float
    ) -> tuple[Terms, Tensor]:
        """Every term whose weight is above 0, and what was made (B, 3, H, W), without a gradient.

        Args:
            images: x_i (B, 3, H, W) in [-1, 1].
            same: x_i', the same people in the same clothes.
            chance: draws targets.
            cycle: how much of its weight the cycle has by now, 0 to 1.
        """
        network, weights = self.network, self._recipe.loss
        structure, worn = network.structure(images), network.apparel(images)
        wanted = losses.target_embeddings(worn.detach(), chance)
        made = network.generator(structure, wanted, images)
        plain: dict[str, Tensor] = {}
        if weights.self_reconstruction:
            own = network.generator(structure, worn, images)
            plain["self_reconstruction"] = losses.painted_reconstruction(own.painted, own.images, images)
        worn_again = network.apparel(same)
        if weights.apparel_contrast:
            plain["apparel_contrast"] = losses.apparel_contrast(worn, worn_again)
        if weights.same_identity_reconstruction:
            own = network.generator(structure, worn_again, images)
            plain["same_identity_reconstruction"] = losses.painted_reconstruction(own.painted, own.images, images)
        if weights.cycle and cycle:
            back = network.generator(network.structure(made.images), worn, made.images)
            plain["cycle"] = losses.reconstruction(back.images, images)
        plain["mask_budget"] = losses.mask_budget(made.alpha, share=weights.mask_share)
        if weights.mask_affinity:
            plain["mask_affinity"] = losses.mask_affinity(made.alpha, images)
        plain["head_keep"] = losses.head_keep(made.images, images)
        # What judges takes no gradient from its own verdict: else it would learn to see what was asked for.
        with _frozen(self.discriminator), _frozen(network.apparel), _frozen(network.structure):
            verdicts = self.discriminator(made.images)
            plain["adversarial"] = losses.adversarial(verdicts.real)
            plain["embedding_recovery"] = losses.embedding_recovery(
                network.apparel(made.images), wanted
            ) + losses.embedding_information(verdicts.apparel, wanted)
            plain["structure_keep"] = losses.structure_keep(network.structure(made.images), structure)
        if self.identity is not None and weights.identity_keep:
            plain["identity_keep"] = losses.identity_keep(self._head(made.images), self._head(images))
        weighed = {name: getattr(weights, name) * value for name, value in plain.items()}
        if "cycle" in weighed:
            weighed["cycle"] = cycle * weighed["cycle"]
        return Terms(plain, weighed), made.images.detach()

    def discriminator_terms(self, images: Tensor, made: Tensor, *, penalise: bool, weight: float) -> dict[str, Tensor]:
        """Its terms, as they are added up.

        Args:
            images: real ones.
            made: by the generator.
            penalise: with the gradient penalty.
            weight: of the penalty beside its own, for the steps without it.
        """
        images = images.detach().requires_grad_(penalise)
        real, seen = self.discriminator(images)
        with torch.no_grad():
            worn = self.network.apparel(images)
        terms = {
            "discriminator": losses.adversarial_of_discriminator(real, self.discriminator(made).real),
            "discriminator_embedding": losses.embedding_information(seen, worn),
        }
        if penalise and self._recipe.loss.gradient_penalty:
            terms["gradient_penalty"] = (
                weight * self._recipe.loss.gradient_penalty * losses.gradient_penalty(real, images)
            )
        return terms

    def _head(self, images: Tensor) -> Tensor:
        """φ_h (B, C) of images in [-1, 1]."""
        assert self.identity is not None
        images = (losses.head_alone(images) + 1) / 2
        return losses.head_features(self.identity.backbone((images - self.identity.mean) / self.identity.std))


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Its weights take no gradient from what is computed within; what goes through it does."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
