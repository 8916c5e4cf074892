"""Which candidates may be offered: stateless rules on columns, each by itself.

A rule takes the candidates of N sessions and the catalogue as it is, and says of each whether it may be offered. The
catalogue is asked when the answer is made, so what was withdrawn since the model was trained is out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.runs import Bools, Ints
from streaming.sessions.catalogue import UNKNOWN, Codes, Index


@dataclass(frozen=True)
class Candidates:
    """Items that could be offered in N sessions, K of each."""

    code: Codes  # (N, K) of the catalogue
    score: npt.NDArray[np.float32]  # (N, K)
    looked_at: Codes  # (N,) the item that the session is at
    bought: Pairs
    basket: Pairs


@dataclass(frozen=True)
class Pairs:
    """Sets of codes, one for each of N sessions, as sorted numbers."""

    numbers: Ints  # session * items + code
    items: int

    @classmethod
    def of(cls, lists: pl.Series, catalogue: Index) -> Pairs:
        """From lists of item ids (N,); those that the catalogue does not have are left out."""
        counts = lists.list.len().to_numpy().astype(np.int64)
        session = np.repeat(np.arange(len(lists)), counts)
        flat = lists.explode(empty_as_null=False, keep_nulls=False) if counts.any() else pl.Series([], dtype=pl.String)
        codes = catalogue.codes(np.array(flat.to_list(), dtype=object)).astype(np.int64)
        known = codes != UNKNOWN
        items = max(len(catalogue), 1)
        return cls(np.unique(session[known] * items + codes[known]), items)

    def hold(self, codes: Codes) -> Bools:
        """Whether each session's set has each of these codes (N, ...)."""
        if not len(self.numbers):
            return np.zeros(codes.shape, bool)
        session = np.arange(len(codes)).reshape(-1, *[1] * (codes.ndim - 1))
        asked = session * self.items + codes
        at = np.minimum(np.searchsorted(self.numbers, asked), len(self.numbers) - 1)
        held: Bools = (self.numbers[at] == asked) & (codes != UNKNOWN)
        return held


Rule = Callable[[Candidates, Index], Bools]
"""(N, K): true where the candidate may be offered."""


def can_be_had(candidates: Candidates, catalogue: Index) -> Bools:
    """In stock, not withdrawn, and known to the catalogue at all."""
    may: Bools = np.append(catalogue.may_be_offered, False)[candidates.code]  # UNKNOWN is the last
    return may


def is_scored(candidates: Candidates, catalogue: Index) -> Bools:
    """The model gave it a finite score."""
    return np.isfinite(candidates.score)


def is_not_bought(candidates: Candidates, catalogue: Index) -> Bools:
    """Neither the session nor, as far as known, its user has bought it."""
    return ~candidates.bought.hold(candidates.code)


def is_not_in_basket(candidates: Candidates, catalogue: Index) -> Bools:
    """The session has not put it into its basket, or has taken it out again."""
    return ~candidates.basket.hold(candidates.code)


def is_not_looked_at(candidates: Candidates, catalogue: Index) -> Bools:
    """It is not the item that is on the screen."""
    differs: Bools = candidates.code != candidates.looked_at[:, None]
    return differs


def is_not_blocked(items: Collection[str], categories: Collection[str]) -> Rule:
    """The rule that it is none of these items, nor in one of these categories or below."""
    prefixes = [_levels(name) for name in categories]

    def rule(candidates: Candidates, catalogue: Index) -> Bools:
        named = catalogue.codes(np.array(sorted(items), dtype=object))
        blocked = np.isin(candidates.code, named[named != UNKNOWN])
        names = catalogue.categories
        within = [any(_levels(name)[: len(p)] == p for p in prefixes) for name in names]
        if any(within):
            number = np.append(catalogue.category, 0)[candidates.code]
            blocked |= np.array(within)[number] & (candidates.code != UNKNOWN)
        return ~blocked

    return rule


def allowed(rules: Collection[Rule], candidates: Candidates, catalogue: Index) -> Bools:
    """What all rules allow, (N, K)."""
    may: Bools = np.ones(candidates.code.shape, bool)
    for rule in rules:
        may &= rule(candidates, catalogue)
    return may


def _levels(category: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in category.split(">"))
