"""One epoch: one Ray Data execution that reads a topic until the planner closes it.

    read task (generator): fetch ─► planner says which range is whose ─► yield raw records as one row
    map_batches, fused into the same task: decode ─► stateless transforms ─► one row with good and rejected apart

A Ray Data execution per trigger leaks in Ray's own processes, and costs 65 ms each; an epoch is one execution for
minutes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata

from streaming.codec import Decoder
from streaming.pipeline import NewestFirst, Transform
from streaming.records import OffsetRange, Records
from streaming.runners.batch import PACKED, Batch, pack, pack_raw, unpack, unpack_raw
from streaming.runners.preprocess import collect, preprocess, shed
from streaming.transport import Fetched, Reader, Source, TransportUnavailable

_BACK_OFF_S = 0.5
_IDLE_POLL_S = 0.25
_DECODING = -1  # in the planner's list of troubles, beside the numbers of read tasks


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How a read task cuts the stream into batches."""

    interval_s: float = 0.060  # records gather so long: fewer, larger batches cost less
    max_records: int = 5_000  # a batch no larger than this


class GeneratorTasks(Datasource, ABC):
    """A source that is so many read tasks, each a generator of rows that are batches."""

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: a stream has no size."""
        return None

    def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:
        """One generator each; `parallelism` is ours to choose, not Ray's."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(self._task(number), unknown) for number in range(self._tasks)]

    @abstractmethod
    def _task(self, number: int) -> Callable[[], Iterator[pa.Table]]:
        """What this task runs, where Ray wants; the j-th yield is the same in every run of it."""


class EpochSource(GeneratorTasks):
    """The read tasks of one epoch, each over fixed partitions."""

    def __init__(
        self,
        source: Source,
        planner: Any,
        epoch: int,
        assignment: Sequence[Sequence[int]],
        limits: ReadLimits,
    ) -> None:
        super().__init__(len(assignment))
        self._source = source
        self._planner = planner
        self._epoch = epoch
        self._assignment = assignment
        self._limits = limits

    def _task(self, number: int) -> Callable[[], Iterator[pa.Table]]:
        source, planner, epoch = self._source, self._planner, self._epoch
        partitions, limits = tuple(self._assignment[number]), self._limits

        def read() -> Iterator[pa.Table]:
            call = _RayPlanner(planner, epoch, number)
            yield from (pack_raw(parts) for parts in read_epoch(source, call, partitions, limits))

        return read


class PlannerCalls(Protocol):
    """The planner as one read task sees it (`streaming.runners.planner`): plain calls, whatever carries them."""

    def begin(self, partitions: Sequence[int]) -> tuple[list[tuple[OffsetRange, ...]], dict[int, int]]:
        """What this task was told in earlier runs, and where its partitions stand. Waits for its epoch."""

    def propose(self, index: int, ranges: tuple[OffsetRange, ...], records: int) -> tuple[OffsetRange, ...] | None:
        """The final answer for this index; None when the epoch is closed. Waits while too much is unanswered."""

    def is_open(self) -> bool:
        """Whether the epoch is."""

    def report(self, trouble: str) -> None:
        """Say what is waited for, or with "" that no longer."""


class _RayPlanner:
    """The planner behind its actor."""

    def __init__(self, planner: Any, epoch: int, task: int) -> None:
        self._planner, self._epoch, self._task = planner, epoch, task

    def begin(self, partitions: Sequence[int]) -> tuple[list[tuple[OffsetRange, ...]], dict[int, int]]:
        return ray.get(self._planner.begin.remote(self._epoch, self._task, partitions))  # type: ignore[no-any-return]

    def propose(self, index: int, ranges: tuple[OffsetRange, ...], records: int) -> tuple[OffsetRange, ...] | None:
        return ray.get(  # type: ignore[no-any-return]
            self._planner.propose.remote(self._epoch, self._task, index, ranges, records)
        )

    def is_open(self) -> bool:
        return bool(ray.get(self._planner.is_open.remote(self._epoch)))

    def report(self, trouble: str) -> None:
        self._planner.report.remote(self._task, trouble)


def read_epoch(
    source: Source,
    planner: PlannerCalls,
    partitions: Sequence[int],
    limits: ReadLimits,
) -> Iterator[list[tuple[OffsetRange, Records]]]:
    """Yield the batches of one read task until its epoch is closed.

    The j-th yield is the same on every run of the task: the planner's remembered answers come first. While the log is
    away the task says so and waits; nothing but a closed epoch ends it.

    Raises:
        OffsetsExpired: records were deleted before they were read.
        LogCorrupt: records cannot be read; all before them have been handed out.
    """
    answers, positions = planner.begin(partitions)
    reader = _Patient(source, positions, planner, limits.interval_s)
    try:
        for ranges in answers:
            yield reader.read(ranges)
        index = len(answers)
        while True:
            fetched = reader.collect(limits)
            if not fetched:
                if not planner.is_open():
                    return
                continue
            proposed = tuple(part.range for part in fetched)
            agreed = planner.propose(index, proposed, sum(len(part.records) for part in fetched))
            if agreed is None:
                return
            index += 1
            if agreed == proposed:
                yield [(part.range, part.records) for part in fetched]
            else:  # another run of this task was here first: its answer holds
                yield reader.read(agreed)
                # Also back where that run read nothing: the next proposal continues the plan, in every partition.
                reader.seek({part.partition: part.start for part in proposed} | {w.partition: w.end for w in agreed})
    finally:
        reader.close()


class _Patient:
    """A reader that waits while the log is away, and says so. Opened at its first use."""

    def __init__(self, source: Source, start: Mapping[int, int], planner: PlannerCalls, gather_s: float) -> None:
        self._source, self._start, self._planner, self._gather_s = source, start, planner, gather_s
        self._reader: Reader | None = None
        self._troubled = False

    def collect(self, limits: ReadLimits) -> list[Fetched]:
        """All that has come, a range per partition; nothing after a while without records, or while the log is away."""
        return collect(self._poll, _IDLE_POLL_S, limits.max_records)

    def read(self, ranges: tuple[OffsetRange, ...]) -> list[tuple[OffsetRange, Records]]:
        """Exactly these ranges. Waits as long as it takes: they are promised, and left out they would be lost."""
        return [(wanted, self._read(wanted)) for wanted in ranges]

    def seek(self, positions: Mapping[int, int]) -> None:
        for partition, offset in positions.items():
            self._open().seek(partition, offset)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _open(self) -> Reader:
        if self._reader is None:
            self._reader = self._source.open(self._start, self._gather_s)
        return self._reader

    def _poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        try:
            fetched = self._open().poll(timeout_s, max_records)
        except TransportUnavailable as away:
            self._wait(away)
            return None
        self._recovered()
        return fetched

    def _read(self, wanted: OffsetRange) -> Records:
        while True:
            try:
                records = self._open().read(wanted)
            except TransportUnavailable as away:
                self._wait(away)
                continue
            self._recovered()
            return records

    def _wait(self, away: TransportUnavailable) -> None:
        self._troubled = True
        self._planner.report(str(away))
        time.sleep(_BACK_OFF_S)

    def _recovered(self) -> None:
        if self._troubled:
            self._troubled = False
            self._planner.report("")


class Preprocess:
    """Decode and transform one raw row: the stateless half of a pipeline, run on the cluster. What it waits for is said
    to the planner, where there is one."""

    def __init__(
        self,
        decoder: Decoder,
        transforms: Sequence[Transform],
        planner: Any = None,
        shedding: NewestFirst | None = None,
    ) -> None:
        self._decoder = decoder
        self._transforms = tuple(transforms)
        self._planner = planner
        self._shedding = shedding

    def __call__(self, block: pa.Table) -> pa.Table:
        """(1 raw row) to (1 packed row)."""
        if block.num_rows == 0:  # Ray asks for the schema with an empty block
            return block
        kept, passed_over = shed(unpack_raw(block), self._shedding, time.time_ns() // 1_000_000)
        return pack(preprocess(kept, self._decoder, self._transforms, self._report, passed_over))

    def _report(self, trouble: str) -> None:
        if self._planner is not None:
            self._planner.report.remote(_DECODING, trouble)


def batches(
    source: Datasource, preprocess_block: Callable[[pa.Table], pa.Table], tasks: int, cpus_per_task: float
) -> Iterator[Batch]:
    """Run one epoch and hand out its batches as they come, in no particular order between tasks."""
    prepare_context()
    stream = ray.data.read_datasource(source, override_num_blocks=tasks, num_cpus=cpus_per_task).map_batches(
        preprocess_block, batch_format="pyarrow", batch_size=None, num_cpus=cpus_per_task
    )
    for block in blocks(stream):
        if block.schema.names != PACKED.names:
            yield unpack(block)


def prepare_context() -> None:
    """Let Ray Data hand every row on at once, before a dataset of generator tasks is made."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1


def blocks(stream: ray.data.Dataset) -> Iterator[pa.Table]:
    """Run it and hand out what its generators yield as it comes, in no particular order between tasks.

    By bundles and not by `iter_batches`, which passes every block through another thread, and leaves a thread behind
    after every execution.
    """
    for bundle in stream.iter_internal_ref_bundles():
        for entry in bundle.blocks:
            block = ray.get(entry.ref)
            if block.num_rows:
                yield block


def cause_of(failure: BaseException) -> BaseException:
    """What went wrong inside a Ray task, without Ray's wrapping."""
    while isinstance(failure, ray.exceptions.RayError):
        inner = getattr(failure, "cause", None) or failure.__cause__
        if not isinstance(inner, BaseException):
            return failure
        failure = inner
    return failure
