"""Losses: pure functions, and modules only where a loss has parameters of its own."""

from models.losses.win import (
    NamedLosses,
    TSSTNLoss,
    entropy_shortfall,
    frame_weights,
    weight_roughness,
    win_loss,
)

__all__ = ["NamedLosses", "TSSTNLoss", "entropy_shortfall", "frame_weights", "weight_roughness", "win_loss"]
