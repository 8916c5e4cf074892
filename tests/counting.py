"""A pipeline that counts, over Kafka or the log in memory: its topics, a feed, and whether the invariant holds
(`tests.delivery`); and the live runners over it, in threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np
import polars as pl

from streaming.changelog import Lanes
from streaming.codec import Decoder, Encoder, PackagedRegistry, SchemaRegistry, load_schema
from streaming.counting import CountingStage
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.plain_sink import KafkaPlainSink
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline, Transform
from streaming.records import Records
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.epoch import ReadLimits
from streaming.runners.flow import Clock, Flow
from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner
from streaming.runners.progress import Progress
from streaming.runners.worker import Worker, WorkerConfig
from streaming.simulators.match import simulate
from streaming.state import StateTable
from streaming.testing import MemoryLog, MemoryMember, MemorySink, MemorySource, lanes
from streaming.topics import Topic, state_topic
from streaming.transport import GroupSource, Sink
from tests.delivery import Verdict, judge
from tests.waiting import PATIENCE_S

EXACTLY_ONCE, AT_LEAST_ONCE = "exactly_once", "at_least_once"
MATCHES = 11
SCHEMA = "match-events"
POISON = b"\x00\x00\x00\x00\x01 poison "
"""What values begin with that nobody can decode."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@cache
def _event() -> pl.DataFrame:
    return simulate("lol", matches=1, seed=1).events.head(1)


def events(start: int, end: int, name: str = "m") -> pl.DataFrame:
    """Events number `start` to `end` of a feed that takes its matches in turn."""
    numbers = pl.Series(range(start, end), dtype=pl.Int64)
    return _event()[np.zeros(end - start, np.int64)].with_columns(
        match_id=pl.Series([f"{name}{n % MATCHES}" for n in numbers], dtype=pl.String), sequence=numbers // MATCHES
    )


def encoded(frame: pl.DataFrame, encoder: Encoder | None = None) -> Records:
    encoder = encoder or Encoder(load_schema(SCHEMA), PackagedRegistry().id_of(SCHEMA))
    return Records.of([match.encode() for match in frame["match_id"]], encoder.encode(frame).to_pylist())


class Log(Protocol):
    """Where the topics are."""

    def create(self, topics: Sequence[Topic]) -> None: ...
    def append(self, topic: str, records: Records) -> None: ...
    def all_of(self, topic: str) -> list[Records]: ...
    def changelog(self, pipeline: str, owners: Collection[int] | None = None) -> Lanes: ...
    def source(self, topic: str, group: str) -> GroupSource: ...
    def sink(self, transactional_id: str, group: str, topic: str) -> Sink: ...


class InMemory:
    """In this process."""

    def __init__(self) -> None:
        self.log = MemoryLog()

    def create(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            self.log.create(topic.name, topic.partitions)

    def append(self, topic: str, records: Records) -> None:
        self.log.append(topic, records)

    def all_of(self, topic: str) -> list[Records]:
        return [self.log.records(topic, partition) for partition in range(self.log.partition_count(topic))]

    def changelog(self, pipeline: str, owners: Collection[int] | None = None) -> Lanes:
        return lanes(self.all_of(state_topic(pipeline).name), owners)

    def source(self, topic: str, group: str) -> MemorySource:
        return MemorySource(self.log, topic, group)

    def sink(self, transactional_id: str, group: str, topic: str) -> MemorySink:
        return MemorySink(self.log, transactional_id, group, topic)


class JoinedSource(MemorySource):
    """Remembers the newest member that it made."""

    member: MemoryMember | None = None

    def join(self) -> MemoryMember:
        self.member = super().join()
        return self.member


class OnKafka:
    """On a real broker, its sinks with transactions or, at least once, without. Small and picklable until something is
    appended."""

    def __init__(self, settings: KafkaSettings, delivery: str = EXACTLY_ONCE) -> None:
        self.settings, self.delivery = settings, delivery
        self._publisher: Publisher | None = None
        self._sources: list[KafkaSource] = []

    def __getstate__(self) -> Any:
        return self.settings, self.delivery

    def __setstate__(self, state: Any) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def create(self, topics: Sequence[Topic]) -> None:
        ensure_topics(self.settings, topics)

    def append(self, topic: str, records: Records) -> None:
        if self._publisher is None:
            self._publisher = Publisher(self.settings, max_block_s=PATIENCE_S)
        self._publisher.send(topic, records.keys.to_pylist(), records.values.to_pylist())
        assert self._publisher.flush(PATIENCE_S)
        assert self._publisher.failed == 0

    def all_of(self, topic: str) -> list[Records]:
        return list(read_all(self.settings, topic).values())

    def changelog(self, pipeline: str, owners: Collection[int] | None = None) -> Lanes:
        return read_changelog(self.settings, pipeline, owners)

    def source(self, topic: str, group: str) -> KafkaSource:
        self._sources.append(KafkaSource(self.settings, topic, group))
        return self._sources[-1]

    def sink(self, transactional_id: str, group: str, topic: str, producers: int = 1) -> Sink:
        if self.delivery == AT_LEAST_ONCE:
            return KafkaPlainSink(self.settings, group, topic)
        return KafkaSink(self.settings, transactional_id, group, topic, producers=producers)

    def close(self) -> None:
        """What it opened in this process."""
        if self._publisher is not None:
            self._publisher.close()
        for source in self._sources:
            source.close()


class Stream:
    """The topics of one counting pipeline, and what was written to them."""

    def __init__(
        self,
        log: Log,
        prefix: str,
        stage: CountingStage | None = None,
        transforms: Sequence[Transform] = (),
        partitions: int = 4,
        registry: SchemaRegistry | None = None,
        *,
        repeats_allowed: bool = False,
    ) -> None:
        self._repeats_allowed = repeats_allowed
        self.registry = registry or PackagedRegistry()
        source = Topic(f"{prefix}.in", key="match_id", schema=SCHEMA, partitions=partitions)
        sink = Topic(f"{prefix}.out", key="match_id", schema=SCHEMA, partitions=2)
        self.pipeline = Pipeline(prefix, source, tuple(transforms), (stage or CountingStage(),), sink)
        self.log = log
        log.create([source, source.dead_letters, sink, state_topic(prefix)])
        self.written = 0

    @property
    def prefix(self) -> str:
        """Also its group and its transactional id."""
        return self.pipeline.name

    def source(self) -> GroupSource:
        return self.log.source(self.pipeline.source.name, self.prefix)

    def sink(self, transactional_id: str = "") -> Sink:
        return self.log.sink(transactional_id or self.prefix, self.prefix, self.pipeline.source.name)

    def feed(self, count: int, encode: Callable[[pl.DataFrame], Records] = encoded) -> None:
        """Append so many events, and return when the log has them."""
        self.log.append(self.pipeline.source.name, encode(events(self.written, self.written + count)))
        self.written += count

    def feed_poison(self, count: int) -> None:
        """As `feed`, of what nobody can decode."""
        numbers = range(self.written, self.written + count)
        keys: list[bytes | None] = [b"m%d" % (n % MATCHES) for n in numbers]
        self.log.append(self.pipeline.source.name, Records.of(keys, [POISON + b"%d" % n for n in numbers]))
        self.written += count

    def inputs(self) -> pl.DataFrame:
        """The good records on the source topic, as the log has them."""
        return self._decoded([records.take(_rows(records, bad=False)) for records in self._fed()])

    def poison(self) -> Counter[bytes | None]:
        return Counter(value for records in self._fed() for value in _taken(records, bad=True))

    def letters(self) -> Counter[bytes | None]:
        every = self.log.all_of(self.pipeline.source.dead_letters.name)
        return Counter(value for records in every for value in records.values.to_pylist())

    def answered(self) -> int:
        """Answers that a reader sees."""
        return sum(len(records) for records in self.log.all_of(self.pipeline.sink.name))

    def answers(self) -> pl.DataFrame:
        return self._decoded(self.log.all_of(self.pipeline.sink.name))

    def state(self) -> StateTable:
        """As a restart would restore it."""
        flow = Flow(self.pipeline, self.registry, clock=wall_ms, reread=_never)
        flow.restore(self.log.changelog(self.prefix))
        return flow.tables[CountingStage.name]

    def verdict(self, inputs: pl.DataFrame | None = None, *, whole: bool = True) -> Verdict:
        """Of all that is on the topics; `inputs` where the source topic no longer has them."""
        return judge(
            self.inputs() if inputs is None else inputs,
            self.answers(),
            self.state(),
            poison=self.poison(),
            letters=self.letters(),
            whole=whole,
            repeats_allowed=self._repeats_allowed,
        )

    def check(self, *, whole: bool = True) -> None:
        verdict = self.verdict(whole=whole)
        assert verdict.holds, verdict
        assert verdict.records == self.written or not whole, "the feed itself lost something"

    def _fed(self) -> list[Records]:
        return self.log.all_of(self.pipeline.source.name)

    def _decoded(self, every: Sequence[Records]) -> pl.DataFrame:
        decoder = Decoder(SCHEMA, self.registry)
        frames = []
        for records in every:
            decoded = decoder.decode(records)
            assert not decoded.bad
            frame = decoded.frame.select("match_id", "sequence", "clock_s")
            frames.append(frame.with_columns(value=pl.Series(records.values.to_pylist(), dtype=pl.Binary)))
        return pl.concat(frames)


def _taken(records: Records, *, bad: bool) -> list[bytes | None]:
    return list(records.take(_rows(records, bad=bad)).values.to_pylist())


def _rows(records: Records, *, bad: bool) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Positions of poison, or of all else: told by its bytes, not by the decoder that is on trial."""
    values = records.values.to_pylist()
    return np.asarray([row for row, value in enumerate(values) if value.startswith(POISON) is bad], np.int64)


def _never(partition: int, offsets: Sequence[int]) -> Records:
    raise AssertionError("nothing is answered here, so nothing is refused")


def continuous(
    stream: Stream,
    workers: int = 1,
    *,
    log: OnKafka | None = None,
    registry: SchemaRegistry | None = None,
    clock: Clock = wall_ms,
    max_commit_records: int = 5_000,
) -> ContinuousRunner:
    """Over a stream on Kafka; `log` where its workers reach that at another address."""
    log = log or stream.log  # type: ignore[assignment]
    assert isinstance(log, OnKafka)
    reached, pipeline = log, stream.pipeline
    registry = registry or stream.registry

    def make(number: int, progress: Progress) -> Worker:
        return Worker(
            pipeline,
            reached.source(pipeline.source.name, pipeline.name),
            reached.sink(f"{pipeline.name}.{number}", pipeline.name, pipeline.source.name, producers=2),
            registry,
            changelog=lambda owners: reached.changelog(pipeline.name, owners),
            config=WorkerConfig(max_commit_records=max_commit_records),
            progress=progress,
            clock=clock,
        )

    return ContinuousRunner(make, workers, clock=clock)


def micro_batch(
    stream: Stream,
    *,
    log: Log | None = None,
    registry: SchemaRegistry | None = None,
    clock: Clock = wall_ms,
    **config: Any,
) -> MicroBatchRunner:
    """Over any stream, in small batches unless the `MicroBatchConfig` says otherwise."""
    log = log or stream.log
    topic = stream.pipeline.source.name
    return MicroBatchRunner(
        stream.pipeline,
        log.source(topic, stream.prefix),
        log.sink(stream.prefix, stream.prefix, topic),
        registry or stream.registry,
        changelog=lambda: log.changelog(stream.prefix),
        config=MicroBatchConfig(**{"limits": ReadLimits(0.02, 50), "max_commit_records": 100, **config}),
        clock=clock,
    )


class Runner(Protocol):
    @property
    def progress(self) -> Progress: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...


class Run:
    """A runner in a thread, from now on."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.runner.run()
        except BaseException as failure:
            self.failure = failure

    def join(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait for its end."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "it does not end"

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.runner.stop()
        self.join()

    def wait_for(self, condition: Callable[[], bool], pause_s: float = 0.02) -> None:
        """Until that holds. AssertionError when the run has failed, or after `PATIENCE_S`."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.failure is None, repr(self.failure)
            assert time.monotonic() < deadline, self.report()
            time.sleep(pause_s)

    def report(self) -> dict[str, Any]:
        return self.runner.progress.report(wall_ms())

    def answered(self) -> int:
        """Records, as it says; a worker that was killed did not say all."""
        return int(self.report()["events_total"])


@contextmanager
def running(runner: Runner) -> Iterator[Run]:
    """It runs for the body of the `with`, and ends without failure at its end."""
    run = Run(runner)
    try:
        yield run
    finally:
        run.stop()
    assert run.failure is None, repr(run.failure)
