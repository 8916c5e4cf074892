"""Losses of win prediction. Frames carry weights, 0 for padding; matches carry the outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from models.tsstn import WinEstimate


def win_loss(logits: Tensor, won: Tensor, weight: Tensor, total: Tensor | None = None) -> Tensor:
    """Weighted mean cross-entropy in nats. logits, weight (B, T); won (B,), 1 if camp A won, else 0.

    `total`, here and below, is what to divide by in place of the sum of these weights: see `TSSTNLoss.forward`.
    """
    target = won[:, None].expand_as(logits)
    nats = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (nats * weight).sum() / (weight.sum() if total is None else total)


def weight_roughness(weights: Tensor, frame_weight: Tensor, total: Tensor | None = None) -> Tensor:
    """Mean change of the group weights between two frames, Σ_g |w_t - w_(t-1)|. weights (B, T, G)."""
    moved = (weights[:, 1:] - weights[:, :-1]).abs().sum(dim=-1)
    total = frame_weight[:, 1:].sum() if total is None else total
    return (moved * frame_weight[:, 1:]).sum() / total.clamp(min=1e-12)


def entropy_shortfall(weights: Tensor, frame_weight: Tensor, *, floor: float, total: Tensor | None = None) -> Tensor:
    """Mean of max(0, floor - H(w)) in nats: looking at one group only explains nothing. weights (B, T, G)."""
    entropy: Tensor = -torch.special.xlogy(weights, weights.clamp(min=1e-12)).sum(dim=-1)
    total = frame_weight.sum() if total is None else total
    return ((floor - entropy).clamp(min=0) * frame_weight).sum() / total


def frame_weights(mask: Tensor, *, per_match: bool) -> Tensor:
    """Weight of each frame (B, T): 1 for real frames, or 1/T so that every match counts the same."""
    weight = mask.float()
    return weight / weight.sum(dim=1, keepdim=True).clamp(min=1) if per_match else weight


class NamedLosses(NamedTuple):
    """The parts of a TSSTN loss, in nats (roughness has no unit); `total` is what to descend."""

    total: Tensor
    win: Tensor
    score: Tensor
    roughness: Tensor
    entropy: Tensor


class TSSTNLoss(nn.Module):
    """Dossier §5: cross-entropy of the answer, of each group's score alone, smooth weights, an entropy floor.

    Each score is judged alone through σ(κ_g s_g) with a learned κ_g > 0, where its group is known.
    """

    def __init__(
        self, groups: int, *, score: float = 0.3, roughness: float = 0.05, entropy: float = 0.01, floor: float = 0.5
    ) -> None:
        super().__init__()
        self.score, self.roughness, self.entropy, self.floor = score, roughness, entropy, floor
        self.log_kappa = nn.Parameter(torch.zeros(groups))

    @staticmethod
    def sums(estimate: WinEstimate, weight: Tensor) -> Tensor:
        """What the parts are divided by, (3,): the weights of frames, of scores of known groups, and of moves."""
        known = (estimate.weights > 0) * weight[..., None]
        return torch.stack([weight.sum(), known.sum(), weight[:, 1:].sum()])

    def forward(
        self,
        estimate: WinEstimate,
        won: Tensor,
        weight: Tensor,
        totals: Callable[[Tensor], Tensor] = lambda own: own,
    ) -> NamedLosses:
        """Losses of whole matches: estimate (B, T, ...), won (B,), weight (B, T).

        Each part is a sum over a sum of weights. Where matches of one batch lie on several workers, which average their
        gradients, `totals` gives for `sums` their mean over the workers: then the average of the workers' losses is the
        loss of the whole batch, however unequal the shares. Where a batch is learned from piece by piece, it gives
        those of the whole batch: then the sum of the pieces' losses is.
        """
        alone = estimate.scores * self.log_kappa.exp()  # (B, T, G)
        known = (estimate.weights > 0) * weight[..., None]
        frames, scored, moves = totals(self.sums(estimate, weight))
        target = won[:, None, None].expand_as(alone)
        nats = F.binary_cross_entropy_with_logits(alone, target, reduction="none")
        win = win_loss(estimate.logits, won, weight, frames)
        score = (nats * known).sum() / scored.clamp(min=1e-12)
        roughness = weight_roughness(estimate.weights, weight, moves)
        entropy = entropy_shortfall(estimate.weights, weight, floor=self.floor, total=frames)
        total = win + self.score * score + self.roughness * roughness + self.entropy * entropy
        return NamedLosses(total, win, score, roughness, entropy)
