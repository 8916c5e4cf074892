"""What every baseline network sees of a frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers import SlotScale

CLOCK_FEATURES = 3
_LAST_MINUTE = 80.0


MOST_UNITS = 4096
"""Of features, layers and their widths: a stored config is not trusted in size."""


def check_sizes(name: str, dropout: float, **sizes: int) -> None:
    """Refuse a config that no baseline can have.

    Raises:
        ValueError: a size outside 1..4096, or a dropout that is no share; the message names it.
    """
    for size, value in sizes.items():
        if not 1 <= value <= MOST_UNITS:
            raise ValueError(f"{name} {size} must lie in 1..{MOST_UNITS}, not {value}")
    if not 0 <= dropout < 1:
        raise ValueError(f"{name} dropout must lie in 0..1, not {dropout}")


class FrameInputs(nn.Module):
    """Features divided by their spread at this clock, which of them are known, and the clock itself.

    Args:
        features: F, number of features.
        slot_s: width of a slot of feature scales, seconds of game clock.
        slots: number of slots; the last pools all later time.
        clip: scaled features are held within ±clip.
    """

    def __init__(self, features: int, *, slot_s: float = 60.0, slots: int = 60, clip: float = 5.0) -> None:
        super().__init__()
        self.scale = SlotScale(features, slots=slots, slot_s=slot_s, clip=clip)
        self.width = 2 * features + CLOCK_FEATURES

    def forward(self, features: Tensor, clock_s: Tensor) -> Tensor:
        """(B, T, F) and (B, T) to (B, T, 2F + 3)."""
        batch, frames, width = features.shape
        scaled = self.scale(features.reshape(-1, width), clock_s.reshape(-1)).reshape(batch, frames, width)
        known = scaled.isnan().logical_not().to(scaled.dtype)
        minutes = (clock_s / 60).clamp(0, _LAST_MINUTE)
        turn = 2 * torch.pi * minutes / 60
        clock = torch.stack([minutes / 20, turn.sin(), turn.cos()], dim=-1)
        return torch.cat([scaled.nan_to_num(), known, clock], dim=-1)
