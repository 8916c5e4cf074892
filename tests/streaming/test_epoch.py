"""A read task over the log in memory and the real planner, without Ray: run again, beside its twin, while things are
away. Whatever happens, the j-th batch is the same in every run, and the batches tile every partition once."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.codec import Decoded, Decoder, Encoder, PackagedRegistry, RegistryUnavailable, load_schema
from streaming.records import OffsetRange, Records
from streaming.runners import epoch as epoch_module
from streaming.runners.epoch import ReadLimits, read_epoch
from streaming.runners.order import ReleaseOrder
from streaming.runners.planner import Planner
from streaming.runners.preprocess import preprocess
from streaming.simulators.match import simulate
from streaming.testing import MemoryLog, MemorySource
from streaming.transport import Fetched, LogCorrupt, OffsetsExpired
from tests.waiting import PATIENCE_S, wait_until

TOPIC = "in"
Parts = list[tuple[OffsetRange, Records]]
T = TypeVar("T")


class Loop:
    """The planner in a thread with an event loop, as Ray runs an actor with async methods."""

    def __init__(self, start: dict[int, int], max_unanswered: int = 10_000) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.planner = Planner(start, max_unanswered)

    def call(self, made: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(made, self._loop).result(PATIENCE_S)

    def task(self, epoch: int = 0, task: int = 0) -> Calls:
        return Calls(self, epoch, task)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()


class Calls:
    """What a read task sees of the planner."""

    def __init__(self, loop: Loop, epoch: int, task: int) -> None:
        self._loop, self._epoch, self._task = loop, epoch, task

    def begin(self, partitions: Sequence[int]) -> tuple[list[tuple[OffsetRange, ...]], dict[int, int]]:
        return self._loop.call(self._loop.planner.begin(self._epoch, self._task, partitions))

    def propose(self, index: int, ranges: tuple[OffsetRange, ...], records: int) -> tuple[OffsetRange, ...] | None:
        return self._loop.call(self._loop.planner.propose(self._epoch, self._task, index, ranges, records))

    def is_open(self) -> bool:
        return self._loop.call(self._loop.planner.is_open(self._epoch))

    def report(self, trouble: str) -> None:
        self._loop.call(self._loop.planner.report(self._task, trouble))


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.create(TOPIC, partitions=2)
    return log


@pytest.fixture
def new_loop() -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(*arguments: Any, **options: Any) -> Loop:
        made.append(Loop(*arguments, **options))
        return made[-1]

    yield make
    for loop in made:
        loop.close()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_module, "_BACK_OFF_S", 0.01)
    monkeypatch.setattr(epoch_module, "_IDLE_POLL_S", 0.02)


def write(log: MemoryLog, partition: int, start: int, end: int) -> None:
    log.append(TOPIC, Records.of([b"k"] * (end - start), [b"%d" % n for n in range(start, end)]), partition)


def read(log: MemoryLog, calls: Calls, max_records: int = 4) -> Iterator[Parts]:
    return read_epoch(MemorySource(log, TOPIC, "g"), calls, [0, 1], ReadLimits(0.0, max_records))


def seen(parts: Parts) -> list[tuple[OffsetRange, list[bytes]]]:
    return [(wanted, records.values.to_pylist()) for wanted, records in parts]


def values(batches: Sequence[Parts], partition: int) -> list[int]:
    return [
        int(v)
        for parts in batches
        for wanted, r in parts
        if wanted.partition == partition
        for v in r.values.to_pylist()
    ]


def require_tiling(batches: Sequence[Parts], start: dict[int, int]) -> dict[int, int]:
    """Check that the ranges continue each other from `start`; returns where they end."""
    at = dict(start)
    for parts in batches:
        for wanted, records in parts:
            assert wanted.start == at[wanted.partition]
            assert all(wanted.start <= offset < wanted.end for offset in records.offsets)
            at[wanted.partition] = wanted.end
    return at


def in_thread(batches: Iterator[Parts]) -> queue.Queue[Parts | BaseException | None]:
    """What the task yields, then None, or what it raised."""
    found: queue.Queue[Parts | BaseException | None] = queue.Queue()

    def run() -> None:
        try:
            for parts in batches:
                found.put(parts)
            found.put(None)
        except BaseException as failure:
            found.put(failure)

    threading.Thread(target=run, daemon=True).start()
    return found


def test_a_task_reads_until_its_epoch_is_closed_and_the_next_goes_on_there(
    log: MemoryLog, new_loop: Callable[..., Loop]
) -> None:
    loop = new_loop({0: 0, 1: 0})
    write(log, 0, 0, 10)
    write(log, 1, 100, 103)
    first = in_thread(read(log, loop.task(0)))
    second = in_thread(read(log, loop.task(1)))  # begun ahead of time: it waits
    batches: list[Parts] = []
    while len(values(batches, 0)) + len(values(batches, 1)) < 13:
        parts = first.get(timeout=PATIENCE_S)
        assert isinstance(parts, list)
        batches.append(parts)
    assert second.empty()
    loop.call(loop.planner.close(0))
    assert first.get(timeout=PATIENCE_S) is None
    write(log, 0, 10, 12)
    parts = second.get(timeout=PATIENCE_S)
    assert isinstance(parts, list)
    batches.append(parts)
    loop.call(loop.planner.close(1))
    assert second.get(timeout=PATIENCE_S) is None
    assert require_tiling(batches, {0: 0, 1: 0}) == {0: 12, 1: 3}
    assert values(batches, 0) == list(range(12))
    assert values(batches, 1) == [100, 101, 102]


@pytest.mark.parametrize("handed_on", range(7))
def test_a_task_run_again_after_any_number_of_batches_yields_the_same_ones_first(
    log: MemoryLog, new_loop: Callable[..., Loop], handed_on: int
) -> None:
    loop = new_loop({0: 0, 1: 0})
    write(log, 0, 0, 13)
    write(log, 1, 100, 111)
    lost = read(log, loop.task())
    before = [next(lost) for _ in range(handed_on)]
    lost.close()  # type: ignore[attr-defined]
    write(log, 0, 13, 15)  # more has come: a run without memory would cut otherwise
    again = read(log, loop.task(), max_records=7)
    batches = [next(again) for _ in range(handed_on)]
    assert [seen(parts) for parts in batches] == [seen(parts) for parts in before]
    while len(values(batches, 0)) + len(values(batches, 1)) < 26:
        batches.append(next(again))
    assert require_tiling(batches, {0: 0, 1: 0}) == {0: 15, 1: 11}
    assert values(batches, 0) == list(range(15))
    assert values(batches, 1) == list(range(100, 111))


def test_a_twin_goes_back_where_the_other_run_read_nothing(log: MemoryLog, new_loop: Callable[..., Loop]) -> None:
    loop = new_loop({0: 0, 1: 0})
    write(log, 0, 0, 3)
    one = read(log, loop.task())
    slow = loop.task()
    slow_begun = slow.begin([0, 1])

    class Late(Calls):
        def begin(self, partitions: Sequence[int]) -> tuple[list[tuple[OffsetRange, ...]], dict[int, int]]:
            return slow_begun  # both runs began at the same moment

    twin = read(log, Late(loop, 0, 0))
    assert seen(next(one)) == [(OffsetRange(0, 0, 3), [b"0", b"1", b"2"])]
    write(log, 1, 100, 102)
    # The twin fetches partitions 0 and 1, and is told that batch 0 is partition 0 alone.
    assert seen(next(twin)) == [(OffsetRange(0, 0, 3), [b"0", b"1", b"2"])]
    assert seen(next(twin)) == [(OffsetRange(1, 0, 2), [b"100", b"101"])]
    assert seen(next(one)) == [(OffsetRange(1, 0, 2), [b"100", b"101"])]


@settings(max_examples=60)
@given(
    steps=st.lists(st.sampled_from(["one", "two", "rerun one", "rerun two", "0", "1"]), min_size=5, max_size=25),
    limits=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_twins_and_reruns_in_any_order_agree_on_every_batch(steps: list[str], limits: tuple[int, int]) -> None:
    log = MemoryLog()
    log.create(TOPIC, partitions=2)
    written = {0: 0, 1: 0}
    loop = Loop({0: 0, 1: 0})
    runs: dict[str, Iterator[Parts]] = {}
    indices: dict[str, int] = {}
    agreed: list[Any] = []
    batches: list[Parts] = []

    def more(partition: int) -> None:
        write(log, partition, written[partition], written[partition] + 3)
        written[partition] += 3

    def restart(name: str) -> None:
        runs[name] = read(log, loop.task(), limits[name == "two"])
        indices[name] = 0

    def step(name: str) -> None:
        total = sum(values_read(batches).values())
        if indices[name] >= len(agreed) and total == sum(written.values()):
            more(0)  # else it would wait for records
        parts = next(runs[name])
        if indices[name] == len(agreed):
            agreed.append(seen(parts))
            batches.append(parts)
        assert seen(parts) == agreed[indices[name]]
        indices[name] += 1

    try:
        more(0)
        more(1)
        restart("one")
        restart("two")
        for action in steps:
            if action in ("0", "1"):
                more(int(action))
            elif action.startswith("rerun"):
                restart(action.removeprefix("rerun "))
            else:
                step(action)
        require_tiling(batches, {0: 0, 1: 0})
        for partition, count in values_read(batches).items():
            assert values(batches, partition) == list(range(count))
    finally:
        for run in runs.values():
            run.close()  # type: ignore[attr-defined]
        loop.close()


def values_read(batches: Sequence[Parts]) -> dict[int, int]:
    return {partition: len(values(batches, partition)) for partition in (0, 1)}


def test_while_the_log_is_away_the_task_says_so_and_then_goes_on(log: MemoryLog, new_loop: Callable[..., Loop]) -> None:
    loop = new_loop({0: 0, 1: 0})
    write(log, 0, 0, 8)
    batches: list[Parts] = []
    task = read(log, loop.task())
    batches.append(next(task))
    with log.unavailable():
        found = in_thread(task)
        wait_until(lambda: loop.call(loop.planner.troubles()) == ["the log in memory is away"])
        assert found.empty()
    parts = found.get(timeout=PATIENCE_S)
    assert isinstance(parts, list)
    batches.append(parts)
    wait_until(lambda: loop.call(loop.planner.troubles()) == [])
    assert require_tiling(batches, {0: 0, 1: 0}) == {0: 8, 1: 0}
    loop.call(loop.planner.close(0))
    assert found.get(timeout=PATIENCE_S) is None


def test_promised_ranges_are_waited_for_however_long_the_log_is_away(
    log: MemoryLog, new_loop: Callable[..., Loop]
) -> None:
    loop = new_loop({0: 0, 1: 0})
    write(log, 0, 0, 8)
    first = seen(next(read(log, loop.task())))
    with log.unavailable():
        found = in_thread(read(log, loop.task()))
        wait_until(lambda: loop.call(loop.planner.troubles()) == ["the log in memory is away"])
        loop.call(loop.planner.close(0))  # even now: what was promised may be the only copy
        assert found.empty()
    parts = found.get(timeout=PATIENCE_S)
    assert isinstance(parts, list)
    assert seen(parts) == first
    assert found.get(timeout=PATIENCE_S) is None


def test_readers_are_held_back_by_what_is_not_committed(log: MemoryLog, new_loop: Callable[..., Loop]) -> None:
    loop = new_loop({0: 0, 1: 0}, max_unanswered=10)
    write(log, 0, 0, 100)
    found = in_thread(read(log, loop.task()))
    held: list[Parts] = []

    def take(count: int) -> None:
        for _ in range(count):
            parts = found.get(timeout=PATIENCE_S)
            assert isinstance(parts, list)
            held.append(parts)

    take(3)  # 4 + 4 + 4: the bound is passed by less than one batch
    time.sleep(0.1)
    assert found.empty()
    loop.call(loop.planner.commit(2))
    time.sleep(0.1)
    assert found.empty()  # ten are unanswered still
    loop.call(loop.planner.commit(1))
    take(1)
    assert values(held, 0) == list(range(16))
    time.sleep(0.1)
    assert found.empty()
    loop.call(loop.planner.close(0))  # a task that is held back ends with its epoch
    assert found.get(timeout=PATIENCE_S) is None
    assert require_tiling(held, {0: 0, 1: 0}) == loop.call(loop.planner.begin(1, 0, [0, 1]))[1]


def test_offsets_that_expired_before_they_were_read_end_the_task(log: MemoryLog, new_loop: Callable[..., Loop]) -> None:
    write(log, 0, 0, 9)
    log.expire(TOPIC, 0, before=5)
    found = in_thread(read(log, new_loop({0: 2, 1: 0}).task()))
    failure = found.get(timeout=PATIENCE_S)
    assert isinstance(failure, OffsetsExpired)
    assert (failure.wanted, failure.earliest) == (2, 5)


class CorruptFrom:
    """A reader of one partition whose log cannot be read from an offset on, as Kafka's reader tells it."""

    def __init__(self, offset: int) -> None:
        self._offset, self._at = offset, 0

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        if self._at == self._offset:
            raise LogCorrupt(TOPIC, 0, self._at, self._at + 10, "it fails its checksum")
        start, self._at = self._at, self._at + 1
        return Fetched(OffsetRange(0, start, self._at), Records.of([b"k"], [b"%d" % start], [start]))

    def close(self) -> None:
        pass


def test_all_before_a_corrupt_batch_is_handed_out_before_it_ends_the_task(new_loop: Callable[..., Loop]) -> None:
    class Source:
        topic = TOPIC

        def open(self, start: dict[int, int], gather_s: float = 0.0) -> CorruptFrom:
            return CorruptFrom(6)

    found = in_thread(
        read_epoch(Source(), new_loop({0: 0}).task(), [0], ReadLimits(0.0, 4))  # type: ignore[arg-type]
    )
    batches = [found.get(timeout=PATIENCE_S) for _ in range(2)]
    assert values(batches, 0) == list(range(6))  # type: ignore[arg-type]
    failure = found.get(timeout=PATIENCE_S)
    assert isinstance(failure, LogCorrupt)
    assert "set the group's offset of this partition to 16" in str(failure)


def test_while_the_registry_is_away_decoding_waits_and_says_so() -> None:
    registry = PackagedRegistry()
    events = simulate("lol", matches=1, seed=1).events.head(20)
    encoded = Encoder(load_schema("match-events"), registry.id_of("match-events")).encode(events).to_pylist()
    told: list[str] = []

    class Away(Decoder):
        outages = 2

        def decode(self, records: Records) -> Decoded:
            if self.outages:
                self.outages -= 1
                raise RegistryUnavailable("the registry is away")
            return super().decode(records)

    records = Records.of([b"k"] * 21, [*encoded, b"\0junk"], offsets=range(40, 61))
    batch = preprocess([(OffsetRange(1, 40, 61), records)], Away("match-events", registry), [], told.append)
    assert told == ["the registry is away", "the registry is away", ""]
    assert batch.rows["_offset"].to_list() == list(range(40, 60))
    assert batch.rows["_partition"].unique().to_list() == [1]
    (rejected,) = batch.rejected
    assert (rejected.partition, rejected.records.offsets.tolist()) == (1, [60])
    assert batch.records == 21


def test_what_a_transform_rejects_leaves_with_its_reason_beside_what_cannot_be_decoded() -> None:
    registry = PackagedRegistry()
    events = simulate("lol", matches=1, seed=1).events.head(4)
    encoded = Encoder(load_schema("match-events"), registry.id_of("match-events")).encode(events).to_pylist()

    def refuse_second(frame: pl.DataFrame) -> pl.DataFrame:
        second = pl.col("_offset") == 1
        return frame.with_columns(pl.when(second).then(pl.lit("Odd: too odd")).otherwise("_reject").alias("_reject"))

    fetched = [
        (OffsetRange(0, 0, 3), Records.of([b"a"] * 3, [encoded[0], encoded[1], b"junk"])),
        (OffsetRange(1, 0, 2), Records.of([b"b"] * 2, encoded[2:])),
    ]
    batch = preprocess(fetched, Decoder("match-events", registry), [refuse_second])
    assert batch.ranges == (OffsetRange(0, 0, 3), OffsetRange(1, 0, 2))
    assert batch.rows.select("_partition", "_offset").rows() == [(0, 0), (1, 0)]
    zero, one = batch.rejected
    assert zero.records.offsets.tolist() == [1, 2]
    assert (zero.errors[0], zero.messages[0]) == ("Odd", "too odd")
    assert zero.records.values[1].as_py() == b"junk"
    assert (one.partition, one.records.offsets.tolist()) == (1, [1])
    np.testing.assert_array_equal(batch.rows["_ingest_time_ms"], [0, 0])


def test_batches_of_a_rerun_and_of_two_epochs_are_released_once_and_in_order(
    log: MemoryLog, new_loop: Callable[..., Loop]
) -> None:
    loop = new_loop({0: 0, 1: 0})
    write(log, 0, 0, 8)
    lost = read(log, loop.task())
    first = [next(lost), next(lost)]
    lost.close()  # type: ignore[attr-defined]
    again = [next(run) for run in [read(log, loop.task())] for _ in range(2)]
    loop.call(loop.planner.close(0))
    write(log, 0, 8, 10)
    ahead = [next(read(log, loop.task(1)))]
    order = ReleaseOrder({0: 0, 1: 0})
    arrived = [*ahead, first[0], again[0], *again, *first]
    released = [
        out
        for parts in arrived
        for out in order.push(preprocess(parts, Decoder("match-events", PackagedRegistry()), []))
    ]
    assert [out.ranges for out in released] == [
        (OffsetRange(0, 0, 4),), (OffsetRange(0, 4, 8),), (OffsetRange(0, 8, 10),)
    ]  # fmt: skip
