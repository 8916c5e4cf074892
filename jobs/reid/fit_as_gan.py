"""The training loop of AS-GAN: plain torch, one process, the same weights for the same recipe and crops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jobs.checkpoints import Checkpoint, Checkpoints, below, optimiser_state, restore_optimiser, under
from jobs.errors import UsageProblem
from jobs.recipes.as_gan import ASGANOptim, ASGANRecipe
from jobs.reid.as_gan_step import GANStep
from jobs.reid.crops import CropSet
from models._registry import ModelConfig
from models.as_gan import ASGAN
from models.bnneck import PersonEmbedder

Ints = npt.NDArray[np.int64]
_AT_ONCE = 256


class GANEpoch(NamedTuple):
    """What `optim.report_every` steps achieved."""

    epoch: int  # from 1
    epochs: int
    train_loss: float  # of the generator, all terms weighed
    terms: dict[str, float]  # each by its name, unweighed; means over the steps
    best_epoch: int
    elapsed_s: float
    images_per_s: float
    left_s: float  # if the others take as long

    @property
    def validation(self) -> dict[str, float]:
        """Nobody is held out."""
        return {}

    @property
    def rate(self) -> str:
        """How fast it goes, in words."""
        return f"{self.images_per_s:,.0f} images/s"


class FittedASGAN(NamedTuple):
    """The mean of the last weights, and all reports."""

    config: ModelConfig
    weights: dict[str, Tensor]
    reports: tuple[GANEpoch, ...]

    def model(self) -> ASGAN:
        """The network, in evaluation mode, on the CPU."""
        model = self.config.build()
        assert isinstance(model, ASGAN)  # what these recipes build
        model.load_state_dict(self.weights)
        return model.eval()

    @property
    def best(self) -> GANEpoch:
        """The last report."""
        return self.reports[-1]


def fit_as_gan(
    train: CropSet,
    recipe: ASGANRecipe,
    *,
    identity: PersonEmbedder | None = None,
    on_epoch: Callable[[GANEpoch], None] = lambda report: None,
    checkpoints: Checkpoints | None = None,
) -> FittedASGAN:
    """Train to the last step. Identities are used by one term alone, and only if its weight is above 0.

    The same recipe and crops give the same weights on the same machine, whether or not the training was cut short.

    Args:
        train: at least two crops.
        recipe: network, losses, optimiser, seed.
        identity: whose view of a head is kept; None: that term is off.
        on_epoch: told every `optim.report_every` steps.
        checkpoints: where to go on from, and what to renew as often; None keeps none.

    Raises:
        UsageProblem: too few crops, no such device, or a term that is not finite; the message names step and term.
        CheckpointError: one cannot be written, or the one that is there cannot be used.
    """
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise UsageProblem("device=cuda: torch finds none here; --set device=cpu trains slowly")
    if len(train) < 2:
        raise UsageProblem(f"{train.source}: {len(train)} crop(s); nobody can wear what another wears: 2 are the least")
    torch.set_num_threads(recipe.threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        descent = _Descent(train, recipe, identity, checkpoints)
    descent.run(on_epoch)
    return FittedASGAN(recipe.network, descent.kept(), tuple(descent.reports))


def rate_at(step: int, optim: ASGANOptim) -> float:
    """What the rates are multiplied by at a step, from 0."""
    stays = (1 - optim.decay) * optim.steps
    return 1.0 if step < stays else (optim.steps - step) / max(optim.steps - stays, 1)


def partners(crops: CropSet, rows: Ints, chance: np.random.Generator) -> Ints:
    """Another crop of the same person in the same clothes for each of these; itself where there is none.

    Where the data does not tell clothes, nobody is taken to change them.
    """
    worn = crops.identity if crops.clothes is None else crops.clothes
    others = []
    for row in rows.tolist():
        alike = np.flatnonzero((worn == worn[row]) & (crops.identity == crops.identity[row]))
        alike = alike[alike != row]
        others.append(int(chance.choice(alike)) if len(alike) else row)
    return np.array(others)


class _Descent:
    """Steps over the crops; keeps the mean of the weights."""

    def __init__(
        self, train: CropSet, recipe: ASGANRecipe, identity: PersonEmbedder | None, checkpoints: Checkpoints | None
    ) -> None:
        self._train, self._recipe, self._checkpoints = train, recipe, checkpoints
        self._step = GANStep(recipe, identity).to(recipe.device)
        self._mean = recipe.network.build()
        self._mean.load_state_dict(self._step.network.state_dict())
        optim = recipe.optim
        self._optimisers = [
            torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.999))
            for parameters, lr in (
                (self._step.network.parameters(), optim.lr),
                (self._step.discriminator.parameters(), optim.lr_discriminator),
            )
        ]
        self.reports: list[GANEpoch] = []
        self._started = time.monotonic()
        if checkpoints is not None and (latest := checkpoints.latest()) is not None:
            self._restore(latest)

    def run(self, on_epoch: Callable[[GANEpoch], None]) -> None:
        """Descend to the end."""
        optim = self._recipe.optim
        epochs = math.ceil(optim.steps / optim.report_every)
        began, before = time.monotonic(), len(self.reports)
        while (epoch := len(self.reports) + 1) <= epochs:
            at = time.monotonic()
            steps = range((epoch - 1) * optim.report_every, min(epoch * optim.report_every, optim.steps))
            told = [self._at(step) for step in steps]
            names = dict.fromkeys(name for each in told for name in each)  # not every step has them all
            terms = {name: float(np.mean([each[name] for each in told if name in each])) for name in names}
            now = time.monotonic()
            rate = len(steps) * optim.batch / max(now - at, 1e-9)
            left_s = (epochs - epoch) * (now - began) / (epoch - before)
            total = terms.pop("total")
            report = GANEpoch(epoch, epochs, total, terms, epoch, now - self._started, rate, left_s)
            self.reports.append(report)
            if self._checkpoints is not None:
                self._checkpoints.keep(self._checkpoint())
            on_epoch(report)

    def kept(self) -> dict[str, Tensor]:
        """The mean of the weights, with a bank of what the crops wear."""
        self._mean.eval()
        with torch.no_grad():
            for piece in torch.split(self._train.images, _AT_ONCE):
                self._mean.remember(self._mean.apparel(piece.to(self._recipe.device).float() / 127.5 - 1))
        return {name: value.detach().cpu().clone() for name, value in self._mean.state_dict().items()}

    def _at(self, step: int) -> dict[str, float]:
        """One step of the discriminator and one of the generator; the terms by name."""
        recipe, optim = self._recipe, self._recipe.optim
        # Anew for every step: a checkpoint has no generator to remember.
        chance = np.random.default_rng([recipe.seed, step])
        draws = torch.Generator().manual_seed(int(chance.integers(2**62)))
        rows = chance.choice(len(self._train), optim.batch, replace=len(self._train) < optim.batch)
        images = self._images(rows, chance)
        same = self._images(partners(self._train, rows, chance), chance)
        for optimiser, lr in zip(self._optimisers, (optim.lr, optim.lr_discriminator), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = lr * rate_at(step, optim)
        share = (step / optim.steps - optim.cycle_from) / max(1 - optim.cycle_from, 1e-9)
        generator_terms, made = self._step.generator_terms(images, same, draws, cycle=min(max(2 * share, 0.0), 1.0))
        discriminator_terms = self._step.discriminator_terms(
            images, made, penalise=step % optim.penalty_every == 0, weight=optim.penalty_every
        )
        total = sum(generator_terms.weighed.values(), torch.zeros((), device=images.device))
        told = {**generator_terms.plain, **discriminator_terms}
        self._refuse_unless_finite(step, told)
        own = sum(discriminator_terms.values(), torch.zeros((), device=images.device))
        for optimiser, loss, whose in zip(
            self._optimisers, (total, own), (self._step.network, self._step.discriminator), strict=True
        ):
            gradients = torch.autograd.grad(loss, list(whose.parameters()), allow_unused=True)
            for parameter, gradient in zip(whose.parameters(), gradients, strict=True):
                parameter.grad = gradient
            norm = torch.nn.utils.clip_grad_norm_(whose.parameters(), 10.0)
            self._refuse_unless_finite(step, {f"gradient of the {type(whose).__name__}": norm})
            optimiser.step()
        self._average(step)
        return {"total": float(total.detach()), **{name: float(value.detach()) for name, value in told.items()}}

    def _images(self, rows: Ints, chance: np.random.Generator) -> Tensor:
        images = self._train.images[torch.from_numpy(rows)].float() / 127.5 - 1
        mirrored = torch.from_numpy(chance.random(len(rows)) < self._recipe.flip).view(-1, 1, 1, 1)
        return torch.where(mirrored, images.flip(3), images).to(self._recipe.device)

    def _refuse_unless_finite(self, step: int, terms: Mapping[str, Tensor]) -> None:
        for name, value in terms.items():
            if not math.isfinite(float(value.detach())):
                done = len(self.reports) * self._recipe.optim.report_every
                kept = f"the checkpoint of step {done} is kept" if done and self._checkpoints else "nothing is kept"
                raise UsageProblem(f"step {step}: {name} is not finite; {kept}; lower optim.lr or that term's weight")

    @torch.no_grad()
    def _average(self, step: int) -> None:
        decay = min(self._recipe.optim.average, (1 + step) / (10 + step))  # fresh weights are soon forgotten
        own = self._step.network.state_dict()
        for name, mean in self._mean.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(own[name].to(mean.device), 1 - decay)

    def _checkpoint(self) -> Checkpoint:
        moments: dict[str, Tensor] = {}
        groups = []
        for number, optimiser in enumerate(self._optimisers):
            tensors, group = optimiser_state(optimiser)
            moments |= under(f"moments{number}", tensors)
            groups.append(group)
        tensors = {
            **under("network", self._step.network.state_dict()),
            **under("discriminator", self._step.discriminator.state_dict()),
            **under("mean", self._mean.state_dict()),
            **moments,
        }
        return Checkpoint(tensors, {"optimisers": groups, "reports": [each._asdict() for each in self.reports]})

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors, progress = checkpoint
        self._step.network.load_state_dict(below(tensors, "network"))
        self._step.discriminator.load_state_dict(below(tensors, "discriminator"))
        self._mean.load_state_dict(below(tensors, "mean"))
        for number, (optimiser, groups) in enumerate(zip(self._optimisers, progress["optimisers"], strict=True)):
            restore_optimiser(optimiser, below(tensors, f"moments{number}"), groups)
        self.reports = [GANEpoch(**report) for report in progress["reports"]]
        self._started -= self.reports[-1].elapsed_s


def what_decides(recipe: ASGANRecipe) -> dict[str, object]:
    """The fields of a recipe that decide the weights: neither where it runs nor where the data lies."""
    return {name: value for name, value in asdict(recipe).items() if name not in ("data", "threads")}
