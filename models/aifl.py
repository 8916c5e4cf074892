"""AIFL: apparel-invariant feature learning, around any network that embeds people.

Yu et al., "Apparel-invariant Feature Learning for Person Re-identification" (arXiv:2008.06181): a semi-supervised
framework that learns from images of the same person in other clothes, which a generator makes (`models.as_gan`). The
objective is ours, since only the paper's abstract could be had; with f the unit embedding, f_t what it is made of, x̃
an image x in other clothes, z their apparel embeddings, W rows of length 1, s a scale, and sg a stop of the gradient:

    L_id  = CE(s W f(x), y) + CE(s W f(x̃), y)
    L_tri = batch-hard triplets on f_t(x) and f_t(x̃) that clothes cannot solve
    L_inv = ‖g(f(x)) - sg f(x̃)‖² + ‖g(f(x̃)) - sg f(x)‖²
    L_dec = HSIC(f(x), z)
    L_unl = L_inv + 0.5 KL(p(x) ‖ p(x̃)) of images without identity, p over a memory of 4,096 of them
    L     = L_id + 1.0 L_tri + 0.5 L_inv + 0.05 L_dec + 0.5 L_unl + 5e-4 L_centre

Identities are classified by the cosines that people are found by (Wang et al., "NormFace", arXiv:1704.06369, eq. 6), a
departure from the linear layer of the baseline.

Nothing of it is left after training: `AIFL.embedder` is the network that was given, and serves as it would have without
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from models.bnneck import PersonEmbedder
from models.losses.invariance import apparel_triplet, hsic, invariance, neighbour_agreement
from models.losses.person import CentreLoss, smoothed_cross_entropy


@dataclass(frozen=True)
class AIFLWeights:
    """Weight of each term, 0: off; and the numbers that belong to one."""

    identity: float = 1.0  # of x
    dressed_identity: float = 1.0  # of x̃
    triplet: float = 1.0
    invariance: float = 0.5
    decorrelation: float = 0.05
    unlabelled: float = 0.5
    centre: float = 5e-4
    margin: float = 0.3
    smoothing: float = 0.1
    scale: float = 16.0  # of the cosines that identities are classified by
    agreement: float = 0.5  # of the KL within L_unl
    memory: int = 4096
    temperature: float = 0.07


class Pair(NamedTuple):
    """N images, and the same people in other clothes."""

    images: Tensor  # x (N, 3, H, W) float32 RGB in [0, 1]
    dressed: Tensor  # x̃ (N, 3, H, W)
    apparel: Tensor  # z of x (N, A)
    dressed_apparel: Tensor  # z of x̃ (N, A)


class AIFL(nn.Module):
    """A network that embeds people, and what only its training needs.

    Args:
        embedder: any; its file knows nothing of this.
        people: N whose identity is known.
        weights: of the terms.
        dtype: the backbone computes in; the terms are in float32.
    """

    memory: Tensor
    memory_size: Tensor
    memory_next: Tensor

    def __init__(
        self, embedder: PersonEmbedder, people: int, weights: AIFLWeights, *, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.weights, self.embedder, self._dtype = weights, embedder, dtype
        dim = embedder.dim
        self.classifier = nn.Linear(dim, people, bias=False)
        self.centres = CentreLoss(people, dim)
        self.projector = nn.Sequential(
            nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(inplace=True), nn.Linear(dim, dim)
        )
        self.register_buffer("memory", torch.zeros(weights.memory, dim))
        self.register_buffer("memory_size", torch.zeros((), dtype=torch.int64))
        self.register_buffer("memory_next", torch.zeros((), dtype=torch.int64))

    def forward(
        self, pair: Pair, labels: Tensor, used: Tensor, unlabelled: Pair | None = None, *, ramp: float = 1.0
    ) -> dict[str, Tensor]:
        """Each term by its name, weighed; their sum is what to descend.

        Args:
            pair: B people, K of whose x̃ are used.
            labels: (B,) int, 0 to N - 1.
            used: (B,) bool, whose x̃ is learned from.
            unlabelled: U people whose identity nobody knows; None: the terms of them are off.
            ramp: 0 to 1, of the weights of all but identities and centres.
        """
        w, count = self.weights, len(labels)
        dressed = pair.dressed[used]
        parts = [pair.images, dressed]
        if unlabelled is not None and w.unlabelled and ramp:
            parts += [unlabelled.images, unlabelled.dressed]
        sizes = [len(part) for part in parts]
        pooled = self.embedder.pooled_in(self._dtype, torch.cat(parts))
        necked = self.embedder.neck(pooled)
        plain_f, dressed_f, *rest = torch.split(F.normalize(necked), sizes)
        everybody = torch.cat([labels, labels[used]])
        worn = torch.cat([pair.apparel, pair.dressed_apparel[used]])
        known, known_pooled = necked[: len(everybody)], pooled[: len(everybody)]
        terms: dict[str, Tensor] = {}
        if w.identity:
            terms["identity"] = w.identity * self._identity(known[:count], labels)
        if w.dressed_identity and len(dressed):
            terms["dressed_identity"] = w.dressed_identity * self._identity(known[count:], labels[used])
        if w.triplet and ramp:
            terms["triplet"] = ramp * w.triplet * apparel_triplet(known_pooled, everybody, worn, margin=w.margin)
        if w.centre:
            terms["centre"] = w.centre * self.centres(known_pooled, everybody)
            self.centres.move(known_pooled.detach(), everybody)
        if w.invariance and ramp and len(dressed) > 1:  # the projector's norm needs two
            terms["invariance"] = ramp * w.invariance * self._invariance(plain_f[used], dressed_f)
        if w.decorrelation and ramp:
            both = torch.cat([plain_f, dressed_f])
            terms["decorrelation"] = ramp * w.decorrelation * hsic(both, worn)
        if rest:
            plain_u, dressed_u = rest
            agreement = neighbour_agreement(
                plain_u, dressed_u, self.memory[: int(self.memory_size)].clone(), temperature=w.temperature
            )
            alike = self._invariance(plain_u, dressed_u) if len(plain_u) > 1 else plain_u.sum() * 0
            terms["unlabelled"] = ramp * w.unlabelled * (alike + w.agreement * agreement)
            self._remember(plain_u.detach())
        return terms

    def _identity(self, necked: Tensor, labels: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(necked), F.normalize(self.classifier.weight))
        return smoothed_cross_entropy(self.weights.scale * cosines, labels, smoothing=self.weights.smoothing)

    def _invariance(self, plain: Tensor, dressed: Tensor) -> Tensor:
        return invariance(self.projector(plain), dressed) + invariance(self.projector(dressed), plain)

    @torch.no_grad()
    def _remember(self, features: Tensor) -> None:
        size = len(self.memory)
        new = features[-size:]
        self.memory[(int(self.memory_next) + torch.arange(len(new), device=new.device)) % size] = new
        self.memory_next.fill_((int(self.memory_next) + len(new)) % size)
        self.memory_size.fill_(min(int(self.memory_size) + len(new), size))
