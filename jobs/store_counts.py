"""What the store counts of its sightings, beside what a perfect observer of the floor has written down.

Errors do not cancel: of lines each way counts for itself, of occupancy each window, of zones each one. Crossings of the
truth are as `streaming.store.plan.Line` has them: who has not stood clear of a line by its band has not crossed it, so
the truth without that, of everybody who was over it by as little as a centimetre, is told as well. A visit is of who
has come in over an entrance. The end of a trial ends no visit: who is on their way to a line by then, or over it and
not clear of it, has not crossed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from jobs.store_stream import NOW_MS, through
from streaming.pipelines.store_metrics import store_metrics
from streaming.simulators.store.counted import store_plan
from streaming.simulators.store.presets import Store
from streaming.simulators.store.truth import crossings, occupancy
from streaming.simulators.store.walks import STEP_S, Walks

WAYS = ("in", "out")
WINDOW_S = 10.0
_QUIET_S = 60  # after the last frame, for windows and visits to end
_AT_ONCE = 5_000  # rows in a batch


def store_counts(made: Store, walks: Walks, told: pl.DataFrame, duration_s: float) -> dict[str, Any]:
    """Counts of person.sightings beside the truth, as JSON values.

    Args:
        made: the store.
        walks: who walked in it.
        told: rows of person.sightings, from `NOW_MS` on.
        duration_s: so much of the walks is counted, in whole windows; what was filmed later tells who was where before.
    """
    plan = store_plan(made)
    said = through(store_metrics(plan, window_s=WINDOW_S), _batches(made, told))
    refused = said.filter(pl.col("_reject").is_not_null()).height if "_reject" in said.columns else 0
    counted_ms = pl.col("window_start_ms").dt.epoch("ms") < NOW_MS + round(1000 * duration_s)
    latest = said.filter(counted_ms).sort("revision").unique(("window_start_ms", "zone_id", "kind"), keep="last")
    seen = walks.positions.filter(pl.col("time_s") < duration_s)
    lines, came_in = {}, set[int]()
    for line in plan.line:
        counted = latest.filter(zone_id=line.name)
        strict, touching = (crossings(made.plan, walks.positions, clear, duration_s) for clear in (line.band, 0.0))
        lines[line.name] = {
            way: {
                "told": int(counted[f"crossed_{way}"].sum()),
                "true": strict.filter(line=line.name, direction=way).height,
                "touching": touching.filter(line=line.name, direction=way).height,
            }
            for way in WAYS
        }
        if line.entrance:
            came_in.update(strict.filter(line=line.name, direction="in")["visit"])
    store, over = latest.filter(zone_id="store"), walks.visits.filter(pl.col("left_s") < duration_s)
    entered = {"told": int(store["entered"].sum()), "true": len(came_in)}
    return {
        "lines": lines,
        "crossings_error": _error((way["told"], way["true"]) for line in lines.values() for way in line.values()),
        "entered": entered,
        "entered_error": _error([(entered["told"], entered["true"])]),
        **_occupied(made, seen, latest),
        "visit_s": {
            "told": _mean(store["dwell_mean_s"], store["left"]),
            "true": _mean(over["left_s"] - over["arrived_s"]),
        },
        "refused": refused,
    }


def _batches(made: Store, told: pl.DataFrame) -> Iterable[pl.DataFrame]:
    last_ms, last_frame = told.select(pl.col("captured_ms").dt.epoch("ms").max(), pl.col("frame").max()).row(0)
    quiet = [
        {"camera_id": camera.camera_id, "captured_ms": last_ms + 1000 * s, "frame": last_frame + s}
        for s in range(1, _QUIET_S + 1)
        for camera in made.cameras
    ]
    after = pl.DataFrame(quiet).with_columns(pl.col("captured_ms").cast(pl.Datetime("ms", "UTC")), covered=False)
    rows = pl.concat([told, after], how="diagonal").with_columns(
        _partition=pl.lit(0, pl.Int32),
        _offset=pl.int_range(pl.len(), dtype=pl.Int64),
        _ingest_time_ms=pl.col("captured_ms").to_physical(),
        _schema_id=pl.lit(0, pl.Int32),
        _reject=pl.lit(None, pl.String),
    )
    return (rows[at : at + _AT_ONCE] for at in range(0, rows.height, _AT_ONCE))


def _occupied(made: Store, seen: pl.DataFrame, latest: pl.DataFrame) -> dict[str, Any]:
    """People in the store, and how long they were in each zone."""
    window = (pl.col("time_s") // WINDOW_S).cast(pl.Int64)
    true = seen.group_by(window.alias("window")).agg(true=pl.len() * STEP_S / WINDOW_S)
    at = ((pl.col("window_start_ms").dt.epoch("ms") - NOW_MS) / (1000 * WINDOW_S)).cast(pl.Int64)
    told = latest.filter(zone_id="store").select(at.alias("window"), told="occupancy_mean")
    both = true.join(told, on="window", how="left").fill_null(0.0)
    people = occupancy(made.plan, seen)
    zones = {
        zone.name: {
            "told": round(float(latest.filter(zone_id=zone.name)["occupancy_mean"].sum()) * WINDOW_S, 1),
            "true": round(float(people[zone.name].sum()) * STEP_S, 1),
        }
        for zone in made.plan.zones
    }
    return {
        "occupancy": {name: round(float(both[name].mean() or 0.0), 3) for name in ("told", "true")},  # type: ignore[arg-type]  # of numbers
        "occupancy_error": _error(both.select("told", "true").iter_rows()),
        "zone_person_s": zones,
        "zones_error": _error((zone["told"], zone["true"]) for zone in zones.values()),
    }


def _error(pairs: Iterable[tuple[float, float]]) -> float:
    """Sum of what was counted too much or too little, by the truth."""
    both = list(pairs)
    return round(sum(abs(told - true) for told, true in both) / max(sum(true for _, true in both), 1e-9), 4)


def _mean(values: pl.Series, weights: pl.Series | None = None) -> float | None:
    """None where there is none."""
    weights = pl.Series([1.0] * len(values), dtype=pl.Float64) if weights is None else weights
    known = values.is_not_null() & (weights > 0)
    total = float(weights.filter(known).sum())
    return round(float((values.filter(known) * weights.filter(known)).sum()) / total, 1) if total else None
