"""What every architecture owes to training and to the store."""

from __future__ import annotations

import json

import pytest
import torch

from models._registry import build_model, config_from_json, config_to_json, list_models
from models.store import SHIPPED, ModelStore
from models.tsstn import TSSTNConfig

EXAMPLES = {"tsstn": TSSTNConfig(groups=(("gold", ("gold", "xp")), ("form", ("form",))), hidden=4, state=3)}


def test_every_architecture_has_an_example() -> None:
    assert set(EXAMPLES) == set(list_models())


@pytest.mark.parametrize("name", list_models())
def test_shapes_are_as_declared_and_nothing_is_nan(name: str) -> None:
    torch.manual_seed(0)
    config = EXAMPLES[name]
    features = torch.randn(3, 5, len(config.features))
    features[0, 2] = torch.nan
    estimate = config.build()(features, torch.rand(3, 5) * 3000, torch.ones(3, 5, dtype=torch.bool))
    assert estimate.logits.shape == (3, 5)
    for part in estimate[1:]:
        assert part.shape == (3, 5, len(config.groups))
    assert all(torch.isfinite(part).all() for part in estimate)


@pytest.mark.parametrize("name", list_models())
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    config = EXAMPLES[name]
    model = config.build()
    estimate = model(torch.randn(3, 5, len(config.features)), torch.rand(3, 5) * 3000, torch.ones(3, 5).bool())
    estimate.logits.square().sum().backward()
    without = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", list_models())
def test_a_config_survives_json(name: str) -> None:
    raw = json.loads(json.dumps(config_to_json(EXAMPLES[name])))
    assert config_from_json(raw) == EXAMPLES[name]
    assert build_model(raw).config == EXAMPLES[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "lstm"}, "unknown architecture 'lstm'; known: tsstn"),
        ({"dropout": 0.1}, "unknown keys dropout"),
        ({"hidden": None}, "hidden must be int, not None"),
        ({"hidden": True}, "hidden must be int"),
        ({"hidden": "8"}, "hidden must be int"),
        ({"groups": {"gold": "gold"}}, "list of feature names"),
        ({"groups": [["gold", ["gold"]]]}, "list of feature names"),
    ],
)
def test_a_config_is_read_strictly(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_from_json({**config_to_json(EXAMPLES["tsstn"]), **change})


def test_a_missing_key_is_named() -> None:
    raw = config_to_json(EXAMPLES["tsstn"])
    del raw["clip"]
    with pytest.raises(ValueError, match="missing keys clip"):
        config_from_json(raw)


def test_shipped_models_load_and_are_small() -> None:
    store = ModelStore(SHIPPED)
    assert {"tsstn-lol", "tsstn-dota2", "tsstn-hok"} <= set(store.names())
    for line in store.list():
        stored = store.load(f"{line.name}@{line.version}")
        stored.build()
        assert stored.manifest.trained_on.startswith("simulator")
        assert (line.path / "weights.safetensors").stat().st_size < 200_000
