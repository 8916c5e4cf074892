"""Reasons by SHAP's explainers, for comparison, one history at a time: the players are the groups.

A group's share in 0..1 scales all its features at every frame of the history: 1 as it is, 0 level all along; line-ups
have nothing between, so that gradients take them as a step of their own. SHAP is imported at the first use, since that
takes seconds.

Source: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", arXiv:1705.07874.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.attribution.histories import (
    HERO,
    Attribution,
    Histories,
    WinNet,
    feature_groups,
    in_pieces,
    line_up_effect,
    logits,
)

PATH_SAMPLES = 50


def kernel_explainer(model: WinNet, histories: Histories) -> Tensor:
    """SHAP's KernelExplainer, (N, G): with so few groups it asks for every set, and so is exact."""
    shap = _shap()

    def explain(one: Histories) -> Tensor:
        answer = _Scaled(model, one)

        def f(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            with torch.no_grad():
                found: npt.NDArray[np.float64] = answer(torch.from_numpy(shares).float())[:, 0].double().numpy()
            return found

        groups = len(model.config.groups)
        values = shap.KernelExplainer(f, np.zeros((1, groups))).shap_values(np.ones((1, groups)), silent=True)
        return torch.from_numpy(np.asarray(values, np.float64).reshape(1, groups))

    return in_pieces(explain, histories, at_once=1)


def gradient_explainer(seed: int) -> Attribution:
    """SHAP's GradientExplainer, (N, G): gradients at 50 random points from level to what is."""

    def explain(model: WinNet, histories: Histories) -> Tensor:
        shap, groups = _shap(), len(model.config.groups)

        def explain_one(one: Histories) -> Tensor:
            explainer = shap.GradientExplainer(_Scaled(model, one), torch.zeros(1, groups))
            values: Any = explainer.shap_values(torch.ones(1, groups), nsamples=PATH_SAMPLES, rseed=seed)
            return torch.from_numpy(np.asarray(values, np.float64).reshape(1, groups))

        return in_pieces(explain_one, histories, at_once=1) + line_up_effect(model, histories)

    return explain


def _shap() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its plots, which nobody asked for, warn of what matplotlib means to change
        import shap
    return shap


class _Scaled(nn.Module):
    """Shares of the groups (n, G) to log-odds (n, 1) of one history's last frame."""

    def __init__(self, model: WinNet, one: Histories) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple it is no part of this module, so that SHAP leaves it alone
        self._one = one.as_taken_by(model)
        self._unknown = self._one.features.isnan()
        self._of_feature = feature_groups(model.config)
        self._hero = model.config.group_names.index(HERO) if model.config.hero_dim else None

    def forward(self, shares: Tensor) -> Tensor:
        # Not known stays so, apart from the product: a gradient through NaN would be NaN.
        scaled = self._one.features.nan_to_num() * shares[:, self._of_feature][:, None, :]
        copies = self._one.take(torch.zeros(len(shares), dtype=torch.int64))
        copies = copies._replace(features=scaled.masked_fill(self._unknown, torch.nan))
        if self._hero is not None:
            copies = copies.with_line_ups((shares[:, self._hero] > 0).tolist())
        return logits(self._model[0], copies)[:, None]
