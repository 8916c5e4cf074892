"""Exact search: the same as sorting all scores, whatever the blocks, with ties, gaps and few items."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.top_k import NOTHING, top_k, top_k_of


@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 9),
    items=st.integers(1, 700),
    k=st.integers(1, 30),
    block=st.sampled_from([1, 63, 64, 200, 1000]),
    coarse=st.booleans(),
)
def test_it_is_a_stable_sort_of_all_scores(
    seed: int, queries: int, items: int, k: int, block: int, coarse: bool
) -> None:
    chance = torch.Generator().manual_seed(seed)
    # Whole numbers: products are exact, and many are equal.
    low = 2 if coarse else 50
    query = torch.randint(-low, low, (queries, 4), generator=chance).float()
    item = torch.randint(-low, low, (items, 4), generator=chance).float()
    bias = torch.randint(-3, 3, (items,), generator=chance).float()
    bias[torch.rand(items, generator=chance) < 0.2] = -torch.inf
    found = top_k(query, item, k, bias=bias, block=block)
    scores = query @ item.T + bias
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    values = scores.gather(1, order)
    wanted = torch.where(values == -torch.inf, NOTHING, order)
    count = min(k, items)
    assert torch.equal(found.items[:, :count], wanted) and torch.equal(found.scores[:, :count], values)
    assert (found.items[:, count:] == NOTHING).all() and (found.scores[:, count:] == -torch.inf).all()
    again = top_k_of(scores, k)
    assert torch.equal(again.items, found.items) and torch.equal(again.scores, found.scores)


def test_nothing_to_ask_or_to_find() -> None:
    assert top_k(torch.zeros(0, 3), torch.zeros(5, 3), 2).items.shape == (0, 2)
    assert top_k(torch.zeros(2, 3), torch.zeros(0, 3), 2).items.tolist() == [[NOTHING] * 2] * 2


def test_bad_input_is_named() -> None:
    query, item = torch.zeros(1, 3), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="queries"):
        top_k(query, torch.zeros(2, 4), 1)
    with pytest.raises(ValueError, match="bias"):
        top_k(query, item, 1, bias=torch.zeros(3))
    with pytest.raises(ValueError, match="k=0"):
        top_k(query, item, 0)
    with pytest.raises(ValueError, match="k=0"):
        top_k_of(torch.zeros(1, 2), 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_a_gpu_finds_the_same() -> None:
    query, item = torch.randint(-9, 9, (5, 8)).float(), torch.randint(-9, 9, (3000, 8)).float()
    here, there = top_k(query, item, 20), top_k(query.cuda(), item.cuda(), 20)
    assert torch.equal(here.items, there.items.cpu()) and torch.equal(here.scores, there.scores.cpu())
