"""Training of a baseline network: plain torch, one process, early stopping on matches held out of the training set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from jobs.datasets import MatchSet, frame_outcomes, split_by_match
from models.baselines import FrameInputs
from models.losses import frame_weights, win_loss

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
_EVALUATED_AT_ONCE = 256


@dataclass(frozen=True)
class NetworkRecipe:
    """AdamW with a cosine down to nothing; the weights of the best epoch are kept."""

    lr: float = 3e-3
    weight_decay: float = 0.03
    clip_norm: float = 1.0
    batch_matches: int = 64
    epochs: int = 30
    patience: int = 6  # epochs without a better log-loss on the matches held out
    held_out: float = 0.15  # share of the training matches
    seed: int = 0


def fit_network(make: Callable[[], nn.Module], train: MatchSet, recipe: NetworkRecipe) -> nn.Module:
    """A trained network in evaluation mode; the same data and recipe give the same weights on the same machine.

    Args:
        make: a network with fresh weights, with a `FrameInputs` as `inputs`.
        train: at least two matches.
        recipe: how.
    """
    split = split_by_match(train, share=recipe.held_out, seed=recipe.seed)
    with torch.random.fork_rng(devices=[]):  # dropout and fresh weights draw from torch's own generator
        torch.manual_seed(recipe.seed)
        network = make()
        return _fit(network, split.train, split.held_out, recipe).eval()


def network_probs(network: nn.Module, matches: MatchSet) -> npt.NDArray[np.float64]:
    """P(A wins) for every real frame, in the order of `matches.mask.nonzero()`."""
    network.eval()
    parts = []
    with torch.no_grad():
        for positions in torch.split(torch.arange(len(matches)), _EVALUATED_AT_ONCE):
            part = matches.take(positions)
            logits = network(part.features, part.clock_s, part.mask)
            parts.append(logits[part.mask].double().sigmoid())
    return torch.cat(parts).numpy()


def _fit(network: nn.Module, train: MatchSet, held_out: MatchSet, recipe: NetworkRecipe) -> nn.Module:
    inputs = network.inputs
    if not isinstance(inputs, FrameInputs):
        raise TypeError(f"{type(network).__name__}.inputs must be FrameInputs")
    inputs.scale.fit(train.features[train.mask], train.clock_s[train.mask])
    shuffle = torch.Generator().manual_seed(recipe.seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * -(-len(train) // recipe.batch_matches)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, best_epoch, kept = float("inf"), 0, _copied(network)
    for epoch in range(1, recipe.epochs + 1):
        network.train()
        for positions in torch.split(torch.randperm(len(train), generator=shuffle), recipe.batch_matches):
            part = train.take(positions)
            logits = network(part.features, part.clock_s, part.mask)
            loss = win_loss(logits, part.won, frame_weights(part.mask, per_match=False))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimiser.step()
            schedule.step()
        nats = _log_loss(network, held_out)
        if nats < best:
            best, best_epoch, kept = nats, epoch, _copied(network)
        if epoch - best_epoch >= recipe.patience:
            break
    network.load_state_dict(kept)
    return network


def _log_loss(network: nn.Module, matches: MatchSet) -> float:
    from models.metrics import log_loss

    return log_loss(network_probs(network, matches), frame_outcomes(matches))


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
