"""Form asked for while partitions are folded apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.features import deferred_form
from streaming.features.deferred_form import FormLedger, Question, settled_form
from streaming.features.form import POINTS, Elo, Rated, rating_key
from streaming.features.standings import Result

A, B, C = (rating_key("lol", "league", team) for team in ("a", "b", "c"))
SETTLE_MS = 120_000


def result(time_ms: int, a: str, b: str, a_won: bool, match: str = "m") -> Result:
    return Result(time_ms, match, 0, a, b, a_won, float("nan"))


def test_a_result_counts_from_its_settling_time_on_and_not_before() -> None:
    asked = [Question(A, B, SETTLE_MS), Question(A, B, SETTLE_MS + 1_000), Question(A, B, SETTLE_MS + 999)]
    forms = settled_form(asked, [result(1_000, A, B, True)])
    winner, loser = Elo().after(Rated(0.0, 0), Rated(0.0, 0), a_won=True, gold_lead=float("nan"))
    assert forms.tolist() == [0.0, (winner.rating - loser.rating) / POINTS, 0.0]


@settings(max_examples=50)
@given(
    results=st.lists(st.tuples(st.integers(0, 4_000_000), st.permutations([A, B, C]), st.booleans()), max_size=12),
    times=st.lists(st.integers(0, 5_000_000), min_size=1, max_size=8),
    seed=st.randoms(use_true_random=False),
)
def test_form_is_what_the_results_before_it_add_up_to(results: list[object], times: list[int], seed: object) -> None:
    """One result after another in the order of time, as the rule of `form` says; in whatever order they are given."""
    known = [result(t, teams[0], teams[1], won, f"m{n}") for n, (t, teams, won) in enumerate(results)]  # type: ignore[misc,attr-defined]
    shuffled = list(known)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    forms = settled_form([Question(A, B, time_ms) for time_ms in times], shuffled)
    for time_ms, form in zip(times, forms.tolist(), strict=True):
        rated = dict.fromkeys((A, B, C), Rated(0.0, 0))
        for one in sorted(known):
            if one.time_ms <= time_ms - SETTLE_MS:
                after = Elo().after(rated[one.team_a], rated[one.team_b], a_won=one.a_won, gold_lead=one.gold_lead)
                rated[one.team_a], rated[one.team_b] = after
        assert form == (rated[A].rating - rated[B].rating) / POINTS


def test_questions_are_answered_by_their_number() -> None:
    ledger = FormLedger()
    assert [ledger.form(A, B, 5), ledger.form(B, C, 6)] == [0.0, 1.0]
    assert ledger.record(result(1, A, B, True), 10) == 0 and len(ledger.results) == 1
    assert ledger.questions[1] == Question(B, C, 6)


def test_no_more_are_asked_than_a_frame_can_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.float32(deferred_form.MOST_QUESTIONS - 1) + 1 == deferred_form.MOST_QUESTIONS
    monkeypatch.setattr(deferred_form, "MOST_QUESTIONS", 1)
    ledger = FormLedger()
    ledger.form(A, B, 5)
    with pytest.raises(OverflowError, match="take a shorter range"):
        ledger.form(A, B, 6)
