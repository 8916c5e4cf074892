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


def as_trained(config: TSSTNConfig) -> TSSTN:
    """A network in which nothing is at the plain value that it starts from."""
    torch.manual_seed(0)
    model = config.build().eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if not name.startswith(("spatial", "temporal.gru", "temporal.layers")):
                value.add_(0.5 * torch.randn(value.shape))
        model.temperature.copy_(torch.tensor([0.7, 1.2, 1.0, 0.9, 1.1]))
    return model


@pytest.fixture(scope="module", params=["gru", "table", "none", "linear"])
def model(request: pytest.FixtureRequest) -> TSSTN:
    kind = request.param
    return as_trained(replace(CONFIG, spatial="linear") if kind == "linear" else replace(CONFIG, temporal=kind))


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
    assert model.config.spatial == "linear" or estimate.scores.abs().max() < 1


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
    whole, end = model.step(features, clock_s, which, torch.zeros(matches, model.state))
    hidden, parts = torch.zeros(matches, model.state), []
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
    whole, end = model.step(features, clock_s, which, torch.zeros(9, model.state))
    rows = list(range(90))
    order.shuffle(rows)  # type: ignore[attr-defined]
    rows.sort(key=lambda row: row // 9)  # frames of a match stay in time order
    mixed, mixed_end = model.step(features[rows], clock_s[rows], which[rows], torch.zeros(9, model.state))
    assert torch.equal(mixed.contributions, whole.contributions[rows])
    assert torch.equal(mixed_end, end)


def test_streaming_agrees_with_training(model: TSSTN) -> None:
    features, clock_s = match(60, seed=6)
    trained = model(features[None], clock_s[None], torch.ones(1, 60, dtype=torch.bool))
    streamed, _ = model.step(features, clock_s, torch.zeros(60, dtype=torch.int64), torch.zeros(1, model.state))
    for ours, theirs in zip(streamed, trained, strict=True):
        torch.testing.assert_close(ours, theirs[0], atol=TOLERANCE, rtol=0)


def test_streaming_leaves_its_input_state_alone_and_takes_no_rows(model: TSSTN) -> None:
    hidden = torch.ones(2, model.state)
    estimate, after = model.step(torch.zeros(0, 6), torch.zeros(0), torch.zeros(0, dtype=torch.int64), hidden)
    assert estimate.logits.shape == (0,) and estimate.contributions.shape == (0, 3)
    assert torch.equal(after, hidden)
    features, clock_s = match(4, seed=7)
    model.step(features, clock_s, torch.tensor([0, 1, 0, 1]), hidden)
    assert torch.equal(hidden, torch.ones(2, model.state))


@pytest.mark.parametrize("temporal", ["none", "table", "gru", "attention"])
def test_gamma_starts_where_the_config_says(temporal: str) -> None:
    torch.manual_seed(0)
    model = replace(CONFIG, gamma=2.5, temporal=temporal).build().eval()
    features, clock_s = match(5, seed=8, missing=0.0)
    estimate = model(features[None], clock_s[None], torch.ones(1, 5, dtype=torch.bool))
    gamma = estimate.logits / (estimate.weights * estimate.scores).sum(dim=-1)
    torch.testing.assert_close(gamma, torch.full((1, 5), 2.5))


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 500])
def test_a_big_batch_gives_the_bits_of_single_rows(model: TSSTN, rows: int) -> None:
    features, clock_s = match(rows, seed=9)
    which = torch.arange(rows)
    whole, end = model.step(features, clock_s, which, torch.zeros(rows, model.state))
    for row in range(0, rows, 7):
        alone, after = model.step(
            features[row : row + 1], clock_s[row : row + 1], torch.zeros(1).long(), torch.zeros(1, model.state)
        )
        assert torch.equal(alone.contributions[0], whole.contributions[row])
        assert torch.equal(after[0], end[row])


def test_one_frame_of_many_matches_is_computed_as_two_are(model: TSSTN) -> None:
    features, clock_s = match(140, seed=12)
    order = torch.randperm(140, generator=torch.Generator().manual_seed(0))
    which, start = order % 70, torch.zeros(70, model.state)
    nth = torch.stack([(which[:row] == which[row]).sum() for row in range(140)])
    together, end = model.step(features, clock_s, which, start)
    for turn in (0, 1):
        rows = torch.nonzero(nth == turn).squeeze(1)
        part, start = model.step(features[rows], clock_s[rows], which[rows], start)
        for whole, found in zip(together, part, strict=True):
            assert torch.equal(whole[rows], found)
    assert torch.equal(start, end)


def test_attention_holds_what_the_others_hold_and_cannot_be_streamed() -> None:
    model = as_trained(replace(CONFIG, temporal="attention"))
    features, clock_s = match(20, seed=10)
    mask = torch.ones(1, 20, dtype=torch.bool)
    ours, theirs = model(features[None], clock_s[None], mask), model(-features[None], clock_s[None], mask)
    torch.testing.assert_close(theirs.contributions, -ours.contributions, atol=TOLERANCE, rtol=0)
    other = features.clone()
    other[12:] = 7.0
    changed = model(other[None], clock_s[None], mask)
    torch.testing.assert_close(changed.logits[0, :12], ours.logits[0, :12], atol=TOLERANCE, rtol=0)
    with pytest.raises(ValueError, match="cannot be streamed"):
        model.step(features, clock_s, torch.zeros(20, dtype=torch.int64), torch.zeros(1, 0))


FORM = TSSTNConfig(groups=(("gold", ("gold",)), ("form", ("form",))), hidden=8, state=6)
"""Two columns: gold and form."""


def test_home_advantage_is_a_part_of_form_and_only_where_form_is_known() -> None:
    model = as_trained(FORM)
    assert model.home is not None
    features = torch.tensor([[[0.0, 0.0], [0.0, math.nan], [1.0, math.nan]]])
    clock_s = torch.tensor([[300.0, 300.0, 300.0]])
    estimate = model(features, clock_s, torch.ones(1, 3, dtype=torch.bool))
    knots, temperature = model.home, model.temperature
    home = (knots[0] + knots[1]) / 2 * (temperature[0] + temperature[1]) / 2  # half-way between 0 and 10 minutes
    torch.testing.assert_close(estimate.contributions[0, 0], torch.stack([torch.tensor(0.0), home]))
    assert estimate.logits[0, 1] == 0 and estimate.contributions[0, 2, 1] == 0


def test_swapping_the_camps_turns_every_sign_but_that_of_home() -> None:
    model = as_trained(FORM)
    chance = torch.Generator().manual_seed(3)
    features, clock_s = torch.randn(1, 30, 2, generator=chance), 60.0 * torch.arange(30)[None]
    mask = torch.ones(1, 30, dtype=torch.bool)
    ours, theirs = model(features, clock_s, mask), model(-features, clock_s, mask)
    level = model(torch.zeros(1, 30, 2), clock_s, mask).logits
    torch.testing.assert_close(theirs.logits + ours.logits, 2 * level, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(theirs.contributions[..., 0], -ours.contributions[..., 0], atol=TOLERANCE, rtol=0)
    model.home = None
    ours, theirs = model(features, clock_s, mask), model(-features, clock_s, mask)
    torch.testing.assert_close(theirs.logits, -ours.logits, atol=TOLERANCE, rtol=0)


def test_the_clock_is_absolute_and_nothing_of_the_match_s_end_is_an_input() -> None:
    """Trap 1 of the dossier: time divided by the final time. Here two matches differ in their ends alone."""
    model = as_trained(CONFIG)
    features, clock_s = match(30, seed=11)
    short, long = torch.ones(1, 30).bool(), torch.ones(1, 30).bool()
    short[0, 15:] = False
    cut = model(features[None], clock_s[None], short).logits[0, :15]
    whole = model(features[None], clock_s[None], long).logits[0, :15]
    torch.testing.assert_close(cut, whole, atol=TOLERANCE, rtol=0)


HEROES = TSSTNConfig(
    groups=(("gold", ("gold",)), ("hero", ("level",))), hidden=8, state=6, hero_dim=2,
    heroes=(("ahri", ""), ("jinx", ""), ("zed", "")),
)  # fmt: skip


def test_line_ups_enter_the_hero_group_and_are_odd() -> None:
    model = as_trained(HEROES)
    features, clock_s = torch.full((1, 4, 2), math.nan), torch.zeros(1, 4)
    mask = torch.ones(1, 4, dtype=torch.bool)
    picks: tuple[list[str], list[str]] = (["Ahri", "Zed"], ["Jinx", "Stranger"])
    ours, theirs = (model(features, clock_s, mask, [line_up]) for line_up in (picks, picks[::-1]))
    assert ours.contributions[0, 0, 1] != 0 and ours.contributions[0, 0, 0] == 0
    torch.testing.assert_close(theirs.logits, -ours.logits, atol=TOLERANCE, rtol=0)
    for unknown in (None, [((), ())], [(["Ahri"], [])]):
        assert torch.equal(model(features, clock_s, mask, unknown).logits, torch.zeros(1, 4))


def test_line_ups_are_streamed_as_they_are_trained() -> None:
    model = as_trained(HEROES)
    features, clock_s = torch.randn(2, 10, 2), 60.0 * torch.arange(10).expand(2, 10)
    picks = [(["Ahri", "Zed"], ["Jinx"]), ([], ["Zed"])]
    trained = model(features, clock_s, torch.ones(2, 10, dtype=torch.bool), picks).logits
    streamed, _ = model.step(
        features.reshape(20, 2), clock_s.reshape(20), torch.arange(2).repeat_interleave(10), torch.zeros(2, 6), picks
    )
    torch.testing.assert_close(streamed.logits.reshape(2, 10), trained, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": ()}, "at least one group"),
        ({"groups": (("gold", ()),)}, "empty"),
        ({"hidden": 0}, "hidden"),
        ({"temporal": "lstm"}, "temporal must be one of none, table, gru, attention"),
        ({"spatial": "deep"}, "spatial must be one of net, linear"),
        ({"dropout": 1.0}, "dropout"),
        ({"hero_dim": 2}, "needs the names of heroes and a group called hero"),
    ],
)
def test_a_senseless_config_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]
