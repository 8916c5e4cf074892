"""Event to insight through Kafka, Ray Data, Serve and Kafka, as a user runs it, measured from outside.

    python tests/benchmarks/bench_pipeline.py latency     500 events/s over 200 live matches, three minutes
    python tests/benchmarks/bench_pipeline.py sustained   200,000 preloaded events, then the rate at which answers come
    python tests/benchmarks/bench_pipeline.py memory      20 batches/s for 10 minutes: growth of all processes together

Every event is a snapshot that enters a new grid slot, so every event gets an answer: the dearest case. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

from jobs.children import Child
from jobs.measure import InsightMeter
from streaming import topics
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.features.match import EVENT_SCHEMA
from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource

MATCHES = 200
FRAMES_A_MATCH = 400  # then the match id moves on: 400 frames of 30 s stay within the longest clock that is believed


def snapshots(first: int, count: int) -> pl.DataFrame:
    """Event number `first` and the next: 200 matches round robin, each event 30 s of game clock after its last."""
    number = np.arange(first, first + count)
    turn = number // MATCHES
    frame, generation = turn % FRAMES_A_MATCH, turn // FRAMES_A_MATCH
    match = number % MATCHES
    lead = 40.0 * frame * np.sin(frame / (20.0 + match % 30) + match)  # swings over ten minutes and more, as matches do
    return pl.DataFrame(
        {
            "match_id": [f"bench-{g}-{m:03d}" for g, m in zip(generation, match, strict=True)],
            "sequence": frame,
            "event_time_ms": pl.Series(np.full(count, time.time_ns() // 1_000_000)).cast(EVENT_SCHEMA["event_time_ms"]),
            "title": ["lol"] * count,
            "kind": ["snapshot"] * count,
            "clock_s": frame * 30.0,
            "count": np.ones(count),
            "gold": lead,
            "xp": lead * 0.8,
            "level": lead / 2_000,
            "gold_spread": lead * 0.2,
            "minions": lead / 100,
            "kills_a": np.abs(lead // 1_000),
            "kills_b": np.zeros(count),
            "towers_a": np.abs(lead // 4_000),
            "towers_b": np.zeros(count),
            "heroes_a": [[]] * count,
            "heroes_b": [[]] * count,
        },
        schema_overrides={"heroes_a": pl.List(pl.String), "heroes_b": pl.List(pl.String)},
    ).pipe(lambda frame: frame.with_columns(**{n: pl.lit(None, t) for n, t in EVENT_SCHEMA.items() if n not in frame}))


class Bench:
    """A broker, a pipeline process, a load and a meter."""

    def __init__(self, home: Path, bootstrap: str, **settings: str) -> None:
        self.kafka = KafkaSettings(bootstrap_servers=bootstrap)
        ensure_topics(self.kafka, [*topics.TOPICS, topics.state_topic("win-prediction")])
        self._settings, self._home = settings, home
        self._publisher = Publisher(self.kafka)
        self._encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
        self.sent = 0
        self.meter = InsightMeter(KafkaSource(self.kafka, "match.insights", "bench"))
        self.meter.start()
        self.pipeline: Child | None = None

    def start_pipeline(self) -> None:
        environment = {"SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers, "OMP_NUM_THREADS": "1"}
        self.pipeline = Child(
            "pipeline", ["jobs.run", "win-prediction"], environment | self._settings, self._home / "log"
        )

    def publish(self, count: int) -> None:
        keys, values = self._encoded(count)
        self._publisher.send("match.events", keys, values)
        self.sent += count

    def _encoded(self, count: int) -> tuple[list[bytes], list[bytes]]:
        events = snapshots(self.sent, count)
        values = self._encoder.encode(events.select(EVENT_SCHEMA.names())).to_pylist()
        return [match_id.encode() for match_id in events["match_id"]], values

    def flush(self) -> None:
        self._publisher.flush(60)

    def load(self, events_per_s: float, seconds: float, tick_s: float = 0.02) -> None:
        """A steady load: so many events a second, spread evenly. They are made before, to cost nothing then."""
        keys, values = self._encoded(int(events_per_s * seconds))
        began, sent = time.monotonic(), 0
        while sent < len(values):
            due = min(len(values), int((time.monotonic() - began) * events_per_s))
            if due > sent:
                self._publisher.send("match.events", keys[sent:due], values[sent:due])
                sent = due
            time.sleep(tick_s)
        self.sent += sent

    def wait_for(self, answers: int, timeout_s: float = 180.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.meter.received < answers:
            if self.pipeline is not None and self.pipeline.ended is not None:
                sys.exit(f"the pipeline ended: {self.pipeline.last_line}")
            if time.monotonic() > deadline:
                sys.exit(f"{self.meter.received} of {answers} answers after {timeout_s:.0f} s")
            time.sleep(0.05)

    def commits(self) -> int:
        """How many the pipeline has logged."""
        assert self.pipeline is not None
        return self.pipeline.log.read_text().count('"committed"')

    def stop(self) -> None:
        if self.pipeline is not None:
            self.pipeline.stop(30)
        self._publisher.close()
        self.meter.stop()


@contextmanager
def bench(**settings: str) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder:
        home = Path(folder)
        broker = EmbeddedBroker(home / "kafka")
        running = None
        try:
            running = Bench(home, str(broker.start().bootstrap_servers), **settings)
            yield running
        finally:
            if running is not None:
                running.stop()
            broker.stop()


def latency(events_per_s: float = 500, seconds: float = 60, rounds: int = 3) -> dict[str, Any]:
    """Of all answers; and of each round by itself, which says how steady the machine was."""
    with bench() as b:
        b.start_pipeline()
        b.publish(MATCHES)
        b.wait_for(MATCHES)
        b.load(events_per_s, 15)  # warm-up
        b.flush()
        b.wait_for(b.sent)
        measured = []
        for _ in range(rounds):
            b.meter.forget_latency()
            b.load(events_per_s, seconds)
            b.flush()
            b.wait_for(b.sent)
            measured.append(b.meter.measured())
        together = replace(measured[-1], latency_ms=np.concatenate([part.latency_ms for part in measured]))
        return {
            "events_per_s": events_per_s,
            "answers": len(together.latency_ms),
            "latency_ms": together.percentiles(),
            "rounds_ms": [part.percentiles() for part in measured],
        }


def sustained(events: int = 200_000) -> dict[str, Any]:
    with bench() as b:
        b.start_pipeline()
        b.publish(MATCHES)
        b.wait_for(MATCHES)
        while b.sent < 20_000:  # warm-up
            b.publish(5_000)
        b.flush()
        b.wait_for(b.sent)
        assert b.pipeline is not None
        began, at_start = time.monotonic(), b.meter.received
        target = b.sent + events
        while b.sent < target:
            b.publish(5_000)
        b.flush()
        preloaded_s = time.monotonic() - began
        b.wait_for(b.sent, 600)
        seconds = time.monotonic() - began
        return {
            "events": events,
            "matches": MATCHES,
            "published_in_s": round(preloaded_s, 1),
            "answered_in_s": round(seconds, 1),
            "answers_per_s": round((b.meter.received - at_start) / seconds),
        }


def memory(minutes: float = 10.0, warm_up_s: float = 520.0, events_per_s: float = 70) -> dict[str, Any]:
    """After four epochs: two processes take turns at them, and grow by some megabytes in their second one.

    So few events a second that the same 200 matches last to the end: what grows then is no state.
    """
    if (warm_up_s + minutes * 60) * events_per_s > MATCHES * FRAMES_A_MATCH:
        sys.exit(f"{minutes:g} minutes at {events_per_s:g} events/s need other matches, and these are state")
    with bench(SIGHTLINE_PIPELINE__INTERVAL_MS="20") as b:
        b.start_pipeline()
        b.publish(MATCHES)
        b.wait_for(MATCHES)
        b.load(events_per_s, warm_up_s)
        assert b.pipeline is not None
        before, at_start, commits = memory_mb(b.pipeline.pid), time.monotonic(), b.commits()
        curve = []
        while time.monotonic() - at_start < minutes * 60:
            b.load(events_per_s, 30)
            curve.append(round(sum(memory_mb(b.pipeline.pid).values()), 1))
        after = memory_mb(b.pipeline.pid)
        seconds = time.monotonic() - at_start
        growth = {name: round(after.get(name, 0.0) - before.get(name, 0.0), 1) for name in before | after}
        return {
            "minutes": minutes,
            "commits_per_s": round((b.commits() - commits) / seconds, 1),
            "before_mb": round(sum(before.values()), 1),
            "after_mb": round(sum(after.values()), 1),
            "growth_mb": round(sum(after.values()) - sum(before.values()), 1),
            "growth_by_process_mb": dict(sorted(growth.items(), key=lambda entry: -abs(entry[1]))[:12]),
            "curve_mb": curve,
        }


def memory_mb(pid: int) -> dict[str, float]:
    """Memory of a process and all below it, Ray's own among them, by process.

    Anonymous and shared pages, each counted once (PSS). Pages of files, such as libraries, are left out: the kernel
    may drop them, and how many count here depends on what else on the machine has them open.
    """
    found: dict[str, float] = {}
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            name = "driver" if process.pid == pid else process.name().partition(".")[0]
        except (OSError, psutil.Error):
            continue
        kept = [line.split() for line in rollup.splitlines() if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
        found[f"{name} {process.pid}"] = sum(int(words[1]) for words in kept) / 1024
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("latency", "sustained", "memory"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    if options.what == "latency":
        result = latency(seconds=options.seconds)
    elif options.what == "sustained":
        result = sustained()
    else:
        result = memory(options.minutes)
    sys.stdout.write(json.dumps({options.what: result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
