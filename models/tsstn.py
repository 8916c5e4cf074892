"""TSSTN: who will win a MOBA match, from what is known now, and which group of features says so.

Source: Yang et al., "Interpretable Real-Time Win Prediction for Honor of Kings, a Popular Mobile MOBA Esport",
arXiv:2008.06313. The paper names two stages, spatial (one score per feature group) and temporal (how much each group
counts now); layer sizes and the recurrent cell are ours, because the paper's are not public.

    x_g, m_g  ─► scaled by the clock's slot ─► s_g = tanh((f_g(x, m) - f_g(-x, m)) / 2)          spatial, odd
    |s|, known groups, clock ─► temporal net ─► w = softmax over known groups,  γ = softplus          temporal, even
    logit = Σ c_g,   c_g = τ(clock) (γ w_g s_g + [g = form] home(clock))

Input:  features (B, T, F), camp A minus camp B, in game units, NaN = not known; clock_s (B, T), game clock in
        seconds; line-ups, names of the heroes, where the model knows heroes.
Output: logits (B, T), log-odds that A wins given frames 0..t; scores, weights, contributions (B, T, G).

What holds by construction: contributions sum to the logit; a frame's answer never depends on later frames or on the
length of the match; and swapping the camps turns the sign of everything but `home`, as what enters the temporal net is
even in s. `home` is what the first named side's place is worth (the blue side of the map, the first pick): learned, a
part of form's contribution, and only there where form is known. τ is a temperature by clock, 1 until `calibrated`.
Departures from the dossier: the GRU keeps its own running means instead of being fed them, and γ follows the state,
because evidence grows in the course of a match while Σ w stays 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.layers import (
    PIECE,
    AttentionDrive,
    ConstantDrive,
    HeroEmbedding,
    LinearGroupScores,
    OddGroupScores,
    RecurrentDrive,
    SlotScale,
    SlotTableDrive,
    at_clock,
    masked_softmax,
    padded,
)
from models.layers.heroes import LineUp

TEMPORAL = ("none", "table", "gru", "attention")
SPATIAL = ("net", "linear")
CURVE_STEP_S = 600.0
"""Home advantage and temperature are lines between knots so many seconds apart."""
CURVE_KNOTS = 5

_FORM, _HERO = "form", "hero"
_CLOCK_FEATURES = 5
_LAST_MINUTE = 80.0
_MOST_UNITS = 4096  # of a layer: a stored config is not trusted in size
_STRIP_ROWS = 8 * PIECE
"""Rows scored at once when streaming: what lies between two layers then stays in the cache."""


@dataclass(frozen=True)
class TSSTNConfig:
    """What a TSSTN is made of.

    Attributes:
        groups: (name, its features) of each group; together the column order of `features`.
        temporal: "none", weights are constant; "table", a table over the clock; "gru"; "attention", a causal
            Transformer, which cannot be streamed. See `models.layers.temporal`.
        spatial: "net", a small odd net per group; "linear", a linear score.
        home: learn what camp A's side is worth, where there is a form group.
        hidden: units of each group's two hidden layers.
        dropout: share of hidden units that training leaves out.
        state: units of the GRU's state.
        slot_s: width of a slot of feature scales, seconds of game clock.
        slots: number of such slots; the last pools all later time.
        clip: scaled features are held within ±clip.
        gamma: γ before training.
        hero_dim: length of a hero's vector, which joins the hero group's features; 0: line-ups are not looked at.
        heroes: (name, class) of the heroes that training knows; class "" = unknown.
    """

    groups: tuple[tuple[str, tuple[str, ...]], ...]
    temporal: str = "gru"
    spatial: str = "net"
    home: bool = True
    hidden: int = 32
    dropout: float = 0.0
    state: int = 32
    slot_s: float = 30.0
    slots: int = 80
    clip: float = 5.0
    gamma: float = 4.0
    hero_dim: int = 0
    heroes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.groups or not all(features for _, features in self.groups):
            raise ValueError("TSSTN needs at least one group, and no group may be empty")
        for name, value in (("hidden", self.hidden), ("state", self.state), ("slots", self.slots)):
            if not 1 <= value <= _MOST_UNITS:
                raise ValueError(f"TSSTN {name} must lie in 1..{_MOST_UNITS}, not {value}")
        if not 0 <= self.hero_dim <= _MOST_UNITS:
            raise ValueError(f"TSSTN hero_dim must lie in 0..{_MOST_UNITS}, not {self.hero_dim}")
        for name, number in (("slot_s", self.slot_s), ("clip", self.clip), ("gamma", self.gamma)):
            if not 0 < number < math.inf:
                raise ValueError(f"TSSTN {name} must be a finite number above 0, not {number}")
        for name, kind, kinds in (("temporal", self.temporal, TEMPORAL), ("spatial", self.spatial, SPATIAL)):
            if kind not in kinds:
                raise ValueError(f"TSSTN {name} must be one of {', '.join(kinds)}, not {kind!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"TSSTN dropout must lie in 0..1, not {self.dropout}")
        if self.hero_dim and not (self.heroes and _HERO in self.group_names):
            raise ValueError("TSSTN hero_dim needs the names of heroes and a group called hero")

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups in output order."""
        return tuple(name for name, _ in self.groups)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features in input order."""
        return tuple(feature for _, features in self.groups for feature in features)

    @property
    def columns(self) -> tuple[tuple[int, ...], ...]:
        """For each group its columns; those of the heroes' vectors follow after all features."""
        start, columns = 0, []
        for name, features in self.groups:
            own = tuple(range(start, start + len(features)))
            start += len(features)
            columns.append(own + tuple(len(self.features) + d for d in range(self.hero_dim)) * (name == _HERO))
        return tuple(columns)

    def build(self) -> TSSTN:
        """A network with fresh weights."""
        return TSSTN(self)


class WinEstimate(NamedTuple):
    """What the model says about some frames; leading axes (B, T) from `forward`, (N,) from `step`."""

    logits: Tensor  # (...)
    scores: Tensor  # (..., G), in (-1, 1); positive speaks for camp A
    weights: Tensor  # (..., G), sum 1 over known groups
    contributions: Tensor  # (..., G), sum to the logit


class TSSTN(nn.Module):
    """The network; see the module's docstring for the equations."""

    temperature: Tensor  # (CURVE_KNOTS,)
    at_form: Tensor  # (G,), 1 for the form group

    def __init__(self, config: TSSTNConfig) -> None:
        super().__init__()
        self.config = config
        groups, inputs = len(config.groups), len(config.features) + config.hero_dim
        self.scale = SlotScale(len(config.features), slots=config.slots, slot_s=config.slot_s, clip=config.clip)
        self.heroes = HeroEmbedding(dict(config.heroes), config.hero_dim) if config.hero_dim else None
        self.spatial = (
            OddGroupScores(config.columns, inputs, config.hidden, config.dropout)
            if config.spatial == "net"
            else LinearGroupScores(config.columns, inputs)
        )
        self.temporal = _drive(config)
        # γ = softplus of the drive's last output
        self.temporal.start_at(groups, torch.tensor(config.gamma, device="cpu").expm1().log().item())
        self.home = nn.Parameter(torch.zeros(CURVE_KNOTS)) if config.home and _FORM in config.group_names else None
        self.register_buffer("temperature", torch.ones(CURVE_KNOTS))
        at_form = torch.tensor([float(name == _FORM) for name in config.group_names])
        self.register_buffer("at_form", at_form, persistent=False)

    @property
    def state(self) -> int:
        """Floats of recurrent state per match; 0 where the model keeps none."""
        return self.temporal.state

    def forward(
        self, features: Tensor, clock_s: Tensor, mask: Tensor, line_ups: Sequence[LineUp] | None = None
    ) -> WinEstimate:
        """Estimates for whole matches.

        Args:
            features: (B, T, F), NaN = not known; frames of a match in time order, padding at the end.
            clock_s: (B, T).
            mask: (B, T), True for real frames; what stands elsewhere comes out as 0.
            line_ups: names of the heroes of camp A and B of each match; None: not known.
        """
        batch, frames = clock_s.shape
        clock = clock_s.reshape(-1)
        real = torch.nonzero(mask.reshape(-1)).squeeze(1)  # padding is not worth a product
        found = self._score(features.reshape(batch * frames, -1)[real], clock[real], real // frames, line_ups)
        scores, known = (x.new_zeros(batch * frames, x.shape[1]).index_copy(0, real, x) for x in found)
        inputs = self._temporal_input(scores, known, clock)
        drive = self.temporal(inputs.reshape(batch, frames, -1), clock_s)
        estimate = self._fuse(scores, known, drive.reshape(batch * frames, -1), clock)
        logits, *per_group = estimate
        return WinEstimate(logits.reshape(batch, frames), *(x.reshape(batch, frames, -1) for x in per_group))

    @torch.inference_mode()
    def step(
        self,
        features: Tensor,
        clock_s: Tensor,
        match: Tensor,
        hidden: Tensor,
        line_ups: Sequence[LineUp] | None = None,
    ) -> tuple[WinEstimate, Tensor]:
        """Estimates for the next frames of many matches; the same, bit for bit, however the stream was cut.

        Args:
            features: (N, F), NaN = not known.
            clock_s: (N,).
            match: (N,) int64, row of `hidden`; rows of one match in time order, matches in any order.
            hidden: (M, H), state of each match before these frames, zeros for a new one; H = `state`.
            line_ups: (M) names of the heroes of camp A and B of each match; None: not known.

        Returns:
            the estimates (N, ...) and the state after these frames (M, H); `hidden` itself is left alone.

        Raises:
            ValueError: the model cannot be streamed (temporal=attention).
        """
        rows = clock_s.shape[0]  # len() of a tensor takes ten times as long
        if not rows:
            empty = features.new_zeros(0, len(self.config.groups))
            return WinEstimate(features.new_zeros(0), empty, empty, empty), hidden.clone()
        features, clock_s = padded(features, torch.nan), padded(clock_s)
        scores, known = self._score_in_strips(features, clock_s, padded(match), line_ups)
        inputs = self._temporal_input(scores, known, clock_s)
        drive, hidden = self.temporal.step(inputs, clock_s, match, hidden)
        estimate = self._fuse(scores, known, drive, clock_s)
        return WinEstimate(*(column[:rows] for column in estimate)), hidden

    def _score_in_strips(
        self, features: Tensor, clock_s: Tensor, match: Tensor, line_ups: Sequence[LineUp] | None
    ) -> tuple[Tensor, Tensor]:
        """`_score` of any number of rows, some at a time."""
        if clock_s.shape[0] <= _STRIP_ROWS:
            return self._score(features, clock_s, match, line_ups, PIECE)
        strips = (torch.split(x, _STRIP_ROWS) for x in (features, clock_s, match))
        found = [self._score(f, c, m, line_ups, PIECE) for f, c, m in zip(*strips, strict=True)]
        scores, known = (torch.cat(parts) for parts in zip(*found, strict=True))
        return scores, known

    def _score(
        self,
        features: Tensor,
        clock_s: Tensor,
        match: Tensor,
        line_ups: Sequence[LineUp] | None,
        piece: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Stage one: scores (N, G) and which groups are known (N, G)."""
        scaled = self.scale(features, clock_s)
        if self.heroes is not None:
            if line_ups is None:
                brought = scaled.new_full((scaled.shape[0], self.config.hero_dim), torch.nan)
            else:
                signed, named = self.heroes(line_ups)
                brought = signed.masked_fill(named[:, None] == 0, torch.nan)[match]
            scaled = torch.cat([scaled, brought], dim=1)
        present = scaled.isnan().logical_not().to(scaled.dtype)
        scores, known = self.spatial(scaled.nan_to_num(), present, piece)
        return scores, known

    def _temporal_input(self, scores: Tensor, known: Tensor, clock_s: Tensor) -> Tensor:
        """What the temporal net sees, (N, 2G + 5): even in the scores, and nothing of the final time."""
        minutes = (clock_s / 60).clamp(0, _LAST_MINUTE)
        turns = [2 * torch.pi * minutes / period for period in (20.0, 60.0)]
        clock = [minutes / 20, *(wave for turn in turns for wave in (turn.sin(), turn.cos()))]
        return torch.cat([scores.abs(), known, torch.stack(clock, dim=1)], dim=1)

    def _fuse(self, scores: Tensor, known: Tensor, drive: Tensor, clock_s: Tensor) -> WinEstimate:
        """Stage two's weights and strength on stage one's scores."""
        weights = masked_softmax(drive[:, :-1], known)
        gamma = nn.functional.softplus(drive[:, -1:].contiguous())
        contributions = gamma * weights * scores
        if self.home is None:
            temperature = at_clock(self.temperature, clock_s, CURVE_STEP_S)[:, None]
        else:
            curves = at_clock(torch.stack([self.home, self.temperature], dim=1), clock_s, CURVE_STEP_S)
            home, temperature = curves[:, :1], curves[:, 1:]
            contributions = contributions + home * (known * self.at_form)
        contributions = contributions * temperature
        return WinEstimate(contributions.sum(dim=1), scores, weights, contributions)


def _drive(config: TSSTNConfig) -> ConstantDrive | SlotTableDrive | RecurrentDrive | AttentionDrive:
    groups = len(config.groups)
    inputs, outputs = 2 * groups + _CLOCK_FEATURES, groups + 1
    match config.temporal:
        case "none":
            return ConstantDrive(outputs)
        case "table":
            return SlotTableDrive(outputs)
        case "gru":
            return RecurrentDrive(inputs, config.state, outputs)
        case _:
            return AttentionDrive(inputs, outputs)
