"""Losses of next-click prediction against values computed by hand, and what must not count."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.losses.session import (
    bpr_max,
    in_batch_margin,
    negatives,
    sampled_cross_entropy,
    sasrec_bce,
    top1_max,
)

SCORES = torch.tensor([[2.0, 0.0, 1.0]])
POSITIVE = torch.tensor([0])
ALLOWED = torch.tensor([[False, True, True]])


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_by_hand() -> None:
    weight = [1 / (1 + math.e), math.e / (1 + math.e)]  # softmax of the negatives, 0 and 1
    entropy = math.log(math.exp(2) + 1 + math.e) - 2
    assert sampled_cross_entropy(SCORES, POSITIVE, ALLOWED).item() == pytest.approx(entropy)
    win = weight[0] * sigmoid(2) + weight[1] * sigmoid(1)
    assert bpr_max(SCORES, POSITIVE, ALLOWED, decay=0.5).item() == pytest.approx(-math.log(win) + 0.5 * weight[1])
    top1 = weight[0] * (sigmoid(-2) + 0.5) + weight[1] * (sigmoid(-1) + sigmoid(1))
    assert top1_max(SCORES, POSITIVE, ALLOWED).item() == pytest.approx(top1)
    bce = sasrec_bce(torch.tensor([2.0]), torch.tensor([1.0])).item()
    assert bce == pytest.approx(-math.log(sigmoid(2)) - math.log(1 - sigmoid(1)))


@pytest.mark.parametrize("loss", [sampled_cross_entropy, bpr_max, top1_max])
def test_what_is_no_negative_does_not_count(loss: object) -> None:
    assert callable(loss)
    wide = torch.cat([SCORES, torch.tensor([[99.0]])], dim=1)
    allowed = torch.cat([ALLOWED, torch.tensor([[False]])], dim=1)
    torch.testing.assert_close(loss(wide, POSITIVE, allowed), loss(SCORES, POSITIVE, ALLOWED))
    nothing = loss(SCORES, POSITIVE, torch.zeros_like(ALLOWED))
    assert math.isfinite(nothing.item())


@pytest.mark.parametrize("loss", [sampled_cross_entropy, bpr_max, top1_max])
def test_descent_lifts_the_clicked_item(loss: object) -> None:
    assert callable(loss)
    scores = torch.zeros(1, 3, requires_grad=True)
    loss(scores, POSITIVE, ALLOWED).backward()
    assert scores.grad is not None
    assert scores.grad[0, 0] < 0 < scores.grad[0, 1]


def test_the_same_item_is_never_its_own_negative() -> None:
    candidates = torch.tensor([7, 8, 7, 9])  # targets 7, 8, 7 of three rows, and one more
    allowed = negatives(candidates, torch.arange(3))
    assert allowed.tolist() == [[False, True, False, True], [True, False, True, True], [False, True, False, True]]


def test_easytransfers_margin_to_a_millionth() -> None:
    similarity = torch.tensor([[0.9, 0.7, -0.2], [0.3, 0.5, 0.45], [0.0, 0.1, 0.2]], dtype=torch.float64)
    margin, expected = 0.3, 0.0
    for i in range(3):
        for j in range(3):
            own, other = similarity[i, i].item(), similarity[i, j].item()
            expected += max(0.0, margin - own + other - margin * (i == j)) / 9
    assert in_batch_margin(similarity, margin=margin).item() == pytest.approx(expected, abs=1e-6)


def test_pairs_a_margin_apart_cost_nothing() -> None:
    apart: Tensor = torch.eye(4)
    assert in_batch_margin(apart, margin=0.3).item() == 0
