"""When a result takes effect, by hand: on form, and on what the guard decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from streaming.features.form import Elo, Rated
from streaming.features.match import events_frame
from streaming.features.match_fold import MatchFold
from streaming.features.settling import HOLD_MS, row_times, settle_ms
from streaming.features.standings import Result, Standings
from streaming.state import StateTable
from streaming.testing import Changelog, every_row

T0 = 1_700_000_000_000
SETTLE, SECOND = 120_000, 1_000
EVEN = 64.0 * 0.5 * 2.0  # what the first result between new teams is worth to each, in points
WON = float(np.float32(2 * EVEN / 400.0))  # form after it, as frames have it


@pytest.fixture
def state() -> StateTable:
    return MatchFold().new_state()


def result(time_ms: int, match: str = "m", a: str = "a", b: str = "b", a_won: bool = True) -> Result:
    return Result(time_ms, match, 0, f"@rating/lol/l/{a}", f"@rating/lol/l/{b}", a_won, float("nan"))


def form(state: StateTable, time_ms: int, a: str = "a", b: str = "b") -> float:
    """In points."""
    return 400.0 * Standings(state, Elo(), SETTLE).form(f"@rating/lol/l/{a}", f"@rating/lol/l/{b}", time_ms)


def record(state: StateTable, *results: Result, horizon_ms: int = 0) -> int:
    standings = Standings(state, Elo(), SETTLE)
    return sum(standings.record(each, horizon_ms) for each in results)


def waiting(state: StateTable) -> list[str]:
    return sorted(key for key in every_row(state)["key"] if key.startswith("@result/"))


def test_a_result_counts_from_a_settling_time_after_it_to_the_millisecond(state: StateTable) -> None:
    record(state, result(1_000))
    assert [form(state, 1_000 + SETTLE + late_ms) for late_ms in (-1, 0, 1)] == [0.0, 2 * EVEN, 2 * EVEN]


def test_results_are_folded_in_the_order_of_their_times_however_they_come(state: StateTable) -> None:
    first, second, third = result(1_000, "x"), result(1_001, "y", "b", "c"), result(1_002, "z", "c", "a")
    elo, teams = Elo(), dict.fromkeys("abc", Rated(0.0, 0))
    for a, b in ("ab", "bc", "ca"):
        teams[a], teams[b] = elo.after(teams[a], teams[b], a_won=True, gold_lead=float("nan"))
    record(state, third)
    record(state, first)
    assert form(state, SETTLE + 1_000) == 2 * EVEN  # the first alone
    record(state, second)
    expected = teams["a"].rating - teams["c"].rating
    assert form(state, SETTLE + 1_002, "a", "c") == pytest.approx(expected, abs=1e-12)
    record(state, result(HOLD_MS * 2, "later", "d", "e"), horizon_ms=HOLD_MS + 1_002)
    assert waiting(state) == [f"@result/{2 * HOLD_MS}/0/later"]
    rated = state["rating"][state.slots([f"@rating/lol/l/{team}" for team in "abc"])].tolist()
    assert rated == [team.rating for team in teams.values()]


def test_results_of_one_time_are_folded_by_match_id(state: StateTable) -> None:
    other = MatchFold().new_state()
    results = [result(5, "m2", "a", "b"), result(5, "m10", "b", "c"), result(5, "m1", "c", "a")]
    record(state, *results)
    record(other, *reversed(results))
    assert form(state, SETTLE + 5) == form(other, SETTLE + 5) != 0.0


def test_a_result_joins_the_base_when_the_fastest_partition_is_far_past_it(state: StateTable) -> None:
    record(state, result(1_000), horizon_ms=1_000 + HOLD_MS - 1)
    assert len(waiting(state)) == 1
    record(state, result(2_000, "n", "c", "d"), horizon_ms=1_000 + HOLD_MS)
    assert waiting(state) == ["@result/2000/0/n"]
    assert form(state, 0) == 2 * EVEN  # of a row that far behind the base is all there is


def test_a_result_that_comes_too_late_counts_from_then_on(state: StateTable) -> None:
    record(state, result(50_000, "x"), result(2 * HOLD_MS, "y", "c", "d"), horizon_ms=2 * HOLD_MS)
    assert form(state, 3 * HOLD_MS) == 2 * EVEN
    record(state, result(1_000, "late", "a", "c"), horizon_ms=2 * HOLD_MS)
    after, _ = Elo().after(Rated(EVEN, 1), Rated(0.0, 0), a_won=True, gold_lead=float("nan"))
    assert form(state, 2 * HOLD_MS) == after.rating + EVEN


def test_the_same_result_again_and_a_team_against_itself_say_nothing(state: StateTable) -> None:
    record(state, result(1_000), result(1_000), result(1_000, "self", "a", "a"))
    assert waiting(state) == ["@result/1000/0/m"]


def test_too_many_results_join_the_base_before_their_time(state: StateTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.features.standings.MOST_UNSETTLED", 3)
    assert record(state, *(result(time_ms, f"m{time_ms}") for time_ms in (5, 4, 3, 2, 1))) == 2
    assert waiting(state) == [f"@result/{time_ms}/0/m{time_ms}" for time_ms in (3, 4, 5)]


def test_a_restart_between_result_and_effect_changes_nothing(state: StateTable) -> None:
    log = Changelog()
    record(state, result(2_000, "y", "b", "c"), result(1_000, "x"))
    log.drain(state)
    restored = MatchFold().new_state()
    log.restore(restored)
    for time_ms in (SETTLE, SETTLE + 1_000, SETTLE + 2_000):
        assert form(restored, time_ms, "a", "c") == form(state, time_ms, "a", "c")
    later = result(9 * HOLD_MS, "later", "d", "e"), 9 * HOLD_MS
    for table in (state, restored):
        record(table, later[0], horizon_ms=later[1])
    log.drain(restored)
    assert every_row(restored).equals(every_row(state))
    assert not [key for key in log.rows(restored)["key"] if key.endswith(("/x", "/y"))]


@pytest.mark.parametrize(
    ("event_s", "watermark_s", "happened_s", "result_s"),
    [
        (100, 90, 100, 100),
        (100, 130, 100, 100),  # out of order by 30 s
        (100, 131, 131, 131),
        (100, 1_300, 1_300, 1_300),
        (100, 1_301, 100, 100),  # the watermark is not to be believed
        (1_290, 90, 1_290, 1_290),
        (9_999, 90, 9_999, 1_290),  # a result waits for 20 minutes at most
    ],
)
def test_the_time_of_a_row(event_s: int, watermark_s: int, happened_s: int, result_s: int) -> None:
    event_ms, watermark_ms = (np.array([second * SECOND] * 2) for second in (event_s, watermark_s))
    times_ms = row_times(event_ms, watermark_ms, np.array([False, True]))
    assert times_ms.tolist() == [happened_s * SECOND, result_s * SECOND]


def test_before_there_is_a_watermark_event_time_counts() -> None:
    assert row_times(np.array([T0, T0]), np.array([-1, -1]), np.array([False, True])).tolist() == [T0, T0]


@pytest.mark.parametrize("settle_s", [0.0, -1.0, 600.1])
def test_a_settling_time_that_cannot_be_is_refused(settle_s: float) -> None:
    with pytest.raises(ValueError, match=f"settle for {settle_s:g} s: above 0 and up to 600 s are possible"):
        settle_ms(settle_s)


class Partitions:
    """Rows of several partitions in the order in which they are read; times in seconds."""

    def __init__(self) -> None:
        self.fold = MatchFold()
        self.state = self.fold.new_state()

    def read(self, partition: int, at_s: float, match: str, kind: str, **fields: Any) -> float:
        """Of one row; the form in its frame, NaN without a frame."""
        row = {"match_id": match, "event_time_ms": T0 + round(at_s * 1000), "title": "lol", "kind": kind}
        row |= {"sequence": round(at_s * 1000) + 10**9, "clock_s": 0.0} | fields
        if kind == "start":
            row |= {"team_a": "a", "team_b": "b", "league": "l"}
        rows = events_frame([row]).with_columns(
            _partition=pl.lit(partition, pl.Int32),
            _offset=pl.lit(0, pl.Int64),
            _ingest_time_ms=pl.lit(0, pl.Int64),
            _schema_id=pl.lit(1, pl.Int32),
        )
        frames = self.fold(rows, self.state)
        return float(frames["form"][0]) if frames.height else float("nan")

    def play(self, partition: int, match: str, start_s: float, end_s: float) -> None:
        """A match that camp A wins."""
        self.read(partition, start_s, match, "start")
        self.read(partition, end_s - 1, match, "snapshot", clock_s=10.0)
        self.read(partition, end_s, match, "end", side="A")

    @property
    def results_late(self) -> int:
        return int(self.fold.facts(self.state).totals["results-late"])


def test_which_of_two_partitions_is_read_first_does_not_matter() -> None:
    one, other = Partitions(), Partitions()
    one.play(0, "m", 0, 1_000)
    early = one.read(1, 1_119, "x", "start"), one.read(1, 1_120, "y", "start")
    other.read(0, 0, "m", "start")
    late = [other.read(1, 1_119, "x", "start")]
    other.read(0, 999, "m", "snapshot", clock_s=10.0)
    other.read(0, 1_000, "m", "end", side="A")
    late.append(other.read(1, 1_120, "y", "start"))
    assert early == tuple(late) == (0.0, WON)
    assert one.results_late == other.results_late == 0


def test_a_partition_behind_by_the_settling_time_is_counted_and_changes_nothing_that_was_said() -> None:
    read = Partitions()
    read.read(0, 0, "m", "start")
    forms = [read.read(1, at_s, f"x{at_s}", "start") for at_s in (1_100, 1_121, 1_122)]
    read.read(0, 999, "m", "snapshot", clock_s=10.0)
    read.read(0, 1_000, "m", "end", side="A")  # 121 s behind the other's watermark
    assert read.results_late == 1
    assert read.read(1, 1_123, "x1121", "snapshot", clock_s=30.0) == 0.0
    assert [*forms, read.read(1, 1_124, "y", "start")] == [0.0, 0.0, 0.0, WON]
    read.play(0, "n", 1_001, 1_003)  # the other's watermark is 1,123 by now
    assert read.results_late == 2
    read.play(0, "o", 1_003, 1_005)
    assert read.results_late == 2


def test_a_result_from_the_future_waits_for_twenty_minutes_and_holds_nothing_up() -> None:
    read, year_s = Partitions(), 365 * 86_400
    read.read(0, 0, "m", "start")
    read.read(0, 1_000, "m", "snapshot", clock_s=10.0)
    read.read(0, year_s, "m", "end", side="A")
    read.play(1, "other", 0, 1_010)
    other = read.read(1, 1_130, "x", "start")
    assert other == WON  # the other match's result, whose teams are the same
    assert read.read(1, 1_000 + 1_200 + 119, "y", "start") == other
    assert read.read(1, 1_000 + 1_200 + 120, "z", "start") > other
    assert read.results_late == 0


def test_a_start_from_the_future_holds_nothing_up_either() -> None:
    read, year_s = Partitions(), 365 * 86_400
    read.read(1, 500, "before", "start")
    read.read(1, year_s, "x", "start")
    read.play(0, "m", 0, 1_000)
    assert [read.read(1, at_s, f"y{at_s}", "start") for at_s in (1_119, 1_120)] == [0.0, WON]
    assert read.results_late == 0
