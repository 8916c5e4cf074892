"""TSSTN: who will win a MOBA match, from what is known now, and which group of features says so.

Source: Yang et al., "Interpretable Real-Time Win Prediction for Honor of Kings, a Popular Mobile MOBA Esport",
arXiv:2008.06313. The paper names two stages, spatial (one score per feature group) and temporal (how much each group
counts now); layer sizes and the recurrent cell are ours, because the paper's are not public.

    x_g, m_g  ─► scaled by the clock's slot ─► s_g = tanh((f_g(x, m) - f_g(-x, m)) / 2)          spatial, odd
    |s|, known groups, clock ─► GRU ─► h ─► w = softmax over known groups,  γ = softplus(ρ + u·h)   temporal, even
    logit = Σ c_g,   c_g = γ w_g s_g

Input:  features (B, T, F), camp A minus camp B, in game units, NaN = not known; clock_s (B, T), game clock in
        seconds.
Output: logits (B, T), log-odds that A wins given frames 0..t; scores, weights, contributions (B, T, G).

Three things hold by construction: contributions sum to the logit; swapping the camps turns its sign (what enters the
temporal net is even in s); a frame's answer never depends on later frames or on the length of the match.
Departures from the dossier: the GRU keeps its own running means instead of being fed them, and γ follows the state,
because evidence grows in the course of a match while Σ w stays 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.layers import OddGroupScores, SlotScale, masked_softmax

_CLOCK_FEATURES = 5
_LAST_MINUTE = 80.0
_ROWS = 64
"""Rows per kernel call when streaming. Always the same number, padded: a matrix product of another shape may round
otherwise, and a match's answer must not depend on who shared its batch."""


@dataclass(frozen=True)
class TSSTNConfig:
    """Sizes of a TSSTN.

    Attributes:
        groups: (name, its features) of each group; together the column order of `features`.
        hidden: units of each group's two hidden layers.
        state: units of the recurrent state.
        slot_s: width of a slot of feature scales, seconds of game clock.
        slots: number of such slots; the last pools all later time.
        clip: scaled features are held within ±clip.
        gamma: γ before training.
    """

    groups: tuple[tuple[str, tuple[str, ...]], ...]
    hidden: int = 32
    state: int = 32
    slot_s: float = 30.0
    slots: int = 80
    clip: float = 5.0
    gamma: float = 4.0

    def __post_init__(self) -> None:
        if not self.groups or not all(features for _, features in self.groups):
            raise ValueError("TSSTN needs at least one group, and no group may be empty")
        for name, value in (("hidden", self.hidden), ("state", self.state), ("slots", self.slots)):
            if value < 1:
                raise ValueError(f"TSSTN {name} must be at least 1, not {value}")

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups in output order."""
        return tuple(name for name, _ in self.groups)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features in input order."""
        return tuple(feature for _, features in self.groups for feature in features)

    def build(self) -> TSSTN:
        """A network with fresh weights."""
        return TSSTN(self)


class WinEstimate(NamedTuple):
    """What the model says about some frames; leading axes (B, T) from `forward`, (N,) from `step`."""

    logits: Tensor  # (...)
    scores: Tensor  # (..., G), in (-1, 1); positive speaks for camp A
    weights: Tensor  # (..., G), sum 1 over known groups
    contributions: Tensor  # (..., G), sum to the logit


class _GRU(nn.GRU):
    """torch's GRU, with the types of the parameters that streaming reads."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor


class TSSTN(nn.Module):
    """The network; see the module's docstring for the equations."""

    def __init__(self, config: TSSTNConfig) -> None:
        super().__init__()
        self.config = config
        groups = len(config.groups)
        self.scale = SlotScale(len(config.features), slots=config.slots, slot_s=config.slot_s, clip=config.clip)
        self.spatial = OddGroupScores(tuple(len(features) for _, features in config.groups), config.hidden)
        self.temporal = _GRU(2 * groups + _CLOCK_FEATURES, config.state, batch_first=True)
        self.weights = nn.Linear(config.state, groups)
        self.strength = nn.Linear(config.state, 1)
        with torch.no_grad():
            self.strength.weight.zero_()
            self.strength.bias.fill_(torch.tensor(config.gamma).expm1().log())  # softplus(bias) = gamma

    def forward(self, features: Tensor, clock_s: Tensor, mask: Tensor) -> WinEstimate:
        """Estimates for whole matches.

        Args:
            features: (B, T, F), NaN = not known; frames of a match in time order, padding at the end.
            clock_s: (B, T).
            mask: (B, T), True for real frames; what stands elsewhere comes out as 0.
        """
        batch, frames = clock_s.shape
        scores, known = self._score(features.reshape(batch * frames, -1), clock_s.reshape(-1))
        known = known * mask.reshape(-1, 1)
        inputs = self._temporal_input(scores, known, clock_s.reshape(-1))
        hidden, _ = self.temporal(inputs.reshape(batch, frames, -1))
        estimate = self._fuse(scores, known, hidden.reshape(batch * frames, -1))
        logits, *per_group = estimate
        return WinEstimate(logits.reshape(batch, frames), *(x.reshape(batch, frames, -1) for x in per_group))

    @torch.no_grad()
    def step(self, features: Tensor, clock_s: Tensor, match: Tensor, hidden: Tensor) -> tuple[WinEstimate, Tensor]:
        """Estimates for the next frames of many matches; the same, bit for bit, however the stream was cut.

        Args:
            features: (N, F), NaN = not known.
            clock_s: (N,).
            match: (N,) int64, row of `hidden`; rows of one match in time order, matches in any order.
            hidden: (M, H), state of each match before these frames, zeros for a new one.

        Returns:
            the estimates (N, ...) and the state after these frames (M, H); `hidden` itself is left alone.
        """
        rows = len(clock_s)
        spare = -rows % _ROWS
        features = torch.cat([features, features.new_full((spare, features.shape[1]), torch.nan)])
        clock_s = torch.cat([clock_s, clock_s.new_zeros(spare)])
        stages = [
            self._before_state(f, c)
            for f, c in zip(torch.split(features, _ROWS), torch.split(clock_s, _ROWS), strict=True)
        ]
        if not stages:
            empty = features.new_zeros(0, len(self.config.groups))
            return WinEstimate(features.new_zeros(0), empty, empty, empty), hidden.clone()
        scores, known, pushes = (torch.cat(parts) for parts in zip(*stages, strict=True))
        states, hidden = self._advance(pushes, match, hidden)
        states = torch.cat([states, states.new_zeros(spare, states.shape[1])])
        parts = zip(*(torch.split(x, _ROWS) for x in (scores, known, states)), strict=True)
        fused = [self._fuse(*part) for part in parts]
        return WinEstimate(*(torch.cat(column)[:rows] for column in zip(*fused, strict=True))), hidden

    def _score(self, features: Tensor, clock_s: Tensor) -> tuple[Tensor, Tensor]:
        """Stage one: scores (N, G) and which groups are known (N, G)."""
        scaled = self.scale(features, clock_s)
        present = scaled.isnan().logical_not().to(scaled.dtype)
        scores, known = self.spatial(scaled.nan_to_num(), present)
        return scores, known

    def _temporal_input(self, scores: Tensor, known: Tensor, clock_s: Tensor) -> Tensor:
        """What the recurrent net sees, (N, 2G + 5): even in the scores, and nothing of the final time."""
        minutes = (clock_s / 60).clamp(0, _LAST_MINUTE)
        turns = [2 * torch.pi * minutes / period for period in (20.0, 60.0)]
        clock = [minutes / 20, *(wave for turn in turns for wave in (turn.sin(), turn.cos()))]
        return torch.cat([scores.abs(), known, torch.stack(clock, dim=1)], dim=1)

    def _fuse(self, scores: Tensor, known: Tensor, state: Tensor) -> WinEstimate:
        """Stage two's weights and strength on stage one's scores."""
        weights = masked_softmax(self.weights(state), known)
        gamma = nn.functional.softplus(self.strength(state))
        contributions = gamma * weights * scores
        return WinEstimate(contributions.sum(dim=1), scores, weights, contributions)

    def _before_state(self, features: Tensor, clock_s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All that does not depend on the state, for one chunk: scores, known, and the GRU's input product (N, 3H)."""
        scores, known = self._score(features, clock_s)
        inputs = self._temporal_input(scores, known, clock_s)
        return scores, known, nn.functional.linear(inputs, self.temporal.weight_ih_l0, self.temporal.bias_ih_l0)

    def _advance(self, pushes: Tensor, match: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Run the recurrence: the first frame of every match, then the second, ... Returns states (N, H), hidden."""
        rows, width = len(match), hidden.shape[1]
        order, starts = _rounds(match)
        hidden = torch.cat([hidden, hidden.new_zeros(1, width)])  # the last row takes what padding computes
        states = pushes.new_empty(rows, width)
        for start, stop in pairwise(starts):
            for chunk in torch.split(order[start:stop], _ROWS):
                padding = _ROWS - len(chunk)
                who = nn.functional.pad(match[chunk], (0, padding), value=len(hidden) - 1)
                push = nn.functional.pad(pushes[chunk], (0, 0, 0, padding))
                state = self._cell(push, hidden[who])
                hidden[who] = state
                states[chunk] = state[: len(chunk)]
        return states, hidden[:-1]

    def _cell(self, push: Tensor, hidden: Tensor) -> Tensor:
        """One GRU step, push = W_ih x + b_ih: the same equations as `nn.GRU`."""
        pull = nn.functional.linear(hidden, self.temporal.weight_hh_l0, self.temporal.bias_hh_l0)
        width = hidden.shape[1]
        gates = (push[:, : 2 * width] + pull[:, : 2 * width]).sigmoid()
        reset, update = gates[:, :width], gates[:, width:]
        new = torch.tanh(push[:, 2 * width :] + reset * pull[:, 2 * width :])
        return new + update * (hidden - new)


def _rounds(match: Tensor) -> tuple[Tensor, list[int]]:
    """Rows sorted into rounds, the r-th frame of each match in round r: order (N,) and where each round starts."""
    by_match = torch.argsort(match, stable=True)
    sorted_match = match[by_match]
    first = torch.searchsorted(sorted_match, sorted_match)
    turn = torch.empty_like(match)
    turn[by_match] = torch.arange(len(match), device=match.device) - first
    order = torch.argsort(turn, stable=True)
    sizes = torch.bincount(turn, minlength=1).tolist()
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    return order, starts
