"""The stateful half of a pipeline, the same for every runner: batches in partition order become one commit.

    stages, one after another, each with its table ─► answers encoded ─► changelog rows ─► next offsets

Whatever cuts the stream into batches, the rows that come out are the same; a runner only decides when. What stages say
when none come (`tick`) goes the same way.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streaming.changelog import Lanes, StateChangelog
from streaming.codec import Encoder, SchemaRegistry, load_schema
from streaming.kafka.dead_letters import dead_letter_output
from streaming.pipeline import DependencyUnavailable, FactualStage, Pipeline, Stage, TickingStage
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch, Rejected
from streaming.runners.ticking import Tick
from streaming.state import StateLimits, StateTable
from streaming.topics import state_topic
from streaming.transport import Output, TransportUnavailable

Clock = Callable[[], int]  # milliseconds, UTC
Reread = Callable[[int, Sequence[int]], Records]
"""(partition, offsets in ascending order) to the records there, again. Raises `TransportUnavailable` while the log is
away: it is called again."""

T = TypeVar("T")

_MS = pl.Datetime("ms", "UTC")
_BACK_OFF_S = (0.1, 0.2, 0.5, 1.0)


def reread(read: Callable[[OffsetRange], Records], partition: int, offsets: Sequence[int]) -> Records:
    """The records at these offsets, in one go: they are of one batch, so they lie close together."""
    records = read(OffsetRange(partition, offsets[0], offsets[-1] + 1))
    return records.take(np.flatnonzero(np.isin(records.offsets, offsets)))


@dataclass(frozen=True)
class Commit:
    """All that one transaction makes visible, and what there is to count about it."""

    answers: list[Output]
    dead_letters: list[Output]
    state: list[Output]
    ranges: list[OffsetRange]  # what it answers for
    records: int  # good and bad, as the planner counted them
    answered: int
    rejected: list[tuple[str, str]]  # topic/partition/offset of each dead letter, and why
    counts: dict[str, int]  # what stages say has grown since the last commit (late, repeated), flags of answers, shed
    alerts: tuple[str, ...]  # what stages say is wrong now
    ingest_time_ms: npt.NDArray[np.int64]  # of the events that made the answers, (answered,); a tick's: none
    took_ms: dict[str, float]  # by stage, and for encoding

    @property
    def offsets(self) -> dict[int, int]:
        """Next unread offset of every partition it answers for."""
        return {wanted.partition: wanted.end for wanted in self.ranges}


class Flow:
    """Stages with their state, encoders, and the rules for what becomes of a row that cannot be answered."""

    def __init__(
        self,
        pipeline: Pipeline,
        registry: SchemaRegistry,
        *,
        clock: Clock,
        reread: Reread,
        on_wait: Callable[[str], None] = lambda reason: None,
        keep_waiting: Callable[[], bool] = lambda: True,
        limits: StateLimits = StateLimits(),  # noqa: B008 - frozen
    ) -> None:
        if pipeline.sink.schema is None:
            raise ValueError(f"pipeline {pipeline.name}: sink topic {pipeline.sink.name} has no schema")
        self._pipeline = pipeline
        self._clock = clock
        self._reread = reread
        self._on_wait = on_wait
        self._keep_waiting, self._limits = keep_waiting, limits
        self.tables: dict[str, StateTable] = {stage.name: stage.new_state() for stage in pipeline.stages}
        self._changelog = StateChangelog(state_topic(pipeline.name).name, self.tables, pipeline.former_stages)
        schema = load_schema(pipeline.sink.schema)
        self._answer_columns = [field["name"] for field in schema["fields"]]
        self._answer_encoder = Encoder(schema, registry.id_of(pipeline.sink.schema))
        self._totals: Counter[str] = Counter()  # as stages said last

    def restore(self, lanes: Lanes, only: Collection[int] | None = None) -> int:
        """Take the state back from its changelog: `StateChangelog.restore`; the number of keys held after it.

        Raises:
            StateCorrupt, StateLayoutChanged: it cannot be taken back; the state is as it was.
            StateTooLarge: it is more than a stage may keep.
        """
        self._changelog.restore(lanes, only)
        self._check_limits()
        self._facts()  # what was counted before this run is not news
        return sum(len(table) for table in self.tables.values())

    def forget(self, partition: int) -> None:
        """Let go of the state of a partition that another worker reads now."""
        for table in self.tables.values():
            table.forget(partition)

    def process(self, batches: Sequence[Batch]) -> Commit:
        """Run the stages over batches that are in partition order, and gather everything for one transaction.

        Waits and tries again while a dependency is away; state is never touched twice for the same rows.

        Raises:
            StateTooLarge: a stage keeps more than it may.
            DependencyUnavailable: the run is to stop.
        """
        took = _Stopwatch()
        rows, refused = self._through(pl.concat([batch.rows for batch in batches]), took)
        return self._gathered(
            rows,
            [*(part for batch in batches for part in batch.rejected), *refused],
            [wanted for batch in batches for wanted in batch.ranges],
            took,
            records=sum(batch.records for batch in batches),
            shed=sum(batch.shed for batch in batches),
        )

    def tick(self, tick: Tick) -> Commit | None:
        """Tell the stages that time has passed, and gather what comes of it for one transaction; None if nothing does.

        What a stage says passes through the stages after it, as rows do. The offsets are those where the partitions
        stand. Waits and tries again as `process` does: a stage that has been told is not told again while one after it
        cannot answer. When the run stops instead, nothing of the tick is on the changelog, and the next run's first
        tick makes up for it.

        Raises:
            StateTooLarge, DependencyUnavailable: as `process`.
        """
        took = _Stopwatch()
        rows, refused = self._through(pl.DataFrame(), took, tick)
        ranges = [OffsetRange(partition, at, at) for partition, at in sorted(tick.positions.items())]
        commit = self._gathered(rows, refused, ranges, took)
        return commit if commit.answers or commit.dead_letters or commit.state else None

    def _through(
        self, rows: pl.DataFrame, took: _Stopwatch, tick: Tick | None = None
    ) -> tuple[pl.DataFrame, list[Rejected]]:
        """What leaves the last stage, and what was refused on the way."""
        refused: list[Rejected] = []
        for stage in self._pipeline.stages:
            if rows.is_empty() and tick is None:
                break
            rows = self._past(stage, rows, tick)
            took.lap(stage.name)
            if "_reject" in rows.columns:
                if rows["_reject"].null_count() < rows.height:
                    refused.extend(self._refetch(rows.filter(pl.col("_reject").is_not_null())))
                    rows = rows.filter(pl.col("_reject").is_null())
                rows = rows.drop("_reject")
        return rows, refused

    def _past(self, stage: Stage, rows: pl.DataFrame, tick: Tick | None) -> pl.DataFrame:
        """What a stage says to rows, and then to the tick."""
        state, said = self.tables[stage.name], []
        if not rows.is_empty():
            said.append(self._patiently(partial(stage, rows, state)))
        if tick is not None and isinstance(stage, TickingStage):
            said.append(self._patiently(partial(stage.tick, tick.now_ms, tick.positions, state)))
        said = [part for part in said if not part.is_empty()]
        return pl.concat(said) if said else pl.DataFrame()

    def _gathered(
        self,
        rows: pl.DataFrame,
        rejected: Sequence[Rejected],
        ranges: list[OffsetRange],
        took: _Stopwatch,
        *,
        records: int = 0,
        shed: int = 0,
    ) -> Commit:
        """These answers, and what changed in the state."""
        answered, now_ms = rows.height, self._clock()
        answers = [self._encode_answers(rows, now_ms)] if answered else []
        state = self._changelog.drain(now_ms)
        self._check_limits()
        took.lap("encode")
        counts, alerts = self._facts()
        counts["shed"] = shed
        if answered and self._pipeline.counted_flags:
            flags = Counter(flag for row in rows["flags"].to_list() for flag in row.split())
            counts.update({flag: flags[flag] for flag in self._pipeline.counted_flags})
        # Without records it is a tick: how old the last event of a quiet partition is says nothing of latency.
        is_timed = answered > 0 and records > 0
        ingest = rows["ingest_time_ms"].cast(_MS).to_physical().to_numpy() if is_timed else np.empty(0, np.int64)
        return Commit(
            answers=answers,
            dead_letters=[self._dead_letters(part, now_ms) for part in rejected if self._pipeline.dead_letters],
            state=state,
            ranges=ranges,
            records=records,
            answered=answered,
            rejected=[line for part in rejected for line in self._named(part)],
            counts=dict(counts),
            alerts=alerts,
            ingest_time_ms=ingest,
            took_ms=took.laps_ms,
        )

    def _patiently(self, act: Callable[[], T]) -> T:
        """Try until a dependency or the log answers, and say what is waited for.

        Raises:
            DependencyUnavailable: the run is to stop.
        """
        attempt = 0
        while True:
            try:
                result = act()
            except (DependencyUnavailable, TransportUnavailable) as away:
                if not self._keep_waiting():
                    raise DependencyUnavailable(str(away)) from away
                self._on_wait(str(away))
                time.sleep(_BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)])
                attempt += 1
                continue
            if attempt:
                self._on_wait("")
            return result

    def _facts(self) -> tuple[Counter[str], tuple[str, ...]]:
        """How much the stages' totals have grown since the last call, and their alerts."""
        said = [
            stage.facts(self.tables[stage.name]) for stage in self._pipeline.stages if isinstance(stage, FactualStage)
        ]
        totals: Counter[str] = Counter()
        for facts in said:
            totals.update(facts.totals)
        grown, self._totals = totals - self._totals, totals
        return grown, tuple(alert for facts in said for alert in facts.alerts)

    def _refetch(self, refused: pl.DataFrame) -> list[Rejected]:
        """The records behind rows that a stage refused; their bytes stayed in the log. One record, one reason: that of
        its first row."""
        wanted = refused.unique(("_partition", "_offset"), keep="first").sort("_partition", "_offset")
        return [self._reread_part(part) for part in wanted.partition_by("_partition")]

    def _reread_part(self, refused: pl.DataFrame) -> Rejected:
        partition, offsets = int(refused.item(0, "_partition")), refused["_offset"].to_list()
        records = self._patiently(partial(self._reread, partition, offsets))
        reasons = [reason.partition(": ") for reason in refused["_reject"].to_list()]
        return Rejected(
            partition=partition,
            records=records,
            errors=[error for error, _, _ in reasons],
            messages=[message for _, _, message in reasons],
            schema_ids=refused["_schema_id"].to_list(),
        )

    def _named(self, part: Rejected) -> list[tuple[str, str]]:
        topic, reasons = self._pipeline.source.name, zip(part.errors, part.messages, strict=True)
        return [
            (f"{topic}/{part.partition}/{offset}", f"{error}: {message}")
            for offset, (error, message) in zip(part.records.offsets.tolist(), reasons, strict=True)
        ]

    def _encode_answers(self, rows: pl.DataFrame, now_ms: int) -> Output:
        sink = self._pipeline.sink
        added = [
            pl.Series("emit_time_ms", [now_ms], pl.Int64).cast(_MS).new_from_index(0, rows.height),
            pl.Series("source_topic", [self._pipeline.source.name]).new_from_index(0, rows.height),
        ]
        complete = rows.hstack(added)[self._answer_columns]
        return Output(
            sink.name,
            Records(
                keys=_utf8(complete[sink.key]),
                values=self._answer_encoder.encode(complete),
                offsets=np.arange(complete.height, dtype=np.int64),
                timestamps_ms=np.full(complete.height, now_ms, np.int64),
            ),
        )

    def _dead_letters(self, part: Rejected, now_ms: int) -> Output:
        return dead_letter_output(
            self._pipeline.source,
            part.partition,
            part.records,
            part.errors,
            part.messages,
            part.schema_ids,
            self._pipeline.name,
            now_ms,
        )

    def _check_limits(self) -> None:
        for table in self.tables.values():
            self._limits.check(table)


class _Stopwatch:
    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps_ms[name] = round((now - self._last) * 1e3, 1)
        self._last = now


def _utf8(column: pl.Series) -> pa.LargeBinaryArray:
    return column.to_arrow().cast(pa.large_string()).cast(pa.large_binary())
