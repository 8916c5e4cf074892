"""Ticks in the stateful half of a pipeline: windows of 10 s that nobody closes by rows, 20 s behind the wall clock.
Times in seconds after the start of a window; answers worked out on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.changelog import Lanes
from streaming.codec import Decoder, PackagedRegistry
from streaming.pipeline import DependencyUnavailable, Pipeline
from streaming.records import OffsetRange, Records
from streaming.runners.account import account
from streaming.runners.flow import Commit, Flow
from streaming.runners.preprocess import preprocess
from streaming.runners.progress import Progress
from streaming.runners.ticking import Tick
from streaming.state import StateTable
from streaming.testing import every_row, lanes
from streaming.windows import Corrections
from tests.counting import SCHEMA
from tests.windowed import START_MS, Row, Said, decoded, pipeline, records_of, stages, windows


def at(second: float) -> int:
    return START_MS + round(second * 1000)


def reread(partition: int, offsets: Sequence[int]) -> Records:
    return Records.of([b"m"] * len(offsets), [b"bytes at %d" % offset for offset in offsets], list(offsets))


def changelog(commits: Sequence[Commit]) -> Lanes:
    return lanes([Records.joined([Records.of([], []), *(out.records for commit in commits for out in commit.state)])])


@dataclass
class Run:
    """A flow over one partition, and what it has committed."""

    pipeline: Pipeline = field(default_factory=pipeline)
    options: dict[str, Any] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    end: int = 0

    def __post_init__(self) -> None:
        self.flow = self.restarted()

    def restarted(self) -> Flow:
        flow = Flow(self.pipeline, PackagedRegistry(), **{"clock": lambda: at(0), "reread": reread} | self.options)
        flow.restore(changelog(self.commits))
        return flow

    def rows(self, *rows: Row) -> Commit:
        commit = self.flow.process([self.batch(*rows)])
        self.end += len(rows)
        self.commits.append(commit)
        return commit

    def batch(self, *rows: Row) -> Any:
        records = replace(records_of(rows), offsets=np.arange(self.end, self.end + len(rows)))
        wanted = OffsetRange(0, self.end, self.end + len(rows))
        return preprocess([(wanted, records)], Decoder(SCHEMA, PackagedRegistry()), ())

    def tick(self, second: float) -> Commit | None:
        commit = self.flow.tick(Tick(at(second), {0: self.end}))
        if commit is not None:
            self.commits.append(commit)
        return commit

    def said(self, *columns: str) -> list[tuple[Any, ...]]:
        """Of all answers committed."""
        answers = [out.records for commit in self.commits for out in commit.answers]
        return decoded(answers).select(columns).rows() if answers else []


ROWS: tuple[Row, ...] = (("a", 1.0, 1.0), ("a", 4.0, 4.0), ("b", 5.0, 5.0))
"""Event time goes with the log: what ends at 10.0 is due at 30.0."""


def test_a_tick_closes_windows_that_pass_the_stages_after_and_are_committed_where_the_partition_stands() -> None:
    run = Run()
    run.rows(*ROWS)
    assert run.tick(29.999) is None
    commit = run.tick(30.0)
    assert commit is not None
    columns = ("match_id", "start_s", "rows", "closed_by", "how", "revision", "offset", "number")
    assert run.said(*columns) == [
        ("a", 0.0, 2, "tick", "on time", 0.0, 2, 1.0),
        ("b", 0.0, 1, "tick", "on time", 0.0, 2, 1.0),
    ]
    assert (commit.ranges, commit.offsets) == ([OffsetRange(0, 3, 3)], {0: 3})
    assert (commit.records, commit.answered, commit.rejected, commit.counts["shed"]) == (0, 2, [], 0)
    assert commit.state, "what the tick changed"
    assert run.tick(1_000.0) is None, "nothing is open"


def test_partitions_that_the_tick_does_not_name_are_left_alone() -> None:
    run = Run()
    run.rows(*ROWS)
    assert run.flow.tick(Tick(at(1_000.0), {1: 7})) is None


def test_rows_that_come_after_the_tick_are_late() -> None:
    run = Run()
    run.rows(*ROWS)
    run.tick(30.0)
    run.rows(("a", 6.0, 31.0), ("a", 31.0, 31.0))
    assert run.said("match_id", "rows", "how", "number")[2:] == [("a", 1, "late", 2.0)]
    assert run.commits[-1].counts["late"] == 1


def test_a_tick_counts_as_answers_and_neither_as_events_nor_as_latency() -> None:
    run, progress = Run(), Progress(at(0))
    for commit in (run.rows(*ROWS), run.tick(30.0)):
        assert commit is not None
        account(run.pipeline, progress, commit, 1.0, at(31.0))
    progress.log_ends_at(at(31.0), {0: 3})
    report = progress.report(at(31.0))
    assert (report["events_total"], report["answers_total"], report["lag_records"]) == (3, 2, 0)
    assert (report["latency_p50_ms"], report["latency_p99_ms"]) == (None, None)


class SaidAgain(Said):
    name = "said again"


def test_a_stage_is_told_after_it_was_handed_what_the_tick_made_of_the_stages_before() -> None:
    run = Run(pipeline(windows("tens"), Said(), windows("thirties", size_s=30.0), SaidAgain(), stages()[-1]))
    run.rows(*ROWS, ("a", 12.0, 12.0))
    # Windows of a at 0 and 10, logged at 12: event time of the second stage is 2 s behind the log.
    assert run.tick(51.999) is not None, "the tens are over"
    assert run.said("match_id") == []
    run.tick(52.0)
    assert run.said("match_id", "start_s", "rows", "offset") == [("a", 0.0, 2, 3), ("b", 0.0, 1, 3)]
    at_once = Run(run.pipeline)
    at_once.rows(*ROWS, ("a", 12.0, 12.0))
    at_once.tick(52.0)
    assert at_once.said("match_id", "start_s", "rows", "offset") == run.said("match_id", "start_s", "rows", "offset")


def test_without_a_stage_that_ticks_nothing_comes_of_it() -> None:
    run = Run(pipeline(stages()[-1]))
    run.rows(*ROWS)
    assert run.tick(1_000.0) is None


class RefuseAll:
    name = "refuse"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        return rows.with_columns(_reject=pl.lit("Refused: all of them"))


def test_what_a_later_stage_refuses_of_a_tick_is_a_dead_letter_of_the_last_record() -> None:
    run = Run(pipeline(windows(), Said(), RefuseAll()))
    run.rows(*ROWS)
    commit = run.tick(30.0)
    assert commit is not None
    assert (commit.answers, commit.answered) == ([], 0)
    assert commit.rejected == [("windowed.in/0/2", "Refused: all of them")]
    assert [letter.records.values.to_pylist() for letter in commit.dead_letters] == [[b"bytes at 2"]]


def tables(flow: Flow) -> list[pl.DataFrame]:
    return [every_row(table) for table in flow.tables.values()]


def away_at(*calls: int) -> Callable[[Any], None]:
    """Fails at these calls, from 1."""
    made: list[Any] = []

    def call(rows: Any) -> None:
        made.append(rows)
        if len(made) in calls:
            raise DependencyUnavailable("the model is away")

    return call


class AwayAtFirst:
    """A stage whose first tick fails."""

    def __init__(self) -> None:
        self._stage, self._away = windows(), away_at(1)
        self.name, self.new_state = self._stage.name, self._stage.new_state

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        return self._stage(rows, state)

    def tick(self, now_ms: int, partitions: Any, state: StateTable) -> pl.DataFrame:
        self._away(partitions)
        return self._stage.tick(now_ms, partitions, state)


@pytest.mark.parametrize(
    ("stages_of", "waits"),
    [(lambda: stages(away_at(1, 2)), 2), (lambda: (AwayAtFirst(), *stages()[1:]), 1)],
)
def test_a_dependency_that_is_away_during_a_tick_is_waited_for_and_nothing_is_lost_or_doubled(
    stages_of: Callable[[], Any], waits: int
) -> None:
    reasons: list[str] = []
    patient, undisturbed = Run(pipeline(*stages_of()), {"on_wait": reasons.append}), Run()
    for run in (patient, undisturbed):
        run.rows(*ROWS)
        run.tick(30.0)
    assert reasons == [*["the model is away"] * waits, ""]
    assert patient.said("match_id", "rows", "number") == [("a", 2, 1.0), ("b", 1, 1.0)]
    assert patient.said("match_id", "rows", "number") == undisturbed.said("match_id", "rows", "number")
    for found, wanted in zip(tables(patient.flow), tables(undisturbed.flow), strict=True):
        assert found.equals(wanted)


def test_a_tick_that_a_stop_cut_off_is_made_up_for_by_the_next_run() -> None:
    run = Run(pipeline(*stages(away_at(1))), {"keep_waiting": lambda: False})
    run.rows(*ROWS)
    with pytest.raises(DependencyUnavailable, match="the model is away"):
        run.tick(30.0)
    run.flow = run.restarted()
    run.tick(30.5)
    assert run.said("match_id", "rows", "number") == [("a", 2, 1.0), ("b", 1, 1.0)]


HISTORIES = st.lists(
    st.fixed_dictionaries(
        {
            "rows": st.lists(
                st.tuples(
                    st.sampled_from(["a", "b", "c"]),
                    st.sampled_from([0.0, 0.5, 1.0, 4.0, 12.0, 40.0]),  # a pause before it
                    st.sampled_from([0.0, 0.0, 0.0, 1.0, 3.0, 9.0, 30.0, -4.0]),  # behind the log
                ),
                max_size=6,
            ),
            "tick_s": st.sampled_from([0.0, 15.0, 22.0, 31.0, 45.0]),  # after the last row; 0 for none
            "crash": st.sampled_from(["none", "none", "before its commit", "after its commit"]),
        }
    ),
    max_size=8,
)


def lived(history: list[dict[str, Any]], corrections: Corrections | None, *, crashing: bool) -> Run:
    """Batches and ticks in turn; a crash loses what is not committed, which the next run does again."""
    run, now_s = Run(pipeline(*stages(corrections=corrections))), 0.0

    def twice_where_it_crashes(crash: str, act: Callable[[], Commit | None], records: int = 0) -> None:
        commit = act()
        if crashing and crash == "before its commit":
            if commit is not None:
                run.commits.pop()
            run.end -= records
            run.flow = run.restarted()
            act()
        if crashing and crash == "after its commit":
            run.flow = run.restarted()

    for step in history:
        rows: list[Row] = []
        for match, pause_s, behind_s in step["rows"]:
            now_s += pause_s
            rows.append((match, 100.0 + now_s - behind_s, 100.0 + now_s))
        if rows:
            twice_where_it_crashes(step["crash"], lambda rows=rows: run.rows(*rows), len(rows))  # type: ignore[misc]
        if step["tick_s"]:
            at_s = 100.0 + now_s + step["tick_s"]
            twice_where_it_crashes(step["crash"], lambda at_s=at_s: run.tick(at_s))  # type: ignore[misc]
    run.tick(1_000_000.0)
    return run


@settings(max_examples=12)
@given(HISTORIES, st.sampled_from([None, Corrections(20, 10)]))
def test_crashes_change_nothing_of_what_is_committed(
    history: list[dict[str, Any]], corrections: Corrections | None
) -> None:
    clean, crashed = (lived(history, corrections, crashing=crashing) for crashing in (False, True))
    columns = ("match_id", "start_s", "rows", "closed_by", "how", "revision", "offset", "number")
    assert crashed.said(*columns) == clean.said(*columns)
    for found, wanted in zip(tables(crashed.flow), tables(clean.flow), strict=True):
        assert found.equals(wanted)
    issues = [(match, start, revision) for match, start, how, revision in crashed.said(*columns[:2], *columns[4:6])
              if how == "on time"]  # fmt: skip
    assert len(set(issues)) == len(issues), "each revision once"
    if corrections is None:
        assert sum(rows for (rows,) in crashed.said("rows")) == sum(len(step["rows"]) for step in history)
