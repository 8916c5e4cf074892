"""The stage: which rows count, what leaves and in which order. `streaming.windows` says what it means."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from streaming.pipeline import Facts
from streaming.state import StateTable
from streaming.windows.accumulators import LARGEST, Accumulators
from streaming.windows.clock import ORIGIN, Clock
from streaming.windows.definition import Aggregate, Corrections, Session, Windows, milliseconds
from streaming.windows.fixed import FixedWindows
from streaming.windows.memory import Memory
from streaming.windows.session import SessionWindows

_CHUNK_PAIRS = 100_000  # rows times the windows each falls into: bounds memory, changes nothing else

_TIME = pl.Datetime("ms", "UTC")
_WINDOW = {
    "window_start_ms": _TIME,
    "window_end_ms": _TIME,
    "revision": pl.Int32(),
    "closed_by": pl.String(),
    "late": pl.Boolean(),
}
_ORIGIN = dict(zip(ORIGIN, (pl.Int32(), pl.Int64(), pl.Int64(), pl.Int32()), strict=True))


class WindowStage:
    """Aggregates by key and window, as `streaming.windows` says.

    Args:
        name: of the stage, unique in its pipeline.
        key: column that rows are grouped by; text. All rows of a key come from one partition.
        event_time: column of the event time: `Topic.event_time` of the pipeline's source.
        windows: their shape.
        aggregates: what is computed of each.
        lateness_s: how far the watermark passes a window's end before it closes.
        corrections: whether late rows have windows issued again; else they go aside.
        idle_s: how long event time stands still, by the wall clock, before a tick moves it on.
        ahead_s: how far an event time may lie ahead of the log time of its record.

    Raises:
        ValueError: aggregates are missing, or two columns of the output would share a name; a duration is out of
            range; corrections of sessions.
    """

    def __init__(
        self,
        name: str,
        key: str,
        event_time: str,
        windows: Windows,
        aggregates: Sequence[Aggregate],
        *,
        lateness_s: float = 0.0,
        corrections: Corrections | None = None,
        idle_s: float = 60.0,
        ahead_s: float = 60.0,
    ) -> None:
        if not aggregates:
            raise ValueError(f"windows {name}: no aggregates")
        columns = [key, *_WINDOW, *(aggregate.name for aggregate in aggregates)]
        if twice := {column for column in columns if columns.count(column) > 1}:
            raise ValueError(f"windows {name}: several columns are named {', '.join(sorted(twice))}")
        self._name, self._key, self._event_time = name, key, event_time
        self._accumulators = Accumulators.of(aggregates)
        self._idle_ms = milliseconds("idle_s", idle_s)
        ahead_ms = milliseconds("ahead_s", ahead_s, least_s=0.0)
        rules = _rules(key, event_time, self._accumulators.columns, ahead_ms)
        self._is_bad = pl.any_horizontal([bad for bad, _ in rules]).fill_null(False)
        self._reason = pl.coalesce([pl.when(bad).then(said) for bad, said in rules])
        self._partial = [pl.col("_partition", "_of", "_time_ms"), *self._accumulators.lift]
        self._memory = Memory(self._accumulators)
        lateness_ms = milliseconds("lateness_s", lateness_s, least_s=0.0)
        self._windows: FixedWindows | SessionWindows
        if not isinstance(windows, Session):
            self._windows = FixedWindows(windows, lateness_ms, corrections, self._memory)
        elif corrections is None:
            self._windows = SessionWindows(windows, lateness_ms, self._memory)
        else:
            raise ValueError(
                f"windows {name}: sessions cannot be corrected, since a late row may join two that were issued apart; "
                "raise lateness_s instead"
            )
        figures = {a.name: pl.Int64() if a.how == "count" else pl.Float64() for a in aggregates}
        self.schema = pl.Schema({key: pl.String(), **_WINDOW, **figures, **_ORIGIN, "_reject": pl.String()})

    @property
    def name(self) -> str:
        """Part of the changelog key."""
        return self._name

    def new_state(self) -> StateTable:
        """An empty table: watermarks by partition, windows by partition and key."""
        return StateTable(self._name, self._memory.layout)

    def facts(self, state: StateTable) -> Facts:
        """Rows that came after one of their windows had closed, since the state began."""
        # Only partitions have other than 0 there, and partitions are never forgotten: free slots add nothing.
        return Facts({"late": int(state["late_total"].sum())})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Rows in, with the runner's columns; windows of `schema` out, in the order of the rows that closed them."""
        chunk = max(1, _CHUNK_PAIRS // self._windows.overlap)
        parts = [self._fold(part, state) for part in rows.iter_slices(chunk) if not part.is_empty()]
        return pl.concat(parts) if parts else self.schema.to_frame()

    def tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> pl.DataFrame:
        """Close what is due in quiet partitions: `streaming.pipeline.TickingStage`."""
        clock = Clock.of_tick(now_ms, self._idle_ms, partitions, state)
        issued = self._windows.fold(None, clock, state).issued
        return self._in_order([self._issued(issued, clock, "tick")])

    def _fold(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        self._check_columns(rows.schema)
        rows = rows.with_columns(
            _row=pl.int_range(pl.len()),
            _of=pl.col(self._key).cast(pl.String),
            _time_ms=pl.col(self._event_time).cast(_TIME).to_physical(),
        )
        is_bad = rows.select(self._is_bad).to_series()
        bad, good = rows.filter(is_bad), rows.filter(~is_bad)
        out = [] if bad.is_empty() else [self._output(bad.with_columns(_reject=self._reason))]
        if not good.is_empty():
            clock = Clock.of(good, state)
            issued, aside, late = self._windows.fold(good.select(self._partial), clock, state)
            clock.count_late(late, state)
            out += [self._issued(issued, clock, "data"), self._figures(aside, clock, late=pl.lit(True))]
        return self._in_order(out)

    def _check_columns(self, schema: pl.Schema) -> None:
        for column in (self._key, self._event_time, *self._accumulators.columns):
            if column not in schema:
                raise ValueError(f"windows {self._name}: rows have no column {column}")
        for column in self._accumulators.columns:
            dtype = schema[column]
            if not (dtype.is_numeric() or dtype == pl.Boolean):
                raise ValueError(f"windows {self._name}: column {column} is {dtype}; aggregates are of numbers")

    def _issued(self, windows: pl.DataFrame, clock: Clock, closed_by: str) -> pl.DataFrame:
        flags = {"revision": pl.col("_revision"), "closed_by": pl.lit(closed_by), "late": pl.lit(False)}
        return self._figures(windows, clock, **flags)

    def _figures(self, windows: pl.DataFrame, clock: Clock, **flags: pl.Expr) -> pl.DataFrame:
        """Windows as output."""
        if windows.is_empty():
            return windows
        figures = windows.select(
            "_of",
            pl.col("_start_ms").alias("window_start_ms"),
            pl.col("_end_ms").alias("window_end_ms"),
            *(flag.alias(name) for name, flag in flags.items()),
            *self._accumulators.results,
        )
        return self._output(pl.concat([figures, clock.rows[windows["_row"]]], how="horizontal"))

    def _output(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The columns of `schema`, null where there is none, and `_row`."""
        rows = rows.with_columns(pl.col("_of").alias(self._key))
        made = [
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in self.schema.items()
        ]
        return rows.select(*made, "_row")

    def _in_order(self, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
        parts = [part for part in parts if not part.is_empty()]
        if not parts:
            return self.schema.to_frame()
        return pl.concat(parts).sort("_row", "window_end_ms", "window_start_ms", self._key).drop("_row")


def _rules(key: str, event_time: str, values: Sequence[str], ahead_ms: int) -> list[tuple[pl.Expr, pl.Expr]]:
    """What cannot be believed of a row, and how it is said."""
    time_ms, log_ms = pl.col("_time_ms"), pl.col("_ingest_time_ms")
    rules = [
        (pl.col("_of").is_null() | (pl.col("_of") == ""), pl.lit(f"InvalidEvent: {key} is missing")),
        (time_ms.is_null(), pl.lit(f"InvalidEvent: {event_time} is missing")),
        (
            ~time_ms.is_between(0, int(LARGEST), closed="left"),
            pl.format(f"InvalidEvent: {event_time} is {{}}, not a time from 1970 to 2248", time_ms),
        ),
        (
            time_ms > log_ms + ahead_ms,
            pl.format(
                f"EventFromTheFuture: {event_time} is {{}}, {{}} ms after the record reached the log; "
                f"{ahead_ms} ms are allowed",
                time_ms,
                time_ms - log_ms,
            ),
        ),
    ]
    for column in values:
        value = pl.col(column).cast(pl.Float64)
        said = pl.format(f"InvalidEvent: {column} is {{}}, not below {LARGEST:g} in size", value)
        rules.append((value.is_not_nan() & (value.abs() >= LARGEST), said))
    return rules
