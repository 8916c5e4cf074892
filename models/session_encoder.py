"""What all encoders of sessions have in common: clicks to a vector, items to vectors, their product as the score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

NO_ITEM = -1
"""Before the first click of a session that is shorter than its row; anything outside 0 … items - 1 counts as that."""


class Tables(NamedTuple):
    """What a score needs of each item."""

    vectors: Tensor  # (I, D)
    biases: Tensor  # (I,)


class SessionEncoder(nn.Module, ABC):
    """Scores are `encode(clicks) @ item_vectors(all).T + item_biases(all)`: exact search needs nothing else.

    Attributes:
        items: how many there are, numbered from 0.
        dim: of both vectors.
        sharpness: what scores are multiplied by before a softmax makes probabilities of them.
    """

    items: int
    dim: int
    sharpness: float = 1.0
    _tables: Tables | None = None

    @abstractmethod
    def states(self, clicks: Tensor) -> Tensor:
        """State after each click, (B, L, D). What comes later is not seen.

        Args:
            clicks: (B, L) int64, sessions aligned to the right, `NO_ITEM` before them.
        """

    @abstractmethod
    def item_vectors(self, items: Tensor) -> Tensor:
        """Vectors (N, D) of items (N,)."""

    def item_biases(self, items: Tensor) -> Tensor:
        """What is added to the scores of items (N,), (N,)."""
        return self.item_vectors(items).new_zeros(len(items))

    def encode(self, clicks: Tensor) -> Tensor:
        """State after the last click, (B, D), of sessions (B, L)."""
        return self.states(clicks)[:, -1]

    def tables(self) -> Tables:
        """Of all items, made once for evaluation and kept until the encoder is trained again."""
        if self._tables is None:
            with torch.no_grad():
                every = torch.arange(self.items, device=next(self.parameters()).device)
                self._tables = Tables(self.item_vectors(every), self.item_biases(every))
        return self._tables

    def train(self, mode: bool = True) -> Self:
        """As torch has it; what was made for evaluation is gone."""
        self._tables = None
        return super().train(mode)

    def scores(self, clicks: Tensor) -> Tensor:
        """Scores (B, I) of all items after the last click of sessions (B, L)."""
        every = torch.arange(self.items, device=clicks.device)
        return self.encode(clicks) @ self.item_vectors(every).T + self.item_biases(every)


def known(clicks: Tensor, items: int) -> Tensor:
    """(…,) bool: which clicks are on an item that the encoder has."""
    return (clicks >= 0) & (clicks < items)
