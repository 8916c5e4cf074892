"""Swings and their parts, key moments, and what would be without an event."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.attribution.change import Event, change, key_moments, without_event
from models.attribution.words import counterfactual_words
from models.tsstn import TSSTN, TSSTNConfig

GROUPS = (("gold", ("gold",)), ("wild", ("dragons", "barons")))
CLOCK_S = torch.tensor([0.0, 60.0, 120.0, 180.0, 240.0])


@pytest.fixture(scope="module")
def model() -> TSSTN:
    torch.manual_seed(3)
    return TSSTNConfig(groups=GROUPS, hidden=8, state=6).build().eval()


@pytest.fixture
def features() -> torch.Tensor:
    return torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [2.0, 2.0, 0.0]])


@given(
    st.lists(
        st.tuples(*[st.floats(-10, 10, width=32) for _ in range(4)]),
        min_size=2,
        max_size=2,
    )
)
def test_the_parts_of_a_swing_add_up_to_it(frames: list[tuple[float, ...]]) -> None:
    before, after = (torch.tensor(frame) for frame in frames)
    found = change(before, after)
    assert found.groups.sum().item() == found.logit.item()
    assert found.logit.item() == pytest.approx((after.double().sum() - before.double().sum()).item(), abs=1e-12)
    assert found.shares.sum().item() == pytest.approx(1.0) or not found.groups.any()


def test_shares_by_hand() -> None:
    found = change(torch.tensor([0.0, 1.0]), torch.tensor([0.75, 0.75]))
    assert found.logit.item() == 0.5
    assert found.shares.tolist() == [0.75, 0.25]
    assert change(torch.zeros(2), torch.zeros(2)).shares.tolist() == [0.0, 0.0]


def test_key_moments_are_the_largest_swings_in_order_of_time() -> None:
    contributions = torch.tensor([[0.0], [1.0], [0.9], [-1.1], [-1.0]])
    moments = key_moments(contributions, CLOCK_S, most=2)
    assert [moment.frame for moment in moments] == [1, 3]
    assert moments[1].change.logit.item() == pytest.approx(-2.0)
    assert moments[1].p_before == pytest.approx(1 / (1 + math.exp(-0.9)))
    assert moments[1].clock_s == 180.0
    assert [moment.frame for moment in key_moments(contributions, CLOCK_S, most=5, apart_s=130.0)] == [3]
    assert key_moments(contributions[:1], CLOCK_S[:1]) == []
    assert key_moments(torch.zeros(5, 1), CLOCK_S) == []


def test_without_the_second_dragon(model: TSSTN, features: torch.Tensor) -> None:
    found = without_event(model, features, CLOCK_S, Event("dragons", "A", clock_s=150.0))
    assert found.first == 3
    other = features.clone()
    other[3:, 1] = 1.0
    mask = torch.ones(1, 5, dtype=torch.bool)
    wanted = model(other[None], CLOCK_S[None], mask).logits[0].double()
    torch.testing.assert_close(found.logits_without, wanted, atol=1e-6, rtol=0)
    assert torch.equal(found.logits_without[:3], found.logits[:3])
    assert found.logits_without[3] != found.logits[3]
    assert found.worth() == pytest.approx(float(found.probs[-1] - found.probs_without[-1]))


def test_an_event_of_camp_b_is_worth_what_it_is_to_b(model: TSSTN, features: torch.Tensor) -> None:
    ours = without_event(model, features, CLOCK_S, Event("dragons", "A", clock_s=150.0))
    theirs = without_event(model, -features, CLOCK_S, Event("dragons", "B", clock_s=150.0))
    assert theirs.worth() == pytest.approx(ours.worth(), abs=1e-6)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Event("dragon", "A", 60.0), "no feature 'dragon'; it has gold, dragons, barons"),
        (Event("dragons", "A", 999.0), "the match is only at 240 s"),
        (Event("barons", "A", 60.0), "barons is not known from 60 s on"),
    ],
)
def test_an_event_that_cannot_be_taken_out(model: TSSTN, features: torch.Tensor, event: Event, message: str) -> None:
    features[:, 2] = torch.nan
    with pytest.raises(ValueError, match=message):
        without_event(model, features, CLOCK_S, event)


def test_in_words(model: TSSTN, features: torch.Tensor) -> None:
    found = without_event(model, features, CLOCK_S, Event("dragons", "A", clock_s=150.0))
    found = found._replace(logits=torch.tensor([0.7538]), logits_without=torch.tensor([0.1603]))
    english = counterfactual_words(found, event="second dragon", camp="Blue", owner="Blue's")
    assert english == "Without Blue's second dragon, Blue would be at 54 % instead of 68 %."
    chinese = counterfactual_words(found, event="第二条小龙", camp="蓝色方", owner="蓝色方的", language="zh")
    assert chinese == "如果没有蓝色方的第二条小龙，蓝色方的胜率会是54%，而不是68%。"
    same = found._replace(logits_without=found.logits)
    assert "still be at 68 %" in counterfactual_words(same, event="second dragon", camp="Blue", owner="Blue's")
    theirs = found._replace(event=Event("dragons", "B", 150.0))
    assert "at 46 % instead of 32 %" in counterfactual_words(theirs, event="dragon", camp="Red", owner="Red's")
