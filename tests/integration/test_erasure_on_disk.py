"""A person is erased, with a real broker: the files of Kafka, before anything is compacted, and all that can be read
from its topics, are searched for the look and for what opens it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from streaming.codec import PackagedRegistry
from streaming.identities.memory import Memory
from streaming.identities.orders import IdentityOrders
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.privacy import erasures, folder
from streaming.privacy.erasures import Erasures
from streaming.privacy.folder import now_ms
from streaming.privacy.keyring import day_of
from streaming.records import OffsetRange, Records
from streaming.runners.flow import Flow
from streaming.runners.preprocess import preprocess, source_decoder
from streaming.topics import CAMERA_FRAMES, CONTROL, Topic, identity, pipeline_topics
from tests.erasure_scene import (
    FORGOTTEN,
    STAYS,
    files_below,
    holds_look,
    keys_in,
    people,
    records,
    secrets_of,
    unsealed,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.long]

MINE = [("door", 1), ("till", 1)]
START_MS = now_ms() - 60_000
"""Now: what is of another month Kafka compacts at once, which is not what the search is to be spared."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tmp_path_factory.mktemp("erasure"))


@pytest.fixture(scope="module")
def kafka(home: Path) -> Iterator[KafkaSettings]:
    broker = EmbeddedBroker(home / "kafka")
    try:
        status = broker.start()
        assert status.bootstrap_servers is not None
        yield KafkaSettings(status.bootstrap_servers)
    finally:
        broker.stop()


@pytest.fixture(autouse=True)
def _looks_at_files_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (folder, erasures):
        monkeypatch.setattr(module, "_LOOK_S", 0.0)


def topics_of(pipeline: Pipeline) -> list[Topic]:
    return [topic for topic in pipeline_topics(pipeline.name, pipeline.source, pipeline.sink) if topic != CONTROL]


class Running:
    """One pipeline on the broker: whatever lies on the topic of frames is answered in transactions."""

    def __init__(self, kafka: KafkaSettings, pipeline: Pipeline) -> None:
        self.kafka, self.pipeline, self.registry = kafka, pipeline, PackagedRegistry()
        ensure_topics(kafka, topics_of(self.pipeline))

    def answer(self, count: int) -> Flow:
        """From the group's offsets to the end, so many records of a partition at a time."""
        group, topic = identity(self.pipeline.name), self.pipeline.source.name
        decoder = source_decoder(self.pipeline, self.registry)
        with closing(KafkaSource(self.kafka, topic, group)) as source:
            sink = KafkaSink(self.kafka, group, group, topic)
            with closing(sink), closing(source.open(source.committed())) as reader:
                sink.open()
                flow = Flow(self.pipeline, self.registry, clock=now_ms, reread=_nothing_is_refused)
                flow.restore(read_changelog(self.kafka, self.pipeline.name))
                at, end = dict(source.committed()), source.end_offsets()
                while at != dict(end):
                    wanted = [OffsetRange(p, start, min(start + count, end[p])) for p, start in at.items()]
                    batch = preprocess([(one, reader.read(one)) for one in wanted], decoder, self.pipeline.transforms)
                    commit = flow.process([batch])
                    sink.commit(
                        answers=commit.answers, dead_letters=commit.dead_letters, state=commit.state,
                        offsets=commit.offsets,
                    )  # fmt: skip
                    at |= commit.offsets
                return flow


def _nothing_is_refused(partition: int, offsets: Sequence[int]) -> Records:
    raise AssertionError(f"refused: {offsets} of partition {partition}")


def published(kafka: KafkaSettings, from_s: float, until_s: float) -> None:
    made = records(from_s, until_s, START_MS)
    with closing(Publisher(kafka)) as publisher:
        publisher.send(CAMERA_FRAMES.name, made.keys.to_pylist(), made.values.to_pylist(), now_ms())
        wait_until(lambda: publisher.flush(1.0))


def all_bytes(running: Running, home: Path) -> Iterator[tuple[str, bytes]]:
    """All that can be read from the topics, and every file: of Kafka, the keys, the orders."""
    for topic in topics_of(running.pipeline):
        for partition, part in read_all(running.kafka, topic.name).items():
            columns = (part.keys.to_pylist(), part.values.to_pylist())
            yield f"{topic.name}/{partition}", b"".join(value or b"" for column in columns for value in column)
    yield from files_below(home)


def test_neither_topics_nor_files_hold_the_look_or_a_key_to_it(kafka: KafkaSettings, home: Path) -> None:
    keys = home / "keys"
    sealed, plain = (Running(kafka, made(keys_in(keys, now_ms))) for made in (people, unsealed))
    published(kafka, 0, 12)
    memory = Memory(sealed.answer(10).tables["identities"])
    persons = {name: int(memory.state["person"][slot]) for slot in memory.decided() for name in memory.names([slot])}
    assert persons[MINE[0]] == persons[MINE[1]] != persons["door", 2]
    mine = [secret for track in MINE for secret in secrets_of(keys, track, day_of(START_MS))]
    person = f"P{persons[MINE[0]]}"
    IdentityOrders(keys).give("merge", [person, "P99"], "anna", now_ms())
    Erasures(keys).order(person, "anna", now_ms())
    published(kafka, 12, 16)
    after = Memory(sealed.answer(10).tables["identities"])
    (order,) = Erasures(keys).standing()

    assert order.tracks == len(MINE) and order.erased_ms is not None
    assert IdentityOrders(keys).all() == []
    assert not len(after.tracks_of(persons[MINE[0]])) and len(after.tracks_of(persons["door", 2]))
    for where, data in all_bytes(sealed, home):
        assert not holds_look(data, FORGOTTEN), where
        assert not holds_look(data, STAYS), where
        assert not [secret for secret in mine if secret in data], where

    plain.answer(10)  # the same without a seal: what the search would have found, on the disk as well
    found = {where for where, data in all_bytes(plain, home) if holds_look(data, FORGOTTEN)}
    assert {where for where in found if where.startswith("sightline.state.unsealed/")}
    assert {where for where in found if where.endswith(".log") and "sightline.state.unsealed-" in where}
