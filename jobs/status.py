"""Publish what a pipeline knows about itself, once a second, to `sightline.status`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.kafka.publisher import Publisher
from streaming.runners.flow import Clock
from streaming.runners.progress import Progress
from streaming.topics import PIPELINE_STATUS
from streaming.transport import Source, TransportUnavailable

log = logging.getLogger(__name__)

_PERIOD_S = 1.0
_CLUSTER_PERIOD_S = 5.0

Cluster = Callable[[], dict[str, Any]]
"""What only the shell knows: models, replicas, ray_nodes, broken_total. May take long or fail; asked for rarely."""


class StatusReporter:
    """A thread that looks at the end of the log, and says how the pipeline is. Outside every transaction: status must
    flow when answers do not."""

    def __init__(
        self, pipeline: str, source: Source, progress: Progress, publisher: Publisher, cluster: Cluster, clock: Clock
    ) -> None:
        self._pipeline, self._source, self._progress = pipeline, source, progress
        self._publisher, self._cluster, self._clock = publisher, cluster, clock
        schema = load_schema("pipeline-status")
        self._encoder = Encoder(schema, PackagedRegistry().id_of("pipeline-status"))
        self._fields = [field["name"] for field in schema["fields"]]
        self._facts: dict[str, Any] = {"models": [], "replicas": -1, "ray_nodes": 0, "broken_total": 0}
        self._stop = threading.Event()
        self._threads: Sequence[threading.Thread] = (
            threading.Thread(target=self._repeat, args=(self._publish, _PERIOD_S), name="status", daemon=True),
            threading.Thread(target=self._repeat, args=(self._ask, _CLUSTER_PERIOD_S), name="cluster", daemon=True),
        )

    def start(self) -> None:
        """Begin; the first status says `running` or what is waited for."""
        for thread in self._threads:
            thread.start()

    def stop(self, state: str, reason: str = "") -> None:
        """Say the last word (`stopped`, `failed`) and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(3.0)
        self._send({"state": state, "reason": reason})

    def _repeat(self, act: Callable[[], None], period_s: float) -> None:
        while True:
            act()
            if self._stop.wait(period_s):
                return

    def _ask(self) -> None:
        try:
            self._facts = self._cluster()
        except Exception as away:  # whatever a cluster in trouble raises: the page says that it does not answer
            log.warning("Ray does not answer: %s", away)
            self._facts = {**self._facts, "replicas": -1, "ray_nodes": 0}

    def _publish(self) -> None:
        try:
            self._progress.log_ends_at(self._clock(), self._source.end_offsets())
            self._progress.waits("status", "")
        except TransportUnavailable as away:
            self._progress.waits("status", str(away))
        self._send({})

    def _send(self, override: dict[str, Any]) -> None:
        now_ms = self._clock()
        row = {
            "pipeline": self._pipeline,
            "time_ms": now_ms,
            "started_ms": self._progress.started_ms,
            "source_topic": self._source.topic,
            **self._progress.report(now_ms),
            **self._facts,
            **override,
        }
        frame = pl.DataFrame([{name: row[name] for name in self._fields}], schema=STATUS_SCHEMA)
        self._publisher.send(
            PIPELINE_STATUS.name, [self._pipeline.encode()], self._encoder.encode(frame).to_pylist(), now_ms
        )


_TEXT = pl.String()
STATUS_SCHEMA = pl.Schema(
    {
        "pipeline": _TEXT,
        "time_ms": pl.Datetime("ms", "UTC"),
        "started_ms": pl.Datetime("ms", "UTC"),
        "state": _TEXT,
        "reason": _TEXT,
        "source_topic": _TEXT,
        **{
            name: pl.Int64()
            for name in (
                "events_total",
                "answers_total",
                "dead_letters_total",
                "late_total",
                "batches_total",
                "broken_total",
            )
        },
        "events_per_s": pl.Float64(),
        "answers_per_s": pl.Float64(),
        "lag_records": pl.Int64(),
        "lag_s": pl.Float64(),
        "latency_p50_ms": pl.Float64(),
        "latency_p99_ms": pl.Float64(),
        "partitions": pl.List(
            pl.Struct({"partition": pl.Int32(), "committed": pl.Int64(), "end": pl.Int64(), "lag_s": pl.Float64()})
        ),
        "models": pl.List(
            pl.Struct({"title": _TEXT, "name": _TEXT, "version": _TEXT, "weight_hash": _TEXT, "trained_on": _TEXT})
        ),
        "replicas": pl.Int32(),
        "ray_nodes": pl.Int32(),
        "errors": pl.List(_TEXT),
    }
)
"""Columns of pipeline-status.avsc."""
