"""Layers, on values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from models.layers import (
    PIECE,
    AttentionDrive,
    HeroEmbedding,
    LinearGroupScores,
    OddGroupScores,
    SlotScale,
    SlotTableDrive,
    affine,
    at_clock,
    masked_softmax,
    padded,
)
from models.layers.heroes import hero_and_class, hero_classes


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
    scores = OddGroupScores(((0, 1), (2,)), 3, hidden=4)
    x = torch.tensor([[0.5, -1.0, 2.0]])
    known = torch.ones(1, 3)
    ours, _ = scores(x, known)
    theirs, _ = scores(-x, known)
    torch.testing.assert_close(theirs, -ours, atol=1e-7, rtol=0)
    other_gold, _ = scores(torch.tensor([[3.0, 3.0, 2.0]]), known)
    assert other_gold[0, 0] != ours[0, 0] and other_gold[0, 1] == ours[0, 1]


def test_a_missing_value_is_told_from_a_level_one() -> None:
    torch.manual_seed(0)
    scores = OddGroupScores(((0, 1),), 2, hidden=4)
    x = torch.tensor([[0.5, 0.0]])
    assert scores(x, torch.tensor([[1.0, 1.0]]))[0] != scores(x, torch.tensor([[1.0, 0.0]]))[0]


def test_a_curve_is_straight_between_its_knots_and_level_beyond() -> None:
    knots = torch.tensor([[0.0, 1.0], [10.0, 1.0], [4.0, 1.0]])
    values = at_clock(knots, torch.tensor([-60.0, 0.0, 150.0, 300.0, 450.0, 1e5]), 300.0)
    assert values[:, 0].tolist() == [0.0, 0.0, 5.0, 10.0, 7.0, 4.0] and values[:, 1].tolist() == [1.0] * 6


def test_linear_scores_are_a_weighted_sum_of_what_is_known() -> None:
    scores = LinearGroupScores(((0, 1), (2,)), 3)
    with torch.no_grad():
        scores.w.copy_(torch.tensor([[2.0, -1.0], [3.0, 9.0]]))
    values, known = scores(torch.tensor([[5.0, 1.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
    assert values.tolist() == [[9.0, 0.0]] and known.tolist() == [[1.0, 0.0]]


def test_rows_come_out_the_same_in_every_company() -> None:
    chance = torch.Generator().manual_seed(0)
    rows, weight = torch.randn(1000, 33, generator=chance), torch.randn(47, 33, generator=chance)
    bias = torch.randn(47, generator=chance)
    whole = affine(padded(rows), weight, bias, PIECE)
    torch.testing.assert_close(whole[:1000], rows @ weight.T + bias)
    for start in range(0, 1000, 77):
        part = rows[start : start + 77]
        assert torch.equal(affine(padded(part), weight, bias, PIECE)[: len(part)], whole[start : start + len(part)])


def test_pieces_give_the_scores_of_the_whole() -> None:
    torch.manual_seed(0)
    scores = OddGroupScores(((0, 1), (2,)), 3, hidden=4)
    x, m = torch.randn(4 * PIECE, 3), torch.ones(4 * PIECE, 3)
    torch.testing.assert_close(scores(x, m, PIECE)[0], scores(x, m)[0])


def test_dropout_leaves_scores_odd_and_rests_outside_training() -> None:
    torch.manual_seed(0)
    scores = OddGroupScores(((0, 1),), 2, hidden=8, dropout=0.5)
    x, m = torch.randn(6, 2), torch.ones(6, 2)
    torch.manual_seed(1)
    ours, _ = scores(x, m)
    torch.manual_seed(1)
    theirs, _ = scores(-x, m)
    torch.testing.assert_close(theirs, -ours, atol=1e-7, rtol=0)
    assert not torch.equal(ours, scores.eval()(x, m)[0])


def test_a_slot_table_is_read_by_the_clock_alone() -> None:
    drive = SlotTableDrive(1)
    with torch.no_grad():
        drive.table[:, 0] = torch.arange(40.0)
    read = drive(torch.zeros(1, 3, 2), torch.tensor([[0.0, 45.0, 9e4]]))[0, :, 0]
    assert read.tolist() == [0.0, 1.5, 39.0]


def test_attention_sees_no_later_frame_and_refuses_to_stream() -> None:
    torch.manual_seed(0)
    drive = AttentionDrive(3, 2).eval()
    x, clock_s = torch.randn(1, 6, 3), torch.zeros(1, 6)
    later = x.clone()
    later[:, 4:] = 9.0
    torch.testing.assert_close(drive(later, clock_s)[:, :4], drive(x, clock_s)[:, :4], atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="cannot be streamed: train one with temporal=gru or temporal=table"):
        drive.step(x[0], clock_s[0], torch.zeros(6, dtype=torch.int64), torch.zeros(1, 0))


HEROES = {"ahri": "mage", "jinx": "marksman", "lux": "mage", "zed": ""}


@pytest.fixture
def heroes() -> HeroEmbedding:
    embedding = HeroEmbedding(HEROES, 1)
    with torch.no_grad():
        embedding.vectors.copy_(torch.tensor([[1.0], [10.0], [3.0], [6.0]]))
    return embedding


@pytest.mark.parametrize(
    ("a", "b", "lead"),
    [
        (["Ahri", "Jinx"], ["zed"], 5.5 - 6),
        (["Ahri/mage", "Newcomer/Mage"], ["Lux"], 1.5 - 3),  # the mean of the mages is 2
        (["Newcomer/tank"], ["zed"], 5.0 - 6),  # no tank was ever met: the mean of all
        (["Newcomer"], ["Ahri"], 5.0 - 1),
    ],
)
def test_a_line_up_is_the_mean_of_its_heroes(heroes: HeroEmbedding, a: list[str], b: list[str], lead: float) -> None:
    signed, known = heroes([(a, b), (b, a), (a, ()), ((), ())])
    assert signed[:, 0].tolist() == pytest.approx([lead, -lead, 0.0, 0.0])
    assert known.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_heroes_are_listed_with_the_class_that_was_stated() -> None:
    assert hero_and_class(" Jinx / Marksman") == ("jinx", "marksman")
    assert hero_classes([(["Zed", "Ahri"], ["ahri/mage"]), (["AHRI"], [])]) == {"ahri": "mage", "zed": ""}
