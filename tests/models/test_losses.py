"""Losses, on values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from models.losses import TSSTNLoss, entropy_shortfall, frame_weights, weight_roughness, win_loss
from models.tsstn import WinEstimate


def test_even_odds_cost_ln_2_and_padding_costs_nothing() -> None:
    logits, weight = torch.tensor([[0.0, 99.0]]), torch.tensor([[1.0, 0.0]])
    assert win_loss(logits, torch.tensor([0.0]), weight).item() == pytest.approx(math.log(2))


def test_win_loss_is_the_mean_of_minus_log_p() -> None:
    logits = torch.tensor([[math.log(3.0)], [math.log(3.0)]])  # p = 3/4
    loss = win_loss(logits, torch.tensor([1.0, 0.0]), torch.ones(2, 1))
    assert loss.item() == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)


def test_frames_count_the_same_or_matches_do() -> None:
    mask = torch.tensor([[True, True], [True, False]])
    assert frame_weights(mask, per_match=False).tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert frame_weights(mask, per_match=True).tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_roughness_is_how_far_weights_move_per_frame() -> None:
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]])
    assert weight_roughness(weights, torch.ones(1, 3)).item() == pytest.approx(0.5)


def test_entropy_floor_minds_only_one_sided_weights() -> None:
    even, single = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[1.0, 0.0]]])
    assert entropy_shortfall(even, torch.ones(1, 1), floor=0.5).item() == 0
    assert entropy_shortfall(single, torch.ones(1, 1), floor=0.5).item() == pytest.approx(0.5)


def test_total_is_the_weighted_sum_of_the_parts() -> None:
    loss = TSSTNLoss(2, score=0.3, roughness=0.05, entropy=0.01)
    scores = torch.tensor([[[0.0, 0.9], [0.0, 0.9]]])
    weights = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    estimate = WinEstimate(torch.zeros(1, 2), scores, weights, torch.zeros(1, 2, 2))
    parts = loss(estimate, torch.tensor([1.0]), torch.ones(1, 2))
    assert parts.win.item() == pytest.approx(math.log(2))
    assert parts.score.item() == pytest.approx(math.log(2))  # the second group is not known: its score is not judged
    assert parts.roughness.item() == 0 and parts.entropy.item() == pytest.approx(0.5)
    assert parts.total.item() == pytest.approx(1.3 * math.log(2) + 0.01 * 0.5)
