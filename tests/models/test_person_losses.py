"""Losses of person embeddings, against values by hand and sums written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.losses import CentreLoss, PersonLoss, batch_hard_triplet, smoothed_cross_entropy


def test_the_hardest_of_a_batch_by_hand() -> None:
    features = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    # Farthest of the same and nearest other: 1 - 3, 1 - 2, 4 - 2, 4 - 6; margin 1.5.
    loss = batch_hard_triplet(features, torch.tensor([5, 5, 8, 8]), margin=1.5)
    assert loss.item() == pytest.approx((0 + 0.5 + 3.5 + 0) / 4)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40)
def test_the_hardest_are_those_of_all_pairs(seed: int) -> None:
    chance = np.random.default_rng(seed)
    features, labels = chance.normal(size=(7, 3)), chance.integers(0, 3, 7)
    wanted = []
    for anchor in range(7):
        apart = np.linalg.norm(features - features[anchor], axis=1)
        same = [apart[i] for i in range(7) if i != anchor and labels[i] == labels[anchor]]
        other = [apart[i] for i in range(7) if labels[i] != labels[anchor]]
        if same and other:
            wanted.append(max(0, 0.3 + max(same) - min(other)))
    got = batch_hard_triplet(torch.from_numpy(features), torch.from_numpy(labels), margin=0.3)
    assert got.item() == pytest.approx(np.mean(wanted) if wanted else 0, abs=1e-5)


@pytest.mark.parametrize("labels", [[1, 2, 3], [4, 4, 4]], ids=["no positives", "no negatives"])
def test_a_batch_without_pairs_costs_nothing_and_breaks_nothing(labels: list[int]) -> None:
    features = torch.randn(3, 2, requires_grad=True)
    loss = batch_hard_triplet(features, torch.tensor(labels), margin=0.3)
    loss.backward()
    assert loss.item() == 0 and features.grad is not None and not features.grad.any()


def test_the_same_image_twice_has_a_finite_gradient() -> None:
    features = torch.ones(4, 2, requires_grad=True)
    batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), margin=0.3).backward()
    assert features.grad is not None and features.grad.isfinite().all()


def test_smoothing_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0]])
    total = math.exp(2) + 2
    nats = [-math.log(math.exp(2) / total), -math.log(1 / total)]
    wanted = (0.9 + 0.1 / 3) * nats[0] + 2 * (0.1 / 3) * nats[1]
    assert smoothed_cross_entropy(logits, torch.tensor([0]), smoothing=0.1).item() == pytest.approx(wanted)


def test_centres_move_towards_their_people_and_only_theirs() -> None:
    centres = CentreLoss(3, 2, rate=0.5)
    features, labels = torch.tensor([[4.0, 0.0], [2.0, 0.0], [0.0, 6.0]]), torch.tensor([0, 0, 2])
    assert centres(features, labels).item() == pytest.approx((16 + 4 + 36) / 3 / 2)
    centres.move(features, labels)
    assert centres.centres.tolist() == [[0.5 * 6 / 3, 0], [0, 0], [0, 0.5 * 6 / 2]]
    for _ in range(60):
        centres.move(features, labels)
    torch.testing.assert_close(centres.centres, torch.tensor([[3.0, 0], [0, 0], [0, 6]]))


def test_the_total_is_the_weighted_sum_and_only_the_classifier_learns() -> None:
    torch.manual_seed(0)
    loss = PersonLoss(3, 4, triplet=2.0, margin=0.5, smoothing=0.2, centre=0.1)
    assert [name for name, _ in loss.named_parameters()] == ["classifier.weight"]
    parts = loss(torch.randn(6, 4), torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2]))
    assert parts.total.item() == pytest.approx((parts.identity + 2 * parts.triplet + 0.1 * parts.centre).item())
