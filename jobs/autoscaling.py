"""Autoscaling of a live run: what its progress says goes to the policy, what the policy wants goes to the runner."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from jobs.threads import beside
from streaming.runners.autoscaling import AutoscalingPolicy, Observation
from streaming.runners.progress import Progress

log = logging.getLogger(__name__)

_PERIOD_S = 1.0


class Autoscaler:
    """Asks a policy again and again, and does what it says. Does not look at the log itself: whoever keeps the lag in
    `progress` does (`jobs.status.StatusReporter`).

    Args:
        policy: decides.
        progress: of the run.
        ready: how many workers answer now; less than 0 where that is not known.
        scale: so many from now on.
        what: they are called, in the log.
        monotonic_s: a clock that only rises.
    """

    def __init__(
        self,
        policy: AutoscalingPolicy,
        progress: Progress,
        *,
        ready: Callable[[], int],
        scale: Callable[[int], None],
        what: str = "workers",
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._progress, self._ready, self._scale = policy, progress, ready, scale
        self._what, self._monotonic_s = what, monotonic_s
        self._now = policy.first()
        self._seen: deque[tuple[float, int, int]] = deque()  # (time_s, end of the log, answered), one window of them

    @property
    def wanted(self) -> int:
        """What was decided last."""
        return self._now.wanted

    def look(self) -> None:
        """One decision, if there is enough to decide on."""
        seen = self._observe()
        if seen is None:
            return
        decided = self._policy.decide(self._now, seen)
        if decided.wanted != self._now.wanted:
            log.info("%d %s instead of %d: lag %.1f s", decided.wanted, self._what, self._now.wanted, seen.lag_s)
            self._scale(decided.wanted)
        self._now = decided  # only now: what could not be asked for is asked for again

    def _observe(self) -> Observation | None:
        """None before there are two looks at the log to compare, or while workers cannot be counted."""
        report: Mapping[str, Any] = self._progress.report(time.time_ns() // 1_000_000)
        ready, partitions = self._ready(), report["partitions"]
        if ready < 0 or not partitions:
            return None
        now_s = self._monotonic_s()
        self._seen.append((now_s, sum(part["end"] for part in partitions), report["events_total"]))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - self._policy.window_s:
            self._seen.popleft()
        then_s, end, answered = self._seen[0]
        if now_s <= then_s:
            return None
        return Observation(
            time_s=now_s,
            lag_s=report["lag_s"],
            backlog=report["lag_records"],
            arrival_per_s=(self._seen[-1][1] - end) / (now_s - then_s),
            answered_per_s=(self._seen[-1][2] - answered) / (now_s - then_s),
            workers=ready,
            starting=max(0, self._now.wanted - ready),
        )


def autoscaled(autoscaler: Autoscaler | None) -> AbstractContextManager[None]:
    """Within the block a thread looks every second; with None nothing is scaled."""
    if autoscaler is None:
        return nullcontext()

    def watch(over: threading.Event) -> None:
        while not over.wait(_PERIOD_S):
            try:
                autoscaler.look()
            except Exception as failure:  # whatever a cluster in trouble raises: the run goes on with what it has
                log.warning("not scaled, and tried again: %s", failure)

    return beside(watch, "autoscaling")
