"""A real broker for the tests marked `kafka`: one for the session, on a free port, its data in a temporary folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.kafka.broker import EmbeddedBroker


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address, host:port."""
    broker = EmbeddedBroker(Path(tmp_path_factory.mktemp("kafka")))
    try:
        status = broker.start()
        assert status.bootstrap_servers is not None
        yield status.bootstrap_servers
    finally:
        broker.stop()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no other test uses, for topics, groups and transactional ids."""
    return f"t{uuid.uuid4().hex[:10]}"
