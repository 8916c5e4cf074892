"""What is remembered of sessions, of users, and of each partition's time.

Every row belongs to a partition: a session's events share one, and what is known of a user is known where the user's
sessions are. What a user bought through other partitions the shop says at `login`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streaming.sessions.limits import KEEP, MINUTE_MS
from streaming.state import Column, Slots, StateTable

_NEVER = -1
DAY_MS = 24 * 3600 * 1000

PARTITION_LAYOUT = {
    "watermark_ms": Column(np.int64, default=-1),
    "newest_ms": Column(np.int64, default=-1),  # event time of the last row
    "minute_swept_ms": Column(np.int64, default=-1),  # sessions that were over then have been forgotten
    "day_ms": Column(np.int64, default=0),  # users that had not been seen for too long then have been forgotten
    "late_total": Column(np.int64),
    "disordered_total": Column(np.int64),
    "flooded_total": Column(np.int64),
    "bots_total": Column(np.int64),
    "sessions_total": Column(np.int64),
    "forgotten_total": Column(np.int64),
}
SESSION_LAYOUT = {
    "last_ms": Column(np.int64, default=_NEVER),  # of the newest event, never falling
    "run_ms": Column(np.int64),  # since the last pause: start,
    "run_events": Column(np.int64),  # events,
    "minute_ms": Column(np.int64, default=_NEVER),  # minute of the newest event,
    "minute_events": Column(np.int64),  # events in that,
    "is_bot": Column(np.bool_, default=False),  # whether it flooded
    "start_ms": Column(np.int64),  # of the session
    "events": Column(np.int64),
    "user": Column(str),
    "unit": Column(str),  # user at the session's start; empty: none was known
    "act_count": Column(np.int64),  # so many of the following are filled
    "act_items": Column(str),  # item ids, joined
    "act_kind": Column(np.int8, (KEEP,)),
    "act_ms": Column(np.int64, (KEEP,)),
    "basket": Column(str),  # item ids, joined
    "dwell_s": Column(np.float64),
    "search": Column(str),  # the newest
    "question": Column(str),
}
USER_LAYOUT = {"seen_ms": Column(np.int64, default=_NEVER)}
LAYOUT = {**PARTITION_LAYOUT, **SESSION_LAYOUT, **USER_LAYOUT, "bought": Column(str)}
"""State columns; a row uses those of its kind. `bought` is a session's, or a user's: item ids, joined."""

SEPARATOR = "\n"
"""Between ids that are joined: none has a control character."""


def partition_key(partition: int) -> str:
    """State key of a partition."""
    return f"@partition/{partition}"


def session_key(partition: int, session_id: str) -> str:
    """State key of a session."""
    return f"s/{partition}/{session_id}"


def user_key(partition: int, user_id: str) -> str:
    """State key of a user."""
    return f"u/{partition}/{user_id}"


def forget_user(partition: int, user_id: str, state: StateTable) -> None:
    """Erase all that is known of a user in a partition: what was bought, and the sessions, also what was done in
    them before the login."""
    sessions = _of(partition, state.keys_where(state["user"] == user_id))
    (at,) = state.slots([partition_key(partition)], [partition])
    state["forgotten_total"][at] += len(sessions)
    state.touch([partition_key(partition)])
    _erase([*sessions, user_key(partition, user_id)], state)


def forget_users_unseen(partition: int, day_ms: int, user_ms: int, state: StateTable) -> None:
    """Erase users who had not been seen for so long when this day began."""
    (at,) = state.slots([partition_key(partition)], [partition])
    state["day_ms"][at] = max(day_ms, int(state["day_ms"][at]))
    seen_ms = state["seen_ms"]
    _erase(_of(partition, state.keys_where((seen_ms != _NEVER) & (seen_ms < day_ms - user_ms))), state)


def forget_sessions_over(partition: int, gap_ms: int, state: StateTable) -> None:
    """Erase sessions that are over, once a minute of event time. It makes no difference to what is answered when this
    is done: an event that comes after that would begin a new session anyhow."""
    (at,) = state.slots([partition_key(partition)], [partition])
    now_ms = int(state["watermark_ms"][at]) // MINUTE_MS * MINUTE_MS
    if now_ms <= state["minute_swept_ms"][at]:
        return
    state["minute_swept_ms"][at] = now_ms
    last_ms = state["last_ms"]
    _erase(_of(partition, state.keys_where((last_ms != _NEVER) & (last_ms < now_ms - gap_ms))), state)


def _of(partition: int, keys: Sequence[str]) -> list[str]:
    prefixes = (session_key(partition, ""), user_key(partition, ""))
    return [key for key in keys if key.startswith(prefixes)]


def _erase(keys: Sequence[str], state: StateTable) -> None:
    """Forget these rows, of which some may not be there, in memory too: what a free slot holds would be found."""
    there = [key for key in keys if key in state]
    slots: Slots = state.slots(there)
    for name, column in state.layout.items():
        state[name][slots] = column.empty(1)[0]
    state.delete(there)
