"""Soft regions of a person: where to pool, and what is left of a picture when colour and light are taken away."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

_GREY = (0.299, 0.587, 0.114)
_LEAST_STD = 0.05  # of [-1, 1]: a flat patch stays flat, instead of becoming noise
_UPPER_ROW, _LOWER_ROW, _ROW_SPREAD = 0.34, 0.68, 0.16  # of the height: where garments are, before anything is learned
_COLUMN_SPREAD = 0.28  # of the width, around the middle


def structure_of(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] as (B, 3, H, W): grey, standardised by its own surroundings, and row and column.

    Colour is gone, and so is how light a garment is: what stays are edges. Rows and columns, from -1 to 1, tell a
    convolution which half of a person it looks at.
    """
    count, _, height, width = images.shape
    grey = (images * images.new_tensor(_GREY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    window = max(height // 8 // 2 * 2 + 1, 3)

    def around(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, window, stride=1, padding=window // 2, count_include_pad=False)

    mean = around(grey)
    spread = (around(grey.square()) - mean.square()).clamp(min=0).add(_LEAST_STD**2).sqrt()
    row = torch.linspace(-1, 1, height, device=images.device).view(1, 1, height, 1).expand(count, 1, height, width)
    column = torch.linspace(-1, 1, width, device=images.device).view(1, 1, 1, width).expand(count, 1, height, width)
    return torch.cat([(grey - mean) / spread, row, column], dim=1)


class TwoRegionPool(nn.Module):
    """Maps (B, C, h, w) to the mean over an upper and over a lower region, (B, 2, C).

    Each region is a softmax over all places of a learned 1×1 convolution plus a prior: rows of the upper or the lower
    garment, columns around the middle.
    """

    prior: Tensor

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.where = nn.Conv2d(channels, 2, 1)
        row = (torch.arange(height) + 0.5).view(1, height, 1) / height
        column = (torch.arange(width) + 0.5).view(1, 1, width) / width
        centre = torch.tensor([_UPPER_ROW, _LOWER_ROW]).view(2, 1, 1)
        prior = -((row - centre) / _ROW_SPREAD).square() / 2 - ((column - 0.5) / _COLUMN_SPREAD).square() / 2
        self.register_buffer("prior", prior, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w)."""
        share = (self.where(maps) + self.prior).flatten(2).softmax(dim=2)  # (B, 2, h·w)
        pooled: Tensor = share @ maps.flatten(2).transpose(1, 2)
        return pooled
