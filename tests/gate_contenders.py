"""Contenders of a line or two for the gate, honest and otherwise, and small windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jobs.datasets import MatchSet
from jobs.gate.promises import Answers

Arrays = Mapping[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]


def gold_window(matches: int, seed: int = 0, frames: int = 6) -> MatchSet:
    """Matches of LoL that know gold and form alone; who leads at the end has most likely won."""
    chance = torch.Generator().manual_seed(seed)
    features = torch.full((matches, frames, 13), torch.nan)
    features[..., 0] = torch.randn(matches, frames, generator=chance).cumsum(dim=1)
    features[..., -1] = torch.randn(matches, 1, generator=chance)
    won = torch.rand(matches, generator=chance) < (3 * features[:, -1].nan_to_num().sum(dim=1)).sigmoid()
    return MatchSet(
        title="lol",
        source="by hand",
        match_ids=tuple(f"m{i}" for i in range(matches)),
        features=features,
        clock_s=(60.0 * torch.arange(frames)).expand(matches, frames).contiguous(),
        mask=torch.ones(matches, frames, dtype=torch.bool),
        won=won.float(),
        year=torch.full((matches,), 2026),
    )


def linear(matches: MatchSet, slope: float = 1.0) -> tuple[Floats, Floats]:
    """Log-odds (B, T) and contributions (B, T, F): each known value times the slope."""
    contributions = slope * matches.features.double().nan_to_num().numpy()
    return contributions.sum(axis=2), contributions


class Linear:
    """Answers by `linear`, changed by `spoil(matches, logits, contributions)` if that is given."""

    has_home = False

    def __init__(
        self, slope: float = 1.0, spoil: Callable[[MatchSet, Floats, Floats], tuple[Floats, Floats]] | None = None
    ) -> None:
        self.slope, self.spoil = slope, spoil

    def request(self, matches: MatchSet) -> Arrays:
        """The answers themselves."""
        logits, contributions = linear(matches, self.slope)
        if self.spoil is not None:
            logits, contributions = self.spoil(matches, logits, contributions)
        mask = matches.mask.numpy()
        return {"logit": logits[mask], "contributions": contributions[mask]}

    def predict(self, request: Arrays) -> Arrays:
        """What was asked with."""
        return request

    def answer(self, matches: MatchSet) -> Answers:
        """As `jobs.gate.promises` asks."""
        found = self.request(matches)
        return Answers(found["logit"], found["contributions"])
