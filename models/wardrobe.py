"""A wardrobe to browse: the embeddings of a bank as few groups of clothes that are alike, by k-means."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ROUNDS = 50


class Wardrobe(NamedTuple):
    """K groups of N embeddings, the largest first."""

    centres: Tensor  # (K, A)
    typical: Tensor  # (K,) int, the embedding nearest to each centre
    group: Tensor  # (N,) int, which group each is in
    sizes: Tensor  # (K,) int


def wardrobe(apparel: Tensor, groups: int, *, seed: int = 0) -> Wardrobe:
    """Lloyd's k-means from centres drawn by k-means++ (Arthur and Vassilvitskii, SODA 2007, §2.2).

    Args:
        apparel: (N, A).
        groups: K; with fewer different embeddings, fewer.
        seed: of the first centres.

    Raises:
        ValueError: no embeddings, or fewer than one group.
    """
    if groups < 1 or not len(apparel):
        raise ValueError(f"{groups} groups of {len(apparel)} embeddings: at least one of each is needed")
    centres = _first_centres(apparel, groups, torch.Generator().manual_seed(seed))
    group = _nearest(apparel, centres)
    for _ in range(_ROUNDS):
        sums = torch.zeros_like(centres).index_add_(0, group, apparel)
        sizes = torch.bincount(group, minlength=len(centres))[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)  # who has nobody left stays where it is
        moved = _nearest(apparel, centres)
        if torch.equal(moved, group):
            break
        group = moved
    sizes = torch.bincount(group, minlength=len(centres))
    order = torch.argsort(sizes, descending=True, stable=True)
    order = order[sizes[order] > 0]
    place = torch.full_like(sizes, -1)
    place[order] = torch.arange(len(order))
    centres = centres[order]
    typical = torch.cdist(centres, apparel).argmin(dim=1)
    return Wardrobe(centres, typical, place[group], sizes[order])


def _first_centres(apparel: Tensor, groups: int, chance: torch.Generator) -> Tensor:
    chosen = [int(torch.randint(len(apparel), (1,), generator=chance))]
    nearest = (apparel - apparel[chosen[0]]).square().sum(dim=1)
    while len(chosen) < groups and float(nearest.max()) > 0:
        chosen.append(int(torch.multinomial(nearest, 1, generator=chance)))
        nearest = torch.minimum(nearest, (apparel - apparel[chosen[-1]]).square().sum(dim=1))
    return apparel[chosen]


def _nearest(apparel: Tensor, centres: Tensor) -> Tensor:
    return torch.cdist(apparel, centres).argmin(dim=1)
