"""What all tests share: the public data, a browser, the fixtures of a real broker, an environment without settings."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
_DATA = "SIGHTLINE_DATA"

# A busy machine is slow, not wrong. And whether a build passes must not hang on luck: each time the same examples are
# tried, others by `make test ARGS="--hypothesis-profile=search"`.
hypothesis.settings.register_profile(
    "search", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.register_profile("sightline", hypothesis.settings.get_profile("search"), derandomize=True)
hypothesis.settings.load_profile("sightline")


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("SIGHTLINE_") and name != _DATA]:
        del os.environ[name]
    os.environ.pop("RAY_ADDRESS", None)
    tests = sys.modules.setdefault("tests", ModuleType("tests"))
    tests.__path__ = [str(ROOT / "tests")]  # ours: another package of this name may be installed
    for name in ("kafka_fixtures", "secured_broker", "transport_labs", "ray_fixtures"):
        config.pluginmanager.register(importlib.import_module(f"tests.{name}"), f"tests.{name}")
    # httpx takes whoever has not answered within 5 s for gone; what is asked here is busy with other things.
    asked = inspect.signature(httpx.get).parameters["timeout"].default
    asked.connect = asked.read = asked.write = asked.pool = _patience_s()


def _patience_s() -> float:
    """Of `tests.waiting`, which can be imported only now."""
    return float(importlib.import_module("tests.waiting").PATIENCE_S)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The public data: SIGHTLINE_DATA, else `shared/data` beside the repository; skips where there is none."""
    folder = Path(os.environ.get(_DATA) or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no public data at {folder}; set {_DATA} to its folder")
    return folder


@pytest.fixture(scope="module")  # not longer: its event loop would be in the way of tests that run one themselves
def browser() -> Iterator[Any]:
    """A headless Chromium over the built pages; skips where either is missing."""
    from serve.gateway.settings import BUILT_PAGES
    from serve.gateway.testing import CHROMIUM_FLAGS, find_chromium

    playwright = pytest.importorskip("playwright.sync_api")
    if (chromium := find_chromium()) is None:
        pytest.skip("no Chromium on the path: apt install chromium")
    if not Path(BUILT_PAGES, "index.html").is_file():
        pytest.skip("the pages are not built: run `make pages`")
    with playwright.sync_playwright() as driver:
        patience_ms = 1000 * _patience_s()
        started = driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS), timeout=patience_ms)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page on a laptop; whatever it complains of fails the test."""
    # Where it is noon: charts of the day have half a day to show, whenever the tests are run.
    east_h = 12 - datetime.now(UTC).hour
    context = browser.new_context(
        viewport={"width": 1280, "height": 720}, color_scheme="dark", locale="en-US", timezone_id=f"Etc/GMT{-east_h:+d}"
    )
    context.set_default_timeout(1000 * _patience_s())
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    opened.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
    yield opened
    context.close()
    assert complaints == []
