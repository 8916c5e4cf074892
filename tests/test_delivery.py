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
from streaming.testing import every_row
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
    ("got", "repeated", "wrong"),
    [
        (ANSWERED, 0, {}),
        ([*ANSWERED, *ANSWERED[2:]], 3, {}),  # a whole batch again
        ([*ANSWERED[:3], ANSWERED[2], *ANSWERED[2:]], 2, {}),  # one answer three times
        ([*ANSWERED, ("a", 2, 4.0)], 1, {"altered": 1}),  # by a state that had counted it already
        ([*ANSWERED, ("a", 2, 4.0), ("a", 2, 4.0)], 2, {"altered": 1}),
        ([ANSWERED[2], *ANSWERED], 1, {"disordered": 1, "misnumbered": 2}),  # its first place counts
        ([*ANSWERED[:4], ANSWERED[3]], 1, {"lost": 1}),  # one too many does not make up for one too few
        ([*ANSWERED, ("z", 0, 1.0)], 0, {"doubled": 1}),  # an answer to nothing
    ],
)
def test_at_least_once_an_answer_may_come_again_if_it_is_the_same(
    got: list[tuple[str, int, float]], repeated: int, wrong: dict[str, int]
) -> None:
    verdict = judge(inputs(GIVEN), answers(got), state(GIVEN), repeats_allowed=True)
    assert verdict.wrong == wrong
    assert verdict.repeated == repeated
    assert verdict.holds is not bool(wrong)


def test_what_differs_in_a_column_beyond_is_not_the_same_and_a_dead_letter_may_come_again() -> None:
    got = answers([*ANSWERED, ANSWERED[0]])
    told = got.with_columns(value=pl.Series([b"1", b"2", b"3", b"4", b"5", b"other"]))
    letters = Counter([P1, P1])
    verdict = judge(inputs(GIVEN), told, state(GIVEN), poison=Counter([P1]), letters=letters, repeats_allowed=True)
    assert verdict == Verdict(records=6, repeated=1, altered=1)


def test_without_leave_a_repeat_is_a_double() -> None:
    assert judge(inputs(GIVEN), answers([*ANSWERED, ANSWERED[4]]), state(GIVEN)).wrong["doubled"] == 1


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


def test_a_stage_that_drops_repeats_neither_counts_nor_answers_them() -> None:
    stage = CountingStage(drops_repeats=True)
    table, answered = stage.new_state(), []
    for matches, sequences in (("aabaa", [0, 4, 0, 0, 4]), ("aaba", [4, 5, 1, 6])):
        rows = pl.DataFrame({"match_id": list(matches), "sequence": sequences})
        out = stage(rows.with_columns(_partition=pl.lit(0), _ingest_time_ms=pl.lit(0)), table)
        answered += out.select("match_id", "sequence", "clock_s").rows()
    once = [("a", 0), ("a", 4), ("b", 0), ("a", 5), ("b", 1), ("a", 6)]
    assert answered == [(*row, number) for row, number in zip(once, [1.0, 2.0, 1.0, 3.0, 2.0, 4.0], strict=True)]
    assert every_row(table).equals(every_row(state(once)))


def test_a_feed_takes_its_matches_in_turn() -> None:
    frame = events(9, 13)
    assert frame["match_id"].to_list() == ["m9", "m10", "m0", "m1"]
    assert frame["sequence"].to_list() == [0, 0, 1, 1]
    assert len(encoded(frame)) == 4
