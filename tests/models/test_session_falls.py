"""The quick way to reasons: what asking the model again without each click says, for every rule of the neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.attribution.session_falls import SessionFalls
from models.attribution.session_reasons import leave_one_out
from models.baselines.session_knn import STAN, VSKNN, VSTAN, NeighbourRule
from models.gru4rec import GRU4RecConfig
from models.session_model import SessionModel, SessionModelConfig

NO, ITEMS, LENGTH = -1, 12, 6
RULES = (VSKNN, STAN, VSTAN, replace(VSTAN, cosine=False, ipw=2.0))


def model_of(seed: int, rule: NeighbourRule, memory: float) -> SessionModel:
    chance = np.random.default_rng(seed)
    sessions = [chance.integers(0, ITEMS, chance.integers(1, 6)) for _ in range(30)]
    clicks = np.concatenate(sessions)
    config = SessionModelConfig(
        GRU4RecConfig(items=ITEMS, dim=5), id_bytes=0, length=LENGTH, memory=memory, sessions=30, clicks=len(clicks),
        rule=rule,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = config.build().eval()
    model.remember(np.repeat(np.arange(30), [len(s) for s in sessions]), clicks, np.arange(30) * 50_000.0)
    return model


def by_asking_again(model: SessionModel, clicks: np.ndarray, now_s: np.ndarray, items: np.ndarray) -> np.ndarray:
    return leave_one_out(model.probabilities, clicks, now_s, items, most=LENGTH)


def quickly(
    model: SessionModel, clicks: np.ndarray, now_s: np.ndarray, items: np.ndarray, most: int = LENGTH
) -> np.ndarray:
    """(Q, k, L), as of `leave_one_out`."""
    scores = np.take_along_axis(model.probabilities(clicks, now_s), np.maximum(items, 0), axis=1)
    falls = SessionFalls(model, most=most)
    asked = falls.ask(clicks)
    for _ in model.pieces(clicks, now_s, asked.scored):
        """They are scored on the way."""
    columns, fall = falls.of(asked, now_s, items, scores)
    found = np.zeros((*items.shape, clicks.shape[1]))
    query, slot = np.nonzero(columns != NO)
    found[query, :, columns[query, slot]] = fall[query, :, slot]
    assert (fall.swapaxes(1, 2)[columns == NO] == 0).all()
    return found


@given(
    seed=st.integers(0, 10_000),
    rule=st.sampled_from(RULES),
    memory=st.sampled_from([0.0, 0.6]),
    neighbours=st.integers(1, 12),
    sample=st.integers(1, 25),
)
@settings(max_examples=60, deadline=None)
def test_it_says_what_asking_again_says(
    seed: int, rule: NeighbourRule, memory: float, neighbours: int, sample: int
) -> None:
    model = model_of(seed, replace(rule, neighbours=neighbours, sample=sample), memory)
    chance = np.random.default_rng(seed + 1)
    queries = 20
    empty = np.arange(LENGTH) < chance.integers(0, LENGTH + 1, (queries, 1))
    clicks = chance.integers(0, ITEMS, (queries, LENGTH))
    clicks = np.where(chance.random((queries, 1)) < 0.5, clicks, clicks % 4)  # some with many repeats
    clicks = np.where(empty, NO, clicks)
    now_s = chance.uniform(1e6, 2e6, queries)
    items = np.stack([chance.permutation(ITEMS)[:5] for _ in range(queries)])
    items[0, 3:] = NO
    np.testing.assert_allclose(
        quickly(model, clicks, now_s, items), by_asking_again(model, clicks, now_s, items), atol=2e-7
    )


@pytest.mark.parametrize("most", [1, 2])
def test_only_the_latest_clicks_are_tried(most: int) -> None:
    model = model_of(0, VSTAN, 0.6)
    clicks, now_s, items = np.array([[NO, NO, 1, 2, 1, 3]]), np.array([1e6]), np.array([[4, 5]])
    found, whole = quickly(model, clicks, now_s, items, most), by_asking_again(model, clicks, now_s, items)
    tried = [5, 4][:most]
    np.testing.assert_allclose(found[..., tried], whole[..., tried], atol=2e-7)
    assert (np.delete(found, tried, axis=2) == 0).all() and (whole[..., 3] != 0).all()


def test_an_answer_does_not_depend_on_the_batch() -> None:
    model = model_of(1, VSTAN, 0.6)
    chance = np.random.default_rng(2)
    clicks, now_s = chance.integers(0, ITEMS, (70, LENGTH)), chance.uniform(1e6, 2e6, 70)
    items = np.stack([chance.permutation(ITEMS)[:5] for _ in range(70)])
    whole = quickly(model, clicks, now_s, items)
    for row in (0, 15, 16, 69):
        alone = quickly(model, clicks[row : row + 1], now_s[row : row + 1], items[row : row + 1])
        np.testing.assert_array_equal(alone[0], whole[row])


def test_what_is_left_of_sessions_is_scored_once_and_what_is_a_session_with_that() -> None:
    model = model_of(3, VSTAN, 0.6)
    clicks = np.array([[NO, NO, NO, NO, NO, 1], [NO, NO, NO, NO, 1, 2], [NO, NO, NO, 1, 2, 3], [NO, NO, NO, 1, 2, 3]])
    others = SessionFalls(model).ask(clicks).others
    assert sorted(tuple(row[row != NO].tolist()) for row in others) == [(), (1, 3), (2,), (2, 3)]
    now_s, items = np.full(4, 1.4e6), np.array([[4, 5, 0]] * 4)
    found = quickly(model, clicks, now_s, items)
    np.testing.assert_allclose(found, by_asking_again(model, clicks, now_s, items), atol=2e-7)
    for row in range(4):
        alone = quickly(model, clicks[row : row + 1], now_s[row : row + 1], items[row : row + 1])
        np.testing.assert_array_equal(alone[0], found[row])


def test_nobody_and_nothing() -> None:
    model = model_of(0, VSTAN, 0.6)
    nothing = quickly(model, np.full((2, LENGTH), NO), np.zeros(2), np.array([[0, 1], [2, 3]]))
    assert (nothing == 0).all()
    assert quickly(model, np.empty((0, LENGTH), np.int64), np.empty(0), np.empty((0, 2), np.int64)).shape[0] == 0
