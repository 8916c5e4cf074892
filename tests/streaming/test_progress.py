"""Lag is the age of the oldest unanswered position; the report says what is waited for. Times by hand, no clock."""

from __future__ import annotations

import numpy as np
import pytest

from streaming.runners.progress import Lag, Progress


def test_lag_is_the_age_of_the_first_sample_above_what_is_committed() -> None:
    lag = Lag()
    lag.sample(1_000, {0: 10, 1: 5})
    lag.sample(2_000, {0: 20, 1: 5})
    assert lag.seconds(5_000, {0: 10, 1: 5}) == {0: 3.0, 1: 0.0}
    assert lag.seconds(6_000, {0: 20, 1: 5}) == {0: 0.0, 1: 0.0}


def test_a_backlog_that_was_there_before_the_run_is_as_old_as_what_was_answered_of_it_last() -> None:
    lag = Lag()
    lag.sample(100_000, {0: 50, 1: 0})
    assert lag.seconds(101_000, {0: 10}) == {0: 1.0, 1: 0.0}, "nothing else is known yet"
    lag.reached(40_000)
    lag.reached(39_000)
    assert lag.seconds(101_000, {0: 10}) == {0: 61.0, 1: 0.0}
    lag.sample(102_000, {0: 60, 1: 0})
    assert lag.seconds(103_000, {0: 50}) == {0: 1.0, 1: 0.0}, "what came later has a sample"
    assert lag.seconds(104_000, {0: 60}) == {0: 0.0, 1: 0.0}


def test_a_partition_that_was_never_committed_lags_from_its_first_sample() -> None:
    lag = Lag()
    lag.sample(1_000, {0: 10})
    assert lag.seconds(4_000, {}) == {0: 3.0}


def commit(progress: Progress, now_ms: int, ingest_ms: list[int], end: int) -> None:
    progress.committed(
        now_ms,
        events=len(ingest_ms),
        answers=len(ingest_ms),
        dead_letters=1,
        counts={"late": 2, "repeated": 1, "contributions-broken": 3},
        alerts=[f"at {end}"],
        offsets={0: end},
        ingest_time_ms=np.asarray(ingest_ms, np.int64),
    )


def test_the_report_counts_commits_and_latency_of_the_last_minute() -> None:
    progress = Progress(now_ms=0)
    progress.log_ends_at(0, {0: 0})
    commit(progress, 1_000, [0] * 10, 10)  # 1,000 ms, leaves the window
    commit(progress, 70_000, [69_900] * 30, 40)  # 100 ms
    progress.log_ends_at(70_000, {0: 45})
    report = progress.report(now_ms=72_000)
    assert report["events_total"] == 40
    assert report["dead_letters_total"] == 2
    assert report["latency_p50_ms"] == pytest.approx(100.0)
    assert report["events_per_s"] == pytest.approx(3.0)  # 30 in the last 10 s
    assert report["lag_records"] == 5
    assert report["lag_s"] == pytest.approx(2.0)
    assert report["state"] == "running"


def test_counts_add_up_over_commits_and_alerts_are_those_of_the_last() -> None:
    progress = Progress(now_ms=0)
    assert (progress.report(0)["broken_total"], progress.report(0)["alerts"]) == (0, [])
    commit(progress, 1_000, [0], 10)
    commit(progress, 2_000, [0], 20)
    report = progress.report(3_000)
    totals = [report[f"{name}_total"] for name in ("late", "repeated", "broken", "degraded")]
    assert totals == [4, 2, 6, 0]
    assert report["alerts"] == ["at 20"]


def test_waiting_says_why_until_it_is_over() -> None:
    progress = Progress(now_ms=0)
    progress.waits("commit", "Kafka at x does not answer")
    progress.waits("read", "Kafka at x does not answer")
    report = progress.report(1_000)
    assert (report["state"], report["reason"]) == ("waiting", "Kafka at x does not answer")
    progress.waits("commit", "")
    progress.waits("read", "")
    report = progress.report(2_000)
    assert (report["state"], report["reason"]) == ("running", "")
    assert report["errors"] == ["Kafka at x does not answer"]


def test_there_is_no_latency_where_nothing_was_answered() -> None:
    progress = Progress(now_ms=0)
    assert (progress.report(0)["latency_p50_ms"], progress.report(0)["latency_p99_ms"]) == (None, None)
    commit(progress, 1_000, [900], 1)
    assert progress.report(2_000)["latency_p99_ms"] == pytest.approx(100.0)
    assert progress.report(62_000)["latency_p50_ms"] is None  # more than a minute ago
