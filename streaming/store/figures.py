"""Metrics of a store as a stage: a row per window for each zone, line and funnel, the store, its heat map and paths.

    sightings (validated) ─► StoreMetrics ─► rows of store-metrics.avsc

`streaming.store.folding` says what closes a window, and when one is issued again. A row that did not change with a
correction is not issued again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from streaming.pipeline import Facts
from streaming.state import StateTable
from streaming.store.clock import STORE_KEY
from streaming.store.counting import Counted
from streaming.store.folding import Closed, Folding, Row
from streaming.store.memory import LAYOUT
from streaming.store.plan import HEAT, PATHS, STORE, StorePlan
from streaming.store.stays import Visit

MAX_PATHS = 100
"""Of one window, the commonest; a window of a minute has some tens of visits that end."""

_TIME = pl.Datetime("ms", "UTC")
ORIGIN_SCHEMA = {
    "ingest_time_ms": _TIME,
    "source_partition": pl.Int32(),
    "source_offset": pl.Int64(),
    "schema_id": pl.Int32(),
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_ingest_time_ms": pl.Int64(),
    "_schema_id": pl.Int32(),
    "_reject": pl.String(),
}
METRICS_SCHEMA = pl.Schema(
    {
        "zone_id": pl.String(),
        "kind": pl.String(),
        "window_start_ms": _TIME,
        "window_end_ms": _TIME,
        "revision": pl.Int32(),
        "closed_by": pl.String(),
        "people": pl.Int32(),
        "occupancy_mean": pl.Float64(),
        "occupancy_max": pl.Int32(),
        "occupancy_end": pl.Int32(),
        "entered": pl.Int32(),
        "left": pl.Int32(),
        "dwell_mean_s": pl.Float64(),
        "dwell_max_s": pl.Float64(),
        "longest_s": pl.Float64(),
        "crossed_in": pl.Int32(),
        "crossed_out": pl.Int32(),
        "cells": pl.List(pl.Int32()),
        "cell_s": pl.List(pl.Float64()),
        "labels": pl.List(pl.String()),
        "counts": pl.List(pl.Int32()),
        **ORIGIN_SCHEMA,
    }
)
_EMPTY: Row = {
    **dict.fromkeys(("people", "occupancy_max", "occupancy_end", "entered", "left", "crossed_in", "crossed_out"), 0),
    "occupancy_mean": 0.0,
    **dict.fromkeys(("dwell_mean_s", "dwell_max_s", "longest_s")),
}


class StoreMetrics:
    """The stage. Its state belongs to no partition, since people walk from camera to camera: one worker reads all.

    Args:
        plan: of the store.
        window_s, lateness_s, horizon_s, hold_s, idle_s: as of `streaming.store.folding.Folding`.
    """

    name = "store"

    def __init__(
        self,
        plan: StorePlan,
        *,
        window_s: float = 10.0,
        lateness_s: float = 2.0,
        horizon_s: float = 120.0,
        hold_s: float = 60.0,
        idle_s: float = 5.0,
    ) -> None:
        self._folding = Folding.of(
            plan,
            report_for(plan),
            window_s=window_s,
            lateness_s=lateness_s,
            horizon_s=horizon_s,
            hold_s=hold_s,
            idle_s=idle_s,
        )

    def new_state(self) -> StateTable:
        """An empty table: `streaming.store.memory`."""
        return StateTable(self.name, LAYOUT)

    def facts(self, state: StateTable) -> Facts:
        """Rows that came after their window had closed, since the state began."""
        return facts_of(state)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Sightings in; windows that they closed or corrected out, and rows that are refused."""
        closed, refused = self._folding.fold(rows, state)
        return with_refused(_frame(closed), refused, METRICS_SCHEMA)

    def tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> pl.DataFrame:
        """Close what is due: `streaming.pipeline.TickingStage`."""
        return _frame(self._folding.tick(now_ms, partitions, state))


def facts_of(state: StateTable) -> Facts:
    """Of a table of `streaming.store.memory`."""
    late = int(state["late_total"][state.slots([STORE_KEY])[0]]) if STORE_KEY in state else 0
    return Facts({"late": late})


def with_refused(rows: pl.DataFrame, refused: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Rows of this schema, and refused ones as such that have only `_reject` and where they came from."""
    if refused.is_empty():
        return rows
    columns = [
        (pl.col(name) if name in refused.columns and name.startswith("_") else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    ]
    # By offset within a partition, as they came; windows stay behind the rows that closed them.
    return pl.concat([refused.select(columns), rows])


def with_origin(rows: Iterable[Row], origin: dict[str, int]) -> list[Row]:
    """Rows that say where they came from, to readers and to the runner."""
    told = {
        "ingest_time_ms": origin["_ingest_time_ms"],
        "source_partition": origin["_partition"],
        "source_offset": origin["_offset"],
        "schema_id": origin["_schema_id"],
    }
    return [{**row, **told, **origin, "_reject": None} for row in rows]


def _frame(closed: Sequence[Closed]) -> pl.DataFrame:
    rows: list[Row] = []
    for window in closed:
        when = {
            "window_start_ms": window.counted.start_ms,
            "window_end_ms": window.counted.end_ms,
            "revision": window.revision,
            "closed_by": window.closed_by,
        }
        rows += with_origin(({**row, **when} for row in window.rows), window.origin)
    return frame_of(rows, METRICS_SCHEMA)


def frame_of(rows: Sequence[Row], schema: pl.Schema) -> pl.DataFrame:
    """A frame of this schema; times are given in milliseconds."""
    physical = {name: pl.Int64() if dtype == _TIME else dtype for name, dtype in schema.items()}
    return pl.DataFrame(rows, schema=physical, orient="row").cast(schema)


def report_for(plan: StorePlan) -> Callable[[Counted], list[Row]]:
    """What is said of a window: rows without its time, in the order of the plan."""

    def report(counted: Counted) -> list[Row]:
        places = [*((zone.name, zone.kind) for zone in plan.zone), (STORE, STORE)]
        rows = [_place(name, kind, number, counted) for number, (name, kind) in enumerate(places)]
        for line in plan.line:
            ways = [crossing.direction for crossing in counted.crossings if crossing.line == line.name]
            rows.append(_row(line.name, "line", crossed_in=ways.count(1), crossed_out=ways.count(-1)))
        visits = counted.stays.visits
        rows += [
            _row(funnel.name, "funnel", labels=list(funnel.zones), counts=_came_to(funnel.zones, visits))
            for funnel in plan.funnel
        ]
        paths = Counter(">".join(visit.path) for visit in visits if visit.path)
        ranked = sorted(paths.items(), key=lambda item: (-item[1], item[0]))[:MAX_PATHS]
        rows.append(_row(PATHS, PATHS, labels=[path for path, _ in ranked], counts=[count for _, count in ranked]))
        if plan.floor is not None:
            heat = counted.heat
            rows.append(_row(HEAT, HEAT, cells=heat.cells.tolist(), cell_s=heat.seconds.tolist()))
        return rows

    return report


def _row(name: str, kind: str, **figures: Any) -> Row:
    lists: Row = {"cells": [], "cell_s": [], "labels": [], "counts": []}
    return {"zone_id": name, "kind": kind, **_EMPTY, **lists, **figures}


def _place(name: str, kind: str, number: int, counted: Counted) -> Row:
    stays = counted.stays
    occupancy, dwell_s = stays.occupancy[:, number], np.asarray(stays.dwell_ms[number]) / 1000
    longest_ms = int(stays.longest_ms[number])
    return _row(
        name,
        kind,
        people=int(stays.people[number]),
        occupancy_mean=float(occupancy.mean()),
        occupancy_max=int(occupancy.max()),
        occupancy_end=int(occupancy[-1]),
        entered=int(stays.entered[number]),
        left=len(dwell_s),
        dwell_mean_s=float(dwell_s.mean()) if len(dwell_s) else None,
        dwell_max_s=float(dwell_s.max()) if len(dwell_s) else None,
        longest_s=longest_ms / 1000 if longest_ms >= 0 else None,
    )


def _came_to(zones: Sequence[str], visits: Sequence[Visit]) -> list[int]:
    """How many visits reached each zone of a funnel after all those before it."""
    reached = [0] * len(zones)
    for visit in visits:
        stops = iter(visit.path)
        for step, zone in enumerate(zones):
            if zone not in stops:  # takes from the iterator up to the zone: what follows must come later
                break
            reached[step] += 1
    return reached
