"""Which key holds at what time: one a camera and day, for as long as the camera may keep what it learns.

A look belongs to the UTC day on which it was captured. A day's key is destroyed when `retention_days` have passed since
that day *began*: nothing is ever readable for longer than the camera's configuration says, and what was captured late
on the day is kept some hours less. With one day of retention every look is forgotten at midnight UTC.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from streaming.topics import DAY_MS, Topic

SHORTEST_DAYS = 1
"""Of a camera of which nothing is known."""

_EPOCH = dt.date(1970, 1, 1)


def day_of(at_ms: int) -> int:
    """UTC days since 1970."""
    return at_ms // DAY_MS


def day_name(day: int) -> str:
    """As in 2026-11-23; what is out of the calendar is a number."""
    try:
        return (_EPOCH + dt.timedelta(days=day)).isoformat()
    except OverflowError:
        return str(day)


def day_named(name: str) -> int | None:
    """Of `day_name`; None if it is no day."""
    try:
        return (dt.date.fromisoformat(name) - _EPOCH).days
    except ValueError:
        return None


@dataclass(frozen=True)
class Retention:
    """How long what is learnt from each camera may be kept, in days; `SHORTEST_DAYS` of one that is not named.

    Raises:
        ValueError: less than a day.
    """

    days: Mapping[str, int]

    def __post_init__(self) -> None:
        if wrong := [name for name, days in self.days.items() if days < 1]:
            raise ValueError(f"camera {wrong[0]}: {self.days[wrong[0]]} days of retention; at least 1 is needed")

    def days_of(self, camera: str) -> int:
        """Of one camera."""
        return self.days.get(camera, SHORTEST_DAYS)

    @property
    def longest_days(self) -> int:
        """After so many days nothing is left that is there now."""
        return max(self.days.values(), default=SHORTEST_DAYS)

    def bounded(self, topic: Topic) -> Topic:
        """The topic, which tells of people whom any of the cameras saw, with a retention that all of them allow."""
        return replace(
            topic, retention_ms=min(topic.retention_ms, DAY_MS * min(self.days.values(), default=SHORTEST_DAYS))
        )

    def allows(self, camera: str, day: int, now_ms: int) -> bool:
        """Whether looks of this day may be known now. A camera's clock may be a little ahead, across midnight too."""
        return -1 <= day_of(now_ms) - day < self.days_of(camera)
