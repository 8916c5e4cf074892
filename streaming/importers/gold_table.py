"""Per-minute gold tables of League of Legends matches: one row a match and minute.

Columns `match`, `minute`, `gold_diff` (blue minus red) and `blue_won`; if there, also `league`, `year`, `season`,
`type`, `blue_team`, `red_team`. Row `minute` m is the state after m − 1 minutes: its clock is (m − 1)·60 s. The match
ends a minute after its last row; how long it will be is said nowhere before.

Such a table has no times, so these are made up, in the order in which matches can only have been played: by year,
season (spring, summer), type (regular season, play-offs, then the rest), then file order, one match after another. Each
year and season starts on the first of January or June, or when the one before is over, so no match of any league
overlaps another and a rating sees all earlier results.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.importers.assembly import END, SNAPSHOT, START, assemble, one_after_another
from streaming.importers.tables import Table, one_spelling

REQUIRED = ("match", "minute", "gold_diff", "blue_won")

_SEASONS = {"winter": 0, "spring": 1, "summer": 2, "fall": 3, "autumn": 3}
_TYPES = {"season": 0, "playoffs": 1, "regional": 2, "promotion": 3, "international": 4}
_SEASON_MONTH = {0: 1, 1: 1, 2: 6, 3: 9, 4: 10}
_UNKNOWN_YEAR = 2000
_BREAK_S = 300.0


def import_gold_table(table: Table) -> tuple[pl.DataFrame, int]:
    """An event frame of all matches, and how many they are.

    Raises:
        ImportProblem: a column is missing, a value in it is impossible, or two rows contradict each other.
    """
    team_a, team_b = one_spelling(table.optional("blue_team", pl.String()), table.optional("red_team", pl.String()))
    rows = pl.DataFrame(
        {
            "key": table.column("match", pl.String()),
            "minute": table.column("minute", pl.Int64()),
            "gold": table.column("gold_diff", pl.Float64()),
            "a_won": table.optional("blue_won", pl.Boolean()),
            "league": table.optional("league", pl.String()),
            "year": table.optional("year", pl.Int64()),
            "season": table.optional("season", pl.String()),
            "type": table.optional("type", pl.String()),
            "team_a": team_a,
            "team_b": team_b,
        }
    )
    minute = rows["minute"]
    table.refuse(~minute.is_between(1, 300), lambda row: f"minute is {minute[row]}", "minutes count from 1 to 300")
    table.require_agreement(rows, ["key"], {"a_won": "blue_won", "team_a": "blue_team", "team_b": "red_team"})
    table.require_agreement(rows, ["key", "minute"], {"gold": "gold_diff"})
    matches = _in_order_of_play(rows)
    rows = rows.join(matches.select("key", "match"), on="key", how="left", maintain_order="left")
    rows = rows.unique(["match", "minute"], keep="first", maintain_order=True)
    parts = [
        matches.select(
            "match", "team_a", "team_b", "league", order=pl.lit(START), clock_s=pl.lit(0.0), origin=pl.lit("replay")
        ),
        rows.select("match", "gold", order=pl.lit(SNAPSHOT), clock_s=(pl.col("minute") - 1) * 60.0),
        matches.filter(pl.col("a_won").is_not_null()).select(
            "match",
            order=pl.lit(END),
            clock_s=pl.col("minute") * 60.0,
            side=pl.when("a_won").then(pl.lit("A")).otherwise(pl.lit("B")),
        ),
    ]
    ids = [f"gold-{key}" for key in matches["key"]]
    return assemble(parts, title="lol", match_ids=ids, start_ms=_start_times(matches)), len(matches)


def _in_order_of_play(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a match with its place `match` in the order of play; `minute` is its last."""
    facts = ("league", "year", "season", "type", "team_a", "team_b")
    return (
        rows.group_by("key", maintain_order=True)
        .agg(pl.col("minute").max(), pl.col("a_won").drop_nulls().first(), pl.col(*facts).first())
        .with_columns(
            year=pl.col("year").fill_null(_UNKNOWN_YEAR).clip(1970, 2099),
            season_rank=pl.col("season").str.to_lowercase().replace_strict(_SEASONS, default=4, return_dtype=pl.Int64),
            type_rank=pl.col("type").str.to_lowercase().replace_strict(_TYPES, default=5, return_dtype=pl.Int64),
        )
        .with_columns(pl.col("season_rank").fill_null(0), pl.col("type_rank").fill_null(0))
        .sort("year", "season_rank", "type_rank", maintain_order=True)
        .with_row_index("match")
        .with_columns(pl.col("match").cast(pl.Int64))
    )


def _start_times(matches: pl.DataFrame) -> npt.NDArray[np.int64]:
    starts: list[npt.NDArray[np.int64]] = []
    free_ms = 0
    for (year, season), block in matches.group_by("year", "season_rank", maintain_order=True):
        first = dt.datetime(int(year), _SEASON_MONTH[int(season)], 1, tzinfo=dt.UTC)
        first_ms = max(int(first.timestamp() * 1000), free_ms)
        end_s = block["minute"].to_numpy() * 60.0
        block_starts = one_after_another(end_s, first_ms=first_ms, gap_s=_BREAK_S)
        free_ms = int(block_starts[-1] + (end_s[-1] + _BREAK_S) * 1000)
        starts.append(block_starts)
    return np.concatenate(starts)
