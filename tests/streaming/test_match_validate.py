"""Event frames, and which rows cannot be believed."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import polars as pl
import pytest

from streaming.features.match import EVENT_SCHEMA, events_frame, validate

T0 = 1_700_000_000_000
EVENT: dict[str, Any] = {
    "match_id": "m", "sequence": 0, "event_time_ms": T0, "title": "lol", "kind": "snapshot", "clock_s": 0.0,
}  # fmt: skip
SCORE = {"kind": "score", "side": "A", "subject": "kills"}


def reason(**fields: Any) -> str | None:
    return validate(events_frame([{**EVENT, **fields}]))["_reject"].item()


def test_the_schema_is_that_of_the_avro_file() -> None:
    assert EVENT_SCHEMA["event_time_ms"] == pl.Datetime("ms", "UTC")
    assert EVENT_SCHEMA["heroes_b"] == pl.List(pl.String)
    assert EVENT_SCHEMA["gold"] == pl.Float64
    assert EVENT_SCHEMA.names()[:6] == ["match_id", "sequence", "event_time_ms", "title", "kind", "clock_s"]


def test_a_row_gets_the_defaults_of_the_schema() -> None:
    (row,) = events_frame([EVENT]).to_dicts()
    assert (row["count"], row["gold"], row["heroes_a"]) == (1.0, None, [])
    assert row["event_time_ms"] == dt.datetime.fromtimestamp(T0 / 1000, dt.UTC)
    assert events_frame([]).schema == EVENT_SCHEMA


def test_a_time_may_be_a_datetime_with_a_zone() -> None:
    zone = dt.timezone(dt.timedelta(hours=8))
    time = dt.datetime(2024, 1, 1, 8, tzinfo=zone)
    assert events_frame([{**EVENT, "event_time_ms": time}])["event_time_ms"].item() == time


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"golds": 1.0}, "event row 1: unknown field 'golds'"),
        ({"event_time_ms": dt.datetime(2024, 1, 1)}, "event row 1: .* no time zone"),
        ({"event_time_ms": "now"}, "event row 1: event_time_ms is 'now'"),
        ({"gold": "much"}, "gold is not all Float64"),
    ],
)
def test_a_wrong_row_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        events_frame([EVENT, {**EVENT, **fields}])


def test_a_row_without_a_needed_field_is_named() -> None:
    with pytest.raises(ValueError, match="event row 0: no 'match_id'"):
        events_frame([{name: value for name, value in EVENT.items() if name != "match_id"}])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        SCORE,
        {"kind": "end", "side": "B"},
        {"kind": "remake"},
        {"clock_s": -90.0},
        {"gold": -1e6, "kills_a": 0.0, "towers_b": 11.0},
        {"kind": "start", "team_a": "x" * 128, "heroes_a": ["Ahri"] * 5},
        {"match_id": "x" * 128},
    ],
)
def test_a_good_row_passes(fields: dict[str, Any]) -> None:
    assert reason(**fields) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"match_id": ""}, "match_id is missing"),
        ({"match_id": None}, "match_id is missing"),
        ({"match_id": "é" * 65}, "match_id has 130 bytes, more than 128"),
        ({"match_id": "@rating/lol"}, "match_id '@rating/lol' starts with '@', which is reserved"),
        ({"sequence": -1}, "sequence is -1, not 0 or more"),
        ({"event_time_ms": -1}, "event_time_ms is -1, not a time from 1970 to 2100"),
        ({"event_time_ms": T0 * 1000}, "event_time_ms is 1700000000000000, not a time from 1970 to 2100"),
        ({"title": "chess"}, "title is 'chess', not one of dota2, hok, lol"),
        ({"title": None}, "title is missing, not one of dota2, hok, lol"),
        ({"kind": "goal"}, "kind is 'goal', not one of start, snapshot, score, end, remake"),
        ({"kind": "goal" * 100}, f"kind is '{'goal' * 10}', not one of start, snapshot, score, end, remake"),
        ({"clock_s": math.nan}, "clock_s is NaN, not a time within 21600 s"),
        ({"clock_s": 1e7}, "clock_s is 10000000.0, not a time within 21600 s"),
        ({"clock_s": -math.inf}, "clock_s is -inf, not a time within 21600 s"),
        ({"side": "C"}, "side is 'C', not A or B"),
        ({"kind": "end"}, "end without side"),
        ({"kind": "score", "subject": "kills"}, "score without side"),
        (SCORE | {"count": 0.0}, "count is 0.0, not a whole number from 1 to 100"),
        (SCORE | {"count": 101.0}, "count is 101.0, not a whole number from 1 to 100"),
        (SCORE | {"count": 0.5}, "count is 0.5, not a whole number from 1 to 100"),
        (SCORE | {"count": math.nan}, "count is NaN, not a whole number from 1 to 100"),
        ({"gold": -1_000_001.0}, "gold is -1000001.0, beyond any match (±1000000)"),
        ({"xp": math.nan}, "xp is NaN, beyond any match (±1000000)"),
        ({"level": -math.inf}, "level is -inf, beyond any match (±1000)"),
        ({"lane_mid": 11.0}, "lane_mid is 11.0, beyond any match (±10)"),
        ({"kills_a": -1.0}, "kills_a is -1.0, not a whole number from 0 to 1000"),
        ({"towers_b": 1.5}, "towers_b is 1.5, not a whole number from 0 to 1000"),
        ({"kills_b": math.nan}, "kills_b is NaN, not a whole number from 0 to 1000"),
        ({"team_a": "x" * 129}, "team_a has 129 bytes, more than 128"),
        ({"patch": "9" * 129}, "patch has 129 bytes, more than 128"),
        ({"heroes_a": ["x"] * 11}, "heroes_a has 11 names, more than 10"),
        ({"heroes_b": ["x" * 641]}, "heroes_b has 641 bytes, more than 640"),
    ],
)
def test_a_bad_row_says_why_with_the_value(fields: dict[str, Any], said: str) -> None:
    assert reason(**fields) == f"InvalidEvent: {said}"


def test_a_score_of_an_unknown_subject_lists_the_known_ones() -> None:
    for subject, shown in (("cows", "'cows'"), (None, "missing")):
        said = reason(**SCORE | {"subject": subject})
        assert said is not None
        assert said.startswith(f"InvalidEvent: score of subject {shown}, which is not one of kills, towers,")


def test_only_bad_rows_are_marked_and_earlier_reasons_stay() -> None:
    rows = events_frame([{**EVENT, "clock_s": clock} for clock in (0.0, math.nan, 1.0, math.inf)])
    assert validate(rows)["_reject"].is_null().to_list() == [True, False, True, False]
    marked = rows.with_columns(_reject=pl.Series([None, "Codec: torn", "Codec: torn", None], dtype=pl.String))
    assert validate(marked)["_reject"].to_list() == [
        None,
        "Codec: torn",
        "Codec: torn",
        "InvalidEvent: clock_s is inf, not a time within 21600 s",
    ]


def test_the_answer_for_a_row_does_not_depend_on_its_neighbours() -> None:
    rows = events_frame([{**EVENT, "sequence": i, "gold": 3e5 * i} for i in range(8)])
    alone = [validate(rows.slice(i, 1))["_reject"].item() for i in range(8)]
    assert validate(rows)["_reject"].to_list() == alone


def test_a_frame_without_rows_gets_the_column() -> None:
    assert validate(events_frame([])).schema["_reject"] == pl.String
