"""ResNet-50 as re-identification uses it: without its classifier, with a last stride of 1.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016, arXiv:1512.03385), with the stride of a bottleneck
on its 3×3 convolution. Parameters are named as in torchvision, so that weights trained on ImageNet fit as they are.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.bnneck import PersonEmbedder

_DEPTHS = (3, 4, 6, 3)
_EXPANSION = 4


@dataclass(frozen=True)
class ResNet50Config:
    """A ResNet-50 with a neck; `width` is 64 in the paper, smaller in tests."""

    height_px: int = 256
    width_px: int = 128
    width: int = 64
    last_stride: int = 1

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px, self.width) < 1 or self.last_stride not in (1, 2):
            raise ValueError(f"ResNet-50: sizes must be at least 1, last_stride 1 or 2: {self}")

    def build(self) -> PersonEmbedder:
        """A network with fresh weights."""
        backbone = ResNet50(self.width, last_stride=self.last_stride)
        return PersonEmbedder(backbone, backbone.dim, height_px=self.height_px, width_px=self.width_px)


class ResNet50(nn.Sequential):
    """Images (B, 3, H, W) to maps (B, 32 × width, H/32, W/32), or H/16 with a last stride of 1."""

    def __init__(self, width: int = 64, *, last_stride: int = 1) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(width),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        inputs = width
        for number, (depth, stride) in enumerate(zip(_DEPTHS, (1, 2, 2, last_stride), strict=True)):
            inner = width * 2**number
            blocks = [Bottleneck(inputs, inner, stride)]
            inputs = inner * _EXPANSION
            blocks += [Bottleneck(inputs, inner, 1) for _ in range(depth - 1)]
            layers[f"layer{number + 1}"] = nn.Sequential(*blocks)
        super().__init__(layers)
        self.dim = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, mode="fan_out", nonlinearity="relu")


class Bottleneck(nn.Module):
    """1×1 down, 3×3, 1×1 up to four times `inner`, beside a shortcut."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = inner * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, inputs, h, w) to (B, 4 × inner, h / stride, w / stride)."""
        kept = torch.relu(self.bn1(self.conv1(maps)))
        kept = torch.relu(self.bn2(self.conv2(kept)))
        return torch.relu(self.bn3(self.conv3(kept)) + self.downsample(maps))
