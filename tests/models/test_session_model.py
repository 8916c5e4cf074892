"""The model that answers sessions: its mixture, its ids and memory in the store, one columnar call, and reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models._registry import build_with, config_from_json, config_to_json
from models.attribution.session_reasons import (
    deletion_test,
    distinct_clicks,
    leave_one_out,
    neighbour_contributions,
    strongest,
    without,
)
from models.gru4rec import GRU4RecConfig
from models.recommender import SessionRecommender
from models.session_model import SessionModel, SessionModelConfig
from models.store import BrokenModelError, ModelStore

IDS = ("kettle", "🫖", "مصباح", "<b>cup</b>", "pan", "lid")
PAST = [[0, 1], [0, 1, 2], [3, 4], [0, 3]]
NO = -1


def small(memory: float = 0.5) -> SessionModel:
    clicks = sum(map(len, PAST)) if memory else 0
    config = SessionModelConfig(
        encoder=GRU4RecConfig(items=len(IDS), dim=5),
        id_bytes=sum(len(each.encode()) for each in IDS),
        length=4,
        memory=memory,
        sessions=len(PAST) if memory else 0,
        clicks=clicks,
    )
    torch.manual_seed(0)
    model = config.build().eval()
    model.set_ids(IDS)
    if memory:
        session = np.repeat(np.arange(len(PAST)), [len(each) for each in PAST])
        model.remember(session, np.array([item for each in PAST for item in each]), np.arange(len(PAST)) * 60.0)
    return model


def asked(*sessions: list[str]) -> dict[str, Any]:
    item = [each for session in sessions for each in session]
    return {
        "item": np.array(item, dtype=object),
        "time_ms": np.arange(len(item), dtype=np.int64) * 1000 + 300_000,
        "offsets": np.cumsum([0, *map(len, sessions)]),
    }


def test_probabilities_are_the_mixture_of_both() -> None:
    model = small()
    clicks, now_s = np.array([[NO, NO, 3, 0], [NO, NO, NO, 5]]), np.array([300.0, 300.0])
    neighbours = model.neighbours()
    assert neighbours is not None
    votes, alone = neighbours.scores(clicks, now_s), model.encoder_probabilities(clicks)
    found = model.probabilities(clicks, now_s)
    np.testing.assert_allclose(found[0], 0.5 * alone[0] + 0.5 * votes[0] / votes[0].sum(), rtol=1e-6)
    np.testing.assert_array_equal(found[1], alone[1])  # nobody has clicked the lid
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    with torch.no_grad():
        logits = model.encoder.scores(torch.from_numpy(clicks))
    np.testing.assert_allclose(alone, logits.softmax(dim=1).numpy(), rtol=1e-5)


def test_an_answer_does_not_depend_on_the_batch_nor_the_width_of_its_row() -> None:
    model = small()
    chance = np.random.default_rng(0)
    clicks, now_s = chance.integers(-1, 7, (70, 4)), chance.uniform(200, 400, 70)
    whole = model.probabilities(clicks, now_s)
    for row in (0, 31, 32, 69):
        alone = model.probabilities(clicks[row : row + 1], now_s[row : row + 1])
        np.testing.assert_array_equal(alone[0], whole[row])
        wide = np.pad(clicks[row : row + 1], ((0, 0), (9, 0)), constant_values=NO)
        np.testing.assert_array_equal(model.probabilities(wide, now_s[row : row + 1]), alone)
    assert model.probabilities(clicks[:0], now_s[:0]).shape == (0, len(IDS))


def test_ids_and_memory_come_back_from_the_store(tmp_path: Path) -> None:
    model = small()
    store = ModelStore(tmp_path)
    words = dict.fromkeys(("trained_on", "data_fingerprint", "code_version"), "a test")
    store.save("session-gru4rec", model, config_to_json(model.config), metrics={}, title="session", **words)
    again = store.load("session-gru4rec@1").build_as(SessionModel)
    assert again.ids() == IDS
    clicks, now_s = np.array([[NO, 0, 1, 3]]), np.array([400.0])
    np.testing.assert_array_equal(again.probabilities(clicks, now_s), model.probabilities(clicks, now_s))


def test_what_is_stored_and_makes_no_sense_is_refused() -> None:
    model = small()
    model.id_ends[0] = 99
    with pytest.raises(ValueError, match="id_ends must rise"):
        model.ids()
    model = small()
    model.id_ends[1] -= 1  # in the middle of a letter
    with pytest.raises(ValueError, match="UTF-8"):
        model.ids()
    model = small()
    model.memory_item[0] = 99
    with pytest.raises(ValueError, match="remembered sessions"):
        model.probabilities(np.array([[0]]), np.array([0.0]))
    with pytest.raises(ValueError, match="1 ids"):
        model.set_ids(["kettle"])


def test_config_of_an_unknown_encoder_is_refused() -> None:
    raw = config_to_json(small().config)
    assert config_from_json(raw) == small().config
    with pytest.raises(ValueError, match="encoder must be"):
        config_from_json({**raw, "encoder": {"architecture": "osnet"}})
    with pytest.raises(ValueError, match="rule must be"):
        config_from_json({**raw, "rule": []})
    with pytest.raises(ValueError, match="unknown keys more"):
        config_from_json({**raw, "rule": {**raw["rule"], "more": 1}})
    with pytest.raises(ValueError, match="id_text has shape"):
        build_with({**raw, "id_bytes": 1 << 40}, small().state_dict())
    assert BrokenModelError is not None


def test_one_call_answers_many_sessions() -> None:
    recommender = SessionRecommender(small())
    found = recommender.recommend(**asked(["kettle", "pan"], ["never seen"], ["🫖"] * 30), k=3)
    assert found.items.shape == (3, 3) and found.reason_event.shape == (3, 3, 2)
    assert (np.diff(found.scores, axis=1) <= 0).all() and np.isfinite(found.scores).all()
    assert set(found.items.ravel()) <= set(IDS)
    assert (found.reason_event[1] == -1).all()  # nothing that is known was clicked
    assert set(found.reason_event[2].ravel().tolist()) <= {-1, 29}  # the latest of many
    single = recommender.recommend(**asked(["kettle", "pan"]), k=3)
    # The other call has other times: those of the first session are the same.
    np.testing.assert_array_equal(single.items[0], found.items[0])
    np.testing.assert_array_equal(single.scores[0], found.scores[0])
    np.testing.assert_array_equal(single.reason_event[0], found.reason_event[0])


def test_what_is_not_offered_does_not_come_and_lists_end_early() -> None:
    recommender = SessionRecommender(small(), reasons=1)
    offered = recommender.offering(["pan", "lid", "no such"])
    found = recommender.recommend(**asked(["kettle"]), k=4, offered=offered)
    assert sorted(found.items[0, :2]) == ["lid", "pan"] and found.items[0, 2:].tolist() == ["", ""]
    assert np.isneginf(found.scores[0, 2:]).all() and (found.reason_event[0, 2:] == -1).all()
    assert "kettle" in recommender.recommend(**asked(["kettle"]), k=6).items[0]
    assert "kettle" not in recommender.recommend(**asked(["kettle"]), k=6, repeats=False).items[0]
    assert recommender.knows(["pan", "no such"]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"offsets": np.array([0, 1])}, "offsets must rise from 0 to 2"),
        ({"offsets": np.array([0, 2, 2])}, "by one click at least"),
        ({"time_ms": np.array([1])}, "must both be"),
        ({"k": 0}, "k=0"),
        ({"offered": np.array([True])}, "offered"),
    ],
)
def test_bad_calls_are_named(change: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        SessionRecommender(small()).recommend(**{**asked(["kettle", "pan"]), "k": 2, **change})


def test_deletion_takes_every_click_on_the_item() -> None:
    clicks = np.array([[3, 0, 3, 1], [NO, NO, 2, 2]])
    assert distinct_clicks(clicks, 3).tolist() == [[3, 2, 1], [3, NO, NO]]
    assert distinct_clicks(clicks, 1).tolist() == [[3], [3]]
    assert without(clicks, np.array([2, 3])).tolist() == [[NO, NO, 0, 1], [NO, NO, NO, NO]]


def test_leave_one_out_by_hand() -> None:
    def probabilities(clicks: np.ndarray, now_s: np.ndarray) -> np.ndarray:
        """Item 0 gets 10 for a click on 1, 1 for one on 2, -5 for one on 3."""
        worth = np.array([0, 10, 1, -5, 0])
        return np.stack([worth[clicks].sum(axis=1, where=clicks >= 0), np.zeros(len(clicks))], axis=1) * 1.0

    clicks, items = np.array([[2, 1, 3, 1]]), np.array([[0, 1, NO]])
    falls = leave_one_out(probabilities, clicks, np.zeros(1), items)
    assert falls.tolist() == [[[1, 0, -5, 20], [0] * 4, [0] * 4]]
    named = strongest(falls, 2)
    assert named.column.tolist() == [[[3, 0], [NO, NO], [NO, NO]]]
    assert named.share[0, 0].tolist() == pytest.approx([20 / 21, 1 / 21])
    assert deletion_test(probabilities, clicks, np.zeros(1), items, named.column[..., 0]).all()
    assert not deletion_test(probabilities, clicks, np.zeros(1), items, np.array([[0, 0, 0]]))[0, 0]


def test_of_equal_reasons_the_later_click_is_named() -> None:
    assert strongest(np.array([[[2.0, 0.0, 2.0]]]), 3).column.tolist() == [[[2, 0, NO]]]


def test_neighbours_contributions_add_up_to_their_votes() -> None:
    model = small()
    neighbours = model.neighbours()
    assert neighbours is not None
    chance = np.random.default_rng(3)
    clicks, now_s = chance.integers(-1, 6, (300, 4)), chance.uniform(200, 400, 300)
    items = np.stack([chance.permutation(6)[:4] for _ in range(300)])
    found = neighbour_contributions(neighbours, clicks, now_s, items)
    votes = np.take_along_axis(neighbours.scores(clicks, now_s), items, axis=1)
    np.testing.assert_allclose(found.sum(axis=2), votes, atol=1e-12)
    assert (found[clicks[:, None, :].repeat(4, axis=1) == NO] == 0).all() and found.max() > 0
    # An item that no session has together with the lone click gets nothing from it: pan and kettle.
    assert neighbour_contributions(neighbours, np.array([[4]]), np.zeros(1), np.array([[0, 3]]))[0, 0].tolist() == [0]


def test_the_recommenders_first_reason_passes_the_deletion_test() -> None:
    model = small()
    sessions = [["kettle", "<b>cup</b>", "pan"], ["🫖", "pan", "kettle"], ["pan", "lid", "🫖"]]
    request = asked(*sessions)
    found = SessionRecommender(model).recommend(**request, k=4)
    number = {each: place for place, each in enumerate(IDS)}
    clicks = np.array([[number[each] for each in session] for session in sessions])
    now_s = request["time_ms"][request["offsets"][1:] - 1] / 1000
    items = np.vectorize(number.get)(found.items)
    assert deletion_test(model.probabilities, clicks, now_s, items, found.reason_event[..., 0].astype(np.int64)).all()
