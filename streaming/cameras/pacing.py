"""Which frames of a source are wanted, and what time it is. Clocks are handed in."""

from __future__ import annotations

import time
from collections.abc import Callable

_LONGEST_GAP_S = 60.0
_EARLY = 0.25  # of the time between two: sources that jitter still give the rate that is asked for


class Sampler:
    """At most `fps` frames a second of source time, evenly: a source of 25 asked for 10 gives 10, not 8 or 12."""

    def __init__(self, fps: float) -> None:
        self._step_s = 1.0 / fps
        self._due_s = 0.0

    def wants(self, at_s: float) -> bool:
        """Whether the frame of this time is one of them; times never fall."""
        if at_s < self._due_s - _EARLY * self._step_s:
            return False
        # After a gap it goes on from now: what was missed is not made up for by a burst.
        self._due_s = max(self._due_s, at_s - _EARLY * self._step_s) + self._step_s
        return True


class SourceTimes:
    """When the frames of a recording are due, from 0: as far apart as it says they were. Where it says nothing, a clock
    that was set back, or a gap of more than a minute, the next frame is due a step later."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._stated_s: float | None = None
        self._at_s: float | None = None

    def next(self, stated_s: float | None) -> float:
        """Of the next frame, which says this of itself in seconds of any clock."""
        gap_s = self._step_s
        if stated_s is not None and self._stated_s is not None and 0 <= stated_s - self._stated_s <= _LONGEST_GAP_S:
            gap_s = stated_s - self._stated_s
        self._at_s = 0.0 if self._at_s is None else self._at_s + gap_s
        self._stated_s = stated_s
        return self._at_s


def steady_clock(
    wall_s: Callable[[], float] = time.time, monotonic_s: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """UTC in seconds as of now, from then on by the monotonic clock: who sets the machine's clock does not tear the
    times of a running camera."""
    offset_s = wall_s() - monotonic_s()
    return lambda: offset_s + monotonic_s()


def believed_ms(stated_ms: int | None, now_s: float, tolerance_s: float) -> tuple[int, bool]:
    """When a live frame was captured, UTC, and whether the camera's own word had to be set aside: its clock may be an
    hour wrong, or be set back."""
    now_ms = round(now_s * 1000.0)
    if stated_ms is None:
        return now_ms, False
    wrong = abs(stated_ms - now_ms) > tolerance_s * 1000.0
    return (now_ms if wrong else stated_ms), wrong
