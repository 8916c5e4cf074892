"""The discriminator of a generator of people: real or not, patch by patch, at several sizes."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn


class Verdicts(NamedTuple):
    """What the discriminator says of B images."""

    real: tuple[Tensor, ...]  # by scale (B, 1, h, w): 1 real, 0 made
    apparel: Tensor  # Q (B, D): the embedding that it sees


class MultiScaleDiscriminator(nn.Module):
    """PatchGANs (Isola et al., arXiv:1611.07004) of x, x/2, x/4, ..., as in DG-Net and MUNIT; and Q, a head that reads
    the apparel embedding off the trunk of the first: two halves of length 1.

    Args:
        width: channels of the first layer.
        dim: D of the embedding.
        scales: how many sizes.
    """

    def __init__(self, width: int, dim: int, *, scales: int = 3) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(_trunk(width) for _ in range(scales))
        self.heads = nn.ModuleList(nn.Conv2d(4 * width, 1, 1) for _ in range(scales))
        self.recover = nn.Linear(2 * 4 * width, dim)
        self.dim = dim

    def forward(self, images: Tensor) -> Verdicts:
        """Images (B, 3, H, W) in [-1, 1]."""
        real = []
        for number, (trunk, head) in enumerate(zip(self.trunks, self.heads, strict=True)):
            maps = trunk(images)
            if number == 0:
                upper_and_lower = F.adaptive_avg_pool2d(maps, (2, 1)).flatten(1)
            real.append(head(maps))
            images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
        halves = self.recover(upper_and_lower).view(len(upper_and_lower), 2, self.dim // 2)
        return Verdicts(tuple(real), F.normalize(halves, dim=2).flatten(1))


def _trunk(width: int) -> nn.Sequential:
    sizes = (3, width, 2 * width, 4 * width)
    layers: list[nn.Module] = []
    for inputs, outputs, stride in zip(sizes[:-1], sizes[1:], (2, 2, 1), strict=True):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
