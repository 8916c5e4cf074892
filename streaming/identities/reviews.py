"""When it is asked again who somebody is: at ages of a track, and of a person with all tracks so far.

And of whoever is seen, every few seconds: whether somebody else is the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streaming.identities.memory import Memory
from streaming.state import Slots

TRACK_AGES_MS = (2_500, 5_000)
PERSON_AGES_MS = (2_000, 4_000, 8_000, 16_000)
UNION_EVERY_MS = 10_000

_OLDEST_MS = max(*TRACK_AGES_MS, *PERSON_AGES_MS)


def steps(since_ms: int, until_ms: int, step_ms: int) -> range:
    """Ends of the steps in which something may be due, after a pause those of the last tracks only."""
    return range(max(since_ms, until_ms - _OLDEST_MS - step_ms) + step_ms, until_ms + 1, step_ms)


def due(memory: Memory, end_ms: int, step_ms: int) -> Iterator[Slots]:
    """Tracks to be asked about together, as a step ends: one of a person who has others, or all of a young person.

    What one answer changes is known to the next question.
    """
    state = memory.state
    slots = memory.decided(end_ms - 2 * _OLDEST_MS)
    age_ms = end_ms - state["first_ms"][slots]
    for slot in slots[_reaches(age_ms, TRACK_AGES_MS, step_ms)].tolist():
        person = int(state["person"][slot])
        if person and len(memory.tracks_of(person)) > 1:
            yield np.array([slot])
    for person in np.unique(state["person"][slots[age_ms <= _OLDEST_MS]]).tolist():
        mine = memory.tracks_of(person)
        if person and len(mine) and _reaches(end_ms - state["first_ms"][mine].min(), PERSON_AGES_MS, step_ms):
            yield mine


def unions(memory: Memory, end_ms: int, step_ms: int) -> list[int]:
    """Persons of whom it is asked, as a step ends, whether somebody else is the same: of those seen of late some in
    each step, so that all steps cost the same."""
    turns = max(1, UNION_EVERY_MS // step_ms)
    persons = np.unique(memory.state["person"][memory.decided(end_ms - 2 * UNION_EVERY_MS)])
    mine: list[int] = persons[(persons > 0) & ((persons + end_ms // step_ms) % turns == 0)].tolist()
    return mine


def _reaches(age_ms: np.ndarray, ages_ms: tuple[int, ...], step_ms: int) -> np.ndarray:
    """Which of these were below one of the ages before the step, and are not any more."""
    ages = np.array(ages_ms)
    passed = (age_ms[..., None] >= ages) & (age_ms[..., None] - step_ms < ages)
    return np.asarray(passed.any(axis=-1))
