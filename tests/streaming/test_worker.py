"""Workers of the continuous runner on the log in memory: they come, go, are taken for dead and lose the log, in any
order. Whatever happens, every event is answered once, in key order, and the state has seen it once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.pipeline import NewestFirst, Pipeline
from streaming.records import Records
from streaming.runners.worker import Worker, WorkerConfig
from streaming.simulators.match import simulate
from streaming.state import Column, StateTable
from streaming.testing import AFTER_COMMIT, MemoryLog, MemoryMember, MemorySink, MemorySource
from streaming.topics import MATCH_EVENTS, Topic, state_topic
from streaming.transport import Fenced

MATCHES, PARTITIONS = 7, 4
IN = Topic("in", key="match_id", schema="match-events", partitions=PARTITIONS)
OUT = Topic("out", key="match_id", schema="match-events", partitions=3)


class Count:
    """Answers every event with itself, numbered within its match: a lost or doubled state would show."""

    name = "count"

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before

    def new_state(self) -> StateTable:
        return StateTable(self.name, {"seen": Column(np.int64)}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        self._before()
        matches = rows["match_id"].to_list()
        slots = state.slots(matches, rows["_partition"].to_numpy())
        clock_s = np.empty(len(slots))
        for row, slot in enumerate(slots):
            state["seen"][slot] += 1
            clock_s[row] = state["seen"][slot]
        state.touch(matches)
        ingested = pl.from_epoch("_ingest_time_ms", time_unit="ms").dt.replace_time_zone("UTC")
        return rows.with_columns(ingested.alias("ingest_time_ms"), clock_s=pl.Series(clock_s))


STATE = state_topic("count").name
BASE = simulate("lol", matches=1, seed=1).events.head(1)


class Source(MemorySource):
    """Remembers the newest member that it made."""

    member: MemoryMember | None = None

    def join(self) -> MemoryMember:
        self.member = super().join()
        return self.member


class World:
    """The topics, and what was written to them."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        for topic in (IN, IN.dead_letters, OUT):
            self.log.create(topic.name, topic.partitions)
        self.log.create(STATE, PARTITIONS)
        self.written = 0
        self._sources: dict[Worker, Source] = {}

    def feed(self, count: int) -> None:
        numbers = pl.Series(range(self.written, self.written + count), dtype=pl.Int64)
        frame = BASE[np.zeros(count, np.int64)].with_columns(
            match_id=pl.Series([f"m{n % MATCHES}" for n in numbers]), sequence=numbers // MATCHES
        )
        encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
        keys = [match.encode() for match in frame["match_id"]]
        self.log.append(IN.name, Records.of(keys, encoder.encode(frame).to_pylist()))
        self.written += count

    def worker(self, name: str, before: Callable[[], None] = lambda: None) -> Worker:
        source = Source(self.log, IN.name, "group")
        worker = Worker(
            Pipeline("count", IN, (), (Count(before),), OUT),
            source,
            MemorySink(self.log, name, "group", IN.name),
            PackagedRegistry(),
            changelog=lambda partition: [self.log.records(STATE, partition)],
            config=WorkerConfig(max_commit_records=5, idle_poll_s=0.0),
        )
        self._sources[worker] = source
        return worker

    def answered(self) -> int:
        return sum(len(self.log.records(OUT.name, p)) for p in range(OUT.partitions))

    def answers(self) -> pl.DataFrame:
        decoder = Decoder("match-events", PackagedRegistry())
        parts = [decoder.decode(self.log.records(OUT.name, p)).frame for p in range(OUT.partitions)]
        return pl.concat(parts)

    def check(self) -> None:
        """What is answered is a start of every match's events, once each, in order, by a state that saw each once."""
        for (match,), mine in self.answers().group_by("match_id", maintain_order=True):
            n = mine.height
            assert mine["sequence"].to_list() == list(range(n)), match
            assert mine["clock_s"].to_list() == [float(number + 1) for number in range(n)], match

    def take_for_dead(self, worker: Worker) -> None:
        """The group does, if it is a member."""
        if (member := self._sources[worker].member) is not None:
            self.log.evict(member)

    def finish(self, workers: list[Worker]) -> None:
        """Let the workers go on until all is answered."""
        for _ in range(50 + self.written):
            if self.answered() == self.written:
                break
            for worker in workers:
                worker.step()
        self.check()
        assert Counter(self.answers()["match_id"]) == Counter(f"m{n % MATCHES}" for n in range(self.written))


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
    topic = dataclasses.replace(IN, sheddable=True)
    frame = BASE[np.zeros(10, np.int64)].with_columns(match_id=pl.lit("m0"), sequence=pl.int_range(10))
    values = Encoder(load_schema("match-events"), 1).encode(frame).to_pylist()
    # Older than a second by a millisecond, or not older.
    times_ms = [now_ms - (1_000 if number in fresh else 1_001) for number in range(10)]
    world.log.append(IN.name, Records.of([b"m0"] * 10, values, timestamps_ms=times_ms))
    worker = Worker(
        Pipeline("count", topic, (), (Count(),), OUT, shedding=NewestFirst(max_age_s=1.0)),
        MemorySource(world.log, IN.name, "group"),
        MemorySink(world.log, "a", "group", IN.name),
        PackagedRegistry(),
        changelog=lambda partition: [world.log.records(STATE, partition)],
        clock=lambda: now_ms,
    )
    for _ in range(3):
        worker.step()
    assert world.answers()["sequence"].to_list() == fresh
    report = worker.progress.report(now_ms)
    assert (report["events_total"], report["answers_total"], report["shed_total"]) == (10, 3, 7)
    assert sum(MemorySource(world.log, IN.name, "group").committed().values()) == 10, "none is read again"


def test_no_event_of_a_match_may_be_shed() -> None:
    with pytest.raises(ValueError, match=r"pipeline count: every record of match\.events must be answered"):
        Pipeline("count", MATCH_EVENTS, (), (Count(),), OUT, shedding=NewestFirst(max_age_s=1.0))
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

    zombie = world.worker("a", before=fall_asleep)
    world.feed(30)
    assert zombie.step(), "joins"
    assert not zombie.step(), "what it answered is another's by now"
    assert not zombie.owned
    world.check()
    world.finish([heir, zombie])


class AnyHistory(RuleBasedStateMachine):
    """Workers, deaths, outages and cut connections in any order."""

    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.started = 0
        self.alive: list[Worker] = []

    @rule(target=workers)
    def start(self) -> Worker:
        self.started += 1
        worker = self.world.worker(f"w{self.started}")
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
        self.world.log.fail_at(step)
        worker.step()

    @rule(worker=workers)
    def lose_the_log(self, worker: Worker) -> None:
        with self.world.log.unavailable():
            assert not worker.step()

    def teardown(self) -> None:
        """Whatever was: all is answered, once."""
        last = self.world.worker("last")
        self.world.finish([*self.alive, last])


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
