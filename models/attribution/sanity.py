"""Checks that any honest model passes: even odds at parity, mirrored camps, nothing learned from nothing."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.attribution.controls import Matches
from models.attribution.histories import Histories, WinNet, estimate, in_pieces

_MATCH_S = 60 * 60.0
_FRAME_S = 30.0


def parity_error(model: WinNet, known: Tensor | None = None) -> float:
    """The largest |p - 1/2| over an hour in which every feature is level; 0 for a model without a preferred camp.

    Args:
        model: in evaluation mode.
        known: (F,) bool, the features that the feed states; by default all but those of the form group, because
            where form is known a model may hold that camp A has the better side.
    """
    config = model.config
    if known is None:
        known = torch.tensor([group != "form" for group, names in config.groups for _ in names])
    clock_s = torch.arange(0.0, _MATCH_S, _FRAME_S)[None]
    level = torch.zeros(len(known)).masked_fill(~known, torch.nan).expand(*clock_s.shape, -1)
    with torch.no_grad():
        found = model(level, clock_s, torch.ones_like(clock_s, dtype=torch.bool)).logits
    return float((found.double().sigmoid() - 0.5).abs().max())


class Flatness(NamedTuple):
    """How far a model goes from even odds, over frames."""

    mean: float  # of |p - 1/2|
    largest: float


def flatness(model: WinNet, matches: Matches) -> Flatness:
    """How far from even odds the model goes on these matches: next to nothing if it was trained on shuffled results."""

    def answers(piece: Histories) -> Tensor:
        found = estimate(model, piece).logits
        away = (found.double().sigmoid() - 0.5).abs()
        return torch.stack([(away * piece.mask).sum(dim=1), (away * piece.mask).amax(dim=1)], dim=1)

    whole = Histories(matches.features, matches.clock_s, matches.mask, matches.heroes)
    with torch.no_grad():
        total, largest = in_pieces(answers, whole).unbind(dim=1)
    return Flatness(float(total.sum() / matches.mask.sum()), float(largest.max()))


def shuffled_results(won: Tensor, seed: int) -> Tensor:
    """The results (B,) dealt out anew among the matches: what a model learns from them is nothing."""
    return won[torch.randperm(len(won), generator=torch.Generator().manual_seed(seed))]
