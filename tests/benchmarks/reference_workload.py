"""The reference workload of other stream processors: its topics, its model, its pipeline, and the runners that run it.

200 live matches round robin, one message a frame (match_id, event time, game clock, 23 floats; Avro in Confluent
format), one answer a frame (p, six contributions, source partition and offset), keyed state of 64 floats a match, a
model of TSSTN's size: six odd group nets, GRUCell(13 → 64), six weights, contributions. The model runs in the
pipeline's own process, as a plain stage; everything else is what `sightline run` uses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.settings import PipelineSection
from streaming.codec import Schema, SchemaRegistry, UnknownSchema, load_schema
from streaming.kafka.admin import read_changelog
from streaming.kafka.plain_sink import KafkaPlainSink
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.epoch import ReadLimits
from streaming.runners.micro_batch import MicroBatchConfig, MicroBatchRunner
from streaming.runners.progress import Progress
from streaming.runners.worker import Worker
from streaming.topics import Topic

HERE = Path(__file__).parent

MATCHES = 200
WIDTHS = (1, 2, 3, 5, 3, 9)  # features of the six groups, 23 in all
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


def reference_pipeline() -> Pipeline:
    from reference_model import ReferenceModel

    return Pipeline("reference", source=FRAMES, transforms=(), stages=(ReferenceModel(),), sink=ANSWERS)


GROUP = "reference"


def micro_batch(
    kafka: KafkaSettings,
    make_pipeline: Callable[[], Pipeline] = reference_pipeline,
    *,
    registry: SchemaRegistry | None = None,
) -> MicroBatchRunner:
    settings, pipeline = PipelineSection(), make_pipeline()
    return MicroBatchRunner(
        pipeline,
        KafkaSource(kafka, pipeline.source.name, GROUP),
        KafkaSink(kafka, "reference", GROUP, pipeline.source.name),
        registry or ReferenceRegistry(),
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
    standby: Sequence[Any] = (),
    at_least_once: bool = False,
    registry: SchemaRegistry | None = None,
) -> ContinuousRunner:
    def make(number: int, progress: Progress) -> Worker:
        pipeline = make_pipeline()
        source = pipeline.source.name
        plain = KafkaPlainSink(kafka, GROUP, source)
        named = replace(kafka, client_id=f"{GROUP}-{os.getpid()}")  # the group tells which process reads what
        return Worker(
            pipeline,
            KafkaSource(named, source, GROUP),
            plain if at_least_once else KafkaSink(kafka, f"reference.{number}", GROUP, source, producers=2),
            registry or ReferenceRegistry(),
            changelog=lambda owners: read_changelog(kafka, pipeline.name, owners),
            progress=progress,
        )

    return ContinuousRunner(make, workers, standby=standby)


def frames(first: int, count: int, set_at_ms: npt.NDArray[np.int64], matches: int = MATCHES) -> pl.DataFrame:
    """Frame number `first` and the next, all matches round robin, each to be sent at its `set_at_ms` (count,)."""
    number = np.arange(first, first + count)
    turn, match = number // matches, number % matches
    wave = np.sin(turn[:, None] / 9.0 + match[:, None] + np.arange(len(VALUES)))  # leads that come and go
    return pl.DataFrame(
        {
            "match_id": [f"reference-{m:03d}" for m in match],
            "event_time_ms": pl.Series(set_at_ms).cast(pl.Datetime("ms", "UTC")),
            "clock_s": (turn % 80) * FRAME_S,
            **{name: pl.Series(wave[:, column].astype(np.float32)) for column, name in enumerate(VALUES)},
        }
    )
