"""The public data sets themselves, where they are at hand."""

from pathlib import Path

import polars as pl
import pytest

from streaming.features.match import validate
from streaming.importers import Imported, ImportProblem, import_matches
from streaming.simulators.feed import MatchFeed

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def moba(data_dir: Path) -> Path:
    return data_dir / "moba"


@pytest.fixture(scope="module")
def gold(moba: Path) -> Imported:
    return import_matches(moba / "lol_pro_2014_2016_gold.parquet")


def winners(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(kind="end").select("match_id", "side").sort("match_id")


def test_the_gold_table_is_whole(gold: Imported, moba: Path) -> None:
    table = pl.read_parquet(moba / "lol_pro_2014_2016_gold.parquet")
    assert gold.matches == table["match"].n_unique() == 4068
    events = gold.events
    assert validate(events)["_reject"].null_count() == len(events)
    assert events.filter(kind="snapshot").height == len(table)
    share = (winners(events)["side"] == "A").mean()
    assert share == pytest.approx(table.group_by("match").first()["blue_won"].mean())
    assert events["event_time_ms"].is_sorted()
    teams = pl.concat([events["team_a"], events["team_b"]]).drop_nulls().unique()
    assert teams.str.to_lowercase().n_unique() == len(teams)


def test_nothing_before_the_end_tells_when_it_comes(gold: Imported) -> None:
    """Every stated column is a function of the row's own minute: a match that goes on has the same rows so far."""
    before = gold.events.filter(pl.col("kind").is_in(["start", "snapshot"]))
    stated = [name for name in before.columns if before[name].null_count() < len(before)]
    assert set(stated) <= {
        "match_id", "sequence", "event_time_ms", "title", "kind", "clock_s", "count", "gold", "team_a", "team_b",
        "league", "origin", "heroes_a", "heroes_b",
    }  # fmt: skip


@pytest.mark.parametrize("table", ["basic_match", "objectives", "teamfights", "drafts", "radiant_gold_and_xp_adv"])
def test_any_opendota_table_brings_the_399_matches(moba: Path, table: str) -> None:
    imported = import_matches(moba / f"dota2_pro_2018_{table}.parquet")
    assert (imported.title, imported.matches, imported.skipped) == ("dota2", 399, [])
    events = imported.events
    assert validate(events)["_reject"].null_count() == len(events)
    towers = events.filter(subject="towers").group_by("match_id", "side").agg(pl.col("count").sum())
    assert towers["count"].max() <= 11
    basic = pl.read_parquet(moba / "dota2_pro_2018_basic_match.parquet").sort("match_id")
    assert (winners(events)["side"] == "A").to_list() == basic["radiant_win"].to_list()
    end = events.filter(kind="end").sort("match_id")["clock_s"]
    assert (end - basic["duration"]).abs().max() <= 1


def test_the_minutes_table_agrees_with_the_raw_tables(moba: Path) -> None:
    raw = import_matches(moba / "dota2_pro_2018_objectives.parquet").events
    minutes = import_matches(moba / "dota2_pro_2018_minutes.parquet").events
    assert minutes["match_id"].n_unique() == 399
    assert winners(raw).equals(winners(minutes))
    # Up to every minute mark both have counted the same towers.
    last_mark = minutes.filter(kind="snapshot").group_by("match_id").agg(mark_s=pl.col("clock_s").max())
    counted = [
        events.filter(subject="towers")
        .join(last_mark, on="match_id")
        .filter(pl.col("clock_s") <= pl.col("mark_s"))
        .group_by("match_id", "side")
        .agg(pl.col("count").sum())
        .sort("match_id", "side")
        for events in (raw, minutes)
    ]
    assert counted[0].equals(counted[1])


def test_the_riot_folder_imports_the_rift_match_and_names_the_other(moba: Path) -> None:
    imported = import_matches(moba / "riot_timelines")
    assert imported.matches == 1
    (problem,) = imported.skipped
    assert problem.path.name == "NA1_4916026624.json" and "134 kills" in str(problem)
    events = imported.events
    kills = events.filter(subject="kills").group_by("side").len().sort("side").rows()
    assert kills == [("A", 9), ("B", 27)]
    assert winners(events)["side"].to_list() == ["B"]
    assert events.filter(kind="snapshot").height == 22
    assert import_matches(moba / "riot_timelines" / "NA1_4916026624.json", any_map=True).matches == 1


def test_the_folder_of_everything_asks_for_a_choice(moba: Path) -> None:
    with pytest.raises(ImportProblem, match="more than one thing to import"):
        import_matches(moba)


def test_a_replay_goes_through_the_feed(gold: Imported) -> None:
    some = gold.events.filter(
        pl.col("match_id").is_in(gold.events["match_id"].unique(maintain_order=True).head(20).implode())
    )
    feed = MatchFeed([some], concurrent=4, speed=60, epoch_ms=1_700_000_000_000)
    out = feed.take(1e9)
    assert len(out) == len(some) and out["event_time_ms"].is_sorted()
