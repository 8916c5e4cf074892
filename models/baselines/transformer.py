"""A causal Transformer over the frames of a match: each frame attends to itself and to those before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.baselines.inputs import FrameInputs, check_sizes


@dataclass(frozen=True)
class CausalTransformerConfig:
    """What a CausalTransformer is made of; see there."""

    features: int
    width: int = 48
    layers: int = 2
    heads: int = 4
    dropout: float = 0.2

    def __post_init__(self) -> None:
        sizes = {"features": self.features, "width": self.width, "layers": self.layers, "heads": self.heads}
        check_sizes("CausalTransformer", self.dropout, **sizes)
        if self.width % self.heads:
            raise ValueError(f"CausalTransformer width {self.width} is no multiple of heads {self.heads}")

    def build(self) -> CausalTransformer:
        """A network with fresh weights."""
        return CausalTransformer(
            self.features, width=self.width, layers=self.layers, heads=self.heads, dropout=self.dropout
        )


class CausalTransformer(nn.Module):
    """Pre-norm encoder layers under a triangular mask; the game clock among the inputs says where a frame stands.

    Args:
        features: F, number of features.
        width: of the tokens, a multiple of `heads`.
        layers: how many.
        heads: of attention in each.
        dropout: everywhere.
    """

    def __init__(
        self, features: int, *, width: int = 48, layers: int = 2, heads: int = 4, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.inputs = FrameInputs(features)
        self.embed = nn.Linear(self.inputs.width, width)
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            dim_feedforward=2 * width,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 1)

    def forward(self, features: Tensor, clock_s: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, T); padding, where `mask` is False, comes out as 0."""
        frames = clock_s.shape[1]
        # True forbids. Padding stands at the end, so no real frame can see it through this mask.
        later = torch.ones(frames, frames, dtype=torch.bool, device=clock_s.device).triu(diagonal=1)
        states = self.encoder(self.embed(self.inputs(features, clock_s)), mask=later)
        logits: Tensor = self.head(states).squeeze(-1)
        return logits * mask
