"""The changelog as a successor reads it from a real broker, whatever its predecessor's last transaction is up to."""

from __future__ import annotations

import threading

import pytest

from streaming.kafka.admin import ensure_topics, read_changelog
from streaming.kafka.record_batch import encode
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaReader, KafkaSource
from streaming.kafka.transactions import TransactionalProducer
from streaming.records import Records
from streaming.topics import state_topic
from streaming.transport import Fetched
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.kafka


class Restore:
    """Reads the changelog in a thread."""

    def __init__(self, settings: KafkaSettings, pipeline: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: list[bytes] = []
        self._in_vain, poll = threading.Event(), KafkaReader.poll

        def noted(reader: KafkaReader, timeout_s: float, max_records: int) -> Fetched | None:
            fetched = poll(reader, timeout_s, max_records)
            if fetched is None:
                self._in_vain.set()
            return fetched

        monkeypatch.setattr(KafkaReader, "poll", noted)
        self._thread = threading.Thread(target=self._run, args=(settings, pipeline))
        self._thread.start()
        wait_until(lambda: self._in_vain.is_set() or not self._thread.is_alive())

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def finish(self) -> list[bytes]:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.values

    def _run(self, settings: KafkaSettings, pipeline: str) -> None:
        for _, records in read_changelog(settings, pipeline).pieces:
            self.values += records.values.to_pylist()


@pytest.mark.parametrize(("ends", "left"), [("commit", [b"first", b"last"]), ("abort", [b"first"])])
def test_a_transaction_of_which_the_changelog_has_not_heard_the_end_is_waited_for(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, ends: str, left: list[bytes]
) -> None:
    settings = KafkaSettings(kafka)
    topic = state_topic(topic_prefix)
    ensure_topics(settings, [topic])
    predecessor = TransactionalProducer(settings, topic_prefix, timeout_s=PATIENCE_S)

    def write(value: bytes) -> None:
        predecessor.begin()
        for batch in encode(Records.of([b"k"], [value]), 100_000, now_ms=1):
            predecessor.append(topic.name, 0, batch)
        predecessor.flush()

    write(b"first")
    predecessor.commit()
    write(b"last")  # and its end is still on the way
    source = KafkaSource(settings, topic.name, group="")
    try:
        assert source.written_offsets()[0] > source.end_offsets()[0]
        successor = Restore(settings, topic_prefix, monkeypatch)
        assert successor.waits
        getattr(predecessor, ends)()
        assert successor.finish() == left
    finally:
        source.close()
        predecessor.discard()
