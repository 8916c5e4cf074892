"""Scores of all items: those of the plain product, the same bits wherever a session stands, and their sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.layers.rows import PIECE
from models.scorer import Scorer, exponentiate
from models.session_encoder import Tables

ITEMS, DIM = 1_003, 96


def scorer(sharpness: float = 1.0) -> Scorer:
    chance = torch.Generator().manual_seed(0)
    return Scorer(Tables(torch.randn(ITEMS, DIM, generator=chance), torch.randn(ITEMS, generator=chance)), sharpness)


def wanted(states: torch.Tensor, sharpness: float = 1.0) -> np.ndarray:
    one = scorer()
    return ((states.double() @ one.vectors.double().T + one.biases.double()) * sharpness).numpy()


def states(count: int) -> torch.Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1])
def test_they_are_the_products_and_their_sums(count: int) -> None:
    asked = states(count)
    found = np.empty((count, ITEMS), np.float32)
    for rows, piece in scorer(2.0).pieces(asked):
        found[rows] = piece
    exact = wanted(asked, 2.0)
    np.testing.assert_allclose(found, exact, atol=1e-4)
    highest, total = exponentiate(found)
    np.testing.assert_allclose((highest + np.log(total))[:, 0], torch.from_numpy(exact).logsumexp(1), rtol=1e-6)
    some = np.random.default_rng(0).integers(0, ITEMS, (count, 7))
    np.testing.assert_allclose(scorer(2.0).of(asked, some), np.take_along_axis(exact, some, axis=1), atol=1e-4)


def test_a_row_is_the_same_bits_wherever_it_stands() -> None:
    asked, one = states(2 * PIECE), scorer()
    alone = next(iter(one.pieces(asked[:1])))[1][0].copy()
    some = np.random.default_rng(0).integers(0, ITEMS, (len(asked), 20))
    few = one.of(asked[:1], some[:1])[0]
    for place in (0, 1, 7, PIECE - 1, PIECE, 2 * PIECE - 2):
        moved = torch.roll(asked, place, dims=0)
        found = np.concatenate([piece.copy() for _, piece in one.pieces(moved)])
        np.testing.assert_array_equal(found[place], alone)
        np.testing.assert_array_equal(one.of(moved, np.roll(some, place, axis=0))[place], few)


def test_high_scores_do_not_overflow() -> None:
    scores = np.array([[1000.0, 999.0, -1000.0]], np.float32)
    highest, total = exponentiate(scores)
    assert (highest.item(), total.item()) == (1000.0, pytest.approx(1 + np.exp(-1.0)))
    np.testing.assert_allclose(scores, [[1.0, np.exp(-1.0), 0.0]], rtol=1e-6)
