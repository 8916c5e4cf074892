"""People in other clothes, for training and for queries: by an AS-GAN, or by colours alone as a control."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from jobs.errors import UsageProblem
from jobs.reid.augment import recoloured
from jobs.reid.crops import CropSet
from models.as_gan import ASGAN

_AT_ONCE = 128


class Redressed(NamedTuple):
    """B people in other clothes."""

    images: Tensor  # (B, 3, H, W) uint8 RGB
    apparel: Tensor  # (B, A) what they wear now


class Dresser(Protocol):
    """Gives people other clothes, and says what clothes are alike."""

    def worn(self, images: Tensor) -> Tensor:
        """Apparel embeddings (N, A) of crops (N, 3, H, W) uint8."""

    def dressed(self, images: Tensor, chance: torch.Generator, who: Tensor | None = None) -> Redressed:
        """Crops (B, 3, H, W) uint8 in other clothes.

        Args:
            images: the crops.
            chance: draws the clothes.
            who: (B,) int, whose crops these are: all of a person's get the same clothes; None: each its own.
        """


class ASGANDresser:
    """By an AS-GAN, after embeddings of its bank.

    Args:
        network: trained; frozen from here on.
        height_px: of the crops.
        width_px: of the crops.
        device: where it computes.
        dtype: its layers compute in; bfloat16 takes two thirds of the time on a CPU that knows it.

    Raises:
        UsageProblem: crops of this size are not what it learned from.
    """

    def __init__(
        self,
        network: ASGAN,
        *,
        height_px: int,
        width_px: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        own = network.config
        if (own.height_px, own.width_px) != (height_px, width_px):
            raise UsageProblem(
                f"the AS-GAN is of {own.height_px} × {own.width_px} px, the network of {height_px} × {width_px}: train "
                "one of the same size"
            )
        self._network = network.eval().requires_grad_(False).to(device)
        self._device, self._dtype = device, dtype

    @torch.no_grad()
    def worn(self, images: Tensor) -> Tensor:
        """E_a of each."""
        pieces = [self._network.apparel(self._scaled(piece)).cpu() for piece in torch.split(images, _AT_ONCE)]
        return torch.cat(pieces) if pieces else torch.empty(0, self._network.config.dim)

    @torch.no_grad()
    def dressed(self, images: Tensor, chance: torch.Generator, who: Tensor | None = None) -> Redressed:
        """G(x, z) with z from the bank."""
        wearers, place = wearers_of(images, who)
        apparel = self._network.drawn(wearers, chance)[place]
        return Redressed(self.as_asked(images, apparel), apparel.cpu())

    @torch.no_grad()
    def as_asked(self, images: Tensor, apparel: Tensor) -> Tensor:
        """G(x, z) as crops (B, 3, H, W) uint8."""
        pieces = zip(torch.split(images, _AT_ONCE), torch.split(apparel, _AT_ONCE), strict=True)
        with torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32):
            made = [self._network(self._scaled(piece), z.to(self._device)).images.float().cpu() for piece, z in pieces]
        return ((torch.cat(made) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8) if made else images

    def _scaled(self, images: Tensor) -> Tensor:
        return images.to(self._device).float() / 127.5 - 1


class JitterDresser:
    """By colours of the whole crop: what AS-GAN has to beat. Apparel is told by an AS-GAN's encoder all the same."""

    def __init__(self, encoder: ASGANDresser, strength: float) -> None:
        self._encoder, self._strength = encoder, strength

    def worn(self, images: Tensor) -> Tensor:
        """As the encoder sees it."""
        return self._encoder.worn(images)

    def dressed(self, images: Tensor, chance: torch.Generator, who: Tensor | None = None) -> Redressed:
        """Recoloured as by a very odd camera, each crop by itself, as colour jitter is."""
        made = (recoloured(images.float() / 255, self._strength, chance) * 255).round().to(torch.uint8)
        return Redressed(made, self.worn(made))


def wearers_of(images: Tensor, who: Tensor | None) -> tuple[int, Tensor]:
    """How many outfits to draw for these crops (B, 3, H, W), and which of them each wears (B,)."""
    if who is None:
        return len(images), torch.arange(len(images))
    people, place = torch.unique(who, return_inverse=True)
    return len(people), place


def redressed_set(crops: CropSet, dresser: Dresser, *, seed: int) -> CropSet:
    """The same people, cameras and order in other clothes; what these are, no number says."""
    made = dresser.dressed(crops.images, torch.Generator().manual_seed(seed))
    return CropSet(f"{crops.source}, dressed anew", made.images, crops.identity, crops.camera)
