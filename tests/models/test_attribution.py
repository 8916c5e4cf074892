"""Attribution on toy models whose right answer follows from algebra, and on a small TSSTN."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.attribution import Coalitions, Histories, WinNet, by_captum, by_shap, contributions, details, shapley
from models.attribution.histories import feature_groups, logits
from models.layers import LinearGroupScores, SlotScale
from models.layers.heroes import LineUp
from models.tsstn import TSSTN, TSSTNConfig, WinEstimate

GROUPS = (("gold", ("gold", "xp")), ("tower", ("towers",)), ("form", ("form",)))
CONFIG = TSSTNConfig(groups=GROUPS, hidden=8, state=6)
HERO_CONFIG = TSSTNConfig(
    groups=(("gold", ("gold",)), ("hero", ("level",))),
    hidden=8,
    state=6,
    hero_dim=3,
    heroes=(("ahri", "mage"), ("jinx", "marksman"), ("ornn", "tank")),
)


class Toy:
    """logit = 2 gold now + towers now · gold at the first frame; all of it known in closed form."""

    config = TSSTNConfig(groups=(("gold", ("gold",)), ("tower", ("towers",))), home=False)
    scale = SlotScale(2, slots=1, slot_s=60.0, clip=100.0)

    def __call__(
        self, features: Tensor, clock_s: Tensor, mask: Tensor, line_ups: Sequence[LineUp] | None = None
    ) -> WinEstimate:
        gold, towers = features.nan_to_num().unbind(dim=2)
        own = torch.stack([2 * gold, towers * gold[:, :1]], dim=2)
        return WinEstimate(own.sum(dim=2), own, own, own)


def toy_history(gold: float = 3.0, towers: float = 2.0, first_gold: float = 1.0) -> Histories:
    features = torch.tensor([[[first_gold, 0.0], [gold, towers]]])
    return Histories(features, torch.tensor([[0.0, 60.0]]), torch.ones(1, 2, dtype=torch.bool))


@pytest.fixture(scope="module")
def model() -> TSSTN:
    torch.manual_seed(0)
    model = CONFIG.build().eval()
    assert model.home is not None
    with torch.no_grad():
        model.home.fill_(0.2)
    return model


def histories(seed: int, count: int = 12, frames: int = 9, missing: float = 0.3) -> Histories:
    chance = torch.Generator().manual_seed(seed)
    features = 2 * torch.randn(count, frames, len(CONFIG.features), generator=chance)
    features[torch.rand(features.shape, generator=chance) < missing] = torch.nan
    lengths = torch.randint(1, frames + 1, (count,), generator=chance)
    clock_s = 60.0 * torch.arange(frames).expand(count, -1)
    return Histories(features, clock_s, torch.arange(frames) < lengths[:, None])


# --- histories ----------------------------------------------------------------------------------------------------


def test_a_history_ends_at_the_frame_that_it_explains() -> None:
    features = torch.arange(12.0).reshape(2, 3, 2)
    clock_s = torch.tensor([[0.0, 30.0, 60.0]] * 2)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    some = Histories.of(features, clock_s, mask, torch.tensor([[0, 1], [1, 0], [0, 2]]))
    assert some.last.tolist() == [1, 0, 2]
    assert some.at_last(some.clock_s).tolist() == [30.0, 0.0, 60.0]
    assert Histories.of(features, clock_s, mask).last.tolist() == [0, 1, 2, 0, 1]


def test_what_is_left_level_stays_unknown_where_it_was() -> None:
    history = toy_history()._replace(features=torch.tensor([[[1.0, math.nan], [3.0, 2.0]]]))
    kept = history.keeping(torch.tensor([[True, False]]), Toy.config).features
    assert torch.equal(kept.nan_to_num(nan=-9), torch.tensor([[[1.0, -9.0], [3.0, 0.0]]]))


def test_a_level_line_up_is_the_same_on_both_sides() -> None:
    one = Histories(torch.ones(1, 1, 2), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), [(["ahri"], ["jinx"])])
    assert one.keeping(torch.tensor([[True, False]]), HERO_CONFIG).line_ups == [(["ahri"], ["ahri"])]
    assert one.keeping(torch.tensor([[False, True]]), HERO_CONFIG).line_ups == [(["ahri"], ["jinx"])]


def test_pieces_come_back_in_order(model: TSSTN) -> None:
    some = histories(1)
    together = contributions(model, some)
    for row in range(len(together)):
        alone = contributions(model, some.take(torch.tensor([row])))
        torch.testing.assert_close(together[row], alone[0], atol=1e-6, rtol=0)


# --- methods ------------------------------------------------------------------------------------------------------


def test_the_sets_of_groups_and_their_shapley_values_by_hand() -> None:
    table = Coalitions.of(Toy(), toy_history())
    # nothing; gold: 2·3; tower: 2·0, as gold was level at the first frame too; both: 6 + 2·1
    assert table.values.tolist() == [[0.0, 6.0, 0.0, 8.0]]
    assert table.shapley().tolist() == [[7.0, 1.0]]
    assert table.keeping(torch.tensor([[False, True]])).tolist() == [0.0]


EXACT = {"shapley": shapley, "KernelExplainer": by_shap.kernel_explainer, "KernelSHAP": by_captum.kernel_shap}
PATHS = {"IG": by_captum.integrated_gradients, "GradientExplainer": by_shap.gradient_explainer(0)}


@pytest.mark.parametrize("name", [*EXACT, *PATHS])
def test_methods_agree_with_the_closed_form(name: str) -> None:
    # Along the straight path towers·gold is split in equal parts, as by Shapley.
    found = (EXACT | PATHS)[name](Toy(), toy_history())
    torch.testing.assert_close(found.double(), torch.tensor([[7.0, 1.0]]).double(), atol=0.4, rtol=0)
    if name in ("shapley", "KernelExplainer", "IG"):  # Captum's KernelSHAP fits, GradientExplainer draws
        torch.testing.assert_close(found.double(), torch.tensor([[7.0, 1.0]]).double(), atol=1e-3, rtol=0)


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients:UserWarning")
def test_gradient_x_input_by_hand() -> None:
    # gold: 2·3 + 2·1 (towers · gold at first), tower: 1·2
    found = by_captum.gradient_x_input(Toy(), toy_history())
    torch.testing.assert_close(found, torch.tensor([[8.0, 2.0]]))


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients:UserWarning")
@pytest.mark.parametrize("method", [by_captum.smooth_grad, by_captum.gradient_shap])
def test_noisy_methods_come_near(method: object) -> None:
    torch.manual_seed(0)
    assert callable(method)
    found = method(Toy(), toy_history())
    assert found[0, 0] == pytest.approx(7.5, abs=0.8)
    assert found[0, 1] == pytest.approx(1.5, abs=0.8)


def test_path_methods_add_up_to_the_answer_less_the_level_one(model: TSSTN) -> None:
    some = histories(3)
    everything = Coalitions.of(model, some)
    wanted = everything.whole - everything.values[:, 0]
    for method in (shapley, by_shap.kernel_explainer, by_captum.integrated_gradients):
        torch.testing.assert_close(method(model, some).double().sum(dim=1), wanted, atol=0.02, rtol=0.02)


def test_a_feature_that_training_never_saw_has_no_part() -> None:
    torch.manual_seed(0)
    blind = CONFIG.build().eval()
    blind.scale.scale[:, 2] = torch.nan
    for method in (by_captum.integrated_gradients, by_shap.gradient_explainer(0), shapley):
        found = method(blind, histories(4))
        assert found.isfinite().all() and (found[:, 1] == 0).all()


def test_line_ups_are_part_of_every_method() -> None:
    torch.manual_seed(1)
    net = HERO_CONFIG.build().eval()
    with torch.no_grad():
        net.heroes.vectors.mul_(20)  # type: ignore[union-attr]
    level = Histories(torch.zeros(1, 2, 2), torch.tensor([[0.0, 60.0]]), torch.ones(1, 2, dtype=torch.bool))
    named = level._replace(line_ups=[(["Ahri"], ["Jinx"])])
    worth = float(logits(net, named).detach())
    assert abs(worth) > 0.01
    for method in (shapley, by_shap.kernel_explainer, by_captum.integrated_gradients, by_shap.gradient_explainer(0)):
        torch.testing.assert_close(
            method(net, named).double(), torch.tensor([[0.0, worth]]).double(), atol=1e-5, rtol=0
        )
    found = details(net, named)
    assert found.names == ("gold", "level", "line-up")
    torch.testing.assert_close(found.values, torch.tensor([[0.0, 0.0, worth]]).double(), atol=1e-6, rtol=0)


# --- within a group -----------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), spatial=st.sampled_from(["net", "linear"]))
@settings(max_examples=15)
def test_details_sum_exactly_to_their_groups_contribution(seed: int, spatial: str) -> None:
    torch.manual_seed(seed)
    net = TSSTNConfig(groups=GROUPS, hidden=8, state=6, spatial=spatial).build().eval()
    some = histories(seed)
    found = details(net, some)
    own = contributions(net, some).double()
    sums = torch.zeros_like(own).index_add_(1, found.groups, found.values)
    torch.testing.assert_close(sums, own, atol=1e-9, rtol=0)


def test_details_of_a_linear_score_are_its_terms() -> None:
    torch.manual_seed(0)
    net = TSSTNConfig(groups=(("gold", ("gold", "xp")),), spatial="linear", temporal="none").build().eval()
    assert isinstance(net.spatial, LinearGroupScores)
    with torch.no_grad():
        net.spatial.w.copy_(torch.tensor([[0.5, 0.25]]))
    history = Histories(torch.tensor([[[3.0, -2.0]]]), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    total = contributions(net, history).item()
    found = details(net, history)
    torch.testing.assert_close(found.values, torch.tensor([[1.5, -0.5]]).double() * total, atol=1e-6, rtol=0)


def test_details_that_cancel_are_both_shown() -> None:
    torch.manual_seed(0)
    net = TSSTNConfig(groups=(("gold", ("gold", "xp")), ("tower", ("towers",))), spatial="linear").build().eval()
    assert isinstance(net.spatial, LinearGroupScores)
    with torch.no_grad():
        net.spatial.w[0].copy_(torch.tensor([1.0, 1.0]))
    history = Histories(torch.tensor([[[2.0, -2.0, 1.0]]]), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    assert contributions(net, history)[0, 0] == 0
    values = details(net, history).values[0]
    assert values[0] > 0.1 and values[0] == -values[1]


def test_details_are_odd_and_zero_where_nothing_is_known(model: TSSTN) -> None:
    some = histories(5)
    net = TSSTNConfig(groups=GROUPS, hidden=8, state=6, home=False).build().eval()
    ours, theirs = details(net, some).values, details(net, some._replace(features=-some.features)).values
    torch.testing.assert_close(theirs, -ours, atol=1e-6, rtol=0)
    unknown = some.at_last(some.features).isnan()
    assert (ours[unknown] == 0).all()
    nothing = some._replace(features=torch.full_like(some.features, torch.nan))
    assert (details(model, nothing).values == 0).all()


def test_the_side_of_the_map_is_a_detail_of_form(model: TSSTN) -> None:
    level = Histories(torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    found = details(model, level)
    assert found.names[-1] == "side" and found.groups[-1] == 2
    assert found.values[0, :-1].abs().max() == 0
    assert found.values[0, -1].item() == pytest.approx(contributions(model, level)[0, 2].item())
    assert found.values[0, -1] != 0


def test_feature_groups_follow_the_columns() -> None:
    assert feature_groups(CONFIG).tolist() == [0, 0, 1, 2]
    net: WinNet = Toy()
    assert feature_groups(net.config).tolist() == [0, 1]
