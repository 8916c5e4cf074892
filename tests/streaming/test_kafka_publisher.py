"""A publisher delivers what it can, counts what it cannot, and holds nobody up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from kafka import KafkaProducer

from streaming.kafka import publisher as publisher_module
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.sessions.publishing import KafkaEvents
from streaming.topics import USER_SESSIONS, Topic
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def silent() -> Iterator[KafkaSettings]:
    """An address that takes connections and never answers, as a stopped broker's."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield KafkaSettings(f"127.0.0.1:{server.getsockname()[1]}", unavailable_after_s=2.0)


def publishing_threads() -> set[str]:
    return {t.name for t in threading.enumerate() if "kafka" in t.name.lower() or t.name == "publisher"}


@pytest.mark.kafka
def test_records_arrive_with_their_keys_and_are_counted(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(kafka)
    topic = Topic(f"{topic_prefix}.published", key="k", schema=None, partitions=1)
    ensure_topics(settings, [topic])
    publisher = Publisher(settings, max_block_s=PATIENCE_S)
    threads = [
        threading.Thread(target=publisher.send, args=(topic.name, [b"k"] * 50, [b"%d-%d" % (t, n) for n in range(50)]))
        for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert publisher.flush(PATIENCE_S)
    assert (publisher.acknowledged, publisher.failed) == (200, 0)
    publisher.close()
    publisher.send(topic.name, [b"k"], [b"after the end"])
    assert (publisher.acknowledged, publisher.failed) == (200, 1)
    (found,) = read_all(settings, topic.name).values()
    assert sorted(found.values.to_pylist()) == sorted(b"%d-%d" % (t, n) for t in range(4) for n in range(50))
    for t in range(4):  # the order of each caller is kept
        mine = [value for value in found.values.to_pylist() if value.startswith(b"%d-" % t)]
        assert mine == [b"%d-%d" % (t, n) for n in range(50)]


@pytest.mark.kafka
def test_a_topic_without_metadata_costs_one_wait_a_call_however_many_records(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(KafkaSettings(kafka), max_block_s=2.0)
    publisher.send(f"{topic_prefix}.nowhere", [b"k"], [b"v"])  # connects
    waits = 0
    send = KafkaProducer.send

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal waits
        waits += 1
        return send(*arguments, **options)

    monkeypatch.setattr(KafkaProducer, "send", counted)
    publisher.send(f"{topic_prefix}.nowhere", [b"k"] * 100, [b"v"] * 100)
    assert (waits, publisher.failed) == (1, 101)
    publisher.close()


def test_nobody_waits_long_for_a_cluster_that_does_not_answer_and_no_client_is_left_behind(
    silent: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, may_give_up = publishing_threads(), threading.Event()
    opened = publisher_module.open_publisher

    def opening(*arguments: Any) -> Any:
        assert may_give_up.wait(PATIENCE_S)
        return opened(*arguments)

    monkeypatch.setattr(publisher_module, "open_publisher", opening)
    publisher = Publisher(silent, max_block_s=1.0)
    publisher.send("t", [b"k"] * 100, [b"v"] * 100)
    assert publishing_threads() - before, "the connection is still being opened"
    assert publisher.failed == 100
    assert publisher.flush(1.0)
    may_give_up.set()
    publisher.close()
    wait_until(lambda: not publishing_threads() - before)


def test_after_a_refusal_the_next_attempt_comes_a_little_later_and_costs_nobody_anything() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    publisher = Publisher(KafkaSettings(f"127.0.0.1:{port}"), max_block_s=2.0)
    for sent in range(1, 50):
        publisher.send("t", [b"k"], [b"v"])
        assert publisher.failed == sent
    publisher.close()


@pytest.mark.kafka
def test_events_of_shoppers_are_confirmed_once_they_lie_on_the_log(kafka: str) -> None:
    settings = KafkaSettings(kafka)
    ensure_topics(settings, [USER_SESSIONS])
    publisher = Publisher(settings, max_block_s=PATIENCE_S)
    send = KafkaEvents(publisher, wait_s=PATIENCE_S)
    too_large = bytes(settings.max_record_bytes * 2)
    told = send([b"me", b"me", b"you"], [b"confirmed-1", too_large, b"confirmed-2"])
    assert told == [True, False, True], "one that cannot be written fails alone"
    publisher.close()
    assert send([b"me"], [b"after the end"]) == [False]
    found = [value for part in read_all(settings, USER_SESSIONS.name).values() for value in part.values.to_pylist()]
    assert sorted(value for value in found if value.startswith(b"confirmed")) == [b"confirmed-1", b"confirmed-2"]


def test_events_of_shoppers_are_not_said_to_lie_where_nobody_answers(silent: KafkaSettings) -> None:
    publisher = Publisher(silent, max_block_s=1.0)
    assert KafkaEvents(publisher, wait_s=0.1)([b"me"], [b"v"]) == [False]
    publisher.close()


def test_of_events_that_fail_or_are_still_on_their_way_nothing_is_confirmed() -> None:
    class Stub:
        arrived: frozenset[bytes] = frozenset()

        def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> list[Callable[[], bool]]:
            return [partial(self.has, value) for value in values]

        def has(self, value: bytes) -> bool:
            return value in self.arrived

        def flush(self, timeout_s: float) -> bool:
            self.arrived |= {b"good", b"also good"}
            return False  # the others are on their way, or have failed

    send = KafkaEvents(Stub())  # type: ignore[arg-type]  # all that is asked of it
    assert send([b"k"] * 3, [b"good", b"other", b"also good"]) == [True, False, True]
