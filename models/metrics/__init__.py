"""Figures of merit: pure functions on numpy arrays."""

from models.metrics.probability import accuracy, auc, brier, ece, log_loss

__all__ = ["accuracy", "auc", "brier", "ece", "log_loss"]
