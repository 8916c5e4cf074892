"""Where people are at each step, by what cameras saw of them: whoever is seen in one place is one person, who is in two
places is two, and who is out of sight is between.

Names come from looks, and are wrong now and then. One person is two, each seen by other cameras; but two people do not
stand in one place. So of names that stand within `SAME_PLACE_M` of one another, and that no camera shows side by side,
one counts. And two people have one name; but nobody is in two places. So what a camera sees `TWO_PLACES_M` away from
where the name is seen already is somebody else. These choices hang on nothing but names, cameras and tracks, so that
they are the same in every window.

Cameras do not see all of the floor. Who is found in the store was in it since they were lost, and walked straight from
the one place to the other: the mean of what is possible where nothing else is known. But who is seen meanwhile as the
second name of somebody was not out of sight, and counts there. Who was lost is whom `streaming.store.reappearing`
finds: mostly somebody of that name, but two may have swapped theirs. That holds for gaps of up to `MOST_MS`; and for
longer ones, up to `MOST_INSIDE_MS`, where it is known how far from every entrance somebody stands.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streaming.event_time import Ints
from streaming.store.geometry import Bools, Floats
from streaming.store.reappearing import Runs, reappeared

SAME_PLACE_M = 0.6
"""A body is half a metre wide, and places are off by a tenth or two."""
TWO_PLACES_M = 1.2
"""So far apart do cameras hardly ever put one person."""
MOST_MS = 30_000
"""Out of sight for longer, nobody knows where they were: they may have left and come back."""
MOST_INSIDE_MS = 120_000
"""The same where entrances are on the floor; so far every window looks ahead and back."""


def elsewhere(person: Ints, step: Ints, points: Floats, placed: Bools) -> Bools:
    """Which sightings are of somebody else than their name says, as the name is seen `TWO_PLACES_M` away at that step.

    Args:
        person: (N,) by number, of slices in an order that is the same in every window: the first of a name is believed.
        step: (N, F) of each sighting.
        points: (N, F, 2) in metres where it is `placed`.
        placed: (N, F) at most one of a slice and step.

    Returns:
        (N, F); all sightings of a slice in one step alike.
    """
    stray: Bools = np.zeros(step.shape, bool)
    row, column = np.nonzero(placed)
    at = person[row] * (step.max(initial=0) + 1) + step[row, column]
    _, first, group = np.unique(at, return_index=True, return_inverse=True)
    apart_m = np.hypot(*(points[row, column] - points[row, column][first[group]]).T)
    for slice_row, when in zip(row[apart_m > TWO_PLACES_M], step[row, column][apart_m > TWO_PLACES_M], strict=True):
        stray[slice_row] |= step[slice_row] == when
    return stray


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
        is_double: (P, T) who is seen in somebody's place, and counts there: of two names of one person, the second.
        is_inside: (P, T) who is seen where nobody leaves the store from without being seen again.
        most_steps: a longer gap stays one, if nobody can tell where it begins or ends,
        most_inside_steps: and if they can, one that is longer than this too.

    Returns:
        (P, T) and (P, T, 2), anew. Who is found by another name was there by the first until that is seen elsewhere.
    """
    present, places = seen.copy(), floor.copy()
    is_placed = seen & ~np.isnan(floor).any(axis=-1)
    for person in range(len(seen)):
        for last, again in _gaps(seen[person], most_steps):
            present[person, last:again] |= not (is_placed[person, last] and is_placed[person, again])
    runs = Runs.of(is_placed)
    until, since = runs.until(seen.shape[1]), runs.since()
    others = list[tuple[int, Ints, Floats]]()
    for lost, found in reappeared(runs, is_placed, floor, is_inside, max(most_steps, most_inside_steps)):
        last, again = int(runs.last[lost]), int(runs.first[found])
        two, steps = runs.person[[lost, found]], np.arange(last + 1, again)
        steps = steps[~is_double[np.ix_(two, steps)].any(axis=0)]
        start, end = floor[two[0], last], floor[two[1], again]
        way = start + ((steps - last) / (again - last))[:, None] * (end - start)
        is_first = steps < until[lost]
        present[two[0], steps[is_first]], places[two[0], steps[is_first]] = True, way[is_first]
        is_second = ~is_first & (steps > since[found])
        others.append((int(two[1]), steps[is_second], way[is_second]))
    for person, steps, way in others:
        is_free = np.isnan(places[person, steps]).any(axis=-1)
        present[person, steps[is_free]], places[person, steps[is_free]] = True, way[is_free]
    return present, places


def _gaps(known: Bools, most_steps: int) -> Iterator[tuple[int, int]]:
    """The steps before and after each gap."""
    at: Ints = np.flatnonzero(known)
    length = np.diff(at) - 1
    for number in np.flatnonzero((length > 0) & (length <= most_steps)).tolist():
        yield int(at[number]), int(at[number + 1])
