"""Dota 2 matches from tables of the OpenDota API, one file each: Radiant is camp A, Dire is camp B.

    radiant_gold_and_xp_adv  match_id, minute, radiant_gold_adv, radiant_xp_adv
    objectives               match_id, time, type, key, team      structures and Roshan, seconds
    teamfights               match_id, start, end                 seconds
    drafts                   match_id, hero_id, pick, active_team
    basic_match              match_id, duration, radiant_win, team names and ids, start_time if there
    minutes                  the above already added up, one row a match and minute; enough alone

What is taken, and what is left out because it gives the end or the winner away:

- Row `minute` m is the state after m − 1 minutes.
- A fallen `tower` counts for the other camp, `tower2` as an inner one too, `rax` as an inhibitor. `fort` is the end of
  the match and is left out, as are final scores. `duration` and `radiant_win` make the end event and nothing else.
- A team fight has no winner in these tables. It is given to the camp whose gold rose across it, at the first minute
  mark at or after its end: earlier nobody could know.
- Without `start_time`, times are made up: by match id, which the game hands out in order, one match after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from streaming.importers.assembly import END, SCORE, SNAPSHOT, START, assemble, one_after_another
from streaming.importers.problem import ImportProblem
from streaming.importers.tables import Table, one_spelling

ADVANTAGES, OBJECTIVES, FIGHTS = "radiant_gold_and_xp_adv", "objectives", "teamfights"
DRAFTS, BASICS, MINUTES = "drafts", "basic_match", "minutes"

_COLUMNS = {  # the first whose columns are all there
    MINUTES: ("match_id", "minute", "radiant_gold_adv", "radiant_towers_lost", "dire_towers_lost"),
    ADVANTAGES: ("match_id", "minute", "radiant_gold_adv"),
    OBJECTIVES: ("match_id", "time", "type", "key"),
    FIGHTS: ("match_id", "start", "end"),
    DRAFTS: ("match_id", "hero_id", "pick", "active_team"),
    BASICS: ("match_id", "duration", "radiant_win"),
}
_FIRST_MS = 1_514_764_800_000  # 2018-01-01 UTC, for tables without times
_BREAK_S = 300.0
_LONGEST_S = 300 * 60  # of a match
_LAST_S = 4_102_444_800  # 2100-01-01 UTC
_RADIANT = 2  # the game's number of the team; Dire is 3
_INT, _FLOAT, _STRING, _BOOL = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()


def table_kind(table: Table) -> str | None:
    """Which of the tables this is, by its columns; None for none of them."""
    return next((kind for kind, columns in _COLUMNS.items() if table.has(*columns)), None)


def tables_to_use(tables: Mapping[str, Table], named: str | None = None) -> dict[str, Table]:
    """Of the tables at hand, those to import: `minutes` and the raw ones say the same, so one of the two ways.

    `named` is the kind of the one that the user named, if one; otherwise raw tables come first.
    """
    if MINUTES in tables and (named == MINUTES or ADVANTAGES not in tables):
        return {kind: table for kind, table in tables.items() if kind in (MINUTES, BASICS, DRAFTS)}
    return {kind: table for kind, table in tables.items() if kind != MINUTES}


def import_opendota(tables: Mapping[str, Table], path: Path) -> tuple[pl.DataFrame, int]:
    """An event frame of all matches that have gold by minute, and how many they are.

    Args:
        tables: by kind. One of `minutes` and `radiant_gold_and_xp_adv` must be there; with `minutes` the raw tables of
            objectives and fights are not needed and not used.
        path: what the user named, for messages.

    Raises:
        ImportProblem: no table of gold, or a value that is impossible.
    """
    by_minute = tables.get(MINUTES) or tables.get(ADVANTAGES)
    if by_minute is None:
        raise ImportProblem(
            path,
            "",
            f"no gold by minute in {', '.join(sorted(tables))}",
            f"put the {ADVANTAGES} or the {MINUTES} table into the same folder",
        )
    minutes = _minutes(by_minute)
    basics = _basics(tables.get(BASICS), tables.get(MINUTES), minutes)
    places = basics.select("match_id", "match", "end_s")

    def placed(rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of known matches with `match`, without any after the end."""
        rows = rows.join(places, on="match_id", how="inner", maintain_order="left")
        return rows.filter(pl.col("clock_s") <= pl.col("end_s")).drop("match_id", "end_s")

    scores = []
    if MINUTES in tables:
        scores += [_scores_of_minutes(minutes)]
    else:
        if OBJECTIVES in tables:
            scores.append(_objectives(tables[OBJECTIVES]))
        if FIGHTS in tables:
            scores.append(_fights(_integers(tables[FIGHTS], "match_id", "start", "end"), minutes))
    snapshot = [name for name in ("gold", "xp") if name in minutes.columns]
    parts = [
        _starts(basics, tables.get(DRAFTS)),
        *(placed(rows).with_columns(order=pl.lit(SCORE)) for rows in scores),
        placed(minutes.select("match_id", "clock_s", *snapshot)).with_columns(order=pl.lit(SNAPSHOT)),
        basics.filter(pl.col("radiant_win").is_not_null()).select(
            "match",
            clock_s="end_s",
            side=pl.when("radiant_win").then(pl.lit("A")).otherwise(pl.lit("B")),
            order=pl.lit(END),
        ),
    ]
    ids = [f"dota2-{match_id}" for match_id in basics["match_id"]]
    start_ms = one_after_another(basics["end_s"].to_numpy(), first_ms=_FIRST_MS, gap_s=_BREAK_S)
    known = basics["start_time"].is_not_null().to_numpy()
    start_ms[known] = basics["start_time"].drop_nulls().to_numpy() * 1000
    return assemble(parts, title="dota2", match_ids=ids, start_ms=np.asarray(start_ms, np.int64)), len(basics)


def _integers(table: Table, *names: str) -> pl.DataFrame:
    return pl.DataFrame([table.column(name, _INT) for name in names])


def _minutes(table: Table) -> pl.DataFrame:
    """match_id, clock_s, gold, xp and, from the `minutes` table, what was lost so far; sorted, one row a minute."""
    columns = [
        table.column("match_id", _INT),
        ((table.column("minute", _INT) - 1) * 60.0).alias("clock_s"),
        table.column("radiant_gold_adv", _FLOAT).alias("gold"),
    ]
    if table.has("radiant_xp_adv"):
        columns.append(table.optional("radiant_xp_adv", _FLOAT).alias("xp"))
    if table.has(*_COLUMNS[MINUTES]):
        so_far = [*(name for pair in _TOTALS.values() for name in pair), "teamfights"]
        columns += [table.column(name, _INT) for name in so_far if table.has(name)]
    rows = pl.DataFrame(columns)
    clock_s = rows["clock_s"]
    table.refuse(
        ~clock_s.is_between(0, _LONGEST_S),
        lambda row: f"minute is {int(clock_s[row] / 60) + 1}",
        "minutes count from 1 to 300",
    )
    table.require_agreement(rows, ["match_id", "clock_s"], {"gold": "radiant_gold_adv"})
    return rows.unique(["match_id", "clock_s"], keep="first", maintain_order=True).sort("match_id", "clock_s")


_TOTALS = {  # subject → columns of what camp A took, what camp B took
    "towers": ("dire_towers_lost", "radiant_towers_lost"),
    "inhibitors": ("dire_rax_lost", "radiant_rax_lost"),
    "roshans": ("radiant_roshan", "dire_roshan"),
}


def _basics(table: Table | None, minutes_table: Table | None, minutes: pl.DataFrame) -> pl.DataFrame:
    """One row a match, in order of play: match_id, match, end_s, radiant_win, team_a, team_b, start_time."""
    last = minutes.group_by("match_id").agg(pl.col("clock_s").max().alias("last_s"))
    source = table or minutes_table
    if source is None:
        source = Table(Path(), minutes.select("match_id"), is_text=False)  # all else is unknown
    facts = pl.DataFrame(
        [
            source.column("match_id", _INT),
            source.optional("duration", _FLOAT),
            source.optional("radiant_win", _BOOL),
            source.optional("start_time", _INT),
            *one_spelling(_team(source, "radiant"), _team(source, "dire")),
        ]
    )
    for fact, most, unit in (("duration", _LONGEST_S, "seconds"), ("start_time", _LAST_S, "seconds since 1970")):
        told = facts[fact]
        source.refuse(
            ~told.is_between(0, most),
            lambda row, told=told: f"{told.name} is {told[row]}",  # type: ignore[misc]  # mypy knows no default of a lambda
            f"it counts {unit}, 0 to {most}",
        )
    source.require_agreement(
        facts,
        ["match_id"],
        {"radiant_win": "radiant_win", "duration": "duration", "start_time": "start_time"},
    )
    facts = facts.unique("match_id", keep="first", maintain_order=True)
    in_order = last.join(facts, on="match_id", how="left").sort(pl.col("start_time").fill_null(0), "match_id")
    return (
        in_order.with_row_index("match")
        .with_columns(pl.col("match").cast(_INT), end_s=pl.max_horizontal("duration", "last_s"))
        .rename({"radiant": "team_a", "dire": "team_b"})
    )


def _team(table: Table, camp: str) -> pl.Series:
    """The team's name, else one from its number."""
    names, ids = table.optional(f"{camp}_team_name", _STRING), table.optional(f"{camp}_team_id", _INT)
    return pl.select(pl.coalesce(names, pl.lit("team ") + ids.cast(_STRING)).alias(camp)).to_series()


def _starts(basics: pl.DataFrame, drafts: Table | None) -> pl.DataFrame:
    starts = basics.select(
        "match", "match_id", "team_a", "team_b", order=pl.lit(START), clock_s=pl.lit(0.0), origin=pl.lit("replay")
    )
    if drafts is None:
        return starts.drop("match_id")
    picks = pl.DataFrame(
        [
            drafts.column("match_id", _INT),
            drafts.column("hero_id", _INT),
            drafts.column("active_team", _INT),
            drafts.column("pick", _BOOL),
        ]
    ).filter("pick")
    heroes = picks.group_by("match_id", maintain_order=True).agg(
        (pl.lit("hero ") + pl.col("hero_id").filter(is_camp).cast(_STRING)).head(5).alias(name)
        for name, is_camp in (
            ("heroes_a", pl.col("active_team") == _RADIANT),
            ("heroes_b", pl.col("active_team") == _RADIANT + 1),
        )
    )
    return starts.join(heroes, on="match_id", how="left", maintain_order="left").drop("match_id")


def _objectives(table: Table) -> pl.DataFrame:
    """match_id, clock_s, side, subject: what was taken, inner towers as towers and again as inner towers."""
    rows = _integers(table, "match_id", "time").with_columns(
        type=table.optional("type", _STRING),
        key=table.optional("key", _STRING).fill_null(""),
        team=table.optional("team", _INT),
    )
    is_kill = pl.col("type") == "building_kill"
    building = rows.filter(is_kill & pl.col("key").str.contains("goodguys|badguys")).with_columns(
        side=pl.when(pl.col("key").str.contains("goodguys")).then(pl.lit("B")).otherwise(pl.lit("A"))
    )
    roshan = rows.filter((pl.col("type") == "CHAT_MESSAGE_ROSHAN_KILL") & pl.col("team").is_in([2, 3])).with_columns(
        side=pl.when(pl.col("team") == _RADIANT).then(pl.lit("A")).otherwise(pl.lit("B"))
    )
    parts = [
        building.filter(pl.col("key").str.contains(pattern)).with_columns(subject=pl.lit(subject))
        for pattern, subject in (("tower", "towers"), ("tower2", "inner_towers"), ("_rax_", "inhibitors"))
    ]
    parts.append(roshan.with_columns(subject=pl.lit("roshans")))
    return pl.concat(parts).select("match_id", pl.col("time").cast(_FLOAT).alias("clock_s"), "side", "subject")


def _fights(fights: pl.DataFrame, minutes: pl.DataFrame) -> pl.DataFrame:
    """match_id, clock_s, side, subject: team fights of which gold tells a winner."""
    gold = minutes.select("match_id", "clock_s", "gold")
    before = fights.with_columns(clock_s=pl.col("start").clip(0).cast(_FLOAT)).sort("clock_s")
    before = before.join_asof(gold.sort("clock_s"), on="clock_s", by="match_id", check_sortedness=False)
    after = before.with_columns(clock_s=pl.col("end").cast(_FLOAT)).sort("clock_s")
    marks = gold.rename({"gold": "gold_after"}).with_columns(mark_s="clock_s").sort("clock_s")
    after = after.join_asof(marks, on="clock_s", by="match_id", strategy="forward", check_sortedness=False)
    return (
        after.with_columns(gain=pl.col("gold_after") - pl.col("gold"))
        .filter(pl.col("gain").is_not_null() & (pl.col("gain") != 0))
        .select(
            "match_id",
            clock_s="mark_s",
            side=pl.when(pl.col("gain") > 0).then(pl.lit("A")).otherwise(pl.lit("B")),
            subject=pl.lit("teamfights"),
        )
    )


def _scores_of_minutes(minutes: pl.DataFrame) -> pl.DataFrame:
    """match_id, clock_s, side, subject, count: what the totals of the `minutes` table gained since the row before."""

    def gained(column: str) -> pl.Expr:
        return (pl.col(column) - pl.col(column).shift(1).over("match_id").fill_null(0)).cast(_FLOAT)

    parts = []
    for subject, (by_a, by_b) in _TOTALS.items():
        if by_a in minutes.columns and by_b in minutes.columns:
            for side, column in (("A", by_a), ("B", by_b)):
                parts.append(
                    minutes.select(
                        "match_id", "clock_s", side=pl.lit(side), subject=pl.lit(subject), count=gained(column)
                    )
                )
    if "teamfights" in minutes.columns:
        rise = pl.col("gold") - pl.col("gold").shift(1).over("match_id").fill_null(0.0)
        fights = minutes.select("match_id", "clock_s", rise=rise, count=gained("teamfights")).filter(
            pl.col("rise") != 0
        )
        winner = pl.when(pl.col("rise") > 0).then(pl.lit("A")).otherwise(pl.lit("B"))
        parts.append(fights.select("match_id", "clock_s", side=winner, subject=pl.lit("teamfights"), count="count"))
    return pl.concat(parts).filter(pl.col("count") > 0)
