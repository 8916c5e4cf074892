"""The per-minute baseline: how it is fitted, read, and calibrated anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from streaming.features.baseline import NEUTRAL, SLOTS, Baseline, fit_baseline, newton, packaged_baselines, recalibrated
from streaming.features.catalogue import titles
from streaming.features.match_fold import fold_events
from streaming.simulators.match import simulate

FLAT = Baseline(
    title="lol", trained_on="nothing", sample_s=300.0, minutes=(0.0, 10.0), gold_weight=(0.0, 1e-3),
    form_weight=(1.0, 0.5), gold_spread=(100.0, 1_000.0), drift_edges=(0.0,), drift_shares=(0.5, 0.5),
)  # fmt: skip


def test_parts_lie_on_straight_lines_between_minutes_and_are_nothing_where_unknown() -> None:
    clock_s, gold, form = np.array([300.0, 6_000.0, 300.0]), np.array([1_000.0, 1_000.0, np.nan]), np.full(3, np.nan)
    by_gold, by_form = FLAT.parts(clock_s, gold, form)
    assert by_gold.tolist() == pytest.approx([0.5, 1.0, 0.0])
    assert by_form.tolist() == [0.0, 0.0, 0.0]
    assert FLAT.parts(np.array([600.0]), np.array([0.0]), np.array([2.0]))[1].tolist() == [1.0]
    assert FLAT.lead(np.array([300.0]), np.array([1_100.0])).tolist() == pytest.approx([2.0])


def test_a_file_comes_back_as_it_was_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.baseline.json"
    FLAT.save(path)
    assert Baseline.load(path) == FLAT
    path.write_text('{"title": "lol"}')
    with pytest.raises(ValueError, match=r"x\.baseline\.json: not a baseline.*jobs\.fit_baseline"):
        Baseline.load(path)
    dataclasses.replace(FLAT, gold_weight=(1.0,)).save(path)
    with pytest.raises(ValueError, match="lists of unequal length"):
        Baseline.load(path)


def test_every_title_ships_with_a_baseline_whose_weights_are_positive() -> None:
    assert sorted(packaged_baselines()) == list(titles())
    for baseline in packaged_baselines().values():
        assert min(baseline.gold_weight) > 0
        assert sum(baseline.drift_shares) == pytest.approx(1.0)


def test_a_fit_is_calibrated_on_matches_it_has_not_seen() -> None:
    fitted = fit_baseline(fold_events(simulate("hok", 400, 1).events), title="hok", trained_on="-", sample_s=120.0)
    frames = fold_events(simulate("hok", 300, 2).events)
    won = dict(frames.drop_nulls("winner").select("match_id", "winner").iter_rows())
    at = frames.filter(frames["clock_s"].is_between(360, 390))
    by_gold, by_form = fitted.parts(*(at[name].to_numpy().astype(np.float64) for name in ("clock_s", "gold", "form")))
    p = 1 / (1 + np.exp(-(by_gold + by_form)))
    y = np.array([won[match] == "A" for match in at["match_id"]])
    assert np.mean((p - y) ** 2) < 0.22
    assert abs(np.mean(p - y)) < 0.07


def test_too_few_matches_are_refused() -> None:
    frames = fold_events(simulate("hok", 20, 1).events)
    with pytest.raises(ValueError, match="fewer than 200 matches of hok"):
        fit_baseline(frames, title="hok", trained_on="-", sample_s=120.0)


def test_newton_finds_the_log_odds_of_a_frequency_and_stays_at_its_prior_without_data() -> None:
    x, y = np.ones((4, 1)), np.array([1.0, 1.0, 1.0, 0.0])
    assert newton(x, y, np.ones(4), np.zeros(1), np.full(1, 1e-9)).tolist() == pytest.approx([np.log(3)], abs=1e-6)
    assert newton(x[:0], y[:0], np.ones(0), np.full(1, 0.7), np.ones(1)).tolist() == [0.7]


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_calibration_follows_what_leads_are_worth(factor: float) -> None:
    rng = np.random.default_rng(4)
    by_gold = rng.normal(0, 2, (60, SLOTS))
    by_form, known = np.zeros_like(by_gold), np.zeros_like(by_gold)
    level = by_gold.mean(axis=1, keepdims=True) + np.zeros_like(by_gold)  # a match whose lead does not change
    level *= 6
    won = (rng.random(60) < 1 / (1 + np.exp(-factor * level[:, 0]))).astype(float)
    a, b, c = recalibrated(level, by_form, known, won, np.full_like(level, np.nan))
    assert (a - 1) * (factor - 1) > 0
    assert (b, c) == pytest.approx((1.0, 0.0))


def test_twice_the_leads_are_expected_to_be_worth_half_before_results_say_so() -> None:
    nothing = np.full((1, SLOTS), np.nan)
    lead = np.tile([2.0, -2.0], (1, SLOTS // 2))
    assert recalibrated(nothing, nothing, nothing, np.ones(1), lead).tolist() == [0.5, 1.0, 0.0]
    assert recalibrated(nothing, nothing, nothing, np.ones(1), lead / 2).tolist() == NEUTRAL.tolist()
