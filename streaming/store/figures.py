"""Metrics of a store as a stage: a row per window for each zone, line and funnel, the store, its heat map and paths.

    sightings (validated) ─► StoreMetrics ─► rows of store-metrics.avsc

`streaming.store.folding` says what closes a window, and when one is issued again. A row that did not change with a
correction is not issued again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from streaming.state import StateTable
from streaming.store.counting import Counted
from streaming.store.folding import Closed, Folding, Row
from streaming.store.plan import HEAT, PATHS, STORE, StorePlan
from streaming.store.stage import ORIGIN_SCHEMA, TIME, FoldingStage, with_origin
from streaming.store.stays import Visit

MAX_PATHS = 100
"""Of one window, the commonest; a window of a minute has some tens of visits that end."""

METRICS_SCHEMA = pl.Schema(
    {
        "zone_id": pl.String(),
        "kind": pl.String(),
        "window_start_ms": TIME,
        "window_end_ms": TIME,
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


class StoreMetrics(FoldingStage):
    """The stage.

    Args:
        plan: of the store.
        window_s, lateness_s, horizon_s, hold_s, idle_s: as of `streaming.store.folding.Folding`.
    """

    name = "store"
    schema = METRICS_SCHEMA

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
        super().__init__(
            Folding.of(
                plan,
                report_for(plan),
                window_s=window_s,
                lateness_s=lateness_s,
                horizon_s=horizon_s,
                hold_s=hold_s,
                idle_s=idle_s,
            )
        )

    def _rows(self, closed: Sequence[Closed], state: StateTable) -> list[Row]:
        rows: list[Row] = []
        for window in closed:
            when = {
                "window_start_ms": window.counted.start_ms,
                "window_end_ms": window.counted.end_ms,
                "revision": window.revision,
                "closed_by": window.closed_by,
            }
            rows += with_origin(({**row, **when} for row in window.rows), window.origin)
        return rows


def report_for(plan: StorePlan) -> Callable[[Counted], list[Row]]:
    """What is said of a window: rows without its time, in the order of the plan.

    Of the store, `entered` and `left` are visits that began and ended by name; where the plan has entrances, those who
    crossed them: somebody who is given a second name has not come a second time.
    """
    entrances = {line.name for line in plan.line if line.entrance}

    def report(counted: Counted) -> list[Row]:
        places = [*((zone.name, zone.kind) for zone in plan.zone), (STORE, STORE)]
        rows = [_place(name, kind, number, counted) for number, (name, kind) in enumerate(places)]
        if entrances:
            ways = [crossing.direction for crossing in counted.crossings if crossing.line in entrances]
            rows[-1] |= {"entered": ways.count(1), "left": ways.count(-1)}
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
