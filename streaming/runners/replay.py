"""The bounded runner: a part of the past through the same pipeline, into another topic or a file.

    plan: slices of time, each an offset range per partition ─► read tasks on Ray Data ─► decode, transforms
         ─► release in order ─► stages (Flow) ─► output

It belongs to no consumer group, and so moves nobody's offsets and nobody's lag. State begins empty: a key whose first
record lies in the range is answered as it was live; let the range begin early enough.

It ticks no stage (`TickingStage`): its answers are to follow from the log alone, whenever it runs, and what was quiet
live is not by the wall clock of today. So windows that only a tick would close stay open at its end, and those that a
tick closed live close by rows ("What ticks do to determinism" in `streaming.windows`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import pyarrow as pa

from streaming.codec import SchemaRegistry
from streaming.pipeline import Pipeline
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch, pack_raw
from streaming.runners.epoch import GeneratorTasks, Preprocess, batches
from streaming.runners.flow import Clock, Commit, Flow, reread
from streaming.runners.order import ReleaseOrder
from streaming.runners.preprocess import source_decoder
from streaming.transport import Source

Slice = tuple[OffsetRange, ...]
"""What is read and answered together: at most one range per partition."""


def plan(cuts: Sequence[Mapping[int, int]], max_records: int) -> list[Slice]:
    """Cut the log into slices, in the order in which they are answered.

    Args:
        cuts: offsets by partition at rising moments; the first is where to begin, the last where to end.
        max_records: a slice no larger than this; a longer one becomes several, all partitions going on at the same
            pace.

    Raises:
        ValueError: offsets that fall from one moment to the next.
    """
    slices: list[Slice] = []
    for before, after in pairwise(cuts):
        wanted = [OffsetRange(partition, before[partition], after[partition]) for partition in sorted(before)]
        longest = sum(w.end - w.start for w in wanted)
        pieces = max(1, -(-longest // max_records))
        for piece in range(pieces):
            part = tuple(_share(w, piece, pieces) for w in wanted)
            if any(w.end > w.start for w in part):
                slices.append(tuple(w for w in part if w.end > w.start))
    return slices


def _share(wanted: OffsetRange, piece: int, pieces: int) -> OffsetRange:
    length = wanted.end - wanted.start
    return OffsetRange(
        wanted.partition, wanted.start + length * piece // pieces, wanted.start + length * (piece + 1) // pieces
    )


class ReplayOutput(Protocol):
    """Where answers go."""

    def write(self, commit: Commit) -> None:
        """Take these answers."""


@dataclass(frozen=True)
class Replayed:
    """What has been done so far."""

    slices: int
    of_slices: int
    records: int
    answers: int
    rejected: int


class ReplayRunner:
    """Answers the slices of a plan, once. Ray must be connected.

    Args:
        pipeline: what to do.
        source: whose topic to read; its group's offsets are left alone.
        registry: of schemas.
        slices: of `plan`.
        output: takes the answers, slice after slice.
        tasks: read tasks at a time.
        cpus_per_task: logical.
        clock: milliseconds, UTC; the time at which answers say that they were made.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        registry: SchemaRegistry,
        slices: Sequence[Slice],
        output: ReplayOutput,
        *,
        tasks: int = 1,
        cpus_per_task: float = 0.25,
        clock: Clock = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pipeline, self._source, self._slices, self._output = pipeline, source, slices, output
        self._tasks, self._cpus_per_task = max(1, min(tasks, len(slices))), cpus_per_task
        self._decoder = source_decoder(pipeline, registry)
        self._flow = Flow(pipeline, registry, clock=clock, reread=self._reread)

    def run(self, on_progress: Callable[[Replayed], None] = lambda replayed: None) -> Replayed:
        """Read, answer and write all slices.

        Raises:
            OffsetsExpired: some of the records were deleted.
            LogCorrupt: some cannot be read.
            TransportUnavailable: the log is away.
        """
        done = Replayed(0, len(self._slices), 0, 0, 0)
        for batch in self._in_order():
            commit = self._flow.process([batch])
            self._output.write(commit)
            done = Replayed(
                done.slices + 1,
                done.of_slices,
                done.records + commit.records,
                done.answers + commit.answered,
                done.rejected + len(commit.rejected),
            )
            on_progress(done)
        return done

    def _in_order(self) -> Iterator[Batch]:
        order = ReleaseOrder(_starts(self._slices))
        source = SliceSource(self._source, self._slices, self._tasks)
        preprocess = Preprocess(self._decoder, self._pipeline.transforms)
        for batch in batches(source, preprocess, self._tasks, self._cpus_per_task):
            yield from order.push(batch)

    def _reread(self, partition: int, offsets: Sequence[int]) -> Records:
        reader = self._source.open({})
        try:
            return reread(reader.read, partition, offsets)
        finally:
            reader.close()


def _starts(slices: Sequence[Slice]) -> dict[int, int]:
    starts: dict[int, int] = {}
    for wanted in (w for part in slices for w in part):
        starts.setdefault(wanted.partition, wanted.start)
    return starts


class SliceSource(GeneratorTasks):
    """Read tasks that take the slices in turn."""

    def __init__(self, source: Source, slices: Sequence[Slice], tasks: int) -> None:
        super().__init__(tasks)
        self._source, self._slices = source, slices

    def _task(self, number: int) -> Callable[[], Iterator[pa.Table]]:
        source, slices = self._source, tuple(self._slices[number :: self._tasks])

        def read() -> Iterator[pa.Table]:
            reader = source.open({})
            try:
                for part in slices:
                    yield pack_raw([(wanted, reader.read(wanted)) for wanted in part])
            finally:
                reader.close()

        return read
