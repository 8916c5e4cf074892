"""What every architecture owes to training and to the store."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models._registry import ModelConfig, config_from_json, config_to_json, list_models
from models.as_gan import ASGANConfig
from models.baselines import CausalTransformerConfig, FrameMLPConfig, RecurrentNetConfig
from models.gru4rec import GRU4RecConfig
from models.osnet import OSNetConfig
from models.resnet import ResNet50Config
from models.sasrec import SASRecConfig
from models.session_model import SessionModelConfig
from models.small_cnn import SmallCNNConfig
from models.store import SHIPPED, ModelStore
from models.tsstn import TSSTNConfig
from models.two_tower import TwoTowerConfig

PLAIN = TSSTNConfig(groups=(("gold", ("gold", "xp")), ("hero", ("level",)), ("form", ("form",))), hidden=4, state=3)
EXAMPLES = {
    "tsstn": PLAIN,
    "tsstn-none": replace(PLAIN, temporal="none", home=False),
    "tsstn-table": replace(PLAIN, temporal="table", dropout=0.25),
    "tsstn-attention": replace(PLAIN, temporal="attention", gamma=2.0),
    "tsstn-linear": replace(PLAIN, spatial="linear"),
    "tsstn-heroes": replace(PLAIN, hero_dim=2, heroes=(("ahri", "mage"), ("jinx", ""), ("zed", ""))),
}
BASELINES: dict[str, ModelConfig] = {
    "frame-mlp": FrameMLPConfig(features=4, hidden=5),
    "recurrent-gru": RecurrentNetConfig(features=4, cell="gru", state=3),
    "recurrent-lstm": RecurrentNetConfig(features=4, cell="lstm", state=3, dropout=0.0),
    "causal-transformer": CausalTransformerConfig(features=4, width=6, heads=2, layers=1),
}
PEOPLE: dict[str, ModelConfig] = {
    "osnet": OSNetConfig(height_px=16, width_px=8, width=0.1, dim=8),
    "resnet50": ResNet50Config(height_px=16, width_px=8, width=2),
    "small-cnn": SmallCNNConfig(height_px=16, width_px=8, width=2, dim=8),
    "as-gan": ASGANConfig(height_px=16, width_px=8, width=2, dim=4, hidden=4, blocks=1, bank=8),
}
SHOPPERS: dict[str, ModelConfig] = {
    "gru4rec": GRU4RecConfig(items=5, dim=4),
    "sasrec": SASRecConfig(items=5, dim=4, length=3, blocks=1),
    "two-tower": TwoTowerConfig(items=5, seen=3, dim=4, buckets=7),
    "session": SessionModelConfig(GRU4RecConfig(items=5, dim=4), id_bytes=5, memory=0.5, sessions=2, clicks=4),
}
ALL: dict[str, ModelConfig] = {**EXAMPLES, **BASELINES, **PEOPLE, **SHOPPERS}
LINE_UPS = [(("Ahri",), ("Jinx",)), (("Zed", "Nobody"), ("Ahri",)), ((), ())]


def test_every_architecture_has_an_example() -> None:
    assert {config_to_json(config)["architecture"] for config in ALL.values()} == set(list_models())


@pytest.mark.parametrize("name", EXAMPLES)
def test_shapes_are_as_declared_and_nothing_is_nan(name: str) -> None:
    torch.manual_seed(0)
    config = EXAMPLES[name]
    features = torch.randn(3, 5, len(config.features))
    features[0, 2] = torch.nan
    estimate = config.build()(features, torch.rand(3, 5) * 3000, torch.ones(3, 5, dtype=torch.bool), LINE_UPS)
    assert estimate.logits.shape == (3, 5)
    for part in estimate[1:]:
        assert part.shape == (3, 5, len(config.groups))
    assert all(torch.isfinite(part).all() for part in estimate)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    config = EXAMPLES[name]
    model = config.build()
    estimate = model(
        torch.randn(3, 5, len(config.features)), torch.rand(3, 5) * 3000, torch.ones(3, 5).bool(), LINE_UPS
    )
    estimate.logits.square().sum().backward()
    without = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", ALL)
def test_a_config_survives_json(name: str) -> None:
    raw = json.loads(json.dumps(config_to_json(ALL[name])))
    assert config_from_json(raw) == ALL[name]


@pytest.mark.parametrize("name", ALL)
def test_the_store_gives_every_architecture_back_with_its_weights(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made, store = ALL[name].build(), ModelStore(tmp_path)
    words = {"title": "lol", "trained_on": "", "data_fingerprint": "", "code_version": ""}
    store.save("it", made, config_to_json(ALL[name]), metrics={}, **words)
    found = store.load("it@1").build()
    assert type(found) is type(made) and not found.training
    assert found.state_dict().keys() == made.state_dict().keys()
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in found.state_dict().items())


def test_a_config_of_no_architecture_is_refused() -> None:
    class Odd:
        def build(self) -> torch.nn.Module:
            return torch.nn.Identity()

    with pytest.raises(TypeError, match="no architecture has a Odd; known: as-gan, causal-transformer, "):
        config_to_json(Odd())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("frame-mlp", {"hidden": 0}, r"FrameMLP hidden must lie in 1\.\.4096, not 0"),
        ("frame-mlp", {"features": 10**6}, r"FrameMLP features must lie in 1\.\.4096"),
        ("frame-mlp", {"depth": 1}, "frame-mlp config: unknown keys depth"),
        ("recurrent-gru", {"cell": "rnn"}, "cell must be one of gru, lstm, not 'rnn'"),
        ("recurrent-gru", {"dropout": 1.0}, r"dropout must lie in 0\.\.1"),
        ("causal-transformer", {"heads": 4}, "width 6 is no multiple of heads 4"),
        ("causal-transformer", {"layers": "2"}, "layers must be int, not '2'"),
    ],
)
def test_a_baselines_config_is_read_strictly(name: str, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_from_json({**config_to_json(BASELINES[name]), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "lstm"}, r"unknown architecture 'lstm'; known: .*, tsstn"),
        ({"depth": 2}, "unknown keys depth"),
        ({"hidden": None}, "hidden must be int, not None"),
        ({"hidden": True}, "hidden must be int"),
        ({"hidden": "8"}, "hidden must be int"),
        ({"temporal": "lstm"}, "temporal must be one of none, table, gru, attention, not 'lstm'"),
        ({"hidden": 10**9}, r"hidden must lie in 1\.\.4096"),
        ({"hero_dim": -1}, r"hero_dim must lie in 0\.\.4096"),
        ({"slot_s": math.nan}, "slot_s must be a finite number above 0, not nan"),
        ({"clip": 0.0}, "clip must be a finite number above 0"),
        ({"gamma": math.inf}, "gamma must be a finite number above 0"),
        ({"dropout": math.nan}, r"dropout must lie in 0\.\.1"),
        ({"home": 1}, "home must be bool, not 1"),
        ({"heroes": ["ahri"]}, "heroes must map each hero to its class"),
        ({"heroes": {"ahri": 1}}, "heroes must map each hero to its class"),
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
    assert {"tsstn-lol", "tsstn-dota2", "tsstn-hok", "reid-small"} <= set(store.names())
    for line in store.list():
        stored = store.load(f"{line.name}@{line.version}")
        stored.build()
        assert stored.manifest.trained_on.startswith("simulator")
        assert (Path(line.path) / "weights.safetensors").stat().st_size < 1_400_000
