"""Where people are at each step, by what cameras saw of them: who has two names is one, who is out of sight is between.

Names come from looks, and are wrong now and then: one person is two, each seen by other cameras. But two people do not
stand in one place. So of names that stand within `SAME_PLACE_M` of one another, and that no camera shows side by side,
one counts. Its choice hangs on nothing but the names, so that it is the same in every window.

Cameras do not see all of the floor. Who is seen again, by whatever camera, was in the store meanwhile, and walked
straight from the one place to the other: the mean of what is possible where nothing else is known. That holds for gaps
of up to `MOST_MS`; and for longer ones, up to `MOST_INSIDE_MS`, of who is lost far from every entrance and found again
far from it, since who leaves is seen at the door: somebody stood where no camera sees. A gap in which the name was
another's second name says nothing, since it is not known whose it was.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streaming.event_time import Ints
from streaming.store.geometry import Bools, Floats

SAME_PLACE_M = 0.6
"""A body is half a metre wide, and places are off by a tenth or two."""
MOST_MS = 30_000
"""Out of sight for longer, nobody knows where they were: they may have left and come back."""
MOST_INSIDE_MS = 120_000
"""The same for who cannot have left; so far every window looks ahead and back."""


def doubles(placed: Bools, floor: Floats) -> Bools:
    """Who stands where somebody stands who is before them in the order of people, shown by none of the same cameras.

    Args:
        placed: (C, P, T) which cameras say where on the floor each of P people stands at each of T steps.
        floor: (P, T, 2) in metres, NaN where none does.

    Returns:
        (P, T); of three in one place, the second and third.
    """
    found: Bools = np.zeros(floor.shape[:2], bool)
    for step in np.flatnonzero(placed.any(axis=0).sum(axis=0) > 1).tolist():
        who = np.flatnonzero(placed[:, :, step].any(axis=0))
        there, cameras = floor[who, step], placed[:, who, step].astype(np.int64)
        apart_m = np.hypot(*np.moveaxis(there[:, None] - there[None], -1, 0))
        same = np.tril((apart_m < SAME_PLACE_M) & (cameras.T @ cameras == 0), -1)
        for row in np.flatnonzero(same.any(axis=1)).tolist():
            found[who[row], step] = bool((same[row] & ~found[who, step]).any())
    return found


def bridged(
    seen: Bools, floor: Floats, is_double: Bools, is_inside: Bools, most_steps: int, most_inside_steps: int
) -> tuple[Bools, Floats]:
    """Who is in the store, and where, with gaps of sight filled.

    Args:
        seen: (P, T) by any camera, and nobody's double.
        floor: (P, T, 2) where, NaN where nobody can tell.
        is_double: (P, T) of `doubles`.
        is_inside: (P, T) who is seen where nobody leaves the store from without being seen again.
        most_steps: a longer gap stays one,
        most_inside_steps: unless it begins and ends inside, and is no longer than this.

    Returns:
        (P, T) and (P, T, 2), anew.
    """
    present, places = seen.copy(), floor.copy()
    is_placed = seen & ~np.isnan(floor).any(axis=-1)
    for person in range(len(seen)):
        for last, again in _gaps(seen[person], is_double[person], most_steps):
            present[person, last:again] = True
        for last, again in _gaps(is_placed[person], is_double[person], max(most_steps, most_inside_steps)):
            if again - last - 1 > most_steps:
                if not (is_inside[person, last] and is_inside[person, again]):
                    continue
                present[person, last:again] = True
            share = (np.arange(last + 1, again) - last)[:, None] / (again - last)
            start = floor[person, last]
            places[person, last + 1 : again] = start + share * (floor[person, again] - start)
    return present, places


def _gaps(known: Bools, is_double: Bools, most_steps: int) -> Iterator[tuple[int, int]]:
    """The steps before and after each gap."""
    at: Ints = np.flatnonzero(known)
    length = np.diff(at) - 1
    for number in np.flatnonzero((length > 0) & (length <= most_steps)).tolist():
        last, again = int(at[number]), int(at[number + 1])
        if not is_double[last:again].any():
            yield last, again
