"""Attempts as Ray jobs: what `ray job submit --working-dir . -- python -m jobs.cli …` does, under names of our own."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jobs.errors import Exit
from jobs.schedule.runs import Job
from jobs.schedule.submitter import Refused, SubmitterAway

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

log = logging.getLogger(__name__)

_EXCLUDED = (".venv", "**/node_modules", "**/__pycache__", ".git", "tests")


class RayJobs:
    """Jobs of a Ray cluster.

    Args:
        address: of its Jobs API, such as http://head:8265; None: where RAY_API_SERVER_ADDRESS or RAY_ADDRESS say.
        working_dir: sent along with each job, which runs in a copy of it.
        environment: of each job, on top of the cluster's own.
    """

    def __init__(self, address: str | None, working_dir: Path, environment: Mapping[str, str]) -> None:
        self._address, self._working_dir, self._environment = address, working_dir, dict(environment)
        self._connected: JobSubmissionClient | None = None

    def submit(self, attempt: str, words: Sequence[str]) -> None:
        """As `Submitter` has it."""
        with self._asking() as client:
            try:
                client.submit_job(
                    entrypoint=shlex.join(["python", "-m", "jobs.cli", *words]),
                    submission_id=attempt,
                    runtime_env={
                        "working_dir": str(self._working_dir),
                        "excludes": list(_EXCLUDED),
                        "env_vars": self._environment,
                    },
                )
            except ValueError as problem:  # found before anything was sent
                raise Refused(f"Ray does not take it: {problem}") from problem
            except RuntimeError as problem:
                if attempt in _details(client):
                    return
                if "status code 4" in str(problem):  # the request itself is at fault
                    raise Refused(f"Ray does not take it: {problem}") from problem
                raise

    def jobs(self, attempts: Collection[str]) -> Mapping[str, Job]:
        """As `Submitter` has it."""
        if not attempts:
            return {}
        with self._asking() as client:
            known = _details(client)
            return {attempt: known.get(attempt, Job("unknown")) for attempt in attempts}

    def stop(self, attempt: str) -> None:
        """As `Submitter` has it."""
        with self._asking() as client:
            if _details(client).get(attempt, Job("unknown")).state == "running":
                client.stop_job(attempt)

    @contextmanager
    def _asking(self) -> Iterator[JobSubmissionClient]:
        from ray.job_submission import JobSubmissionClient

        try:
            if self._connected is None:
                self._connected = JobSubmissionClient(self._address)
            yield self._connected
        except Refused:
            raise
        except (OSError, RuntimeError) as problem:  # ConnectionError of Ray and of requests; an answer 500
            self._connected = None
            raise SubmitterAway(f"Ray's Jobs API at {self._address or 'its address'}: {problem}") from problem


def _details(client: JobSubmissionClient) -> dict[str, Job]:
    return {
        str(job.submission_id): _job(str(job.status), job.message or "", job.driver_exit_code)
        for job in client.list_jobs()
        if job.submission_id
    }


def _job(status: str, message: str, exit_code: int | None) -> Job:
    if status in ("PENDING", "RUNNING"):
        return Job("running")
    if status == "SUCCEEDED":
        return Job("succeeded")
    state: Literal["refused", "failed"] = "refused" if exit_code == Exit.REFUSED else "failed"
    return Job(state, " ".join(message.split())[-500:] or f"Ray says {status.lower()}")
