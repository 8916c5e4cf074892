"""What a shadow report says, by hand-computed values."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.shadow.diff import ANSWER_SCHEMA, LARGEST, Apart, Outcome, ShadowDiff, diff


def answer(match: str, offset: int, p: float, **other: Any) -> dict[str, Any]:
    return {
        "match_id": match, "title": "lol", "attempt": 0, "clock_s": 30.0 * offset,
        "ingest_time_ms": datetime(2026, 11, 23, tzinfo=UTC), "status": "live", "p": p, "winner": None,
        "source_partition": 0, "source_offset": offset,
        "model_name": "m", "model_version": "1", "weight_hash": "one", **other,
    }  # fmt: skip


def by_candidate(match: str, offset: int, p: float, **other: Any) -> dict[str, Any]:
    return answer(match, offset, p, **{"model_version": "2", "weight_hash": "two", **other})


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ANSWER_SCHEMA)


def end(match: str, offset: int, winner: str | None, **other: Any) -> dict[str, Any]:
    return answer(match, offset, 0.9, status="ended" if winner else "void", winner=winner, **other)


def test_differences_and_losses_are_those_of_hand() -> None:
    live = table(
        answer("a", 1, 0.50), answer("b", 2, 0.40), answer("a", 3, 0.60), answer("b", 4, 0.25),
        end("a", 5, "A"), answer("b", 6, 0.5), end("b", 7, "B"),
    )  # fmt: skip
    shadow = table(
        by_candidate("a", 1, 0.54), by_candidate("b", 2, 0.30), by_candidate("a", 3, 0.80), by_candidate("b", 4, 0.20),
        by_candidate("a", 5, 0.1, status="ended", winner="A"), by_candidate("b", 6, 0.5),
        by_candidate("b", 7, 0.1, status="ended", winner="B"),
    )  # fmt: skip
    said = diff(live, shadow)
    (pair,) = said.pairs
    assert (pair.title, pair.live, pair.shadow, pair.frames, pair.matches) == ("lol", "m@1", "m@2", 5, 2)
    assert pair.mean_abs == pytest.approx((0.04 + 0.10 + 0.20 + 0.05 + 0.0) / 5)
    assert pair.beyond == pytest.approx(2 / 5)
    assert pair.largest == (
        Apart("a", 90.0, 0.60, 0.80, source_partition=0, source_offset=3),
        Apart("b", 60.0, 0.40, 0.30, source_partition=0, source_offset=2),
    )
    assert pair.outcome is not None and pair.outcome.difference is not None
    assert (pair.outcome.matches, pair.outcome.frames) == (2, 5)
    losses = (
        -(math.log(0.5) + math.log(0.6) + math.log(0.6) + math.log(0.75) + math.log(0.5)) / 5,
        -(math.log(0.54) + math.log(0.7) + math.log(0.8) + math.log(0.8) + math.log(0.5)) / 5,
    )
    assert (pair.outcome.live_log_loss, pair.outcome.shadow_log_loss) == pytest.approx(losses)
    value, low, high = pair.outcome.difference
    assert value == pytest.approx(losses[1] - losses[0])
    of_a = (-math.log(0.54) - math.log(0.8) + math.log(0.5) + math.log(0.6)) / 2
    of_b = (-math.log(0.7) - math.log(0.8) + math.log(0.6) + math.log(0.75)) / 3
    assert (low, high) == pytest.approx((min(of_a, of_b), max(of_a, of_b)))  # one match twice is a resample of two
    assert (said.same_weights, said.live_only, said.shadow_only, said.behind) == (0, 0, 0, 0)


def test_without_a_winner_nothing_is_said_of_losses() -> None:
    live = table(answer("a", 1, 0.5), answer("b", 2, 0.5), end("b", 3, None))
    (pair,) = diff(live, table(by_candidate("a", 1, 0.6), by_candidate("b", 2, 0.4))).pairs
    assert pair.outcome is None and pair.frames == 2


def test_a_result_is_that_of_its_own_attempt_and_of_frames_before_it() -> None:
    """A match that is played again under its id, the second time with another winner, and goes on after that."""
    live = table(
        answer("a", 1, 0.5), end("a", 2, "A"),
        answer("a", 3, 0.5, attempt=1), end("a", 4, "B", attempt=1), answer("a", 5, 0.5, attempt=1),
    )  # fmt: skip
    shadow = table(*(by_candidate("a", offset, 0.75, attempt=min(1, offset // 3)) for offset in (1, 3, 5)))
    (pair,) = diff(live, shadow).pairs
    assert pair.outcome is not None
    assert (pair.outcome.matches, pair.outcome.frames) == (2, 2)
    assert pair.outcome.shadow_log_loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert pair.matches == 2


def test_each_two_versions_that_met_are_a_pair_and_the_same_weights_are_none() -> None:
    live = table(
        answer("a", 1, 0.5),
        answer("a", 2, 0.5, model_version="1+baseline"),
        answer("a", 3, 0.5),
        answer("d", 4, 0.5, title="dota2", model_name="d", weight_hash="dota"),
        answer("a", 5, 0.5, model_version="2", weight_hash="two"),
    )
    shadow = table(
        by_candidate("a", 1, 0.6),
        by_candidate("a", 2, 0.7),
        by_candidate("a", 3, 0.8, model_version="3", weight_hash="three"),
        answer("d", 4, 0.5, title="dota2", model_name="d", weight_hash="dota"),
        by_candidate("a", 5, 0.5),
    )
    said = diff(live, shadow)
    assert [(pair.live, pair.shadow, round(pair.mean_abs, 6)) for pair in said.pairs] == [
        ("m@1", "m@2", 0.1), ("m@1", "m@3", 0.3), ("m@1+baseline", "m@2", 0.2),
    ]  # fmt: skip
    assert said.same_weights == 2


def test_answers_without_another_are_counted_where_both_were_at_work() -> None:
    live = table(*(answer("a", offset, 0.5) for offset in range(8)), answer("b", 3, 0.5, source_partition=1))
    shadow = table(*(by_candidate("a", offset, 0.5) for offset in (2, 3, 5)), by_candidate("x", 4, 0.5))
    said = diff(live, shadow)
    # 0 and 1 came before the shadow, 6 and 7 after its last answer; partition 1 it has not come to at all.
    assert (said.pairs[0].frames, said.live_only, said.shadow_only, said.behind) == (4, 0, 0, 3)
    said = diff(live, shadow.filter(pl.col("source_offset") != 4))
    assert (said.live_only, said.shadow_only, said.behind) == (1, 0, 3)
    said = diff(live.filter((pl.col("match_id") == "b") | (pl.col("source_offset") != 3)), shadow)
    assert (said.live_only, said.shadow_only, said.behind) == (0, 1, 3)


def test_an_answer_that_came_twice_counts_once() -> None:
    live, shadow = table(*[answer("a", 1, 0.5)] * 2), table(*[by_candidate("a", 1, 0.7)] * 3)
    (pair,) = diff(live, shadow).pairs
    assert pair.frames == 1 and pair.mean_abs == pytest.approx(0.2)


def test_of_many_matches_the_furthest_apart_are_named() -> None:
    rows = [(f"m{number}", number, 0.01 * number) for number in range(LARGEST + 5)]
    live = table(*(answer(match, offset, 0.5) for match, offset, _ in rows))
    (pair,) = diff(live, table(*(by_candidate(match, offset, 0.5 + far) for match, offset, far in rows))).pairs
    assert [apart.match_id for apart in pair.largest] == [f"m{n}" for n in range(LARGEST + 4, 4, -1)]


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert diff(table(), table()) == ShadowDiff((), 0, 0, 0, 0)
    assert diff(table(answer("a", 1, 0.5)), table()) == ShadowDiff((), 0, 0, 0, behind=1)
    assert diff(table(), table(answer("a", 1, 0.5))) == ShadowDiff((), 0, 0, 0, 0)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 0.99), st.floats(0.01, 0.99)), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_to_change_places_changes_signs_and_the_order_of_rows_nothing(
    frames: list[tuple[str, float, float]], chance: Any
) -> None:
    ends = [end(match, 100 + n, "AB"[n % 2]) for n, match in enumerate("abc")]
    live = [answer(match, offset, p) for offset, (match, p, _) in enumerate(frames)] + ends
    other = [by_candidate(match, offset, q) for offset, (match, _, q) in enumerate(frames)]
    other += [{**row, "model_version": "2", "weight_hash": "two"} for row in ends]
    (there,) = diff(table(*live), table(*other)).pairs
    (back,) = diff(table(*other), table(*live)).pairs
    assert (there.frames, there.beyond) == (back.frames, back.beyond)
    assert there.mean_abs == pytest.approx(back.mean_abs)
    one, two = there.outcome, back.outcome
    assert isinstance(one, Outcome) and isinstance(two, Outcome)
    assert (one.live_log_loss, one.shadow_log_loss) == pytest.approx((two.shadow_log_loss, two.live_log_loss))
    assert one.difference is not None and two.difference is not None
    assert one.difference[0] == pytest.approx(-two.difference[0])
    chance.shuffle(live)
    chance.shuffle(other)
    assert diff(table(*live), table(*other)).pairs == (there,)
