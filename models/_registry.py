"""Architectures by name: a stored config is JSON, and this is what turns it back into a network.

    {"architecture": "tsstn", "groups": {"gold": ["gold", "xp"], ...}, "hidden": 32, ...}
    {"architecture": "recurrent", "features": 12, "cell": "gru", "state": 48, "dropout": 0.2}

Reading is strict: an unknown key, a missing one or a value of the wrong kind is an error that names it. A config is a
frozen dataclass with `build()`; one of plain numbers, words and switches needs no reader of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, cast, get_type_hints

import torch
from torch import Tensor, nn

from models.as_gan import ASGANConfig
from models.baselines import CausalTransformerConfig, FrameMLPConfig, RecurrentNetConfig
from models.baselines.session_knn import NeighbourRule
from models.gru4rec import GRU4RecConfig
from models.layers import SlotScale
from models.osnet import OSNetConfig
from models.resnet import ResNet50Config
from models.sasrec import SASRecConfig
from models.session_model import EncoderConfig, SessionModelConfig
from models.small_cnn import SmallCNNConfig
from models.tsstn import TSSTNConfig
from models.two_tower import TwoTowerConfig


class ModelConfig(Protocol):
    """What a network is made of."""

    def build(self) -> nn.Module:
        """A network with fresh weights."""


@dataclass(frozen=True)
class Architecture:
    """How the config of one kind of network is read and written."""

    config: type[ModelConfig]
    read: Callable[[dict[str, Any]], ModelConfig]
    write: Callable[[Any], dict[str, Any]]


def list_models() -> tuple[str, ...]:
    """Names of all architectures."""
    return tuple(sorted(_ARCHITECTURES))


def config_from_json(raw: Mapping[str, Any]) -> ModelConfig:
    """The config that `config_to_json` wrote.

    Raises:
        ValueError: unknown architecture, unknown or missing key, or a value of the wrong kind.
    """
    architecture = raw.get("architecture")
    if not isinstance(architecture, str) or architecture not in _ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(list_models())}")
    return _ARCHITECTURES[architecture].read({key: value for key, value in raw.items() if key != "architecture"})


def config_to_json(config: ModelConfig) -> dict[str, Any]:
    """Plain JSON values from which `config_from_json` makes an equal config.

    Raises:
        TypeError: no architecture has such a config.
    """
    for name, architecture in _ARCHITECTURES.items():
        if type(config) is architecture.config:
            return {"architecture": name, **architecture.write(config)}
    raise TypeError(f"no architecture has a {type(config).__name__}; known: {', '.join(list_models())}")


def build_model(raw: Mapping[str, Any]) -> nn.Module:
    """A network with fresh weights from a stored config."""
    return config_from_json(raw).build()


def build_with(raw: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    """A network with these weights from a stored config, in evaluation mode.

    Names and shapes are compared before anything is allocated: a config that claims more than the weights hold costs
    nothing.

    Raises:
        ValueError: as `config_from_json`; weights that are missing, too many, of another shape, or not finite.
    """
    config = config_from_json(raw)
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in config.build().state_dict().items()}
    if missing := sorted(set(wanted) - set(weights)):
        raise ValueError(f"there is no {', '.join(missing)}")
    if unknown := sorted(set(weights) - set(wanted)):
        raise ValueError(f"the network has no {', '.join(unknown)}")
    for name, shape in wanted.items():
        if tuple(weights[name].shape) != shape:
            raise ValueError(f"{name} has shape {tuple(weights[name].shape)}, and the network has {shape}")
    model = config.build()
    model.load_state_dict(dict(weights))
    unseen = {f"{name}.scale" for name, module in model.named_modules() if isinstance(module, SlotScale)}
    for name, values in weights.items():
        if not values.isfinite().all() and name not in unseen:  # there NaN marks what training never saw
            raise ValueError(f"{name} has values that are not finite")
    return model.eval()


def _plain(name: str, config: type[ModelConfig]) -> Architecture:
    """An architecture whose config has nothing but numbers, words and switches."""

    def read(raw: dict[str, Any]) -> ModelConfig:
        return config(**_values(name, config, raw))

    return Architecture(config, read, vars)


def _values(name: str, config: type[Any], raw: Mapping[str, Any], but: frozenset[str] = frozenset()) -> Any:
    """Fields of a config but some, each of its declared kind; `raw` has exactly the fields as keys."""
    kinds: dict[str, type] = {key: kind for key, kind in get_type_hints(config).items() if key not in but}
    if unknown := sorted(set(raw) - set(kinds) - but):
        raise ValueError(f"{name} config: unknown keys {', '.join(unknown)}")
    if missing := sorted({*kinds, *but} - set(raw)):
        raise ValueError(f"{name} config: missing keys {', '.join(missing)}")
    values: dict[str, Any] = {}
    for key, kind in kinds.items():
        accepted = (int, float) if kind is float else (kind,)
        if type(raw[key]) not in accepted:
            raise ValueError(f"{name} config: {key} must be {kind.__name__}, not {raw[key]!r}")
        values[key] = kind(raw[key])
    return values


def _read_tsstn(raw: dict[str, Any]) -> TSSTNConfig:
    values = _values("tsstn", TSSTNConfig, raw, frozenset({"groups", "heroes"}))
    groups = raw["groups"]
    if not isinstance(groups, dict) or not all(
        isinstance(features, list) and all(isinstance(feature, str) for feature in features)
        for features in groups.values()
    ):
        raise ValueError("tsstn config: groups must map each group to a list of feature names")
    heroes = raw["heroes"]
    if not isinstance(heroes, dict) or not all(isinstance(role, str) for role in heroes.values()):
        raise ValueError("tsstn config: heroes must map each hero to its class")
    return TSSTNConfig(
        groups=tuple((name, tuple(features)) for name, features in groups.items()),
        heroes=tuple(heroes.items()),
        **values,
    )


def _write_tsstn(config: TSSTNConfig) -> dict[str, Any]:
    plain = {field.name: getattr(config, field.name) for field in fields(config)}
    groups = {name: list(features) for name, features in config.groups}
    return {**plain, "groups": groups, "heroes": dict(config.heroes)}


def _read_session(raw: dict[str, Any]) -> SessionModelConfig:
    values = _values("session", SessionModelConfig, raw, frozenset({"encoder", "rule"}))
    encoder, rule = raw["encoder"], raw["rule"]
    if not isinstance(encoder, dict) or encoder.get("architecture") not in _ENCODERS:
        raise ValueError(f"session config: encoder must be the config of one of {', '.join(_ENCODERS)}")
    if not isinstance(rule, dict):
        raise ValueError("session config: rule must be an object")
    return SessionModelConfig(
        encoder=cast(EncoderConfig, config_from_json(encoder)),
        rule=NeighbourRule(**_values("rule", NeighbourRule, rule)),
        **values,
    )


def _write_session(config: SessionModelConfig) -> dict[str, Any]:
    plain = {field.name: getattr(config, field.name) for field in fields(config)}
    return {**plain, "encoder": config_to_json(config.encoder), "rule": vars(config.rule)}


_ENCODERS = ("gru4rec", "sasrec", "two-tower")

_ARCHITECTURES: dict[str, Architecture] = {
    "tsstn": Architecture(TSSTNConfig, _read_tsstn, _write_tsstn),
    "frame-mlp": _plain("frame-mlp", FrameMLPConfig),
    "recurrent": _plain("recurrent", RecurrentNetConfig),
    "causal-transformer": _plain("causal-transformer", CausalTransformerConfig),
    "osnet": _plain("osnet", OSNetConfig),
    "resnet50": _plain("resnet50", ResNet50Config),
    "small-cnn": _plain("small-cnn", SmallCNNConfig),
    "gru4rec": _plain("gru4rec", GRU4RecConfig),
    "sasrec": _plain("sasrec", SASRecConfig),
    "two-tower": _plain("two-tower", TwoTowerConfig),
    "session": Architecture(SessionModelConfig, _read_session, _write_session),
    "as-gan": _plain("as-gan", ASGANConfig),
}
