"""Losses of apparel-invariant features: alike in any clothes, silent about them, and told apart from look-alikes."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

LOOK_ALIKE = 0.2
"""Apparel distance 1 - cos below which two people are dressed alike."""
_ROUNDING = 1e-5  # of a mean of equal distances


def apparel_distance(apparel: Tensor) -> Tensor:
    """d_a = 1 - cos(z_a, z_b), (B, B), of embeddings (B, A)."""
    unit = F.normalize(apparel)
    return 1 - unit @ unit.T


def apparel_triplet(features: Tensor, labels: Tensor, apparel: Tensor, *, margin: float) -> Tensor:
    """Batch-hard triplets (Hermans et al., arXiv:1703.07737, eq. 5) that clothes cannot solve.

    The positive is the farthest of the same person among those whose clothes differ most from the anchor's (at least
    the mean of d_a over all of that person). The negative is the nearest of other people; for every second
    anchor only among those dressed like it (d_a < 0.2), where there are any. An anchor without a positive or a negative
    does not count; where none counts the loss is 0.

    Args:
        features: (B, D).
        labels: (B,) int.
        apparel: (B, A).
        margin: in units of the features.
    """
    squared = features.square().sum(dim=1)
    distance = (squared[:, None] + squared[None] - 2 * features @ features.T).clamp(min=1e-12).sqrt()
    apart = apparel_distance(apparel.detach())
    same = labels[:, None] == labels[None]
    alike = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    counts = alike.any(dim=1) & (~same).any(dim=1)
    if not bool(counts.any()):
        return features.sum() * 0
    mean = (apart * alike).sum(dim=1, keepdim=True) / alike.sum(dim=1, keepdim=True).clamp(min=1)
    positive = alike & (apart >= mean - _ROUNDING)
    look_alikes = ~same & (apart < LOOK_ALIKE)
    every_second = torch.arange(len(labels), device=labels.device) % 2 == 0
    narrowed = (every_second & look_alikes.any(dim=1))[:, None]
    negative = torch.where(narrowed, look_alikes, ~same)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(~negative, torch.inf).amin(dim=1)
    return F.relu(margin + farthest[counts] - nearest[counts]).mean()


def invariance(predicted: Tensor, features: Tensor) -> Tensor:
    """‖g(f(x)) - sg(f(x̃))‖² of (B, D), a mean over images; the other way round is another call."""
    return (predicted - features.detach()).square().sum(dim=1).mean()


def hsic(features: Tensor, apparel: Tensor) -> Tensor:
    """Hilbert-Schmidt independence criterion of (B, D) and (B, A): 0 where features tell nothing of apparel.

    Gretton et al., "Measuring Statistical Dependence with Hilbert-Schmidt Norms" (ALT 2005), eq. 9:
    tr(K H L H) / (B - 1)², with Gaussian kernels as wide as the median distance. Fewer than two rows: 0.
    """
    count = len(features)
    if count < 2:
        return features.sum() * 0
    centred = torch.eye(count, dtype=features.dtype, device=features.device) - 1 / count
    kernels = _gaussian(features) @ centred @ _gaussian(apparel.detach()) @ centred
    return kernels.diagonal().sum() / (count - 1) ** 2


def neighbour_agreement(plain: Tensor, dressed: Tensor, memory: Tensor, *, temperature: float) -> Tensor:
    """KL(p(x) ‖ p(x̃)) with p = softmax(f · memoryᵀ / T): both look at the same strangers (mean over images).

    Args:
        plain: f(x) (B, D), of length 1; p(x) takes no gradient.
        dressed: f(x̃) (B, D), of length 1.
        memory: (M, D) of length 1; with none the loss is 0.
        temperature: T.
    """
    if not len(memory):
        return dressed.sum() * 0
    wanted = (plain.detach() @ memory.T / temperature).softmax(dim=1)
    said = (dressed @ memory.T / temperature).log_softmax(dim=1)
    return F.kl_div(said, wanted, reduction="batchmean")


def _gaussian(rows: Tensor) -> Tensor:
    squared = rows.square().sum(dim=1)
    distance = (squared[:, None] + squared[None] - 2 * rows @ rows.T).clamp(min=0)
    return torch.exp(-distance / distance.detach().median().clamp(min=1e-6))
