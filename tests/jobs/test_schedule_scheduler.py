"""The loop around the decisions: with jobs in memory and a clock moved by hand, then as processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs.schedule.book import Book
from jobs.schedule.definition import Schedule
from jobs.schedule.runs import State, TopicOffsets
from jobs.schedule.scheduler import LEASE_S, Scheduler
from jobs.schedule.sensors import Sight
from streaming.testing import ManualClock
from tests.schedule_submitters import MemoryJobs, until
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
SCHEDULE = Schedule(command="version", cron="* * * * *")


class Lab:
    """Schedulers of one book."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.jobs, self.folder = ManualClock(1_700_000_000_000), MemoryJobs(), folder
        self.sight = Sight()
        self.books: list[Book] = []

    def scheduler(self, schedule: Schedule = SCHEDULE) -> Scheduler:
        self.books.append(Book(self.folder))
        return Scheduler(self.books[-1], {"a": schedule}, self.jobs, lambda: self.sight, self.clock.now_ms)

    def states(self) -> list[State]:
        return [run.state for run in reversed(self.books[0].history())]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    for book in made.books:
        book.close()


def test_a_time_comes_and_its_job_runs(lab: Lab) -> None:
    scheduler = lab.scheduler()
    assert scheduler.tick() and lab.jobs.submitted == []
    lab.clock.advance(60_000)
    for _ in range(4):
        assert scheduler.tick()
    (name,) = lab.jobs.submitted
    assert name.startswith(f"sightline-{lab.books[0].identity}-a-2023") and name.endswith("z-1")
    assert lab.states() == [State.SUCCEEDED]


def test_of_two_one_acts_and_the_other_follows_when_the_lease_is_over(lab: Lab) -> None:
    first, second = lab.scheduler(), lab.scheduler()
    assert first.tick() and not second.tick()
    lab.clock.advance(60_000)
    assert second.tick()  # the first said nothing for a minute
    assert len(lab.jobs.submitted) == 1
    assert not first.tick()  # it wakes, and finds itself deposed
    assert len(lab.jobs.submitted) == 1


def test_who_sleeps_between_decision_and_writing_changes_nothing(lab: Lab) -> None:
    sleeper, other = lab.scheduler(), lab.scheduler()
    sleeper.tick()
    lab.clock.advance(9_000)

    def asleep() -> Sight:  # within its round the lease runs out, and another acts
        if lab.sight is marked:
            lab.sight = Sight()
            lab.clock.advance(round(LEASE_S * 1000))
            assert other.tick()
        return lab.sight

    marked = lab.sight = Sight(at_s=1.0)
    sleeper._sight = asleep  # noqa: SLF001
    lab.clock.advance(60_000 - lab.clock.now_ms() % 60_000)
    assert not sleeper.tick()
    assert len(lab.jobs.submitted) == 1 and lab.states() == [State.SUBMITTING]


def test_what_was_meant_before_a_crash_is_done_by_the_next(lab: Lab) -> None:
    lab.scheduler().tick()
    lab.clock.advance(60_000)
    lab.jobs.away = True  # the first writes down what it means, and dies before the cluster hears of it
    first = lab.scheduler()
    assert first.tick() and lab.jobs.submitted == [] and lab.states() == [State.SUBMITTING]
    lab.jobs.away = False
    lab.clock.advance(16_000)
    second = lab.scheduler()
    for _ in range(4):
        assert second.tick()
    assert len(lab.jobs.submitted) == 1 and lab.states() == [State.SUCCEEDED]


def test_a_job_that_is_refused_has_failed_with_the_reason(lab: Lab) -> None:
    scheduler = lab.scheduler(SCHEDULE.model_copy(update={"retries": 1, "back_off_s": 5.0}))
    scheduler.tick()
    lab.jobs.refuses = True
    lab.clock.advance(60_000)
    for _ in range(3):
        scheduler.tick()
    assert [(run.state, run.reason) for run in lab.books[0].history()] == [(State.WAITING, "too large")]
    lab.clock.advance(5_000)
    for _ in range(3):
        scheduler.tick()
    assert [(run.state, run.attempt) for run in lab.books[0].history()] == [(State.FAILED, 2)]


def test_a_job_over_its_time_is_stopped(lab: Lab) -> None:
    scheduler = lab.scheduler(Schedule(command="sleep", cron="* * * * *", time_limit_s=10))
    scheduler.tick()
    lab.clock.advance(60_000)
    scheduler.tick(), scheduler.tick()
    lab.clock.advance(10_000)
    scheduler.tick(), scheduler.tick()
    assert [(run.state, run.reason) for run in lab.books[0].history()] == [
        (State.FAILED, "over its time limit of 10 s")
    ]


def test_new_events_start_a_run_and_are_counted_from_there(lab: Lab) -> None:
    scheduler = lab.scheduler(Schedule(command="version", events=100, cool_down_s=0))
    lab.sight = Sight({"match.events": TopicOffsets({0: 0}, {0: 150})})
    for _ in range(6):
        scheduler.tick()
    assert lab.states() == [State.SUCCEEDED]
    lab.sight = Sight({"match.events": TopicOffsets({0: 0}, {0: 250})})
    lab.clock.advance(1_000)
    for _ in range(6):
        scheduler.tick()
    assert lab.states() == [State.SUCCEEDED] * 2


def test_on_stop_the_lease_is_given_back(lab: Lab) -> None:
    first, stop = lab.scheduler(), threading.Event()
    first._sight = lambda: (stop.set(), Sight())[1]  # type: ignore[func-returns-value]  # noqa: SLF001
    first.run(stop)
    assert lab.scheduler().tick()


@contextmanager
def two_schedulers(tmp_path: Path, settings: str) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Two processes with one home folder, by their ids."""
    (tmp_path / "s.toml").write_text(settings, "utf-8")
    own = {"SIGHTLINE_HOME": str(tmp_path), "SIGHTLINE_CONFIG": str(tmp_path / "s.toml"), "PYTHONPATH": str(ROOT)}
    started = {}
    try:
        for number in range(2):
            with (tmp_path / f"log-{number}").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "jobs.cli", "schedule", "run", "--jobs", "local"],
                    cwd=ROOT,
                    env=os.environ | own,
                    stderr=log,
                )
            started[str(process.pid)] = process
        yield started
    finally:
        for process in started.values():
            process.kill()
            process.wait(PATIENCE_S)


def test_of_two_processes_one_acts_and_when_it_is_killed_the_other_goes_on_and_runs_nothing_twice(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "pipe"  # the job lasts until somebody writes into it
    os.mkfifo(pipe, 0o600)
    command = f"tokens ls --set 'gateway.tokens={pipe}'"
    book = Book(tmp_path / "schedule")
    jobs = tmp_path / "schedule" / "jobs"
    with two_schedulers(tmp_path, f'[schedule.slow]\ncommand = "{command}"\ncron = "0 0 1 1 *"\n') as both:
        book.ask("slow", 1)
        until(lambda: [run.state for run in book.history()] == [State.RUNNING], "the job runs")
        until(lambda: list(jobs.glob("*/begun")), "the job has begun")
        lease = book.lease()
        assert lease is not None and lease.fence == 1
        leader = both[lease.owner.split("/")[1]]
        leader.send_signal(signal.SIGKILL)
        leader.wait(PATIENCE_S)
        until(lambda: book.lease().fence == 2, "the other takes over")  # type: ignore[union-attr]
        book.ask("slow", 2)  # skipped: the job of the one that was killed still runs, and this one knows
        until(lambda: len(book.history()) == 2, "the other acts")
        assert [run.state for run in book.history()] == [State.SKIPPED, State.RUNNING]
        pipe.write_text(json.dumps({"tokens": []}))
        until(lambda: not book.open_runs(), "the job is seen to have ended")
        assert [(run.state, run.attempt) for run in book.history()] == [(State.SKIPPED, 0), (State.SUCCEEDED, 1)]
        assert len(list(jobs.iterdir())) == 1
        follower = next(process for process in both.values() if process is not leader)
        follower.send_signal(signal.SIGTERM)
        assert follower.wait(PATIENCE_S) == 0
    free = book.take_lease("next", round(time.time() * 1000), 1_000)
    assert free is not None and free.fence == 3  # given back, not waited for
    book.close()
