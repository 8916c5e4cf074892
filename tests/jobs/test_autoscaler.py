"""From a run's progress to the policy's observation, and what becomes of a decision. By a clock of this test's own."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from jobs.autoscaling import Autoscaler, autoscaled
from jobs.run_continuous import worker_autoscaler
from jobs.settings import load_settings
from streaming.runners.autoscaling import AutoscalingPolicy
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.progress import Progress
from tests.waiting import PATIENCE_S


class Run:
    """A run of two partitions whose lag is two seconds, then ten, and its autoscaler."""

    def __init__(self) -> None:
        self.now_s, self.began_ms = 0.0, time.time_ns() // 1_000_000 - 60_000
        self.progress = Progress(self.began_ms)
        self.ready, self.scaled, self.broken = 1, list[int](), False
        policy = AutoscalingPolicy(1, 3, start_up_s=4.0)
        self.autoscaler = Autoscaler(
            policy, self.progress, ready=lambda: self.ready, scale=self.scale, monotonic_s=lambda: self.now_s
        )

    def scale(self, workers: int) -> None:
        if self.broken:
            raise OSError("the head node is gone")
        self.scaled.append(workers)

    def second(self, arrived: int, answered: int) -> None:
        """One passes: so many came to each of two partitions, so many of each were answered."""
        self.now_s += 1
        self.end = {p: end + arrived for p, end in getattr(self, "end", {0: 0, 1: 0}).items()}
        self.done = {p: end + answered for p, end in getattr(self, "done", {0: 0, 1: 0}).items()}
        self.progress.log_ends_at(self.began_ms + int(self.now_s * 1e3), self.end)
        self.progress.committed(
            self.began_ms,
            events=2 * answered,
            answers=0,
            dead_letters=0,
            counts={},
            alerts=(),
            offsets=self.done,
            ingest_time_ms=np.empty(0, np.int64),
        )
        self.autoscaler.look()


def test_a_run_that_falls_behind_gets_workers_and_an_order_that_failed_is_given_again() -> None:
    run = Run()
    run.broken = True
    for _ in range(3):
        run.second(arrived=1_000, answered=400)
    with pytest.raises(OSError, match="head node"):
        run.second(arrived=1_000, answered=400)
    assert run.autoscaler.wanted == 1
    run.broken = False
    run.second(arrived=1_000, answered=400)
    assert run.scaled == [3]  # 2,000/s arrive, one takes 800
    assert run.autoscaler.wanted == 3
    run.second(arrived=1_000, answered=400)
    assert run.scaled == [3], "two of three are starting"


def test_nothing_is_decided_while_replicas_cannot_be_counted() -> None:
    run = Run()
    run.ready = -1
    for _ in range(10):
        run.second(arrived=1_000, answered=400)
    assert run.scaled == []


def test_a_thread_looks_and_an_error_does_not_end_it() -> None:
    looks, again = [], threading.Event()

    class Broken:
        def look(self) -> None:
            looks.append(1)
            if len(looks) > 1:
                again.set()
            raise OSError("the head node is gone")

    with autoscaled(Broken()):  # type: ignore[arg-type]
        assert again.wait(PATIENCE_S)
    with autoscaled(None):
        pass


@pytest.mark.parametrize(
    ("given", "partitions", "maximum"),
    [
        ({"workers": 8, "min_workers": 2}, 4, 4),
        ({"workers": 3, "min_workers": 1}, 4, 3),
        ({"workers": 8}, 4, None),
    ],
)
def test_workers_are_at_most_the_partitions(given: dict[str, Any], partitions: int, maximum: int | None) -> None:
    settings = load_settings({f"pipeline.{name}": (value, "--set") for name, value in given.items()}).settings
    made = worker_autoscaler(ContinuousRunner(lambda number, progress: None, 1), settings, partitions)  # type: ignore[arg-type, return-value]
    assert (made and made._policy.maximum) == maximum  # noqa: SLF001 - nothing shows it sooner than a cluster
