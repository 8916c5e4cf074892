"""Session-kNN: scores by hand and by the published procedure step by step, and independence of the batch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.baselines.item_knn import ItemKNN
from models.baselines.session_knn import DAY_S, STAN, VSKNN, VSTAN, NeighbourRule, SessionKNN
from models.baselines.session_memory import SessionMemory

NO = -1


def memory_of(sessions: list[list[int]], items: int, ended_s: list[float] | None = None) -> SessionMemory:
    session = np.repeat(np.arange(len(sessions)), [len(each) for each in sessions])
    ended = np.arange(len(sessions)) * 1000.0 if ended_s is None else np.array(ended_s)
    return SessionMemory(session, np.array([item for each in sessions for item in each]), ended, items)


def test_vsknn_by_hand() -> None:
    memory = memory_of([[0, 1, 2], [2, 3], [4]], 5)
    # Session 0, 2: weights 1/2 and 1. The first shares both, at 0 steps: 1.5; the second shares 2: 1.
    scores = SessionKNN(memory, VSKNN).scores(np.array([[NO, 0, 2]]), np.array([0.0]))
    np.testing.assert_allclose(scores, [[1.5, 1.5, 2.5, 1.0, 0.0]])
    # Session 0, 4: the first is met one step back: 1/2 · 1/2; the last at once: 1.
    scores = SessionKNN(memory, VSKNN).scores(np.array([[NO, 0, 4]]), np.array([0.0]))
    np.testing.assert_allclose(scores, [[0.25, 0.25, 0.25, 0.0, 1.0]])


def test_stan_by_hand() -> None:
    memory = memory_of([[0, 1, 2]], 3, [0.0])
    rule = replace(STAN, spw=1.0, snh_days=1.0, inh=2.0)
    scores = SessionKNN(memory, rule).scores(np.array([[1, 0]]), np.array([DAY_S]))
    weights = {0: 1.0, 1: math.exp(-1)}
    similarity = sum(weights.values()) / math.sqrt(3 * sum(w * w for w in weights.values())) * math.exp(-1)
    # i* is item 1, at place 2, the last of the neighbour that is shared.
    np.testing.assert_allclose(scores, [[similarity * math.exp(-abs(place - 2) / 2) for place in (1, 2, 3)]])


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_scores_are_those_of_the_published_procedure(seed: int) -> None:
    chance = np.random.default_rng(seed)
    sessions = [chance.integers(0, 8, chance.integers(1, 6)).tolist() for _ in range(12)]
    memory = memory_of(sessions, 8)
    rule = [VSKNN, STAN, VSTAN, replace(VSTAN, cosine=False, ipw=2.0)][seed % 4]
    rule = replace(rule, neighbours=3, sample=5)
    clicks = np.where(np.arange(4) < chance.integers(0, 4, (5, 1)), NO, chance.integers(0, 9, (5, 4)))
    now_s = chance.uniform(12_000, 90_000, 5)
    found = SessionKNN(memory, rule).scores(clicks, now_s)
    for row in range(5):
        np.testing.assert_allclose(found[row], by_procedure(sessions, clicks[row], now_s[row], rule), atol=1e-12)


def by_procedure(sessions: list[list[int]], clicks: np.ndarray, now_s: float, rule: NeighbourRule) -> list[float]:
    """As the authors' code goes: one session, one neighbour, one item at a time. Item 8 is not known."""
    own = [item for item in clicks.tolist() if item != NO]
    weights = {}
    for place, item in enumerate(own, start=1):
        if item < 8:
            back = len(own) - place
            weights[item] = math.exp(-back / rule.spw) if rule.spw else place / len(own)
    sharing = [n for n, past in enumerate(sessions) if set(past) & set(weights)]
    candidates = []
    for n in sorted(sharing, reverse=True)[: rule.sample]:
        past = set(sessions[n])
        similarity = sum(weights[item] for item in past & set(weights))
        if rule.cosine:
            similarity /= math.sqrt(sum(w * w for w in weights.values()) * len(past))
        if rule.snh_days:
            similarity *= math.exp(-(now_s - n * 1000.0) / (rule.snh_days * DAY_S))
        candidates.append((similarity, n))
    scores = [0.0] * 8
    for similarity, n in sorted(candidates, reverse=True)[: rule.neighbours]:
        past = sessions[n]
        star = max(place for place, item in enumerate(past, start=1) if item in weights)
        steps = next(back for back, item in enumerate(reversed(own)) if item in past)
        vote = similarity / (1 + steps) if rule.div else similarity
        vote *= math.exp(-steps / rule.ipw) if rule.ipw and not rule.div else 1
        for item in set(past):
            last = max(place for place, each in enumerate(past, start=1) if each == item)
            near = math.exp(-abs(last - star) / rule.inh) if rule.inh else 1
            support = sum(item in other for other in sessions)
            scores[item] += vote * near * (1 + rule.idf * math.log(len(sessions) / support))
    return scores


def test_an_answer_does_not_depend_on_the_batch() -> None:
    chance = np.random.default_rng(0)
    memory = memory_of([chance.integers(0, 30, 4).tolist() for _ in range(300)], 30)
    clicks, now_s = chance.integers(-1, 30, (600, 5)), chance.uniform(3e5, 4e5, 600)
    knn = SessionKNN(memory, VSTAN)
    whole = knn.scores(clicks, now_s)
    for row in (0, 255, 256, 599):
        np.testing.assert_array_equal(knn.scores(clicks[row : row + 1], now_s[row : row + 1])[0], whole[row])


def test_a_session_without_known_items_gets_nothing() -> None:
    knn = SessionKNN(memory_of([[0, 1]], 2), VSTAN)
    assert knn.scores(np.array([[NO, NO], [NO, 7]]), np.zeros(2)).tolist() == [[0, 0], [0, 0]]
    assert knn.scores(np.empty((0, 2), np.int64), np.empty(0)).shape == (0, 2)


def test_item_knn_by_hand() -> None:
    scores = ItemKNN(memory_of([[0, 1], [0, 1, 1], [0, 2]], 3), regularisation=1.0).scores(np.array([[2, 0], [0, 9]]))
    # Item 0 is in three sessions, 1 in two of them, 2 in one.
    np.testing.assert_allclose(scores[0], [0, 2 / math.sqrt(4 * 3), 1 / math.sqrt(4 * 2)])
    assert scores[1].tolist() == [0, 0, 0]


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="neighbours=0"):
        NeighbourRule(neighbours=0)
    with pytest.raises(ValueError, match="inh=-1"):
        NeighbourRule(inh=-1.0)
