"""A real broker for the tests marked `kafka`: one for the session, on a free port, its data in a temporary folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.records import Records
from streaming.topics import Topic
from streaming.transport import Output
from tests.waiting import PATIENCE_S

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
        status = broker.start(timeout_s=PATIENCE_S)
        assert status.bootstrap_servers is not None
        wake(status.bootstrap_servers)
        yield status.bootstrap_servers
    finally:
        broker.stop()


def wake(bootstrap_servers: str) -> None:
    """The first transaction and the first offsets have a broker make topics of its own, for which a slow machine takes
    longer than clients wait: here, and not in whichever test comes first."""
    settings = KafkaSettings(bootstrap_servers, unavailable_after_s=PATIENCE_S)
    topic = Topic("woken", key="k", schema=None, partitions=1)
    ensure_topics(settings, [topic])
    sink = KafkaSink(settings, topic.name, topic.name, topic.name, commit_timeout_s=PATIENCE_S)
    sink.open()
    woken = Output(topic.name, Records.of([b"k"], [b"v"]))
    sink.commit(answers=[woken], dead_letters=[], state=[], offsets={0: 0})
    sink.close()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no other test uses, for topics, groups and transactional ids."""
    return f"t{uuid.uuid4().hex[:10]}"
