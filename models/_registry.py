"""Architectures by name: a stored config is JSON, and this is what turns it back into a network.

    {"architecture": "tsstn", "groups": {"gold": ["gold", "xp"], ...}, "hidden": 32, ...}

Reading is strict: an unknown key, a missing one or a value of the wrong kind is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from models.tsstn import TSSTN, TSSTNConfig


def list_models() -> tuple[str, ...]:
    """Names of all architectures."""
    return tuple(sorted(_READERS))


def config_from_json(raw: Mapping[str, Any]) -> TSSTNConfig:
    """The config that `config_to_json` wrote.

    Raises:
        ValueError: unknown architecture, unknown or missing key, or a value of the wrong kind.
    """
    architecture = raw.get("architecture")
    if not isinstance(architecture, str) or architecture not in _READERS:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(list_models())}")
    return _READERS[architecture]({key: value for key, value in raw.items() if key != "architecture"})


def config_to_json(config: TSSTNConfig) -> dict[str, Any]:
    """Plain JSON values from which `config_from_json` makes an equal config."""
    plain = {field.name: getattr(config, field.name) for field in fields(config)}
    groups = {name: list(features) for name, features in config.groups}
    return {"architecture": "tsstn", **plain, "groups": groups, "heroes": dict(config.heroes)}


def build_model(raw: Mapping[str, Any]) -> TSSTN:
    """A network with fresh weights from a stored config."""
    return config_from_json(raw).build()


def _read_tsstn(raw: dict[str, Any]) -> TSSTNConfig:
    named = {"groups", "heroes"}
    kinds: dict[str, type] = {f.name: type(f.default) for f in fields(TSSTNConfig) if f.name not in named}
    if unknown := sorted(set(raw) - set(kinds) - named):
        raise ValueError(f"tsstn config: unknown keys {', '.join(unknown)}")
    if missing := sorted({*kinds, *named} - set(raw)):
        raise ValueError(f"tsstn config: missing keys {', '.join(missing)}")
    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        accepted = (int, float) if kind is float else (kind,)
        if type(raw[name]) not in accepted:
            raise ValueError(f"tsstn config: {name} must be {kind.__name__}, not {raw[name]!r}")
        values[name] = kind(raw[name])
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


_READERS: dict[str, Callable[[dict[str, Any]], TSSTNConfig]] = {"tsstn": _read_tsstn}
