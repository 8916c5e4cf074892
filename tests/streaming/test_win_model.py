"""The model as a stage: what it remembers of which match, what it forgets, and what one bad answer costs."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming.features.match_fold import FRAME_SCHEMA, IDLE_S
from streaming.pipeline import DependencyUnavailable
from streaming.pipelines.win_prediction import STATE_FLOATS, Arrays, Prediction, WinModel
from streaming.state import StateTable
from streaming.testing import every_row

HOUR_MS = 3_600_000
IDLE_MS = round(IDLE_S * 1000)
YEAR_MS = 365 * 24 * HOUR_MS
NOW_MS = 1_767_225_600_000  # 2026


def frame(match: str = "m", number: int = 0, **fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "match_id": match, "title": "lol", "attempt": 0, "frame": number, "clock_s": 30.0 * number, "status": "live",
        "origin": "live", "event_time_ms": NOW_MS, "_partition": 0, "_offset": 0, "_ingest_time_ms": 0,
        "_schema_id": 1, "_elapsed_ms": 30_000 * number, "heroes_a": [], "heroes_b": [], "gold": 100.0 * number,
        "team_a": "", "team_b": "", "league": "", "patch": "", "moment": "", "flags": "",
    }  # fmt: skip
    return row | fields


def frames(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in FRAME_SCHEMA} for row in rows], schema=FRAME_SCHEMA)


def counting(title: str, request: Arrays) -> Prediction:
    """The logit is the number of frames that the recurrent state has seen of the match, this one included; a frame
    whose gold is -1 has no answer, and spoils the state as a network's NaN does."""
    match, hidden = request["match"], request["hidden"].copy()
    gold = request["features"][:, 0]
    logit = np.zeros(len(match), np.float32)
    for row, number in enumerate(match.tolist()):
        hidden[number] += np.nan if gold[row] == -1 else 1
        logit[row] = hidden[number, 0]
    contributions = np.zeros((len(match), 7), np.float32)
    contributions[:, 0] = logit
    return Prediction(logit, contributions, contributions, contributions, hidden, f"model-{title}", "1", "0" * 12)


def seen(rows: pl.DataFrame, state: StateTable, stage: WinModel | None = None) -> list[float]:
    return (stage or WinModel(counting))(rows, state)["logit"].to_list()


@pytest.fixture
def state() -> StateTable:
    return WinModel(counting).new_state()


def test_a_row_from_the_future_in_another_partition_costs_no_live_match_its_state(state: StateTable) -> None:
    seen(frames(frame(number=0), frame(number=1)), state)
    future = frame("other", event_time_ms=NOW_MS + 73 * YEAR_MS, _partition=1)
    assert seen(frames(future), state) == [1]
    assert seen(frames(frame(number=2)), state) == [3]


def test_an_old_replay_beside_live_matches_keeps_its_state_in_every_batch(state: StateTable) -> None:
    for number in range(4):
        replay = frame("old", number, event_time_ms=NOW_MS - 11 * YEAR_MS, _partition=1)
        assert seen(frames(replay, frame("new", number)), state) == [number + 1, number + 1]


def test_a_match_is_let_go_when_its_own_partition_has_moved_on(state: StateTable) -> None:
    seen(frames(frame("silent"), frame("far", _partition=1)), state)
    seen(frames(frame("on", _elapsed_ms=IDLE_MS)), state)
    assert sorted(state.keys()) == ["far", "on", "silent"]
    seen(frames(frame("on", 1, _elapsed_ms=IDLE_MS + 1)), state)
    assert sorted(state.keys()) == ["far", "on"]


def test_a_match_that_is_over_is_let_go_but_not_its_restart_in_the_same_batch(state: StateTable) -> None:
    seen(frames(frame("over"), frame("over", 1, status="ended"), frame("again"), frame("again", 1, status="void"),
                frame("again", 0, attempt=1)), state)  # fmt: skip
    assert state.keys() == ["again"]
    assert seen(frames(frame("again", 1, attempt=1)), state) == [2]


@pytest.mark.parametrize(
    "change", [{"attempt": 1}, {"frame": 0}, {"_partition": 1}, {"_elapsed_ms": IDLE_MS + 1}, {"title": "dota2"}]
)
def test_what_begins_anew_does_so_within_a_batch_as_between_two(change: dict[str, Any], state: StateTable) -> None:
    rows = [frame(number=0), frame(number=1) | {"_elapsed_ms": 0}, frame(number=2) | {"_elapsed_ms": 0} | change]
    assert seen(frames(*rows), state) == [1, 2, 1]
    other = WinModel(counting).new_state()
    assert [answer for row in rows for answer in seen(frames(row), other)] == [1, 2, 1]


def test_a_bad_row_of_one_title_is_refused_beside_good_ones_of_another(state: StateTable) -> None:
    answered = WinModel(counting)(frames(frame("a", gold=-1.0), frame("b", title="dota2")), state)
    assert answered["_reject"].to_list() == ["Unscorable: the model gave no finite answer", None]
    assert answered["model_name"].to_list() == ["model-lol", "model-dota2"]


def test_a_refused_frame_leaves_the_state_as_it_was_and_those_after_it_are_answered(state: StateTable) -> None:
    rows = [frame(number=0), frame(number=1, gold=-1.0), frame(number=2), frame("n"), frame("n", 1)]
    answered = WinModel(counting)(frames(*rows), state)
    assert answered["logit"].is_finite().to_list() == [True, False, True, True, True]
    assert answered["logit"].to_list()[2:] == [2, 1, 2]
    assert seen(frames(frame(number=3)), state) == [3]


def test_reasons_that_are_no_numbers_are_refused_and_those_that_do_not_add_up_are_flagged(state: StateTable) -> None:
    def crooked(title: str, request: Arrays) -> Prediction:
        fine = counting(title, request)
        contributions = fine.contributions.copy()
        contributions[:, 0] += np.where(request["features"][:, 0] == 7, np.nan, request["features"][:, 0])
        return dataclasses.replace(fine, contributions=contributions)

    rows = frames(frame("a", gold=0.0), frame("b", gold=1.0, flags="late"), frame("c", gold=7.0))
    answered = WinModel(crooked)(rows, state)
    assert answered["flags"].to_list() == ["", "late contributions-broken", ""]
    assert answered["_reject"].is_null().to_list() == [True, True, False]


def test_heroes_reach_the_model_by_match_and_from_where_they_are_known(state: StateTable) -> None:
    asked: list[list[list[str]]] = []

    def noting(title: str, request: Arrays) -> Prediction:
        assert request["heroes"].shape == (len(request["hidden"]), 2)
        assert request["hidden"].shape == (len(request["hidden"]), STATE_FLOATS)
        asked.append(request["heroes"].tolist())
        return counting(title, request)

    picks = {"heroes_a": ["Ahri", "Lee Sin"], "heroes_b": ["Jinx"]}
    rows = [frame(number=0), frame("n", 0, **picks), frame(number=1), frame(number=2, **picks)]
    assert seen(frames(*rows), state, WinModel(noting)) == [1, 1, 2, 3]
    assert asked == [[["", ""], ["Ahri\nLee Sin", "Jinx"]], [["Ahri\nLee Sin", "Jinx"]]]


def test_nothing_is_remembered_of_a_call_that_failed(state: StateTable) -> None:
    def away(title: str, request: Arrays) -> Prediction:
        if title == "dota2":
            raise DependencyUnavailable("away")
        return counting(title, request)

    rows = frames(frame("a"), frame("b", title="dota2"))
    with pytest.raises(DependencyUnavailable):
        WinModel(away)(rows, state)
    assert seen(rows, state) == [1, 1]


ROW = st.fixed_dictionaries(
    {
        "match_id": st.sampled_from(["m0", "m1", "m2", "m3"]),
        "event": st.sampled_from(["next"] * 8 + ["restart", "anew", "end"]),
        "pause_ms": st.sampled_from([0] * 6 + [30_000, 2 * HOUR_MS, 4 * HOUR_MS]),
        "gold": st.sampled_from([0.0, 1.0, 5.0, -1.0]),
        "title": st.sampled_from(["lol"] * 5 + ["dota2"]),
        "heroes_a": st.sampled_from([[], ["Ahri"]]),
        "event_time_ms": st.sampled_from([NOW_MS, NOW_MS - 11 * YEAR_MS, NOW_MS + 73 * YEAR_MS]),
    }
)


def stream(drawn: list[dict[str, Any]]) -> pl.DataFrame:
    rows, elapsed = [], [0, 0]
    last: dict[str, tuple[int, int]] = {}
    for row in drawn:
        match, partition = row["match_id"], int(row["match_id"] in ("m2", "m3"))
        elapsed[partition] += row["pause_ms"]
        attempt, number = last.get(match, (0, -1))
        attempt, number = {"restart": (attempt + 1, 0), "anew": (0, 0)}.get(row["event"], (attempt, number + 1))
        last[match] = attempt, number
        status = "ended" if row["event"] == "end" else "live"
        kept = {name: value for name, value in row.items() if name in FRAME_SCHEMA}
        rows.append(
            frame(match, number, attempt=attempt, status=status, _partition=partition, _elapsed_ms=elapsed[partition])
            | kept
        )
    return frames(*rows)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROW, min_size=1, max_size=40), st.data())
def test_answers_and_state_do_not_depend_on_how_frames_are_cut(
    drawn: list[dict[str, Any]], data: st.DataObject
) -> None:
    rows, stage = stream(drawn), WinModel(counting)
    whole_state, state = stage.new_state(), stage.new_state()
    whole = stage(rows, whole_state)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, rows.height - 1)))))
    parts = [
        stage(rows.slice(first, end - first), state) for first, end in pairwise([0, *cuts, rows.height]) if end > first
    ]
    columns = ["logit", "_reject", "model_name"]
    assert pl.concat(parts).select(columns).equals(whole.select(columns))
    assert every_row(state).equals(every_row(whole_state))
