"""A multilayer perceptron on one frame and its clock: no memory."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.baselines.inputs import FrameInputs, check_sizes


@dataclass(frozen=True)
class FrameMLPConfig:
    """What a FrameMLP is made of; see there."""

    features: int
    hidden: int = 48
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_sizes("FrameMLP", self.dropout, features=self.features, hidden=self.hidden)

    def build(self) -> FrameMLP:
        """A network with fresh weights."""
        return FrameMLP(self.features, hidden=self.hidden, dropout=self.dropout)


class FrameMLP(nn.Module):
    """Two hidden layers of `hidden` units, dropout between."""

    def __init__(self, features: int, *, hidden: int = 48, dropout: float = 0.2) -> None:
        super().__init__()
        self.inputs = FrameInputs(features)
        self.layers = nn.Sequential(
            nn.Linear(self.inputs.width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )

    def forward(self, features: Tensor, clock_s: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, T); padding, where `mask` is False, comes out as 0."""
        logits: Tensor = self.layers(self.inputs(features, clock_s)).squeeze(-1)
        return logits * mask
