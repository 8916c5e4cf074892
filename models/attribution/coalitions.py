"""What the model says with any set of groups left level, and the Shapley values that follow from it.

With seven groups there are 128 sets: few enough to ask for all of them, so nothing is sampled or fitted. Fidelity reads
every answer it needs from the same table.
"""

from __future__ import annotations

from math import factorial
from typing import NamedTuple

import torch
from torch import Tensor

from models.attribution.histories import Histories, WinNet, in_pieces, logits

MOST_GROUPS = 10
"""More groups would make the table too large."""


class Coalitions(NamedTuple):
    """Log-odds at N explained frames with each set of groups kept and the others level all along."""

    values: Tensor  # (N, 2**P) float64; bit j of the column stands for group `groups[j]`
    groups: Tensor  # (P,) int64, the groups of which anything is known in these histories
    group_count: int

    @classmethod
    def of(cls, model: WinNet, histories: Histories) -> Coalitions:
        """Ask the model once for every set.

        Raises:
            ValueError: more than 10 groups are known.
        """
        known = histories.known_groups(model.config)
        groups = torch.nonzero(known.any(dim=0)).squeeze(1)
        if len(groups) > MOST_GROUPS:
            raise ValueError(f"{len(groups)} groups have 2**{len(groups)} sets; at most {MOST_GROUPS} groups are tried")

        def explain(piece: Histories) -> Tensor:
            columns = []
            for coalition in range(1 << len(groups)):
                kept = torch.zeros(1, len(model.config.groups), dtype=torch.bool)
                kept[0, groups] = _members(coalition, len(groups))
                columns.append(logits(model, piece.keeping(kept, model.config)).double())
            return torch.stack(columns, dim=1)

        with torch.no_grad():
            return cls(in_pieces(explain, histories), groups, len(model.config.groups))

    @property
    def whole(self) -> Tensor:
        """With every group as it is, (N,): the model's own answer."""
        return self.values[:, -1]

    def keeping(self, groups: Tensor) -> Tensor:
        """With these groups kept, (N, G) bool, the log-odds, (N,)."""
        column = (groups[:, self.groups].long() << torch.arange(len(self.groups))).sum(dim=1)
        return self.values[torch.arange(len(self.values)), column]

    def shapley(self) -> Tensor:
        """Shapley values of the groups, (N, G): they add up to the answer less the answer with all groups level."""
        players = len(self.groups)
        shares = self.values.new_zeros(len(self.values), self.group_count)
        for coalition in range(1 << players):
            size = coalition.bit_count()
            for player in range(players):
                if coalition >> player & 1:
                    chance = factorial(size - 1) * factorial(players - size) / factorial(players)
                    gain = self.values[:, coalition] - self.values[:, coalition ^ (1 << player)]
                    shares[:, self.groups[player]] += chance * gain
        return shares


def shapley(model: WinNet, histories: Histories) -> Tensor:
    """Exact Shapley values by group, (N, G), from 2**G calls of the model."""
    return Coalitions.of(model, histories).shapley()


def _members(coalition: int, players: int) -> Tensor:
    return (torch.tensor(coalition) >> torch.arange(players) & 1).bool()
