"""The sink without transactions: nothing is lost wherever it is cut; offsets are never ahead of what was written."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import polars as pl
import pytest

from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.member import KafkaMember
from streaming.kafka.plain_sink import KafkaPlainSink
from streaming.kafka.producing import BatchProducer
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.records import Records
from streaming.runners.worker import Worker, WorkerConfig
from streaming.simulators.match import simulate
from streaming.state import StateTable
from streaming.topics import Topic, state_topic
from streaming.transport import CommitRefused, Output, TransportUnavailable
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(kafka)


@pytest.fixture
def topics(settings: KafkaSettings, request: pytest.FixtureRequest) -> list[Topic]:
    """Read from, answers, state."""
    name = f"plain-{abs(hash(request.node.name))}"
    made = [Topic(f"{name}.{part}", key="k", schema=None, partitions=1) for part in ("in", "out", "state")]
    ensure_topics(settings, made)
    return made


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def values(settings: KafkaSettings, topic: Topic) -> list[bytes]:
    return [value for records in read_all(settings, topic.name).values() for value in records.values.to_pylist()]


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The log goes away at the n-th step of the next commit: before or after answers, before or after state."""
    original, taken = BatchProducer.flush, []

    def flush(producer: BatchProducer) -> None:
        taken.append(1)
        if len(taken) * 2 - 1 == step:
            producer.discard()
            raise TransportUnavailable("cut by the test")
        original(producer)
        if len(taken) * 2 == step:
            raise TransportUnavailable("cut by the test")

    monkeypatch.setattr(BatchProducer, "flush", flush)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_commit_that_was_cut_is_tried_again_and_nothing_is_lost(
    settings: KafkaSettings, topics: list[Topic], closing: ExitStack, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    source, out, state = topics
    sink = KafkaPlainSink(settings, source.name, source.name)
    closing.callback(sink.close)
    sink.open()
    batch = {
        "answers": [Output(out.name, Records.of([b"k"], [b"answer"]))],
        "state": [Output(state.name, Records.of([b"k"], [b"state"]), partition=0)],
        "dead_letters": [],
    }
    cut_at(monkeypatch, step)
    with pytest.raises(TransportUnavailable):
        sink.commit(**batch, offsets={0: 7})
    monkeypatch.undo()
    reader = KafkaSource(settings, source.name, source.name)
    closing.callback(reader.close)
    assert reader.committed() == {0: 0}
    assert len(values(settings, out)) == int(step >= 2) and len(values(settings, state)) == int(step >= 4)
    sink.commit(**batch, offsets={0: 7})
    assert reader.committed() == {0: 7}
    assert set(values(settings, out)) == {b"answer"} and set(values(settings, state)) == {b"state"}


def test_an_answer_too_large_is_refused_before_anything_is_written(
    settings: KafkaSettings, topics: list[Topic], closing: ExitStack
) -> None:
    source, out, _ = topics
    sink = KafkaPlainSink(settings, source.name, source.name)
    closing.callback(sink.close)
    small, large = (Output(out.name, Records.of([b"k"], [bytes(size)])) for size in (1, 2_000_000))
    with pytest.raises(CommitRefused, match="max_record_bytes"):
        sink.commit(answers=[small, large], dead_letters=[], state=[], offsets={0: 1})
    assert values(settings, out) == []


def test_it_travels_until_it_is_opened(settings: KafkaSettings, topics: list[Topic], closing: ExitStack) -> None:
    sink = pickle.loads(pickle.dumps(KafkaPlainSink(settings, "group", topics[0].name)))  # noqa: S301 - our own
    closing.callback(sink.close)
    sink.open()
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(sink)


class Echo:
    """Answers every event with itself."""

    name = "echo"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        ingested = pl.from_epoch("_ingest_time_ms", time_unit="ms").dt.replace_time_zone("UTC")
        return rows.with_columns(ingested.alias("ingest_time_ms"))


def test_a_worker_that_dies_before_it_leaves_its_offsets_is_followed_by_one_that_answers_again(
    settings: KafkaSettings, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Topic("plain-worker.in", key="match_id", schema="match-events", partitions=2)
    out = Topic("plain-worker.out", key="match_id", schema="match-events", partitions=2)
    ensure_topics(settings, [source, source.dead_letters, out, state_topic("plain-worker")])
    frame = simulate("lol", matches=2, seed=1).events.head(60)
    publisher = Publisher(settings)
    closing.callback(publisher.close)
    encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
    keys = [match.encode() for match in frame["match_id"]]
    publisher.send(source.name, keys, encoder.encode(frame).to_pylist())
    assert publisher.flush(PATIENCE_S)

    def worker() -> Worker:
        made = Worker(
            Pipeline("plain-worker", source, (), (Echo(),), out),
            KafkaSource(settings, source.name, "plain-worker"),
            KafkaPlainSink(settings, "plain-worker", source.name),
            PackagedRegistry(),
            changelog=lambda owners: read_changelog(settings, "plain-worker", owners),
            config=WorkerConfig(max_commit_records=10),
        )
        closing.callback(made.leave)
        return made

    def answers() -> list[tuple[str, int]]:
        decoder = Decoder("match-events", PackagedRegistry())
        parts = [decoder.decode(records).frame for records in read_all(settings, out.name).values()]
        return pl.concat(parts).select("match_id", "sequence").rows()

    first, commits = worker(), []

    def die(member: KafkaMember, offsets: dict[int, int]) -> None:
        commits.append(offsets)
        if len(commits) == 2:
            raise SystemExit
        original(member, offsets)

    original = KafkaMember.commit
    monkeypatch.setattr(KafkaMember, "commit", die)
    with suppress(SystemExit):
        while True:
            first.step()
    monkeypatch.undo()
    first.leave()
    wanted = frame.select("match_id", "sequence").rows()
    second = worker()
    while set(answers()) != set(wanted):
        second.step()
    given = answers()
    assert len(given) > len(wanted), "what was written and not marked as done is answered again"
    for match in set(frame["match_id"]):
        once = list(dict.fromkeys(number for name, number in given if name == match))
        assert once == [number for name, number in wanted if name == match]
