"""The meter: percentiles of what was received, and none of what was not."""

from __future__ import annotations

import numpy as np

from jobs.measure import Measured


def test_without_answers_there_is_no_latency() -> None:
    assert Measured(0, 0, None, np.empty(0)).percentiles() == {"p50": None, "p99": None}


def test_percentiles_of_answers() -> None:
    # 0, 1, …, 100: the median is 50, 99 of 100 steps below the end is 99.
    assert Measured(101, 1, 0.0, np.arange(101.0)).percentiles() == {"p50": 50.0, "p99": 99.0}
