"""What a runner knows about itself: counters, rates, latency and lag, for the status topic and the log."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_WINDOW_MS = 60_000
_RATE_WINDOW_MS = 10_000
_MAX_ERRORS = 5


@dataclass
class Lag:
    """Lag in seconds from end-of-log samples: the age of the oldest position that is not answered yet.

    A sample (time, end) says that everything below `end` was on the log at that time. The oldest sample whose end lies
    above what is committed was taken when the oldest unanswered record had already arrived.

    Of records that were there before the first sample it knows no such time. They are younger than the newest one that
    was answered, as a backlog is read in the order of its record times: that one's age is then the lag.
    """

    _samples: dict[int, deque[tuple[int, int]]] = field(default_factory=dict)  # partition → (time_ms, end)
    _found: dict[int, int] = field(default_factory=dict)  # partition → where it ended at the first sample
    _reached_ms: int | None = None  # record time of the newest answered record

    def sample(self, now_ms: int, end: Mapping[int, int]) -> None:
        """Remember where the log ended."""
        for partition, offset in end.items():
            self._found.setdefault(partition, offset)
            samples = self._samples.setdefault(partition, deque(maxlen=7_200))
            if not samples or samples[-1][1] != offset:
                samples.append((now_ms, offset))

    def reached(self, record_time_ms: int) -> None:
        """A record of that time was answered."""
        self._reached_ms = max(self._reached_ms or 0, record_time_ms)

    def seconds(self, now_ms: int, committed: Mapping[int, int]) -> dict[int, float]:
        """Per partition; 0.0 where everything is answered."""
        lag: dict[int, float] = {}
        for partition, samples in self._samples.items():
            position = committed.get(partition, 0)
            while samples and samples[0][1] <= position:
                samples.popleft()
            since_ms = samples[0][0] if samples else now_ms
            if position < self._found[partition] and self._reached_ms is not None:
                since_ms = min(since_ms, self._reached_ms)
            lag[partition] = (now_ms - since_ms) / 1e3
        return lag


class Progress:
    """Thread-safe counters of one run."""

    def __init__(self, now_ms: int) -> None:
        self.started_ms = now_ms
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter()
        self._alerts: tuple[str, ...] = ()
        self._commits: deque[tuple[int, int, int]] = deque()  # (time_ms, events, answers)
        self._latencies: deque[tuple[int, npt.NDArray[np.float64]]] = deque(maxlen=4_096)
        self._errors: deque[str] = deque(maxlen=_MAX_ERRORS)
        self._waiting: dict[str, str] = {}
        self._committed: dict[int, int] = {}
        self._lag = Lag()
        self._end: dict[int, int] = {}

    def resumed_at(self, committed: Mapping[int, int]) -> None:
        """Where the run starts."""
        with self._lock:
            self._committed.update(committed)

    def committed(
        self,
        now_ms: int,
        *,
        events: int,
        answers: int,
        dead_letters: int,
        counts: Mapping[str, int],
        alerts: Sequence[str],
        offsets: Mapping[int, int],
        ingest_time_ms: npt.NDArray[np.int64],
    ) -> None:
        """One transaction became visible.

        Args:
            now_ms: when, UTC.
            events: records that it answers for.
            answers: rows that it made.
            dead_letters: records that it refused.
            counts: what else grew by how much: `late`, `repeated` and `shed` events, answers by flag.
            alerts: what stages say is wrong as of this commit.
            offsets: next unread offset by partition.
            ingest_time_ms: when the events of the answers reached the log, (answers,).
        """
        with self._lock:
            self._totals.update(
                {"events": events, "answers": answers, "dead_letters": dead_letters, "batches": 1, **counts}
            )
            self._alerts = tuple(alerts)
            self._commits.append((now_ms, events, answers))
            while self._commits[0][0] < now_ms - _RATE_WINDOW_MS:
                self._commits.popleft()
            if len(ingest_time_ms):
                self._latencies.append((now_ms, (now_ms - ingest_time_ms).astype(np.float64)))
                self._lag.reached(int(ingest_time_ms.max()))
            self._committed.update(offsets)

    def log_ends_at(self, now_ms: int, end: Mapping[int, int]) -> None:
        """A fresh look at the end of the source topic."""
        with self._lock:
            self._end.update(end)
            self._lag.sample(now_ms, end)

    def waits(self, part: str, reason: str) -> None:
        """One part of the runner (`read`, `stages`, `commit`) waits for something, or with "" no longer."""
        with self._lock:
            if not reason:
                self._waiting.pop(part, None)
                return
            if reason not in self._waiting.values():
                self._errors.appendleft(reason)
            self._waiting[part] = reason

    def report(self, now_ms: int) -> dict[str, object]:
        """The figures of the status topic that the runner itself knows."""
        with self._lock:
            recent = [c for c in self._commits if c[0] >= now_ms - _RATE_WINDOW_MS]
            span_s = max(1.0, min(_RATE_WINDOW_MS, now_ms - self.started_ms) / 1e3)
            while self._latencies and self._latencies[0][0] < now_ms - _WINDOW_MS:
                self._latencies.popleft()
            p50, p99 = self._latency_ms()
            lag_s = self._lag.seconds(now_ms, self._committed)
            behind = {p: max(0, end - self._committed.get(p, 0)) for p, end in self._end.items()}
            return {
                "state": "waiting" if self._waiting else "running",
                "reason": "; ".join(dict.fromkeys(self._waiting.values())),
                "events_total": self._totals["events"],
                "answers_total": self._totals["answers"],
                "dead_letters_total": self._totals["dead_letters"],
                "late_total": self._totals["late"],
                "repeated_total": self._totals["repeated"],
                "shed_total": self._totals["shed"],
                "results_late_total": self._totals["results-late"],
                "batches_total": self._totals["batches"],
                "broken_total": self._totals["contributions-broken"],
                "degraded_total": self._totals["degraded"],
                "alerts": list(self._alerts),
                "events_per_s": sum(c[1] for c in recent) / span_s,
                "answers_per_s": sum(c[2] for c in recent) / span_s,
                "lag_records": sum(behind.values()),
                "lag_s": max(lag_s.values(), default=0.0),
                "latency_p50_ms": p50,
                "latency_p99_ms": p99,
                "partitions": [
                    {
                        "partition": partition,
                        "committed": self._committed.get(partition, 0),
                        "end": end,
                        "lag_s": lag_s.get(partition, 0.0),
                    }
                    for partition, end in sorted(self._end.items())
                ],
                "errors": list(self._errors),
            }

    def _latency_ms(self) -> tuple[float | None, float | None]:
        """Median and 99th percentile of the last minute; None where nothing was answered: 0 ms would be a claim."""
        if not self._latencies:
            return None, None
        p50, p99 = np.percentile(np.concatenate([values for _, values in self._latencies]), [50, 99])
        return float(p50), float(p99)
