"""Workers of the continuous runner on the log in memory: they come, go, are taken for dead and lose the log, in any
order. Whatever happens, every event is answered once, in key order, and the state has seen it once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from streaming.counting import CountingStage
from streaming.pipeline import NewestFirst
from streaming.runners.worker import Worker, WorkerConfig
from streaming.testing import AFTER_COMMIT, MemorySink
from streaming.topics import MATCH_EVENTS
from streaming.transport import Fenced
from tests.counting import InMemory, JoinedSource, Stream, encoded, events
from tests.waiting import PATIENCE_S


class World(Stream):
    """The counting pipeline, and its workers."""

    def __init__(self, partitions: int = 4, *, is_shared: bool = False) -> None:
        self.memory, self._is_shared = InMemory(), is_shared
        super().__init__(self.memory, "count", CountingStage(is_shared=is_shared), partitions=partitions)
        self._sources: dict[Worker, JoinedSource] = {}

    def worker(self, name: str, before: Callable[[], None] = lambda: None, overlap_records: int = 3) -> Worker:
        topic = self.pipeline.source.name
        source = JoinedSource(self.memory.log, topic, self.prefix)
        worker = Worker(
            replace(self.pipeline, stages=(CountingStage(lambda rows: before(), is_shared=self._is_shared),)),
            source,
            self.sink(name),
            self.registry,
            changelog=lambda owners: self.log.changelog(self.prefix, owners),
            config=WorkerConfig(max_commit_records=5, idle_poll_s=0.0, overlap_records=overlap_records),
        )
        self._sources[worker] = source
        return worker

    def take_for_dead(self, worker: Worker) -> None:
        """The group does, if it is a member."""
        if (member := self._sources[worker].member) is not None:
            self.memory.log.evict(member)

    def finish(self, workers: list[Worker]) -> None:
        """Let the workers go on until all is answered."""
        for _ in range(50 + self.written):
            if self.answered() == self.written:
                break
            for worker in workers:
                worker.step()
        self.check()


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_state_that_is_shared_comes_back_whole_whatever_the_number_of_partitions(partitions: int) -> None:
    world = World(partitions, is_shared=True)
    for number in range(3):
        world.feed(20)
        worker = world.worker("a")
        for _ in range(2 if number < 2 else 60):
            worker.step()
        worker.leave()
    assert world.answered() == world.written
    world.check()


def test_one_worker_answers_all_and_its_successor_goes_on_from_the_changelog() -> None:
    world = World()
    world.feed(40)
    first = world.worker("a")
    for _ in range(5):
        first.step()
    assert first.owned == {0, 1, 2, 3}
    assert 0 < world.answers().height < 40
    world.take_for_dead(first)
    second = world.worker("a")
    world.finish([second])
    with pytest.raises(Fenced):  # it was alive, and has a successor of its name
        for _ in range(5):
            first.step()
            world.feed(7)
            second.step()


def test_records_that_are_too_old_are_passed_over_and_counted_where_a_pipeline_allows_that() -> None:
    now_ms, fresh = 1_700_000_000_000, [3, 4, 9]
    world = World()
    topic = replace(world.pipeline.source, sheddable=True)
    frame = events(0, 10).with_columns(match_id=pl.lit("m0"), sequence=pl.int_range(10))
    # Older than a second by a millisecond, or not older.
    times_ms = np.asarray([now_ms - (1_000 if number in fresh else 1_001) for number in range(10)])
    world.log.append(topic.name, replace(encoded(frame), timestamps_ms=times_ms))
    worker = Worker(
        replace(world.pipeline, source=topic, shedding=NewestFirst(max_age_s=1.0)),
        world.source(),
        world.sink(),
        world.registry,
        changelog=lambda owners: world.log.changelog(world.prefix, owners),
        clock=lambda: now_ms,
    )
    for _ in range(3):
        worker.step()
    assert world.answers()["sequence"].to_list() == fresh
    report = worker.progress.report(now_ms)
    assert (report["events_total"], report["answers_total"], report["shed_total"]) == (10, 3, 7)
    assert sum(world.source().committed().values()) == 10, "none is read again"


def test_no_event_of_a_match_may_be_shed() -> None:
    pipeline = World().pipeline
    with pytest.raises(ValueError, match=r"pipeline count: every record of match\.events must be answered"):
        replace(pipeline, source=MATCH_EVENTS, shedding=NewestFirst(max_age_s=1.0))
    with pytest.raises(ValueError, match="not 0 s"):
        NewestFirst(max_age_s=0)


def test_partitions_are_shared_out_and_come_back() -> None:
    world = World()
    world.feed(20)
    first, second = world.worker("a"), world.worker("b")
    first.step()
    for _ in range(6):
        first.step()
        second.step()
    assert (len(first.owned), len(second.owned)) == (2, 2)
    assert first.owned | second.owned == {0, 1, 2, 3}
    second.leave()
    world.feed(30)
    world.finish([first])
    assert first.owned == {0, 1, 2, 3}


def test_a_small_commit_is_waited_for() -> None:
    world = World()
    worker = world.worker("a", overlap_records=6)
    world.feed(5)
    for turn in range(1, 4):
        worker.step()  # the first joins
        assert world.answered() == sum(world.source().committed().values())
        assert world.answered() > 0 or turn == 1


def test_the_next_records_are_answered_while_a_large_commit_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    world, may_commit, turns = World(), threading.Event(), 0
    commit = MemorySink.commit

    def held(*arguments: Any, **options: Any) -> None:
        assert may_commit.wait(PATIENCE_S)
        commit(*arguments, **options)

    def count() -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            assert world.answered() == 0, "the first commit is under way"
            may_commit.set()

    monkeypatch.setattr(MemorySink, "commit", held)
    worker = world.worker("a", before=count, overlap_records=1)
    world.feed(20)
    world.finish([worker])
    assert turns >= 2


def test_a_worker_taken_for_dead_while_it_works_commits_nothing_of_it() -> None:
    world = World()
    heir = world.worker("b")

    def fall_asleep() -> None:
        if heir.owned:
            return
        world.take_for_dead(zombie)
        heir.step()
        heir.step()
        assert heir.owned == {0, 1, 2, 3}

    zombie = world.worker("a", before=fall_asleep, overlap_records=0)
    world.feed(30)
    assert zombie.step(), "joins"
    zombie.step()  # answers; the commit is under way
    assert not zombie.step(), "what it answered is another's by now"
    assert not zombie.owned
    world.check(whole=False)
    world.finish([heir, zombie])


class AnyHistory(RuleBasedStateMachine):
    """Workers, deaths, outages and cut connections in any order."""

    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.started = 0
        self.alive: list[Worker] = []

    @rule(target=workers, overlap_records=st.sampled_from([0, 3, 10]))
    def start(self, overlap_records: int) -> Worker:
        self.started += 1
        worker = self.world.worker(f"w{self.started}", overlap_records=overlap_records)
        self.alive.append(worker)
        return worker

    @rule(count=st.integers(1, 25))
    def feed(self, count: int) -> None:
        self.world.feed(count)

    @rule(worker=workers, steps=st.integers(1, 4))
    def go_on(self, worker: Worker, steps: int) -> None:
        for _ in range(steps):
            worker.step()

    @rule(worker=consumes(workers))
    def leave(self, worker: Worker) -> None:
        worker.leave()
        self.alive.remove(worker)

    @rule(worker=consumes(workers))
    def die(self, worker: Worker) -> None:
        """Nobody hears of it until its session is over."""
        self.alive.remove(worker)
        self.world.take_for_dead(worker)

    @rule(worker=workers)
    def be_taken_for_dead(self, worker: Worker) -> None:
        self.world.take_for_dead(worker)

    @rule(worker=workers, step=st.integers(1, AFTER_COMMIT))
    def lose_the_log_in_a_commit(self, worker: Worker, step: int) -> None:
        self.world.memory.log.fail_at(step)
        worker.step()

    @rule(worker=workers)
    def lose_the_log(self, worker: Worker) -> None:
        with self.world.memory.log.unavailable():
            assert not worker.step()

    def teardown(self) -> None:
        """Whatever was: all is answered, once."""
        last = self.world.worker("last")
        self.world.finish([*self.alive, last])


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
