"""State does not grow with the number of matches: once event time has moved on, no key names a match of the past,
however matches lie in partitions, whether or not they ever ended, and however rows are cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streaming.features.baseline import packaged_baselines
from streaming.features.catalogue import GROUPS
from streaming.features.guard import ModelGuard
from streaming.features.guard_rules import WINDOW
from streaming.features.match_fold import MatchFold
from streaming.insights.narrator import Narrator
from streaming.pipeline import Stage
from streaming.pipelines.win_prediction import Arrays, Prediction, WinModel
from streaming.simulators.match import simulate, simulated_league

T0_MS = 1_700_000_000_000
DAYS, A_DAY_MATCHES, TEAMS, PATCHES = 5, 8, 4, 1
DAY_MS = 24 * 3_600_000
SLOW = 9  # minutes between two rows of a match: a night counts as ten, so two days of matches outlast `IDLE_S`


def predict(title: str, request: Arrays) -> Prediction:
    logit = (np.nan_to_num(request["features"][:, 0]) / 3_000).astype(np.float32)
    parts = np.zeros((len(logit), len(GROUPS)), np.float32)
    parts[:, 0] = logit
    return Prediction(logit, parts, parts, parts, request["hidden"], "gold", "1", "0" * 12)


@cache
def a_day() -> pl.DataFrame:
    """Short matches side by side among a few teams, a row a minute."""
    events = simulate("hok", A_DAY_MATCHES, seed=5, league=simulated_league("hok", seed=5, teams=TEAMS)).events
    minute = pl.col("clock_s") // 60
    first = (pl.col("kind") == "snapshot") & (minute != minute.shift(1)).over("match_id", "kind")
    chosen = events.filter(pl.col("kind").is_in(["start", "end"]) | first)
    return chosen.with_columns(at_ms=(pl.col("clock_s").clip(0) * 1000 * SLOW).cast(pl.Int64)).sort("at_ms")


def day(number: int, partitions: int, abandoned: set[int]) -> pl.DataFrame:
    """The day's matches, new ones by name; those abandoned never end. The first does: results wait for later ones."""
    ids = a_day()["match_id"].unique(maintain_order=True).to_list()
    index = pl.col("match_id").replace_strict(dict(zip(ids, range(len(ids)), strict=True)), return_dtype=pl.Int32)
    rows = a_day().with_columns(_n=index).filter((pl.col("kind") != "end") | ~pl.col("_n").is_in(sorted(abandoned)))
    return rows.with_columns(
        match_id=pl.format("day{}-{}", pl.lit(number), "_n"),
        event_time_ms=(pl.col("at_ms") + T0_MS + number * DAY_MS).cast(pl.Datetime("ms", "UTC")),
        _partition=pl.col("_n") % partitions,
        _offset=pl.int_range(pl.len(), dtype=pl.Int64) + number * 100_000,
        _ingest_time_ms=pl.lit(0, pl.Int64),
        _schema_id=pl.lit(1, pl.Int32),
    ).drop("at_ms", "_n")


def held_after_each_day(days: list[pl.DataFrame], batch_rows: int) -> Iterator[tuple[int, list[tuple[str, list[str]]]]]:
    stages: list[Stage] = [MatchFold(), WinModel(predict), ModelGuard(packaged_baselines()), Narrator()]
    tables = [stage.new_state() for stage in stages]
    for number, rows in enumerate(days):
        for part in rows.iter_slices(batch_rows):
            for stage, table in zip(stages, tables, strict=True):
                part = stage(part, table)
        yield number, [(stage.name, table.keys()) for stage, table in zip(stages, tables, strict=True)]


@settings(
    max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(
    st.integers(1, 4),
    st.lists(st.sets(st.integers(1, A_DAY_MATCHES - 1)), min_size=DAYS, max_size=DAYS),
    st.sampled_from((7, 50, 10_000)),
)
def test_no_key_names_a_match_that_is_long_over(partitions: int, abandoned: list[set[int]], batch_rows: int) -> None:
    days = [day(number, partitions, gone) for number, gone in enumerate(abandoned)]
    for number, held in held_after_each_day(days, batch_rows):
        for stage, keys in held:
            past = [key for key in keys if any(f"day{before}-" in key for before in range(number - 1))]
            assert not past, (stage, number)
            others = [key for key in keys if f"day{number}-" not in key]
            assert len(others) <= partitions + TEAMS + PATCHES * (WINDOW + 1) + 1, (stage, others)
        assert any(f"day{number}-" in key for _, keys in held for key in keys), "today's are there"
