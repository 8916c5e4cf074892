"""OSNet: blocks that look at a person in four sizes at once and weigh them channel by channel.

Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification" (ICCV 2019, arXiv:1905.00953), and the instance
norms of "Learning Generalisable Omni-Scale Representations" (arXiv:1910.06827), which take the colour of a camera away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.bnneck import PersonEmbedder

_CHANNELS = (64, 256, 384, 512)
_SCALES = 4
_SQUEEZE = 4  # of a block's output to its streams
_GATE_REDUCTION = 16
_GATE_LEAST = 4  # a single unit that falls silent would leave a gate without a say


@dataclass(frozen=True)
class OSNetConfig:
    """An OSNet with a neck; see `OSNet`."""

    height_px: int = 128
    width_px: int = 64
    width: float = 0.25
    dim: int = 256
    last_stride: int = 1
    instance_norm: bool = True

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px, self.dim) < 1 or self.last_stride not in (1, 2):
            raise ValueError(f"OSNet: sizes must be at least 1, last_stride 1 or 2: {self}")
        if not 1 / 16 <= self.width <= 4:
            raise ValueError(f"OSNet: width={self.width} must lie between 1/16 and 4")

    def build(self) -> PersonEmbedder:
        """A network with fresh weights."""
        backbone = OSNet(self.width, self.dim, last_stride=self.last_stride, instance_norm=self.instance_norm)
        return PersonEmbedder(backbone, self.dim, height_px=self.height_px, width_px=self.width_px)


class OSNet(nn.Sequential):
    """Images (B, 3, H, W) to maps (B, dim, h, w), h ≈ H/16, or H/8 with a last stride of 1.

    Args:
        width: multiplies the paper's channels (64, 256, 384, 512).
        dim: channels of the maps.
        last_stride: 2 as in the paper; 1 keeps the size between the third stage and the fourth.
        instance_norm: in the stem and at the end of the blocks of the first stage.
    """

    def __init__(self, width: float, dim: int, *, last_stride: int, instance_norm: bool) -> None:
        stem, *stages = (_channels(width * channels) for channels in _CHANNELS)
        super().__init__(
            nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False),
            _norm(stem, instance_norm),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
            OmniScaleBlock(stem, stages[0], instance_norm=instance_norm),
            OmniScaleBlock(stages[0], stages[0], instance_norm=instance_norm),
            _pointwise(stages[0], stages[0]),
            nn.AvgPool2d(2),
            OmniScaleBlock(stages[0], stages[1]),
            OmniScaleBlock(stages[1], stages[1]),
            _pointwise(stages[1], stages[1]),
            nn.AvgPool2d(2) if last_stride == 2 else nn.Identity(),
            OmniScaleBlock(stages[1], stages[2]),
            OmniScaleBlock(stages[2], stages[2]),
            _pointwise(stages[2], dim),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, mode="fan_out", nonlinearity="relu")


class OmniScaleBlock(nn.Module):
    """Residual block (§3.2): streams of one to four light 3×3 convolutions, added up under one shared gate.

    The i-th convolutions of all streams that have one are one grouped convolution: the same numbers in fewer steps.
    """

    def __init__(self, inputs: int, outputs: int, *, instance_norm: bool = False) -> None:
        super().__init__()
        self.inner = max(outputs // _SQUEEZE, 1)
        self.squeeze = _pointwise(inputs, self.inner)
        self.layers = nn.ModuleList(
            _light_3x3(self.inner, streams, shared_input=streams == _SCALES) for streams in range(_SCALES, 0, -1)
        )
        self.gate = AggregationGate(self.inner)
        self.expand = _pointwise(self.inner, outputs, relu=False)
        self.shortcut = nn.Identity() if inputs == outputs else _pointwise(inputs, outputs, relu=False)
        self.norm = nn.InstanceNorm2d(outputs, affine=True) if instance_norm else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, inputs, h, w) to (B, outputs, h, w)."""
        going, streams = self.squeeze(maps), []
        for layer in self.layers:
            going = layer(going)
            streams.append(going[:, : self.inner])  # this one ends here
            going = going[:, self.inner :]
        mixed = self.gate(torch.stack(streams, dim=1))
        return torch.relu(self.norm(self.expand(mixed) + self.shortcut(maps)))


class AggregationGate(nn.Module):
    """Adds up streams, each channel weighed by the stream's own mean (§3.2, eq. 3); one gate for all of a block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // _GATE_REDUCTION, _GATE_LEAST)
        self.weigh = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, streams: Tensor) -> Tensor:
        """Streams (B, S, C, h, w) to (B, C, h, w)."""
        weight: Tensor = self.weigh(streams.mean(dim=(3, 4)))
        return (streams * weight[..., None, None]).sum(dim=1)


def _light_3x3(channels: int, streams: int, *, shared_input: bool) -> nn.Sequential:
    """Of so many streams side by side: a 1×1 convolution, then a 3×3 one of each channel alone (§3.1)."""
    inputs, outputs = channels if shared_input else streams * channels, streams * channels
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, groups=1 if shared_input else streams, bias=False),
        nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _pointwise(inputs: int, outputs: int, *, relu: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def _norm(channels: int, instance_norm: bool) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True) if instance_norm else nn.BatchNorm2d(channels)


def _channels(wanted: float) -> int:
    """A multiple of 8, as vectorised convolutions like it."""
    return max(8, round(wanted / 8) * 8)
