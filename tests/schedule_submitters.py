"""The contract of submitters, one in memory, and what their tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from jobs.schedule.runs import Job
from jobs.schedule.submitter import Refused, Submitter, SubmitterAway
from tests.waiting import wait_until

GOOD = ("version",)
REFUSED = ("models", "rollback", "tsstn-lol", "--set", "models.store=no-such-store")
"""Of a model that has never been anything else; nothing is written."""


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for something."""
    wait_until(holds, pause_s=0.05, otherwise=lambda: f"in vain: {what}")


def lasting(folder: Path) -> tuple[str, ...]:
    """A command that lasts: it reads a pipe into which nobody writes."""
    os.mkfifo(folder / "pipe", 0o600)
    return ("tokens", "ls", "--set", f"gateway.tokens={folder / 'pipe'}")


class MemoryJobs:
    """Jobs that do nothing: `sleep` lasts; at the second look `GOOD` has succeeded, `REFUSED` is refused, the others
    have failed."""

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.known: dict[str, Job] = {}
        self.away = False
        self.refuses = False
        self._words: dict[str, Sequence[str]] = {}

    def submit(self, attempt: str, words: Sequence[str]) -> None:
        self._there()
        if self.refuses:
            raise Refused("too large")
        if attempt not in self.known:
            self.submitted.append(attempt)
            self.known[attempt], self._words[attempt] = Job("running"), words

    def jobs(self, attempts: Collection[str]) -> Mapping[str, Job]:
        self._there()
        found = {attempt: self.known.get(attempt, Job("unknown")) for attempt in attempts}
        for attempt in attempts:
            if found[attempt].state == "running" and self._words[attempt][0] != "sleep":
                ends = {GOOD: Job("succeeded"), REFUSED: Job("refused", "no")}
                self.known[attempt] = ends.get(tuple(self._words[attempt]), Job("failed", "exit 2"))
        return found

    def stop(self, attempt: str) -> None:
        self._there()
        if self.known.get(attempt, Job("unknown")).state == "running":
            self.known[attempt] = Job("failed", "stopped")

    def _there(self) -> None:
        if self.away:
            raise SubmitterAway("the cluster is away")


def check_submitter(submitter: Submitter, lasts: Sequence[str]) -> None:
    """All that a scheduler relies on. `lasts` is a command that lasts."""

    def state(attempt: str) -> str:
        return submitter.jobs([attempt])[attempt].state

    assert submitter.jobs([]) == {}
    assert state("good-1") == "unknown"
    submitter.stop("good-1")  # of what is not there
    submitter.submit("good-1", GOOD)
    submitter.submit("bad-1", ("no-such-command",))
    submitter.submit("refused-1", REFUSED)
    submitter.submit("long-1", lasts)
    assert set(submitter.jobs(["good-1", "other-1"])) == {"good-1", "other-1"}
    submitter.submit("good-1", ("version",))  # of what is there
    until(lambda: state("good-1") == "succeeded", "the good job succeeds")
    until(lambda: state("bad-1") == "failed", "the bad job fails")
    assert submitter.jobs(["bad-1"])["bad-1"].reason
    until(lambda: state("refused-1") == "refused", "what is refused is told from what fails")
    assert submitter.jobs(["refused-1"])["refused-1"].reason
    assert state("long-1") == "running"
    submitter.submit("long-1", ("version",))
    assert state("long-1") == "running"

    def stopped() -> bool:
        submitter.stop("long-1")
        return state("long-1") == "failed"

    until(stopped, "the long job stops")
    for ended in ("good-1", "bad-1", "refused-1", "long-1"):
        before = state(ended)
        submitter.submit(ended, ("version",))
        submitter.stop(ended)
        assert state(ended) == before
