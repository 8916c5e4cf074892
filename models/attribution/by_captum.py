"""Reasons by Captum's methods, for comparison: gradients and perturbations of what enters the model.

Gradients are taken by the features of every frame of the history, in the model's own units (each divided by its spread
at that time), from level; what belongs to a group is added up, over features and frames. A line-up is no number: first
it goes in, then the features. Captum is imported at the first use.

Source: Kokhlikyan et al., "Captum: A unified and generic model interpretability library for PyTorch", arXiv:2009.07896.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models.attribution.histories import (
    AT_ONCE,
    Histories,
    WinNet,
    group_sums,
    in_pieces,
    line_up_effect,
    logits,
)

STEPS = 32
NOISE = 0.15
"""Standard deviation of SmoothGrad's and GradientSHAP's noise, in spreads of the feature."""
NOISE_SAMPLES = 50
PATH_SAMPLES = 50
COALITION_SAMPLES = 128


def integrated_gradients(model: WinNet, histories: Histories) -> Tensor:
    """Gradients averaged over 32 points from level to what is, times what is; (N, G)."""
    from captum.attr import IntegratedGradients

    def explain(forward: Any, inputs: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        method = IntegratedGradients(forward)
        found: Tensor = method.attribute(
            inputs, additional_forward_args=rest, n_steps=STEPS, internal_batch_size=max(AT_ONCE, len(inputs))
        )
        return found

    return _by_gradients(explain, model, histories)


def gradient_x_input(model: WinNet, histories: Histories) -> Tensor:
    """The gradient at what is, times what is; (N, G)."""
    from captum.attr import InputXGradient

    def explain(forward: Any, inputs: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        found: Tensor = InputXGradient(forward).attribute(inputs, additional_forward_args=rest)
        return found

    return _by_gradients(explain, model, histories)


def smooth_grad(model: WinNet, histories: Histories) -> Tensor:
    """The gradient averaged over 50 noisy copies of what is, times what is; (N, G). Draws from torch's generator."""
    from captum.attr import NoiseTunnel, Saliency

    def explain(forward: Any, inputs: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        found: Tensor = NoiseTunnel(Saliency(forward)).attribute(
            inputs,
            nt_type="smoothgrad",
            nt_samples=NOISE_SAMPLES,
            nt_samples_batch_size=max(1, AT_ONCE // len(inputs)),
            stdevs=NOISE,
            abs=False,
            additional_forward_args=rest,
        )
        return found * inputs

    return _by_gradients(explain, model, histories)


def gradient_shap(model: WinNet, histories: Histories) -> Tensor:
    """Gradients at 50 random points between level and what is, with noise; (N, G). Draws from torch's generator."""
    from captum.attr import GradientShap

    def explain(forward: Any, inputs: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        found: Tensor = GradientShap(forward).attribute(
            inputs,
            baselines=torch.zeros_like(inputs[:1]),
            n_samples=PATH_SAMPLES,
            stdevs=NOISE,
            additional_forward_args=rest,
        )
        return found

    return _by_gradients(explain, model, histories, at_once=8)  # it holds all samples of a call at once


def kernel_shap(model: WinNet, histories: Histories) -> Tensor:
    """A linear model fitted to 128 random sets of groups kept, the others level; (N, G). Draws from torch's
    generator."""
    from captum.attr import KernelShap

    def explain(one: Histories) -> Tensor:
        def forward(kept: Tensor) -> Tensor:
            copies = one.take(torch.zeros(len(kept), dtype=torch.int64))
            return logits(model, copies.keeping(kept > 0.5, model.config))

        everything = torch.ones(1, len(model.config.groups))
        found: Tensor = KernelShap(forward).attribute(
            everything, n_samples=COALITION_SAMPLES, perturbations_per_eval=COALITION_SAMPLES
        )
        return found

    with torch.no_grad():
        return in_pieces(explain, histories, at_once=1)


def _by_gradients(
    explain: Callable[[Any, Tensor, tuple[Tensor, ...]], Tensor],
    model: WinNet,
    histories: Histories,
    at_once: int = 64,
) -> Tensor:
    """Run one of Captum's methods over histories; its attributions by feature and frame become (N, G)."""

    def of_piece(piece: Histories) -> Tensor:
        piece = piece.as_taken_by(model)
        spread = model.scale.scale[model.scale.slot_of(piece.clock_s)].nan_to_num(nan=1.0)
        unknown = piece.features.isnan()

        def forward(scaled: Tensor, spread: Tensor, unknown: Tensor, rows: Tensor) -> Tensor:
            features = (scaled * spread).masked_fill(unknown, torch.nan)
            others = (piece.clock_s[rows], piece.mask[rows])
            named = None if piece.line_ups is None else [piece.line_ups[row] for row in rows.tolist()]
            return logits(model, Histories(features, *others, named))

        inputs = (piece.features / spread).nan_to_num().requires_grad_()
        found = explain(forward, inputs, (spread, unknown, torch.arange(len(inputs)))).detach()
        return group_sums(found.sum(dim=1), model.config)

    return in_pieces(of_piece, histories, at_once) + line_up_effect(model, histories)
