"""The reference workload that other stream processors are measured on, through our pipeline and runner.

    python tests/benchmarks/bench_reference.py latency    500 frames/s over 200 live matches, 60 s; set time to receipt
    python tests/benchmarks/bench_reference.py drain      200,000 frames preloaded, then the rate at which answers come
                                               … --by-hand    by a loop on kafka-python instead, for comparison

4 partitions, 200 live matches round robin, one message a frame (match_id, event time, game clock, 23 floats; Avro in
Confluent format), one answer a frame (p, six contributions, source partition and offset), keyed state of 64 floats a
match, a model of TSSTN's size: six odd group nets, GRUCell(13 → 64), six weights, contributions. The model runs in the
pipeline's own process, as a plain stage; everything else is what `sightline run` uses: Kafka, the micro-batch runner on
Ray Data, or with `--workers N` the continuous one, exactly once unless `--at-least-once`. Every answer is counted, and
a doubled or missing one fails the run. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor, nn

from jobs.children import Child
from jobs.ray_session import ray_session
from jobs.settings import PipelineSection, RaySection
from jobs.signals import signals_set
from models.layers import OddGroupScores, masked_softmax
from streaming.codec import Decoder, Encoder, Schema, UnknownSchema, load_schema
from streaming.kafka.admin import ensure_topics, read_changelog
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.plain_sink import KafkaPlainSink
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.records import Records
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.epoch import ReadLimits
from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner
from streaming.runners.progress import Progress
from streaming.runners.worker import Worker
from streaming.state import Column, StateTable
from streaming.topics import Topic, state_topic
from streaming.transport import TransportUnavailable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

MATCHES = 200
WIDTHS = (1, 2, 3, 5, 3, 9)  # features of the six groups, 23 in all
STATE = 64
HIDDEN = 64
FRAME_S = 30.0

FRAMES = Topic("reference.frames", "match_id", str(HERE / "reference" / "frame.avsc"), event_time="event_time_ms")
ANSWERS = Topic("reference.answers", "match_id", str(HERE / "reference" / "answer.avsc"), event_time="event_time_ms")
VALUES = [f"x{number}" for number in range(sum(WIDTHS))]


class ReferenceRegistry:
    """The two schemas of this workload."""

    _IDS: ClassVar = {1: FRAMES.schema, 2: ANSWERS.schema}

    def schema(self, schema_id: int) -> Schema:
        if schema_id not in self._IDS:
            raise UnknownSchema(f"the reference workload has no schema {schema_id}")
        return load_schema(str(self._IDS[schema_id]))

    def id_of(self, schema_name: str) -> int:
        return next(schema_id for schema_id, name in self._IDS.items() if name == schema_name)


class ReferenceNet(nn.Module):
    """Six group scores; a GRU over |score|, what is known and the clock; six weights: six contributions."""

    def __init__(self) -> None:
        super().__init__()
        ends = np.cumsum(WIDTHS)
        columns = [list(range(end - width, end)) for width, end in zip(WIDTHS, ends.tolist(), strict=True)]
        self.spatial = OddGroupScores(columns, len(VALUES), HIDDEN)
        self.cell = nn.GRUCell(2 * len(WIDTHS) + 1, STATE)
        self.weights = nn.Linear(STATE, len(WIDTHS))

    @torch.inference_mode()
    def forward(self, values: Tensor, clock_s: Tensor, turn: Tensor, match: Tensor, hidden: Tensor) -> Tensor:
        """Contributions (N, 6) of frames (N, 23); `turn` (N,) numbers the frames of each match in this batch, `match`
        (N,) is the row of `hidden` (M, 64), which moves on in place."""
        scores, known = self.spatial(values, torch.ones_like(values))
        inputs = torch.cat([scores.abs(), known, (clock_s / 1200)[:, None]], dim=1)
        states = torch.empty(len(values), STATE)
        order = torch.argsort(turn, stable=True)
        for rows in torch.split(order, torch.bincount(turn).tolist()):
            hidden[match[rows]] = self.cell(inputs[rows], hidden[match[rows]])
            states[rows] = hidden[match[rows]]
        contributions: Tensor = 4.0 * masked_softmax(self.weights(states), known) * scores
        return contributions


class ReferenceModel:
    """The model as a stage; weights are random, which costs what trained ones cost."""

    name = "model"

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self._net = ReferenceNet().eval()

    def new_state(self) -> StateTable:
        return StateTable(self.name, {"hidden": Column(np.float32, (STATE,))}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        keys, match = np.unique(rows["match_id"].to_numpy(), return_inverse=True)
        order = np.argsort(match, kind="stable")
        turn = np.empty(len(match), np.int64)
        turn[order] = np.arange(len(match)) - np.searchsorted(match[order], match[order])  # its number in its match
        first = order[np.searchsorted(match[order], np.arange(len(keys)))]
        slots = state.slots(keys.tolist(), rows["_partition"].to_numpy()[first].tolist())
        hidden = torch.from_numpy(state["hidden"][slots])
        contributions = self._net(
            torch.from_numpy(np.stack([rows[name].to_numpy() for name in VALUES], axis=1)),
            torch.from_numpy(rows["clock_s"].to_numpy().astype(np.float32)),
            torch.from_numpy(turn),
            torch.from_numpy(match),
            hidden,
        ).numpy()
        state["hidden"][slots] = hidden.numpy()
        state.touch(keys.tolist())
        p = 1.0 / (1.0 + np.exp(-contributions.sum(axis=1, dtype=np.float64)))
        made = [pl.Series("p", p), *(pl.Series(f"contribution_{n}", contributions[:, n]) for n in range(len(WIDTHS)))]
        where = [rows["_partition"].alias("source_partition"), rows["_offset"].alias("source_offset")]
        when = rows["_ingest_time_ms"].cast(pl.Datetime("ms", "UTC")).alias("ingest_time_ms")
        return pl.DataFrame([rows["match_id"], rows["event_time_ms"], *made, *where, when])


def reference_pipeline() -> Pipeline:
    return Pipeline("reference", source=FRAMES, transforms=(), stages=(ReferenceModel(),), sink=ANSWERS)


GROUP = "reference"


def micro_batch(kafka: KafkaSettings, make_pipeline: Callable[[], Pipeline] = reference_pipeline) -> MicroBatchRunner:
    settings, pipeline = PipelineSection(), make_pipeline()
    return MicroBatchRunner(
        pipeline,
        KafkaSource(kafka, FRAMES.name, GROUP),
        KafkaSink(kafka, "reference", GROUP, FRAMES.name),
        ReferenceRegistry(),
        changelog=lambda: read_changelog(kafka, pipeline.name),
        config=MicroBatchConfig(
            epoch_s=settings.epoch_s,
            read_tasks=settings.read_tasks,
            limits=ReadLimits(settings.interval_ms / 1e3, settings.max_batch_records),
            max_commit_records=settings.max_batch_records,
            max_unanswered_records=settings.max_unanswered_records,
        ),
    )


def continuous(
    kafka: KafkaSettings,
    workers: int,
    make_pipeline: Callable[[], Pipeline] = reference_pipeline,
    *,
    at_least_once: bool = False,
) -> ContinuousRunner:
    def make(number: int, progress: Progress) -> Worker:
        pipeline = make_pipeline()
        plain = KafkaPlainSink(kafka, GROUP, FRAMES.name)
        return Worker(
            pipeline,
            KafkaSource(kafka, FRAMES.name, GROUP),
            plain if at_least_once else KafkaSink(kafka, f"reference.{number}", GROUP, FRAMES.name, producers=2),
            ReferenceRegistry(),
            changelog=lambda owners: read_changelog(kafka, pipeline.name, owners),
            progress=progress,
        )

    return ContinuousRunner(make, workers)


def run_by_hand(bootstrap: str) -> None:
    """The peer's loop, until SIGTERM."""
    from hand_written import HandWritten  # beside this file

    torch.set_num_threads(1)
    torch.manual_seed(0)
    topics, stopping = (FRAMES, ANSWERS, state_topic("reference")), threading.Event()
    answer_id = ReferenceRegistry().id_of(str(ANSWERS.schema))
    with signals_set(stopping):
        HandWritten(bootstrap, ReferenceNet().eval(), VALUES, STATE, topics, answer_id).run(stopping)


def run_pipeline(bootstrap: str, workers: int, *, at_least_once: bool) -> None:
    """Until SIGTERM, with the settings that `sightline run` has by default."""
    ray_settings, stopping, kafka = RaySection(), threading.Event(), KafkaSettings(bootstrap_servers=bootstrap)
    with (
        ray_session(None, logical_cpus=ray_settings.num_cpus, object_store_mb=ray_settings.object_store_mb),
        signals_set(stopping),
    ):
        runner = continuous(kafka, workers, at_least_once=at_least_once) if workers else micro_batch(kafka)

        def stop() -> None:
            stopping.wait()
            runner.stop()

        threading.Thread(target=stop, name="stop", daemon=True).start()
        runner.run()


def frames(first: int, count: int, set_at_ms: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Frame number `first` and the next, 200 matches round robin, each to be sent at its `set_at_ms` (count,)."""
    number = np.arange(first, first + count)
    turn, match = number // MATCHES, number % MATCHES
    wave = np.sin(turn[:, None] / 9.0 + match[:, None] + np.arange(len(VALUES)))  # leads that come and go
    return pl.DataFrame(
        {
            "match_id": [f"reference-{m:03d}" for m in match],
            "event_time_ms": pl.Series(set_at_ms).cast(pl.Datetime("ms", "UTC")),
            "clock_s": (turn % 80) * FRAME_S,
            **{name: pl.Series(wave[:, column].astype(np.float32)) for column, name in enumerate(VALUES)},
        }
    )


class AnswerMeter:
    """A thread that reads the answers as any consumer would, and notes when each arrived."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._source = KafkaSource(kafka, ANSWERS.name, "meter")
        self._decoder = Decoder(str(ANSWERS.schema), ReferenceRegistry())
        self._start = self._source.end_offsets()
        self._stop = threading.Event()
        self._received = 0
        self._fetched: list[tuple[float, Records]] = []
        self._thread = threading.Thread(target=self._run, name="answer-meter", daemon=True)
        self._thread.start()

    @property
    def received(self) -> int:
        return self._received

    def stop(self) -> list[tuple[float, pl.DataFrame]]:
        """(time of receipt in ms, answers) of every fetch."""
        self._stop.set()
        self._thread.join(10.0)
        self._source.close()
        return [(now_ms, self._decoded(records)) for now_ms, records in self._fetched]

    def _decoded(self, records: Records) -> pl.DataFrame:
        answers = self._decoder.decode(records).frame
        emitted = pl.Series("emitted_ms", records.timestamps_ms)
        return answers.select("event_time_ms", "source_partition", "source_offset").with_columns(emitted)

    def _run(self) -> None:
        reader = self._source.open(self._start)
        while not self._stop.is_set():
            try:
                fetched = reader.poll(0.05, 10_000)
            except TransportUnavailable:
                continue
            if fetched is None or not len(fetched.records):
                continue
            self._fetched.append((time.time() * 1e3, fetched.records))
            self._received += len(fetched.records)
        reader.close()


class Bench:
    """A broker, a pipeline process, a load and a meter."""

    def __init__(self, home: Path, bootstrap: str, how: Sequence[str]) -> None:
        self._how = how
        self._home, self._kafka = home, KafkaSettings(bootstrap_servers=bootstrap)
        ensure_topics(self._kafka, [FRAMES, FRAMES.dead_letters, ANSWERS, state_topic("reference")])
        self._publisher = Publisher(self._kafka)
        self._encoder = Encoder(load_schema(str(FRAMES.schema)), ReferenceRegistry().id_of(str(FRAMES.schema)))
        self._pipeline: Child | None = None
        self.sent = 0
        self.meter = AnswerMeter(self._kafka)

    def start_pipeline(self) -> None:
        paths = os.pathsep.join((str(HERE), str(ROOT)))
        environment = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        command = ["bench_reference", "pipeline", "--bootstrap", str(self._kafka.bootstrap_servers), *self._how]
        self._pipeline = Child("pipeline", command, environment, self._home / "log")

    def publish(self, count: int) -> None:
        keys, values = self._encoded(np.full(count, time.time_ns() // 1_000_000))
        self._publisher.send(FRAMES.name, keys, values)
        self.sent += count

    def load(self, frames_per_s: float, seconds: float) -> None:
        """A steady load. Frames are made before, each with the time at which it is to be sent, and sent on time."""
        count = int(frames_per_s * seconds)
        ready_in_s = 1.0 + count / 50_000
        begin_ms = time.time() * 1e3 + ready_in_s * 1e3
        set_at_ms = begin_ms + np.arange(count) * (1e3 / frames_per_s)
        keys, values = self._encoded(set_at_ms.astype(np.int64))
        done = 0
        while done < count:
            due = int(np.searchsorted(set_at_ms, time.time() * 1e3, side="right"))
            if due > done:
                self._publisher.send(FRAMES.name, keys[done:due], values[done:due])
                done = due
            time.sleep(0.002)
        self.sent += count

    def flush(self) -> None:
        self._publisher.flush(120)

    def wait_for(self, answers: int, timeout_s: float = 300.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.meter.received < answers:
            if self._pipeline is not None and self._pipeline.ended is not None:
                sys.exit(f"the pipeline ended: {self._pipeline.last_line}")
            if time.monotonic() > deadline:
                sys.exit(f"{self.meter.received} of {answers} answers after {timeout_s:.0f} s")
            time.sleep(0.02)

    def stop(self) -> list[tuple[float, pl.DataFrame]]:
        if self._pipeline is not None:
            self._pipeline.stop(30)
            self._pipeline = None
        self._publisher.close()
        return self.meter.stop()

    def _encoded(self, set_at_ms: npt.NDArray[np.int64]) -> tuple[list[bytes], list[bytes]]:
        made = frames(self.sent, len(set_at_ms), set_at_ms)
        return [match_id.encode() for match_id in made["match_id"]], self._encoder.encode(made).to_pylist()


@contextmanager
def bench(how: Sequence[str]) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="sightline-reference-") as folder:
        home = Path(folder)
        broker = EmbeddedBroker(home / "kafka")
        running = None
        try:
            running = Bench(home, str(broker.start().bootstrap_servers), how)
            yield running
        finally:
            if running is not None:
                running.stop()
            broker.stop()


def latency(how: Sequence[str], frames_per_s: float, seconds: float, warm_up_s: float = 15.0) -> dict[str, Any]:
    with bench(how) as b:
        b.start_pipeline()
        b.publish(MATCHES)
        b.wait_for(MATCHES)
        b.load(frames_per_s, warm_up_s)
        b.wait_for(b.sent)
        warm = b.sent
        b.load(frames_per_s, seconds)
        b.wait_for(b.sent)
        sent, batches = b.sent, b.stop()
    _require_each_once(batches, sent)
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
    with bench(how) as b:
        while b.sent < events + warm_up:
            b.publish(min(20_000, events + warm_up - b.sent))
        b.flush()
        began = time.monotonic()
        b.start_pipeline()
        b.wait_for(b.sent, timeout_s=900)
        total_s = time.monotonic() - began
        sent, batches = b.sent, b.stop()
    _require_each_once(batches, sent)
    counts = np.cumsum([answers.height for _, answers in batches])
    first = int(np.searchsorted(counts, warm_up))
    received_s = (batches[-1][0] - batches[first][0]) / 1e3
    # A meter that the machine kept waiting finds many answers at once: then the pipeline's own clock tells.
    emitted_ms = np.sort(np.concatenate([answers["emitted_ms"].to_numpy() for _, answers in batches]))
    seconds = max(received_s, (emitted_ms[-1] - emitted_ms[counts[first] - 1]) / 1e3)
    return {
        "events": events,
        "seconds": round(seconds, 2),
        "events_per_s": round(float(counts[-1] - counts[first]) / seconds),
        "with_start_s": round(total_s, 1),
    }


def _require_each_once(batches: list[tuple[float, pl.DataFrame]], sent: int) -> None:
    """Every frame has one answer, none has two."""
    origins = pl.concat([answers.select("source_partition", "source_offset") for _, answers in batches])
    distinct = origins.n_unique()
    if (origins.height, distinct) != (sent, sent):
        sys.exit(f"{sent} frames have {origins.height} answers to {distinct} of them")


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
    runner = "by_hand" if options.by_hand else "plain" if options.at_least_once else "continuous"
    if not (options.by_hand or options.workers):
        runner = "reference"
    name = f"{runner}_{options.what}"
    sys.stdout.write(json.dumps({name: result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
