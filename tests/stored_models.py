"""Small models in small stores, for tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from models._registry import config_to_json
from models.baselines import FrameMLPConfig
from models.store import SHIPPED, Manifest, ModelStore
from models.verdict import Reason, Verdict

SMALL = FrameMLPConfig(features=1, hidden=2)


def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """The empty store of a person who works in an empty folder: commands find it by the settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIGHTLINE_MODELS__STORE", str(tmp_path / "store"))
    return ModelStore(tmp_path / "store")


def save_small(store: ModelStore, name: str = "m", seed: int = 0, **words: Any) -> Manifest:
    """A new version of a network of two units."""
    torch.manual_seed(seed)
    given: dict[str, Any] = {
        "metrics": {"log_loss": 0.5},
        "title": "lol",
        "trained_on": "nothing",
        "data_fingerprint": "abc",
        "code_version": "0.1.0",
        "created": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return store.save(name, SMALL.build(), config_to_json(SMALL), **{**given, **words})


def save_turned(store: ModelStore, by: float = 1.01, name: str = "tsstn-lol") -> int:
    """A new version of the lol model, or another: the weights that ship, times so much."""
    shipped = ModelStore(SHIPPED).load(f"{name}@live")
    network = shipped.build()
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(by)
    words: dict[str, Any] = dict.fromkeys(("trained_on", "data_fingerprint", "code_version"), "a test")
    title = shipped.manifest.title
    return store.save(name, network, shipped.config, metrics={}, title=title, **words).version


def verdict(*, passed: bool = True, against: str = "m@1") -> Verdict:
    """One criterion, kept or missed."""
    reason = Reason("log-loss above the live model's, at most", -0.01 if passed else 0.02, 0.0, passed)
    return Verdict(passed, against, (reason,), "last week", "2026-11-22T12:00:00+00:00")


def somebody_is_faster(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """This happens once, after the next look at an alias and before it is moved: when the version is loaded."""
    load, raced = ModelStore.load, []

    def load_slowly(self: ModelStore, ref: str) -> object:
        if not raced:
            raced.append(ref)
            act()
        return load(self, ref)

    monkeypatch.setattr(ModelStore, "load", load_slowly)
