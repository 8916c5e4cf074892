"""Who reappears as whom: where sight of somebody ends, and where it begins again.

People do not vanish. Who is lost far from every entrance is still in the store, and who appears there was in it before;
so of the ends of what was seen and of its beginnings, as many as can be go together, at the least cost in all (Kuhn
1955; as tracks are linked by Huang, Wu and Nevatia, "Robust Object Tracking by Hierarchical Association of Detection
Responses", ECCV 2008). It costs to have been out of sight for long, to have come far, and to have another name
afterwards: names come from looks, and two people in similar clothes may swap theirs where nobody sees them. Near an
entrance sight ends for nothing, since people leave and come. It does so for little where somebody else is seen in the
same place: there a second name begins, or ends, of somebody who is seen by another.

Costs are log odds, as far as they go; they were chosen on made-up stores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streaming.event_time import Ints
from streaming.store.geometry import Bools, Floats
from streaming.tracking.association import assign

_LONG = 2.0  # cost of a time, by its logarithm in steps
_APART_M, _APART_M_PER_STEP = 1.0, 0.15  # that cost one
_OTHER_NAME = 3.0
_LOST, _BESIDE, _AT_DOOR = 6.0, 4.0, 1.0  # that sight ends, or begins, with nothing before or after
_BESIDE_M = 1.0
_SLIP_M, _FASTEST_M_PER_STEP = 1.0, 1.0  # nobody comes farther: 2 m/s, and places are off by some
_OVERLAP = 1  # steps for which somebody may be seen by both names


class Runs(NamedTuple):
    """Steps one after the other in which a person is seen; R of them, by person and then by time."""

    person: Ints  # (R,) row
    first: Ints  # (R,) step
    last: Ints  # (R,)

    @classmethod
    def of(cls, seen: Bools) -> Runs:
        """Of (P, T)."""
        change = np.diff(np.pad(seen, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        person, first = np.nonzero(change == 1)
        return cls(person, first, np.nonzero(change == -1)[1] - 1)

    def until(self, steps: int) -> Ints:
        """(R,) when each person is seen again, `steps` for never."""
        again = np.full(len(self.person), steps)
        again[:-1] = np.where(self.person[1:] == self.person[:-1], self.first[1:], steps)
        return again

    def since(self) -> Ints:
        """(R,) until when each person was seen before, -1 for never."""
        before = np.full(len(self.person), -1)
        before[1:] = np.where(self.person[1:] == self.person[:-1], self.last[:-1], -1)
        return before


def reappeared(runs: Runs, seen: Bools, floor: Floats, is_inside: Bools, most_steps: int) -> list[tuple[int, int]]:
    """Which run goes on as which later one; both by number.

    Args:
        runs: of `seen`.
        seen: (P, T) with a place.
        floor: (P, T, 2) in metres.
        is_inside: (P, T) who is seen far from every entrance.
        most_steps: nobody is out of sight for longer.
    """
    ends, begins = floor[runs.person, runs.last], floor[runs.person, runs.first]
    gap = runs.first[None] - runs.last[:, None]
    apart_m = np.hypot(*np.moveaxis(ends[:, None] - begins[None], -1, 0))
    is_same = runs.person[:, None] == runs.person[None]
    may: Bools = (gap >= np.where(is_same, 1, -_OVERLAP)) & (gap <= most_steps + 1)
    may &= (runs.first[:, None] < runs.first[None]) & (runs.last[:, None] < runs.last[None])
    steps = np.maximum(gap, 1)
    may &= apart_m <= _SLIP_M + _FASTEST_M_PER_STEP * np.maximum(gap, 0)
    cost = _LONG * np.log(steps) + apart_m / (_APART_M + _APART_M_PER_STEP * steps) + _OTHER_NAME * ~is_same
    alone = [_alone(runs.person, step, way, seen, floor, is_inside) for step, way in ((runs.last, 1), (runs.first, -1))]
    found = assign(np.where(may, alone[0][:, None] + alone[1][None] - cost, 0.0), 1e-9)
    return list(zip(found.rows.tolist(), found.columns.tolist(), strict=True))


def _alone(person: Ints, step: Ints, way: int, seen: Bools, floor: Floats, is_inside: Bools) -> Floats:
    """(R,) what it costs that nothing goes on from where sight of each ends (`way` 1) or begins (-1)."""
    steps = seen.shape[1]
    next_to = np.clip(step + way, 0, steps - 1)
    apart_m = np.hypot(*np.moveaxis(floor[:, next_to] - floor[person, step][None], -1, 0))
    is_other = seen[:, next_to] & (np.arange(len(seen))[:, None] != person)
    is_beside = (is_other & (apart_m < _BESIDE_M)).any(axis=0) & (next_to != step)
    inside = np.where(is_beside, _BESIDE, _LOST)
    cost: Floats = np.where(is_inside[person, step], inside, _AT_DOOR)
    return cost
