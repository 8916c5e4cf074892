"""Ticks of a worker on the log in memory: which partitions have them, and what crashes make of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.runners.worker import Worker, WorkerConfig
from streaming.testing import AFTER_COMMIT, ManualClock, MemoryMember, MemorySource
from tests.counting import InMemory
from tests.waiting import PATIENCE_S
from tests.windowed import START_MS, Row, WindowedStream, records_of


class Source(MemorySource):
    """Knows its newest member, and whether it was asked where the log ends."""

    member: MemoryMember | None = None
    answered: threading.Event

    def join(self) -> MemoryMember:
        self.member = super().join()
        return self.member

    def end_offsets(self) -> dict[int, int]:
        found = super().end_offsets()
        self.answered.set()
        return found


class World(WindowedStream):
    """The windows of one stream, and one worker at a time, by a clock that is set by hand."""

    def __init__(self, partitions: int = 2, max_commit_records: int = 5) -> None:
        self.memory, self.clock = InMemory(), ManualClock(START_MS)
        self._config = WorkerConfig(max_commit_records=max_commit_records, idle_poll_s=0.0)
        super().__init__(self.memory, "windowed", partitions)
        self.begin()

    def begin(self) -> None:
        """Another worker, from what is committed."""
        self.reads = Source(self.memory.log, self.pipeline.source.name, self.prefix)
        self.reads.answered = threading.Event()
        self.worker = Worker(
            self.pipeline,
            self.reads,
            self.sink(),
            self.registry,
            changelog=lambda owners: self.log.changelog(self.prefix, owners),
            config=self._config,
            clock=self.clock.now_ms,
        )

    def put(self, partition: int, *rows: Row) -> None:
        """On this partition."""
        self.memory.log.append(self.pipeline.source.name, records_of(rows), partition)
        self.written += len(rows)

    def go_on_until(self, condition: Callable[[], bool], advance_ms: int = 0) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.windows()
            self.worker.step()
            self.clock.advance(advance_ms)

    def committed(self) -> dict[int, int]:
        return self.source().committed()  # type: ignore[return-value]

    def die(self) -> None:
        """Nobody hears of it until its session is over."""
        if self.reads.member is not None:
            self.memory.log.evict(self.reads.member)
        self.begin()


def told(world: World, *columns: str) -> list[tuple[Any, ...]]:
    return world.windows().select("match_id", "rows", *columns).sort("match_id", maintain_order=True).rows()


def test_a_quiet_partition_is_closed_by_the_clock_and_the_group_stands_where_it_stood() -> None:
    world = World()
    world.put(0, ("a", 1.0, 1.0), ("a", 4.0, 4.0))
    world.put(1, ("b", 5.0, 5.0))
    world.go_on_until(lambda: world.committed() == {0: 2, 1: 1})
    world.clock.advance(24_000)
    world.reads.answered.clear()
    world.go_on_until(world.reads.answered.is_set)
    for _ in range(5):
        world.worker.step()
    assert world.answered() == 0, "due at 30"
    world.clock.advance(6_000)
    world.go_on_until(lambda: world.answered() == 2, advance_ms=1_000)
    assert told(world, "closed_by", "number") == [("a", 2, "tick", 1.0), ("b", 1, "tick", 1.0)]
    assert world.committed() == {0: 2, 1: 1}
    report = world.worker.progress.report(world.clock.now_ms())
    assert (report["events_total"], report["answers_total"], report["latency_p99_ms"]) == (3, 2, None)
    world.put(0, ("a", 6.0, 40.0))
    world.go_on_until(lambda: world.answered() == 3)
    assert told(world, "how", "number")[:2] == [("a", 2, "on time", 1.0), ("a", 1, "late", 2.0)]


def test_a_partition_that_lags_has_no_tick_before_it_has_caught_up_and_does_not_hold_up_the_others() -> None:
    world = World(max_commit_records=2)
    world.put(0, ("a", 0.5, 0.5))
    backlog = 400
    world.put(1, *[("b", 1.0 + number / 100, 1.0 + number / 100) for number in range(backlog)])
    world.clock.advance(3_600_000)
    world.worker.step()  # asks where the log ends, in a thread of its own, which may take its time
    assert world.reads.answered.wait(PATIENCE_S)
    world.go_on_until(lambda: world.answered() > 0)
    assert world.committed()[1] < backlog, "it lags"
    assert told(world, "closed_by") == [("a", 1, "tick")]
    world.go_on_until(lambda: world.answered() > 1, advance_ms=1_000)
    assert told(world, "closed_by", "how")[1:] == [("b", backlog, "tick", "on time")]
    assert world.committed() == {0: 1, 1: backlog}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.sampled_from(["a", "b", "c", "d"]), st.sampled_from([0.0, 1.0, 8.0])),
        st.tuples(st.just("go on"), st.integers(1, 5)),
        st.tuples(st.just("wait"), st.sampled_from([1, 15, 31, 50])),
        st.tuples(st.just("tick")),
        st.tuples(st.just("die")),
        st.tuples(st.just("leave")),
        st.tuples(st.just("cut"), st.integers(1, AFTER_COMMIT)),
        st.tuples(st.just("away")),
    ),
    max_size=25,
)


@settings(max_examples=25)
@given(STEPS)
def test_whatever_happens_every_row_is_counted_once_and_every_window_issued_once(steps: list[tuple[Any, ...]]) -> None:
    world = World()
    for step in steps:
        match step:
            case ("feed", key, behind_s):
                now_s = (world.clock.now_ms() - START_MS) / 1000
                world.feed_rows([(key, max(0.0, now_s - behind_s), now_s + 0.001)])
            case ("go on", count):
                for _ in range(count):
                    world.worker.step()
            case ("wait", seconds):
                world.clock.advance(seconds * 1000)
            case ("tick",):
                world.clock.advance(1_000)
                world.worker.step()
                world.reads.answered.wait(1.0)
                world.worker.step()
            case ("die",):
                world.die()
            case ("leave",):
                world.worker.leave()
            case ("cut", number):
                world.memory.log.fail_at(number)
            case ("away",):
                with world.memory.log.unavailable():
                    world.worker.step()
    world.clock.advance(60_000)

    def counted() -> int:
        return int(world.windows()["rows"].sum())

    world.go_on_until(lambda: counted() >= world.written, advance_ms=1_000)
    assert counted() == world.written
    issued = world.windows().filter(how="on time").select("match_id", "start_s")
    assert issued.is_unique().all()
    for _, numbers in world.windows().group_by("match_id"):
        assert numbers["number"].to_list() == list(range(1, numbers.height + 1)), "in their order"
    world.worker.leave()
