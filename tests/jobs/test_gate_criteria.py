"""The gate's figures against bounds, on arrays small enough to work out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.gate.criteria import Bounds, Floats, admission, at_most, calibration, conclude, pace, quality
from jobs.gate.timing import WARM_UP, interleaved
from jobs.intervals import Frames
from models.metrics import ece
from models.verdict import Verdict

LAX = Bounds(matches=2, ece=1.0, slowdown=1.2)


def one_frame_each(won: Sequence[float] | npt.NDArray[Any]) -> Frames:
    return Frames(np.array(won, np.float64), np.arange(len(won)), len(won))


def drawn(matches: int, seed: int, frames: int = 4) -> tuple[Frames, Floats]:
    """Matches whose outcome was drawn from what is true of them, and that truth for every frame."""
    rng = np.random.default_rng(seed)
    truth = 1 / (1 + np.exp(-rng.normal(0, 2, matches)))
    match = np.repeat(np.arange(matches), frames)
    won = (rng.random(matches) < truth).astype(np.float64)
    return Frames(won[match], match, matches), truth[match]


def test_a_model_that_is_right_by_the_same_margin_everywhere_has_no_noise() -> None:
    won = np.array([1, 0] * 100)
    sure = np.where(won == 1, 0.8, 0.2)
    better, calibrated, not_worse = quality(one_frame_each(won), sure, np.full(200, 0.5), Bounds(ece=0.19))
    assert better.figure == pytest.approx(math.log(0.5 / 0.8)) and better.bound == 0.0 and better.passed
    assert calibrated.figure == pytest.approx(0.2) and not calibrated.passed  # said 0.8, came true always
    assert not not_worse.passed  # one half for half of the matches is calibrated
    assert [reason.passed for reason in quality(one_frame_each(won), np.full(200, 0.5), sure, LAX)] == [
        False,
        True,
        True,
    ]


@given(
    said=st.lists(st.floats(0, 1), min_size=2, max_size=30),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_a_model_never_beats_itself(said: list[float], seed: int) -> None:
    won = np.random.default_rng(seed).integers(0, 2, len(said))
    better, _, not_worse = quality(one_frame_each(won), np.array(said), np.array(said), LAX)
    assert better.figure == 0.0 and not better.passed
    assert not_worse.figure == 0.0 and not_worse.passed


def test_a_better_model_needs_enough_matches_to_be_told_from_luck() -> None:
    def passes(matches: int, seed: int) -> bool:
        frames, truth = drawn(matches, seed)
        timid = 0.5 + 0.6 * (truth - 0.5)
        return quality(frames, truth, timid, LAX)[0].passed

    assert all(passes(600, seed) for seed in range(5))
    assert sum(passes(12, seed) for seed in range(20)) < 10


def test_a_worse_model_is_not_let_through_by_luck() -> None:
    for seed in range(20):
        frames, truth = drawn(100, seed)
        assert not quality(frames, 0.5 + 0.3 * (truth - 0.5), truth, LAX)[0].passed


def test_calibration_may_be_worse_within_noise_only() -> None:
    frames, truth = drawn(600, seed=1)
    logit = np.log(truth / (1 - truth))
    slightly, far = 1 / (1 + np.exp(-1.02 * logit)), 1 / (1 + np.exp(-4.0 * logit))
    _, calibrated, not_worse = quality(frames, slightly, truth, Bounds())
    assert calibrated.passed and not_worse.passed
    _, calibrated, not_worse = quality(frames, far, truth, Bounds())
    assert not calibrated.passed and not not_worse.passed


def test_noise_alone_is_no_miscalibration() -> None:
    """On 200 matches nobody's calibration error is near 0, not even the truth's: 0.08 on average."""
    errors, passed = [], []
    for seed in range(20):
        frames, truth = drawn(200, seed)
        errors.append(ece(truth, frames.won))
        passed.append(calibration(frames, truth, Bounds()).passed)
    assert np.mean(errors) > 0.06 and sum(passed) >= 18


def test_what_luck_does_not_explain_is_miscalibration() -> None:
    for seed in range(10):
        frames, truth = drawn(400, seed)
        sure = 1 / (1 + np.exp(-3 * np.log(truth / (1 - truth))))
        reason = calibration(frames, sure, Bounds())
        assert not reason.passed and "luck makes more of it on 400 matches" in reason.criterion


def test_on_a_long_window_the_bound_is_what_was_asked() -> None:
    frames, truth = drawn(3000, seed=5)
    reason = calibration(frames, truth, Bounds())
    assert reason.bound == 0.05 and reason.passed and "luck" not in reason.criterion


def test_the_first_version_has_to_beat_the_base_rate() -> None:
    frames, truth = drawn(300, seed=2)
    better, calibrated = quality(frames, truth, None, Bounds(ece=0.1))
    assert better.passed and calibrated.passed and "the base rate" in better.criterion
    constant: Floats = np.full_like(truth, frames.won.mean())
    better, calibrated = quality(frames, constant, None, Bounds())
    assert not better.passed and calibrated.figure == pytest.approx(0.0)


def test_too_few_matches_say_how_many_are_missing() -> None:
    enough, unseen = admission(40, 0, Bounds(matches=200))
    assert (
        not enough.passed and (enough.figure, enough.bound) == (40, 200) and "(160 more are needed" in enough.criterion
    )
    assert unseen.passed
    enough, _ = admission(200, 0, Bounds(matches=200))
    assert enough.passed and "needed" not in enough.criterion


def test_matches_that_taught_the_candidate_or_may_have_are_no_window() -> None:
    _, unseen = admission(300, 1, Bounds())
    assert not unseen.passed and unseen.figure == 1
    _, unseen = admission(300, None, Bounds())
    assert not unseen.passed and unseen.figure is None and "does not say" in unseen.criterion


def test_pace_is_the_median_of_ratios_within_rounds() -> None:
    reason = pace("one frame", [1.0, 2.0, 30.0], [1.0, 1.0, 10.0], Bounds())
    assert (reason.figure, reason.bound, reason.passed) == (2.0, 1.2, False)
    interrupted = pace("one frame", [1.0, 1.0, 100.0, 1.0, 1.0], [1.0] * 5, Bounds())
    assert interrupted.figure == 1.0 and interrupted.passed
    slow_machine = pace("one frame", [1.0, 5.0, 9.0], [1.0, 5.0, 9.0], Bounds())
    assert slow_machine.figure == 1.0
    alone = pace("one frame", [0.2, 0.1, 0.3], None, Bounds())
    assert (alone.figure, alone.bound, alone.passed) == (0.2, None, True)


def test_two_models_take_turns_in_being_first() -> None:
    now, order = [0.0], []

    def work(name: str, takes_s: float) -> None:
        order.append(name)
        now[0] += takes_s

    first_s, second_s = interleaved(lambda: work("a", 0.25), lambda: work("b", 0.5), rounds=4, clock=lambda: now[0])
    assert (first_s, second_s) == ([0.25] * 4, [0.5] * 4)
    assert "".join(order[2 * WARM_UP :]) in ("abbaabba", "baabbaab")
    assert interleaved(lambda: work("a", 0.25), None, rounds=2, clock=lambda: now[0]) == ([0.25] * 2, None)


def test_what_could_not_be_measured_does_not_pass() -> None:
    assert not at_most("x", math.nan, 1.0).passed and at_most("x", 1.0, 1.0).passed


def test_one_criterion_is_enough_to_fail() -> None:
    words = {"against": "m@1", "window": "last week", "created": "2026-11-22T12:00:00+00:00"}
    assert conclude([at_most("a", 0.0), at_most("b", 0.0)], **words).passed
    verdict = conclude([at_most("a", 0.0), at_most("b", math.nan)], **words)
    assert not verdict.passed
    kept = Verdict.from_json(verdict.to_json())
    assert kept.reasons[1].figure is None and (kept.against, kept.window) == ("m@1", "last week")
