"""What other programs wrote, and what broke on its way: compressed batches, and batches that nobody can read."""

from __future__ import annotations

import importlib.util
import os
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from streaming.kafka import clients
from streaming.kafka.admin import ensure_topics
from streaming.kafka.fetching import Chunk, FetchedColumns
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaReader, KafkaSource
from streaming.records import OffsetRange, Records
from streaming.topics import Topic
from streaming.transport import LogCorrupt
from tests.transport_labs import KafkaLab
from tests.waiting import PATIENCE_S

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEAD_BYTES = 61  # of a batch: what lies before its records
PARTITION = TopicPartition("match.events", 3)


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def batch(codec: str | None, first: int, count: int = 50) -> bytes:
    """A batch of `count` records with the values b"FIRST", …, as a producer writes it and a broker hands it out."""
    builder = MemoryRecordsBuilder(2, CODECS.get(codec or "", 0), 1 << 20)
    for n in range(first, first + count):
        builder.append(timestamp=1_000 + n, key=b"k", value=b"%d" % n, headers=[])
    builder.close()
    written = bytearray(builder.buffer())
    struct.pack_into(">q", written, 0, first)
    return bytes(written)


def resealed(written: bytes, **changes: Any) -> bytes:
    """The batch with other bytes in place of its records, or a byte of them flipped; its checksum made to fit."""
    changed = bytearray(written)
    if "records" in changes:
        changed[HEAD_BYTES:] = changes["records"]
        struct.pack_into(">i", changed, 8, len(changed) - 12)
    for at in changes.get("flipped", ()):
        changed[at] ^= 0xFF
    struct.pack_into(">I", changed, 17, calc_crc32c(memoryview(changed)[21:]))
    return bytes(changed)


def fetched(*batches: bytes, fetch_offset: int = 0) -> FetchedColumns:
    return FetchedColumns(fetch_offset, PARTITION, MemoryRecords(b"".join(batches)))


def values(chunk: Chunk) -> list[int]:
    return [int(value) for value in chunk.records.values.to_pylist()]


@pytest.mark.kafka
@pytest.mark.parametrize("codec", CODECS)
def test_a_feed_that_compresses_is_read_as_it_was_written(
    kafka: str, topic_prefix: str, closing: ExitStack, codec: str
) -> None:
    topic = Topic(f"{topic_prefix}.{codec}", key="k", schema=None, partitions=1)
    settings = KafkaSettings(kafka)
    ensure_topics(settings, [topic])
    small = [b"event %d " % n * 20 for n in range(500)]
    noise = os.urandom(200_000)
    producer = KafkaProducer(bootstrap_servers=kafka, compression_type=codec, linger_ms=50, acks="all")
    for n, value in enumerate([*small, noise]):
        producer.send(topic.name, key=b"k%d" % n, value=value, headers=[("n", b"%d" % n)])
    producer.flush(PATIENCE_S)
    producer.close()

    source = KafkaSource(settings, topic.name, "g")
    closing.callback(source.close)
    reader = source.open({0: 0})
    closing.callback(reader.close)
    found = reader.read(OffsetRange(0, 0, source.end_offsets()[0]))
    assert found.values.to_pylist() == [*small, noise]
    assert found.keys.to_pylist() == [b"k%d" % n for n in range(501)]
    assert found.headers is not None
    assert [dict(row) for row in found.headers] == [{"n": b"%d" % n} for n in range(501)]
    middle = reader.read(OffsetRange(0, 123, 125))  # a batch is decompressed whole, and cut
    assert middle.values.to_pylist() == small[123:125]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("damage", ["checksum", "garbage", "cut", "empty"])
def test_a_compressed_batch_that_cannot_be_read_is_named_each_time_and_what_came_before_it_is_not_lost(
    codec: str, damage: str
) -> None:
    good, whole, after = batch(codec, 0), batch(codec, 50), batch(codec, 100)
    records = whole[HEAD_BYTES:]
    broken = {
        "checksum": whole[:-1] + bytes([whole[-1] ^ 1]),
        "garbage": resealed(whole, records=bytes(range(1, 200))),
        "cut": resealed(whole, records=records[: len(records) // 2]),
        "empty": resealed(whole, records=b""),
    }[damage]
    first = fetched(good, broken, after)
    (chunk,) = first.take()
    assert values(chunk) == list(range(50))
    assert chunk.end == first.next_fetch_offset == 50
    assert not first  # drained: nothing left to ask for
    for _ in range(2):
        again = fetched(broken, after, fetch_offset=50)
        with pytest.raises(LogCorrupt, match=r"match\.events/3: the batch at offset 50 cannot be read") as corrupt:
            again.take()
        assert not again
        assert (corrupt.value.start, corrupt.value.end) == (50, 100)
    (rest,) = fetched(after, fetch_offset=100).take()  # as the message says: set the offset to 100
    assert values(rest) == list(range(100, 150))


def test_lengths_that_do_not_add_up_are_corrupt_too() -> None:
    broken = resealed(batch(None, 50), flipped=[HEAD_BYTES])
    first = fetched(batch(None, 0), broken)
    (chunk,) = first.take()
    assert (values(chunk), chunk.end) == (list(range(50)), 50)
    with pytest.raises(LogCorrupt, match="batch at offset 50"):
        fetched(broken, fetch_offset=70).take()


@pytest.mark.kafka
def test_a_reader_raises_at_a_corrupt_batch_instead_of_going_round(
    kafka: str, topic_prefix: str, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic(f"{topic_prefix}.corrupt", key="k", schema=None, partitions=1)
    settings = KafkaSettings(kafka)
    ensure_topics(settings, [topic])
    producer = KafkaProducer(bootstrap_servers=kafka, compression_type="zstd", acks="all")
    for n in range(3):  # three batches
        producer.send(topic.name, value=b"%d" % n).get(PATIENCE_S)
    producer.close()

    unspoilt = FetchedColumns._section  # noqa: SLF001

    def spoilt(self: FetchedColumns, written: Any) -> Any:
        if written.base_offset == 1:
            written._buffer = bytearray(resealed(bytes(written._buffer), records=b"garbage"))  # noqa: SLF001
        return unspoilt(self, written)

    monkeypatch.setattr(FetchedColumns, "_section", spoilt)
    reader = KafkaSource(settings, topic.name, "").open({0: 0})
    closing.callback(reader.close)
    first = reader.poll(PATIENCE_S, 10)
    assert first is not None
    assert (first.range, first.records.values.to_pylist()) == (OffsetRange(0, 0, 1), [b"0"])
    for _ in range(3):
        with pytest.raises(LogCorrupt, match=r"batch at offset 1 .* offset of this partition to 2"):
            reader.poll(PATIENCE_S, 10)
    with pytest.raises(LogCorrupt):
        reader.read(OffsetRange(0, 0, 3))
    reader.seek(0, 2)
    rest = reader.poll(PATIENCE_S, 10)
    assert rest is not None
    assert rest.records.values.to_pylist() == [b"2"]


def test_a_missing_codec_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lz4" else find(name))
    clients.require_native_packages.cache_clear()
    with pytest.raises(ImportError, match=r"reading Kafka needs \(lz4\): pip install"):
        clients.open_consumer(KafkaSettings("127.0.0.1:9"))
    monkeypatch.undo()
    clients.require_native_packages()


@pytest.mark.kafka
def test_a_quiet_topic_is_not_an_absent_broker_even_when_that_gathers_for_longer_than_its_silence_may_last(
    kafka: str, topic_prefix: str, closing: ExitStack
) -> None:
    topic = Topic(f"{topic_prefix}.quiet", key="k", schema=None, partitions=4)
    settings = KafkaSettings(kafka)
    ensure_topics(settings, [topic])
    impatient = replace(settings, unavailable_after_s=2.0)
    reader = KafkaSource(impatient, topic.name, "").open(dict.fromkeys(range(4), 0), gather_s=4.0)
    closing.callback(reader.close)
    began = time.monotonic()
    while time.monotonic() - began < 6.5:
        assert reader.poll(0.25, 100) is None


@pytest.mark.kafka
def test_who_waits_for_another_partition_comes_to_lie_in_memory_no_more_than_fetched_at_once(
    kafka, topic_prefix, monkeypatch
) -> None:
    lab = KafkaLab(kafka, topic_prefix, monkeypatch)
    lab.create("in", 2)
    value, count = b"x" * 100_000, 120
    for partition in (0, 1):  # all of the second is later than all of the first
        times = [1_000 * (1 + partition * count + number) for number in range(count)]
        lab.append("in", Records.of([None] * count, [value] * count, timestamps_ms=times), partition)
    reader = lab.source("in").open({0: 0, 1: 0})
    assert isinstance(reader, KafkaReader)
    read, most = [0, 0], 0
    while sum(read) < 2 * count:
        fetched = reader.poll(PATIENCE_S, 50)
        assert fetched is not None
        read[fetched.range.partition] += len(fetched.records)
        waiting = reader._waiting[1]  # noqa: SLF001 - what would grow
        most = max(most, sum(len(chunk.records) for chunk in waiting))
    reader.close()
    lab.close()
    assert read == [count, count]
    assert 0 < most < count / 2
