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
from streaming.features.catalogue import GROUPS
from streaming.insights.narrator import Narrator

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
        "gold": float("nan"),
        "kills": 1.0,
        "towers": 2.0,
        "moment": "",
        "winner": None,
        "flags": "",
        "_partition": 3,
        "_offset": 100 + frame,
        "_ingest_time_ms": 1_700_000_000_500,
        "_schema_id": 1,
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
    schema = {**narrow, **groups, "winner": pl.String, "gold": pl.Float32, "kills": pl.Float32, "towers": pl.Float32}
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
    [row] = narrate([scored(frame=7, p=0.6)])
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
            scored(frame=0, contributions=[-0.08, 0, 0, 0, 0, 0, 0]),  # 48 %
            scored(frame=1, contributions=[0.06, 0, 0.28, 0, 0, 0, 0], moment="A:towers:2"),  # 58 %
        ]
    )
    assert said[1] is not None
    assert "second tower" in said[1].lower() and "Blue" in said[1] and "58 %" in said[1]
    assert "two thirds" in said[1].lower() or "67 %" in said[1]  # .28 of .42


def test_an_event_of_the_other_side_is_no_cause() -> None:
    said = lines([scored(frame=0, p=0.4), scored(frame=1, p=0.6, moment="B:dragons")])
    assert said[1] is not None and "ragon" not in said[1]


def test_an_event_that_brought_little_is_no_cause() -> None:
    rows = [
        scored(frame=0, p=0.40),
        scored(frame=1, p=0.42, moment="A:dragons"),  # .08 of logit, of .81 in all
        scored(frame=2, p=0.60),
    ]
    said = lines(rows)
    assert said[2] is not None and "ragon" not in said[2]


def test_team_names_stand_for_sides_where_known() -> None:
    [_, english] = lines([scored(frame=0, p=0.4, team_a="T1"), scored(frame=1, p=0.6, team_a="T1")])
    assert english is not None and "T1" in english and "Blue" not in english


def test_a_comeback_is_one_only_once() -> None:
    ps = [0.5, 0.2, 0.6, 0.4, 0.6]
    said = narrate([scored(frame=i, p=p) for i, p in enumerate(ps)])
    from_20 = [row["frame"] for row in said if row["commentary_en"] and "20 %" in row["commentary_en"]]
    assert from_20 == [2]


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
    narrator(frame_of([scored("old", frame=5, p=0.9)]), state)
    later = 1_700_000_000_000 + 7 * 3600 * 1000
    narrator(frame_of([scored("new", frame=5, p=0.9, event_time_ms=later)]), state)
    assert state.keys() == ["new"]


def test_frame_0_begins_anew() -> None:
    rows = narrate([scored(frame=4, p=0.9), scored(frame=0, p=0.3)])
    assert rows[1]["delta_p"] == 0.0 and rows[1]["commentary_en"] is None


def test_state_survives_a_restart() -> None:
    narrator = Narrator()
    rows = frame_of([scored(frame=i, p=p, moment="A:towers") for i, p in enumerate([0.4, 0.55, 0.7, 0.5])])
    state, restored = narrator.new_state(), narrator.new_state()
    narrator(rows[:2], state)
    restored.restore(state.drain().rows)
    assert narrator(rows[2:], restored).equals(narrator(rows[2:], state))


@st.composite
def _streams(draw: st.DrawFn) -> tuple[pl.DataFrame, list[int]]:
    """Frames of a few matches, interleaved, some restarted and some ended; and where to cut them."""
    n = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, at = [], {f"m{i}": (0, 0) for i in range(3)}
    for _ in range(n):
        match = f"m{rng.integers(3)}"
        attempt, frame = at[match]
        over = rng.random() < 0.05
        moment = ["", "A:towers", "B:dragons:2", "A:kills"][rng.integers(4)]
        status = {"status": "ended", "winner": "AB"[rng.integers(2)]} if over else {}
        contributions = rng.normal(0, 0.4, 7).tolist()
        rows.append(scored(match, frame=frame, attempt=attempt, contributions=contributions, moment=moment, **status))
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
    assert parted.snapshot().equals(whole.snapshot())
