"""The predictor of sessions keeps what the pipeline asks of a recommender."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.recipes.overrides import with_overrides
from jobs.recipes.session_gru4rec import GRU4REC
from jobs.train import train
from models.store import BrokenModelError, ModelStore, StoredModel
from serve.predictors.session import SessionPredictor
from streaming.sessions.model import Recommend, Recommended, Sessions
from tests.shop_sessions import walk_file


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    folder = tmp_path_factory.mktemp("shop")
    few = ["encoder.dim=8", "optim.epochs=1", "length=6", "loss.negatives=8", f"data={walk_file(folder)}"]
    train(with_overrides(GRU4REC, few), store=folder / "store", runs=folder / "runs")
    return ModelStore(folder / "store").load("session-gru4rec@candidate")


def sessions(*items: list[str]) -> Sessions:
    flat = np.array([item for session in items for item in session], dtype=object)
    time_ms = 1_400_300_000_000 + np.concatenate([1000 * np.arange(len(session)) for session in items])
    offsets = np.cumsum([0, *map(len, items)])
    return Sessions(flat, np.zeros(len(flat), np.int8), time_ms, offsets)


def test_it_answers_as_the_pipeline_asks(stored: StoredModel) -> None:
    recommend: Recommend = SessionPredictor(stored)
    asked = sessions(["10000", "10001"], ["30003"], ["🫖"], ["20000"] * 1000)
    found = recommend(asked, 50)
    assert found.items.shape == (4, 50) and found.model_name == "session-gru4rec" and found.model_version == "1"
    for row in range(4):
        named = [item for item in found.items[row] if item]
        assert len(named) == len(set(named)) == 40  # of five aisles with eight items
    assert (np.diff(found.scores[:, :40], axis=1) <= 0).all() and np.isneginf(found.scores[:, 40:]).all()
    assert (found.reason_event[2] == -1).all() and (found.reason_event[3].max(), found.reason_event[3].min()) == (
        999,
        -1,
    )
    assert (np.diff(found.reason_share, axis=2) <= 0).all()
    assert found.items[0, 0] in {"10001", "10002"} and found.reason_event[0, 0, 0] == 1


def test_an_answer_depends_neither_on_its_batch_nor_on_what_was_asked_before(stored: StoredModel) -> None:
    recommend = SessionPredictor(stored)
    lone = sessions(["10000", "10001", "50000"])
    chance = np.random.default_rng(0)
    others = [[f"{10_000 * chance.integers(1, 6) + chance.integers(8)}" for _ in range(4)] for _ in range(70)]

    def row(found: Recommended, at: int) -> list[object]:
        return [part[at].tolist() for part in (found.items, found.scores, found.reason_event, found.reason_share)]

    first = row(recommend(lone, 10), 0)
    among = recommend(sessions(*others[:40], ["10000", "10001", "50000"], *others[40:]), 10)
    assert row(among, 40) == first
    assert row(recommend(lone, 10), 0) == first


def test_a_version_whose_ids_are_none_is_refused(stored: StoredModel) -> None:
    stored.weights["id_ends"][0] = 10_000
    try:
        with pytest.raises(BrokenModelError, match="id_ends must rise"):
            SessionPredictor(stored)
    finally:
        stored.weights["id_ends"][0] = len("10000")
