"""What is done to crops before they are learned from, a whole batch at once, every crop by its own luck."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jobs.recipes.reid import Augmentation
from models.bnneck import CHANNEL_MEAN

_ERASED_SHARE = 0.02, 0.4
_ERASED_RATIO = 0.3, 1 / 0.3
_ATTEMPTS = 10
_GREY = (0.299, 0.587, 0.114)


def augmented(images: Tensor, how: Augmentation, chance: torch.Generator) -> Tensor:
    """Crops (B, 3, H, W) uint8 as float32 in [0, 1]: mirrored, moved, recoloured, partly erased.

    Args:
        images: RGB.
        how: how much of each.
        chance: draws, on the CPU.
    """
    made = images.float() / 255
    mirrored = torch.rand(len(made), generator=chance) < how.flip
    made = torch.where(mirrored.view(-1, 1, 1, 1), made.flip(3), made)
    if how.pad_px:
        made = moved(made, how.pad_px, chance)
    if how.jitter:
        made = recoloured(made, how.jitter, chance)
    return erased(made, how.erase, chance)


def moved(images: Tensor, pad_px: int, chance: torch.Generator) -> Tensor:
    """Cut out of a black border of `pad_px` on each side, at a place drawn for every image."""
    count, _, height, width = images.shape
    bordered = torch.nn.functional.pad(images, (pad_px,) * 4)
    down, right = torch.randint(0, 2 * pad_px + 1, (2, count), generator=chance)
    rows = (down[:, None] + torch.arange(height)).view(count, 1, height, 1)
    columns = (right[:, None] + torch.arange(width)).view(count, 1, 1, width)
    return bordered[torch.arange(count).view(-1, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1), rows, columns]


def recoloured(images: Tensor, strength: float, chance: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation, and the gain of each channel, as another camera would have them."""

    def factor(channels: int = 1) -> Tensor:
        drawn = torch.rand(len(images), channels, 1, 1, generator=chance)
        return 1 + strength * (2 * drawn - 1)

    images = images * factor() * factor(3)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factor()
    grey = (images * torch.tensor(_GREY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    return (grey + (images - grey) * factor()).clamp(0, 1)


def erased(images: Tensor, share: float, chance: torch.Generator) -> Tensor:
    """A rectangle of random size, shape and place painted over, in this share of the images.

    Zhong et al., "Random Erasing Data Augmentation" (arXiv:1708.04896), alg. 1, painted with the mean colour. The first
    of ten rectangles that fits is taken; where none does, the image stays.
    """
    count, _, height, width = images.shape
    wanted = torch.rand(count, generator=chance) < share
    area = height * width * _between(*_ERASED_SHARE, torch.rand(count, _ATTEMPTS, generator=chance))
    low, high = (math.log(bound) for bound in _ERASED_RATIO)
    ratio = _between(low, high, torch.rand(count, _ATTEMPTS, generator=chance)).exp()
    tall, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(dim=1, keepdim=True)
    tall, wide = tall.gather(1, first), wide.gather(1, first)  # (B, 1)
    top, left = torch.rand(2, count, 1, generator=chance)
    top, left = (top * (height - tall + 1)).floor(), (left * (width - wide + 1)).floor()
    row, column = torch.arange(height), torch.arange(width)
    rows = (row >= top) & (row < top + tall)  # (B, H)
    columns = (column >= left) & (column < left + wide)
    hidden = rows[:, None, :, None] & columns[:, None, None, :] & (wanted & fits.any(dim=1)).view(-1, 1, 1, 1)
    return torch.where(hidden, torch.tensor(CHANNEL_MEAN).view(1, 3, 1, 1), images)


def _between(low: float, high: float, share: Tensor) -> Tensor:
    return low + (high - low) * share
