"""The catalogue as the pages ask for it: items, categories, and what has changed. Pure, over the pipeline's index."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serve.gateway.shop.schemas import Category, Item, ItemList
from streaming.features.runs import Ints
from streaming.sessions.catalogue import UNKNOWN, Index

_MIXER = 0x9E3779B1  # Knuth's multiplicative hash: neighbours in the catalogue come apart


def item_of(index: Index, code: int) -> Item:
    """The item of a code."""
    price = float(index.price[code])
    return Item(
        item_id=index.item_id[code],
        title=index.title[code],
        category=index.categories[index.category[code]],
        price=None if math.isnan(price) else price,
        may_be_offered=bool(index.may_be_offered[code]),
    )


def code_of(index: Index, item_id: str) -> int:
    """Its code; `UNKNOWN` where the catalogue never had it."""
    return int(index.codes(np.array([item_id], dtype=object))[0])


def title_of(index: Index, item_id: str) -> str:
    """Its title; the id where it has none."""
    code = code_of(index, item_id)
    return (index.title[code] if code != UNKNOWN else "") or item_id


def may_be_offered(index: Index) -> Ints:
    """Codes of the items that may be."""
    return np.flatnonzero(index.may_be_offered)


def categories(index: Index) -> list[Category]:
    """Those that have an item that may be offered, by name."""
    names = index.categories
    counts = np.bincount(index.category[may_be_offered(index)], minlength=len(names))
    named = zip(names, counts.tolist(), strict=True)
    return sorted((Category(name=name, items=count) for name, count in named if count), key=lambda one: one.name)


def changed_since(index: Index, position: int) -> Ints:
    """Codes of the items whose newest record is at this offset or after it, in the order of their changes."""
    at = index.changed_at
    codes = np.flatnonzero(at >= position)
    return codes[np.argsort(at[codes], kind="stable")]


def listed(index: Index, category: str, search: str, start: int, limit: int) -> ItemList:
    """A page of the items that may be offered.

    Args:
        index: the catalogue.
        category: only items of it; "" for all, in an order of their own in which categories are mixed.
        search: only items whose title or category has all of these words.
        start: so many that fit come before the page.
        limit: on the page.
    """
    codes = may_be_offered(index)
    if category:
        names = index.categories
        number = names.index(category) if category in names else -1
        codes = codes[index.category[codes] == number]
    if search.strip():
        codes = codes[_has_words(index, codes, search.casefold().split())]
    elif not category:
        codes = codes[np.argsort(codes * _MIXER % (1 << 32), kind="stable")]
    page = codes[start : start + limit].tolist()
    return ItemList(total=len(codes), items=[item_of(index, code) for code in page])


def _has_words(index: Index, codes: Ints, words: list[str]) -> npt.NDArray[np.bool_]:
    names = index.categories
    texts = (
        f"{index.title[code]} {names[number]}".casefold()
        for code, number in zip(codes.tolist(), index.category[codes].tolist(), strict=True)
    )
    return np.array([all(word in text for word in words) for text in texts], dtype=bool)
