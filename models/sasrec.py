"""SASRec: causal self-attention over the clicks of a session.

Kang & McAuley, "Self-Attentive Sequential Recommendation" (ICDM 2018, arXiv:1808.09781): learned positions, blocks of
attention and a point-wise feed-forward net with residuals, dropout and layer norm ahead of each (§III-B), the item
table shared by input and output (§III-C). Positions are counted back from the latest click, so that the same session
looks the same however long its row is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from models.session_encoder import SessionEncoder, known


@dataclass(frozen=True)
class SASRecConfig:
    """A SASRec; see `SASRec`."""

    items: int
    dim: int = 64
    length: int = 20
    blocks: int = 2
    heads: int = 1
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if min(self.items, self.dim, self.length, self.blocks, self.heads) < 1 or self.dim % self.heads:
            raise ValueError(f"SASRec: sizes must be at least 1, and dim a multiple of heads: {self}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"SASRec: dropout={self.dropout} must be at least 0 and below 1")

    def build(self) -> SASRec:
        """A network with fresh weights."""
        return SASRec(self)


class SASRec(SessionEncoder):
    """Blocks of causal attention over the last `length` clicks; the output is what items are scored by."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.config, self.items, self.dim = config, config.items, config.dim
        self.embedding = nn.Embedding(config.items + 1, config.dim)  # the last row stands for no known item
        self.position = nn.Embedding(config.length, config.dim)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(SASRecBlock(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dim, eps=1e-8)
        for table in (self.embedding, self.position):
            nn.init.trunc_normal_(table.weight, std=0.02)

    def states(self, clicks: Tensor) -> Tensor:
        """States (B, L, D); those before the last `length` clicks are 0."""
        earlier = max(clicks.shape[1] - self.config.length, 0)
        clicks = clicks[:, earlier:]
        there = known(clicks, self.items)
        back = torch.arange(clicks.shape[1] - 1, -1, -1, device=clicks.device)
        found = self.embedding(clicks.where(there, self.items)) * self.dim**0.5 + self.position(back)
        found = self.drop(found)
        # A click sees itself and those known before it; one that is not known sees itself alone.
        causal = torch.ones(len(back), len(back), dtype=torch.bool, device=clicks.device).tril()
        seen = (causal & there[:, None, :]) | torch.eye(len(back), dtype=torch.bool, device=clicks.device)
        for block in self.blocks:
            found = block(found, seen[:, None])
        return F.pad(self.norm(found), (0, 0, earlier, 0))

    def item_vectors(self, items: Tensor) -> Tensor:  # noqa: D102 - as the base says
        found: Tensor = self.embedding(items)
        return found


class SASRecBlock(nn.Module):
    """Attention, then a point-wise net, each with a residual (eqs. 4 to 8)."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.dropout = config.heads, config.dropout
        self.norm_attention, self.norm_net = nn.LayerNorm(dim, eps=1e-8), nn.LayerNorm(dim, eps=1e-8)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.net = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(dim, dim), nn.Dropout(config.dropout)
        )

    def forward(self, inputs: Tensor, seen: Tensor) -> Tensor:
        """Inputs (B, L, D), seen (B, 1, L, L) bool to (B, L, D)."""
        rows, length, dim = inputs.shape
        split = self.qkv(self.norm_attention(inputs)).view(rows, length, 3, self.heads, dim // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)
        inputs = inputs + self.out(mixed.transpose(1, 2).reshape(rows, length, dim))
        found: Tensor = inputs + self.net(self.norm_net(inputs))
        return found
