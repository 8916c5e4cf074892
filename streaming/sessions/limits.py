"""When a session is over, and what is no shopper."""

from __future__ import annotations

from dataclasses import dataclass

from streaming.windows.definition import milliseconds

KEEP = 50
"""So many of a session's newest events of `model.ACTS` are remembered."""
KEEP_BOUGHT = 100
"""So many of the newest purchases of a session; and of a user, over all sessions:"""
KEEP_BOUGHT_BY_USER = 500

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Limits:
    """How events are cut into sessions, by event time in the order of their arrival.

    Args:
        gap_s: a pause longer than this ends a session; an event so far behind its partition's time is late.
        max_length_s, max_events: a visit longer than this goes on as a new session, so that none grows for ever.
        flood_per_min: who sends more events in a minute is no shopper: until the next pause of `gap_s` nothing more
            from there is answered or remembered, only counted.
        user_s: for how long what a user bought is remembered after it was last of use.

    Raises:
        ValueError: one is out of range.
    """

    gap_s: float = 1800.0
    max_length_s: float = 8 * 3600.0
    max_events: int = 500
    flood_per_min: int = 120
    user_s: float = 90 * 24 * 3600.0

    def __post_init__(self) -> None:
        for name in ("gap_s", "max_length_s", "user_s"):
            milliseconds(name, getattr(self, name))
        for name in ("max_events", "flood_per_min"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name} is {getattr(self, name)}, not from 1 to 1000000")

    @property
    def gap_ms(self) -> int:
        """As milliseconds."""
        return milliseconds("gap_s", self.gap_s)

    @property
    def max_length_ms(self) -> int:
        """As milliseconds."""
        return milliseconds("max_length_s", self.max_length_s)

    @property
    def user_ms(self) -> int:
        """As milliseconds."""
        return milliseconds("user_s", self.user_s)
