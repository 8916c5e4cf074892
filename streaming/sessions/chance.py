"""Chance that a replay repeats: numbers and arms that follow from names and offsets by a hash."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from streaming.features.runs import Ints

Uniform = npt.NDArray[np.float64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def uniform(seed: int, *numbers: npt.NDArray[np.int64] | npt.NDArray[np.uint64]) -> Uniform:
    """Numbers in [0, 1) that hang on the seed and on each of the numbers (arrays that broadcast), by SplitMix64
    (Steele, Lea and Flood 2014)."""
    state = np.asarray(np.uint64(seed))
    with np.errstate(over="ignore"):
        for number in numbers:
            state = _mixed((state ^ np.asarray(number).astype(np.uint64)) + _STEP)
        state = _mixed(state + _STEP)
    found: Uniform = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MIX[0]
    state = (state ^ (state >> np.uint64(27))) * _MIX[1]
    mixed: npt.NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed


def split(units: Sequence[str], experiment: str, shares: Sequence[float]) -> Ints:
    """Which arm each unit is in, (N,): in proportion to the shares, the same whenever it is asked, and independent of
    other experiments, by BLAKE2b of the experiment's name and the unit."""
    salt = blake2b(experiment.encode(), digest_size=16).digest()
    ends = np.cumsum(np.asarray(shares, np.float64)) / float(np.sum(shares))
    known = {
        unit: int.from_bytes(blake2b(unit.encode(), key=salt, digest_size=8).digest(), "big") for unit in set(units)
    }
    where = np.array([known[unit] for unit in units], dtype=np.uint64).astype(np.float64) * 2.0**-64
    arms: Ints = np.minimum(np.searchsorted(ends, where, side="right"), len(ends) - 1).astype(np.int64)
    return arms
