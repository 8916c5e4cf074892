"""Reading the topics back: where to begin, real bytes through the real codec, and a real broker."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.reader import Feed, Feeds, first_since
from serve.gateway.run import Gateway
from serve.gateway.settings import GatewaySettings
from serve.gateway.testing import Row, RowLog, RowReader, event_row, insight_row, status_row
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.records import OffsetRange, Records
from streaming.testing import MemoryLog, MemorySink, MemorySource
from streaming.topics import MATCH_EVENTS, MATCH_INSIGHTS, PIPELINE_STATUS, TOPICS, Topic
from streaming.transport import Output, Sink, Source
from tests.waiting import PATIENCE_S, wait_until

REGISTRY = PackagedRegistry()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def output(topic: Topic, *rows: Row) -> Output:
    """Rows as a pipeline writes them."""
    schema = load_schema(topic.schema)
    defaults = {field["name"]: field["default"] for field in schema["fields"] if "default" in field}
    columns = Decoder(topic.schema, REGISTRY).decode(Records.of([], [])).frame.schema
    frame = pl.DataFrame([defaults | row for row in rows], schema=columns)
    values = Encoder(schema, REGISTRY.id_of(topic.schema)).encode(frame)
    keys = [row[topic.key].encode() for row in rows]
    return Output(topic.name, Records.of(keys, values.to_pylist(), timestamps_ms=[now_ms()] * len(rows)))


@contextmanager
def gateway_over(source_of: Callable[[str], Source]) -> Iterator[str]:
    def feed(topic: Topic) -> Feed:
        return Feed(source_of(topic.name), Decoder(topic.schema, REGISTRY).decode)

    listening: list[str] = []
    up = threading.Event()
    gateway = Gateway(
        Feeds(feed(MATCH_INSIGHTS), feed(MATCH_EVENTS), feed(PIPELINE_STATUS)),
        GatewaySettings(port=0, delayed_s=1e9),  # on a slow machine too
        lambda address: (listening.append(address), up.set()),
    )
    thread = threading.Thread(target=gateway.serve)
    thread.start()
    try:
        assert up.wait(PATIENCE_S)
        yield listening[0]
    finally:
        gateway.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def watch_a_match(source_of: Callable[[str], Source], sink: Sink) -> None:
    """A match, from its first commit to its result, through a gateway that is restarted on the way."""
    sink.open()

    def commit(*answers: Output) -> None:
        sink.commit(answers=answers, dead_letters=[], state=[], offsets={})

    start = event_row("m1", 0, "start", team_a="Northwind", team_b="Süd", heroes_a=["Ahri"])
    commit(output(MATCH_EVENTS, start, event_row("m1", 1, "snapshot"), event_row("m1", 2)))
    for frame in range(3):  # each commit leaves a marker, that is a hole, behind its records
        commit(
            output(
                MATCH_INSIGHTS,
                insight_row("m1", frame, 0.5, emit_time_ms=now_ms(), team_b="Süd", contribution_gold=0.25),
            )
        )
    commit(output(PIPELINE_STATUS, status_row(now_ms())))
    with gateway_over(source_of) as url:
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        detail = httpx.get(f"{url}/api/matches/m1").json()
        assert [point["frame"] for point in detail["curve"]] == [0, 1, 2]
        assert detail["curve"][0]["contributions"]["gold"] == 0.25
        assert [entry["text"] for entry in detail["events"]] == [
            "Northwind – Süd: the match starts",
            "Northwind takes a dragon",
        ]
        assert detail["model"]["trained_on"] == "simulator" and detail["state"] == "live"
        last_id = detail["last_id"]
    commit(output(MATCH_INSIGHTS, insight_row("m1", 3, 0.9, status="ended", winner="A", emit_time_ms=now_ms())))
    with gateway_over(source_of) as url:
        address = f"{url}/api/matches/m1/events?last_id={last_id}"
        with httpx.stream("GET", address, timeout=PATIENCE_S) as response:
            lines = (line for line in response.iter_lines() if line.startswith("event: "))
            assert [next(lines), next(lines)] == ["event: insight", "event: result"]


def test_real_bytes_through_the_real_codec() -> None:
    log = MemoryLog()
    for topic in TOPICS:
        log.create(topic.name, topic.partitions)
    sink = MemorySink(log, "gateway-test", "pipeline", MATCH_EVENTS.name)
    watch_a_match(lambda topic: MemorySource(log, topic, "gateway"), sink)


@pytest.mark.kafka
def test_real_kafka(kafka: str) -> None:
    settings = KafkaSettings(kafka)
    ensure_topics(settings, TOPICS)
    sink = KafkaSink(settings, "gateway-test", "pipeline", MATCH_EVENTS.name)
    try:
        watch_a_match(lambda topic: KafkaSource(settings, topic, "gateway"), sink)
    finally:
        sink.close()


@given(steps=st.lists(st.integers(0, 50), max_size=400), since_ms=st.integers(-10, 5000), cut=st.integers(0, 20))
def test_where_to_begin(steps: list[int], since_ms: int, cut: int) -> None:
    times_ms = np.cumsum(np.array(steps, np.int64)) if steps else np.array([], np.int64)
    log = RowLog()
    for time_ms in times_ms:
        log.append("t", b"", time_ms=int(time_ms))
    reader = RowReader(log, "t", {0: 0})
    start = min(cut, len(times_ms))
    found = first_since(reader, OffsetRange(0, start, len(times_ms)), since_ms)
    assert start <= found <= len(times_ms)
    first = start + int(np.searchsorted(times_ms[start:], since_ms))
    assert first - 64 <= found <= first  # never too late, and early by no more than a probe
    assert reader.reads <= 9


def test_holes_hide_nothing() -> None:
    class Holes(RowReader):
        def read(self, wanted: OffsetRange) -> Records:
            records = super().read(wanted)
            return records.take(np.flatnonzero((records.offsets < 200) | (records.offsets >= 900)))

    log = RowLog()
    for offset in range(1000):
        log.append("t", b"", time_ms=offset)
    found = first_since(Holes(log, "t", {0: 0}), OffsetRange(0, 0, 1000), 950)
    assert found <= 950
