"""Slopes: hand-computed ones, what noise, outliers and cycles do to them, and how often a flat series is called so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.slopes import LEAST_BLOCKS, Slope, Verdict, block_medians, slope

HOUR_S = 3600.0


def test_block_medians_by_hand() -> None:
    times = np.array([0.0, 10, 20, 30, 40, 50, 60])  # blocks [0, 10], [20, 30], [40, 50]; 60 is left over
    values = np.array([1.0, 3, np.nan, 7, np.nan, np.nan, 9])
    hours, medians = block_medians(times, values, 20.0)
    assert hours == pytest.approx([10 / HOUR_S, 30 / HOUR_S])
    assert medians == pytest.approx([2.0, 7.0])
    assert len(block_medians(times, np.full(7, np.nan), 20.0)[1]) == 0


def test_the_slope_is_the_median_of_the_slopes_of_all_pairs() -> None:
    # One sample a block: hours 0.5, 1.5, … and values 0, 1, 2, …, one of them 100 too high. Of the 45 pairs 9 have
    # that one in them, 4 slopes below and 5 above 1: the median stays 1.
    values = np.arange(10.0)
    values[4] += 100.0
    found = slope(np.arange(11.0) * HOUR_S, np.append(values, np.nan), HOUR_S)
    assert found is not None
    assert found.per_h == pytest.approx(1.0)
    assert found.low <= 1.0 <= found.high


def test_a_constant_is_flat_beyond_doubt() -> None:
    assert slope(np.arange(0.0, 3601, 10), np.full(361, 7.0), 300.0) == Slope(0.0, 0.0, 0.0)


def test_too_few_blocks_say_nothing() -> None:
    times = np.arange(0.0, 300.0 * LEAST_BLOCKS, 10)  # the last block is not whole
    assert slope(times, times, 300.0) is None
    assert slope(np.append(times, 300.0 * LEAST_BLOCKS), np.append(times, 0.0), 300.0) is not None


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-3.0, 10.0, Verdict.FLAT),
        (-30.0, -20.0, Verdict.FLAT),
        (10.1, 12.0, Verdict.GROWS),
        (10.0, 12.0, Verdict.UNCLEAR),
        (-1.0, 10.1, Verdict.UNCLEAR),
    ],
)
def test_a_verdict_is_where_the_interval_lies(low: float, high: float, verdict: Verdict) -> None:
    assert Slope((low + high) / 2, low, high).against(10.0) is verdict


@given(
    per_h=st.floats(-100, 100),
    start=st.floats(-1e4, 1e4),
    block_s=st.sampled_from([60.0, 120.0, 300.0]),
    h=st.just(1.0),
)
def test_a_straight_line_has_its_own_slope(per_h: float, start: float, block_s: float, h: float) -> None:
    times = np.arange(0.0, h * HOUR_S + 1, 10)
    found = slope(times, start + per_h * times / HOUR_S, block_s)
    assert found is not None
    assert [found.per_h, found.low, found.high] == pytest.approx([per_h] * 3, abs=1e-6 * max(1.0, abs(start)))


def series(seed: int, per_h: float) -> tuple[np.ndarray, np.ndarray]:
    """An hour of a process that collects its garbage every 240 s and wanders a little."""
    chance = np.random.default_rng(seed)
    times = np.arange(0.0, HOUR_S + 1, 10)
    saw = 20.0 * (times % 240.0) / 240.0
    return times, 500.0 + saw + chance.normal(0, 2, len(times)) + per_h * times / HOUR_S


def test_noise_and_cycles_are_no_growth_and_a_leak_under_them_is_seen() -> None:
    flat = [found.against(10.0) for seed in range(50) if (found := slope(*series(seed, 0.0), 240.0)) is not None]
    leak = [found.against(10.0) for seed in range(50) if (found := slope(*series(seed, 30.0), 240.0)) is not None]
    assert flat == [Verdict.FLAT] * 50
    assert leak == [Verdict.GROWS] * 50


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(400):
        chance = np.random.default_rng(seed)
        times = np.arange(0.0, HOUR_S + 1, 10)
        found = slope(times, 5.0 * times / HOUR_S + chance.normal(0, 3, len(times)), 240.0)
        assert found is not None
        held += found.low <= 5.0 <= found.high
    assert 0.92 <= held / 400 <= 0.985
