"""What the sink does that only a real broker shows: takeovers during an outage, doubtful commits, topics, limits."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaTimeoutError

from streaming.kafka.admin import ensure_topics, read_all, topic_options
from streaming.kafka.clients import open_admin
from streaming.kafka.dead_letters import dead_letter_output
from streaming.kafka.record_batch import encode
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.kafka.transactions import TransactionalProducer
from streaming.records import Records
from streaming.topics import Topic, state_topic
from streaming.transport import CommitRefused, Fenced, Output, TransportUnavailable
from tests.visible import until_visible

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(kafka)


@pytest.fixture
def topic(settings: KafkaSettings, topic_prefix: str) -> Topic:
    topic = Topic(f"{topic_prefix}.events", key="k", schema=None, partitions=2)
    ensure_topics(settings, [topic])
    return topic


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def sink_of(settings: KafkaSettings, topic: Topic, closing: ExitStack, transactional_id: str = "") -> KafkaSink:
    sink = KafkaSink(settings, transactional_id or topic.name, topic.name, topic.name)
    closing.callback(sink.close)
    return sink


def commit(sink: KafkaSink, topic: Topic, value: bytes, offsets: dict[int, int]) -> None:
    sink.commit(answers=[Output(topic.name, Records.of([b"k"], [value]))], dead_letters=[], state=[], offsets=offsets)


def values(settings: KafkaSettings, topic: Topic) -> list[bytes]:
    until_visible(settings, topic.name)
    return [value for records in read_all(settings, topic.name).values() for value in records.values.to_pylist()]


def cut_once(monkeypatch: pytest.MonkeyPatch, name: str, after: bool) -> None:
    """The next call of this method loses its connection, before or after it did its work; what was appended by then
    lies on the log."""
    original = getattr(TransactionalProducer, name)

    def cut(producer: TransactionalProducer, *arguments: object) -> None:
        monkeypatch.setattr(TransactionalProducer, name, original)
        if after:
            original(producer, *arguments)
        producer.flush()
        producer.discard()
        raise TransportUnavailable("cut by the test")

    monkeypatch.setattr(TransactionalProducer, name, cut)


def test_an_instance_that_was_replaced_during_an_outage_stops_and_takes_nothing_back(
    settings: KafkaSettings, topic: Topic, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = sink_of(settings, topic, closing), sink_of(settings, topic, closing)
    old.open()
    commit(old, topic, b"1", {0: 1})
    cut_once(monkeypatch, "commit", after=False)
    with pytest.raises(TransportUnavailable):
        commit(old, topic, b"2", {0: 2})
    new.open()
    commit(new, topic, b"2", {0: 2})
    commit(new, topic, b"3", {0: 3})
    with pytest.raises(Fenced, match="another instance has committed"):
        commit(old, topic, b"2", {0: 2})
    commit(new, topic, b"4", {0: 4})  # and it has not harmed its heir
    assert values(settings, topic) == [b"1", b"2", b"3", b"4"]


def test_an_instance_replaced_before_its_first_commit_stops_as_well(
    settings: KafkaSettings, topic: Topic, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = sink_of(settings, topic, closing), sink_of(settings, topic, closing)
    old.open()
    cut_once(monkeypatch, "append", after=True)
    with pytest.raises(TransportUnavailable):
        commit(old, topic, b"1", {0: 1})
    new.open()
    commit(new, topic, b"1", {0: 1})
    with pytest.raises(Fenced, match="another instance has committed"):
        commit(old, topic, b"1", {0: 1})
    assert values(settings, topic) == [b"1"]


def test_a_sink_must_be_opened(settings: KafkaSettings, topic: Topic, closing: ExitStack) -> None:
    sink = sink_of(settings, topic, closing)
    with pytest.raises(RuntimeError, match="open the sink"):
        commit(sink, topic, b"1", {0: 1})


def test_another_commit_after_one_in_doubt_that_went_through_is_refused(
    settings: KafkaSettings, topic: Topic, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_of(settings, topic, closing)
    sink.open()
    cut_once(monkeypatch, "commit", after=True)
    with pytest.raises(TransportUnavailable):
        commit(sink, topic, b"1", {0: 1})
    with pytest.raises(RuntimeError, match="went through after all"):
        commit(sink, topic, b"1 and 2", {0: 2})
    commit(sink, topic, b"2", {0: 2})
    assert values(settings, topic) == [b"1", b"2"]


def test_a_commit_in_doubt_without_offsets_is_not_doubled_either(
    settings: KafkaSettings, topic: Topic, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_of(settings, topic, closing)
    sink.open()
    cut_once(monkeypatch, "commit", after=True)
    for _ in range(2):
        try:
            commit(sink, topic, b"1", {})
        except TransportUnavailable:
            continue
    commit(sink, topic, b"2", {})
    assert values(settings, topic) == [b"1", b"2"]
    source = KafkaSource(settings, topic.name, topic.name)
    closing.callback(source.close)
    assert source.committed() == {0: 0, 1: 0}


def test_opening_ends_what_an_older_instance_left_open(
    settings: KafkaSettings, topic: Topic, closing: ExitStack
) -> None:
    left = TransactionalProducer(settings, topic.name, timeout_s=20)
    left.begin()
    for batch in encode(Records.of([b"k"], [b"left"]), 1000, now_ms=1):
        left.append(topic.name, 0, batch)
    left.send_offsets(topic.name, topic.name, {0: 9}, "left")
    left.flush()  # the offsets go before the record
    left.discard()
    sink = sink_of(settings, topic, closing)
    sink.open()
    source = KafkaSource(settings, topic.name, topic.name)
    closing.callback(source.close)
    assert source.committed() == {0: 0, 1: 0}


def test_a_bad_record_between_our_limit_and_the_brokers_becomes_a_dead_letter(
    settings: KafkaSettings, topic: Topic, closing: ExitStack
) -> None:
    dead = Topic(f"{topic.name}.dead-letters", key="k", schema=None, partitions=1)
    ensure_topics(settings, [dead])
    bad = Records.of([b"k"], [bytes(1_040_000)])
    letters = dead_letter_output(topic, 0, bad, ["Corrupt"], ["not a match event " * 1000], [None], "win", 1)
    sink = sink_of(settings, topic, closing)
    sink.open()
    sink.commit(answers=[], dead_letters=[letters], state=[], offsets={0: 1})
    sink.open()  # a commit returns before everyone can see it, an opening waits for that
    (found,) = read_all(settings, dead.name).values()
    assert found.headers is not None
    told = dict(found.headers[0])
    assert told["sightline.value_bytes"] == b"1040000"
    assert told["__streams.errors.offset"] == b"0"
    assert told["__streams.errors.message"].endswith("… (18000 characters)".encode())


def test_a_limit_without_room_for_headers_is_refused() -> None:
    with pytest.raises(ValueError, match="max_record_bytes is 1000, but must be at least 65536"):
        KafkaSettings("localhost:9092", max_record_bytes=1000)


def test_an_open_sink_does_not_travel_and_a_closed_one_does(
    settings: KafkaSettings, topic: Topic, closing: ExitStack
) -> None:
    sink = pickle.loads(pickle.dumps(sink_of(settings, topic, closing)))  # noqa: S301
    closing.callback(sink.close)
    sink.open()
    commit(sink, topic, b"1", {0: 1})
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(sink)


def test_topics_are_created_once_and_compared_afterwards(settings: KafkaSettings, topic_prefix: str) -> None:
    plain = Topic(f"{topic_prefix}.plain", key="k", schema=None, partitions=3, retention_ms=3_600_000)
    state = state_topic(topic_prefix)
    first = ensure_topics(settings, [plain, state])
    assert (set(first.created), first.existing, first.mismatched) == ({plain.name, state.name}, (), ())
    second = ensure_topics(settings, [plain, state])
    assert (second.created, set(second.existing)) == ((), {plain.name, state.name})
    assert second.mismatched == ()
    other = ensure_topics(settings, [Topic(plain.name, key="k", schema=None, partitions=5)])
    assert other.mismatched == (f"topic {plain.name} has 3 partitions instead of 5; it is used as it is",)
    with open_admin(settings) as admin:
        found = admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in (plain.name, state.name)]
        )
    assert topic_options(plain)["retention.ms"] in str(found)
    assert "compact" in str(found)


def test_reading_all_of_a_topic_gives_each_partition_in_order(
    settings: KafkaSettings, topic: Topic, closing: ExitStack
) -> None:
    assert {p: len(records) for p, records in read_all(settings, topic.name).items()} == {0: 0, 1: 0}
    sink = sink_of(settings, topic, closing)
    sink.open()
    for n in range(3):
        both = [Output(topic.name, Records.of([b"k"], [b"%d-%d" % (n, p)]), partition=p) for p in (0, 1)]
        sink.commit(answers=[], dead_letters=[], state=both, offsets={})
    until_visible(settings, topic.name)
    found = read_all(settings, topic.name)
    assert {p: records.values.to_pylist() for p, records in found.items()} == {
        0: [b"0-0", b"1-0", b"2-0"],
        1: [b"0-1", b"1-1", b"2-1"],
    }
    with pytest.raises(LookupError, match="no topic nowhere"):
        read_all(settings, "nowhere")


def test_silence_about_a_topic_that_is_there_is_an_outage_and_about_none_a_refusal(
    settings: KafkaSettings, topic: Topic, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that was cut while the client asked, and is back when it looks whether anybody answers."""

    def silent(*_: object) -> None:
        raise KafkaTimeoutError("Failed to update metadata after 2.0 secs.")

    producer = TransactionalProducer(settings, topic.name, timeout_s=10.0)
    closing.callback(producer.discard)
    monkeypatch.setattr(producer._producer, "_wait_on_metadata", silent)  # noqa: SLF001
    with pytest.raises(TransportUnavailable, match="does not answer"):
        producer.partitions(topic.name)
    with pytest.raises(CommitRefused, match=r"there is no topic nowhere\.at\.all"):
        producer.partitions("nowhere.at.all")
