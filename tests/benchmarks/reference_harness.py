"""What the benchmarks of the reference workload share: a broker, a pipeline process, a load, and a meter of answers."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from reference_workload import ANSWERS, FRAMES, MATCHES, ReferenceRegistry, frames

from jobs.children import Child
from jobs.threads import beside
from streaming.codec import Decoder, Encoder, SchemaRegistry, load_schema
from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.records import Records
from streaming.topics import Topic, state_topic
from streaming.transport import TransportUnavailable

HERE = Path(__file__).parent
SEARCH_PATH = os.pathsep.join((str(HERE), str(HERE.parents[1])))
"""PYTHONPATH of a pipeline process, and of Ray's."""

_TICK_S = 0.02

Received = tuple[float, pl.DataFrame]
"""A fetch of answers: when it came, in ms since 1970, and `event_time_ms, source_partition, source_offset, emitted_ms`
of each."""


class AnswerMeter:
    """A thread that reads the answers as any consumer would, and notes when each arrived; read is what they say later,
    so that this takes no time from what is measured."""

    def __init__(self, kafka: KafkaSettings, answers: Topic = ANSWERS, registry: SchemaRegistry | None = None) -> None:
        self._source = KafkaSource(kafka, answers.name, "meter")
        self._decoder = Decoder(str(answers.schema), registry or ReferenceRegistry())
        self._start = self._source.end_offsets()
        self._stop = threading.Event()
        self._received = 0
        self._fetched: list[tuple[float, Records]] = []
        self._batches: list[Received] = []  # what of that has been decoded
        self._thread = threading.Thread(target=self._run, name="answer-meter", daemon=True)
        self._thread.start()

    @property
    def received(self) -> int:
        return self._received

    @property
    def batches(self) -> list[Received]:
        """Every fetch so far."""
        for now_ms, records in self._fetched[len(self._batches) :]:
            answers = self._decoder.decode(records).frame
            emitted = pl.Series("emitted_ms", records.timestamps_ms)
            columns = answers.select("event_time_ms", "source_partition", "source_offset").with_columns(emitted)
            self._batches.append((now_ms, columns))
        return self._batches[:]

    def stop(self) -> list[Received]:
        """Every fetch there was."""
        self._stop.set()
        self._thread.join(10.0)
        self._source.close()
        return self.batches

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
    """A broker, a pipeline process (`python -m COMMAND --bootstrap HOST:PORT`), a load and a meter."""

    def __init__(self, home: Path, bootstrap: str, command: Sequence[str], matches: int) -> None:
        self._command, self._matches = command, matches
        self._home, self.kafka = home, KafkaSettings(bootstrap_servers=bootstrap)
        ensure_topics(self.kafka, [FRAMES, FRAMES.dead_letters, ANSWERS, state_topic("reference")])
        self._publisher = Publisher(self.kafka)
        self._encoder = Encoder(load_schema(str(FRAMES.schema)), ReferenceRegistry().id_of(str(FRAMES.schema)))
        self._pipeline: Child | None = None
        self.sent = 0
        self.meter = AnswerMeter(self.kafka)

    def start_pipeline(self) -> Child:
        command = [*self._command, "--bootstrap", self.kafka.bootstrap_servers]
        environment = {"PYTHONPATH": SEARCH_PATH, "OMP_NUM_THREADS": "1"}
        self._pipeline = Child("pipeline", command, environment, self._home / "log")
        return self._pipeline

    @property
    def is_running(self) -> bool:
        return self._pipeline is not None and self._pipeline.ended is None

    def stop_pipeline(self) -> None:
        if self._pipeline is not None:
            self._pipeline.stop(30)
            self._pipeline = None

    def publish(self, count: int) -> None:
        self._publish(np.full(count, time.time_ns() // 1_000_000))

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

    @contextmanager
    def loading(self, frames_per_s: float) -> Iterator[None]:
        """A steady load for the body of the `with`, made while it is sent: some frames at a time, each with the time at
        which it was due."""

        def send(over: threading.Event) -> None:
            began_ms, first = time.time() * 1e3, self.sent
            while not over.wait(_TICK_S):
                due = int((time.time() * 1e3 - began_ms) * frames_per_s / 1e3)
                if due > (done := self.sent - first):
                    self._publish((began_ms + np.arange(done, due) * 1e3 / frames_per_s).astype(np.int64))

        with beside(send, "load"):
            yield

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

    def stop(self) -> list[Received]:
        self.stop_pipeline()
        self._publisher.close()
        return self.meter.stop()

    def _publish(self, set_at_ms: npt.NDArray[np.int64]) -> None:
        keys, values = self._encoded(set_at_ms)
        self._publisher.send(FRAMES.name, keys, values)
        self.sent += len(set_at_ms)

    def _encoded(self, set_at_ms: npt.NDArray[np.int64]) -> tuple[list[bytes], list[bytes]]:
        made = frames(self.sent, len(set_at_ms), set_at_ms, self._matches)
        return [match_id.encode() for match_id in made["match_id"]], self._encoder.encode(made).to_pylist()


@contextmanager
def bench(command: Sequence[str], matches: int = MATCHES) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="sightline-reference-") as folder:
        home = Path(folder)
        broker = EmbeddedBroker(home / "kafka")
        running = None
        try:
            running = Bench(home, str(broker.start().bootstrap_servers), command, matches)
            yield running
        finally:
            if running is not None:
                running.stop()
            broker.stop()


def answered_after(batches: Sequence[Received], warm_up: int) -> tuple[int, float]:
    """How many answers came after the first `warm_up`, and in how many seconds."""
    counts = np.cumsum([answers.height for _, answers in batches])
    first = int(np.searchsorted(counts, warm_up))
    received_s = (batches[-1][0] - batches[first][0]) / 1e3
    # A meter that the machine kept waiting finds many answers at once: then the pipeline's own clock tells.
    emitted_ms = np.sort(np.concatenate([answers["emitted_ms"].to_numpy() for _, answers in batches]))
    return int(counts[-1] - counts[first]), max(received_s, (emitted_ms[-1] - emitted_ms[counts[first] - 1]) / 1e3)


def require_each_once(batches: Sequence[Received], sent: int) -> None:
    """Every frame has one answer, none has two."""
    origins = pl.concat([answers.select("source_partition", "source_offset") for _, answers in batches])
    distinct = origins.n_unique()
    if (origins.height, distinct) != (sent, sent):
        sys.exit(f"{sent} frames have {origins.height} answers to {distinct} of them")
