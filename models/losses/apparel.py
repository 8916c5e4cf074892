"""Losses of AS-GAN, each by its name: what makes a person in other clothes believable, obedient and the same person.

x_i is the source, z_j the target embedding, x̃ = G(x_i, z_j). Images are (B, 3, H, W) in [-1, 1], masks (B, 1, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

_MIXES, _HALF_SWAPS = 0.15, 0.15
_CHIN = 0.16  # of the height: below it are clothes, down to the soles, since shoes are changed as well
_HEAD_SHARE = 0.25  # of the height: where maps see a head
_ALPHA_ROUGHNESS = 0.1
_ALIKE = 0.15  # how far apart colours are, a channel, in [-1, 1], before neighbours are hardly one thing any more
_REACH_PX = 1, 2  # of neighbours
_SIDE = 0.2  # of the width: background more often than not
_BLEND = 0.2
_TEMPERATURE = 0.1


@dataclass(frozen=True)
class ASGANLossWeights:
    """Weight of each term of the generator, and the numbers that belong to one."""

    adversarial: float = 1.0
    self_reconstruction: float = 5.0
    same_identity_reconstruction: float = 5.0  # 0: no use of identities
    embedding_recovery: float = 1.0
    apparel_contrast: float = 1.0  # departure: keeps embeddings apart
    cycle: float = 2.0  # reached in a line
    structure_keep: float = 1.0
    mask_budget: float = 1.0
    mask_share: float = 0.55  # of a picture that may be painted for nothing
    mask_affinity: float = 1.0  # departure: neighbours of one colour are painted together
    head_keep: float = 10.0
    identity_keep: float = 0.5
    gradient_penalty: float = 0.01  # R1, of the discriminator


def adversarial_of_discriminator(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """LSGAN (Mao et al., arXiv:1611.04076), eq. 2: E(D(x) - 1)² + E D(x̃)², mean over scales (B, 1, h, w)."""
    terms = [(r - 1).square().mean() + m.square().mean() for r, m in zip(real, made, strict=True)]
    return torch.stack(terms).mean()


def adversarial(made: Sequence[Tensor]) -> Tensor:
    """Of the generator: E(D(x̃) - 1)², mean over scales (B, 1, h, w)."""
    return torch.stack([(each - 1).square().mean() for each in made]).mean()


def gradient_penalty(real: Sequence[Tensor], images: Tensor) -> Tensor:
    """R1 (Mescheder et al., arXiv:1801.04406), eq. 9: E ‖∇ₓ D(x)‖², of real images that require a gradient."""
    total = torch.stack([each.mean(dim=(1, 2, 3)).sum() for each in real]).sum()
    (slope,) = torch.autograd.grad(total, images, create_graph=True)
    return slope.square().sum(dim=(1, 2, 3)).mean()


def reconstruction(made: Tensor, wanted: Tensor) -> Tensor:
    """‖x̃ - x‖₁, a mean over everything: of a person in their own clothes, and of the cycle."""
    return (made - wanted).abs().mean()


def painted_reconstruction(painted: Tensor, made: Tensor, wanted: Tensor) -> Tensor:
    """Reconstruction of the painted layer where garments are, and a fifth of that of the blend.

    Departure: of the blend alone α = 0 would make it perfect, and the painter would learn nothing.
    """
    painter = reconstruction(where_garments_are(painted), where_garments_are(wanted))
    return painter + _BLEND * reconstruction(made, wanted)


def embedding_recovery(seen: Tensor, wanted: Tensor) -> Tensor:
    """‖E_a(x̃) - z_j‖₁, summed over the embedding (B, D), per half of it; the target takes no gradient."""
    return (seen - wanted.detach()).abs().sum(dim=1).mean() / 2


def embedding_information(seen: Tensor, wanted: Tensor) -> Tensor:
    """‖Q(x̃) - z_j‖², (B, D): what InfoGAN (Chen et al., arXiv:1606.03657) asks of its codes."""
    return (seen - wanted.detach()).square().sum(dim=1).mean()


def structure_keep(made: Tensor, source: Tensor) -> Tensor:
    """‖E_s(x̃) - E_s(x_i)‖₁ of maps (B, C, h, w); the source's take no gradient."""
    return (made - source.detach()).abs().mean()


def mask_budget(alpha: Tensor, *, share: float) -> Tensor:
    """max(0, mean α - share), of each image, and a tenth of the total variation of α."""
    over = F.relu(alpha.mean(dim=(1, 2, 3)) - share).mean()
    rough = (alpha[:, :, 1:] - alpha[:, :, :-1]).abs().mean() + (alpha[:, :, :, 1:] - alpha[:, :, :, :-1]).abs().mean()
    return over + _ALPHA_ROUGHNESS * rough


def mask_affinity(alpha: Tensor, images: Tensor) -> Tensor:
    """-log P(α_p and α_q say the same) of neighbours p, q, weighed by how alike their colours are in the source.

    Departure, after the pairwise term of Tian et al., "BoxInst" (arXiv:2012.02310), eq. 4: a sleeve is painted with the
    jacket that it belongs to. Without it a patch in the middle is enough to obey an embedding, and whoever learns from
    x̃ reads clothes off what was left of them.
    """
    terms = []
    for reach in _REACH_PX:
        for down, right in ((0, reach), (reach, 0), (reach, reach), (reach, -reach)):
            (a, b), (p, q) = _neighbours(alpha, down, right), _neighbours(images, down, right)
            weight = torch.exp(-(p - q).square().mean(dim=1, keepdim=True) / _ALIKE**2)
            agree = a * b + (1 - a) * (1 - b)
            terms.append(-(weight * agree.clamp(min=1e-6).log()).sum() / weight.sum().clamp(min=1e-6))
    return torch.stack(terms).mean()


def _neighbours(maps: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """Every place that has a neighbour so many pixels away, and that neighbour, (B, C, h, w) each."""
    height, width = maps.shape[2:]
    own = maps[:, :, : height - down, max(-right, 0) : width - max(right, 0)]
    return own, maps[:, :, down:, max(right, 0) : width + min(right, 0)]


def head_keep(made: Tensor, source: Tensor) -> Tensor:
    """‖(1 - M_app) ⊙ (x̃ - x_i)‖₁ with M_app the rows of garments: heads are not repainted."""
    first = _first_row(source)
    return (made[:, :, :first] - source[:, :, :first]).abs().mean()


def identity_keep(made: Tensor, source: Tensor) -> Tensor:
    """1 - cos(φ_h(x̃), φ_h(x_i)) of features (B, D) of heads."""
    return (1 - F.cosine_similarity(made, source.detach(), dim=1)).mean()


def head_alone(images: Tensor, fill: float = 0.0) -> Tensor:
    """Images (B, 3, H, W) with everything below the head painted over.

    Departure: pooling the rows of the head is not enough, since a feature sees far more than its row, and a jacket that
    changes would count as a head that does.
    """
    first = _first_row(images)
    return torch.cat([images[:, :, :first], torch.full_like(images[:, :, first:], fill)], dim=2)


def head_features(maps: Tensor) -> Tensor:
    """φ_h (B, C): maps (B, C, h, w) of a frozen backbone of `head_alone`, pooled over the upper rows."""
    rows = max(round(_HEAD_SHARE * maps.shape[2]), 1)
    return maps[:, :, :rows].mean(dim=(2, 3))


def apparel_contrast(worn: Tensor, same: Tensor) -> Tensor:
    """InfoNCE (van den Oord et al., arXiv:1807.03748) of each half of E_a(x_i) and E_a(x_i') among the batch (B, D).

    Departure: reconstruction alone lets embeddings shrink to one point, where every target is obeyed by doing nothing.
    The same clothes in another picture are the same, and no label of clothes is asked for.
    """
    right = torch.arange(len(worn), device=worn.device)
    halves = zip(worn.chunk(2, dim=1), same.chunk(2, dim=1), strict=True)
    return torch.stack([F.cross_entropy(own @ other.T / _TEMPERATURE, right) for own, other in halves]).mean()


def where_garments_are(images: Tensor) -> Tensor:
    """The rows of M_app and the columns around the middle (B, C, rows, columns)."""
    width = images.shape[3]
    return images[:, :, _first_row(images) :, round(_SIDE * width) : round((1 - _SIDE) * width)]


def target_embeddings(apparel: Tensor, chance: torch.Generator) -> Tensor:
    """Targets z (B, D) from the embeddings of a batch (B, D): each somebody else's, without any label.

    70 % are another's, 15 % lie between two others', 15 % have the upper half of one and the lower half of another.
    A batch of one keeps its own.
    """
    count, dim = apparel.shape
    if count < 2:
        return apparel

    def others() -> Tensor:
        apart = torch.randint(1, count, (count,), generator=chance)
        return apparel[((torch.arange(count) + apart) % count).to(apparel.device)]

    first, second = others(), others()
    share = torch.rand(count, 1, generator=chance).to(apparel.device)
    mixed = _unit_halves(share * first + (1 - share) * second)
    swapped = torch.cat([first[:, : dim // 2], second[:, dim // 2 :]], dim=1)
    lot = torch.rand(count, 1, generator=chance).to(apparel.device)
    return torch.where(lot < _MIXES, mixed, torch.where(lot < _MIXES + _HALF_SWAPS, swapped, first))


def _unit_halves(apparel: Tensor) -> Tensor:
    return F.normalize(apparel.view(len(apparel), 2, -1), dim=2).flatten(1)


def _first_row(images: Tensor) -> int:
    return round(_CHIN * images.shape[2])
