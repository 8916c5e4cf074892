"""What places on the floor plan say of who is who, as ratios against anybody anywhere in the view of a camera.

Places are where boxes touch the floor (`streaming.features.floor`); each is off by about `PLACE_M` in either direction,
by the error of the box and by feet that are not below the head. Between two sightings somebody stands, strolls or walks
off: the spread grows with time, and stops growing where the store ends.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

VIEW_M2 = 30.0
"""Floor that a camera sees: what a place says is worth is counted against it."""
PLACE_M = 0.25
WANDER_M_PER_S, FARTHEST_M = 1.0, 8.0
MOMENTS = 3.0
"""Errors of one camera about one person persist: a comparison of many moments is worth so many at most."""
BEGINS_M = 1.5
"""People are first seen within this of where others were."""
_LEAST_LOG, _MOST_LOG = -14.0, 6.0
_CANNOT_BE = 0.01  # a ratio of places at the same moments


def beside_ratio(square_m2: Floats, moments: Floats) -> Floats:
    """For two who were seen at the same moments, by the mean square of their distance over so many of these."""
    spread2 = 2 * PLACE_M**2
    log = np.log(VIEW_M2 / (2 * np.pi * spread2)) - square_m2 / (2 * spread2) * np.minimum(moments, MOMENTS)
    ratio: Floats = np.exp(np.clip(log, _LEAST_LOG, _MOST_LOG))
    return ratio


def apart(away_m: Floats) -> tuple[Bools, Bools]:
    """Of pairs who were so far from one another (N, M) at M moments, NaN where that is not known: (N,) of whom it is
    known at any, and who cannot be one."""
    moments = (~np.isnan(away_m)).sum(axis=1)
    square_m2 = np.nansum(away_m**2, axis=1) / np.maximum(moments, 1)
    is_known: Bools = moments > 0
    return is_known, is_known & (beside_ratio(square_m2, moments) < _CANNOT_BE)


def moved_ratio(distance_m: Floats, elapsed_s: Floats) -> Floats:
    """For somebody who was last seen so long ago and so far away."""
    spread2 = 2 * PLACE_M**2 + np.minimum(WANDER_M_PER_S * elapsed_s, FARTHEST_M) ** 2
    ratio: Floats = VIEW_M2 / (2 * np.pi * spread2) * np.exp(-(distance_m**2) / (2 * spread2))
    return ratio


def begun_near(begun: Floats, place: Floats) -> float:
    """How many of those first seen at `begun` (N, 2) speak for somebody new at `place` (2,): a kernel estimate, 1 for
    each if they were spread over a view; NaN counts nothing."""
    square_m2 = ((begun - place) ** 2).sum(axis=1)
    density = np.exp(-square_m2 / (2 * BEGINS_M**2)) / (2 * np.pi * BEGINS_M**2)
    return float(VIEW_M2 * np.nansum(density))
