"""AS-GAN: a person in other clothes, given as a vector.

Yu et al., "Apparel-invariant Feature Learning for Person Re-identification" (arXiv:2008.06181): an unsupervised
generator that dresses a person anew after a target cloth embedding. Of the paper only the abstract could be had; layers
are those of DG-Net (Zheng et al., arXiv:1904.07223), whose structure and appearance are told apart as here, and every
choice of our own is stated where it is made. With x a person and x' the donor of the clothes:

    s = E_s(x)                         structure: maps without colour
    z = E_a(x') = [u | l]              apparel: upper and lower garment, each of length 1
    (c, α) = G(s, z, x)                painted picture, and where it is to be seen
    x̃ = α ⊙ c + (1 - α) ⊙ x            the rest is copied: face and background stay

Pictures are (B, 3, H, W) RGB in [-1, 1]; H and W are multiples of 4. The discriminator and the losses belong to
training: `models.layers.discriminator`, `models.losses.apparel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from models.layers.adain import AdaINBlock, ResBlock
from models.layers.regions import TwoRegionPool, structure_of

_ALPHA_BEGINS = -0.5  # logit: a share of .38 is painted before anything is learned


@dataclass(frozen=True)
class ASGANConfig:
    """An AS-GAN; 256 × 128 px, width 16, 128 numbers and 4 blocks at full size."""

    height_px: int = 64
    width_px: int = 32
    width: int = 8  # channels of the first layer
    dim: int = 64  # of an apparel embedding, upper and lower half
    hidden: int = 128  # of the network that turns an embedding into scales and shifts
    blocks: int = 2  # residual blocks, of the structure encoder and of the generator each
    bank: int = 2048  # embeddings kept to dress people in

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px, self.width, self.dim, self.hidden, self.blocks, self.bank) < 1:
            raise ValueError(f"AS-GAN: every number must be at least 1: {self}")
        if self.height_px % 4 or self.width_px % 4 or self.dim % 2:
            raise ValueError(f"AS-GAN: sizes must be multiples of 4, dim of 2: {self}")
        if max(self.height_px, self.width_px, self.hidden, self.dim) > 4096 or self.width > 256 or self.blocks > 64:
            raise ValueError(f"AS-GAN: sizes, dim and hidden may be 4096, width 256, blocks 64 at most: {self}")
        if self.bank > 1 << 20:
            raise ValueError(f"AS-GAN: bank={self.bank} may be {1 << 20} at most")

    def build(self) -> ASGAN:
        """A network with fresh weights."""
        return ASGAN(self)


class Dressed(NamedTuple):
    """What the generator makes of N people."""

    images: Tensor  # x̃ (B, 3, H, W) in [-1, 1]
    painted: Tensor  # c (B, 3, H, W) in [-1, 1]
    alpha: Tensor  # (B, 1, H, W) in [0, 1]


class ASGAN(nn.Module):
    """Structure encoder, apparel encoder, generator, and a bank of apparel embeddings that it has met.

    The bank is a ring (`bank_size` entries are filled, `bank_next` is written next), part of the weights: who dresses
    people anew needs no other pictures.
    """

    bank: Tensor
    bank_size: Tensor
    bank_next: Tensor

    def __init__(self, config: ASGANConfig) -> None:
        super().__init__()
        self.config = config
        self.structure = StructureEncoder(config.width, config.blocks)
        self.apparel = ApparelEncoder(config)
        self.generator = Generator(config)
        self.register_buffer("bank", torch.zeros(config.bank, config.dim))
        self.register_buffer("bank_size", torch.zeros((), dtype=torch.int64))
        self.register_buffer("bank_next", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, apparel: Tensor) -> Dressed:
        """People (B, 3, H, W) in [-1, 1], dressed as `apparel` (B, D) says."""
        dressed: Dressed = self.generator(self.structure(images), apparel, images)
        return dressed

    @torch.no_grad()
    def remember(self, apparel: Tensor) -> None:
        """Put embeddings (B, D) into the bank; the oldest give way."""
        size = len(self.bank)
        new = apparel[-size:]
        place = (int(self.bank_next) + torch.arange(len(new), device=new.device)) % size
        self.bank[place] = new.to(self.bank.dtype)
        self.bank_next.fill_((int(self.bank_next) + len(new)) % size)
        self.bank_size.fill_(min(int(self.bank_size) + len(new), size))

    def drawn(self, count: int, chance: torch.Generator) -> Tensor:
        """Embeddings (count, D) from the bank, with repeats.

        Raises:
            ValueError: the bank is empty.
        """
        filled = int(self.bank_size)
        if not filled:
            raise ValueError("the bank of apparel embeddings is empty: train the AS-GAN first")
        return self.bank[torch.randint(filled, (count,), generator=chance).to(self.bank.device)]


class StructureEncoder(nn.Module):
    """E_s: images (B, 3, H, W) to maps (B, 8 × width, H/4, W/4), DG-Net's, of a picture without colour.

    Departure: DG-Net takes grey; here grey is standardised by its surroundings (`structure_of`), since how light a
    garment is belongs to its colour, and would otherwise pass around the embedding.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width, 8 * width)
        kernels = ((7, 1, 3), (4, 2, 1), (4, 2, 1), (3, 1, 1))  # size, stride, padding
        layers: list[nn.Module] = []
        for inputs, outputs, (kernel, stride, padding) in zip(sizes[:-1], sizes[1:], kernels, strict=True):
            layers += [
                nn.Conv2d(inputs, outputs, kernel, stride, padding),
                nn.InstanceNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, *(ResBlock(8 * width) for _ in range(blocks)))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1]."""
        maps: Tensor = self.layers(structure_of(images))
        return maps


class ApparelEncoder(nn.Module):
    """E_a: images (B, 3, H, W) to embeddings (B, D): two halves, upper and lower garment, of length 1 each.

    Without norms: they would take away the very colours it is to tell. A departure from the ResNet-18 of the design,
    whose weights would come from outside.
    """

    def __init__(self, config: ASGANConfig) -> None:
        super().__init__()
        width = config.width
        sizes = (3, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(sizes[:-1], sizes[1:], (2, 2, 1), strict=True):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(0.2)]
        self.trunk = nn.Sequential(*layers)
        self.regions = TwoRegionPool(sizes[-1], config.height_px // 4, config.width_px // 4)
        self.heads = nn.ModuleList(nn.Linear(sizes[-1], config.dim // 2) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1]."""
        pooled = self.regions(self.trunk(images))  # (B, 2, C)
        return torch.cat([F.normalize(head(pooled[:, part])) for part, head in enumerate(self.heads)], dim=1)


class Generator(nn.Module):
    """G: structure (B, 8 × width, H/4, W/4), apparel (B, D) and the images themselves to `Dressed`.

    The embedding scales and shifts the norms of the residual blocks. Only the mask sees the image in colour: it can
    tell a bare arm from a sleeve, and what is painted can still come from nowhere but the embedding.
    """

    def __init__(self, config: ASGANConfig) -> None:
        super().__init__()
        width = config.width
        self.blocks = nn.ModuleList(AdaINBlock(8 * width) for _ in range(config.blocks))
        self.style = nn.Sequential(
            nn.Linear(config.dim, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.blocks * 32 * width),
        )
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8 * width, 4 * width, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(4 * width, 2 * width, 5, padding=2),
            nn.ReLU(inplace=True),
        )
        self.colour = nn.Conv2d(2 * width, 3, 7, padding=3)
        self.mask = nn.Sequential(
            nn.Conv2d(2 * width + 3, width, 5, padding=2), nn.ReLU(inplace=True), nn.Conv2d(width, 1, 5, padding=2)
        )
        nn.init.constant_(self.mask[-1].bias, _ALPHA_BEGINS)  # type: ignore[arg-type] # a convolution's bias

    def forward(self, structure: Tensor, apparel: Tensor, images: Tensor) -> Dressed:
        """Shapes as above."""
        maps = structure
        for block, style in zip(self.blocks, self.style(apparel).chunk(len(self.blocks), dim=1), strict=True):
            maps = block(maps, style)
        maps = self.up(maps)
        painted = torch.tanh(self.colour(maps))
        alpha = torch.sigmoid(self.mask(torch.cat([maps, images], dim=1)))
        return Dressed(alpha * painted + (1 - alpha) * images, painted, alpha)
