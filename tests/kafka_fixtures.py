"""A real broker for the tests marked `kafka`: one for the session, on a free port, its data in a temporary folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.kafka.broker import EmbeddedBroker

_NEVER = """
log.retention.check.interval.ms=86400000
log.initial.task.delay.ms=86400000
"""


class _Keeping(EmbeddedBroker):
    """Tests write records of other days. Kafka looks half a minute after its start, and then every five minutes, for
    what is older than its topic keeps, and deletes it: in the middle of whichever test runs then."""

    def properties(self, port: int, controller_port: int) -> str:
        return super().properties(port, controller_port) + _NEVER


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address, host:port."""
    broker = _Keeping(Path(tmp_path_factory.mktemp("kafka")))
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
