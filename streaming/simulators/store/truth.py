"""What a perfect observer of the floor would have written down: crossings of lines, stays in zones, people a zone."""

from __future__ import annotations

import numpy as np
import polars as pl

from streaming.simulators.store.plan import FloorPlan, Line, Zone
from streaming.simulators.store.walks import STEP_S

DIRECTIONS = pl.Enum(("in", "out"))
CROSSINGS_SCHEMA = pl.Schema(
    {"line": pl.String(), "visit": pl.Int64(), "person_id": pl.Int64(), "time_s": pl.Float64(), "direction": DIRECTIONS}
)
STAYS_SCHEMA = pl.Schema(
    {
        "zone": pl.String(),
        "visit": pl.Int64(),
        "person_id": pl.Int64(),
        "entered_s": pl.Float64(),  # of the first step within
        "left_s": pl.Float64(),  # of the first step without, or the end of what was seen
    }
)


def crossings(plan: FloorPlan, positions: pl.DataFrame) -> pl.DataFrame:
    """Every crossing of every line by the way from one step to the next; the time is that of the later step.

    Returns:
        `CROSSINGS_SCHEMA`, sorted by time. Who touches a line and turns round has not crossed it.
    """
    moves = positions.sort("visit", "step").with_columns(
        pl.col("x_m", "y_m").shift(1).over("visit").name.prefix("from_"),
    )
    found = [_crossed(line, moves.drop_nulls("from_x_m")) for line in plan.lines]
    return pl.concat([CROSSINGS_SCHEMA.to_frame(), *found]).sort("time_s", "line", "visit")


def _crossed(line: Line, moves: pl.DataFrame) -> pl.DataFrame:
    along = np.array([line.bx_m - line.ax_m, line.by_m - line.ay_m])
    start = np.array([line.ax_m, line.ay_m])
    to_the_right = np.array([-along[1], along[0]])  # y points down
    before = moves.select("from_x_m", "from_y_m").to_numpy() - start
    after = moves.select("x_m", "y_m").to_numpy() - start
    side_before, side_after = before @ to_the_right, after @ to_the_right
    changes = (side_before < 0) != (side_after < 0)
    share = side_before / np.where(changes, side_before - side_after, 1.0)
    met = (before + share[:, None] * (after - before)) @ along / (along @ along)
    hit = changes & (met >= 0.0) & (met <= 1.0)
    direction = np.where(side_after[hit] >= 0, "in", "out")
    return moves.filter(pl.Series(hit)).select(
        pl.lit(line.name).alias("line"),
        "visit",
        "person_id",
        "time_s",
        pl.Series("direction", direction, dtype=DIRECTIONS),
    )


def stays(plan: FloorPlan, positions: pl.DataFrame) -> pl.DataFrame:
    """Every uninterrupted stay in every zone: `STAYS_SCHEMA`, sorted by the time of entering."""
    found = [_stays_in(zone, positions) for zone in plan.zones]
    return pl.concat([STAYS_SCHEMA.to_frame(), *found]).sort("entered_s", "zone", "visit")


def _stays_in(zone: Zone, positions: pl.DataFrame) -> pl.DataFrame:
    inside = zone.holds(positions["x_m"].to_numpy(), positions["y_m"].to_numpy())
    run = (pl.col("step") - pl.int_range(pl.len()).over("visit")).alias("run")  # the same within unbroken steps
    return (
        positions.filter(pl.Series(inside))
        .sort("visit", "step")
        .with_columns(run)
        .group_by("visit", "person_id", "run")
        .agg(entered_s=pl.col("time_s").min(), left_s=pl.col("time_s").max() + STEP_S)
        .select(pl.lit(zone.name).alias("zone"), "visit", "person_id", "entered_s", "left_s")
    )


def occupancy(plan: FloorPlan, positions: pl.DataFrame) -> pl.DataFrame:
    """People in each zone at each step, nobody included: step, time_s, and a UInt32 column a zone."""
    x_m, y_m = positions["x_m"].to_numpy(), positions["y_m"].to_numpy()
    inside = {zone.name: pl.Series(zone.holds(x_m, y_m)) for zone in plan.zones}
    last = int(positions["step"].max() or 0)  # type: ignore[arg-type]  # a whole number, says the schema
    steps = pl.DataFrame({"step": np.arange(last + 1)}).with_columns(time_s=pl.col("step") * STEP_S)
    counts = positions.select("step", **inside).group_by("step").agg(pl.col(*inside).sum())
    return steps.join(counts, on="step", how="left").with_columns(pl.col(*inside).fill_null(0)).sort("step")
