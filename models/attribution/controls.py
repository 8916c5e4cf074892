"""Attributions that know nothing of the model: what any other must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from models.attribution.histories import Attribution, Histories, WinNet, group_sums
from models.layers.heroes import LineUp


class Matches(Protocol):
    """Finished matches as padded tensors; a `jobs.datasets.MatchSet` is one."""

    @property
    def features(self) -> Tensor:
        """(B, T, F), camp A minus camp B, NaN = not known."""

    @property
    def clock_s(self) -> Tensor:
        """(B, T)."""

    @property
    def mask(self) -> Tensor:
        """(B, T) bool, True for real frames."""

    @property
    def heroes(self) -> Sequence[LineUp]:
        """(B), empty line-ups where they are not known."""

    @property
    def won(self) -> Tensor:
        """(B,), 1 if camp A won."""


def random_reasons(seed: int) -> Attribution:
    """Reasons drawn by lot among the groups that are known, (N, G); the same seed draws the same."""

    def explain(model: WinNet, histories: Histories) -> Tensor:
        known = histories.known_groups(model.config)
        drawn: Tensor = torch.randn(known.shape, generator=torch.Generator().manual_seed(seed))
        return drawn * known

    return explain


def linear_coefficients(train: Matches) -> Attribution:
    """Coefficient times value of one logistic regression on the features of a frame, (N, G); missing counts as 0.

    Raises:
        ValueError: one camp won every match of `train`: there is nothing to learn.
    """
    from sklearn.linear_model import LogisticRegression

    x = train.features[train.mask].nan_to_num()
    spread = x.square().mean(dim=0).sqrt().clamp(min=1e-9)
    won = train.won[:, None].expand_as(train.mask)[train.mask]
    fitted = LogisticRegression(fit_intercept=False).fit((x / spread).numpy(), won.numpy())  # odd, as the model is
    weights = torch.from_numpy(fitted.coef_[0]) / spread

    def explain(model: WinNet, histories: Histories) -> Tensor:
        now = histories.at_last(histories.features).double().nan_to_num()
        return group_sums(now * weights, model.config)

    return explain
