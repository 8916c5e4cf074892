"""What all tests share: the public data, the fixtures of a real broker, and an environment without settings."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
_DATA = "SIGHTLINE_DATA"

hypothesis.settings.register_profile("sightline", deadline=None)  # a busy machine is slow, not wrong
hypothesis.settings.load_profile("sightline")


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("SIGHTLINE_") and name != _DATA]:
        del os.environ[name]
    os.environ.pop("RAY_ADDRESS", None)
    _register(config, "kafka_fixtures")


def _register(config: pytest.Config, name: str) -> None:
    """Take the fixtures of tests/NAME.py, found by its path: another package named `tests` may be installed."""
    full_name = f"tests.{name}"
    if full_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(full_name, ROOT / "tests" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[full_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full_name])
    config.pluginmanager.register(sys.modules[full_name], full_name)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The public data: SIGHTLINE_DATA, else `shared/data` beside the repository; skips where there is none."""
    folder = Path(os.environ.get(_DATA) or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no public data at {folder}; set {_DATA} to its folder")
    return folder
