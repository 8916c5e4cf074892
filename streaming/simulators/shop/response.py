"""What a shopper would click among what is shown: the truth that experiments are judged by.

A place is looked at with a probability that falls from the first to the last; what is looked at is clicked with one
that hangs on how much it is liked. Both are known here, so the value of any ranking can be computed exactly.
"""

from __future__ import annotations

import numpy as np

from streaming.features.runs import Bools, Ints
from streaming.simulators.shop.goods import Floats, Goods
from streaming.simulators.shop.shoppers import Shoppers

_FALLS_BY = 0.85
_LEAST, _MOST = 0.01, 0.35


def click_probability(goods: Goods, shoppers: Shoppers, shopper: Ints, items: Ints) -> Floats:
    """Of each item in its place, (N, S).

    Args:
        goods: of the shop.
        shoppers: all of them.
        shopper: (N,).
        items: (N, S) in the order of places; -1 is an empty one, which nobody clicks.
    """
    liking = shoppers.likes(shopper[:, None], goods, np.maximum(items, 0))
    looked_at = _FALLS_BY ** np.arange(items.shape[1])
    chance: Floats = np.where(items >= 0, looked_at * (_LEAST + (_MOST - _LEAST) * liking), 0.0)
    return chance


def respond(goods: Goods, shoppers: Shoppers, shopper: Ints, items: Ints, *, seed: int = 0) -> Bools:
    """Which of the items shown are clicked, (N, S)."""
    random = np.random.default_rng([seed, 4])
    clicked: Bools = random.random(items.shape) < click_probability(goods, shoppers, shopper, items)
    return clicked
