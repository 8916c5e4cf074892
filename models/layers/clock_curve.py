"""Curves over the game clock: values at evenly spaced knots, straight lines between them, level beyond the last."""

from __future__ import annotations

from torch import Tensor


def at_clock(knots: Tensor, clock_s: Tensor, step_s: float) -> Tensor:
    """The curve's values (N, ...) at clock_s (N,), from those at its knots (K, ...), knot k at clock k · step_s."""
    place = (clock_s / step_s).clamp(0, knots.shape[0] - 1)
    below = place.floor()
    share = (place - below).reshape(-1, *[1] * (knots.dim() - 1))
    lower = below.long()
    upper = (lower + 1).clamp(max=knots.shape[0] - 1)
    value: Tensor = knots[lower] * (1 - share) + knots[upper] * share
    return value
