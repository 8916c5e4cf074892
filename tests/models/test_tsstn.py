"""TSSTN: what holds by construction, and what streaming owes to training."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tsstn import TSSTN, TSSTNConfig

GROUPS = (("gold", ("gold", "xp")), ("tower", ("towers",)), ("wild", ("dragons", "barons", "heralds")))
CONFIG = TSSTNConfig(groups=GROUPS, hidden=8, state=6)
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def model() -> TSSTN:
    torch.manual_seed(0)
    model = CONFIG.build().eval()
    with torch.no_grad():
        model.strength.weight.normal_()  # as after training, so that γ follows the state
    return model


def match(frames: int, seed: int, missing: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random features (T, F) with gaps, and a rising clock (T,)."""
    chance = torch.Generator().manual_seed(seed)
    features = 2 * torch.randn(frames, len(CONFIG.features), generator=chance)
    features[torch.rand(features.shape, generator=chance) < missing] = torch.nan
    return features, 30.0 * torch.arange(frames) + 5 * torch.rand(frames, generator=chance)


def test_contributions_sum_to_the_logit_and_weights_to_one(model: TSSTN) -> None:
    features, clock_s = match(40, seed=1)
    estimate = model(features[None], clock_s[None], torch.ones(1, 40, dtype=torch.bool))
    torch.testing.assert_close(estimate.contributions.sum(dim=-1), estimate.logits, atol=TOLERANCE, rtol=0)
    known = features.isnan().logical_not().any(dim=1)
    torch.testing.assert_close(estimate.weights.sum(dim=-1)[0], known.float())
    assert estimate.scores.abs().max() < 1


def test_swapping_the_camps_turns_every_sign(model: TSSTN) -> None:
    features, clock_s = match(40, seed=2)
    mask = torch.ones(1, 40, dtype=torch.bool)
    ours, theirs = model(features[None], clock_s[None], mask), model(-features[None], clock_s[None], mask)
    torch.testing.assert_close(theirs.contributions, -ours.contributions, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(theirs.weights, ours.weights, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(theirs.logits.sigmoid(), 1 - ours.logits.sigmoid(), atol=TOLERANCE, rtol=0)


def test_a_level_match_is_even(model: TSSTN) -> None:
    estimate = model(torch.zeros(1, 5, 6), torch.arange(5.0)[None] * 60, torch.ones(1, 5, dtype=torch.bool))
    assert torch.equal(estimate.logits, torch.zeros(1, 5))


def test_a_group_of_which_nothing_is_known_says_nothing(model: TSSTN) -> None:
    features = torch.tensor([[[1.0, 2.0, math.nan, 1.0, 0.0, math.nan]]])
    estimate = model(features, torch.tensor([[600.0]]), torch.tensor([[True]]))
    tower = CONFIG.group_names.index("tower")
    assert estimate.scores[0, 0, tower] == estimate.weights[0, 0, tower] == estimate.contributions[0, 0, tower] == 0
    assert estimate.weights[0, 0, 0] > 0
    torch.testing.assert_close(estimate.weights.sum(), torch.tensor(1.0))


def test_nothing_known_at_all_is_even_and_finite(model: TSSTN) -> None:
    estimate = model(torch.full((1, 2, 6), math.nan), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    assert all(torch.equal(part, torch.zeros_like(part)) for part in estimate)


@given(seed=st.integers(0, 1000), changed=st.integers(1, 19))
@settings(max_examples=20)
def test_a_changed_future_frame_never_changes_an_earlier_answer(model: TSSTN, seed: int, changed: int) -> None:
    features, clock_s = match(20, seed)
    other = features.clone()
    other[changed:] = 7.0
    mask = torch.ones(1, 20, dtype=torch.bool)
    before, after = (model(x[None], clock_s[None], mask).logits[0, :changed] for x in (features, other))
    torch.testing.assert_close(after, before, atol=TOLERANCE, rtol=0)


def test_the_length_of_a_match_leaks_nothing(model: TSSTN) -> None:
    features, clock_s = match(30, seed=3)
    whole = model(features[None], clock_s[None], torch.ones(1, 30, dtype=torch.bool)).logits[0, :12]
    cut = model(features[None, :12], clock_s[None, :12], torch.ones(1, 12, dtype=torch.bool)).logits[0]
    torch.testing.assert_close(cut, whole, atol=TOLERANCE, rtol=0)


def test_padding_comes_out_as_zero_and_disturbs_no_gradient(model: TSSTN) -> None:
    features, clock_s = match(10, seed=4)
    mask = torch.arange(10)[None] < 6
    estimate = model(features[None], clock_s[None], mask)
    assert torch.equal(estimate.logits[0, 6:], torch.zeros(4))
    model.zero_grad()
    estimate.logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@given(cuts=st.sets(st.integers(1, 149), max_size=8), seed=st.integers(0, 100))
@settings(max_examples=30)
def test_a_stream_is_answered_bit_for_bit_the_same_however_it_is_cut(model: TSSTN, cuts: set[int], seed: int) -> None:
    rows, matches = 150, 7
    features, clock_s = match(rows, seed)
    which = torch.randint(matches, (rows,), generator=torch.Generator().manual_seed(seed))
    whole, end = model.step(features, clock_s, which, torch.zeros(matches, 6))
    hidden, parts = torch.zeros(matches, 6), []
    for start, stop in pairwise((0, *sorted(cuts), rows)):
        estimate, hidden = model.step(features[start:stop], clock_s[start:stop], which[start:stop], hidden)
        parts.append(estimate)
    for column, expected in zip(zip(*parts, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(column), expected)
    assert torch.equal(hidden, end)


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=10)
def test_the_order_of_matches_in_a_batch_does_not_matter(model: TSSTN, order: object) -> None:
    features, clock_s = match(90, seed=5)
    which = torch.arange(90) % 9
    whole, end = model.step(features, clock_s, which, torch.zeros(9, 6))
    rows = list(range(90))
    order.shuffle(rows)  # type: ignore[attr-defined]
    rows.sort(key=lambda row: row // 9)  # frames of a match stay in time order
    mixed, mixed_end = model.step(features[rows], clock_s[rows], which[rows], torch.zeros(9, 6))
    assert torch.equal(mixed.contributions, whole.contributions[rows])
    assert torch.equal(mixed_end, end)


def test_streaming_agrees_with_training(model: TSSTN) -> None:
    features, clock_s = match(60, seed=6)
    trained = model(features[None], clock_s[None], torch.ones(1, 60, dtype=torch.bool))
    streamed, _ = model.step(features, clock_s, torch.zeros(60, dtype=torch.int64), torch.zeros(1, 6))
    for ours, theirs in zip(streamed, trained, strict=True):
        torch.testing.assert_close(ours, theirs[0], atol=TOLERANCE, rtol=0)


def test_streaming_leaves_its_input_state_alone_and_takes_no_rows(model: TSSTN) -> None:
    hidden = torch.ones(2, 6)
    estimate, after = model.step(torch.zeros(0, 6), torch.zeros(0), torch.zeros(0, dtype=torch.int64), hidden)
    assert estimate.logits.shape == (0,) and estimate.contributions.shape == (0, 3)
    assert torch.equal(after, hidden)
    features, clock_s = match(4, seed=7)
    model.step(features, clock_s, torch.tensor([0, 1, 0, 1]), hidden)
    assert torch.equal(hidden, torch.ones(2, 6))


def test_gamma_starts_where_the_config_says() -> None:
    model = replace(CONFIG, gamma=2.5).build()
    torch.testing.assert_close(torch.nn.functional.softplus(model.strength.bias), torch.tensor([2.5]))


@pytest.mark.parametrize(
    ("groups", "hidden", "message"),
    [((), 8, "at least one group"), ((("gold", ()),), 8, "empty"), (GROUPS, 0, "hidden")],
)
def test_a_senseless_config_is_refused(groups: object, hidden: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TSSTNConfig(groups=groups, hidden=hidden)  # type: ignore[arg-type]
