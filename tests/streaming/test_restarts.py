"""The pauses before a dead worker's successor."""

from __future__ import annotations

from streaming.runners.restarts import PAUSES_S, STEADY_S, Restarts


def test_pauses_grow_with_deaths_in_a_row_up_to_the_longest() -> None:
    restarts = Restarts()
    assert [restarts.pause_s(0, lived_s=1.0) for _ in range(6)] == [*PAUSES_S, PAUSES_S[-1], PAUSES_S[-1]]


def test_workers_do_not_pay_for_one_another() -> None:
    restarts = Restarts()
    assert [restarts.pause_s(number, lived_s=1.0) for number in (0, 1, 0, 1)] == [0.0, 0.0, 0.5, 0.5]


def test_a_steady_life_ends_the_row() -> None:
    restarts = Restarts()
    assert [restarts.pause_s(0, lived_s) for lived_s in (1.0, 1.0, STEADY_S - 0.1, STEADY_S, 1.0)] == [
        0.0, 0.5, 2.0, 0.0, 0.5,
    ]  # fmt: skip
