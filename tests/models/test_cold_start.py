"""New items come in by their content, and sessions of nothing else get an answer that fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.cold_start import ColdStart, with_items
from models.gru4rec import GRU4RecConfig
from models.recommender import SessionRecommender
from models.session_model import SessionModel, SessionModelConfig
from models.two_tower import TwoTower, TwoTowerConfig, word_bucket

CUPS, PANS = ("cup", "mug"), ("pan", "wok")
CONTENT = {**dict.fromkeys(CUPS, ("kind:cup",)), **dict.fromkeys(PANS, ("kind:pan",))}


def named(config: SessionModelConfig) -> SessionModel:
    torch.manual_seed(0)
    model = config.build().eval()
    model.set_ids(tuple(CONTENT))
    return model


@pytest.fixture
def towers() -> SessionModel:
    """Words of two kinds at right angles; the session's tower is the mean of its clicks."""
    model = named(SessionModelConfig(TwoTowerConfig(items=4, seen=2, dim=2, buckets=64), id_bytes=12))
    encoder = model.encoder
    assert isinstance(encoder, TwoTower)
    encoder.set_content(list(CONTENT.values()))
    with torch.no_grad():
        for weight in (encoder.own.weight, *encoder.session.parameters()):
            weight.zero_()
        encoder.word.weight[word_bucket("kind:cup", 64)] = torch.tensor([1.0, 0.0])
        encoder.word.weight[word_bucket("kind:pan", 64)] = torch.tensor([0.0, 1.0])
    return model


def test_a_new_item_is_found_and_the_old_model_stays(towers: SessionModel) -> None:
    grown = with_items(towers, {"skillet": ("kind:pan",), "🫖": (), "cup": ("kind:pan",)})
    assert grown.ids() == ("cup", "mug", "pan", "wok", "skillet", "🫖") and towers.ids() == tuple(CONTENT)
    one = np.array(["wok"], dtype=object), np.array([0]), np.array([0, 1])
    found = SessionRecommender(grown).recommend(*one, 6, repeats=False)
    assert found.items[0, :3].tolist() == ["cup", "pan", "skillet"], "the cup is a pan now; of equals the first"
    assert SessionRecommender(towers).recommend(*one, 4, repeats=False).items[0, 0] == "pan"
    vectors = grown.encoder.item_vectors(torch.arange(6))
    assert vectors[5].tolist() == [0, 0]


def test_a_session_of_items_that_the_live_model_does_not_know_is_answered_by_content(towers: SessionModel) -> None:
    live = SessionRecommender(named(SessionModelConfig(GRU4RecConfig(items=4, dim=3), id_bytes=12)))
    content = SessionRecommender(with_items(towers, {"skillet": ("kind:pan",)}))
    item = np.array(["skillet", "cup", "skillet", "never", "skillet"], dtype=object)
    time_ms, offsets = np.arange(5), np.array([0, 1, 3, 5])
    found = ColdStart(live, content).recommend(item, time_ms, offsets, 3)
    alone = content.recommend(item[:1], time_ms[:1], np.array([0, 1]), 3)
    warm = live.recommend(item[1:3], time_ms[1:3], np.array([0, 2]), 3)
    for whole, cold, known in zip(found, alone, warm, strict=True):
        np.testing.assert_array_equal(whole[0], cold[0])
        np.testing.assert_array_equal(whole[1], known[0])
    assert found.items[2].tolist() == ["pan", "wok", "skillet"] and found.reason_event[2, 0, 0] == 1
    only_warm = ColdStart(live, content).recommend(item[1:3], time_ms[1:3], np.array([0, 2]), 3)
    np.testing.assert_array_equal(only_warm.items, warm.items)


def test_an_encoder_without_content_and_empty_ids_are_refused(towers: SessionModel) -> None:
    with pytest.raises(ValueError, match="GRU4Rec knows items by their clicks alone"):
        with_items(named(SessionModelConfig(GRU4RecConfig(items=4, dim=3), id_bytes=12)), {})
    with pytest.raises(ValueError, match="empty id"):
        with_items(towers, {"": ()})
