from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest

from streaming.records import OffsetRange, Records
from streaming.runners import preprocess
from streaming.runners.preprocess import collect
from streaming.transport import Fetched, LogCorrupt


def _fetched(partition: int, start: int, end: int) -> Fetched:
    return Fetched(OffsetRange(partition, start, end), Records.of([None] * (end - start), [b"x"] * (end - start)))


class Reader:
    """`buffered` is there at once, `fetched` only for who waits, `delay_s` by a clock of its own; notes how long each
    poll would have waited."""

    def __init__(self, *buffered: Fetched, fetched: tuple[Fetched, ...] = (), delay_s: float = 0.0) -> None:
        self._buffered, self._fetched, self._delay_s = deque(buffered), deque(fetched), delay_s
        self.waits: list[float] = []
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        self.waits.append(timeout_s)
        if not self._buffered and timeout_s and self._fetched:
            self.now_s += self._delay_s
            self._buffered, self._fetched = self._fetched, deque()
        return self._buffered.popleft() if self._buffered else None


ByClockOf = Callable[[Reader], Reader]


@pytest.fixture
def by_clock_of(monkeypatch: pytest.MonkeyPatch) -> ByClockOf:
    def told(reader: Reader) -> Reader:
        monkeypatch.setattr(preprocess, "time", reader)
        return reader

    return told


def _ranges(found: list[Fetched]) -> list[tuple[int, int, int]]:
    return [(part.range.partition, part.range.start, part.range.end) for part in found]


def test_what_came_while_the_last_records_were_answered_is_waited_for_once(by_clock_of: ByClockOf) -> None:
    reader = by_clock_of(Reader(_fetched(1, 5, 6), fetched=(_fetched(1, 6, 9), _fetched(0, 2, 4))))
    assert _ranges(collect(reader.poll, 0.25, 1_000)) == [(0, 2, 4), (1, 5, 9)]
    (waited,) = [wait for wait in reader.waits[1:] if wait]
    assert waited < 0.01


def test_what_had_to_be_waited_for_is_new_and_handed_out_at_once(by_clock_of: ByClockOf) -> None:
    reader = by_clock_of(Reader(fetched=(_fetched(0, 0, 1), _fetched(1, 0, 2)), delay_s=0.02))
    assert _ranges(collect(reader.poll, 0.25, 1_000)) == [(0, 0, 1), (1, 0, 2)]
    assert not any(reader.waits[1:])


def test_a_full_turn_asks_for_no_more() -> None:
    reader = Reader(_fetched(0, 0, 3), _fetched(0, 3, 5), fetched=(_fetched(0, 5, 6),))
    assert _ranges(collect(reader.poll, 0.25, 5)) == [(0, 0, 5)]
    assert reader.waits == [0.25, 0.0]


def test_nothing_is_nothing() -> None:
    reader = Reader()
    assert collect(reader.poll, 0.25, 5) == []
    assert reader.waits == [0.25]


def test_what_came_before_a_corrupt_record_is_handed_out_first() -> None:
    reader = Reader(_fetched(0, 0, 3))

    def poll(timeout_s: float, max_records: int) -> Fetched | None:
        found = reader.poll(timeout_s, max_records)
        if found is None:
            raise LogCorrupt("topic", 0, 3, 4, "broken")
        return found

    assert _ranges(collect(poll, 0.25, 1_000)) == [(0, 0, 3)]
    with pytest.raises(LogCorrupt):
        collect(poll, 0.25, 1_000)
