"""The bounded runner: a part of the past through the same pipeline, into another topic or a file.

    plan: slices of time, each an offset range per partition ─► read tasks on Ray Data ─► decode, transforms
         ─► release in order ─► stages (Flow), ticked by log time ─► output

It belongs to no consumer group, and so moves nobody's offsets and nobody's lag. State begins empty: a key whose first
record lies in the range is answered as it was live; let the range begin early enough.

Its stages are ticked (`TickingStage`) by the times at which the log got its records (`streaming.runners.log_time`), not
by the clock of today: its answers follow from the log alone, whenever it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import pyarrow as pa

from streaming.codec import SchemaRegistry
from streaming.pipeline import Pipeline
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch, pack_raw
from streaming.runners.epoch import GeneratorTasks, Preprocess, batches
from streaming.runners.flow import Clock, Flow, reread
from streaming.runners.log_time import LogTime
from streaming.runners.order import ReleaseOrder
from streaming.runners.preprocess import source_decoder
from streaming.runners.ticking import Tick
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

    def write(self, answers: Records) -> None:
        """Take these, one at least."""


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
        until_ms: log time up to which the slices hold everything; None where they end by offsets.
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
        until_ms: int | None = None,
        tasks: int = 1,
        cpus_per_task: float = 0.25,
        clock: Clock = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pipeline, self._source, self._slices, self._output = pipeline, source, slices, output
        self._log_time = LogTime(pipeline, [wanted for part in slices for wanted in part], until_ms)
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
            done = self._answered(self._log_time.steps(batch), done)
            done = replace(done, slices=done.slices + 1)
            on_progress(done)
        return self._answered(self._log_time.rest(), done)

    def _answered(self, steps: Iterable[Batch | Tick], done: Replayed) -> Replayed:
        said = [self._flow.tick(step) if isinstance(step, Tick) else self._flow.process([step]) for step in steps]
        commits = [commit for commit in said if commit is not None]
        answers = [output.records for commit in commits for output in commit.answers]
        if answers:
            self._output.write(Records.joined(answers))
        return replace(
            done,
            records=done.records + sum(commit.records for commit in commits),
            answers=done.answers + sum(commit.answered for commit in commits),
            rejected=done.rejected + sum(len(commit.rejected) for commit in commits),
        )

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
