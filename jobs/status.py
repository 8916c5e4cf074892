"""Publish what a pipeline knows about itself, once a second, to `sightline.status`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from serve.calls import first_line
from streaming.codec import Encoder, SchemaRegistry, load_schema
from streaming.kafka.publisher import Publisher
from streaming.runners.flow import Clock
from streaming.runners.progress import Progress
from streaming.topics import PIPELINE_STATUS
from streaming.transport import Source, TransportUnavailable

log = logging.getLogger(__name__)

_PERIOD_S = 1.0
_CLUSTER_PERIOD_S = 5.0
_SCHEMA = "pipeline-status"

Cluster = Callable[[], dict[str, Any]]
"""What only the shell knows: models, replicas, ray_nodes. May take long or fail; asked for rarely."""


class StatusReporter:
    """A thread that looks at the end of the log, and says how the pipeline is. Outside every transaction: status must
    flow when answers do not. Nothing that goes wrong ends it but `stop`.

    Args:
        pipeline: its name, the key of its status.
        source: the topic it reads.
        progress: its own counters.
        publisher: where status goes.
        registry: gives the id of the status schema; the one that its readers ask.
        cluster: facts to add, asked for in a thread of their own.
        starting: what it still waits for before it can begin; "" once it has begun.
        clock: milliseconds, UTC.
    """

    def __init__(
        self,
        pipeline: str,
        source: Source,
        progress: Progress,
        publisher: Publisher,
        registry: SchemaRegistry,
        *,
        cluster: Cluster,
        starting: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._pipeline, self._source, self._progress = pipeline, source, progress
        self._publisher, self._registry = publisher, registry
        self._cluster, self._starting, self._clock = cluster, starting, clock
        self._encoder: Encoder | None = None  # made with the first status: the registry may be away at the start
        self._facts: dict[str, Any] = {"models": [], "replicas": -1, "ray_nodes": 0}
        self._failing: set[tuple[str, type[Exception]]] = set()
        self._stop = threading.Event()
        self._threads: Sequence[threading.Thread] = tuple(
            threading.Thread(target=self._repeat, args=(name, act, period_s), name=name, daemon=True)
            for name, act, period_s in (("status", self._report, _PERIOD_S), ("cluster", self._ask, _CLUSTER_PERIOD_S))
        )

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, state: str, reason: str = "") -> None:
        """Say the last word (`stopped`, `failed`) and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(3.0)
        try:
            self._send({"state": state, "reason": reason})
        except Exception as failure:  # the run ends as it does, heard or not
            log.warning("the last status was not published: %s", first_line(failure))

    def _repeat(self, name: str, act: Callable[[], None], period_s: float) -> None:
        while True:
            try:
                act()
                self._failing = {(failed, kind) for failed, kind in self._failing if failed != name}
            except Exception as failure:
                # Whatever it is (no such topic, no right to it, the registry, Ray): said once, and tried again.
                if (name, type(failure)) not in self._failing:
                    self._failing.add((name, type(failure)))
                    log.warning("%s: %s", name, first_line(failure))
            if self._stop.wait(period_s if self._facts["models"] else _PERIOD_S):  # soon known, then seldom asked
                return

    def _ask(self) -> None:
        try:
            self._facts = self._cluster()
        except Exception:
            self._facts = {**self._facts, "replicas": -1, "ray_nodes": 0}
            raise

    def _report(self) -> None:
        try:
            self._progress.log_ends_at(self._clock(), self._source.end_offsets())
            self._progress.waits("status", "")
        except TransportUnavailable as away:
            self._progress.waits("status", str(away))
        except Exception as failure:
            self._progress.waits("status", f"the end of {self._source.topic} is not known: {first_line(failure)}")
            self._send({})
            raise
        self._send({})

    def _send(self, override: dict[str, Any]) -> None:
        now_ms = self._clock()
        row = {
            "pipeline": self._pipeline,
            "time_ms": now_ms,
            "started_ms": self._progress.started_ms,
            "source_topic": self._source.topic,
            **self._facts,
            **self._progress.report(now_ms),
        }
        if missing := self._starting():
            row |= {"state": "starting", "reason": "; ".join(filter(None, (missing, str(row["reason"]))))}
        row |= override
        if self._encoder is None:
            self._encoder = Encoder(load_schema(_SCHEMA), self._registry.id_of(_SCHEMA))
        frame = pl.DataFrame([{name: row[name] for name in STATUS_SCHEMA}], schema=STATUS_SCHEMA)
        frame = frame.with_columns(pl.col("latency_p50_ms", "latency_p99_ms").fill_nan(None))
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
                "repeated_total",
                "shed_total",
                "results_late_total",
                "batches_total",
                "broken_total",
                "degraded_total",
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
        "alerts": pl.List(_TEXT),
    }
)
"""Columns of pipeline-status.avsc."""
