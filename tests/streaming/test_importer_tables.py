"""OpenDota tables and per-minute gold tables: hand-made, as Parquet and CSV, and broken in every way."""

import decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.features.match import EVENT_SCHEMA, validate
from streaming.importers import ImportProblem, import_matches

GOLD = pl.DataFrame(
    [
        # match, minute, gold_diff, league, year, season, type, blue_team, red_team, blue_won
        (7, 1, 0, "LCK", 2016, "Spring", "Playoffs", "SKT", "KT", 1),
        (7, 2, 55, "LCK", 2016, "Spring", "Playoffs", "SKT", "KT", 1),
        (7, 3, -80, "LCK", 2016, "Spring", "Playoffs", "SKT", "KT", 1),
        (8, 1, 0, "LCK", 2016, "Summer", "Season", "KT", "skt", 0),
        (8, 2, 9, "LCK", 2016, "Summer", "Season", "KT", "skt", 0),
        (9, 1, 0, "LCK", 2016, "Spring", "Season", "SKT", None, 0),
        (9, 2, 1, "LCK", 2016, "Spring", "Season", "SKT", None, 0),
        (4, 1, 3, "WC", 2015, "Summer", "International", "SKT", "KT", 1),
    ],
    schema=["match", "minute", "gold_diff", "league", "year", "season", "type", "blue_team", "red_team", "blue_won"],
    orient="row",
)


def write(frame: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator={".csv": ",", ".tsv": "\t"}[path.suffix])
    return path


@pytest.fixture(params=["gold.parquet", "gold.csv", "gold.tsv"])
def gold_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(GOLD, tmp_path / request.param)


def test_minute_m_of_a_gold_table_is_the_state_after_m_minus_1(gold_path: Path) -> None:
    imported = import_matches(gold_path)
    events = imported.events
    assert (imported.title, imported.matches) == ("lol", 4)
    assert events.schema == EVENT_SCHEMA and validate(events)["_reject"].null_count() == len(events)
    seven = events.filter(match_id="gold-7")
    assert seven.select("sequence", "kind", "clock_s", "gold", "side").rows() == [
        (0, "start", 0.0, None, None),
        (1, "snapshot", 0.0, 0.0, None),
        (2, "snapshot", 60.0, 55.0, None),
        (3, "snapshot", 120.0, -80.0, None),
        (4, "end", 180.0, None, "A"),
    ]
    assert seven.select("league", "team_a", "team_b", "origin").row(0) == ("LCK", "SKT", "KT", "replay")
    assert events.filter(kind="end").filter(match_id="gold-8")["side"].item() == "B"


def test_gold_matches_come_by_year_season_type_and_never_overlap(gold_path: Path) -> None:
    events = import_matches(gold_path).events
    assert events["match_id"].unique(maintain_order=True).to_list() == ["gold-4", "gold-9", "gold-7", "gold-8"]
    spans = events.group_by("match_id", maintain_order=True).agg(
        first=pl.col("event_time_ms").min(), last=pl.col("event_time_ms").max()
    )
    assert (spans["first"][1:] > spans["last"][:-1]).all()
    assert [time.strftime("%Y-%m-%d") for time in spans["first"]] == [
        "2015-06-01",
        "2016-01-01",
        "2016-01-01",
        "2016-06-01",
    ]


def test_team_names_that_differ_in_case_are_one_team(gold_path: Path) -> None:
    starts = import_matches(gold_path).events.filter(kind="start")
    assert set(starts["team_a"]) == {"SKT", "KT"}
    assert starts["team_b"].to_list() == ["KT", None, "KT", "SKT"]


def test_a_gold_table_needs_four_columns_only(tmp_path: Path) -> None:
    path = write(GOLD.select("match", "minute", "gold_diff", "blue_won"), tmp_path / "g.csv")
    events = import_matches(path).events
    assert events["match_id"].unique(maintain_order=True).to_list() == ["gold-7", "gold-8", "gold-9", "gold-4"]
    assert events["team_a"].null_count() == len(events)


def test_an_unknown_winner_gives_no_end_event(tmp_path: Path) -> None:
    frame = GOLD.with_columns(blue_won=pl.when(pl.col("match") == 8).then(None).otherwise("blue_won"))
    ends = import_matches(write(frame, tmp_path / "g.csv")).events.filter(kind="end")
    assert set(ends["match_id"]) == {"gold-7", "gold-9", "gold-4"}


BASIC = {
    "match_id": [12, 11], "duration": [185, 130], "radiant_win": [True, False],
    "radiant_team_name": ["Lynx", None], "dire_team_name": ["Rams", "lynx"],
    "radiant_team_id": [1, 5], "dire_team_id": [2, 1], "radiant_score": [50, 10], "dire_score": [4, 9],
}  # fmt: skip
ADVANTAGE = {
    "match_id": [12, 12, 12, 12, 11, 11], "minute": [1, 2, 3, 4, 1, 2],
    "radiant_gold_adv": [0, 100, 50, 900, 0, -9], "radiant_xp_adv": [0, 10, 20, 30, 0, -1],
}  # fmt: skip
OBJECTIVES = {
    "match_id": [12] * 7 + [11], "time": [30, 70, 100, 110, 120, 130, 185, 125],
    "type": ["CHAT_MESSAGE_FIRSTBLOOD", "building_kill", "building_kill", "building_kill", "CHAT_MESSAGE_ROSHAN_KILL",
             "building_kill", "building_kill", "building_kill"],
    "key": ["2", "npc_dota_badguys_tower1_top", "npc_dota_goodguys_tower2_mid", "npc_dota_badguys_melee_rax_mid", None,
            "npc_dota_badguys_healers", "npc_dota_badguys_fort", "npc_dota_goodguys_fort"],
    "team": [None, None, None, None, 3.0, None, None, None],
}  # fmt: skip
FIGHTS = {"match_id": [12, 12, 12], "start": [10, 70, 170], "end": [50, 90, 184], "last_death": [1, 2, 3]}
DRAFTS = {
    "match_id": [12] * 3, "hero_id": [7, 8, 9], "pick": [True, False, True], "active_team": [2, 2, 3],
    "order": [1, 2, 3], "player_slot": [0.0, None, 5.0],
}  # fmt: skip
MINUTES = {
    "match_id": [12, 12, 12], "minute": [1, 2, 3], "radiant_gold_adv": [0, 100, 50], "radiant_xp_adv": [0, 1, 2],
    "radiant_towers_lost": [0, 0, 1], "dire_towers_lost": [0, 2, 2], "radiant_rax_lost": [0, 0, 0],
    "dire_rax_lost": [0, 0, 1], "radiant_roshan": [0, 1, 1], "dire_roshan": [0, 0, 0], "teamfights": [0, 1, 3],
    "radiant_win": [True] * 3, "duration": [150] * 3,
}  # fmt: skip
RAW: dict[str, dict[str, list[Any]]] = {
    "basic_match": BASIC, "radiant_gold_and_xp_adv": ADVANTAGE, "objectives": OBJECTIVES, "teamfights": FIGHTS,
    "drafts": DRAFTS,
}  # fmt: skip


def write_raw(folder: Path, suffix: str = ".parquet", *names: str) -> Path:
    for name in names or RAW:
        write(pl.DataFrame(RAW[name]), folder / f"pro_{name}{suffix}")
    return folder


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_opendota_tables_become_events(tmp_path: Path, suffix: str) -> None:
    imported = import_matches(write_raw(tmp_path, suffix))
    events = imported.events
    assert (imported.title, imported.matches, imported.skipped) == ("dota2", 2, [])
    assert events.schema == EVENT_SCHEMA and validate(events)["_reject"].null_count() == len(events)
    assert events["match_id"].unique(maintain_order=True).to_list() == ["dota2-11", "dota2-12"]
    twelve = events.filter(match_id="dota2-12")
    assert twelve.filter(kind="score").select("clock_s", "side", "subject").rows() == [
        (60.0, "A", "teamfights"),  # ended at 50 s; gold had risen by the next minute mark
        (70.0, "A", "towers"),
        (100.0, "B", "towers"),
        (100.0, "B", "inner_towers"),
        (110.0, "A", "inhibitors"),
        (120.0, "B", "roshans"),
        (120.0, "B", "teamfights"),  # 100 → 50 gold
    ]
    assert twelve.filter(kind="snapshot").select("clock_s", "gold", "xp").rows()[1] == (60.0, 100.0, 10.0)
    start, end = twelve.row(0, named=True), twelve.row(-1, named=True)
    assert (start["team_a"], start["team_b"]) == ("Lynx", "Rams")
    assert (start["heroes_a"], start["heroes_b"]) == (["hero 7"], ["hero 9"])
    assert (end["kind"], end["clock_s"], end["side"]) == ("end", 185.0, "A")
    eleven = events.filter(match_id="dota2-11").row(0, named=True)
    assert (eleven["team_a"], eleven["team_b"]) == ("team 5", "Lynx")


@pytest.mark.parametrize("name", sorted(RAW))
def test_any_one_file_finds_its_siblings(tmp_path: Path, name: str) -> None:
    folder = import_matches(write_raw(tmp_path)).events
    assert import_matches(tmp_path / f"pro_{name}.parquet").events.equals(folder)


def test_the_minutes_table_is_enough_alone(tmp_path: Path) -> None:
    events = import_matches(write(pl.DataFrame(MINUTES), tmp_path / "m.csv")).events
    assert validate(events)["_reject"].null_count() == len(events)
    assert sorted(events.filter(kind="score").select("clock_s", "side", "subject", "count").rows()) == [
        (60.0, "A", "roshans", 1.0),
        (60.0, "A", "teamfights", 1.0),
        (60.0, "A", "towers", 2.0),
        (120.0, "A", "inhibitors", 1.0),
        (120.0, "B", "teamfights", 2.0),
        (120.0, "B", "towers", 1.0),
    ]
    assert events.select("kind", "clock_s", "side").rows()[-1] == ("end", 150.0, "A")


def test_raw_tables_come_before_the_minutes_table_unless_that_is_named(tmp_path: Path) -> None:
    write_raw(tmp_path)
    minutes = write(pl.DataFrame(MINUTES), tmp_path / "minutes.parquet")
    assert import_matches(tmp_path).events.filter(subject="inner_towers").height == 1
    named = import_matches(minutes).events
    assert named.filter(subject="inner_towers").height == 0
    assert named.filter(kind="start")["team_a"].item() == "Lynx"  # from the sibling


def test_a_start_time_is_used_where_there_is_one(tmp_path: Path) -> None:
    write_raw(tmp_path)
    basic = pl.DataFrame(BASIC).with_columns(start_time=pl.Series([1_530_000_000, 1_540_000_000]))
    write(basic, tmp_path / "pro_basic_match.parquet")
    starts = import_matches(tmp_path).events.filter(kind="start")
    assert starts["match_id"].to_list() == ["dota2-12", "dota2-11"]
    assert [int(time.timestamp()) for time in starts["event_time_ms"]] == [1_530_000_000, 1_540_000_000]


def test_objectives_without_gold_are_refused(tmp_path: Path) -> None:
    write_raw(tmp_path, ".parquet", "objectives", "basic_match")
    with pytest.raises(
        ImportProblem, match="no gold by minute in basic_match, objectives; put the radiant_gold_and_xp"
    ):
        import_matches(tmp_path)


def test_a_damaged_sibling_is_named(tmp_path: Path) -> None:
    write_raw(tmp_path)
    (tmp_path / "pro_drafts.parquet").write_bytes(b"PAR1 cut")
    imported = import_matches(tmp_path / "pro_objectives.parquet")
    assert [problem.path.name for problem in imported.skipped] == ["pro_drafts.parquet"]
    assert imported.matches == 2


def test_a_folder_of_several_formats_lists_them_and_says_how_to_choose(tmp_path: Path) -> None:
    write_raw(tmp_path)
    write(GOLD, tmp_path / "gold.parquet")
    with pytest.raises(ImportProblem) as caught:
        import_matches(tmp_path)
    said = str(caught.value)
    assert "OpenDota tables: pro_basic_match.parquet" in said and "per-minute gold table: gold.parquet" in said
    assert f"name one file, such as {tmp_path}" in said


CSV = GOLD.write_csv()


@pytest.mark.parametrize(
    ("content", "place", "fault"),
    [
        ("", "byte 0", "the file is empty"),
        ("  \n ", "byte 0", "the file is empty"),
        ("match,minute\n", "line 2", "no rows"),
        ("hello\n", "line 1", "no header"),
        ("# A page\n\nSome, words, with, commas\n", "line 1", "no header"),
        ("a,a\n1,2\n", "line 1", "no header of distinct column names"),
        ("a,b\n1,2\n", "header", "those of no known table"),
        (CSV[:-25], "line 9", "values under 10 columns"),
        (CSV.replace("7,2,55,", "7,2,lots,"), "line 3", "gold_diff is 'lots', not a number"),
        (CSV.replace("7,2,55,", "7,2,inf,"), "line 3", "gold_diff is 'inf', not a number"),
        (CSV.replace("7,2,55,", "7,,55,"), "line 3", "minute is missing"),
        (CSV.replace("7,2,55,", "7,2.5,55,"), "line 3", "minute is '2.5', not a whole number"),
        (CSV.replace("7,2,55,", "7,0,55,"), "line 3", "minute is 0"),
        (CSV.replace("SKT,KT,1", "SKT,KT,2", 1), "line 2", "blue_won is '2', not true or false"),
        ('match,minute\n"1,2\n', "line", "not CSV"),
        (b"\xff\xfe\x00\x01", "byte 0", "no UTF-8 text"),
        (b"PAR1", "byte 4", "cut short"),
        (b"PAR1" + bytes(40) + b"PAR1", "Parquet footer", "damaged"),
    ],
)
def test_a_bad_table_is_one_line_with_file_place_and_remedy(
    tmp_path: Path, content: str | bytes, place: str, fault: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ImportProblem) as caught:
        import_matches(path)
    said = str(caught.value)
    assert str(path) in said and place in said and fault in said and "\n" not in said
    assert caught.value.remedy


def test_a_missing_path_and_an_empty_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(ImportProblem, match="no such file or folder"):
        import_matches(tmp_path / "nothing")
    with pytest.raises(ImportProblem, match="no match files in this folder"):
        import_matches(tmp_path)
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(ImportProblem, match=r"x\.csv, byte 0: the file is empty"):
        import_matches(tmp_path)


def parquet_bytes() -> bytes:
    import io

    buffer = io.BytesIO()
    GOLD.write_parquet(buffer)
    return buffer.getvalue()


@settings(max_examples=300, deadline=None)
@given(data=st.data(), good=st.sampled_from([CSV.encode(), parquet_bytes()]))
def test_damaged_bytes_are_imported_or_refused_but_never_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, good: bytes
) -> None:
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            at = data.draw(st.integers(0, len(content) - 1))
            content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path_factory.mktemp("fuzz") / "table"
    path.write_bytes(bytes(content))
    try:
        events = import_matches(path).events
    except ImportProblem as problem:
        assert "\n" not in str(problem)
    else:
        assert events.schema == EVENT_SCHEMA


@pytest.mark.parametrize(
    ("row", "place", "fault"),
    [
        ((7, 3, -80, 0), "line 4", "blue_won of match 7 is False here, and True before"),
        ((7, 2, 56, 1), "line 4", "gold_diff of match 7 is 56.0 here, and 55.0 before"),
    ],
)
def test_rows_that_contradict_others_of_their_match_are_refused(
    tmp_path: Path, row: tuple[int, int, int, int], place: str, fault: str
) -> None:
    head = GOLD.select("match", "minute", "gold_diff", "blue_won").head(2)
    path = write(head.vstack(pl.DataFrame([row], schema=head.schema, orient="row")), tmp_path / "g.csv")
    with pytest.raises(ImportProblem, match=f"{place}: {fault}; correct the row; if it is another match"):
        import_matches(path)


def test_a_row_that_repeats_another_says_nothing_new(tmp_path: Path) -> None:
    once, twice = write(GOLD, tmp_path / "once.csv"), write(GOLD.vstack(GOLD), tmp_path / "twice.csv")
    assert import_matches(twice).events.equals(import_matches(once).events)


@pytest.mark.parametrize(
    ("column", "values", "fault"),
    [
        ("duration", [185, -1], "row 2: duration is -1.0; it counts seconds, 0 to 18000"),
        ("duration", [1e9, 130], "row 1: duration is 1000000000.0"),
        ("start_time", [1_530_000_000_000, None], "row 1: start_time is 1530000000000; it counts seconds since 1970"),
    ],
)
def test_impossible_times_of_an_opendota_match_are_refused(
    tmp_path: Path, column: str, values: list[float], fault: str
) -> None:
    write_raw(tmp_path)
    basic = pl.DataFrame({**BASIC, column: values}, strict=False)
    write(basic, tmp_path / "pro_basic_match.parquet")
    with pytest.raises(ImportProblem, match=fault):
        import_matches(tmp_path)


def test_two_opendota_matches_under_one_id_are_refused(tmp_path: Path) -> None:
    write_raw(tmp_path)
    write(pl.DataFrame({**BASIC, "match_id": [12, 12]}), tmp_path / "pro_basic_match.parquet")
    with pytest.raises(ImportProblem, match="row 2: radiant_win of match 12 is False here, and True before"):
        import_matches(tmp_path)


@pytest.mark.parametrize("dtype", [pl.Date, pl.Duration, pl.Boolean, pl.Time])
def test_a_number_in_disguise_is_no_number(tmp_path: Path, dtype: type[pl.DataType]) -> None:
    frame = GOLD.with_columns(gold_diff=(pl.col("gold_diff") != 0).cast(pl.Int64).cast(dtype))
    with pytest.raises(ImportProblem, match=r"gold_diff is .*, not a number"):
        import_matches(write(frame, tmp_path / "g.parquet"))


def test_whole_numbers_may_come_as_decimals_or_categories(tmp_path: Path) -> None:
    frame = GOLD.with_columns(
        minute=pl.col("minute").cast(pl.Decimal(10, 2)), match=pl.col("match").cast(pl.String).cast(pl.Categorical)
    )
    whole = import_matches(write(frame, tmp_path / "g.parquet")).events
    assert whole.equals(import_matches(write(GOLD, tmp_path / "i.parquet")).events)


def test_a_column_that_makes_the_reader_panic_is_damage(tmp_path: Path) -> None:
    gold = pa.table({"match_id": ["m"], "minute": pa.array([decimal.Decimal(1)], pa.decimal256(50, 3))})
    pq.write_table(gold, tmp_path / "gold.parquet")
    with pytest.raises(ImportProblem, match="damaged"):
        import_matches(tmp_path / "gold.parquet")
