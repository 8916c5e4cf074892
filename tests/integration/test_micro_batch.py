"""The default runner over the log in memory, with Ray's planner: what it does when things break. Whatever happens,
every event is answered once, and the state has seen it once. On Kafka and read by Ray Data: tests/chaos."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from streaming.counting import CountingStage
from streaming.pipeline import DependencyUnavailable, NewestFirst
from streaming.runners import micro_batch as micro_batch_runner
from streaming.runners.batch import Batch, unpack
from streaming.runners.epoch import EpochSource, Preprocess, ReadLimits
from streaming.runners.micro_batch import MicroBatchRunner
from streaming.testing import AFTER_COMMIT
from streaming.transport import Fenced, LogCorrupt
from tests.counting import InMemory, Run, Stream, encoded, events, micro_batch, wall_ms
from tests.waiting import PATIENCE_S

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("own_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
]

Before = Callable[[pl.DataFrame], None]
MakeStream = Callable[..., "Running"]


class Running(Stream):
    """A stream in memory, and its runner in a thread; the read tasks run in this process (`in_process`)."""

    def __init__(self, before: Before) -> None:
        self.memory = InMemory()
        super().__init__(self.memory, "echo", CountingStage(before), partitions=3)
        self.run: Run | None = None

    def begin(self, **config: Any) -> Run:
        return self.start(micro_batch(self, **config))

    def start(self, runner: MicroBatchRunner) -> Run:
        self.run = Run(runner)
        return self.run

    def wait_for_answers(self, count: int) -> None:
        """So many by the run of now."""
        assert self.run is not None
        self.run.wait_for(lambda: self.run is not None and self.run.answered() == count)

    def stop(self) -> None:
        """End without failure."""
        assert self.run is not None
        self.run.stop()
        assert self.run.failure is None


def in_process(source: EpochSource, preprocess_block: Preprocess, tasks: int, cpus_per_task: float) -> Iterator[Batch]:
    """In place of `epoch.batches`: the only read task, here instead of in a worker."""
    (task,) = source.get_read_tasks(1)
    for block in task():
        yield unpack(preprocess_block(block))


@pytest.fixture
def stream_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeStream]:
    monkeypatch.setattr(micro_batch_runner, "batches", in_process)
    made: list[Running] = []

    def make(before: Before = lambda rows: None) -> Running:
        made.append(Running(before))
        return made[-1]

    yield make
    for stream in made:
        if stream.run is not None:
            stream.run.stop()


@pytest.mark.parametrize("step", [1, 3, 5, AFTER_COMMIT])
def test_a_commit_that_is_cut_off_is_tried_again_and_an_outage_is_told_and_waited_out(
    stream_of: MakeStream, step: int
) -> None:
    stream = stream_of()
    run = stream.begin()
    stream.feed(200)
    stream.wait_for_answers(200)
    stream.memory.log.fail_at(step)
    stream.feed(200)
    stream.wait_for_answers(400)
    with stream.memory.log.unavailable():
        run.wait_for(lambda: "the log in memory is away" in str(run.report()["reason"]))
        assert run.report()["state"] == "waiting"
    stream.feed(50)
    run.wait_for(lambda: run.answered() == 450 and run.report()["state"] == "running")
    stream.stop()
    stream.check()


def test_a_stop_while_the_log_is_away_at_the_start_is_a_clean_end(stream_of: MakeStream) -> None:
    stream = stream_of()
    with stream.memory.log.unavailable():
        run = stream.begin()
        run.wait_for(lambda: run.report()["state"] == "waiting")
        assert "the log in memory is away" in str(run.report()["reason"])
        stream.stop()


def test_a_log_that_is_away_at_the_start_is_waited_for(stream_of: MakeStream) -> None:
    stream = stream_of()
    stream.feed(30)
    with stream.memory.log.unavailable():
        run = stream.begin()
        run.wait_for(lambda: run.report()["state"] == "waiting")
    stream.wait_for_answers(30)
    stream.stop()
    stream.check()


def test_one_that_was_fenced_ends_also_while_its_model_is_away(stream_of: MakeStream) -> None:
    waiting, calls = threading.Event(), 0

    def away_from_the_second_call(rows: pl.DataFrame) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            waiting.set()
            raise DependencyUnavailable("the model is away")

    stream = stream_of(away_from_the_second_call)
    sink = stream.memory.sink("echo", "echo", "echo.in")
    commit = sink.commit

    def fenced(**batch: Any) -> None:
        assert waiting.wait(PATIENCE_S)  # its driver thread waits for the model
        stream.sink().open()  # the heir
        commit(**batch)

    sink.commit = fenced  # type: ignore[method-assign]
    stream.memory.sink = lambda *names: sink  # type: ignore[method-assign]
    stream.feed(20)
    runner = micro_batch(stream, max_commit_records=1, limits=ReadLimits(0.0, 1))
    del stream.memory.sink  # the heir has its own
    run = stream.start(runner)
    run.join(PATIENCE_S)
    assert isinstance(run.failure, Fenced)


def test_a_model_that_is_away_is_waited_for_and_a_stop_meanwhile_is_clean(stream_of: MakeStream) -> None:
    away = threading.Event()

    def perhaps(rows: pl.DataFrame) -> None:
        if away.is_set():
            raise DependencyUnavailable("the model is away")

    stream = stream_of(perhaps)
    run = stream.begin()
    stream.feed(40)
    stream.wait_for_answers(40)
    away.set()
    stream.feed(40)
    run.wait_for(lambda: run.report()["reason"] == "the model is away")
    away.clear()
    stream.wait_for_answers(80)
    away.set()
    stream.feed(40)
    run.wait_for(lambda: run.report()["reason"] == "the model is away")
    stream.stop()
    assert stream.answered() == 80  # what was not answered is read again at the next start
    stream.check(whole=False)
    away.clear()
    stream.begin()
    stream.wait_for_answers(40)
    stream.stop()
    stream.check()


def test_an_epoch_that_breaks_ends_the_run_after_all_that_came_before_it_is_answered(
    stream_of: MakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of()

    def break_at_the_end(*arguments: Any) -> Iterator[Batch]:
        records = 0
        for batch in in_process(*arguments):
            yield batch
            records += batch.records
            if records == 120:
                raise LogCorrupt("echo.in", 0, 40, 50, "it fails its checksum")

    monkeypatch.setattr(micro_batch_runner, "batches", break_at_the_end)
    stream.feed(120)
    run = stream.begin()
    run.join()
    assert isinstance(run.failure, LogCorrupt)
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

    monkeypatch.setattr(micro_batch_runner, "batches", counted)

    def slow(rows: pl.DataFrame) -> None:
        gate.wait(PATIENCE_S)

    stream = stream_of(slow)
    stream.feed(3_000)
    run = stream.begin(max_unanswered_records=300)
    run.wait_for(lambda: sum(read) >= 300)
    time.sleep(0.5)
    assert 300 <= sum(read) < 350  # passed by less than a batch
    gate.set()
    stream.wait_for_answers(3_000)
    stream.stop()
    stream.check()


def test_records_that_are_too_old_are_passed_over_and_counted_where_a_pipeline_allows_that(
    stream_of: MakeStream,
) -> None:
    stream = stream_of()
    sheddable = replace(stream.pipeline.source, sheddable=True)
    stream.pipeline = replace(stream.pipeline, source=sheddable, shedding=NewestFirst(max_age_s=600.0))
    hour_ago = np.full(400, wall_ms() - 3_600_000)
    stream.log.append(sheddable.name, replace(encoded(events(1_000, 1_400)), timestamps_ms=hour_ago))
    stream.feed(100)
    run = stream.begin(max_unanswered_records=150)  # what is shed leaves its room, too
    stream.wait_for_answers(500)
    stream.stop()
    report = run.report()
    assert (report["shed_total"], report["answers_total"], report["lag_records"]) == (400, 100, 0)
    assert stream.answered() == 100


def test_the_changelog_and_the_offsets_carry_a_restart(stream_of: MakeStream) -> None:
    stream = stream_of()
    for _ in range(3):
        stream.feed(77)
        stream.begin()
        stream.wait_for_answers(77)
        stream.stop()
    stream.check()
