"""StarGAN, as a measure for AS-GAN: a person repainted after the number of a group of clothes.

Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation"
(arXiv:1711.09020): one generator for all domains, x̃ = G(x, c), whose discriminator also says the domain. It has labels
where AS-GAN has embeddings, and no mask. The game is AS-GAN's (least squares, R1), so that the two differ in no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from models.layers.adain import ResBlock


@dataclass(frozen=True)
class StarGANConfig:
    """A generator; width 64 and 6 blocks in the paper."""

    groups: int  # of clothes
    width: int = 8
    blocks: int = 2

    def build(self) -> StarGAN:
        """A network with fresh weights."""
        return StarGAN(self)


class StarGAN(nn.Module):
    """G (§4 of the paper): images (B, 3, H, W) in [-1, 1] and groups (B,) to images; H and W are multiples of 4."""

    def __init__(self, config: StarGANConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(3 + config.groups, width, 7, padding=3, bias=False), width),
            *_normed(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), 2 * width),
            *_normed(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False), 4 * width),
            *(ResBlock(4 * width) for _ in range(config.blocks)),
            *_normed(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), 2 * width),
            *_normed(nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), width),
            nn.Conv2d(width, 3, 7, padding=3),
            nn.Tanh(),
        )

    def forward(self, images: Tensor, group: Tensor) -> Tensor:
        """Images (B, 3, H, W), group (B,) int."""
        planes = F.one_hot(group, self.config.groups).to(images.dtype)[..., None, None]
        made: Tensor = self.layers(torch.cat([images, planes.expand(-1, -1, *images.shape[2:])], dim=1))
        return made


class GroupClassifier(nn.Sequential):
    """The discriminator's second task: images (B, 3, H, W) in [-1, 1] to logits of groups (B, K)."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d((4, 1)),  # what is worn above from what is worn below
            nn.Flatten(),
            nn.Linear(8 * width, groups),
        )


def _normed(convolution: nn.Module, channels: int) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(channels, affine=True), nn.ReLU(inplace=True)
