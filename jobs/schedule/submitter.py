"""Where attempts run: what a scheduler needs of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from jobs.schedule.runs import Job


class SubmitterAway(ConnectionError):
    """It cannot be asked now; waiting may help."""


class Refused(ValueError):
    """It will not take the job, now or later."""


class Submitter(Protocol):
    """A cluster, or this machine. All names are those of attempts, and each means one job for ever."""

    def submit(self, attempt: str, words: Sequence[str]) -> None:
        """Run `sightline WORDS`. Of an attempt that was submitted before, by whomever, nothing is run again.

        Raises:
            Refused: it never will.
            SubmitterAway: whether it was submitted is not known.
        """

    def jobs(self, attempts: Collection[str]) -> Mapping[str, Job]:
        """How each of them is.

        Raises:
            SubmitterAway: not known.
        """

    def stop(self, attempt: str) -> None:
        """Bring it to an end, which may take a while; nothing where it has ended. To be repeated until it has.

        Raises:
            SubmitterAway: perhaps not heard.
        """
