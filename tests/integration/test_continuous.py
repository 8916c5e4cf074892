"""The continuous runner on real Ray and Kafka: workers are killed, come and go. Every event is answered once, in key
order, and the state has seen it once; and all three runners give the same answers, byte for byte."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pytest
import ray

from jobs.ray_session import ray_session
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.progress import Progress
from streaming.runners.worker import Worker
from streaming.simulators.match import simulate
from streaming.state import Column, StateTable
from streaming.topics import Topic, state_topic
from streaming.transport import Fenced

pytestmark = [pytest.mark.ray, pytest.mark.kafka, pytest.mark.timeout(240)]

PATIENCE_S = 90.0
MATCHES = 11


@pytest.fixture(scope="module", autouse=True)
def own_ray() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes that it ends
        with ray_session(None, logical_cpus=4, object_store_mb=100):
            yield
        gc.collect()


class Count:
    """Answers every event with itself, numbered within its match: a lost or doubled state would show."""

    name = "count"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {"seen": Column(np.int64)}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        matches = rows["match_id"].to_list()
        slots = state.slots(matches, rows["_partition"].to_list())
        numbers = np.empty(len(slots))
        for row, slot in enumerate(slots):
            state["seen"][slot] += 1
            numbers[row] = state["seen"][slot]
        state.touch(matches)
        ingested = pl.from_epoch("_ingest_time_ms", time_unit="ms").dt.replace_time_zone("UTC")
        return rows.with_columns(ingested.alias("ingest_time_ms"), clock_s=pl.Series(numbers))


class Stream:
    """The topics of one counting pipeline, a feed, and a runner in a thread."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.settings, self.prefix = KafkaSettings(kafka), prefix
        self.topic = Topic(f"{prefix}.in", key="match_id", schema="match-events", partitions=4)
        self.out = Topic(f"{prefix}.out", key="match_id", schema="match-events", partitions=2)
        ensure_topics(self.settings, [self.topic, self.topic.dead_letters, self.out, state_topic(prefix)])
        self.publisher = Publisher(self.settings)
        self.written = 0
        self.failure: BaseException | None = None
        self.runner: ContinuousRunner | None = None
        self._thread: threading.Thread | None = None
        self._base = simulate("lol", matches=1, seed=1).events.head(1)

    def pipeline(self) -> Pipeline:
        return Pipeline(self.prefix, self.topic, (), (Count(),), self.out)

    def make(self) -> Callable[[int, Progress], Worker]:
        settings, prefix, pipeline = self.settings, self.prefix, self.pipeline()

        def worker(number: int, progress: Progress) -> Worker:
            return Worker(
                pipeline,
                KafkaSource(settings, pipeline.source.name, prefix),
                KafkaSink(settings, f"{prefix}.{number}", prefix, pipeline.source.name, producers=2),
                PackagedRegistry(),
                changelog=lambda owners: read_changelog(settings, prefix, owners),
                progress=progress,
            )

        return worker

    def begin(self, workers: int) -> ContinuousRunner:
        self.runner = ContinuousRunner(self.make(), workers)
        self._thread = threading.Thread(target=self._run, args=(self.runner,))
        self._thread.start()
        return self.runner

    def _run(self, runner: ContinuousRunner) -> None:
        try:
            runner.run()
        except BaseException as failure:
            self.failure = failure

    def end(self) -> None:
        if self.runner is not None and self._thread is not None:
            self.runner.stop()
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive()

    def close(self) -> None:
        self.end()
        self.publisher.close()

    def feed(self, count: int) -> None:
        numbers = pl.Series(range(self.written, self.written + count), dtype=pl.Int64)
        frame = self._base[np.zeros(count, np.int64)].with_columns(
            match_id=pl.Series([f"m{n % MATCHES}" for n in numbers]), sequence=numbers // MATCHES
        )
        encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
        keys = [match.encode() for match in frame["match_id"]]
        self.publisher.send(self.topic.name, keys, encoder.encode(frame).to_pylist())
        assert self.publisher.flush(PATIENCE_S)
        self.written += count

    def answers(self) -> pl.DataFrame:
        decoder = Decoder("match-events", PackagedRegistry())
        return pl.concat([decoder.decode(records).frame for records in read_all(self.settings, self.out.name).values()])

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.failure is None, self.failure
            assert time.monotonic() < deadline, (self.runner and self.runner.owned, self.answers().height, self.written)
            time.sleep(0.1)

    def wait_until_answered(self) -> None:
        self.wait_for(lambda: self.answers().height >= self.written)

    def check(self) -> None:
        """Every event was answered once, in key order, by a state that has seen each once."""
        answers = self.answers()
        assert Counter(answers["match_id"]) == Counter(f"m{n % MATCHES}" for n in range(self.written))
        for (match,), mine in answers.group_by("match_id", maintain_order=True):
            assert mine["sequence"].to_list() == list(range(mine.height)), match
            assert mine["clock_s"].to_list() == [float(n + 1) for n in range(mine.height)], match


@pytest.fixture
def stream(kafka: str, topic_prefix: str) -> Iterator[Stream]:
    made = Stream(kafka, topic_prefix)
    yield made
    made.close()


def test_workers_killed_and_scaled_under_load_answer_every_event_once(stream: Stream) -> None:
    runner = stream.begin(workers=2)
    stream.feed(500)
    stream.wait_for(lambda: sorted(len(owned) for owned in runner.owned.values()) == [2, 2])
    killed = runner.actors[0]
    ray.kill(killed)
    stream.feed(500)
    stream.wait_for(lambda: runner.actors.get(0, killed) is not killed)
    stream.wait_until_answered()
    runner.scale(3)
    stream.feed(500)
    stream.wait_for(lambda: sorted(len(owned) for owned in runner.owned.values()) == [1, 1, 2])
    runner.scale(1)
    stream.feed(500)
    stream.wait_for(lambda: [len(owned) for owned in runner.owned.values()] == [4])
    stream.wait_until_answered()
    stream.end()
    stream.check()


def test_the_only_worker_dies_again_and_again(stream: Stream) -> None:
    runner = stream.begin(workers=1)
    for _ in range(3):
        stream.feed(100)
        stream.wait_until_answered()
        killed = runner.actors[0]
        ray.kill(killed)
        stream.wait_for(lambda killed=killed: runner.actors.get(0, killed) is not killed)  # type: ignore[misc]
    stream.feed(100)
    stream.wait_until_answered()
    stream.end()
    stream.check()


def test_a_second_runner_started_by_mistake_takes_over_and_the_first_says_so(stream: Stream) -> None:
    stream.begin(workers=1)
    stream.feed(200)
    stream.wait_until_answered()
    first, first_thread = stream.runner, stream._thread  # noqa: SLF001 - of this file
    stream.begin(workers=1)
    stream.feed(200)
    deadline = time.monotonic() + PATIENCE_S
    while stream.failure is None:
        assert time.monotonic() < deadline
        stream.feed(11)
        time.sleep(0.2)
    assert isinstance(stream.failure, Fenced)
    assert first is not None
    assert first_thread is not None
    first_thread.join(PATIENCE_S)
    stream.failure = None
    stream.wait_until_answered()
    stream.end()
    stream.check()
