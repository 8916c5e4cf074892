"""What all attribution methods share: the frames to explain, each with its history, and the model's answer to them.

A frame's answer rests on all frames up to it, so what is explained is a history, a match up to that frame. "Without
kills" means a match whose kills were level all along: known, and zero at every frame. That is a match which could be,
while a lead that vanishes in one frame is not. A level line-up is the same heroes on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from models.layers import SlotScale
from models.layers.heroes import LineUp
from models.tsstn import TSSTNConfig, WinEstimate

AT_ONCE = 256
"""Histories in one call of the model."""
HERO = "hero"
"""The group that line-ups belong to."""


class WinNet(Protocol):
    """What is explained: a TSSTN, or another network with the same answer whose config names the groups."""

    @property
    def config(self) -> TSSTNConfig:
        """Groups and their features, in column order."""

    @property
    def scale(self) -> SlotScale:
        """The spread of each feature at each time."""

    def __call__(
        self, features: Tensor, clock_s: Tensor, mask: Tensor, line_ups: Sequence[LineUp] | None = None
    ) -> WinEstimate:
        """Estimates for whole matches, as `models.tsstn.TSSTN.forward`."""


class Histories(NamedTuple):
    """N matches up to a frame; the last real frame of each is the one to explain."""

    features: Tensor  # (N, T, F), camp A minus camp B, NaN = not known
    clock_s: Tensor  # (N, T)
    mask: Tensor  # (N, T), True for real frames, padding at the end
    line_ups: Sequence[LineUp] | None = None  # (N), None: not known

    @classmethod
    def of(
        cls,
        features: Tensor,
        clock_s: Tensor,
        mask: Tensor,
        frames: Tensor | None = None,
        line_ups: Sequence[LineUp] | None = None,
    ) -> Histories:
        """The histories of some frames of matches.

        Args:
            features: (B, T, F).
            clock_s: (B, T).
            mask: (B, T).
            frames: (N, 2) int64, match and position in it; by default every real frame, match by match.
            line_ups: (B).
        """
        frames = torch.nonzero(mask) if frames is None else frames
        match, last = frames.unbind(dim=1)
        length = int(last.max()) + 1 if len(frames) else 0
        upto = torch.arange(length, device=mask.device) <= last[:, None]
        named = None if line_ups is None else [line_ups[row] for row in match.tolist()]
        return cls(features[match, :length], clock_s[match, :length], mask[match, :length] & upto, named)

    @property
    def last(self) -> Tensor:
        """Position of each explained frame, (N,) int64."""
        return self.mask.sum(dim=1) - 1

    def at_last(self, values: Tensor) -> Tensor:
        """What (N, T, ...) holds at the explained frames, (N, ...)."""
        return values[torch.arange(len(values), device=values.device), self.last]

    def take(self, rows: Tensor) -> Histories:
        """These histories, cut to the longest of them; rows (n,) int64 may repeat."""
        mask = self.mask[rows]
        length = int(mask.sum(dim=1).max()) if len(rows) else 0
        named = None if self.line_ups is None else [self.line_ups[row] for row in rows.tolist()]
        return Histories(self.features[rows, :length], self.clock_s[rows, :length], mask[:, :length], named)

    def pieces(self, at_once: int = AT_ONCE) -> Iterator[tuple[Tensor, Histories]]:
        """Rows and the histories there, those of like length together: padding costs as much as frames."""
        for rows in torch.split(torch.argsort(self.last, stable=True), at_once):
            yield rows, self.take(rows)

    def known_groups(self, config: TSSTNConfig) -> Tensor:
        """Of which groups anything is known, (N, G) bool."""
        values = (~self.features.isnan() & self.mask[..., None]).any(dim=1)
        known = group_sums(values.float(), config) > 0
        if self._shows_heroes(config):
            assert self.line_ups is not None
            named = torch.tensor([bool(a) and bool(b) for a, b in self.line_ups], dtype=torch.bool)
            known[:, config.group_names.index(HERO)] |= named
        return known

    def keeping(self, groups: Tensor, config: TSSTNConfig) -> Histories:
        """The same matches with all other groups level all along; groups (N, G) or (1, G) bool are those that stay."""
        level = ~groups[:, feature_groups(config)][:, None, :] & ~self.features.isnan()
        kept = self._replace(features=self.features.masked_fill(level, 0.0))
        if not self._shows_heroes(config):
            return kept
        stay = groups[:, config.group_names.index(HERO)].expand(len(self.mask)).tolist()
        return kept.with_line_ups(stay)

    def with_line_ups(self, stay: Sequence[bool]) -> Histories:
        """The same matches with level line-ups where they do not stay, (N)."""
        if self.line_ups is None:
            return self
        named = [(a, b) if stays else (a, a if b else b) for (a, b), stays in zip(self.line_ups, stay, strict=True)]
        return self._replace(line_ups=named)

    def as_taken_by(self, model: WinNet) -> Histories:
        """The same matches without the values of features that training never saw: the model takes those as not known,
        and what has no spread has no gradient either."""
        unseen = model.scale.scale[model.scale.slot_of(self.clock_s)].isnan()
        return self._replace(features=self.features.masked_fill(unseen, torch.nan))

    def _shows_heroes(self, config: TSSTNConfig) -> bool:
        return self.line_ups is not None and config.hero_dim > 0


Attribution = Callable[[WinNet, Histories], Tensor]
"""(model, N histories) to (N, G): what each group added to the log-odds of the explained frame, in group order."""


def feature_groups(config: TSSTNConfig) -> Tensor:
    """The group of each feature column, (F,) int64."""
    return torch.tensor([group for group, (_, names) in enumerate(config.groups) for _ in names])


def group_sums(of_features: Tensor, config: TSSTNConfig) -> Tensor:
    """(..., F) to (..., G), each group's features added up."""
    sizes = (*of_features.shape[:-1], len(config.groups))
    return of_features.new_zeros(sizes).index_add_(-1, feature_groups(config).to(of_features.device), of_features)


def estimate(model: WinNet, histories: Histories) -> WinEstimate:
    """The model's answers at every frame, (N, T, ...)."""
    return model(histories.features, histories.clock_s, histories.mask, histories.line_ups)


def logits(model: WinNet, histories: Histories) -> Tensor:
    """The model's log-odds at the explained frames, (N,)."""
    return histories.at_last(estimate(model, histories).logits)


def in_pieces(explain: Callable[[Histories], Tensor], histories: Histories, at_once: int = AT_ONCE) -> Tensor:
    """`explain` over some histories at a time, the results (n, ...) in the order of `histories`, (N, ...)."""
    rows, parts = [], []
    for some, piece in histories.pieces(at_once):
        rows.append(some)
        parts.append(explain(piece))
    order = torch.argsort(torch.cat(rows))
    return torch.cat(parts)[order]


def line_up_effect(model: WinNet, histories: Histories) -> Tensor:
    """What the line-ups alone add to a match that is level else, as the hero group's share, (N, G).

    Gradients say nothing of names: a path from level to what is begins with this step, and goes on by the features.
    """
    shares = torch.zeros(len(histories.mask), len(model.config.groups))
    if model.config.hero_dim and histories.line_ups is not None:
        nothing = torch.zeros(1, len(model.config.groups), dtype=torch.bool)
        level = histories.keeping(nothing, model.config)
        with torch.no_grad():
            found = [
                in_pieces(lambda piece: logits(model, piece), some)
                for some in (level._replace(line_ups=histories.line_ups), level)
            ]
        shares[:, model.config.group_names.index(HERO)] = found[0] - found[1]
    return shares
