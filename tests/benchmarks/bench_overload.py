"""Ten times what a pipeline can take, for some seconds: memory, the lag that it reports, and how long it takes after.

    python tests/benchmarks/bench_overload.py                 both live runners, 80 s each
    python tests/benchmarks/bench_overload.py --workers 1     the continuous runner alone; 0: micro-batch

The reference workload, slowed down to 1,500 frames/s by a stage that sleeps, so that "ten times" is the same on every
machine: 375/s, then 15,000/s for 4 s, then 375/s again until all is answered. Memory is that of the pipeline's
processes, Ray's among them; it may grow by what may be under way, and the run fails where it grows by more. The lag
reported on `sightline.status` is held against the true one: at that time, the age of the oldest frame whose answer
nobody had received yet. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from bench_pipeline import memory_mb
from reference_harness import SEARCH_PATH, AnswerMeter
from reference_model import ReferenceModel
from reference_workload import (
    ANSWERS,
    FRAMES,
    GROUP,
    MATCHES,
    ReferenceRegistry,
    continuous,
    frames,
    micro_batch,
    reference_pipeline,
)

from jobs.children import Child
from jobs.ray_session import ray_session
from jobs.settings import PipelineSection, RaySection
from jobs.signals import signals_set
from jobs.status import StatusReporter
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.state import StateTable
from streaming.topics import PIPELINE_STATUS, state_topic

SUSTAINABLE_PER_S = 1_500
CALM_PER_S = SUSTAINABLE_PER_S / 4
BURST_PER_S = SUSTAINABLE_PER_S * 10
BURST_S = 4.0
TICK_S = 0.05

UNDER_WAY = PipelineSection().max_unanswered_records
COPIES_KB = 3.0
"""A record under way: as fetched, as it travels, decoded, and answered; 0.2 KB as Avro, 0.5 KB as columns."""
FETCHED_MB = 60.0
"""What clients hold besides: fetch responses and batches to send."""
BOUND_MB = FETCHED_MB + UNDER_WAY * COPIES_KB / 1024


class Slow(ReferenceModel):
    """The reference model at so many frames a second."""

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """As the reference model, later."""
        due = time.monotonic() + rows.height / SUSTAINABLE_PER_S
        answers = super().__call__(rows, state)
        time.sleep(max(0.0, due - time.monotonic()))
        return answers


def slow_pipeline() -> Pipeline:
    return replace(reference_pipeline(), stages=(Slow(),))


def run_pipeline(bootstrap: str, workers: int) -> None:
    """Until SIGTERM, with the settings that `sightline run` has by default; says how it is on `sightline.status`."""
    ray_settings, stopping, kafka = RaySection(), threading.Event(), KafkaSettings(bootstrap_servers=bootstrap)
    publisher, source = Publisher(kafka), KafkaSource(kafka, FRAMES.name, GROUP)
    with (
        ray_session(None, logical_cpus=ray_settings.num_cpus, object_store_mb=ray_settings.object_store_mb),
        signals_set(stopping),
    ):
        runner = continuous(kafka, workers, slow_pipeline) if workers else micro_batch(kafka, slow_pipeline)
        reporter = StatusReporter(
            "overload",
            source,
            runner.progress,
            publisher,
            PackagedRegistry(),
            cluster=lambda: {"models": [], "replicas": 0, "ray_nodes": 1},
            starting=lambda: "",
            clock=lambda: time.time_ns() // 1_000_000,
        )
        reporter.start()

        def stop() -> None:
            stopping.wait()
            runner.stop()

        threading.Thread(target=stop, name="stop", daemon=True).start()
        runner.run()
        reporter.stop("stopped")
    publisher.close()
    source.close()


class Memory:
    """A thread that adds up the memory of a process and all below it."""

    def __init__(self, pid: int) -> None:
        self._pid, self._stop = pid, threading.Event()
        self.samples: list[tuple[float, float]] = []  # (time.monotonic(), MB)
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def peak_mb(self, since: float, until: float) -> float:
        return max(mb for at, mb in self.samples if since <= at <= until)

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            self.samples.append((time.monotonic(), sum(memory_mb(self._pid).values())))


class Load:
    """Frames at a rate, made while they are sent: a few hundred at a time."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._publisher = Publisher(kafka, max_block_s=120)
        self._encoder = Encoder(load_schema(str(FRAMES.schema)), ReferenceRegistry().id_of(str(FRAMES.schema)))
        self.sent = 0

    def send(self, count: int) -> None:
        made = frames(self.sent, count, np.full(count, time.time_ns() // 1_000_000))
        keys = [match_id.encode() for match_id in made["match_id"]]
        self._publisher.send(FRAMES.name, keys, self._encoder.encode(made).to_pylist())
        self.sent += count

    def at(self, per_s: float, seconds: float) -> None:
        began, first = time.monotonic(), self.sent
        while self.sent - first < int(per_s * seconds):  # a busy machine takes longer, and sends as many
            if due := int(min(time.monotonic() - began, seconds) * per_s) - (self.sent - first):
                self.send(due)
            time.sleep(TICK_S)

    def close(self) -> None:
        self._publisher.close()


def overload(workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sightline-overload-") as folder:
        broker = EmbeddedBroker(Path(folder) / "kafka")
        try:
            return _overload(str(broker.start().bootstrap_servers), workers, Path(folder) / "log")
        finally:
            broker.stop()


def _overload(bootstrap: str, workers: int, log: Path) -> dict[str, Any]:
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    ensure_topics(kafka, [FRAMES, FRAMES.dead_letters, ANSWERS, state_topic("reference"), PIPELINE_STATUS])
    meter, load = AnswerMeter(kafka), Load(kafka)
    command = ["bench_overload", "--pipeline", "--bootstrap", bootstrap, "--workers", str(workers)]
    pipeline = Child("pipeline", command, {"PYTHONPATH": SEARCH_PATH, "OMP_NUM_THREADS": "1"}, log)
    memory = Memory(pipeline.pid)

    def all_answered(timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while meter.received < load.sent:
            if pipeline.ended is not None or time.monotonic() > deadline:
                sys.exit(f"{meter.received} of {load.sent} answers: {pipeline.last_line}")
            load.at(CALM_PER_S, 0.25)
            if load.sent - meter.received < CALM_PER_S:  # the load goes on: some are always under way
                return True
        return True

    try:
        load.send(MATCHES)
        all_answered(120)
        load.at(SUSTAINABLE_PER_S * 0.8, 6)
        all_answered(120)
        calm_at = time.monotonic()
        load.at(CALM_PER_S, 4)
        burst_at, burst_ms, before = time.monotonic(), time.time_ns() // 1_000_000, load.sent
        load.at(BURST_PER_S, BURST_S)
        over_at, burst = time.monotonic(), load.sent - before
        backlog = load.sent - meter.received
        all_answered(240)
        recovered_at = time.monotonic()
        while meter.received < load.sent:
            time.sleep(0.05)
    finally:
        memory.stop()
        pipeline.stop(30)
        load.close()
        received = meter.stop()
    calm_mb = memory.peak_mb(calm_at, burst_at)
    growth_mb = memory.peak_mb(burst_at, recovered_at) - calm_mb
    if growth_mb > BOUND_MB:
        sys.exit(f"memory grew by {growth_mb:.0f} MB, and its bound is {BOUND_MB:.0f} MB")
    return {
        "burst_per_s": round(burst / (over_at - burst_at)),
        "sustainable_per_s": SUSTAINABLE_PER_S,
        "backlog": backlog,
        "recovery_s": round(recovered_at - over_at, 1),
        "calm_mb": round(calm_mb, 1),
        "growth_mb": round(growth_mb, 1),
        "bound_mb": round(BOUND_MB, 1),
        "lag": lag_held_against_the_truth(kafka, received, burst_ms),
    }


def lag_held_against_the_truth(
    kafka: KafkaSettings, received: list[tuple[float, pl.DataFrame]], since_ms: int
) -> dict[str, float]:
    """What was reported less the true lag, over all reports from then until the last answer, in s."""
    sent_ms = np.concatenate([answers["event_time_ms"].dt.epoch("ms").to_numpy() for _, answers in received])
    answered_ms = np.concatenate([np.full(answers.height, now_ms) for now_ms, answers in received])
    decoder = Decoder("pipeline-status", PackagedRegistry())
    rows = pl.concat([decoder.decode(part).frame for part in read_all(kafka, PIPELINE_STATUS.name).values()])
    rows = rows.with_columns(pl.col("time_ms").dt.epoch("ms")).filter(
        pl.col("time_ms").is_between(since_ms, int(answered_ms.max())), pl.col("state") == "running"
    )
    truth = [_oldest_age_s(at, sent_ms, answered_ms) for at in rows["time_ms"]]
    error = rows["lag_s"].to_numpy() - np.asarray(truth)
    return {
        "reports": rows.height,
        "longest_s": round(max(truth), 1),
        "longest_reported_s": round(float(rows["lag_s"].max() or 0.0), 1),  # type: ignore[arg-type]  # of any type
        "error_p50_s": round(float(np.median(error)), 2),
        "error_min_s": round(float(error.min()), 2),
        "error_max_s": round(float(error.max()), 2),
    }


def _oldest_age_s(at_ms: int, sent_ms: np.ndarray[Any, Any], answered_ms: np.ndarray[Any, Any]) -> float:
    waiting = sent_ms[(sent_ms <= at_ms) & (answered_ms > at_ms)]
    return float(at_ms - waiting.min()) / 1e3 if len(waiting) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, help="of the continuous runner; 0: micro-batch; default: both runners")
    parser.add_argument("--pipeline", action="store_true", help="be the process that is measured")
    parser.add_argument("--bootstrap", help="brokers of `--pipeline`")
    options = parser.parse_args()
    if options.pipeline:
        run_pipeline(options.bootstrap, options.workers)
        return
    names = {0: "micro_batch", 1: "continuous"}
    wanted = [0, 1] if options.workers is None else [options.workers]
    result = {names.get(workers, f"continuous_{workers}"): overload(workers) for workers in wanted}
    sys.stdout.write(json.dumps({"overload": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
