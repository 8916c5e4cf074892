"""Losses of AS-GAN and of invariance, each by hand or against what must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from hypothesis import given, settings
from hypothesis import strategies as st

from models.losses import apparel, batch_hard_triplet, invariance


def test_least_squares_of_both_sides_by_hand() -> None:
    real, made = [torch.tensor([0.5, 1.5]), torch.tensor([1.0])], [torch.tensor([0.0, 2.0]), torch.tensor([1.0])]
    assert apparel.adversarial_of_discriminator(real, made).item() == pytest.approx((0.25 + 2.0 + 0.0 + 1.0) / 2)
    assert apparel.adversarial(made).item() == pytest.approx((1.0 + 0.0) / 2)


def test_the_penalty_is_the_squared_slope() -> None:
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    slope = torch.full((3, 4, 4), 0.5)
    real = (images * slope).sum(dim=(1, 2, 3)).view(2, 1, 1, 1)
    assert apparel.gradient_penalty([real], images).item() == pytest.approx(3 * 16 * 0.25)


def test_a_mask_pays_for_what_is_over_its_share_and_for_being_rough() -> None:
    half = torch.zeros(1, 1, 4, 4)
    half[:, :, :2] = 1.0
    rough = 4 / 12  # one of three steps down is 1, none across
    assert apparel.mask_budget(half, share=0.55).item() == pytest.approx(0.1 * rough)
    assert apparel.mask_budget(half, share=0.2).item() == pytest.approx(0.3 + 0.1 * rough)


def test_heads_are_kept_and_garments_are_free_down_to_the_soles() -> None:
    source, made = torch.zeros(1, 3, 100, 4), torch.zeros(1, 3, 100, 4)
    made[:, :, 16:] = 1.0
    assert apparel.head_keep(made, source).item() == 0
    made[:, :, 0] = 1.0  # one of the 16 rows of the head
    assert apparel.head_keep(made, source).item() == pytest.approx(1 / 16)
    assert apparel.where_garments_are(made).shape == (1, 3, 84, 2)


def test_neighbours_of_one_colour_are_painted_together() -> None:
    sleeve = torch.zeros(1, 3, 6, 6)
    sleeve[..., :3] = 1.0  # half of the picture is of one colour, half of another
    whole, torn = torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 6, 6)
    whole[..., :3] = 1.0
    torn[..., :2] = 1.0  # a column of the sleeve is left
    nothing = torch.zeros(1, 1, 6, 6)
    assert apparel.mask_affinity(whole, sleeve).item() == pytest.approx(0, abs=1e-6), "an edge of the picture is free"
    assert apparel.mask_affinity(nothing, sleeve).item() == pytest.approx(0, abs=1e-6)
    assert apparel.mask_affinity(torn, sleeve).item() > 1
    assert apparel.mask_affinity(torch.full((1, 1, 6, 6), 0.5), sleeve).item() == pytest.approx(math.log(2))


def test_affinity_is_asked_of_all_eight_directions_at_both_reaches() -> None:
    flat = torch.zeros(1, 3, 9, 9)
    alone = torch.zeros(1, 1, 9, 9)
    alone[..., 4, 4] = 1.0
    pairs = [9 * (9 - reach) for reach in (1, 2)] * 2 + [(9 - reach) ** 2 for reach in (1, 2)] * 2
    by_hand = sum(-2 * math.log(1e-6) / each for each in pairs) / 8  # two pairs of every direction do not agree
    assert apparel.mask_affinity(alone, flat).item() == pytest.approx(by_hand, rel=1e-4)
    assert apparel.mask_affinity(alone.flip(3), flat).item() == pytest.approx(by_hand, rel=1e-4)


def test_a_painter_pays_even_where_nothing_of_it_is_seen() -> None:
    wanted = torch.zeros(1, 3, 100, 4)
    nothing_seen = apparel.painted_reconstruction(torch.ones_like(wanted), wanted, wanted)
    assert nothing_seen.item() == pytest.approx(1)
    assert apparel.painted_reconstruction(wanted, torch.ones_like(wanted), wanted).item() == pytest.approx(0.2)


def test_targets_that_are_asked_for_take_no_gradient() -> None:
    seen, wanted = torch.tensor([[1.0, 0.0]], requires_grad=True), torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = apparel.embedding_recovery(seen, wanted) + apparel.embedding_information(seen, wanted)
    assert loss.item() == pytest.approx(1 + 2)
    loss.backward()
    assert wanted.grad is None and seen.grad is not None


def test_head_features_are_of_the_upper_quarter() -> None:
    seen = apparel.head_alone(torch.ones(1, 3, 100, 4), fill=0.5)
    assert (seen[:, :, :16] == 1).all() and (seen[:, :, 16:] == 0.5).all()
    maps = torch.zeros(1, 2, 8, 3)
    maps[:, :, :2] = 5.0
    assert apparel.head_features(maps).tolist() == [[5.0, 5.0]]
    assert apparel.identity_keep(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])).item() == pytest.approx(1)


@given(count=st.integers(2, 9), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_targets_are_of_others_and_of_unit_halves(count: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    worn = F.normalize(torch.randn(count, 2, 3, generator=chance), dim=2).flatten(1)
    targets = apparel.target_embeddings(worn, chance)
    torch.testing.assert_close(targets.view(count, 2, 3).norm(dim=2), torch.ones(count, 2))
    own = (targets[:, None] == worn[None]).all(dim=2).diagonal()
    assert not own.any(), "nobody is asked to wear what they wear"


def test_one_alone_keeps_its_clothes() -> None:
    worn = torch.ones(1, 4)
    assert apparel.target_embeddings(worn, torch.Generator()) is worn


def test_triplets_where_all_dress_alike_are_the_hardest_of_the_batch() -> None:
    chance = torch.Generator().manual_seed(0)
    features, labels = torch.randn(8, 3, generator=chance), torch.tensor([1, 1, 1, 2, 2, 2, 3, 3])
    same = torch.ones(8, 4)
    wanted = batch_hard_triplet(features, labels, margin=0.3)
    torch.testing.assert_close(invariance.apparel_triplet(features, labels, same, margin=0.3), wanted)


def test_positives_are_dressed_differently_and_every_second_negative_alike() -> None:
    features = torch.tensor([[0.0], [5.0], [1.0], [2.0], [0.5]])
    labels = torch.tensor([1, 1, 1, 2, 3])
    # Anchor 0: of its own, 1 wears the same and 2 something else; of the others only 3 wears the same.
    red, blue = [1.0, 0.0], [0.0, 1.0]
    worn = torch.tensor([red, red, blue, red, blue])
    found = invariance.apparel_triplet(features, labels, worn, margin=0.0)
    # 0: 1 - 2 (neither 5 nor 0.5); 1: 4 - min(3, 4.5); 2: 0 and 1 both differ, 4 - 0.5 of a look-alike; 3, 4: alone.
    assert found.item() == pytest.approx((0 + (4 - 3) + (4 - 0.5)) / 3)


@pytest.mark.parametrize("labels", [[1, 2, 3], [4, 4, 4]], ids=["no positives", "no negatives"])
def test_a_batch_without_pairs_costs_nothing_and_breaks_nothing(labels: list[int]) -> None:
    features = torch.randn(3, 2, requires_grad=True)
    loss = invariance.apparel_triplet(features, torch.tensor(labels), torch.randn(3, 2), margin=0.3)
    loss.backward()
    assert loss.item() == 0 and features.grad is not None and not features.grad.any()


def test_the_criterion_is_its_definition_and_knows_dependence() -> None:
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=(12, 2)), chance.normal(size=(12, 3))

    def kernel(rows: np.ndarray) -> np.ndarray:
        squared = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
        return np.exp(-squared / np.sort(squared.ravel())[(squared.size - 1) // 2])

    centre = np.eye(12) - 1 / 12
    wanted = np.trace(kernel(x) @ centre @ kernel(y) @ centre) / 11**2
    got = invariance.hsic(torch.from_numpy(x), torch.from_numpy(y))
    assert got.item() == pytest.approx(wanted, rel=1e-4)
    rows = torch.randn(40, 2)
    assert invariance.hsic(rows, 2 * rows) > 3 * invariance.hsic(rows, torch.randn(40, 2))
    assert invariance.hsic(rows[:1], rows[:1]).item() == 0


def test_agreement_is_a_divergence_of_what_strangers_say() -> None:
    memory = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    plain, dressed = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p = 1 / (1 + math.exp(-1.0))
    wanted = p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p)
    got = invariance.neighbour_agreement(plain, dressed, memory, temperature=1.0)
    assert got.item() == pytest.approx(wanted, rel=1e-5)
    assert invariance.neighbour_agreement(plain, plain, memory, temperature=0.07).item() == pytest.approx(0, abs=1e-6)
    assert invariance.neighbour_agreement(plain, dressed, memory[:0], temperature=1.0).item() == 0


def test_only_who_predicts_is_moved() -> None:
    predicted, features = torch.zeros(2, 2, requires_grad=True), torch.ones(2, 2, requires_grad=True)
    loss = invariance.invariance(predicted, features)
    loss.backward()
    assert loss.item() == 2 and features.grad is None and predicted.grad is not None


def test_embeddings_of_the_same_clothes_are_told_from_others() -> None:
    apart = torch.eye(4)
    right = apparel.apparel_contrast(torch.cat([apart, apart], dim=1), torch.cat([apart, apart], dim=1))
    assert right.item() == pytest.approx(math.log(1 + 3 * math.exp(-10)), rel=1e-3)
    one_point = torch.ones(4, 2)
    assert apparel.apparel_contrast(one_point, one_point).item() == pytest.approx(math.log(4))
