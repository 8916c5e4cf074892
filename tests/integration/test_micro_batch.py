"""The default runner: what it does when things break, with Ray's planner always, with Ray Data and Kafka where the
reading itself is at stake. Whatever happens, every event is answered once, and the state has seen it once."""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jobs.ray_session import ray_session
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import DependencyUnavailable, NewestFirst, Pipeline, Transform
from streaming.records import Records
from streaming.runners import micro_batch
from streaming.runners.batch import Batch, unpack
from streaming.runners.epoch import EpochSource, Preprocess, ReadLimits, batches
from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner
from streaming.simulators.match import simulate
from streaming.state import Column, StateTable
from streaming.testing import AFTER_COMMIT, MemoryLog, MemorySink, MemorySource
from streaming.topics import Topic, state_topic
from streaming.transport import Fenced, LogCorrupt, Sink, Source

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
]

PATIENCE_S = 90.0
MATCHES = 7
Event = tuple[str, int]  # match, sequence


@pytest.fixture(scope="module", autouse=True)
def own_ray() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes that it ends
        with ray_session(None, logical_cpus=4, object_store_mb=100):
            yield
        gc.collect()


class Echo:
    """Answers every event with itself, and counts the events of each match."""

    name = "echo"

    def __init__(self, before: Callable[[pl.DataFrame], None] = lambda rows: None) -> None:
        self._before = before

    def new_state(self) -> StateTable:
        return StateTable("echo", {"seen": Column(np.int64)})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        self._before(rows)
        matches = rows["match_id"].to_list()
        slots = state.slots(matches)
        np.add.at(state["seen"], slots, 1)
        state.touch(matches)
        ingested = pl.from_epoch("_ingest_time_ms", time_unit="ms").dt.replace_time_zone("UTC")
        return rows.with_columns(ingested.alias("ingest_time_ms"))


def events(start: int, end: int) -> pl.DataFrame:
    """Events number `start` to `end` of a feed that takes the matches in turn."""
    base = simulate("lol", matches=1, seed=1).events.head(1)
    numbers = pl.Series(range(start, end), dtype=pl.Int64)
    return base[np.zeros(end - start, np.int64)].with_columns(
        match_id=pl.Series([f"m{n % MATCHES}" for n in numbers]), sequence=numbers // MATCHES
    )


def encoded(frame: pl.DataFrame) -> Records:
    values = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events")).encode(frame)
    return Records.of([match.encode() for match in frame["match_id"]], values.to_pylist())


def identities(frame: pl.DataFrame) -> Counter[Event]:
    return Counter(zip(frame["match_id"], frame["sequence"], strict=True))


class Stream(ABC):
    """The topics of one echo pipeline, and a runner over them in a thread."""

    def __init__(self, prefix: str, stage: Echo, transforms: Sequence[Transform] = ()) -> None:
        topic = Topic(f"{prefix}.in", key="match_id", schema="match-events", partitions=3)
        out = Topic(f"{prefix}.out", key="match_id", schema="match-events", partitions=2)
        self.pipeline = Pipeline(prefix, topic, tuple(transforms), (stage,), out)
        self.topics = [topic, topic.dead_letters, out, state_topic(prefix)]
        self.written = 0
        self.failure: BaseException | None = None
        self.source, self.sink = self.new_source(), self.new_sink()
        self.runner: MicroBatchRunner | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def new_source(self) -> Source: ...

    @abstractmethod
    def new_sink(self) -> Sink: ...

    @abstractmethod
    def append(self, records: Records) -> None: ...

    @abstractmethod
    def all_of(self, topic: str) -> list[Records]: ...

    def feed(self, count: int) -> None:
        self.append(encoded(events(self.written, self.written + count)))
        self.written += count

    def begin(self, **config: Any) -> None:
        self.runner = MicroBatchRunner(
            self.pipeline,
            self.source,
            self.sink,
            PackagedRegistry(),
            changelog=lambda: self.all_of(self.topics[3].name),
            config=MicroBatchConfig(**{"limits": ReadLimits(0.02, 50), "max_commit_records": 100, **config}),
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        assert self.runner is not None
        try:
            self.runner.run()
        except BaseException as failure:
            self.failure = failure

    def end(self, timeout_s: float = PATIENCE_S) -> None:
        if self._thread is not None:
            self._thread.join(timeout_s)
            assert not self._thread.is_alive()

    def stop(self) -> None:
        if self.runner is not None:
            self.runner.stop()
        self.end()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.failure is None, self.failure
            assert time.monotonic() < deadline, self.report()
            time.sleep(0.02)

    def report(self) -> dict[str, Any]:
        assert self.runner is not None
        return self.runner.progress.report(time.time_ns() // 1_000_000)

    def answered(self) -> int:
        return int(self.report()["events_total"])

    def check(self, count: int | None = None) -> None:
        """Every event was answered once, those of a match in their order, and the state has seen each once."""
        decoder = Decoder("match-events", PackagedRegistry())
        answers = pl.concat([decoder.decode(records).frame for records in self.all_of(self.topics[2].name)])
        expected = events(0, self.written if count is None else count)
        assert identities(answers) == identities(expected)
        for (match,), mine in answers.group_by(["match_id"], maintain_order=True):
            assert mine["sequence"].is_sorted(), match
        table = self.pipeline.stages[0].new_state()
        state = Decoder(table.schema, {table.schema_id: table.schema})
        rows = pl.concat([state.decode(records).frame for records in self.all_of(self.topics[3].name)])
        table.restore(rows)
        matches = expected["match_id"].unique(maintain_order=True).to_list()
        seen = dict(zip(matches, table["seen"][table.slots(matches)].tolist(), strict=True))
        assert seen == dict(Counter(expected["match_id"].to_list()))


class MemoryStream(Stream):
    """Over the log in memory; the read tasks run in this process (`in_process`)."""

    def __init__(self, stage: Echo) -> None:
        self.log = MemoryLog()
        super().__init__("echo", stage)
        for topic in self.topics:
            self.log.create(topic.name, topic.partitions)

    def new_source(self) -> Source:
        return MemorySource(self.log, "echo.in", "g")

    def new_sink(self) -> Sink:
        return MemorySink(self.log, "echo", "g", "echo.in")

    def append(self, records: Records) -> None:
        self.log.append("echo.in", records)

    def all_of(self, topic: str) -> list[Records]:
        return [self.log.records(topic, partition) for partition in range(self.log.partition_count(topic))]


class KafkaStream(Stream):
    """Over a real broker, read by Ray Data."""

    def __init__(self, kafka: str, prefix: str, stage: Echo, transforms: Sequence[Transform] = ()) -> None:
        self.settings = KafkaSettings(kafka)
        super().__init__(prefix, stage, transforms)
        ensure_topics(self.settings, self.topics)
        self.publisher = Publisher(self.settings, max_block_s=PATIENCE_S)

    def new_source(self) -> Source:
        return KafkaSource(self.settings, f"{self._prefix}.in", self._prefix)

    def new_sink(self) -> Sink:
        return KafkaSink(self.settings, self._prefix, self._prefix, f"{self._prefix}.in")

    @property
    def _prefix(self) -> str:
        return self.pipeline.name

    def append(self, records: Records) -> None:
        self.publisher.send(self.topics[0].name, records.keys.to_pylist(), records.values.to_pylist())
        assert self.publisher.flush(PATIENCE_S)
        assert self.publisher.failed == 0

    def all_of(self, topic: str) -> list[Records]:
        return list(read_all(self.settings, topic).values())

    def close(self) -> None:
        self.publisher.close()
        self.source.close()


def in_process(source: EpochSource, preprocess_block: Preprocess, tasks: int, cpus_per_task: float) -> Iterator[Batch]:
    """In place of `epoch.batches`: the only read task, here instead of in a worker."""
    (task,) = source.get_read_tasks(1)
    for block in task():
        yield unpack(preprocess_block(block))


@pytest.fixture
def stream_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Echo], MemoryStream]]:
    monkeypatch.setattr(micro_batch, "batches", in_process)
    made: list[MemoryStream] = []

    def make(stage: Echo) -> MemoryStream:
        made.append(MemoryStream(stage))
        return made[-1]

    yield make
    for stream in made:
        stream.stop()


MakeStream = Callable[[Echo], MemoryStream]


@pytest.mark.parametrize("step", [1, 3, 5, AFTER_COMMIT])
def test_a_commit_that_is_cut_off_is_tried_again_and_an_outage_is_told_and_waited_out(
    stream_of: MakeStream, step: int
) -> None:
    stream = stream_of(Echo())
    stream.begin()
    stream.feed(200)
    stream.wait_for(lambda: stream.answered() == 200)
    stream.log.fail_at(step)
    stream.feed(200)
    stream.wait_for(lambda: stream.answered() == 400)
    with stream.log.unavailable():
        stream.wait_for(lambda: "the log in memory is away" in str(stream.report()["reason"]))
        assert stream.report()["state"] == "waiting"
    stream.feed(50)
    stream.wait_for(lambda: stream.answered() == 450 and stream.report()["state"] == "running")
    stream.stop()
    assert stream.failure is None
    stream.check()


def test_a_stop_while_the_log_is_away_at_the_start_is_a_clean_end(stream_of: MakeStream) -> None:
    stream = stream_of(Echo())
    with stream.log.unavailable():
        stream.begin()
        stream.wait_for(lambda: stream.report()["state"] == "waiting")
        assert "the log in memory is away" in str(stream.report()["reason"])
        stream.stop()
    assert stream.failure is None


def test_a_log_that_is_away_at_the_start_is_waited_for(stream_of: MakeStream) -> None:
    stream = stream_of(Echo())
    stream.feed(30)
    with stream.log.unavailable():
        stream.begin()
        stream.wait_for(lambda: stream.report()["state"] == "waiting")
    stream.wait_for(lambda: stream.answered() == 30)
    stream.stop()
    assert stream.failure is None
    stream.check()


def test_one_that_was_fenced_ends_also_while_its_model_is_away(stream_of: MakeStream) -> None:
    waiting, calls = threading.Event(), 0

    def away_from_the_second_call(rows: pl.DataFrame) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            waiting.set()
            raise DependencyUnavailable("the model is away")

    stream = stream_of(Echo(away_from_the_second_call))
    commit = stream.sink.commit

    def fenced(**batch: Any) -> None:
        assert waiting.wait(PATIENCE_S)  # its driver thread waits for the model
        MemorySink(stream.log, "echo", "g", "echo.in").open()  # the heir
        commit(**batch)

    stream.sink.commit = fenced  # type: ignore[method-assign]
    stream.feed(20)
    stream.begin(max_commit_records=1, limits=ReadLimits(0.0, 1))
    stream.end(timeout_s=30.0)
    assert isinstance(stream.failure, Fenced)


def test_a_model_that_is_away_is_waited_for_and_a_stop_meanwhile_is_clean(stream_of: MakeStream) -> None:
    away = threading.Event()

    def perhaps(rows: pl.DataFrame) -> None:
        if away.is_set():
            raise DependencyUnavailable("the model is away")

    stream = stream_of(Echo(perhaps))
    stream.begin()
    stream.feed(40)
    stream.wait_for(lambda: stream.answered() == 40)
    away.set()
    stream.feed(40)
    stream.wait_for(lambda: stream.report()["reason"] == "the model is away")
    away.clear()
    stream.wait_for(lambda: stream.answered() == 80)
    away.set()
    stream.feed(40)
    stream.wait_for(lambda: stream.report()["reason"] == "the model is away")
    stream.stop()
    assert stream.failure is None
    stream.check(80)  # what was not answered is read again at the next start
    away.clear()
    again = stream
    again.source, again.sink = again.new_source(), again.new_sink()
    again.begin()
    again.wait_for(lambda: again.answered() == 40)
    again.stop()
    again.check()


def test_an_epoch_that_breaks_ends_the_run_after_all_that_came_before_it_is_answered(
    stream_of: MakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of(Echo())

    def break_at_the_end(*arguments: Any) -> Iterator[Batch]:
        records = 0
        for batch in in_process(*arguments):
            yield batch
            records += batch.records
            if records == 120:
                raise LogCorrupt("echo.in", 0, 40, 50, "it fails its checksum")

    monkeypatch.setattr(micro_batch, "batches", break_at_the_end)
    stream.feed(120)
    stream.begin()
    stream.end()
    assert isinstance(stream.failure, LogCorrupt)
    stream.check()


def test_no_more_is_read_than_may_be_unanswered_while_the_model_is_slow(
    stream_of: MakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    read: list[int] = []

    def counted(*arguments: Any) -> Iterator[Batch]:
        for batch in in_process(*arguments):
            read.append(batch.records)
            yield batch

    monkeypatch.setattr(micro_batch, "batches", counted)

    def slow(rows: pl.DataFrame) -> None:
        gate.wait(PATIENCE_S)

    stream = stream_of(Echo(slow))
    stream.feed(3_000)
    stream.begin(max_unanswered_records=300)
    stream.wait_for(lambda: sum(read) >= 300)
    time.sleep(0.5)
    assert 300 <= sum(read) < 350  # passed by less than a batch
    gate.set()
    stream.wait_for(lambda: stream.answered() == 3_000)
    stream.stop()
    assert stream.failure is None
    stream.check()


def test_records_that_are_too_old_are_passed_over_and_counted_where_a_pipeline_allows_that(
    stream_of: MakeStream,
) -> None:
    stream = stream_of(Echo())
    sheddable = dataclasses.replace(stream.pipeline.source, sheddable=True)
    stream.pipeline = dataclasses.replace(stream.pipeline, source=sheddable, shedding=NewestFirst(max_age_s=600.0))
    late = encoded(events(1_000, 1_400))
    hour_ago = np.full(400, time.time_ns() // 1_000_000 - 3_600_000)
    stream.append(dataclasses.replace(late, timestamps_ms=hour_ago))
    stream.feed(100)
    stream.begin(max_unanswered_records=150)  # what is shed leaves its room, too
    stream.wait_for(lambda: stream.answered() == 500)
    stream.stop()
    assert stream.failure is None
    report = stream.report()
    assert (report["shed_total"], report["answers_total"], report["lag_records"]) == (400, 100, 0)
    stream.check()


def test_the_changelog_and_the_offsets_carry_a_restart(stream_of: MakeStream) -> None:
    stream = stream_of(Echo())
    for n in range(3):
        stream.feed(77)
        stream.source, stream.sink = stream.new_source(), stream.new_sink()
        stream.begin()
        stream.wait_for(lambda: stream.answered() == 77)
        stream.stop()
        assert stream.failure is None, n
    stream.check()


@pytest.mark.kafka
def test_a_read_worker_killed_in_mid_epoch_and_epochs_turning_over_under_load_lose_and_double_nothing(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note_process(frame: pl.DataFrame) -> pl.DataFrame:
        (tmp_path / str(os.getpid())).touch()
        return frame

    def workers() -> set[int]:
        return {int(path.name) for path in tmp_path.iterdir()}

    begun: list[int] = []

    def spied(source: EpochSource, *arguments: Any) -> Iterator[Batch]:
        begun.append(len(begun))
        return batches(source, *arguments)

    monkeypatch.setattr(micro_batch, "batches", spied)
    stream = KafkaStream(kafka, topic_prefix, Echo(), [note_process])
    try:
        stream.begin(epoch_s=300.0)
        stream.feed(500)
        stream.wait_for(lambda: stream.answered() >= 200)
        (worker,) = workers()
        stream.feed(2_000)
        os.kill(worker, signal.SIGKILL)
        stream.feed(500)
        stream.wait_for(lambda: stream.answered() == 3_000)
        assert workers() > {worker}  # the task ran again, elsewhere
        assert begun == [0]
        stream.stop()
        assert stream.failure is None
        stream.check()

        stream.source.close()
        stream.source, stream.sink = stream.new_source(), stream.new_sink()
        stream.begin(epoch_s=1.0, read_tasks=2)
        while len(begun) < 5:
            stream.feed(60)
            stream.wait_for(lambda: stream.answered() >= stream.written - 3_500)
        stream.wait_for(lambda: stream.answered() == stream.written - 3_000)
        stream.stop()
        assert stream.failure is None
        stream.check()
    finally:
        stream.stop()
        stream.close()
