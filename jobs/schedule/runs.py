"""A run of a schedule: one cause, as many attempts as it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Cause = Literal["cron", "events", "drift", "asked"]
Offsets = Mapping[int, int]


class State(StrEnum):
    """Where a run is. While it is open, it holds its schedule."""

    QUEUED = "queued"  # until the run before it has ended
    WAITING = "waiting"  # until the next attempt
    SUBMITTING = "submitting"  # meant, maybe done: the submitter knows by the attempt's name
    RUNNING = "running"
    STOPPING = "stopping"  # over its time limit
    REPLACING = "replacing"  # stopping, for the one after it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"  # it did its work, and the verdict is no; nothing is tried again
    REPLACED = "replaced"
    SKIPPED = "skipped"
    MISSED = "missed"

    @property
    def is_open(self) -> bool:
        """Whether something is still to happen."""
        return self in _OPEN

    @property
    def is_submitted(self) -> bool:
        """Whether the submitter may know of it."""
        return self in _SUBMITTED


_SUBMITTED = {State.SUBMITTING, State.RUNNING, State.STOPPING, State.REPLACING}
_OPEN = {State.QUEUED, State.WAITING, *_SUBMITTED}


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the history. Times are milliseconds, UTC."""

    run_id: str  # schedule and time it was due: the same cause never makes two
    schedule: str
    cause: Cause
    due_ms: int
    state: State
    attempt: int = 0  # of the last one submitted; the first is 1
    not_before_ms: int = 0  # of the next attempt
    submitted_ms: int | None = None  # of the last attempt
    ended_ms: int | None = None
    reason: str = ""
    topic: str = ""  # whose events the schedule counts
    ends: Offsets | None = None  # of that topic when it was submitted first, if that was known

    @property
    def attempt_id(self) -> str:
        """What the submitter knows this attempt by."""
        return f"{self.run_id}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class Anchor:
    """Cron times up to here are dealt with. One of another expression or zone than the schedule has now is void."""

    cron: str
    zone: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Request:
    """A run that somebody asked for."""

    number: int
    schedule: str
    asked_ms: int


@dataclass(frozen=True, slots=True)
class Job:
    """What a submitter says of an attempt."""

    state: Literal["unknown", "running", "succeeded", "refused", "failed"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TopicOffsets:
    """First and next offset of every partition of a topic."""

    begins: Offsets
    ends: Offsets

    def since(self, base: Offsets | None) -> int:
        """Positions since these ends, of all partitions; since the beginning where there are none, or where the topic
        was made anew."""
        known = {
            partition: offset for partition, offset in (base or {}).items() if offset <= self.ends.get(partition, -1)
        }
        return sum(end - known.get(partition, self.begins[partition]) for partition, end in self.ends.items())
