"""Figures of features: the Fréchet distance and the linear probe, by hand and by what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.frechet import frechet_distance
from models.metrics.probe import linear_probe


def test_of_one_number_it_is_means_and_deviations_apart() -> None:
    # Means 0 and 5, standard deviations √2 and 3√2: 25 + (3√2 - √2)².
    assert frechet_distance([[-1.0], [1.0]], [[2.0], [8.0]]) == pytest.approx(25 + 8)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_of_a_set_and_itself_it_is_nothing_and_a_shift_is_its_square(seed: int) -> None:
    chance = np.random.default_rng(seed)
    rows, other = chance.normal(size=(2, 12, 3))
    shift = chance.normal(size=3)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(rows, rows + shift) == pytest.approx((shift**2).sum())
    assert frechet_distance(rows, other) == pytest.approx(frechet_distance(other, rows))


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="two tables of one width"):
        frechet_distance(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="two rows at least"):
        frechet_distance(np.zeros((1, 2)), np.zeros((3, 2)))


def test_a_probe_reads_what_a_line_can_tell_and_no_more() -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(400) % 4
    told = np.eye(4)[labels] + 0.1 * chance.normal(size=(400, 4))
    judge = np.arange(400) >= 200
    assert linear_probe(told, labels, judge) == 1
    assert linear_probe(chance.normal(size=(400, 4)), labels, judge) < 0.4
    with pytest.raises(ValueError, match="rows to learn from"):
        linear_probe(told, labels, np.ones(400, bool))
