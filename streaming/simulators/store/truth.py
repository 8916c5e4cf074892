"""What a perfect observer of the floor would have written down: crossings of lines, stays in zones, people a zone."""

from __future__ import annotations

import math

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


def crossings(
    plan: FloorPlan, positions: pl.DataFrame, clear_m: float = 0.0, until_s: float = math.inf
) -> pl.DataFrame:
    """Every crossing of every line by the way from one step to the next; the time is that of the later step.

    Args:
        plan: with the lines.
        positions: of people, as `walks.walk` gives them.
        clear_m: who has not been so far from the line on the one side and then on the other has not crossed it, unless
            it is there that their visit begins or ends. With 0 any way over the line counts, also of somebody who
            walks along it.
        until_s: what comes then is not observed any more, which ends no visit: who is not clear of a line by then has
            not crossed it yet.

    Returns:
        `CROSSINGS_SCHEMA`, sorted by time. Who touches a line and turns round has not crossed it.
    """
    moves = positions.sort("visit", "step").with_columns(
        pl.col("x_m", "y_m").shift(1).over("visit").name.prefix("from_"),
        is_last=pl.col("step").shift(-1).over("visit").is_null(),
    )
    observed = moves.filter(pl.col("time_s") < until_s)
    found = [_crossed(line, observed, clear_m) for line in plan.lines]
    return pl.concat([CROSSINGS_SCHEMA.to_frame(), *found]).sort("time_s", "line", "visit")


def _crossed(line: Line, moves: pl.DataFrame, clear_m: float) -> pl.DataFrame:
    along = np.array([line.bx_m - line.ax_m, line.by_m - line.ay_m])
    start = np.array([line.ax_m, line.ay_m])
    to_the_right = np.array([-along[1], along[0]]) / np.hypot(*along)  # y points down
    before = moves.select(pl.col("from_x_m", "from_y_m").fill_null(np.nan)).to_numpy() - start
    after = moves.select("x_m", "y_m").to_numpy() - start
    side_before, side_after = before @ to_the_right, after @ to_the_right
    begins = np.isnan(side_before)
    changes = ~begins & ((side_before < 0) != (side_after < 0))
    share = side_before / np.where(changes, side_before - side_after, 1.0)
    met = (before + share[:, None] * (after - before)) @ along / (along @ along)
    hit = changes & (met >= 0.0) & (met <= 1.0)
    is_clear = begins | moves["is_last"].to_numpy() | (np.abs(side_after) >= clear_m)
    side = np.where(side_after >= 0, 1, -1)
    on = pl.DataFrame(
        {
            "visit": moves["visit"],
            "person_id": moves["person_id"],
            # Of the last way over the line: by then they are on the other side of it.
            "time_s": pl.Series(np.where(changes, moves["time_s"].to_numpy(), np.nan)).fill_nan(None),
            "hit": pl.Series(np.where(changes, hit, np.nan)).fill_nan(None),
            "side": pl.Series(np.where(is_clear, side, 0)).replace(0, None),
        }
    )
    on = on.with_columns(pl.col("time_s", "hit").forward_fill().over("visit")).drop_nulls("side")
    return on.filter((pl.col("side") != pl.col("side").shift(1).over("visit")) & (pl.col("hit") == 1.0)).select(
        pl.lit(line.name).alias("line"),
        "visit",
        "person_id",
        "time_s",
        direction=pl.when(pl.col("side") > 0).then(pl.lit("in")).otherwise(pl.lit("out")).cast(DIRECTIONS),
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
