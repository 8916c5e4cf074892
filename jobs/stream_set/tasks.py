"""Partitions and days as generator tasks of Ray Data; what they yield is one JSON text a row.

Their output is files. A task that Ray runs again, because its worker died, begins by clearing what it had written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data

from jobs.stream_set.days import Forms, finish_day
from jobs.stream_set.partition import Day, fold_partition
from streaming.codec import Decoder
from streaming.features.labels import LabelRule
from streaming.pipeline import Transform
from streaming.records import OffsetRange
from streaming.runners.epoch import GeneratorTasks, blocks, cause_of, prepare_context
from streaming.transport import Source

_TOLD_EVERY = 4
"""Steps of a partition: each row on its way costs Ray some milliseconds."""


class PartitionTasks(GeneratorTasks):
    """`fold_partition`, a partition each."""

    def __init__(
        self,
        jobs: Sequence[tuple[OffsetRange, Path]],
        source: Source,
        decoder: Decoder,
        transforms: Sequence[Transform],
        rule: LabelRule,
    ) -> None:
        super().__init__(len(jobs))
        self._jobs, self._how = tuple(jobs), (source, decoder, tuple(transforms), rule)

    def _task(self, number: int) -> Callable[[], Iterator[pa.Table]]:
        (wanted, folder), (source, decoder, transforms, rule) = self._jobs[number], self._how

        def run() -> Iterator[pa.Table]:
            steps = fold_partition(wanted, source, decoder, transforms, rule, folder)
            for steps_done, tally in enumerate(steps):
                if steps_done % _TOLD_EVERY == 0 or tally.is_done:
                    yield _row({"partition": tally.partition, "records": tally.records, "rows": tally.rows})

        return run


class DayTasks(GeneratorTasks):
    """`finish_day`, a share of the days each."""

    def __init__(self, days: Sequence[tuple[Day, Sequence[Path]]], forms: Forms, folder: Path, tasks: int) -> None:
        super().__init__(max(1, min(tasks, len(days))))
        self._days, self._forms, self._folder = tuple(days), forms, folder

    def _task(self, number: int) -> Callable[[], Iterator[pa.Table]]:
        days, forms, folder = self._days[number :: self._tasks], self._forms, self._folder

        def run() -> Iterator[pa.Table]:
            for day, sources in days:
                yield _row(asdict(finish_day(day, sources, forms, folder)))

        return run


def run_tasks(tasks: GeneratorTasks, count: int, at_once: int) -> Iterator[dict[str, Any]]:
    """What `count` tasks yield, as it comes. Ray must be connected.

    Raises:
        Exception: what a task raised, itself.
    """
    prepare_context()
    at_once = min(at_once, count)  # Ray warns of tasks that there cannot be
    stream = ray.data.read_datasource(tasks, override_num_blocks=count, concurrency=at_once, num_cpus=1)
    try:
        for block in blocks(stream):
            yield from (json.loads(text) for text in block["said"].to_pylist())
    except Exception as error:
        raise cause_of(error) from error


def _row(said: dict[str, Any]) -> pa.Table:
    return pa.table({"said": [json.dumps(said)]})
