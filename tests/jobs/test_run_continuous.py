"""The start of a run by the continuous runner."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from jobs.run_continuous import run_continuously
from jobs.settings import load_settings
from models.store import ModelNotFoundError


def test_a_model_that_is_missing_ends_a_run_that_still_waits_for_kafka(tmp_path: Path) -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        settings = load_settings(
            {
                "kafka.bootstrap_servers": (f"127.0.0.1:{taken.getsockname()[1]}", "--brokers"),
                "models.store": (str(tmp_path), "--set"),
                "models.titles": ({"lol": "missing@live"}, "--set"),
            }
        ).settings
        stopping = threading.Event()
        with pytest.raises(ModelNotFoundError, match="missing"):
            run_continuously("win-prediction", settings, stopping)
        assert stopping.is_set()
