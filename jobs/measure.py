"""Measure a running pipeline from outside: read its answers as any consumer would, and note when each arrived."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streaming.codec import Decoder, PackagedRegistry, load_schema
from streaming.records import Records
from streaming.transport import Source, TransportUnavailable

_POLL_S = 0.05
_READ = ("match_id", "ingest_time_ms")
"""What the meter reads of an answer; decoding all of it would cost the machine that is being measured."""
_DECODED_AT_ONCE = 2_000
"""Answers are noted as they arrive and read later, many at once, for the same reason."""


@dataclass(frozen=True)
class Measured:
    """What was received so far."""

    insights: int
    matches: int
    first_at: float | None  # time.monotonic() of the first answer
    latency_ms: npt.NDArray[np.float64]  # event reached Kafka to answer received; events after the first answer only

    def percentiles(self) -> dict[str, float | None]:
        """p50 and p99 of the latency in ms; None where nothing was received."""
        if not len(self.latency_ms):
            return {"p50": None, "p99": None}
        p50, p99 = np.percentile(self.latency_ms, [50, 99])
        return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}


class InsightMeter:
    """A thread that reads match.insights from where it ended when the meter started."""

    def __init__(self, source: Source) -> None:
        self._source = source
        whole = load_schema("match-insights")
        read = whole | {"fields": [field for field in whole["fields"] if field["name"] in _READ]}
        self._decoder = Decoder(read, PackagedRegistry())
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._latency_ms: list[npt.NDArray[np.float64]] = []
        self._arrived: list[tuple[float, Records]] = []  # when, in ms, and what: not yet decoded
        self._received = 0
        self._matches: set[str] = set()
        self._first_at: float | None = None
        self._first_ms = 0.0
        self._start = dict(source.end_offsets())
        self._thread = threading.Thread(target=self._run, name="insight-meter", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; figures stay."""
        self._stop.set()
        self._thread.join(10.0)
        self._source.close()

    @property
    def received(self) -> int:
        """Records so far; one that does not decode counts here and has no latency."""
        return self._received

    def measured(self, last: int | None = None) -> Measured:
        """Figures so far; with `last`, the latency of about that many newest answers only."""
        with self._lock:
            self._decode()
            parts = self._latency_ms
            if last is not None:
                kept, count = [], 0
                for part in reversed(parts):
                    kept.append(part)
                    count += len(part)
                    if count >= last:
                        break
                parts = kept
            latency = np.concatenate(parts) if parts else np.empty(0)
            return Measured(self._received, len(self._matches), self._first_at, latency)

    def forget_latency(self) -> None:
        """Start the latency figures anew, after a warm-up."""
        with self._lock:
            self._decode()
            self._latency_ms.clear()

    def _run(self) -> None:
        reader: Any = None
        while not self._stop.is_set():
            try:
                if reader is None:
                    reader = self._source.open(self._start)
                fetched = reader.poll(_POLL_S, 10_000)
            except TransportUnavailable:
                time.sleep(0.2)
                continue
            if fetched is None or not len(fetched.records):
                continue
            now_ms = time.time() * 1e3
            with self._lock:
                if self._first_at is None:
                    self._first_at, self._first_ms = time.monotonic(), now_ms
                self._received += len(fetched.records)
                self._arrived.append((now_ms, fetched.records))
                if sum(len(records) for _, records in self._arrived) >= _DECODED_AT_ONCE:
                    self._decode()
        if reader is not None:
            reader.close()

    def _decode(self) -> None:
        """Read what has arrived since the last time."""
        if not self._arrived:
            return
        decoded = self._decoder.decode(Records.joined([records for _, records in self._arrived]))
        frame = decoded.frame
        now_ms = np.repeat([now for now, _ in self._arrived], [len(records) for _, records in self._arrived])
        now_ms = now_ms[decoded.rows]
        self._arrived.clear()
        ingest_ms = frame["ingest_time_ms"].dt.epoch("ms").to_numpy().astype(np.float64)
        self._matches.update(frame["match_id"].unique().to_list())
        # What waited for the pipeline to start says how long that took, not how long an answer takes.
        self._latency_ms.append((now_ms - ingest_ms)[ingest_ms >= self._first_ms])
