"""Losses: pure functions, and modules only where a loss has parameters of its own."""

from models.losses.person import (
    CentreLoss,
    PersonLoss,
    PersonLosses,
    batch_hard_triplet,
    smoothed_cross_entropy,
)
from models.losses.win import (
    NamedLosses,
    TSSTNLoss,
    entropy_shortfall,
    frame_weights,
    weight_roughness,
    win_loss,
)

__all__ = [
    "CentreLoss",
    "NamedLosses",
    "PersonLoss",
    "PersonLosses",
    "TSSTNLoss",
    "batch_hard_triplet",
    "entropy_shortfall",
    "frame_weights",
    "smoothed_cross_entropy",
    "weight_roughness",
    "win_loss",
]
