"""Two versions side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models._registry import config_to_json
from models.store import ModelStore, StoredModel, diff_models
from tests.stored_models import SMALL, save_small


@pytest.fixture
def stored(tmp_path: Path) -> StoredModel:
    store = ModelStore(tmp_path)
    save_small(store, metrics={"validation": {"log_loss": 0.5, "auc": 0.7}, "epochs": 3})
    return store.load("m@1")


def test_a_model_beside_itself_differs_in_nothing(stored: StoredModel) -> None:
    found = diff_models(stored, stored)
    assert (found.manifest, found.config) == ((), ())
    assert found.metrics == (("validation.log_loss", 0.5, 0.5), ("validation.auc", 0.7, 0.7), ("epochs", 3, 3))
    assert {tensor.name for tensor in found.weights} == set(SMALL.build().state_dict())
    assert all(tensor.distance == 0.0 and tensor.shape_a == tensor.shape_b for tensor in found.weights)


def test_origin_config_and_figures_stand_side_by_side(tmp_path: Path) -> None:
    store, wide = ModelStore(tmp_path), replace(SMALL, hidden=3)
    save_small(store, recipe={"name": "r", "config": {"lr": 1}})
    words = {"title": "lol", "trained_on": "nothing", "data_fingerprint": "xyz", "code_version": "0.1.0"}
    store.save("m", wide.build(), config_to_json(wide), metrics={"auc": 0.8}, parent="m@1", **words)
    found = diff_models(store.load("m@1"), store.load("m@2"))
    assert (found.a, found.b) == ("m@1", "m@2")
    rows = {name: (a, b) for name, a, b in found.manifest}
    assert rows["data_fingerprint"] == ("abc", "xyz") and rows["parent"] == ("", "m@1")
    assert rows["recipe.config.lr"] == (1, None) and "title" not in rows and "sha256.config.json" in rows
    assert found.config == (("hidden", 2, 3),)
    assert found.metrics == (("log_loss", 0.5, None), ("auc", None, 0.8))
    by_name = {tensor.name: tensor for tensor in found.weights}
    first = by_name["layers.0.weight"]
    assert (first.shape_a, first.shape_b, first.distance) == ((2, 5), (3, 5), None)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.0], [-3.0, -4.0], 2.0),
        ([3.0, 4.0], [3.0, 0.0], 0.8),  # 4 / 5
        ([0.0, 4.0], [4.0, 0.0], 2**0.5),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [1.0, 0.0], 1.0),
        ([torch.nan, 4.0], [torch.nan, 2.0], 0.5),
        ([torch.nan, 4.0], [1.0, 4.0], None),
    ],
)
def test_the_distance_of_two_tensors(
    stored: StoredModel, a: list[float], b: list[float], distance: float | None
) -> None:
    one, other = (replace(stored, weights={"w": torch.tensor(values)}) for values in (a, b))
    (found,) = diff_models(one, other).weights
    assert found.distance == (None if distance is None else pytest.approx(distance, abs=1e-12))


def test_a_tensor_that_one_lacks_is_named(stored: StoredModel) -> None:
    one, other = (replace(stored, weights={name: torch.ones(2)}) for name in ("a", "b"))
    assert [(t.name, t.shape_a, t.shape_b, t.distance) for t in diff_models(one, other).weights] == [
        ("a", (2,), None, None),
        ("b", None, (2,), None),
    ]
