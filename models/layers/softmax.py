"""Softmax over those members that take part."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_softmax(logits: Tensor, known: Tensor) -> Tensor:
    """Softmax over the last axis with the members of `known` == 0 left out: their weight is exactly 0.

    Weights sum to 1, or are all 0 where no member is known. Both arguments (..., G).
    """
    masked = logits.masked_fill(known == 0, -torch.inf)
    top = masked.amax(dim=-1, keepdim=True)
    powers = torch.exp(masked - top.masked_fill(top == -torch.inf, 0.0))
    # The largest known member is exp(0) = 1, so the floor only ever meets the rows without any.
    return powers / powers.sum(dim=-1, keepdim=True).clamp(min=0.5)
