"""The reference workload that other stream processors are measured on, through our pipeline and runner.

    python tests/benchmarks/bench_reference.py latency    500 frames/s over 200 live matches, 60 s; set time to receipt
    python tests/benchmarks/bench_reference.py drain      200,000 frames preloaded, then the rate at which answers come
    python tests/benchmarks/bench_reference.py …          --by-hand: by a loop on kafka-python instead, for comparison

The workload is that of `reference_workload`, on 4 partitions, through Kafka and the micro-batch runner on Ray Data, or
with `--workers N` the continuous one, exactly once unless `--at-least-once`. Every answer is counted, and a doubled or
missing one fails the run. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from reference_harness import answered_after, bench, require_each_once
from reference_process import run_until_sigterm
from reference_workload import (
    ANSWERS,
    FRAMES,
    MATCHES,
    VALUES,
    ReferenceRegistry,
    continuous,
    micro_batch,
)

from jobs.signals import signals_set
from streaming.kafka.settings import KafkaSettings
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.micro_batch import MicroBatchRunner
from streaming.topics import state_topic


def run_pipeline(bootstrap: str, workers: int, *, at_least_once: bool) -> None:
    kafka = KafkaSettings(bootstrap_servers=bootstrap)

    def make(processes: list[Any]) -> ContinuousRunner | MicroBatchRunner:
        if not workers:
            return micro_batch(kafka)
        return continuous(kafka, workers, standby=processes, at_least_once=at_least_once)

    run_until_sigterm(make, workers)


def run_by_hand(bootstrap: str) -> None:
    """The peer's loop, until SIGTERM."""
    import torch
    from hand_written import HandWritten
    from reference_model import STATE, ReferenceNet

    torch.set_num_threads(1)
    torch.manual_seed(0)
    topics, stopping = (FRAMES, ANSWERS, state_topic("reference")), threading.Event()
    answer_id = ReferenceRegistry().id_of(str(ANSWERS.schema))
    with signals_set(stopping):
        HandWritten(bootstrap, ReferenceNet().eval(), VALUES, STATE, topics, answer_id).run(stopping)


def latency(how: Sequence[str], frames_per_s: float, seconds: float, warm_up_s: float = 15.0) -> dict[str, Any]:
    with bench(["bench_reference", "pipeline", *how]) as b:
        b.start_pipeline()
        b.publish(MATCHES)
        b.wait_for(MATCHES)
        b.load(frames_per_s, warm_up_s)
        b.wait_for(b.sent)
        warm = b.sent
        b.load(frames_per_s, seconds)
        b.wait_for(b.sent)
        sent, batches = b.sent, b.stop()
    require_each_once(batches, sent)
    measured = np.concatenate(
        [now_ms - answers["event_time_ms"].dt.epoch("ms").to_numpy() for now_ms, answers in batches]
    )
    p50, p99 = np.percentile(measured[warm:], [50, 99])
    return {
        "frames_per_s": frames_per_s,
        "answers": sent - warm,
        "latency_ms": {"p50": round(float(p50), 1), "p99": round(float(p99), 1)},
    }


def drain(how: Sequence[str], events: int) -> dict[str, Any]:
    """The first tenth is warm-up: a process that has just started is not measured."""
    warm_up = events // 10
    with bench(["bench_reference", "pipeline", *how]) as b:
        while b.sent < events + warm_up:
            b.publish(min(20_000, events + warm_up - b.sent))
        b.flush()
        began = time.monotonic()
        b.start_pipeline()
        b.wait_for(b.sent, timeout_s=900)
        total_s = time.monotonic() - began
        sent, batches = b.sent, b.stop()
    require_each_once(batches, sent)
    answers, seconds = answered_after(batches, warm_up)
    return {
        "events": events,
        "seconds": round(seconds, 2),
        "events_per_s": round(answers / seconds),
        "with_start_s": round(total_s, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("latency", "drain", "pipeline"), help="pipeline: the process that is measured")
    parser.add_argument("--frames-per-s", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=0, help="of the continuous runner; 0: the micro-batch runner")
    parser.add_argument("--at-least-once", action="store_true", help="the continuous runner without transactions")
    parser.add_argument("--by-hand", action="store_true", help="no runner of ours: the loop of `hand_written`")
    parser.add_argument("--bootstrap", help="brokers of `pipeline`")
    options = parser.parse_args()
    if options.what == "pipeline" and options.by_hand:
        run_by_hand(options.bootstrap)
        return
    if options.what == "pipeline":
        run_pipeline(options.bootstrap, options.workers, at_least_once=options.at_least_once)
        return
    how = ["--workers", str(options.workers), *["--at-least-once"] * options.at_least_once]
    how += ["--by-hand"] * options.by_hand
    if options.what == "latency":
        result = latency(how, options.frames_per_s, options.seconds)
    else:
        result = drain(how, options.events)
    runner = "plain" if options.at_least_once else "continuous" if options.workers else "reference"
    name = f"{'by_hand' if options.by_hand else runner}_{options.what}"
    sys.stdout.write(json.dumps({name: result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
