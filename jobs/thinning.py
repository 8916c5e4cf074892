"""What training hides of its matches, so that one model serves rich and poor feeds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from jobs.datasets import MatchSet
from jobs.recipes.win_tsstn import Thinning
from models.layers.heroes import LineUp


class FeaturePlan(NamedTuple):
    """What `thin` needs to know of each feature column."""

    group: Tensor  # (F,) int64, number of its group
    form: Tensor  # (F,) bool, of the form group

    @classmethod
    def of(cls, groups: dict[str, tuple[str, ...]]) -> FeaturePlan:
        """The plan of a title's groups."""
        group = torch.tensor([number for number, names in enumerate(groups.values()) for _ in names])
        form = torch.tensor([name == "form" for name, names in groups.items() for _ in names])
        return cls(group, form)


def thin(features: Tensor, plan: FeaturePlan, how: Thinning, chance: torch.Generator) -> Tensor:
    """Hide features of some matches as a poorer feed would: features (B, T, F) with NaN for what is hidden.

    Every match keeps something that it knew.
    """
    batch, groups = len(features), int(plan.group.max()) + 1
    known = features.isnan().logical_not().any(dim=1)  # (B, F)
    draw = torch.rand(batch, 1, generator=chance)
    # Of each group any feature that the match knows: a feed may have team fights, and no kills.
    lucky = torch.rand(batch, len(plan.group), generator=chance) * known
    best = torch.zeros(batch, groups).scatter_reduce_(1, plan.group.expand(batch, -1), lucky, "amax")
    single = (lucky == best[:, plan.group]) & known
    # Of each group: all of it, one feature only, or nothing.
    fate = torch.rand(batch, groups, generator=chance)[:, plan.group]
    some = (fate < 0.4) | ((fate < 0.65) & single)
    # One group of those that the match knows, whole or one feature of it, with or without form.
    known_group = torch.zeros(batch, groups).index_add_(1, plan.group, known.float()) > 0
    luck = torch.rand(batch, groups, generator=chance) * known_group
    narrow = torch.rand(batch, 1, generator=chance) < 0.5
    with_form = torch.rand(batch, 1, generator=chance) < 2 / 3
    chosen = luck.argmax(dim=1, keepdim=True) == plan.group
    one = (chosen & (single | ~narrow)) | (plan.form & with_form)
    kept = torch.where(draw < how.one, one, torch.where(draw < how.one + how.some, some, torch.tensor(True)))
    kept |= ~(kept & known).any(dim=1, keepdim=True)
    return features.masked_fill(~kept[:, None, :], torch.nan)


def thinned_batch(
    matches: MatchSet, positions: Tensor, plan: FeaturePlan, how: Thinning, chance: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[LineUp]]:
    """The matches at these positions as training shows them: thinned, some without line-ups, some joined in mid-match.

    Returns:
        features (B, T, F), clock (B, T), mask (B, T), outcome (B,), line-ups of B matches.
    """
    part = matches.take(positions)
    features = thin(part.features, plan, how, chance)
    hidden = (torch.rand(len(part), generator=chance) < how.some).tolist()
    line_ups: list[LineUp] = [((), ()) if hide else line_up for line_up, hide in zip(part.heroes, hidden, strict=True)]
    start = 0
    if torch.rand((), generator=chance) < how.late:
        start = int(torch.randint(part.mask.shape[1] // 2 + 1, (), generator=chance))
    return features[:, start:], part.clock_s[:, start:], part.mask[:, start:], part.won, line_ups
