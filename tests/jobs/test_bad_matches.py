"""Matches as they should not be: every one has a defined answer."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from jobs.datasets import MatchSet, frames_to_matches, load_matches
from jobs.errors import UsageProblem
from jobs.evaluate import evaluate_win
from streaming.features.match import events_frame
from streaming.features.match_fold import fold_events
from streaming.importers import ImportProblem

BEGIN_MS = 1_460_000_000_000


def events(match: str, *rows: tuple[str, float, dict[str, object]], first_ms: int = BEGIN_MS) -> pl.DataFrame:
    return events_frame(
        {
            "match_id": match,
            "sequence": number,
            "event_time_ms": first_ms + int(max(clock_s, 0) * 1000),
            "title": "lol",
            "clock_s": clock_s,
            "kind": kind,
            **more,
        }
        for number, (kind, clock_s, more) in enumerate(rows)
    )


def matches_of(*parts: pl.DataFrame) -> MatchSet:
    return frames_to_matches(fold_events(pl.concat(parts)), "lol", "by hand")


def column(matches: MatchSet, feature: str, row: int = 0) -> list[float]:
    values = matches.features[row, matches.mask[row], matches.spec.features.index(feature)]
    return [round(value, 3) for value in values.tolist()]


def gold_table(path: Path, **changed: list[object]) -> Path:
    """Two matches of 12 minutes."""
    minutes = list(range(1, 13))
    columns: dict[str, list[object]] = {
        "match": [0] * 12 + [1] * 12,
        "minute": minutes * 2,
        "gold_diff": [100 * m for m in minutes] + [-100 * m for m in minutes],
        "blue_won": [1] * 12 + [0] * 12,
        "blue_team": ["X"] * 24,
        "red_team": ["Y"] * 24,
        "year": [2016] * 24,
    }
    pl.DataFrame(columns | changed).write_parquet(path)
    return path


def test_totals_of_one_side_alone_are_not_known() -> None:
    """Kills of A without those of B make no lead; gold, which is a lead, still answers."""
    matches = matches_of(
        events(
            "half",
            ("snapshot", 0, {"gold": 0.0, "kills_a": 0}),
            ("snapshot", 60, {"gold": 500.0, "kills_a": 3}),
            ("end", 90, {"side": "A"}),
        )
    )
    assert matches.features[0, :, matches.spec.features.index("kills")].isnan().all()
    assert column(matches, "gold") == [0.0, 500.0]


def test_a_team_without_a_name_has_no_form(tmp_path: Path) -> None:
    path = gold_table(tmp_path / "one_side.parquet", red_team=[None] * 24)
    matches = load_matches(str(path))
    assert matches.features[..., matches.spec.features.index("form")].isnan().all()
    assert evaluate_win("tsstn@live", str(path), store=tmp_path, baselines=[])["data"]["frames"] == 24


def test_ten_minutes_without_gold_have_no_frames_and_no_gold_is_made_up(tmp_path: Path) -> None:
    rows = [("snapshot", 60.0 * m, {"gold": 100.0 * m}) for m in [*range(5), *range(15, 18)]]
    matches = matches_of(events("gap", *rows, ("end", 1080.0, {"side": "A"})))
    assert (matches.clock_s[0] / 60).tolist() == [0, 1, 2, 3, 4, 15, 16, 17]
    assert column(matches, "gold") == [0, 100, 200, 300, 400, 1500, 1600, 1700]


def test_kills_in_a_gap_of_gold_leave_the_last_lead_that_was_stated() -> None:
    rows = [
        ("snapshot", 0.0, {"gold": 0.0}),
        ("snapshot", 60.0, {"gold": 250.0}),
        *(("score", 60.0 * m, {"side": "B", "subject": "kills"}) for m in range(2, 13)),
        ("end", 800.0, {"side": "B"}),
    ]
    matches = matches_of(events("silent", *rows))
    assert column(matches, "gold")[1:] == [250.0] * 12
    assert column(matches, "kills")[-1] == -11.0


def test_a_negative_clock_counts_as_the_start() -> None:
    matches = matches_of(
        events(
            "early",
            ("snapshot", -80.0, {"gold": 0.0}),
            ("snapshot", 60.0, {"gold": 100.0}),
            ("end", 90.0, {"side": "A"}),
        )
    )
    assert matches.clock_s[0].tolist() == [0.0, 60.0]


@pytest.mark.parametrize("minute", [0, -5, 301])
def test_an_impossible_minute_of_a_table_is_refused_with_its_row(tmp_path: Path, minute: int) -> None:
    path = gold_table(tmp_path / "clock.parquet", minute=[1, 2, minute, *range(4, 13), *range(1, 13)])
    with pytest.raises(ImportProblem, match=f"row 3: minute is {minute}; minutes count from 1 to 300"):
        load_matches(str(path))


def test_a_second_start_under_one_id_begins_anew() -> None:
    first = [("start", 0.0, {}), ("snapshot", 60.0, {"gold": 900.0}), ("snapshot", 120.0, {"gold": 1900.0})]
    second = [("start", 0.0, {}), ("snapshot", 60.0, {"gold": -100.0}), ("end", 90.0, {"side": "B"})]
    again = events("twice", *second, first_ms=BEGIN_MS + 3_600_000).with_columns(pl.col("sequence") + 10)
    matches = matches_of(events("twice", *first), again)
    assert matches.match_ids == ("twice",) and matches.won.tolist() == [0.0]
    assert column(matches, "gold")[-1] == -100.0


def test_two_results_under_one_id_are_one_match_with_the_first_result() -> None:
    rows = [("snapshot", 0.0, {"gold": 0.0}), ("snapshot", 60.0, {"gold": 50.0}), ("end", 90.0, {"side": "A"})]
    late = [("end", 95.0, {"side": "B"})]
    matches = matches_of(events("twice", *rows, *late))
    assert len(matches) == 1 and matches.won.tolist() == [1.0]


def test_a_team_never_seen_plays_as_an_average_one(tmp_path: Path) -> None:
    matches = load_matches(str(gold_table(tmp_path / "new.parquet")))
    assert column(matches, "form") == [0.0] * 12  # nobody has a result yet
    assert column(matches, "form", row=1)[0] > 0  # the first match is over: X has won it


def test_truncated_files_of_a_folder_are_named_and_the_others_judged(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    content = gold_table(folder / "whole.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(content[: len(content) // 2])
    (folder / "empty.csv").write_bytes(b"")
    said: list[str] = []
    report = evaluate_win("tsstn@live", str(folder), store=tmp_path, baselines=[], on_step=said.append)
    assert report["data"]["matches"] == 2
    cut, empty = report["data"]["skipped"]
    assert "cut.parquet" in cut and "cut short" in cut and "empty.csv" in empty
    assert cut in said and empty in said


def test_matches_without_a_winner_are_counted(tmp_path: Path) -> None:
    path = gold_table(tmp_path / "open.parquet", blue_won=[1] * 12 + [None] * 12)
    matches = load_matches(str(path))
    assert len(matches) == 1 and "left out 1 match(es)" in matches.skipped[0]


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    path = gold_table(tmp_path / "nobody.parquet", blue_won=[None] * 24)
    with pytest.raises(UsageProblem, match="no finished match"):
        load_matches(str(path))
    (tmp_path / "none").mkdir()
    with pytest.raises(ImportProblem, match="no match files in this folder"):
        load_matches(str(tmp_path / "none"))


def test_line_ups_and_teams_come_along() -> None:
    start = ("start", 0.0, {"team_a": "X", "team_b": "Y", "heroes_a": ["Ahri"], "heroes_b": ["Zed", "Jinx"]})
    rows = [start, ("snapshot", 60.0, {"gold": 5.0}), ("end", 90.0, {"side": "A"})]
    matches = matches_of(events("named", *rows), events("other", *rows[1:], first_ms=BEGIN_MS + 9_000_000))
    assert matches.teams == (("X", "Y"), ("", ""))
    assert matches.heroes == ((("Ahri",), ("Zed", "Jinx")), ((), ()))
