"""A plain network for small crops: what OSNet's light blocks save in sums they cost in time on a CPU.

Six 3×3 convolutions with batch norms, the stacked small filters of Simonyan and Zisserman (arXiv:1409.1556), then one
layer that sees every place with weights of its own, as heads of face recognition do (Deng et al., "ArcFace",
arXiv:1801.07698, §3.1): a crop is aligned, and the few places of a head do not drown in a mean over all.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from models.bnneck import PersonEmbedder

_STRIDE = 8


@dataclass(frozen=True)
class SmallCNNConfig:
    """A small network with a neck; see `SmallCNN`."""

    height_px: int = 64
    width_px: int = 32
    width: int = 20
    dim: int = 192

    def __post_init__(self) -> None:
        if self.height_px % _STRIDE or self.width_px % _STRIDE:
            raise ValueError(f"small CNN: height_px and width_px must be multiples of {_STRIDE}: {self}")
        if min(self.height_px, self.width_px, self.width, self.dim) < 1:
            raise ValueError(f"small CNN: every number must be at least 1: {self}")

    def build(self) -> PersonEmbedder:
        """A network with fresh weights."""
        backbone = SmallCNN((self.height_px, self.width_px), self.width, self.dim)
        return PersonEmbedder(backbone, self.dim, height_px=self.height_px, width_px=self.width_px)


class SmallCNN(nn.Sequential):
    """Images (B, 3, H, W) to maps (B, dim, 1, 1).

    Args:
        size_px: height and width of the images.
        width: channels of the first two layers, half of those of the next two, a quarter of the last two.
        dim: channels of the maps.
    """

    def __init__(self, size_px: tuple[int, int], width: int, dim: int) -> None:
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in (width, 2 * width, 4 * width):
            layers += [_convolution(inputs, outputs, 2), _convolution(outputs, outputs, 1)]
            inputs = outputs
        height_px, width_px = size_px
        everywhere = nn.Conv2d(inputs, dim, (height_px // _STRIDE, width_px // _STRIDE), bias=False)
        super().__init__(*layers, everywhere)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, mode="fan_out", nonlinearity="relu")


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
