"""The model's own reasons: group contributions, exact in log-odds, and what each feature has of its group's.

logit = Σ c_g            nothing to estimate: the forward pass computes it so
c_g   = Σ detail_i       integrated gradients of the group's score net, fitted to c_g
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.attribution.histories import HERO, Histories, WinNet, estimate, feature_groups, in_pieces
from models.tsstn import TSSTN

STEPS = 32
"""Points on the path from level to what is, and their weights: Gauss and Legendre's."""

LINE_UP, SIDE = "line-up", "side"
"""Details that are no features: which heroes play, and which side of the map is whose."""


def contributions(model: WinNet, histories: Histories) -> Tensor:
    """The model's contributions at the explained frames, (N, G): one forward pass."""
    with torch.no_grad():
        return in_pieces(lambda piece: piece.at_last(estimate(model, piece).contributions), histories)


class Details(NamedTuple):
    """Contributions of single features, in log-odds; those of a group add up to the group's."""

    names: tuple[str, ...]  # (D,), the model's features, then `LINE_UP` and `SIDE` where the model has such parts
    groups: Tensor  # (D,) int64, the group of each
    values: Tensor  # (N, D) float64


def details(model: TSSTN, histories: Histories) -> Details:
    """What each feature has of its group's contribution at the explained frames.

    The score net of a group is f_g before its tanh; its integrated gradients along the straight line from level to
    what is say how much each feature moved it. They are scaled to the contribution by the slope of that last step from
    f_g to c_g, γ w_g tanh(f_g) / f_g, which is finite where f_g is 0: there one feature speaks for A as much as
    another does for B, both are shown, and they cancel. What the path's finite steps leave over is given to the
    features of the group in proportion to their size. A group of which nothing is known has zeros.
    """
    config = model.config
    names, groups = list(config.features), feature_groups(config).tolist()
    if config.hero_dim:
        names, groups = [*names, LINE_UP], [*groups, config.group_names.index(HERO)]
    if model.home is not None:
        names, groups = [*names, SIDE], [*groups, config.group_names.index("form")]
    values = in_pieces(lambda piece: _details(model, piece), histories)
    return Details(tuple(names), torch.tensor(groups), values)


def _details(model: TSSTN, piece: Histories) -> Tensor:
    config = model.config
    piece = piece.as_taken_by(model)
    with torch.no_grad():
        found = [piece.at_last(part).double() for part in estimate(model, piece)]
        _, scores, weights, whole = found
        nothing = torch.zeros(1, len(config.groups), dtype=torch.bool)
        # What a group says of a level match is not its features' doing: the side of the map.
        level = piece.at_last(estimate(model, piece.keeping(nothing, config)).contributions).double()
    moved, group_of = _integrated(model, piece)
    # τγ of a frame, from the group that shows it best.
    products = weights * scores
    best = products.abs().argmax(dim=1, keepdim=True)
    strength = (whole - level).gather(1, best) / products.gather(1, best)
    slope = (strength * weights).nan_to_num(posinf=0.0, neginf=0.0) * _per_unit(scores, config.spatial)
    values = moved * slope[:, group_of]
    values = _fitted(values, whole - level, group_of, len(config.groups))
    features = len(config.features)
    parts = [values[:, :features]]
    if config.hero_dim:
        parts.append(values[:, features:].sum(dim=1, keepdim=True))
    if model.home is not None:
        parts.append(level[:, [config.group_names.index("form")]])
    return torch.cat(parts, dim=1)


def _integrated(model: TSSTN, piece: Histories) -> tuple[Tensor, Tensor]:
    """Integrated gradients of every group's score before its tanh at the explained frames, (n, D) float64, and the
    group of each column; features first, then the line-ups' vector."""
    config = model.config
    inputs = model.scale(piece.at_last(piece.features), piece.at_last(piece.clock_s)).double()
    group_of = feature_groups(config)
    if model.heroes is not None:
        brought = torch.full((len(inputs), config.hero_dim), torch.nan, dtype=torch.float64)
        if piece.line_ups is not None:
            with torch.no_grad():
                signed, named = model.heroes(piece.line_ups)
            brought = signed.double().masked_fill(named[:, None] == 0, torch.nan)
        inputs = torch.cat([inputs, brought], dim=1)
        group_of = torch.cat([group_of, torch.full((config.hero_dim,), config.group_names.index(HERO))])
    present = inputs.isnan().logical_not().double()
    inputs = inputs.nan_to_num()
    if not present.any():
        return inputs, group_of
    spatial = copy.deepcopy(model.spatial).double()  # so that the inverse of tanh stays exact where it is steep
    points, shares = np.polynomial.legendre.leggauss(STEPS)
    gradient = torch.zeros_like(inputs)
    for point, share in zip((points + 1) / 2, shares / 2, strict=True):
        at = (inputs * float(point)).requires_grad_()
        scores, _ = spatial(at, present)
        before_tanh = torch.atanh(scores) if config.spatial == "net" else scores
        # A column belongs to one group, so one pass gives the gradients of all groups.
        (slope,) = torch.autograd.grad(before_tanh.sum(), at)
        gradient += float(share) * slope
    return inputs * gradient, group_of


def _per_unit(scores: Tensor, spatial: str) -> Tensor:
    """tanh(f) / f, given tanh(f): 1 where f is 0."""
    if spatial != "net":
        return torch.ones_like(scores)
    f = torch.atanh(scores)
    return torch.where(f.abs() < 1e-9, 1.0, scores / f)


def _fitted(values: Tensor, wanted: Tensor, group_of: Tensor, groups: int) -> Tensor:
    """Values (n, D) whose sums by group are `wanted` (n, G), each changed in proportion to its size."""

    def sums(of: Tensor) -> Tensor:
        return of.new_zeros(len(of), groups).index_add_(1, group_of, of)

    size = values.abs()
    left = wanted - sums(values)
    return values + size * (left / sums(size).clamp(min=torch.finfo(torch.float64).tiny))[:, group_of]
