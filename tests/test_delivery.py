"""The checker of the invariant must see what it is there for: every kind of harm, done by hand, and named."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.counting import CountingStage
from streaming.state import StateTable
from tests.counting import InMemory, Stream, encoded, events
from tests.delivery import Verdict, clean_run, judge

GIVEN: list[tuple[str, int]] = [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]
ANSWERED = [("a", 0, 1.0), ("b", 0, 1.0), ("a", 1, 2.0), ("b", 1, 2.0), ("a", 2, 3.0)]
P1, P2 = b"poison 1", b"poison 2"


def inputs(rows: list[tuple[str, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"match_id": pl.String, "sequence": pl.Int64}, orient="row")


def answers(rows: list[tuple[str, int, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"match_id": pl.String, "sequence": pl.Int64, "clock_s": pl.Float64}, orient="row")


def state(rows: list[tuple[str, int]]) -> StateTable:
    by_match: dict[object, list[tuple[object, ...]]] = {}
    for match, sequence in rows:
        by_match.setdefault(match, []).append((sequence,))
    return clean_run(by_match)


def test_a_clean_run_holds() -> None:
    verdict = judge(inputs(GIVEN), answers(ANSWERED), state(GIVEN), poison=Counter([P1]), letters=Counter([P1]))
    assert verdict == Verdict(records=6)
    assert verdict.holds


def without(n: int) -> list[tuple[str, int, float]]:
    return ANSWERED[:n] + ANSWERED[n + 1 :]


@pytest.mark.parametrize(
    ("got", "wrong"),
    [
        (without(4), {"lost": 1}),  # the last of a match
        (without(2), {"lost": 1, "misnumbered": 1}),  # one in the middle: the next bears its number too late
        ([*ANSWERED, ("a", 2, 4.0)], {"doubled": 1}),
        ([*ANSWERED, ("a", 2, 3.0)], {"doubled": 1, "misnumbered": 1}),
        ([*ANSWERED, ("z", 0, 1.0)], {"doubled": 1}),  # an answer to nothing
        ([("a", 1, 1.0), ("b", 0, 1.0), ("a", 0, 2.0), *ANSWERED[3:]], {"disordered": 1}),
        ([("a", 0, 2.0), *ANSWERED[1:]], {"misnumbered": 1}),  # by a state that had seen something before
    ],
)
def test_answers_that_are_lost_doubled_or_swapped_are_counted(
    got: list[tuple[str, int, float]], wrong: dict[str, int]
) -> None:
    verdict = judge(inputs(GIVEN), answers(got), state(GIVEN))
    assert verdict.wrong == wrong
    assert not verdict.holds


@pytest.mark.parametrize(
    ("seen", "keys"),
    [
        (GIVEN[:-1], 1),  # lost from the state only
        ([*GIVEN, ("b", 1)], 1),  # counted twice
        ([("a", 1), ("a", 0), ("a", 2), ("b", 0), ("b", 1)], 1),  # the same number of them, in another order
        ([*GIVEN, ("z", 0)], 1),
        ([], 2),
    ],
)
def test_a_state_that_is_not_that_of_a_clean_run_is_counted_by_key(seen: list[tuple[str, int]], keys: int) -> None:
    assert judge(inputs(GIVEN), answers(ANSWERED), state(seen)).wrong == {"state_wrong": keys}


@pytest.mark.parametrize(
    ("letters", "wrong"),
    [
        ([P1], {"letters_lost": 1}),
        ([P1, P2, P2], {"letters_wrong": 1}),
        ([P1, P2, b"good"], {"letters_wrong": 1}),
    ],
)
def test_dead_letters_are_the_poison_and_nothing_else(letters: list[bytes], wrong: dict[str, int]) -> None:
    told = judge(inputs(GIVEN), answers(ANSWERED), state(GIVEN), poison=Counter([P1, P2]), letters=Counter(letters))
    assert told.wrong == wrong


def test_what_was_stopped_on_the_way_may_be_a_start_of_every_match_and_nothing_else() -> None:
    begun = [("a", 0), ("b", 0), ("a", 1)]
    assert judge(inputs(GIVEN), answers(ANSWERED[:3]), state(begun), whole=False) == Verdict(records=3)
    leaps = [("a", 0, 1.0), ("b", 0, 1.0), ("a", 2, 2.0)]
    assert judge(inputs(GIVEN), answers(leaps), state(begun), whole=False).wrong == {"lost": 1, "doubled": 1}
    assert judge(inputs(GIVEN), answers(ANSWERED[:3]), state(GIVEN), whole=False).wrong == {"state_wrong": 2}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=12), st.data())
def test_one_answer_taken_away_is_always_seen(rows: list[tuple[str, int]], data: st.DataObject) -> None:
    numbers: Counter[str] = Counter()
    got = []
    for match, sequence in rows:
        numbers[match] += 1
        got.append((match, sequence, float(numbers[match])))
    assert judge(inputs(rows), answers(got), state(rows)).holds
    if got:
        got.pop(data.draw(st.integers(0, len(got) - 1)))
        assert judge(inputs(rows), answers(got), state(rows)).lost == 1


def test_a_stream_tells_poison_from_inputs_by_its_bytes() -> None:
    stream = Stream(InMemory(), "p")
    stream.feed(30)
    stream.feed_poison(3)
    stream.feed(3)
    assert stream.inputs().height == 33
    assert stream.poison().total() == 3
    verdict = stream.verdict()
    assert (verdict.records, verdict.lost, verdict.letters_lost) == (36, 33, 3)
    with pytest.raises(AssertionError, match="lost=33"):
        stream.check()


def test_the_stage_numbers_in_the_order_of_its_rows_and_its_digest_hangs_on_it() -> None:
    stage = CountingStage()
    table = stage.new_state()
    rows = pl.DataFrame({"match_id": ["a", "b", "a"], "sequence": [0, 7, 1], "_ingest_time_ms": [0, 0, 0]})
    out = stage(rows.with_columns(_partition=pl.Series(np.array([0, 1, 0]))), table)
    assert out["clock_s"].to_list() == [1.0, 1.0, 2.0]
    slots = table.slots(["a", "b"], [0, 1])
    assert table["seen"][slots].tolist() == [2, 1]
    assert table["digest"][slots].tolist() == [1 * 31 + 2, 8]


def test_a_feed_takes_its_matches_in_turn() -> None:
    frame = events(9, 13)
    assert frame["match_id"].to_list() == ["m9", "m10", "m0", "m1"]
    assert frame["sequence"].to_list() == [0, 0, 1, 1]
    assert len(encoded(frame)) == 4
