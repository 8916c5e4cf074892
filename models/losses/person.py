"""Losses of person embeddings: who it is, who is near whom, and how close people keep together."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn


def batch_hard_triplet(features: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    """Mean over anchors of max(0, margin + farthest of the same person - nearest of another), Euclidean.

    Hermans et al., "In Defense of the Triplet Loss" (arXiv:1703.07737), eq. 5. An anchor that is alone of its person,
    or has no other person in the batch, does not count; where none counts the loss is 0.

    Args:
        features: (B, D).
        labels: (B,) int.
        margin: in units of the features.
    """
    squared = features.square().sum(dim=1)
    distance = (squared[:, None] + squared[None] - 2 * features @ features.T).clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels[None]
    alike = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = distance.masked_fill(~alike, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    counts = alike.any(dim=1) & (~same).any(dim=1)
    if not bool(counts.any()):
        return features.sum() * 0
    return F.relu(margin + farthest[counts] - nearest[counts]).mean()


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Mean cross-entropy in nats against 1 - ε for the right class and ε/N for every class.

    Szegedy et al. (arXiv:1512.00567), §7. logits (B, N), labels (B,) int.
    """
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


class CentreLoss(nn.Module):
    """Half the mean squared distance of each feature to the centre of its person.

    Wen et al., "A Discriminative Feature Learning Approach" (ECCV 2016): centres are no parameters; `move` brings them
    nearer to their features by eq. 4, at rate α.
    """

    centres: Tensor

    def __init__(self, people: int, dim: int, *, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("centres", torch.zeros(people, dim))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Features (B, D), labels (B,) int."""
        return (features - self.centres[labels]).square().sum(dim=1).mean() / 2

    @torch.no_grad()
    def move(self, features: Tensor, labels: Tensor) -> None:
        """One step of the centres towards these features."""
        people = len(self.centres)
        seen = torch.bincount(labels, minlength=people).to(features.dtype)
        gap = torch.zeros_like(self.centres).index_add_(0, labels, self.centres[labels] - features)
        self.centres -= self.rate * gap / (1 + seen[:, None])


class PersonLosses(NamedTuple):
    """The parts of `PersonLoss`; `total` is what to descend."""

    total: Tensor
    identity: Tensor
    triplet: Tensor
    centre: Tensor


class PersonLoss(nn.Module):
    """Luo et al. 2019, eq. 7: smoothed cross-entropy of f_i, batch-hard triplet and centre loss of f_t.

    It holds the classifier of the people to learn from, which nobody needs afterwards.

    Args:
        people: N of them.
        dim: D of the embedding.
        triplet: weight of the triplet loss.
        margin: of it.
        smoothing: ε of the cross-entropy.
        centre: weight of the centre loss.
    """

    def __init__(
        self,
        people: int,
        dim: int,
        *,
        triplet: float = 1.0,
        margin: float = 0.3,
        smoothing: float = 0.1,
        centre: float = 5e-4,
    ) -> None:
        super().__init__()
        self.triplet, self.margin, self.smoothing, self.centre = triplet, margin, smoothing, centre
        self.classifier = nn.Linear(dim, people, bias=False)
        self.centres = CentreLoss(people, dim)

    def forward(self, pooled: Tensor, necked: Tensor, labels: Tensor) -> PersonLosses:
        """Of f_t (B, D), f_i before it is made of unit length (B, D), and labels (B,) from 0 to N - 1."""
        identity = smoothed_cross_entropy(self.classifier(necked), labels, smoothing=self.smoothing)
        triplet = batch_hard_triplet(pooled, labels, margin=self.margin)
        centre = self.centres(pooled, labels)
        return PersonLosses(identity + self.triplet * triplet + self.centre * centre, identity, triplet, centre)
