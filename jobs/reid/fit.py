"""The training loop of person embeddings: plain torch, one process, the same weights for the same recipe and crops."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jobs.checkpoints import Checkpoint, Checkpoints, below, optimiser_state, restore_optimiser, under
from jobs.errors import UsageProblem
from jobs.recipes.reid import ReID, ReIDOptim
from jobs.reid.crops import CropSet
from jobs.reid.judge import validation
from jobs.reid.learner import Learner, PersonLearner
from jobs.reid.sampling import pk_batches
from models._registry import ModelConfig
from models.bnneck import PersonEmbedder

_WARMUP_START = 0.01


class ReIDEpoch(NamedTuple):
    """What an epoch achieved."""

    epoch: int  # from 1
    epochs: int  # at most
    train_loss: float  # all parts
    validation: dict[str, float]  # map, rank1, map_across, rank1_across over the people held out; empty without them
    best_epoch: int
    elapsed_s: float
    images_per_s: float  # learned from
    left_s: float  # to the last epoch, if the others take as long

    @property
    def rate(self) -> str:
        """How fast it goes, in words."""
        return f"{self.images_per_s:,.0f} images/s"


class FittedReID(NamedTuple):
    """The weights that were kept, and the reports of all epochs."""

    config: ModelConfig
    weights: dict[str, Tensor]
    reports: tuple[ReIDEpoch, ...]

    def model(self) -> PersonEmbedder:
        """The network, in evaluation mode, on the CPU."""
        model = self.config.build()
        assert isinstance(model, PersonEmbedder)  # what recipes of people build
        model.load_state_dict(self.weights)
        return model.eval()

    @property
    def best(self) -> ReIDEpoch:
        """The report of the epoch whose weights these are."""
        return self.reports[self.reports[-1].best_epoch - 1]


def fit(
    train: CropSet,
    held_out: CropSet,
    recipe: ReID,
    *,
    learner: Callable[[CropSet], Learner] | None = None,
    on_epoch: Callable[[ReIDEpoch], None] = lambda report: None,
    checkpoints: Checkpoints | None = None,
) -> FittedReID:
    """Train to the last epoch, or until the people held out are found no better.

    The same recipe and crops give the same weights on the same machine, whether or not the training was cut short and
    went on from a checkpoint.

    Args:
        train: crops to learn from, of two people at least.
        held_out: crops that are watched; may be none.
        recipe: network, losses, optimiser, seed.
        learner: makes what learns from `train`; None: a `PersonLearner`.
        on_epoch: told after every epoch.
        checkpoints: where to go on from, and what to renew after every epoch; None keeps none.

    Raises:
        UsageProblem: the weights to begin with do not fit, there is no such device, or the loss is not finite.
        CheckpointError: one cannot be written, or the one that is there cannot be used.
    """
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise UsageProblem("device=cuda: torch finds none here; --set device=cpu trains slowly")
    torch.set_num_threads(recipe.threads)
    with torch.random.fork_rng(devices=[]):  # fresh weights draw from torch's own generator
        torch.manual_seed(recipe.seed)
        learns = PersonLearner(train, recipe) if learner is None else learner(train)
    descent = _Descent(learns, train, held_out, recipe, checkpoints)
    descent.run(on_epoch)
    return FittedReID(recipe.network, descent.best_weights, tuple(descent.reports))


def learning_rate(epochs_done: float, optim: ReIDOptim) -> float:
    """Of a moment between two epochs: a line from a hundredth of `lr` up to it, then a cosine down to `lr_end`."""
    if epochs_done < optim.warmup_epochs:
        return optim.lr * (_WARMUP_START + (1 - _WARMUP_START) * epochs_done / optim.warmup_epochs)
    rest = max(optim.epochs - optim.warmup_epochs, 1)
    share = min((epochs_done - optim.warmup_epochs) / rest, 1.0)
    return optim.lr_end + (optim.lr - optim.lr_end) * (1 + math.cos(math.pi * share)) / 2


class _Descent:
    """Epochs over the crops; remembers the weights to keep."""

    def __init__(
        self, learner: Learner, train: CropSet, held_out: CropSet, recipe: ReID, checkpoints: Checkpoints | None
    ) -> None:
        self._train, self._held_out, self._recipe, self._checkpoints = train, held_out, recipe, checkpoints
        self._learner = learner.to(recipe.device)
        optim = recipe.optim
        learned = [each for each in self._learner.parameters() if each.requires_grad]
        self._optimiser = torch.optim.Adam(learned, lr=optim.lr, weight_decay=optim.weight_decay)
        self._chance = torch.Generator().manual_seed(recipe.seed)
        self._best = -math.inf
        self.best_weights: dict[str, Tensor] = {}
        self.reports: list[ReIDEpoch] = []
        self._started = time.monotonic()
        if checkpoints is not None and (latest := checkpoints.latest()) is not None:
            self._restore(latest)

    def run(self, on_epoch: Callable[[ReIDEpoch], None]) -> None:
        """Descend to the end."""
        optim = self._recipe.optim
        began, before = time.monotonic(), len(self.reports)
        best_epoch = self.reports[-1].best_epoch if self.reports else 0
        patience = optim.patience if optim.early_stop else optim.epochs
        while (epoch := len(self.reports) + 1) <= optim.epochs and epoch - 1 - best_epoch < patience:
            at = time.monotonic()
            loss, images = self._epoch(epoch)
            rate = images / max(time.monotonic() - at, 1e-9)
            found = validation(self._learner.embedder, self._held_out)
            if not optim.early_stop or found["map"] > self._best:
                self._best, best_epoch = found.get("map", 0.0), epoch
                self.best_weights = _copied(self._learner.embedder.state_dict())
            now = time.monotonic()
            left_s = (optim.epochs - epoch) * (now - began) / (epoch - before)
            report = ReIDEpoch(epoch, optim.epochs, loss, found, best_epoch, now - self._started, rate, left_s)
            self.reports.append(report)
            if self._checkpoints is not None:
                self._checkpoints.keep(self._checkpoint())
            on_epoch(report)

    def _epoch(self, epoch: int) -> tuple[float, int]:
        """One pass; its mean loss, and how many images it took."""
        recipe = self._recipe
        self._learner.train()
        self._learner.begin(epoch)
        # Anew for every epoch: what was drawn before it does not have to be kept in a checkpoint.
        chance = np.random.default_rng([recipe.seed, epoch])
        batches = pk_batches(
            self._train.identity, people=recipe.batch.people, images=recipe.batch.images, chance=chance
        )
        total, images = 0.0, 0
        for number, rows in enumerate(batches):
            for group in self._optimiser.param_groups:
                group["lr"] = learning_rate(epoch - 1 + number / len(batches), recipe.optim)
            loss = self._learner.loss_of(rows, self._chance)
            self._optimiser.zero_grad()
            torch.autograd.backward(loss)
            self._optimiser.step()
            total, images = total + loss.item(), images + len(rows)
            if not math.isfinite(total):
                raise UsageProblem(f"epoch {epoch}, batch {number}: the loss is not finite; lower optim.lr")
        return total / len(batches), images

    def _checkpoint(self) -> Checkpoint:
        moments, groups = optimiser_state(self._optimiser)
        tensors = {
            **under("learner", self._learner.state_dict()),
            **under("best", self.best_weights),
            **under("moments", moments),
            "chance": self._chance.get_state(),
        }
        reports = [report._asdict() for report in self.reports]
        return Checkpoint(tensors, {"best": self._best, "optimiser": groups, "reports": reports})

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors, progress = checkpoint
        self._learner.load_state_dict(below(tensors, "learner"))
        self.best_weights = below(tensors, "best")
        restore_optimiser(self._optimiser, below(tensors, "moments"), progress["optimiser"])
        self._chance.set_state(tensors["chance"].clone())
        self._best = progress["best"]
        self.reports = [ReIDEpoch(**report) for report in progress["reports"]]
        self._started -= self.reports[-1].elapsed_s


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in weights.items()}
