"""Form by hand, and what it is worth on real results."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from streaming.features.form import RATING_LAYOUT, Elo, Rated, expected_score, rating_key
from streaming.features.match import EVENT_SCHEMA
from streaming.features.match_fold import fold_events
from streaming.state import StateTable

Numbers = npt.NDArray[Any]

PLAIN = Elo(k=32.0, gold_scale=None)


@pytest.fixture
def state() -> StateTable:
    return StateTable("ratings", RATING_LAYOUT)


def test_a_lead_of_400_points_is_ten_to_one() -> None:
    assert expected_score(0.0) == 0.5
    assert expected_score(400.0) == pytest.approx(10 / 11)
    assert expected_score(-400.0) == pytest.approx(1 / 11)


def test_the_first_result_between_new_teams_moves_each_by_half_of_k_twice_for_haste(state: StateTable) -> None:
    PLAIN.record(state, "a", "b", a_won=True, gold_lead=5000.0)
    assert state["rating"][state.slots(["a", "b"])].tolist() == [32.0, -32.0]
    assert [PLAIN.rated(state, team) for team in ("a", "b")] == [(32.0, 1), (-32.0, 1)]


def test_the_second_result_moves_by_the_surprise_with_less_haste(state: StateTable) -> None:
    PLAIN.record(state, "a", "b", a_won=True, gold_lead=0.0)
    PLAIN.record(state, "a", "b", a_won=False, gold_lead=0.0)
    step = 32.0 * 1.5 / (1.0 + 10.0 ** (-64.0 / 400.0))
    assert state["rating"][state.slots(["a", "b"])].tolist() == pytest.approx([32.0 - step, -32.0 + step])
    assert state["results"][state.slots(["a", "b"])].tolist() == [2, 2]


def test_the_margin_is_log_2_at_the_scale_whoever_leads_and_1_without_gold() -> None:
    elo = Elo(gold_scale=10_000.0)
    assert elo.margin(10_000.0) == elo.margin(-10_000.0) == math.log(2.0)
    assert elo.margin(0.0) == 0.0
    assert elo.margin(math.nan) == 1.0
    assert PLAIN.margin(25_000.0) == 1.0


def test_asking_for_a_rating_makes_no_rows(state: StateTable) -> None:
    assert PLAIN.rated(state, "a") == Rated(0.0, 0)
    assert len(state) == 0


def test_a_recorded_result_goes_to_the_changelog(state: StateTable) -> None:
    PLAIN.record(state, "a", "b", a_won=True, gold_lead=0.0)
    assert state.drain().keys == ["a", "b"]


def test_tags_that_differ_in_case_are_one_team_and_a_slash_is_no_separator() -> None:
    assert rating_key("lol", "LCS", "TSM") == rating_key("lol", "lcs", " tsm ") == "@rating/lol/lcs/tsm"
    assert rating_key("lol", "a/b", "c") != rating_key("lol", "a", "b/c")
    assert rating_key("lol", "a%2Fb", "c") != rating_key("lol", "a/b", "c")


def gold_events(table: pl.DataFrame) -> pl.DataFrame:
    """The per-minute table as events, one match after the other in season order, two hours apart."""
    season = pl.when(pl.col("season") == "Spring").then(0).otherwise(1)
    matches = table.group_by("match", maintain_order=True).last().sort("year", season, maintain_order=True)
    matches = matches.with_row_index("nth").with_columns(pl.col("nth").cast(pl.Int64))
    clock_s = (pl.col("minute") - 1) * 60.0  # minute m is the state after m - 1 minutes
    starts = matches.select(
        "nth", "match", "league", clock_s=0.0, step=0, kind=pl.lit("start"), team_a="blue_team", team_b="red_team"
    )
    snapshots = table.join(matches.select("nth", "match"), on="match").select(
        "nth", "match", clock_s=clock_s, step="minute", kind=pl.lit("snapshot"), gold=pl.col("gold_diff").cast(float)
    )
    winner = pl.when(pl.col("blue_won") == 1).then(pl.lit("A")).otherwise(pl.lit("B"))
    ends = matches.select("nth", "match", clock_s=clock_s, step=1_000, kind=pl.lit("end"), side=winner)
    events = pl.concat([starts, snapshots, ends], how="diagonal_relaxed").sort("nth", "step")
    time_ms = 1_400_000_000_000 + pl.col("nth") * 7_200_000 + (pl.col("clock_s") * 1000).cast(pl.Int64)
    events = events.with_columns(
        match_id=pl.col("match").cast(pl.String),
        sequence=pl.int_range(pl.len()).over("nth"),
        event_time_ms=time_ms.cast(pl.Datetime("ms", "UTC")),
        title=pl.lit("lol"),
        count=pl.lit(1.0),
    )
    absent = [name for name in EVENT_SCHEMA if name not in events.columns]
    return events.with_columns(pl.lit(None, EVENT_SCHEMA[name]).alias(name) for name in absent).select(*EVENT_SCHEMA)


def per_minute_regression(columns: Numbers, minute: Numbers, won: Numbers, train: Numbers) -> tuple[float, float]:
    """Accuracy and log-loss on the rows that are not for training; minutes from 45 on are one."""
    p = np.empty(len(won))
    minute = np.minimum(minute, 45)
    for m in np.unique(minute):
        here = minute == m
        fitted = LogisticRegression(C=1.0).fit(columns[here & train], won[here & train])
        p[here] = fitted.predict_proba(columns[here])[:, 1]
    test = ~train
    return float(((p > 0.5) == won)[test].mean()), float(log_loss(won[test], p[test]))


@pytest.mark.data
def test_form_is_worth_three_points_of_log_loss_on_real_results(data_dir: Path) -> None:
    table = pl.read_parquet(data_dir / "moba" / "lol_pro_2014_2016_gold.parquet")
    events = gold_events(table)
    began = time.process_time()
    frames = fold_events(events)
    assert time.process_time() - began < 20.0, "4,068 matches fold in seconds"
    rows = frames.filter(pl.col("status") == "live").join(
        table.select(match_id=pl.col("match").cast(pl.String), clock_s=(pl.col("minute") - 1) * 60.0)
        .with_columns(table["minute", "year", "blue_won", "gold_diff"])
        .sort("match_id"),
        on=["match_id", "clock_s"],
        how="left",
        maintain_order="left",
    )
    assert rows.height == table.height, "the start makes the frame of minute 1, each snapshot that of its own"
    later = rows.filter(pl.col("minute") > 1)
    assert (later["gold"] == later["gold_diff"]).all()
    train = (rows["year"] <= 2015).to_numpy()
    won, minute = rows["blue_won"].to_numpy(), rows["minute"].to_numpy()
    gold, form = (rows[name].fill_nan(0.0).to_numpy() for name in ("gold", "form"))
    gold = gold / 1000.0
    accuracy_0, loss_0 = per_minute_regression(gold[:, None], minute, won, train)
    accuracy, loss = per_minute_regression(np.column_stack([gold, form]), minute, won, train)
    print(f"gold {accuracy_0:.4f} {loss_0:.4f}; gold and form {accuracy:.4f} {loss:.4f}")  # noqa: T201
    assert loss < loss_0 - 0.025
    assert loss <= 0.4915
    assert accuracy >= 0.752
