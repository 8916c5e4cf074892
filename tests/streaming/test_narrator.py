"""The narrator: changes, key moments, hysteresis, endings; the same whatever the batches."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streaming
from streaming.features.catalogue import FEATURES, GROUPS
from streaming.features.threads import IDLE_MS
from streaming.insights.narrator import Narrator
from streaming.testing import drained, every_row

SCHEMA = json.loads((Path(streaming.__file__).parent / "schemas" / "match-insights.avsc").read_text(encoding="utf-8"))
GOLD, KILL, TOWER = 0, 1, 2


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def scored(
    match_id: str = "m1",
    *,
    frame: int,
    p: float | None = None,
    contributions: Sequence[float] | None = None,
    clock_s: float | None = None,
    **other: Any,
) -> dict[str, Any]:
    """One row as the model stage hands it on. Give p (all of it gold), or the contributions that make it."""
    parts = [logit(p if p is not None else 0.5), *[0.0] * 6] if contributions is None else list(contributions)
    total = float(sum(parts))
    row: dict[str, Any] = {
        "match_id": match_id,
        "title": "lol",
        "attempt": 0,
        "frame": frame,
        "clock_s": 30.0 * frame if clock_s is None else clock_s,
        "event_time_ms": 1_700_000_000_000 + 30_000 * frame,
        "status": "live",
        "origin": "simulated",
        "team_a": "",
        "team_b": "",
        "league": "",
        "patch": "",
        **dict.fromkeys(FEATURES, float("nan")),
        "gold": 0.0,
        "kills": 0.0,
        "towers": 0.0,
        "dragons": 0.0,
        "moment": "",
        "winner": None,
        "flags": "",
        "_partition": 3,
        "_offset": 100 + frame,
        "_ingest_time_ms": 1_700_000_000_500,
        "_schema_id": 1,
        "_elapsed_ms": 30_000 * frame,
        "logit": total,
        "p": 1 / (1 + math.exp(-total)),
        "model_name": "tsstn-lol",
        "model_version": "1",
        "weight_hash": "abc",
    }
    for prefix, values in (("contribution", parts), ("score", [0.5] * 7), ("weight", [1 / 7] * 7)):
        row.update({f"{prefix}_{group}": value for group, value in zip(GROUPS, values, strict=True)})
    return row | other


def frame_of(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    narrow = {"attempt": pl.Int32, "frame": pl.Int32, "_partition": pl.Int32, "_schema_id": pl.Int32}
    groups = {f"{prefix}_{group}": pl.Float32 for prefix in ("contribution", "score", "weight") for group in GROUPS}
    schema = {**narrow, **groups, "winner": pl.String, **dict.fromkeys(FEATURES, pl.Float32)}
    frame = pl.DataFrame(list(rows), schema_overrides=schema, infer_schema_length=None)
    return frame.with_columns(pl.col("event_time_ms").cast(pl.Datetime("ms", "UTC")))


def narrate(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    narrator = Narrator()
    return narrator(frame_of(rows), narrator.new_state()).to_dicts()


def lines(rows: Sequence[dict[str, Any]]) -> list[str | None]:
    return [row["commentary_en"] for row in narrate(rows)]


def test_the_columns_are_those_of_the_schema() -> None:
    narrator = Narrator()
    result = narrator(frame_of([scored(frame=0, p=0.6)]), narrator.new_state())
    avro = {
        "string": pl.String(), "int": pl.Int32(), "long": pl.Int64(), "float": pl.Float32(), "double": pl.Float64(),
        "boolean": pl.Boolean(), "timestamp-millis": pl.Datetime("ms", "UTC"),
    }  # fmt: skip
    wanted = {}
    for field in SCHEMA["fields"]:
        kind = field["type"][1] if isinstance(field["type"], list) else field["type"]
        wanted[field["name"]] = avro[kind["logicalType"] if isinstance(kind, dict) else kind]
    del wanted["emit_time_ms"], wanted["source_topic"]
    assert dict(result.schema) == wanted
    assert list(result.columns) == list(wanted)


def test_provenance_travels_along() -> None:
    [row] = narrate([scored(frame=7, p=0.6, gold=float("nan"), towers=2.0)])
    assert (row["source_partition"], row["source_offset"], row["schema_id"]) == (3, 107, 1)
    assert row["ingest_time_ms"].timestamp() == 1_700_000_000.5
    assert math.isnan(row["gold"]) and row["towers"] == 2.0


def test_no_rows_are_no_insights() -> None:
    narrator = Narrator()
    rows = frame_of([scored(frame=0, p=0.6)])
    state = narrator.new_state()
    assert narrator(rows.clear(), state).schema == narrator(rows, narrator.new_state()).schema
    assert len(state) == 0


def test_change_is_against_the_frame_before_of_the_same_attempt() -> None:
    rows = narrate(
        [
            scored(frame=0, contributions=[0.4, 0, 0, 0, 0, 0, 0]),
            scored(frame=1, contributions=[0.5, 0, -0.3, 0, 0, 0, 0]),
            scored(frame=0, attempt=1, p=0.9),
            scored(frame=1, attempt=1, p=0.8),
        ]
    )
    assert [row["change_gold"] for row in rows[:2]] == pytest.approx([0.0, 0.1])
    assert [row["change_tower"] for row in rows[:2]] == pytest.approx([0.0, -0.3])
    p = [1 / (1 + math.exp(-x)) for x in (0.4, 0.2)]
    assert [row["delta_p"] for row in rows] == pytest.approx([0.0, p[1] - p[0], 0.0, -0.1])


@pytest.mark.parametrize(
    ("contributions", "reason"),
    [
        ([0.9, 0, 0.1, 0, 0, 0, 0], "gold"),  # nothing changed by .05: the largest contribution
        ([0.9, 0, 0.13, 0, 0, 0, 0], "gold"),
        ([0.9, 0, 0.16, 0, 0, 0, 0], "tower"),
        ([0.9, -0.2, 0.16, 0, 0, 0, 0], "kill"),  # the sign does not matter
    ],
)
def test_the_top_reason_is_what_changed_most(contributions: list[float], reason: str) -> None:
    rows = narrate(
        [scored(frame=0, contributions=[0.9, 0, 0.1, 0, 0, 0, 0]), scored(frame=1, contributions=contributions)]
    )
    assert [row["top_reason"] for row in rows] == ["gold", reason]


def test_a_key_moment_is_a_large_swing_or_a_passed_lead() -> None:
    # .60 → .70 is .44 of logit; .97 → .985 is .71 of it but 1.5 points; .70 → .76 is 6 points but .30 of logit.
    # Within 48–52 % the lead does not pass, and it passes only once on the way from 53 to 47 %.
    ps = [0.60, 0.70, 0.76, 0.97, 0.985, 0.93, 0.53, 0.51, 0.49, 0.51, 0.475, 0.49, 0.47, 0.525]
    moments = [row["key_moment"] for row in narrate([scored(frame=i, p=p) for i, p in enumerate(ps)])]
    assert [i for i, key in enumerate(moments) if key] == [1, 3, 5, 6, 10, 13]


def test_silent_until_eight_points_and_twenty_seconds() -> None:
    said = lines(
        [
            scored(frame=0, p=0.60),  # the first frame is on the record, silently
            scored(frame=1, p=0.67),  # seven points
            scored(frame=2, p=0.685),  # eight since the record
            scored(frame=3, p=0.80, clock_s=79.0),  # 19 s after
            scored(frame=4, p=0.80, clock_s=80.0),  # 20 s after
            scored(frame=5, p=0.80),
        ]
    )
    assert [line is not None for line in said] == [False, False, True, False, True, False]


def test_a_passed_lead_is_said_although_it_is_less_than_eight_points() -> None:
    said = lines([scored(frame=0, p=0.53), scored(frame=1, p=0.485), scored(frame=2, p=0.47)])
    assert [line is not None for line in said] == [False, False, True]
    assert said[2] is not None and "Red" in said[2] and "53 %" in said[2]


def test_the_line_names_the_event_and_the_share_of_the_swing() -> None:
    said = lines(
        [
            scored(frame=0, contributions=[-0.08, 0, 0, 0, 0, 0, 0], dragons=1),  # 48 %
            scored(frame=1, contributions=[0.06, 0, 0, 0.28, 0, 0, 0], dragons=2, moment="A:dragons"),  # 58 %
        ]
    )
    assert said[1] is not None
    assert "second dragon" in said[1].lower() and "Blue" in said[1] and "58 %" in said[1]
    assert "two thirds" in said[1].lower()  # .28 of .42


def test_towers_have_no_number_because_a_trade_of_towers_would_not_show() -> None:
    said = lines(
        [scored(frame=0, p=0.48, towers=1), scored(frame=1, contributions=[0.06, 0, 0.28, 0, 0, 0, 0], towers=2)]
    )
    assert said[1] is not None and "tower" in said[1].lower() and "second" not in said[1].lower()


def test_who_joins_late_does_not_count() -> None:
    rows = [
        scored(frame=20, p=0.48, dragons=float("nan")),
        scored(frame=21, contributions=[0.06, 0, 0, 0.28, 0, 0, 0], dragons=1, moment="A:dragons"),
    ]
    said = lines(rows)
    assert said[1] is not None and "dragon" in said[1].lower() and "first" not in said[1].lower()
    silent = lines(
        [rows[0], rows[1] | {"moment": "", "dragons": 3.0}]
    )  # totals so far, nothing that was seen to happen
    assert silent[1] is not None and "dragon" not in silent[1].lower()


def test_several_at_once() -> None:
    said = lines([scored(frame=0, p=0.4), scored(frame=1, contributions=[0, 0.5, 0, 0, 0, 0, 0], kills=3)])
    assert said[1] is not None and "run of kills" in said[1].lower()


def test_an_event_of_the_other_side_is_no_cause() -> None:
    said = lines(
        [scored(frame=0, p=0.4), scored(frame=1, contributions=[0.9, 0, 0, -0.2, 0, 0, 0], dragons=-1)],
    )
    assert said[1] is not None and "ragon" not in said[1]


def test_an_event_that_brought_little_is_not_named() -> None:
    rows = [
        scored(frame=0, contributions=[-0.4, 0, 0, 0, 0, 0, 0]),
        scored(frame=1, contributions=[-0.4, 0, 0, 0.08, 0, 0, 0], dragons=1),  # .08 of logit, of .88 in all
        scored(frame=2, contributions=[0.4, 0, 0, 0.08, 0, 0, 0], dragons=1),
    ]
    said = lines(rows)
    assert said[2] is not None and "ragon" not in said[2]


def test_an_event_beside_other_reasons_is_named_but_not_as_the_cause() -> None:
    rows = [
        scored(frame=0, contributions=[-0.4, 0, 0, 0, 0, 0, 0]),
        scored(frame=1, contributions=[0.4, 0, 0, 0.1, 0, 0, 0], dragons=1),  # .1 of .9, but all in its frame
    ]
    [_, line] = narrate(rows)
    wordings = _wordings(rows)
    assert "ragon" in line["commentary_en"] and wordings[0].startswith("flip.after")


@pytest.mark.parametrize(("frames_later", "is_named"), [(4, True), (5, False)])
def test_what_was_gained_more_than_two_minutes_ago_is_named_no_more(frames_later: int, is_named: bool) -> None:
    before = [-0.4, 0, 0, 0, 0, 0, 0]
    rows = [
        scored(frame=0, contributions=before),
        scored(frame=1, contributions=[-0.4, 0, 0, 0.3, 0, 0, 0], dragons=1),  # too little for a line: 7 points
        *(scored(frame=1 + i, contributions=[-0.4, 0, 0, 0.3, 0, 0, 0], dragons=1) for i in range(1, frames_later)),
        scored(frame=1 + frames_later, contributions=[0.0, 0, 0, 0.3, 0, 0, 0], dragons=1),
    ]
    line = lines(rows)[-1]
    assert line is not None and ("ragon" in line) == is_named


def test_a_fresh_gain_is_named_in_place_of_a_larger_one_that_is_forgotten() -> None:
    rows = [
        scored(frame=0, contributions=[-0.4, 0, 0, 0, 0, 0, 0]),
        *(scored(frame=i, contributions=[-0.4, 0, 0, 0.3, 0, 0, 0], dragons=1) for i in range(1, 7)),
        scored(frame=7, contributions=[-0.2, 0, 0.28, 0.3, 0, 0, 0], dragons=1, towers=1),
    ]
    line = lines(rows)[-1]
    assert line is not None and "tower" in line.lower() and "ragon" not in line


def test_a_major_gain_is_worth_a_line_after_a_long_silence() -> None:
    def match(**last: Any) -> list[str | None]:
        rows = [scored(frame=0, p=0.90), *(scored(frame=i, p=0.90, inhibitors=0) for i in range(1, 5))]
        return lines([*rows, scored(frame=5, **{"p": 0.93, **last})])

    said = match(inhibitors=1)
    assert said[5] is not None and "inhibitor" in said[5].lower()
    assert match(inhibitors=0)[5] is None
    assert match(inhibitors=1, clock_s=110.0)[5] is None
    assert match(inhibitors=1, p=0.91)[5] is None  # a point is nothing
    assert match(inhibitors=-1)[5] is None  # it is Red's, and Red did not gain


def test_a_key_moment_is_said_below_eight_points() -> None:
    # .90 → .935 → .955: a key moment needs .35 of logit and five points in one frame.
    assert lines([scored(frame=0, p=0.85), scored(frame=1, p=0.91)])[1] is not None  # .58 and six
    assert lines([scored(frame=0, p=0.85), scored(frame=1, p=0.88), scored(frame=2, p=0.91)])[2] is None


def _wordings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Wordings that the matches' lines took, oldest first."""
    narrator = Narrator()
    state = narrator.new_state()
    narrator(frame_of(rows), state)
    return str(state["told_en"][state.slots([rows[0]["match_id"]])][0]).split()


def test_the_same_reason_is_not_given_twice_within_two_minutes() -> None:
    ps = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    said = lines([scored(frame=i, p=p) for i, p in enumerate(ps)])
    with_reason = [i for i, line in enumerate(said) if line and "old" in line]  # gold, Gold
    assert with_reason == [1, 5]  # at 0:30 and 2:30
    assert sum(line is not None for line in said) == 6


def test_no_wording_comes_back_while_there_is_another() -> None:
    ps = [0.1, 0.18, 0.1, 0.18, 0.1, 0.18, 0.1, 0.18]
    taken = _wordings([scored(frame=i, p=p) for i, p in enumerate(ps)])
    for kind in ("recover.plain", "extend.plain"):
        used = [wording for wording in taken if wording.startswith(kind)]
        assert all(a != b for a, b in pairwise(used)) and len(used) >= 2


def test_the_model_says_when_its_reasons_cancel_out() -> None:
    rows = [
        scored(frame=0, contributions=[0.1, 0, 0, 0, 0, 0, 0]),
        scored(frame=1, contributions=[0.9, 0, -1.15, 0, 0, 0, 0]),  # 44 %
    ]
    assert _wordings(rows)[-1].startswith("reason.torn")
    english = lines(rows)[1]
    assert english is not None and "gold for Blue" in english and "owers for Red" in english
    sure = [rows[0], scored(frame=1, contributions=[0.9, 0, -2.0, 0, 0, 0, 0])]  # 25 %
    assert "reason.torn" not in " ".join(_wordings(sure))


def test_a_feed_of_gold_alone_is_said_once_and_no_reason_after_it() -> None:
    unknown = dict.fromkeys(("kills", "towers", "dragons"), float("nan"))
    rows = [scored(frame=20 + i, p=p) | unknown for i, p in enumerate([0.5, 0.6, 0.7, 0.8])]
    said = lines(rows)
    assert [line is not None and "sees only gold" in line for line in said] == [False, True, False, False]
    assert said[2] is not None and "swing" not in said[2]
    early = lines([row | {"clock_s": row["clock_s"] - 500} for row in rows])
    assert not any(line and "sees only" in line for line in early)


def test_the_baseline_says_that_it_speaks_and_the_switch_is_no_moment_of_the_match() -> None:
    rows = [
        scored(frame=0, p=0.60),
        scored(frame=1, p=0.80, flags="late degraded"),
        scored(frame=2, p=0.80, flags="degraded"),
        scored(frame=3, p=0.60),
        scored(frame=4, p=0.61, status="ended", winner="A"),
    ]
    said = narrate(rows)
    english = [row["commentary_en"] for row in said]
    assert english[1] is not None and "baseline" in english[1] and "80 %" in english[1] and "Blue" in english[1]
    assert english[2] is None
    assert english[3] is not None and "model speaks again" in english[3]
    assert not any(row["key_moment"] for row in said)
    assert english[4] is not None and "points" not in english[4]  # the switch is no swing of theirs


def test_the_end_tells_the_edge_and_the_best_moment() -> None:
    rows = [
        scored(frame=0, contributions=[0, 0, 0, 0, 0, 0, 0]),
        scored(frame=1, contributions=[0.1, 0, 0, 0.9, 0, 0, 0], dragons=1),  # 73 %, up 23
        scored(frame=2, contributions=[1.5, 0, 0, 0.3, 0, 0, 0], dragons=1),  # 86 %, up 13
        scored(frame=3, contributions=[1.5, 0, 0, 0.3, 0, 0, 0], dragons=1, status="ended", winner="A"),
    ]
    english = lines(rows)[3]
    assert english is not None and "old" in english and "first dragon" in english
    assert "23 points" in english and "0:30" in english
    lost = lines([*rows[:3], rows[3] | {"winner": "B"}])[3]
    assert lost is not None and "edge" not in lost and "old" not in lost  # there was none


@pytest.mark.parametrize(
    ("p", "expected"), [(0.9949, "99 %"), (0.9951, "over 99 %"), (0.9999, "over 99 %")]
)  # fmt: skip
def test_nothing_is_certain(p: float, expected: str) -> None:
    english = lines([scored(frame=0, p=0.5), scored(frame=1, p=p)])[1]
    assert english is not None and expected in english and ("over" in english) == (expected != "99 %")
    red = lines([scored(frame=0, p=0.5), scored(frame=1, p=1 - p)])[1]
    assert red is not None and expected in red


@pytest.mark.parametrize("p", [0.5149, 0.515, 0.5151, 0.519, 0.52, 0.5249, 0.525])
def test_a_line_never_contradicts_its_number(p: float) -> None:
    [_, english] = lines([scored(frame=0, p=0.3), scored(frame=1, p=p)])
    assert english is not None
    kind = _wordings([scored(frame=0, p=0.3), scored(frame=1, p=p)])[0].split(".")[0]
    assert (kind == "even") == ("51 %" in english)
    assert (kind in ("narrow", "ahead", "flip")) == ("52 %" in english or "53 %" in english)


def test_team_names_stand_for_sides_where_known() -> None:
    [_, english] = lines([scored(frame=0, p=0.4, team_a="T1"), scored(frame=1, p=0.6, team_a="T1")])
    assert english is not None and "T1" in english and "Blue" not in english


def test_a_comeback_is_one_only_once() -> None:
    ps = [0.5, 0.2, 0.6, 0.4, 0.6]
    said = narrate([scored(frame=i, p=p, clock_s=180.0 * i) for i, p in enumerate(ps)])
    from_20 = [row["frame"] for row in said if row["commentary_en"] and "20 %" in row["commentary_en"]]
    assert from_20 == [2]


def test_a_lead_regained_at_once_is_no_comeback() -> None:
    [_, _, english] = lines([scored(frame=i, p=p) for i, p in enumerate([0.5, 0.2, 0.6])])
    assert english is not None and "20 %" not in english


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"p": 0.9, "status": "ended", "winner": "A"}, "Blue"),
        ({"p": 0.9, "status": "ended", "winner": "B"}, "Red"),
        ({"p": 0.9, "status": "ended"}, "no winner"),
        ({"p": 0.9, "status": "void"}, "Remade"),
    ],
)
def test_the_end_is_always_said(last: dict[str, Any], expected: str) -> None:
    rows = narrate([scored(frame=0, p=0.9), scored(frame=1, clock_s=1.0, **last)])
    assert rows[1]["commentary_en"] is not None and expected in rows[1]["commentary_en"]
    assert rows[1]["commentary_zh"]


def test_a_match_that_is_over_is_forgotten_and_may_begin_anew() -> None:
    narrator = Narrator()
    state = narrator.new_state()
    narrator(frame_of([scored(frame=0, p=0.9), scored(frame=1, p=0.9, status="ended", winner="A")]), state)
    assert len(state) == 0 and state.drain().deleted == ["m1"]
    [row] = narrator(frame_of([scored(frame=0, attempt=1, p=0.3)]), state).to_dicts()
    assert row["delta_p"] == 0.0 and "m1" in state


def test_a_match_that_never_ends_is_forgotten_at_last() -> None:
    narrator = Narrator()
    state = narrator.new_state()
    narrator(frame_of([scored("old", frame=5, p=0.9, _elapsed_ms=0)]), state)
    narrator(frame_of([scored("new", frame=5, p=0.9, _elapsed_ms=IDLE_MS)]), state)
    assert sorted(state.keys()) == ["new", "old"]
    narrator(frame_of([scored("new", frame=6, p=0.9, _elapsed_ms=IDLE_MS + 1)]), state)
    assert state.keys() == ["new"]


def test_an_event_from_the_future_wipes_no_live_match() -> None:
    narrator = Narrator()
    state = narrator.new_state()
    narrator(frame_of([scored("live", frame=5, p=0.4)]), state)
    year_2099 = 4_070_908_800_000
    stray = scored("stray", frame=0, p=0.5, event_time_ms=year_2099, _partition=1, _elapsed_ms=0)
    narrator(frame_of([stray]), state)
    [row] = narrator(frame_of([scored("live", frame=6, p=0.7)]), state).to_dicts()
    assert row["delta_p"] == pytest.approx(0.3) and row["commentary_en"] is not None


def test_a_replay_of_old_matches_goes_on_beside_live_ones() -> None:
    year_2015, year_2026 = 1_420_070_400_000, 1_767_225_600_000

    def batch(frame: int, p: float) -> list[dict[str, Any]]:
        live = scored("live", frame=frame, p=p, event_time_ms=year_2026 + 30_000 * frame)
        return [live, scored("replay", frame=frame, p=p, event_time_ms=year_2015 + 30_000 * frame)]

    narrator = Narrator()
    state = narrator.new_state()
    for frame, p in enumerate([0.4, 0.5, 0.6, 0.7]):
        rows = narrator(frame_of(batch(frame, p)), state).to_dicts()
        assert [row["delta_p"] for row in rows] == pytest.approx([0.1 if frame else 0.0] * 2)
    assert all(row["commentary_en"] for row in rows)


def test_frame_0_begins_anew() -> None:
    rows = narrate([scored(frame=4, p=0.9), scored(frame=0, p=0.3)])
    assert rows[1]["delta_p"] == 0.0 and rows[1]["commentary_en"] is None


def test_state_survives_a_restart() -> None:
    narrator = Narrator()
    rows = frame_of([scored(frame=i, p=p, moment="A:towers") for i, p in enumerate([0.4, 0.55, 0.7, 0.5])])
    state, restored = narrator.new_state(), narrator.new_state()
    narrator(rows[:2], state)
    restored.restore(drained(state), partition=0)
    assert narrator(rows[2:], restored).equals(narrator(rows[2:], state))


@st.composite
def _streams(draw: st.DrawFn) -> tuple[pl.DataFrame, list[int]]:
    """Frames of a few matches, interleaved, some restarted and some ended; and where to cut them."""
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, at = [], {f"m{i}": (0, 0) for i in range(3)}
    elapsed_ms = [0, 0]
    for _ in range(n):
        number = int(rng.integers(3))
        match, partition = f"m{number}", number % 2
        elapsed_ms[partition] += int(rng.choice([1_000, 600_000, IDLE_MS // 2, IDLE_MS + 1], p=[0.7, 0.1, 0.1, 0.1]))
        attempt, frame = at[match]
        over = rng.random() < 0.05
        moment = ["", "A:towers", "B:dragons", "A:kills"][rng.integers(4)]
        status = {"status": "ended", "winner": "AB"[rng.integers(2)]} if over else {}
        contributions = rng.normal(0, 0.4, 7).tolist()
        gains = {name: float(rng.integers(-3, 4)) for name in ("kills", "towers", "dragons")}
        flags = ["", "", "late", "degraded"][rng.integers(4)]
        place = {"_partition": partition, "_elapsed_ms": elapsed_ms[partition], "flags": flags, "moment": moment}
        # Event times of different centuries, as replays bring them: they must not matter.
        when = {"event_time_ms": int(rng.integers(0, 4_000_000_000_000))}
        row = scored(match, frame=frame, attempt=attempt, contributions=contributions)
        rows.append(row | status | gains | place | when)
        restarts = over or rng.random() < 0.05
        at[match] = (attempt + 1, 0) if restarts else (attempt, frame + 1)
    return frame_of(rows), sorted(draw(st.lists(st.integers(0, n), max_size=8)))


@settings(max_examples=60, deadline=None)
@given(_streams())
def test_cuts_between_batches_change_nothing(stream: tuple[pl.DataFrame, list[int]]) -> None:
    rows, cuts = stream
    narrator = Narrator()
    whole, parted = narrator.new_state(), narrator.new_state()
    at_once = narrator(rows, whole)
    bounds = [0, *cuts, len(rows)]
    pieces = [narrator(rows[a:b], parted) for a, b in pairwise(bounds)]
    assert pl.concat(pieces).equals(at_once)
    assert every_row(parted).equals(every_row(whole))
