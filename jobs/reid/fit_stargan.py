"""A StarGAN trained on the same crops as an AS-GAN, as long and as wide: what its Fréchet distance is held to."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from jobs.errors import UsageProblem
from jobs.recipes.as_gan import ASGANRecipe
from jobs.reid.crops import CropSet
from jobs.reid.fit_as_gan import rate_at
from jobs.reid.histogram import histogram_embeddings
from models.layers.discriminator import MultiScaleDiscriminator
from models.losses.apparel import adversarial, adversarial_of_discriminator, gradient_penalty, reconstruction
from models.stargan import GroupClassifier, StarGAN, StarGANConfig
from models.wardrobe import wardrobe

_RECONSTRUCTION = 10.0  # λ_rec; λ_cls is 1


def fit_stargan(train: CropSet, recipe: ASGANRecipe, *, groups: int) -> StarGAN:
    """Trained for the steps, batches, rates and width of an AS-GAN's recipe, in evaluation mode.

    Groups of clothes are k-means of colour histograms: it needs labels, and nobody has any.

    Raises:
        UsageProblem: a loss is not finite; the message says the step.
    """
    optim, network = recipe.optim, recipe.network
    seen = torch.from_numpy(histogram_embeddings(train.images.numpy(), stripes=3))
    closet = wardrobe(seen, groups, seed=recipe.seed)
    count = groups  # fewer may be worn
    torch.set_num_threads(recipe.threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        generator = StarGANConfig(count, 2 * network.width, network.blocks).build()
        critic = MultiScaleDiscriminator(recipe.discriminator_width, 2, scales=recipe.scales)
        classifier = GroupClassifier(recipe.discriminator_width, count)
    judges = [*critic.trunks.parameters(), *critic.heads.parameters(), *classifier.parameters()]
    makes = torch.optim.Adam(generator.parameters(), lr=optim.lr, betas=(0.5, 0.999))
    judge = torch.optim.Adam(judges, lr=optim.lr_discriminator, betas=(0.5, 0.999))
    for step in range(optim.steps):
        chance = np.random.default_rng([recipe.seed, step])
        rows = torch.from_numpy(chance.choice(len(train), optim.batch, replace=len(train) < optim.batch))
        images, own = train.images[rows].float() / 127.5 - 1, closet.group[rows]
        wanted = torch.from_numpy(chance.integers(count, size=optim.batch))
        for optimiser, lr in ((makes, optim.lr), (judge, optim.lr_discriminator)):
            for settings in optimiser.param_groups:
                settings["lr"] = lr * rate_at(step, optim)
        made = generator(images, wanted)
        loss = adversarial(critic(made).real) + F.cross_entropy(classifier(made), wanted)
        loss = loss + _RECONSTRUCTION * reconstruction(generator(made, own), images)
        penalise = step % optim.penalty_every == 0
        real = critic(images.requires_grad_(penalise)).real
        against = adversarial_of_discriminator(real, critic(made.detach()).real)
        against = against + F.cross_entropy(classifier(images.detach()), own)
        if penalise:
            against = against + optim.penalty_every * recipe.loss.gradient_penalty * gradient_penalty(real, images)
        if not math.isfinite(float(loss.detach() + against.detach())):
            raise UsageProblem(f"StarGAN, step {step}: a loss is not finite; lower gan.optim.lr")
        for of, parameters in ((loss, list(generator.parameters())), (against, judges)):
            gradients = torch.autograd.grad(of, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        makes.step()
        judge.step()
    return generator.eval()


@torch.no_grad()
def repainted(generator: StarGAN, crops: CropSet, *, seed: int) -> torch.Tensor:
    """The crops after random groups, (N, 3, H, W) uint8."""
    group = torch.randint(generator.config.groups, (len(crops),), generator=torch.Generator().manual_seed(seed))
    pieces = zip(torch.split(crops.images, 128), torch.split(group, 128), strict=True)
    made = torch.cat([generator(images.float() / 127.5 - 1, wanted) for images, wanted in pieces])
    return ((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
