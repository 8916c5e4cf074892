"""Which rows of a batch count, and for which life of their match: the first half of `streaming.features.match_fold`.

A *life* is a match between two restarts. Rows are sorted by match and so by life; within a life they keep their order.
The rules are stated in `match_fold`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.event_time import watermarks
from streaming.features.catalogue import COUNTS, LEVELS, title_spec, titles
from streaming.features.match import HEROES, KINDS, SIDES, TEXTS, TOTALS
from streaming.features.runs import Bools, Ints, Runs
from streaming.features.settling import row_times
from streaming.features.standings import STANDINGS_LAYOUT
from streaming.state import Column, Slots, StateTable

Floats = npt.NDArray[np.float64]

WINDOW = 64
"""So many sequence numbers of a match, counted down from its highest, are known one by one."""
MAX_STEP_MS = 10 * 60 * 1000
"""A longer jump of a partition's watermark, as over night, counts as this much time."""

START, SNAPSHOT, SCORE, END, REMAKE = range(len(KINDS))
UNSEEN, LIVE, ENDED, VOID = range(4)  # phases of a match

FLAGS = ("negative-clock", "late", "kills-fell", "towers-fell")

# What a snapshot states, by column: the levels, then totals of kills, of towers.
GAUGES = len(LEVELS) + 2

# What is tallied, by column: net scores by subject, how often any count and any hero class was named, then flags.
COUNTS_NAMED, HEROES_NAMED = len(COUNTS), len(COUNTS) + 1
FLAG_COLUMN = {flag: len(COUNTS) + 2 + i for i, flag in enumerate(FLAGS)}
TALLY = len(COUNTS) + 2 + len(FLAGS)

LAYOUT = {
    "phase": Column(np.int32),
    "attempt": Column(np.int32),
    "frame": Column(np.int32),  # number of the next frame
    "clock_ms": Column(np.int64, default=-1),  # highest so far; -1 before the first row
    "last_ms": Column(np.int64, default=-1),  # newest event time; of a partition: that of its last row
    "floor_ms": Column(np.int64, default=-1),  # of a restarted match: rows older than this are of the attempt before
    "partition": Column(np.int32),
    "elapsed_ms": Column(np.int64),  # event time elapsed in the partition; of a match: when it last spoke
    "started": Column(np.bool_, default=False),
    "sequence_top": Column(np.int64, default=-1),
    "sequence_seen": Column(np.int64),  # bit i: sequence_top - i has been seen
    **{name: Column(str) for name in TEXTS},
    **{name: Column(str) for name in HEROES},  # names, one a line; empty for unknown
    "form": Column(np.float64, default=np.nan),
    "level": Column(np.float64, (len(LEVELS),), default=np.nan),
    "stated_ms": Column(np.int64, (GAUGES,), default=-1),  # game clock of each gauge's latest value
    "total": Column(np.int64, (len(TOTALS),), default=-1),
    "tally": Column(np.int64, (TALLY,)),  # net scores and what else is counted, in this attempt
    "tally_at_frame": Column(np.int64, (TALLY,)),  # the same as it stood at the last frame
    # of a partition, under @watermark/PARTITION, beside elapsed_ms and last_ms:
    "watermark_ms": Column(np.int64, default=-1),
    "late_total": Column(np.int64),
    "repeated_total": Column(np.int64),
    "results_late_total": Column(np.int64),
    # of a team, under @rating/TITLE/LEAGUE/TEAM, and of a result that waits:
    **STANDINGS_LAYOUT,
}
"""State of the fold: rows of matches by id, of partitions, of teams, of results."""

CLOCK_BITS = 32  # more than a clock in ms, a total or a row number needs

_GRID_MS = np.array([round(title_spec(title).grid_s * 1000) for title in titles()])


def partition_key(partition: int) -> str:
    """State key of a partition."""
    return f"@watermark/{partition}"


def _code(column: str, names: Sequence[str]) -> pl.Expr:
    """Position in `names`, -1 for null."""
    return pl.col(column).cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(-1)


# Made once: making them costs more than running them on a small batch.
_CODES = [_code("title", titles()), _code("kind", KINDS), _code("side", SIDES), _code("subject", COUNTS)]
_NUMBERS = [
    pl.col("count").cast(pl.Int64),
    pl.col("sequence"),
    pl.col("event_time_ms").to_physical(),
    (pl.col("clock_s") * 1000.0).round().cast(pl.Int64),
    pl.col("_partition").cast(pl.Int64),
]


@dataclass(frozen=True, slots=True)
class Batch:
    """Event rows as arrays, sorted by match; each (N,) or (N, width)."""

    rows: pl.DataFrame  # as they came
    ids: list[str]  # (M,) matches, in order of first appearance
    source: Ints  # position in `rows`
    matches: Runs
    title: Ints  # index into titles()
    kind: Ints  # index into KINDS
    side: Ints  # 0 for A, 1 for B, -1 for none
    subject: Ints  # index into COUNTS, -1 for none
    count: Ints
    sequence: Ints
    event_time_ms: Ints
    clock_ms: Ints
    levels: Floats  # (N, 9), NaN where not stated
    totals: Ints  # (N, 4), -1 where not stated
    partition: Ints
    elapsed_before_ms: Ints  # event time elapsed in the row's partition before the row
    elapsed_ms: Ints  # and with it
    time_ms: Ints  # when the row counts as having happened: `settling.row_times`
    horizon_ms: Ints  # the newest watermark of any partition, with the row
    left: dict[int, PartitionTime]  # by partition: where the batch leaves it

    @classmethod
    def of(cls, rows: pl.DataFrame, state: StateTable) -> Batch:
        """Arrays of an event frame that has the runner's columns and at least one row."""
        seen = rows["match_id"].to_arrow().dictionary_encode()  # numbered in order of first appearance
        ids: list[str] = seen.dictionary.to_pylist()
        match = seen.indices.to_numpy().astype(np.int64)
        source = np.argsort(match.astype(np.min_scalar_type(len(ids))), kind="stable")  # short numbers sort by radix
        codes = rows.select(_CODES).to_numpy()[source]
        gauges = rows[[*LEVELS, *TOTALS]].to_numpy()[source]
        numbers = rows.select(_NUMBERS).to_numpy()
        before, after, watermark, left = _elapsed(numbers[:, 2], numbers[:, 4], state)
        horizon = np.maximum(np.maximum.accumulate(watermark), state["watermark_ms"].max())
        numbers, watermark = numbers[source], watermark[source]
        return cls(
            rows=rows,
            ids=ids,
            source=source,
            matches=Runs(match[source]),
            title=codes[:, 0],
            kind=codes[:, 1],
            side=codes[:, 2],
            subject=codes[:, 3],
            count=numbers[:, 0],
            sequence=numbers[:, 1],
            event_time_ms=numbers[:, 2],
            clock_ms=numbers[:, 3],
            levels=gauges[:, : len(LEVELS)],
            totals=np.nan_to_num(gauges[:, len(LEVELS) :], nan=-1.0).astype(np.int64),
            partition=numbers[:, 4],
            elapsed_before_ms=before[source],
            elapsed_ms=after[source],
            time_ms=row_times(numbers[:, 2], watermark, codes[:, 1] == END),
            horizon_ms=horizon[source],
            left=left,
        )


class PartitionTime(NamedTuple):
    """How far event time has come in one partition."""

    watermark_ms: int  # `streaming.event_time`; -1 before the second row
    elapsed_ms: int  # what it has gained, `MAX_STEP_MS` at most at once
    last_ms: int  # event time of the last row


def _elapsed(time_ms: Ints, partition: Ints, state: StateTable) -> tuple[Ints, Ints, Ints, dict[int, PartitionTime]]:
    """Event time elapsed in each row's partition before and after the row, and its watermark after it, (N,) each; and
    where that leaves the partitions."""
    before, after, reached_ms, left = *(np.empty_like(time_ms) for _ in range(3)), {}
    for number in np.unique(partition).tolist():
        (slot,) = state.slots([partition_key(number)])
        rows = np.flatnonzero(partition == number)
        times = time_ms[rows]
        watermark = watermarks(times, state["last_ms"][slot], state["watermark_ms"][slot])
        gains = np.where(watermark[:-1] < 0, 0, np.minimum(np.diff(watermark), MAX_STEP_MS))
        elapsed = state["elapsed_ms"][slot] + np.concatenate([[0], np.cumsum(gains)])
        before[rows], after[rows], reached_ms[rows] = elapsed[:-1], elapsed[1:], watermark[1:]
        left[number] = PartitionTime(int(watermark[-1]), int(elapsed[-1]), int(times[-1]))
    return before, after, reached_ms, left


@dataclass(frozen=True, slots=True)
class Accepted:
    """What sequence numbers and starts say."""

    fresh: Bools  # (N,) not seen before, and not too old to know
    too_old: Bools
    repeated: Bools
    restart: Bools
    sequence_top: Ints  # (M,) from here on: the state columns after the batch
    sequence_seen: Ints
    last_ms: Ints


def accept(batch: Batch, state: StateTable, slots: Slots) -> Accepted:
    """Tell new rows from repeats. `slots` (M,) are the matches'."""
    matches, match = batch.matches, batch.matches.group
    top0, seen0 = state["sequence_top"][slots], state["sequence_seen"][slots].view(np.uint64)
    # Ranks are small, sequence numbers may be anything: the running maximum needs room above its values.
    numbers, ranks = np.unique(np.concatenate([top0, batch.sequence]), return_inverse=True)
    rank0, rank = ranks[: len(top0)], ranks[len(top0) :]
    top = numbers[matches.running_max(rank0, rank, CLOCK_BITS)]
    too_old = top[matches.row - 1] - batch.sequence >= WINDOW

    repeated = np.ones(len(rank), dtype=bool)
    _, once = np.unique(match * len(numbers) + rank, return_index=True)
    repeated[once] = False
    depth = top0[match] - batch.sequence
    in_window = (depth >= 0) & (depth < WINDOW)
    bit = seen0[match] >> np.where(in_window, depth, 0).astype(np.uint64) & np.uint64(1)
    repeated = ~too_old & (repeated | (in_window & (bit == 1)))
    fresh = ~too_old & ~repeated

    sequence_top = top[matches.last]
    depth = sequence_top[match] - batch.sequence
    noted = fresh & (depth < WINDOW)
    bits = np.where(noted, np.uint64(1) << np.where(noted, depth, 0).astype(np.uint64), np.uint64(0))
    rise = sequence_top - top0
    kept = np.where(rise < WINDOW, seen0 << np.minimum(rise, WINDOW - 1).astype(np.uint64), np.uint64(0))
    newest = np.maximum.reduceat(np.where(fresh, batch.event_time_ms, -1), matches.first)
    return Accepted(
        fresh=fresh,
        too_old=too_old,
        repeated=repeated,
        restart=_restarts(batch, fresh, state, slots),
        sequence_top=sequence_top,
        sequence_seen=(np.bitwise_or.reduceat(bits, matches.first) | kept).view(np.int64),
        last_ms=np.maximum(state["last_ms"][slots], newest),
    )


def _restarts(batch: Batch, fresh: Bools, state: StateTable, slots: Slots) -> Bools:
    """Which rows begin a match anew: a start newer than all of its match, once that has started, played or closed."""
    restart = np.zeros(len(fresh), dtype=bool)
    begun = state["started"][slots] | (state["clock_ms"][slots] > 0) | (state["phase"][slots] > LIVE)
    for row in np.flatnonzero(fresh & (batch.kind == START)).tolist():
        match = batch.matches.group[row]
        first = batch.matches.first[match]
        if row == first:  # as nearly always
            restart[row] = begun[match] and batch.event_time_ms[row] > state["last_ms"][slots[match]]
            continue
        earlier = np.arange(first, row)[fresh[first:row]]
        begins = (batch.clock_ms[earlier] > 0) | np.isin(batch.kind[earlier], (START, END, REMAKE))
        newest = batch.event_time_ms[earlier].max(initial=state["last_ms"][slots[match]])
        restart[row] = (begun[match] or begins.any()) and batch.event_time_ms[row] > newest
    return restart


@dataclass(frozen=True, slots=True)
class Lives:
    """Rows by life, and what each row is good for."""

    runs: Runs
    match: Ints  # (L,) of each life
    final: Ints  # (M,) the life that each match is left in
    attempt: Ints  # (L,)
    floor_ms: Ints  # (L,)
    begin: dict[str, npt.NDArray[Any]]  # (L, …) state columns as each life finds them
    ok: Bools  # (N,) rows that count
    late: Bools
    repeated: Bools
    opens: Bools  # starts that give names and form
    closes: Bools
    frame: Bools  # rows that make a frame
    clock_ms: Ints  # (N,) of the rows that count, else -1
    top_clock_ms: Ints  # (N + L,) highest so far


def divide(batch: Batch, accepted: Accepted, state: StateTable, slots: Slots) -> Lives:
    """Part the rows of each match into lives, and judge each row by the life it fell into."""
    starts = accepted.restart.copy()
    starts[batch.matches.first] = True
    runs = Runs(np.cumsum(starts) - 1)
    match, anew = batch.matches.group[runs.first], accepted.restart[runs.first]
    begin = {name: state[name][slots[match]] for name in LAYOUT}
    for name, column in LAYOUT.items():
        begin[name][anew] = column.empty(1)[0]
    restarts = np.cumsum(anew)
    before_match = (restarts - anew)[np.searchsorted(match, np.arange(len(slots)))]
    floor_ms = np.where(anew, batch.event_time_ms[runs.first], begin["floor_ms"])

    outdated = accepted.fresh & (batch.event_time_ms < floor_ms[runs.group])
    current = accepted.fresh & ~outdated
    closes = current & (batch.kind >= END)
    closed = current & ((begin["phase"][runs.group] > LIVE) | (runs.count_before(closes) > 0))
    ok = current & ~closed
    starts = ok & (batch.kind == START)
    opens = starts & ~begin["started"][runs.group] & (runs.count_before(starts) == 0)

    clock_ms = np.where(ok, np.maximum(batch.clock_ms, 0), -1)
    top_clock_ms = runs.running_max(begin["clock_ms"], clock_ms, CLOCK_BITS)
    grid_ms = _GRID_MS[batch.title]
    enters = clock_ms // grid_ms > top_clock_ms[runs.row - 1] // grid_ms  # never with a clock of -1
    return Lives(
        runs=runs,
        match=match,
        final=np.searchsorted(match, np.arange(len(slots)), side="right") - 1,
        attempt=state["attempt"][slots[match]] + restarts - before_match[match],
        floor_ms=floor_ms,
        begin=begin,
        ok=ok,
        late=accepted.too_old | outdated | closed,
        repeated=accepted.repeated | (starts & ~opens),
        opens=opens,
        closes=closes & ok,
        frame=(closes & ok) | enters,
        clock_ms=clock_ms,
        top_clock_ms=top_clock_ms,
    )
