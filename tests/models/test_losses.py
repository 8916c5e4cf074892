"""Losses, on values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 4), per_match=st.booleans())
@settings(max_examples=30)
def test_the_mean_loss_of_shares_is_that_of_the_whole_batch_however_unequal(
    seed: int, cut: int, per_match: bool
) -> None:
    chance = torch.Generator().manual_seed(seed)
    loss = TSSTNLoss(3)
    mask = torch.arange(6) < torch.randint(1, 7, (5, 1), generator=chance)
    known = torch.rand(5, 6, 3, generator=chance) < 0.6
    weights = torch.rand(5, 6, 3, generator=chance) * known
    weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-9)
    scores = torch.rand(5, 6, 3, generator=chance) * 2 - 1
    estimate = WinEstimate(scores.sum(dim=2), scores, weights, scores)
    won, frame = (torch.rand(5, generator=chance) < 0.5).float(), frame_weights(mask, per_match=per_match)
    shares = [slice(None, cut), slice(cut, None)]
    own: list[torch.Tensor] = []

    def noted(sums: torch.Tensor) -> torch.Tensor:
        own.append(sums)
        return sums

    def part(share: slice) -> WinEstimate:
        return WinEstimate(*(column[share] for column in estimate))

    for share in shares:
        loss(part(share), won[share], frame[share], noted)
    mean = torch.stack(own).mean(dim=0)
    halves = [loss(part(share), won[share], frame[share], lambda _: mean) for share in shares]
    for of_shares, whole in zip(zip(*halves, strict=True), loss(estimate, won, frame), strict=True):
        torch.testing.assert_close(torch.stack(of_shares).mean(), whole)
