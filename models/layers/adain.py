"""Residual blocks of generators: normed by instance, and with the scale and shift that a style asks for."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn


class ResBlock(nn.Module):
    """Two 3×3 convolutions with instance norms beside a shortcut: maps (B, C, h, w) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w)."""
        kept = F.relu(F.instance_norm(self.first(maps)))
        return maps + F.instance_norm(self.second(kept))


class AdaINBlock(nn.Module):
    """A `ResBlock` whose norms are scaled and shifted from outside.

    Huang and Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization" (ICCV 2017), eq. 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    @property
    def style_numbers(self) -> int:
        """S: a scale and a shift for each channel of both norms."""
        return 4 * self.channels

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        """Maps (B, C, h, w), style (B, S)."""
        scale_1, shift_1, scale_2, shift_2 = torch.split(style[..., None, None], self.channels, dim=1)
        kept = F.relu(F.instance_norm(self.first(maps)) * (1 + scale_1) + shift_1)
        styled: Tensor = F.instance_norm(self.second(kept)) * (1 + scale_2) + shift_2
        return maps + styled
