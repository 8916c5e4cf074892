"""When ticks are due and of which partitions: a source that is asked where it ends, and positions by hand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from streaming.runners.ticking import PERIOD_MS, Ticker
from streaming.testing import MemoryLog, MemorySource
from streaming.transport import TransportUnavailable
from tests.waiting import PATIENCE_S, wait_until
from tests.windowed import pipeline, stages

Told = tuple[int, dict[int, int]]
"""Of a tick: its time, and the positions."""


class World(MemorySource):
    """A source that says what the test says, and a ticker that asks it."""

    def __init__(self) -> None:
        super().__init__(MemoryLog(), "in", "group")
        self.now_ms = 0
        self.end: Mapping[int, int] | Exception = {}
        self.answers: Callable[[], None] = lambda: None  # before each
        self.asked_at_ms: list[int] = []
        self.ticker = Ticker(pipeline(), self, lambda: self.now_ms)

    def end_offsets(self) -> dict[int, int]:
        self.asked_at_ms.append(self.now_ms)
        self.answers()
        if isinstance(self.end, Exception):
            raise self.end
        return dict(self.end)

    def due(self, positions: Mapping[int, int]) -> Told | None:
        tick = self.ticker.due(positions)
        return None if tick is None else (tick.now_ms, dict(tick.positions))

    def heard(self, positions: Mapping[int, int]) -> Told:
        """The next tick."""
        found: list[Told | None] = []

        def comes() -> bool:
            found.append(self.due(positions))
            return found[-1] is not None

        wait_until(comes)
        assert found[-1] is not None
        return found[-1]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.ticker.close()


def test_a_partition_that_was_answered_to_the_end_is_quiet_and_one_that_lags_is_not_before_it_has_caught_up(
    world: World,
) -> None:
    world.end = {0: 10, 1: 20, 2: 5, 3: 7}
    assert world.heard({0: 10, 1: 19, 2: 6}) == (0, {0: 10, 2: 6}), "3 is read by somebody else"
    world.now_ms = 400
    assert world.due({0: 10, 1: 19, 2: 6}) is None
    assert world.due({0: 10, 1: 22, 2: 6}) == (0, {1: 22}), "as of when the log was asked"
    assert world.due({0: 10, 1: 22, 2: 6}) is None


def test_a_partition_of_which_the_log_knows_no_end_is_not_quiet(world: World) -> None:
    world.end = {0: 10}
    assert world.heard({0: 10, 1: 5}) == (0, {0: 10})


def test_the_clock_is_read_before_the_log_is_asked(world: World) -> None:
    def takes_long() -> None:
        world.now_ms += 700

    world.end, world.answers = {0: 1}, takes_long
    assert world.heard({0: 1}) == (0, {0: 1})


def test_the_log_is_asked_once_a_second(world: World) -> None:
    world.end = {0: 1}
    world.heard({0: 1})
    world.now_ms = PERIOD_MS - 1
    assert world.due({0: 1}) is None
    world.now_ms = PERIOD_MS
    assert world.heard({0: 1}) == (PERIOD_MS, {0: 1})
    assert world.asked_at_ms == [0, PERIOD_MS]


def test_a_clock_that_was_set_back_does_not_silence_ticks(world: World) -> None:
    world.now_ms, world.end = 3_600_000, {0: 1}
    world.heard({0: 1})
    world.now_ms = 5_000
    assert world.heard({0: 1}) == (5_000, {0: 1})


def test_a_log_that_is_slow_to_answer_is_neither_waited_for_nor_asked_again(world: World) -> None:
    gate, asked = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        assert gate.wait(PATIENCE_S)

    world.end, world.answers = {0: 1}, slow
    try:
        assert world.due({0: 1}) is None
        assert asked.wait(PATIENCE_S)
        world.now_ms = 5 * PERIOD_MS
        assert world.due({0: 1}) is None
    finally:
        gate.set()
    assert world.heard({0: 1}) == (0, {0: 1}), "as of when it was asked"
    assert world.heard({0: 1}) == (5 * PERIOD_MS, {0: 1})
    assert world.asked_at_ms == [0, 5 * PERIOD_MS]


def test_a_log_that_is_away_makes_no_ticks_and_is_told_of_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.end = TransportUnavailable("the log is away")
    with caplog.at_level(logging.WARNING):
        for number in (1, 2, 3):
            wait_until(lambda number=number: world.due({0: 1}) is None and len(world.asked_at_ms) == number)  # type: ignore[misc]
            world.now_ms += PERIOD_MS
        world.end = {0: 1}
        assert world.heard({0: 1})[1] == {0: 1}
    assert [record.getMessage() for record in caplog.records] == [
        "no ticks: the end of in is not known: the log is away"
    ]


def test_a_pipeline_without_a_stage_that_ticks_pays_nothing(world: World) -> None:
    ticker = Ticker(pipeline(stages()[-1]), world, lambda: 0)
    assert ticker.due({0: 1}) is None
    ticker.close()
    assert world.asked_at_ms == []
