"""Two contenders on one window: which criteria are looked at, and that one missed is enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jobs.datasets import MatchSet
from jobs.errors import UsageProblem
from jobs.gate import judge
from jobs.gate.contender import Contender
from jobs.gate.criteria import CANDIDATE, LIVE, Bounds
from jobs.gate.judge import Weighed, refuse_one_class, weigh
from tests.gate_contenders import Floats, Linear, gold_window

LAX = Bounds(matches=100, ece=1.0, slowdown=1.2)
GOOD, TIMID = Linear(1.0), Linear(0.2)


@pytest.fixture(autouse=True)
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both contenders take the same time, whatever this machine does."""
    monkeypatch.setattr(judge, "interleaved", lambda first, second, rounds: ([1.0], None if second is None else [1.0]))


def found(
    candidate: Contender, live: Contender | None = TIMID, *, matches: int = 300, learned_from: int | None = 0
) -> Weighed:
    return weigh(gold_window(matches), candidate, live, learned_from=learned_from, bounds=LAX)


def missed(weighed: Weighed) -> list[str]:
    return [reason.criterion for reason in weighed.reasons if not reason.passed]


def test_a_better_model_passes_by_every_criterion() -> None:
    weighed = found(GOOD)
    assert missed(weighed) == [] and len(weighed.reasons) == 11
    assert set(weighed.probs) == {CANDIDATE, LIVE} and weighed.probs[CANDIDATE].shape == (300 * 6,)
    assert weighed.median_s == {
        what: {CANDIDATE: 1.0, LIVE: 1.0} for what in ("one frame alone", "a batch of 512 frames")
    }


def test_the_live_model_itself_does_not_pass() -> None:
    (only,) = missed(found(TIMID, TIMID))
    assert only.startswith("log-loss")


def test_the_first_version_is_compared_with_the_base_rate() -> None:
    weighed = found(GOOD, None)
    assert missed(weighed) == [] and len(np.unique(weighed.probs[LIVE])) == 1
    assert all(set(times) == {CANDIDATE} for times in weighed.median_s.values())
    assert len(missed(found(Linear(0.0), None))) == 1


@pytest.mark.parametrize(
    ("matches", "learned_from", "words"),
    [(99, 0, "(1 more are needed"), (300, 2, "has learned from"), (300, None, "does not say")],
)
def test_nothing_is_judged_on_a_window_that_says_nothing(matches: int, learned_from: int | None, words: str) -> None:
    weighed = found(GOOD, matches=matches, learned_from=learned_from)
    (only,) = missed(weighed)
    assert words in only and len(weighed.reasons) == 2 and weighed.probs == {}


def _overstated(matches: MatchSet, logits: Floats, contributions: Floats) -> tuple[Floats, Floats]:
    return logits, 1.01 * contributions


def _prophetic(matches: MatchSet, logits: Floats, contributions: Floats) -> tuple[Floats, Floats]:
    seen = contributions.copy()
    seen[..., 0] += 0.5 * logits[:, -1:]
    return seen.sum(axis=2), seen


@pytest.mark.parametrize(("spoil", "words"), [(_overstated, "contributions that miss"), (_prophetic, "later frames")])
def test_a_broken_promise_outweighs_any_log_loss(
    spoil: Callable[[MatchSet, Floats, Floats], tuple[Floats, Floats]], words: str
) -> None:
    weighed = found(Linear(1.0, spoil))
    (only,) = missed(weighed)
    assert words in only
    assert next(reason for reason in weighed.reasons if reason.criterion.startswith("log-loss")).passed


def test_a_slow_model_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "interleaved", lambda first, second, rounds: ([1.3] * 3, [1.0] * 3))
    weighed = found(GOOD)
    assert [words.partition(",")[0] for words in missed(weighed)] == [
        "time for one frame alone",
        "time for a batch of 512 frames",
    ]


def _silent(matches: MatchSet, logits: Floats, contributions: Floats) -> tuple[Floats, Floats]:
    return np.where(np.arange(logits.shape[1]) == 3, np.nan, logits), contributions


def test_a_candidate_that_is_silent_in_places_is_not_compared() -> None:
    weighed = found(Linear(1.0, _silent))
    lost = weighed.reasons[2]
    assert "without a finite answer" in lost.criterion and (lost.figure, lost.passed) == (300, False)
    assert weighed.probs == {}


def test_a_live_model_that_is_silent_is_said_to_be() -> None:
    with pytest.raises(UsageProblem, match="the live model gives no finite answer for 300 frames"):
        found(GOOD, Linear(1.0, _silent))


@pytest.mark.parametrize(("won", "camp"), [(1.0, "A"), (0.0, "B")])
def test_a_window_of_one_outcome_is_refused(won: float, camp: str) -> None:
    window = gold_window(4)
    window.won[:] = won
    with pytest.raises(UsageProblem, match=f"camp {camp} has won all of these 4 matches"):
        refuse_one_class(window)
    window.won[0] = 1 - won
    refuse_one_class(window)
