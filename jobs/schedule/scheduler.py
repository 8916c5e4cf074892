"""The loop: hold the lease, look, decide, write, act. What is acted on is what the book says, so that whoever holds
the lease next goes on where this one was."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence

from jobs.schedule.book import Book, Deposed, Lease
from jobs.schedule.decide import Seen, decide
from jobs.schedule.definition import Schedule
from jobs.schedule.runs import Job, Run, State
from jobs.schedule.sensors import Sight
from jobs.schedule.submitter import Refused, Submitter, SubmitterAway

log = logging.getLogger(__name__)

LEASE_S = 15.0
_PERIOD_S = 1.0


class Scheduler:
    """One of those that may act.

    Args:
        book: of all of them.
        schedules: by name.
        submitter: where jobs run.
        sight: what was seen outside.
        clock_ms: UTC; the clocks of all machines with this book must agree to well below the lease.
        lease_s: after so long without a word another takes over.
    """

    def __init__(
        self,
        book: Book,
        schedules: Mapping[str, Schedule],
        submitter: Submitter,
        sight: Callable[[], Sight],
        clock_ms: Callable[[], int],
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self._book, self._schedules, self._submitter = book, schedules, submitter
        self._sight, self._clock_ms, self._lease_ms = sight, clock_ms, round(lease_s * 1000)
        self._owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:6]}"
        self._lease: Lease | None = None
        self._prefix = f"sightline-{book.identity}-"
        self._refused: dict[str, str] = {}  # attempt → why
        self._said = ""

    def run(self, stop: threading.Event) -> None:
        """Until told to stop. Jobs go on; the lease is given back.

        Raises:
            BookBroken: the book cannot be read or written.
        """
        try:
            while not stop.is_set():
                self.tick()
                stop.wait(_PERIOD_S)
        finally:
            if self._lease is not None:
                self._book.leave(self._lease, self._clock_ms())

    def tick(self) -> bool:
        """Once; whether this scheduler acts."""
        now_ms = self._clock_ms()
        if self._lease is None or not self._lease_ms * 2 // 3 < self._lease.until_ms - now_ms <= self._lease_ms:
            self._renew(now_ms)  # also when the clock was set back
        if self._lease is None:
            return False
        past = self._book.past()
        sight = self._sight()
        jobs = self._jobs([run for run in past.open if run.state.is_submitted])
        plan = decide(now_ms, self._schedules, past, Seen(sight.topics, sight.alerts, jobs))
        if plan:
            try:
                self._book.write(plan, self._lease, self._clock_ms())
            except Deposed as deposed:
                log.warning("%s", deposed)
                self._lease = None
                return False
        for run in (*plan.begun, *plan.changed):
            self._tell(run)
        for run in self._book.open_runs() if plan else past.open:
            self._act(run)
        return True

    def _renew(self, now_ms: int) -> None:
        before, self._lease = self._lease, self._book.take_lease(self._owner, now_ms, self._lease_ms)
        if self._lease is None:
            held = self._book.lease()
            self._say(f"waiting: {held.owner if held else 'another scheduler'} acts")
        elif before is None:
            log.info("this scheduler acts", extra={"owner": self._owner, "fence": self._lease.fence})

    def _jobs(self, runs: Sequence[Run]) -> Mapping[str, Job]:
        refused = {
            run.attempt_id: Job("failed", self._refused[run.attempt_id])
            for run in runs
            if run.attempt_id in self._refused
        }
        asked = {self._prefix + run.attempt_id: run.attempt_id for run in runs if run.attempt_id not in refused}
        try:
            found = self._submitter.jobs(asked)
        except SubmitterAway as away:
            self._say(str(away))
            return refused
        return refused | {asked[name]: job for name, job in found.items()}

    def _act(self, run: Run) -> None:
        """What the run's state asks for; again in every round, until it is seen to have been done."""
        name = self._prefix + run.attempt_id
        try:
            if (
                run.state is State.SUBMITTING
                and run.schedule in self._schedules
                and run.attempt_id not in self._refused
            ):
                self._submitter.submit(name, self._schedules[run.schedule].words)
            elif run.state in (State.STOPPING, State.REPLACING):
                self._submitter.stop(name)
        except Refused as refused:
            self._refused[run.attempt_id] = str(refused)
        except SubmitterAway as away:
            self._say(str(away))

    def _tell(self, run: Run) -> None:
        extra = {"run": run.run_id, "schedule": run.schedule, "cause": run.cause, "attempt": run.attempt}
        level = logging.WARNING if run.state in (State.FAILED, State.WAITING, State.MISSED) else logging.INFO
        log.log(level, "%s%s", run.state, f": {run.reason}" if run.reason else "", extra=extra)

    def _say(self, words: str) -> None:
        """A warning, unless it was the last one."""
        if words != self._said:
            self._said = words
            log.warning("%s", words)
