"""How long the continuous runner is silent: when it is started anew, and when one of its workers is killed.

    python tests/benchmarks/bench_recovery.py restart     Ray is up; from the start of the process to the first answer
    python tests/benchmarks/bench_recovery.py failover    kill -9 of one of two workers, 500 frames/s

Both on the reference workload, exactly once, with the settings that `sightline run` has by default, five times over.

`restart`: the pipeline has 5,000 keys and was stopped by SIGTERM; 1,000 frames wait. Its process is started as
`sightline run --ray-address` would be, on a Ray cluster on which it has run before; the first answer is the first that
a reader of committed records receives.

`failover`: the time from the kill until a frame sent after it has been answered in every partition that the dead worker
had, and until no answer is older than a second any more, the return of partitions to the dead one's successor included.

Every answer is counted, and a doubled or missing one fails the run. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from reference_harness import SEARCH_PATH, Bench, Received, bench, require_each_once
from reference_process import BEGINS
from reference_workload import GROUP, MATCHES

from jobs.ray_session import ray_session
from jobs.settings import RaySection
from streaming.kafka.clients import open_admin
from streaming.kafka.settings import KafkaSettings

ROUNDS = 5
KEYS = 5_000
WAITING = 1_000
FRAMES_PER_S = 500.0
LATE_MS = 1_000.0
CALM_S = 3.0
PATIENCE_S = 120.0


def restart() -> dict[str, Any]:
    os.environ["PYTHONPATH"] = SEARCH_PATH  # of Ray's workers
    own = RaySection()
    with ray_session(None, logical_cpus=own.num_cpus, object_store_mb=own.object_store_mb):
        import ray

        command = ["reference_process", "--workers", "1", "--ray-address", ray.get_runtime_context().gcs_address]
        with bench(command, matches=KEYS) as b:
            b.publish(KEYS)
            _start(b)
            starts = [_start(b, WAITING) for _ in range(ROUNDS)]
            sent, batches = b.sent, b.stop()
    require_each_once(batches, sent)
    return {
        "keys": KEYS,
        "waiting": WAITING,
        "first_answer_s": _summary([answer_s for answer_s, _ in starts]),
        "runner_begins_s": _summary([begins_s for _, begins_s in starts]),
    }


def _start(b: Bench, waiting: int = 0) -> tuple[float, float]:
    """Start the pipeline, have all answered, and stop it: seconds to the first answer, and until the runner began."""
    if waiting:
        b.publish(waiting)
    b.flush()
    before, started = len(b.meter.batches), time.time()
    pipeline = b.start_pipeline()
    b.wait_for(b.sent)
    first_ms, _ = b.meter.batches[before]
    b.stop_pipeline()
    (begins,) = [line for line in pipeline.log.read_text().splitlines() if line.startswith(BEGINS)]
    return first_ms / 1e3 - started, float(begins.removeprefix(BEGINS)) - started


@dataclass(frozen=True)
class Kill:
    """Of one worker."""

    at_ms: float
    partitions: tuple[int, ...]


def failover() -> dict[str, Any]:
    with bench(["reference_process", "--workers", "2"]) as b:
        b.start_pipeline()
        b.publish(MATCHES)
        b.wait_for(MATCHES)
        with b.loading(FRAMES_PER_S):
            kills = [_kill_one(b, turn) for turn in range(ROUNDS)]
            _wait_until(lambda: _is_calm(b))
        b.wait_for(b.sent)
        sent, batches = b.sent, b.stop()
    require_each_once(batches, sent)
    ends = [*(kill.at_ms for kill in kills[1:]), float("inf")]
    silent, late = zip(*(_silence_s(batches, kill, end) for kill, end in zip(kills, ends, strict=True)), strict=True)
    return {
        "frames_per_s": FRAMES_PER_S,
        "kills": len(kills),
        "answers_again_s": _summary(silent),
        "late_until_s": _summary(late),
    }


def _kill_one(b: Bench, turn: int) -> Kill:
    """When both workers have their share, and nothing is late."""
    _wait_until(lambda: _is_calm(b))
    readers = _readers(b.kafka)
    victim = sorted(readers)[turn % 2]
    killed = Kill(time.time() * 1e3, readers[victim])
    os.kill(victim, signal.SIGKILL)
    return killed


def _is_calm(b: Bench) -> bool:
    """Whether for some seconds both workers have had two partitions each, and the answers have kept up."""
    until = time.monotonic() + CALM_S
    while time.monotonic() < until:
        if b.sent - b.meter.received > FRAMES_PER_S * LATE_MS / 1e3 or not b.is_running:
            return False
        if sorted(map(len, _readers(b.kafka).values())) != [2, 2]:
            return False
        time.sleep(0.2)
    return True


def _readers(kafka: KafkaSettings) -> dict[int, tuple[int, ...]]:
    """The process of each member of the group, and its partitions; nobody while the group moves them."""
    with open_admin(kafka) as admin:
        group = admin.describe_groups([GROUP])[GROUP]
    if group["group_state"] != "Stable":
        return {}
    return {
        int(member["client_id"].rpartition("-")[2]): tuple(
            partition
            for topic in member["member_assignment"]["assigned_partitions"]
            for partition in topic["partitions"]
        )
        for member in group["members"]
    }


def _silence_s(batches: Sequence[Received], kill: Kill, until_ms: float) -> tuple[float, float]:
    """Until the worst of the victim's partitions had an answer to a frame sent after the kill; until the last answer
    that came late, before the next kill."""
    received = np.concatenate([np.full(answers.height, now_ms) for now_ms, answers in batches])
    sent = np.concatenate([answers["event_time_ms"].dt.epoch("ms").to_numpy() for _, answers in batches])
    partition = np.concatenate([answers["source_partition"].to_numpy() for _, answers in batches])
    since = (sent >= kill.at_ms) & (received < until_ms)
    again = max(received[since & (partition == mine)].min() for mine in kill.partitions)
    late = received[since & (received - sent > LATE_MS)].max(initial=kill.at_ms)
    return (again - kill.at_ms) / 1e3, (late - kill.at_ms) / 1e3


def _summary(seconds: Sequence[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(seconds), 2),
        "worst": round(max(seconds), 2),
        "all": [round(float(s), 2) for s in seconds],
    }


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"the pipeline is not back to normal after {PATIENCE_S:.0f} s")
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("restart", "failover"))
    options = parser.parse_args()
    result = restart() if options.what == "restart" else failover()
    sys.stdout.write(json.dumps({options.what: result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
