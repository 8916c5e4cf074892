"""What the contract suites of `streaming.transport` need: each member with the few things that tests do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pytest

from streaming.kafka.admin import ensure_topics
from streaming.kafka.clients import open_admin
from streaming.kafka.record_batch import encode
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.kafka.transactions import TransactionalProducer
from streaming.records import OffsetRange, Records
from streaming.testing import AFTER_COMMIT, MemoryLog, MemorySink, MemorySource
from streaming.topics import Topic
from streaming.transport import GroupSource, Output, Sink, TransportUnavailable
from tests.visible import until_visible
from tests.waiting import PATIENCE_S

Row = tuple[bytes | None, bytes | None]


class Lab(Protocol):
    """What the suite needs of a member beside its source and sink."""

    def create(self, topic: str, partitions: int) -> None: ...
    def append(self, topic: str, records: Records, partition: int, aborted: bool = False) -> None: ...
    def source(self, topic: str) -> GroupSource: ...
    def sink(self, source_topic: str, transactional_id: str = "one") -> Sink: ...
    def fail_at(self, sink: Sink, step: int) -> None: ...
    def expire(self, topic: str, partition: int, before: int) -> None: ...


class MemoryLab:
    def __init__(self) -> None:
        self.log = MemoryLog()

    def create(self, topic: str, partitions: int) -> None:
        self.log.create(topic, partitions)

    def append(self, topic: str, records: Records, partition: int, aborted: bool = False) -> None:
        self.log.append(topic, records, partition, aborted)

    def source(self, topic: str) -> GroupSource:
        return MemorySource(self.log, topic, "group")

    def sink(self, source_topic: str, transactional_id: str = "one") -> Sink:
        return MemorySink(self.log, transactional_id, "group", source_topic)

    def fail_at(self, sink: Sink, step: int) -> None:
        self.log.fail_at(step)

    def expire(self, topic: str, partition: int, before: int) -> None:
        self.log.expire(topic, partition, before)

    def close(self) -> None:
        pass


class KafkaLab:
    def __init__(self, bootstrap: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = KafkaSettings(bootstrap)
        self.prefix, self.monkeypatch = prefix, monkeypatch
        self.opened: list[Any] = []

    def create(self, topic: str, partitions: int) -> None:
        ensure_topics(self.settings, [Topic(self.prefix + topic, key="k", schema=None, partitions=partitions)])

    def append(self, topic: str, records: Records, partition: int, aborted: bool = False) -> None:
        producer = TransactionalProducer(self.settings, f"{self.prefix}-append", timeout_s=PATIENCE_S)
        try:
            producer.begin()
            for batch in encode(records, 100_000, now_ms=1):
                producer.append(self.prefix + topic, partition, batch)
            producer.flush()
            producer.abort() if aborted else producer.commit()
        finally:
            producer.discard()
        until_visible(self.settings, self.prefix + topic)

    def source(self, topic: str) -> GroupSource:
        source = KafkaSource(self.settings, self.prefix + topic, f"{self.prefix}-group")
        self.opened.append(source)
        return source

    def sink(self, source_topic: str, transactional_id: str = "one") -> Sink:
        sink = KafkaSink(
            self.settings, self.prefix + transactional_id, f"{self.prefix}-group", self.prefix + source_topic
        )
        self.opened.append(sink)
        return _Prefixed(sink, self.prefix)

    def fail_at(self, sink: Sink, step: int) -> None:
        """Cut the connection at this step of the next commit: the producer is closed and reports the outage."""
        state = {"sends": 0, "armed": True}

        def cut(producer: TransactionalProducer) -> None:
            state["armed"] = False
            producer.discard()
            raise TransportUnavailable("cut by the test")

        def wrap(name: str, step_of_call: Callable[[], int]) -> None:
            original = getattr(TransactionalProducer, name)

            def call(producer: TransactionalProducer, *arguments: Any) -> Any:
                if state["armed"] and step_of_call() == step:
                    if name == "commit":
                        producer.flush()  # all lies on the log by then
                    cut(producer)
                result = original(producer, *arguments)
                if state["armed"] and name == "commit" and step == AFTER_COMMIT:
                    cut(producer)
                return result

            self.monkeypatch.setattr(TransactionalProducer, name, call)

        def nth_send() -> int:
            state["sends"] += 1
            return state["sends"]

        wrap("append", nth_send)
        wrap("send_offsets", lambda: 4)
        wrap("commit", lambda: 5)

    def expire(self, topic: str, partition: int, before: int) -> None:
        from kafka import TopicPartition

        with open_admin(self.settings) as admin:
            admin.delete_records({TopicPartition(self.prefix + topic, partition): before})

    def close(self) -> None:
        for opened in self.opened:
            opened.close()


class _Prefixed:
    """Lets the suite name topics without the prefix that keeps tests apart on a shared broker."""

    def __init__(self, sink: KafkaSink, prefix: str) -> None:
        self.sink, self.prefix = sink, prefix
        self.open, self.close = sink.open, sink.close

    def commit(self, *, offsets: Mapping[int, int], member: object = None, **outputs: Sequence[Output]) -> None:
        named = {
            stage: [Output(self.prefix + output.topic, output.records, output.partition) for output in group]
            for stage, group in outputs.items()
        }
        self.sink.commit(offsets=offsets, member=member, **named)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def lab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    if request.param == "memory":
        made: Any = MemoryLab()
    else:
        prefix = request.getfixturevalue("topic_prefix")
        made = KafkaLab(request.getfixturevalue("kafka"), prefix, monkeypatch)
    yield made
    made.close()


def rows(records: Records) -> list[Row]:
    return list(zip(records.keys.to_pylist(), records.values.to_pylist(), strict=True))


def numbered(start: int, end: int) -> Records:
    return Records.of([b"k%d" % (i % 7) for i in range(start, end)], [b"v%d" % i for i in range(start, end)])


def read_rest(lab: Lab, topic: str, partition: int) -> Records:
    """Everything on the partition, once it is visible, read until its end."""
    source = lab.source(topic)
    if isinstance(lab, KafkaLab):
        until_visible(lab.settings, source.topic)
    reader, end = source.open({partition: 0}), source.end_offsets()[partition]
    try:
        return reader.read(OffsetRange(partition, 0, end))
    finally:
        reader.close()
