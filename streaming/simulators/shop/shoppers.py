"""Shoppers: who likes which categories, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streaming.features.runs import Ints
from streaming.simulators.shop.goods import Floats, Goods


@dataclass(frozen=True)
class Shoppers:
    """U shoppers."""

    taste: Floats  # (U, C) rows sum to 1
    buys: Floats  # (U,) probability that something put into the cart is bought
    seed: int

    def __len__(self) -> int:
        return len(self.taste)

    def likes(self, shopper: Ints, goods: Goods, item: Ints) -> Floats:
        """How much each likes each item, from 0 to 1; the two broadcast. Taste, of the favourite category's share,
        times the item's appeal."""
        share = self.taste / self.taste.max(axis=1, keepdims=True)
        liking: Floats = share[shopper, goods.category[item]] * goods.appeal[item]
        return liking


def make_shoppers(goods: Goods, shoppers: int, *, focus: float = 0.15, seed: int = 0) -> Shoppers:
    """Shoppers whose tastes are drawn from a Dirichlet distribution: the smaller `focus`, the fewer categories each
    likes."""
    random = np.random.default_rng([seed, 2])
    weights = random.gamma(focus, 1.0, (shoppers, len(goods.names))) + 1e-9
    return Shoppers(taste=weights / weights.sum(axis=1, keepdims=True), buys=random.beta(2.0, 4.0, shoppers), seed=seed)
