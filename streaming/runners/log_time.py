"""What a replay has in place of a clock: the times at which the log got its records.

    a slice ─► rows of all partitions in the order in which the log got them ─► cut where a tick is due

A live run that keeps up has, at any moment, been handed what the log held then, and ticks about once a second
(`streaming.runners.ticking`). A replay is handed its rows in that order, and ticks at the end of every second of log
time in which a key was silent that had spoken before; where none was, no live tick had anything to say. So what a tick
closes or misses it closes and misses in a replay as well, at the same time to the second, and what comes out follows
from the log alone, whenever the replay runs.

Log time goes on to `until_ms`, up to which the range holds everything. Without it, as where a range ends by offsets,
nobody knows for how long nothing more came: it ends with each partition's last record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from streaming.pipeline import Pipeline, TickingStage
from streaming.records import OffsetRange
from streaming.runners.batch import Batch
from streaming.runners.ticking import PERIOD_MS, Tick

_SELDOM = 100
"""Of a long silence each hundredth has a tick: a night has a thousand, and not 40,000."""


class LogTime:
    """Where the ticks of a replay belong between its rows. Not thread-safe.

    Args:
        pipeline: whose stages are told.
        ranges: what is replayed, in order.
        until_ms: up to which log time it holds everything; None: unknown.
    """

    def __init__(self, pipeline: Pipeline, ranges: Sequence[OffsetRange], until_ms: int | None) -> None:
        self._is_wanted = any(isinstance(stage, TickingStage) for stage in pipeline.stages)
        self._key, self._until_ms = pipeline.source.key, until_ms
        self._ends = {wanted.partition: wanted.end for wanted in ranges}
        self._positions = {wanted.partition: wanted.start for wanted in reversed(ranges)}
        self._period = 0  # in which the last row reached the log, by the number of the tick at its end
        self._spoke: dict[str, int] = {}  # the period of each key's last row

    def steps(self, batch: Batch) -> Iterator[Batch | Tick]:
        """The batch in parts, together what it is, with the ticks that come before and between them."""
        if not self._is_wanted or batch.rows.is_empty():
            yield batch
            return
        # Clocks of producers differ, and offsets hold within a partition.
        log_ms = pl.col("_ingest_time_ms").cum_max().over("_partition")
        rows = batch.rows.sort(log_ms, maintain_order=True)
        period = -(-rows.select(log_ms).to_series().to_numpy() // PERIOD_MS)
        keys, begun = rows[self._key].to_list(), 0
        for start, end in pairwise([0, *(np.flatnonzero(np.diff(period)) + 1).tolist(), rows.height]):
            for number in self._due_before(int(period[start])):
                if begun < start:
                    yield self._handed(Batch((), rows[begun:start]))
                    begun = start
                yield self._tick(number)
            self._period = max(self._period, int(period[start]))
            self._spoke.update(dict.fromkeys(keys[start:end], self._period))
        yield self._handed(Batch(batch.ranges, rows[begun:], batch.rejected, batch.shed))

    def rest(self) -> Iterator[Tick]:
        """The ticks that come after the last row."""
        if self._until_ms is not None:
            yield from (self._tick(number) for number in self._due_before(self._until_ms // PERIOD_MS + 1))

    def _due_before(self, period: int) -> Iterator[int]:
        """Periods from that of the last row on at whose end a tick is due, up to this one."""
        for number in range(self._period, period) if self._spoke else ():
            if any(_is_due(number - last) for last in self._spoke.values()):
                yield number

    def _handed(self, part: Batch) -> Batch:
        """The part, noted as handed on."""
        columns = part.rows.select("_partition", pl.col("_offset") + 1)
        self._positions.update(dict(columns.iter_rows()))
        self._positions.update({wanted.partition: wanted.end for wanted in part.ranges})
        return part

    def _tick(self, number: int) -> Tick:
        # What lies beyond a range that ended early is not handed on, so nobody knows that the partition was quiet.
        is_whole = self._until_ms is not None
        quiet = {p: at for p, at in self._positions.items() if is_whole or at < self._ends[p]}
        return Tick(number * PERIOD_MS, quiet)


def _is_due(silence: int) -> bool:
    """Whether a tick is, so many periods after a key's last row."""
    return silence > 0 and silence % max(silence // _SELDOM, 1) == 0
