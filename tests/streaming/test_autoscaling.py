"""The autoscaling policy in a simulation of a stream and its workers, second by second: on steps and waves of load it
overshoots at most once, lag comes back below the target and stays there, and workers do not come and go."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.runners.autoscaling import AutoscalingPolicy, Observation, Scale

Load = Callable[[float], float]  # seconds to records/s

PARTITIONS = 12
PAUSE_S = 1  # nobody reads while partitions move


@dataclass
class Simulated:
    """A stream, its workers, and a policy that is asked every second about what was so a second ago.

    A worker takes `worker_per_s` records a second, comes `start_up_s` after it was asked for, and leaves at once.
    """

    policy: AutoscalingPolicy
    load: Load
    worker_per_s: float
    start_up_s: int
    noise: float = 0.0
    seed: int = 0
    # by second:
    workers: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    lag_s: list[float] = field(default_factory=list)

    def run(self, seconds: int) -> Simulated:
        rng = np.random.default_rng(self.seed)
        scale, ready, due = self.policy.first(), self.policy.minimum, deque[int]()
        arrived, answered, pause = [0.0], [0.0], 0
        oldest = 0  # the second at whose end not everything that had arrived by then was answered
        seen: deque[Observation] = deque(maxlen=2)
        for now in range(1, seconds + 1):
            while due and due[0] <= now:
                due.popleft()
                ready, pause = ready + 1, PAUSE_S
            speed = 0.0 if pause else ready * self.worker_per_s * (1 + self.noise * rng.uniform(-1, 1))
            pause = max(0, pause - 1)
            arrived.append(arrived[-1] + self.load(now) * (1 + self.noise * rng.uniform(-1, 1)))
            answered.append(min(arrived[-1], answered[-1] + speed))
            while oldest < now and arrived[oldest] <= answered[-1] + 1e-6:
                oldest += 1
            behind = arrived[-1] - answered[-1]
            self.lag_s.append(now - oldest + 1 if behind > 1e-6 else 0.0)
            window = min(now, 2)
            seen.append(
                Observation(
                    time_s=now,
                    lag_s=self.lag_s[-1],
                    backlog=round(behind),
                    arrival_per_s=(arrived[-1] - arrived[-1 - window]) / window,
                    answered_per_s=(answered[-1] - answered[-1 - window]) / window,
                    workers=ready,
                    starting=len(due),
                )
            )
            scale = self.policy.decide(scale, seen[0])
            while ready + len(due) < scale.wanted:
                due.append(now + self.start_up_s)
            while ready + len(due) > scale.wanted:
                if due:
                    due.pop()
                else:
                    ready, pause = ready - 1, PAUSE_S
            self.workers.append(ready)
            self.wanted.append(scale.wanted)
        return self

    @property
    def moves(self) -> list[tuple[int, int]]:
        """(second, by how many) of every decision that changed something."""
        steps = np.diff([self.policy.minimum, *self.wanted])
        return [(int(at) + 1, int(steps[at])) for at in np.flatnonzero(steps)]

    @property
    def overshoots(self) -> int:
        """How often workers left though the load had not fallen since the last of them came: they had been too many.
        Those who leave one after another are one overshoot."""
        count, risen_at, counted = 0, 0, False
        for at, by in self.moves:
            if by > 0:
                risen_at, counted = at, False
            elif not counted and self.load(at) >= 0.999 * self.load(risen_at):
                count, counted = count + 1, True
        return count

    @property
    def turns(self) -> int:
        """How often coming was followed by leaving."""
        signs = [math.copysign(1, by) for _, by in self.moves]
        return sum(before > 0 > after for before, after in pairwise(signs))


def policy(start_up_s: float, maximum: int = PARTITIONS, minimum: int = 1, **given: float) -> AutoscalingPolicy:
    return AutoscalingPolicy(minimum, maximum, start_up_s, **given)


def step(before: float, after: float, at: float) -> Load:
    return lambda t: before if t < at else after


def wave(mean: float, swing: float, period_s: float) -> Load:
    return lambda t: mean + swing * math.sin(2 * math.pi * t / period_s)


def test_a_step_up_is_met_with_one_overshoot_at_most_and_a_step_down_is_followed() -> None:
    def load(t: float) -> float:
        return 6_500.0 if 120 <= t < 900 else 500.0

    run = Simulated(policy(start_up_s=10), load, worker_per_s=1_000, start_up_s=10).run(1_500)
    assert run.overshoots <= 1
    up = [by for at, by in run.moves if at < 900]
    assert max(run.workers) > 7, "the backlog of the start-up asks for more than the load does"
    assert [by > 0 for by in up] == sorted((by > 0 for by in up), reverse=True), "they come, then leave"
    assert run.workers[899] == 9  # 6,500 / (0.8 × 1,000)
    assert max(run.lag_s[300:900]) <= 5
    assert run.workers[-1] == 1
    assert max(run.lag_s[900:]) <= 5, "those who leave are not missed"


def test_a_wave_is_followed_with_one_overshoot_at_most() -> None:
    run = Simulated(policy(start_up_s=15), wave(4_000, 3_000, 600), 1_000, start_up_s=15).run(3_600)
    assert run.overshoots <= 1
    assert 1 <= run.turns <= 6, "at most once a period"
    assert max(run.lag_s[600:]) <= 5, "after the first period it knows what a worker can take"
    assert min(run.workers[600:]) < 4 < 7 <= max(run.workers[600:])


def test_more_load_than_all_can_take_gets_all_and_keeps_them() -> None:
    run = Simulated(policy(start_up_s=5, maximum=4), step(500, 9_000, 60), 1_000, start_up_s=5).run(900)
    assert run.workers[-1] == 4
    assert [by for _, by in run.moves] == [3]


def test_a_backlog_from_before_the_start_is_worked_off_and_then_they_leave() -> None:
    run = Simulated(policy(start_up_s=5), lambda t: 180_000.0 if t <= 1 else 100.0, 1_000, start_up_s=5).run(600)
    assert max(run.workers) > 1
    assert run.lag_s.index(0.0 if 0.0 in run.lag_s else 1.0) < 120
    assert run.workers[-1] == 1
    assert run.turns == 1


@settings(max_examples=40)
@given(
    before=st.floats(0.0, 3_000.0),
    after=st.floats(50.0, 7_000.0),
    worker_per_s=st.floats(600.0, 2_000.0),
    start_up_s=st.integers(1, 40),
    noise=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 1_000),
)
def test_any_step(before: float, after: float, worker_per_s: float, start_up_s: int, noise: float, seed: int) -> None:
    at, seconds = 400, 1_600
    made = policy(start_up_s=start_up_s)
    run = Simulated(made, step(before, after, at), worker_per_s, start_up_s, noise, seed).run(seconds)
    assert all(1 <= wanted <= PARTITIONS for wanted in run.wanted)
    since = [by > 0 for moved_at, by in run.moves if moved_at >= at]
    assert sum(a and not b for a, b in pairwise(since)) <= 1, "one overshoot at most"
    assert sum(b and not a for a, b in pairwise(since)) == 0, "no flapping"
    if not noise and after <= 0.8 * PARTITIONS * worker_per_s:  # with noise one may just do, and then not
        assert max(run.lag_s[-300:]) <= made.target_lag_s
        assert len(set(run.workers[-300:])) == 1, "it has settled"


@settings(max_examples=40)
@given(
    mean=st.floats(1_000.0, 5_000.0),
    swing=st.floats(0.1, 0.9),
    period_s=st.integers(300, 1_200),
    worker_per_s=st.floats(900.0, 3_000.0),
    start_up_s=st.integers(1, 40),
)
def test_any_wave(mean: float, swing: float, period_s: int, worker_per_s: float, start_up_s: int) -> None:
    periods = 4
    made = policy(start_up_s=start_up_s)
    load = wave(mean, swing * mean, period_s)
    run = Simulated(made, load, worker_per_s, start_up_s).run(periods * period_s)
    assert all(1 <= wanted <= PARTITIONS for wanted in run.wanted)
    assert run.overshoots <= 1
    assert run.turns <= periods
    steepness = 2 * math.pi * swing * start_up_s / period_s  # most that the load changes in a start-up, of its mean
    if steepness <= 0.15 and mean * (1 + swing) <= 0.8 * PARTITIONS * worker_per_s:
        assert np.mean(np.asarray(run.lag_s[period_s:]) > made.target_lag_s) < 0.05
        assert max(run.lag_s[period_s:]) <= 2 * made.target_lag_s


def at(time_s: float, lag_s: float = 0.0, **other: float) -> Observation:
    given: dict[str, float] = {"backlog": 0, "arrival_per_s": 1_000.0, "answered_per_s": 500.0, "workers": 1} | other
    return Observation(time_s=time_s, lag_s=lag_s, **given)  # type: ignore[arg-type]


def decided(made: AutoscalingPolicy, *observations: Observation) -> Scale:
    scale = made.first()
    for seen in observations:
        scale = made.decide(scale, seen)
    return scale


def test_lag_without_any_answer_is_no_reason_for_more() -> None:
    fine = [at(second, arrival_per_s=500.0, lag_s=3) for second in range(5)]
    stuck = [at(second, lag_s=second, backlog=second * 1_000, answered_per_s=0.0) for second in range(5, 60)]
    assert decided(policy(start_up_s=5), *stuck).wanted == 1
    known = decided(policy(start_up_s=5), *fine)
    assert known.worker_per_s == 500.0
    assert decided(policy(start_up_s=5), *fine, *stuck).wanted == known.wanted


def test_by_hand() -> None:
    made = policy(start_up_s=10)
    seen = [at(0, 0), at(1, 3, backlog=1_500), at(2, 4, backlog=2_000)]
    # One can take 500/s, so in 10 s lag is 4 + 10 × (1 − 500/1,000) = 9 s, and the backlog 2,000 + 500 × 10 = 7,000:
    # 2,000 more than 5 s hold, so 1,000/s + 2,000/60 s, or by load 1,000 / (0.8 × 500) = 3.
    scale = decided(made, *seen)
    assert (scale.worker_per_s, scale.wanted) == (500.0, 3)
    assert made.decide(scale, at(3, 5, backlog=2_500, starting=2)).wanted == 3, "who is starting counts"
    assert made.decide(scale, at(3, 5, backlog=2_500, starting=2, arrival_per_s=4_000)).wanted == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"minimum": 0, "maximum": 2}, "not 0 and 2"),
        ({"minimum": 3, "maximum": 2}, "not 3 and 2"),
        ({"minimum": 1, "maximum": 2, "target_lag_s": 1.0}, "must be longer"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AutoscalingPolicy(start_up_s=1.0, **given)  # type: ignore[arg-type]
