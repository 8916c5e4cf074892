"""A model that learned nothing says nothing; a level match is even."""

from __future__ import annotations

import pytest
import torch

from jobs.datasets import MatchSet, load_matches
from models.attribution.sanity import flatness, parity_error, shuffled_results
from models.tsstn import TSSTN, TSSTNConfig


def trained(matches: MatchSet, won: torch.Tensor, steps: int = 40) -> TSSTN:
    """A small TSSTN after a few steps of plain gradient descent."""
    torch.manual_seed(0)
    model = TSSTNConfig(groups=tuple(matches.spec.groups.items()), hidden=4, state=4, gamma=1.0).build()
    model.scale.fit(matches.features[matches.mask], matches.clock_s[matches.mask])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    target = won[:, None].expand_as(matches.mask)[matches.mask]
    for _ in range(steps):
        logits = model(matches.features, matches.clock_s, matches.mask).logits[matches.mask]
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, target).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def matches() -> MatchSet:
    return load_matches("simulator:lol?matches=160&seed=11")


def test_a_model_of_shuffled_results_is_flat(matches: MatchSet) -> None:
    fresh = load_matches("simulator:lol?matches=40&seed=12")
    honest = flatness(trained(matches, matches.won), fresh)
    fooled = flatness(trained(matches, shuffled_results(matches.won, seed=1)), fresh)
    assert honest.mean > 0.15
    assert fooled.mean < min(0.1, honest.mean / 2)  # what is left is the luck of 160 results


def test_a_level_match_is_even(matches: MatchSet) -> None:
    model = trained(matches, matches.won, steps=3)
    assert parity_error(model) == 0.0
    everything = torch.ones(len(model.config.features), dtype=torch.bool)
    assert (parity_error(model, everything) > 0) == (model.home is not None)


def test_shuffling_keeps_how_many_won() -> None:
    won = torch.tensor([1.0] * 30 + [0.0] * 10)
    dealt = shuffled_results(won, seed=0)
    assert dealt.sum() == 30 and not torch.equal(dealt, won)
