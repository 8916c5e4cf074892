"""Goods: items in a tree of categories, with an appeal and a time of their own that nobody sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.runs import Ints
from streaming.sessions.items import ITEM_SCHEMA

Floats = npt.NDArray[np.float64]

START_MS = 1_750_032_000_000
"""2025-06-16 00:00 UTC, a Monday: where a simulated shop's time begins."""
DAY_MS = 24 * 3600 * 1000

_WORDS = {
    "Kitchen": ("pans", "knives", "kettles", "mugs"),
    "Garden": ("seeds", "pots", "tools", "lamps"),
    "Sport": ("shoes", "balls", "bottles", "mats"),
    "Home": ("chairs", "rugs", "shelves", "clocks"),
    "Books": ("novels", "travel", "cooking", "comics"),
    "Toys": ("blocks", "puzzles", "dolls", "trains"),
}
_COLOURS = ("black", "white", "red", "green", "blue", "sand")
_BRANDS = ("Arden", "Boreal", "Calla", "Dune", "Ember", "Fjord", "Grove")


@dataclass(frozen=True)
class Goods:
    """V items of C categories; items of a category stand together."""

    category: Ints  # (V,)
    names: tuple[str, ...]  # (C,) paths
    first: Ints  # (C + 1,) where each category's items begin
    popularity: Floats  # (V,) weight within its category, before trends
    appeal: Floats  # (V,) from 0 to 1: how well it does with who has the taste
    peak_day: Floats  # (V,) day on which it is most in fashion; it is half as much so `trend_days` before and after
    price: Floats  # (V,)
    seed: int

    def __len__(self) -> int:
        return len(self.category)

    @property
    def ids(self) -> npt.NDArray[np.object_]:
        """(V,) item ids."""
        return np.array([f"i{number:06d}" for number in range(len(self))], dtype=object)

    def trend(self, day: float, trend_days: float = 10.0) -> Floats:
        """(V,) factor on popularity on a day: from 0.2 out of fashion to 1.2 at the peak."""
        factor: Floats = 0.2 + np.exp2(-(((day - self.peak_day) / trend_days) ** 2))
        return factor


def make_goods(items: int, *, categories: int = 24, seed: int = 0) -> Goods:
    """Goods of a shop.

    Raises:
        ValueError: fewer items than categories.
    """
    if items < categories or categories < 1:
        raise ValueError(f"{items} items are too few for {categories} categories")
    random = np.random.default_rng([seed, 1])
    cuts = np.sort(random.choice(np.arange(1, items), categories - 1, replace=False))
    first = np.concatenate([[0], cuts, [items]]).astype(np.int64)
    leaves = [f"{top} > {leaf}" for top, its in _WORDS.items() for leaf in its]
    names = tuple(
        f"{leaves[c % len(leaves)]}" + (f" {c // len(leaves)}" * (c >= len(leaves))) for c in range(categories)
    )
    category = np.repeat(np.arange(categories), np.diff(first))
    rank = np.arange(items) - first[category]
    return Goods(
        category=category,
        names=names,
        first=first,
        popularity=np.asarray((rank + 3.0) ** -0.8, np.float64),  # Zipf's law, flattened
        appeal=random.beta(2.0, 3.0, items),
        peak_day=random.uniform(-20.0, 50.0, items),
        price=np.asarray(np.exp(random.normal(3.0, 0.8, items)).round(2), np.float64),
        seed=seed,
    )


def item_records(goods: Goods, which: Ints | None = None, changed_ms: int = START_MS) -> pl.DataFrame:
    """Items as records of the catalogue: `streaming.sessions.items.ITEM_SCHEMA`."""
    which = np.arange(len(goods)) if which is None else which
    colour, brand = which * 7 % len(_COLOURS), which * 5 % len(_BRANDS)
    names = [goods.names[c] for c in goods.category[which].tolist()]
    titles = [
        f"{_BRANDS[b]} {name.rpartition(' > ')[2]} in {_COLOURS[c]}, no. {number}"
        for b, name, c, number in zip(brand.tolist(), names, colour.tolist(), which.tolist(), strict=True)
    ]
    attributes = [
        [{"key": "brand", "value": _BRANDS[b]}, {"key": "colour", "value": _COLOURS[c]}]
        for b, c in zip(brand.tolist(), colour.tolist(), strict=True)
    ]
    physical = {name: pl.Int64() if name == "changed_ms" else dtype for name, dtype in ITEM_SCHEMA.items()}
    return pl.DataFrame(
        {
            "item_id": goods.ids[which].tolist(),
            "changed_ms": [changed_ms] * len(which),
            "title": titles,
            "category": names,
            "price": goods.price[which],
            "attributes": attributes,
            "in_stock": [True] * len(which),
            "withdrawn": [False] * len(which),
        },
        schema=physical,
    ).cast(ITEM_SCHEMA)
