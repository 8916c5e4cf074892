"""Bootstrap over matches: by hand where it can be, against plain figures where not."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.intervals import MEASURES, Frames, judge, resample_counts
from models import metrics


def many(matches: int = 60, frames: int = 8, seed: int = 0) -> tuple[Frames, np.ndarray]:
    chance = np.random.default_rng(seed)
    won = np.repeat((chance.random(matches) < 0.5).astype(float), frames)
    probs = np.clip(0.5 + 0.2 * (2 * won - 1) + chance.normal(0, 0.3, len(won)), 0.01, 0.99)
    return Frames(won, np.repeat(np.arange(matches), frames), matches), probs


def test_every_resample_draws_as_many_matches_as_there_are() -> None:
    counts = resample_counts(7, 50, seed=1)
    assert counts.shape == (50, 7) and (counts.sum(axis=1) == 7).all()
    assert (resample_counts(7, 50, seed=1) == counts).all() and (resample_counts(7, 50, seed=2) != counts).any()


@pytest.mark.parametrize("measure", MEASURES)
def test_a_resample_has_the_figure_of_the_frames_that_it_drew(measure: str) -> None:
    frames, probs = many()
    sampled = judge(frames, {"p": probs}, resamples=20, seed=3)["p"].samples[measure]
    counts = resample_counts(frames.matches, 20, seed=3)
    for row in range(20):
        drawn = np.repeat(np.arange(len(probs)), counts[row].astype(int)[frames.match])
        wanted = getattr(metrics, measure)(probs[drawn], frames.won[drawn])
        assert sampled[row] == pytest.approx(wanted, abs=1e-9)


def test_frames_of_a_match_count_as_one() -> None:
    """Ten copies of every frame say nothing new: the interval stays as wide."""
    frames, probs = many()
    copied = Frames(np.repeat(frames.won, 10), np.repeat(frames.match, 10), frames.matches)
    ours = judge(frames, {"p": probs})["p"].interval("log_loss")
    theirs = judge(copied, {"p": np.repeat(probs, 10)})["p"].interval("log_loss")
    assert ours == pytest.approx(theirs)


def test_a_difference_is_of_pairs() -> None:
    frames, probs = many()
    both = judge(frames, {"a": probs, "b": np.clip(probs + 1e-3, 0, 1)})
    apart = both["a"].difference(both["b"], "log_loss")
    assert apart is not None
    value, low, high = apart
    assert value == pytest.approx(both["b"].values["log_loss"] - both["a"].values["log_loss"])
    wide = both["a"].interval("log_loss")
    assert wide is not None and high - low < 0.1 * (wide[1] - wide[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Matches of 5 frames that share a coin: P = 0.7 is right 70 % of the time."""
    covered = 0
    chance = np.random.default_rng(0)
    for trial in range(100):
        won = np.repeat((chance.random(80) < 0.7).astype(float), 5)
        frames = Frames(won, np.repeat(np.arange(80), 5), 80)
        judged = judge(frames, {"p": np.full(400, 0.7)}, measures=["accuracy"], resamples=300, seed=trial)
        interval = judged["p"].interval("accuracy")
        assert interval is not None
        covered += interval[0] <= 0.7 <= interval[1]
    assert covered >= 87


def test_one_outcome_has_no_auc() -> None:
    frames = Frames(np.ones(4), np.arange(4), 4)
    judged = judge(frames, {"p": np.full(4, 0.6)}, resamples=10)["p"]
    assert np.isnan(judged.values["auc"]) and judged.interval("auc") is None
