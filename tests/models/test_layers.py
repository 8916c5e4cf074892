"""Layers, on values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from models.layers import OddGroupScores, SlotScale, masked_softmax


def test_masked_softmax_shares_between_those_that_take_part() -> None:
    weights = masked_softmax(torch.tensor([0.0, math.log(3.0), 99.0]), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(weights, torch.tensor([0.25, 0.75, 0.0]))


def test_masked_softmax_of_nobody_is_zero_with_a_zero_gradient() -> None:
    logits = torch.tensor([5.0, -5.0], requires_grad=True)
    weights = masked_softmax(logits, torch.zeros(2))
    weights.sum().backward()
    assert torch.equal(weights, torch.zeros(2)) and torch.equal(logits.grad, torch.zeros(2))


def test_scale_is_the_root_mean_square_of_the_slot() -> None:
    scale = SlotScale(1, slots=2, slot_s=30.0, clip=5.0)
    # slot 0: 30 values ±3; slot 1: 30 values ±40
    values = torch.tensor([3.0, -3.0] * 15 + [40.0, -40.0] * 15)[:, None]
    clock_s = torch.tensor([10.0] * 30 + [45.0] * 30)
    scale.fit(values, clock_s)
    assert scale.scale[:, 0].tolist() == pytest.approx([3.0, 40.0])
    assert scale(torch.tensor([[6.0], [20.0]]), torch.tensor([0.0, 3000.0]))[:, 0].tolist() == pytest.approx([2.0, 0.5])


def test_scaled_values_are_clipped_and_missing_ones_stay_missing() -> None:
    scale = SlotScale(1, slots=1, slot_s=30.0, clip=5.0)
    out = scale(torch.tensor([[100.0], [-100.0], [math.nan]]), torch.zeros(3))[:, 0]
    assert out[:2].tolist() == [5.0, -5.0] and out[2].isnan()


def test_an_empty_slot_lies_between_its_neighbours_and_no_scale_is_tiny() -> None:
    scale = SlotScale(1, slots=4, slot_s=30.0, clip=5.0)
    # slot 0: all level; slot 1: nothing; slot 2: ±10; slot 3: nothing. Overall: sqrt(100 / 2) = 7.07
    values = torch.tensor([0.0] * 30 + [10.0] * 30)[:, None]
    scale.fit(values, torch.tensor([0.0] * 30 + [60.0] * 30))
    assert scale.scale[:, 0].tolist() == pytest.approx([0.1 * math.sqrt(50), 5.0, 10.0, 10.0])


def test_a_feature_that_training_never_saw_is_not_known() -> None:
    scale = SlotScale(3, slots=2, slot_s=30.0, clip=5.0)
    values = torch.tensor([[1.0, math.nan, 0.0]] * 40)
    scale.fit(values, torch.zeros(40))
    assert scale(torch.ones(1, 3), torch.zeros(1)).isnan()[0].tolist() == [False, True, True]


def test_a_negative_clock_is_the_first_slot() -> None:
    scale = SlotScale(1, slots=2, slot_s=30.0, clip=5.0)
    assert scale.slot_of(torch.tensor([-90.0, 0.0, 29.9, 30.0, 1e6])).tolist() == [0, 0, 0, 1, 1]


def test_scores_are_odd_and_groups_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    scores = OddGroupScores((2, 1), hidden=4)
    x = torch.tensor([[0.5, -1.0, 2.0]])
    known = torch.ones(1, 3)
    ours, _ = scores(x, known)
    theirs, _ = scores(-x, known)
    torch.testing.assert_close(theirs, -ours, atol=1e-7, rtol=0)
    other_gold, _ = scores(torch.tensor([[3.0, 3.0, 2.0]]), known)
    assert other_gold[0, 0] != ours[0, 0] and other_gold[0, 1] == ours[0, 1]


def test_a_missing_value_is_told_from_a_level_one() -> None:
    torch.manual_seed(0)
    scores = OddGroupScores((2,), hidden=4)
    x = torch.tensor([[0.5, 0.0]])
    assert scores(x, torch.tensor([[1.0, 1.0]]))[0] != scores(x, torch.tensor([[1.0, 0.0]]))[0]
