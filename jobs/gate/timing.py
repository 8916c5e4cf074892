"""Times of two models on the same work, in one process and in turn: whatever else the machine does meets both."""

from __future__ import annotations

import time
from collections.abc import Callable

Work = Callable[[], object]

WARM_UP = 3
"""Rounds that are not counted."""


def interleaved(
    first: Work, second: Work | None, *, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[list[float], list[float] | None]:
    """Seconds of each round of both; they take turns in being the first of a round: ABBAABBA.

    Args:
        first: what to time.
        second: to time beside it, if any.
        rounds: that count, R.
        clock: monotonic, in seconds.
    """
    work = [first] if second is None else [first, second]
    times: list[list[float]] = [[] for _ in work]
    for number in range(-WARM_UP, rounds):
        order = range(len(work)) if number % 2 else range(len(work) - 1, -1, -1)
        for place in order:
            began = clock()
            work[place]()
            took = clock() - began
            if number >= 0:
                times[place].append(took)
    return times[0], (None if second is None else times[1])
