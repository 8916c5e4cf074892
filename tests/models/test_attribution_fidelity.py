"""Fidelity by hand on a toy, and the table's own promises on a small TSSTN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from models.attribution import Histories, WinNet, contributions, fidelity
from models.attribution.controls import linear_coefficients, random_reasons
from models.layers import SlotScale
from models.layers.heroes import LineUp
from models.tsstn import TSSTN, TSSTNConfig, WinEstimate

GROUPS = (("gold", ("gold",)), ("tower", ("towers",)), ("form", ("form",)))


class Sum:
    """logit = gold + towers + form."""

    config = TSSTNConfig(groups=GROUPS, home=False)
    scale = SlotScale(3, slots=1, slot_s=60.0, clip=100.0)

    def __call__(
        self, features: Tensor, clock_s: Tensor, mask: Tensor, line_ups: Sequence[LineUp] | None = None
    ) -> WinEstimate:
        own = features.nan_to_num()
        return WinEstimate(own.sum(dim=2), own, own, own)


@dataclass(frozen=True)
class Some:
    """A few matches."""

    features: Tensor
    clock_s: Tensor
    mask: Tensor
    won: Tensor
    heroes: tuple[LineUp, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "heroes", (((), ()),) * len(self.won))


def one_frame_each(values: list[list[float]], won: list[float] | None = None) -> Some:
    features = torch.tensor(values)[:, None]
    count = len(values)
    return Some(
        features,
        torch.zeros(count, 1),
        torch.ones(count, 1, dtype=torch.bool),
        torch.tensor(won or [float(i % 2) for i in range(count)]),
    )


def matches(count: int, frames: int, seed: int = 0) -> Some:
    chance = torch.Generator().manual_seed(seed)
    features = torch.randn(count, frames, 3, generator=chance)
    lengths = torch.randint(1, frames + 1, (count,), generator=chance)
    clock_s = 60.0 * torch.arange(frames).expand(count, -1)
    won = (features[:, 0, 0] > 0).float()
    return Some(features, clock_s, torch.arange(frames) < lengths[:, None], won)


def wrong_way_round(model: WinNet, histories: Histories) -> Tensor:
    """The smallest reason first."""
    return 1 / contributions(model, histories)


def test_fidelity_and_removal_by_hand() -> None:
    # 3 - 2 - 0.5 = 0.5: gold alone keeps the class, gold and towers too; towers first would not.
    few = one_frame_each([[3.0, -2.0, -0.5], [1.0, 0.5, 0.25]])
    own, wrong = fidelity.table(Sum(), few, methods={fidelity.OWN: contributions, "wrong": wrong_way_round})
    assert own.fidelity.at == (1.0, 1.0, 1.0) and own.fidelity.area == 1.0
    assert wrong.fidelity.at == (0.5, 0.5, 1.0)
    p = torch.tensor([0.5, 1.75]).sigmoid()
    moved = (torch.tensor([-2.5, 0.75]).sigmoid() - p).abs().mean().item()
    assert own.removal.at[0] == pytest.approx(moved, abs=1e-6)
    assert own.removal.at[2] == wrong.removal.at[2] == pytest.approx((0.5 - p).abs().mean().item(), abs=1e-6)
    assert own.behind_best == (0.0, 0.0, 0.0) and wrong.behind_best == (0.5, 0.5, 0.0)
    assert (own.frames, own.matches) == (2, 2)


def test_groups_that_are_not_known_take_no_rank() -> None:
    few = one_frame_each([[1.0, float("nan"), float("nan")], [1.0, 2.0, float("nan")]])

    def loud(model: WinNet, histories: Histories) -> Tensor:
        return torch.tensor([[1.0, 50.0, 90.0]]).expand(len(histories.mask), -1)

    (row,) = fidelity.table(Sum(), few, methods={"loud": loud})
    assert row.fidelity.at == (1.0, 1.0, 1.0)


def test_even_odds_have_no_class_to_keep() -> None:
    few = one_frame_each([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    (row,) = fidelity.table(Sum(), few, methods={fidelity.OWN: contributions})
    assert row.frames == 1
    with pytest.raises(ValueError, match="even odds at every frame"):
        fidelity.table(Sum(), one_frame_each([[0.0, 0.0, 0.0]]), methods={fidelity.OWN: contributions})


def test_a_method_without_a_finite_answer_is_named() -> None:
    def broken(model: WinNet, histories: Histories) -> Tensor:
        return torch.full((len(histories.mask), 3), torch.nan)

    with pytest.raises(ValueError, match="broken: not every attribution"):
        fidelity.table(Sum(), one_frame_each([[1.0, 0.0, 0.0]]), methods={"broken": broken})


def test_the_whole_table_on_a_small_model() -> None:
    torch.manual_seed(0)
    net = TSSTNConfig(groups=GROUPS, hidden=8, state=6).build().eval()
    told: list[str] = []
    rows = fidelity.table(net, matches(6, 5), sample_frames=6, on_method=told.append)
    assert [row.method for row in rows] == told == list(fidelity.default_methods(matches(6, 5)))
    for row in rows:
        assert row.fidelity.at[-1] == 1.0 and row.cost >= 0
        assert all(low <= at <= high for at, (low, high) in zip(row.fidelity.at, row.fidelity.intervals, strict=True))
        assert min(row.behind_best) >= 0
    again = fidelity.table(net, matches(6, 5), sample_frames=6)
    assert [row.fidelity for row in again] == [row.fidelity for row in rows]


def test_the_gate_asks_for_truth_and_speed() -> None:
    few = one_frame_each([[3.0, -2.0, -0.5], [1.0, 0.5, 0.25]])
    rows = fidelity.table(Sum(), few, methods={fidelity.OWN: contributions, "wrong": wrong_way_round})
    assert fidelity.gate(rows, cost=1e9).passed and not fidelity.gate(rows, cost=0.0).passed
    swapped = fidelity.table(Sum(), few, methods={fidelity.OWN: wrong_way_round, "right": contributions})
    found = fidelity.gate(swapped, k=1, cost=1e9)
    assert not found.passed and found.behind_best == 0.5
    assert fidelity.gate(rows, k=9, cost=1e9).k == 3


def test_frames_are_drawn_evenly_over_matches() -> None:
    mask = torch.arange(10) < torch.tensor([10, 10, 2])[:, None]
    drawn = fidelity.draw_frames(mask, 7, seed=1)
    assert torch.bincount(drawn[:, 0]).tolist() in ([3, 2, 2], [2, 3, 2])
    assert len(set(map(tuple, drawn.tolist()))) == 7
    assert mask[drawn[:, 0], drawn[:, 1]].all()
    assert len(fidelity.draw_frames(mask, 1000, seed=1)) == 22


def test_random_reasons_are_the_same_for_the_same_seed() -> None:
    some = Histories.of(*(getattr(matches(4, 3), name) for name in ("features", "clock_s", "mask")))
    net: WinNet = Sum()
    assert torch.equal(random_reasons(3)(net, some), random_reasons(3)(net, some))
    assert not torch.equal(random_reasons(3)(net, some), random_reasons(4)(net, some))


def test_linear_coefficients_find_the_feature_that_decides() -> None:
    chance = torch.Generator().manual_seed(0)
    values = torch.randn(200, 3, generator=chance)
    train = one_frame_each(values.tolist(), (values[:, 1] > 0).float().tolist())
    level = Histories(torch.ones(1, 1, 3), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    found = linear_coefficients(train)(Sum(), level)[0]
    assert found.argmax() == 1 and found[1] > 3 * found[[0, 2]].abs().max()


def test_own_contributions_cost_a_forward_pass() -> None:
    torch.manual_seed(0)
    net: TSSTN = TSSTNConfig(groups=GROUPS).build().eval()
    some = Histories.of(*(getattr(matches(4, 3), name) for name in ("features", "clock_s", "mask")))
    passes: list[str] = []
    net.register_forward_hook(lambda *_: passes.append("one"))
    contributions(net, some)
    assert passes == ["one"]
