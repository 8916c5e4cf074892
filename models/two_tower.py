"""Two towers: one reads the clicks of a session, the other what is known of an item; their cosine is the score.

The recommendation scenario of EasyTransfer (Qiu et al., CIKM 2021, arXiv:2011.09463): trained with its in-batch margin
loss (`models.losses.session.in_batch_margin`), served as (s + 1) / 2. Content is a bag of hashed words, so that an item
which nobody has clicked yet has a vector too; an item that was clicked in training adds a vector of its own, which
training hides now and then, so that content alone has to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from models.session_encoder import SessionEncoder, known

WORDS_OF_AN_ITEM = 16
"""At most so many of an item's words are read."""


@dataclass(frozen=True)
class TwoTowerConfig:
    """A two-tower model; see `TwoTower`.

    Attributes:
        items: of the catalogue, with those that have content alone.
        seen: items 0 … seen - 1 were clicked in training, and have vectors of their own.
        dim: of both towers.
        buckets: that words are hashed into.
        half_life: clicks after which a click weighs half as much in its session.
        hide: share of own vectors that are hidden in training.
        dropout: of the session's tower.
    """

    items: int
    seen: int
    dim: int = 64
    buckets: int = 4096
    half_life: float = 1.0
    hide: float = 0.1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.items, self.dim, self.buckets) < 1 or not 0 <= self.seen <= self.items or self.half_life <= 0:
            raise ValueError(f"TwoTower: sizes must be at least 1, 0 <= seen <= items, half_life above 0: {self}")
        if not (0 <= self.hide <= 1 and 0 <= self.dropout < 1):
            raise ValueError(f"TwoTower: hide must lie between 0 and 1, dropout from 0 to below 1: {self}")

    def build(self) -> TwoTower:
        """A network with fresh weights and items without content."""
        return TwoTower(self)


class TwoTower(SessionEncoder):
    """Cosines of sessions and items. `words` is what the catalogue says of each item."""

    words: Tensor
    sharpness = 10.0  # cosines lie between -1 and 1

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config, self.items, self.dim = config, config.items, config.dim
        dim = config.dim
        self.own = nn.Embedding(config.seen, dim)
        self.word = nn.Embedding(config.buckets + 1, dim, padding_idx=config.buckets)
        self.session = nn.Sequential(nn.Linear(2 * dim, 2 * dim), nn.ReLU(), nn.Dropout(config.dropout),
                                     nn.Linear(2 * dim, dim))  # fmt: skip
        self.register_buffer("words", torch.full((config.items, WORDS_OF_AN_ITEM), config.buckets))
        for table in (self.own, self.word):
            nn.init.normal_(table.weight, std=dim**-0.5)
        with torch.no_grad():
            self.word.weight[config.buckets] = 0.0

    def set_content(self, content: Sequence[Sequence[str]]) -> None:
        """What is known of each item: words such as "category:5", of which the first `WORDS_OF_AN_ITEM` are read.

        Raises:
            ValueError: not one entry an item.
        """
        if len(content) != self.items:
            raise ValueError(f"content of {len(content)} items, and there are {self.items}")
        self._tables = None
        self.words.fill_(self.config.buckets)
        for item, words in enumerate(content):
            numbers = [word_bucket(word, self.config.buckets) for word in words[:WORDS_OF_AN_ITEM]]
            self.words[item, : len(numbers)] = torch.tensor(numbers, dtype=torch.int64)

    def item_vectors(self, items: Tensor) -> Tensor:
        """Vectors (N, D) of unit length, 0 for an item of which nothing is known."""
        words = self.words[items]
        count = (words < self.config.buckets).sum(dim=1, keepdim=True).clamp(min=1)
        vectors = self.word(words).sum(dim=1) / count.sqrt()
        there = known(items, self.config.seen)
        if self.training and self.config.hide:
            there = there & (torch.rand(len(items), device=items.device) >= self.config.hide)
        if self.config.seen:
            vectors = vectors + self.own(items.where(there, 0)) * there[:, None]
        return F.normalize(vectors, dim=1)

    def states(self, clicks: Tensor) -> Tensor:
        """Unit vectors (B, L, D): the latest click beside the mean of all, which weigh less the longer they are ago."""
        there = known(clicks, self.items)
        flat = self.item_vectors(clicks.where(there, 0).reshape(-1)).view(*clicks.shape, self.dim)
        vectors = flat * there[..., None]
        steps = torch.arange(clicks.shape[1], device=clicks.device)
        ago = (steps[:, None] - steps[None]).clamp(min=0)
        decay = (0.5 ** (ago / self.config.half_life)).tril()  # (L, L)
        weight = decay @ there.to(decay.dtype)[..., None]
        mean = (decay @ vectors) / weight.clamp(min=1e-6)
        return F.normalize(self.session(torch.cat([vectors, mean], dim=-1)) + mean, dim=-1)


def word_bucket(word: str, buckets: int) -> int:
    """Where a word lies; the same on every machine."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little") % buckets
