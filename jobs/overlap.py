"""Which matches of a set a model has learned from: by marks that its stored version keeps.

A match has two marks, each the first 64 bits of a SHA-256: one of what it is called (title, id, teams, winner), one of
what happened in it (clock, features, winner). Either is enough to recognise it: a table that was corrected keeps the
names, a table that was numbered anew keeps the play. Form is in neither, because it depends on which earlier matches
a file holds; nor is an id alone, because tables number their matches from 0.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from jobs.datasets import MatchSet

Marks = npt.NDArray[np.uint64]
_FEWEST_VALUES = 5
"""A match that says less than so many different things happened like any other: its play is no mark."""
_UNKNOWN = 1e9  # stands for NaN, which has many bit patterns
_SHOWN = 3


def match_marks(matches: MatchSet) -> Marks:
    """Both marks of every match, (B, 2)."""
    columns = [number for number, name in enumerate(matches.spec.features) if name != "form"]
    marks = np.empty((len(matches), 2), np.uint64)
    for row, (match_id, teams) in enumerate(zip(matches.match_ids, matches.teams, strict=True)):
        frames = matches.mask[row]
        won = str(int(matches.won[row]))
        name = _mark("\n".join((matches.title, match_id, *teams, won)).encode())
        play = np.round(matches.features[row, frames][:, columns].numpy().astype(np.float64), 1) + 0.0  # no −0
        told = len(np.unique(play[np.isfinite(play)])) >= _FEWEST_VALUES
        play[~np.isfinite(play)] = _UNKNOWN
        clock_s = matches.clock_s[row, frames].numpy().round().tobytes()
        marks[row] = name, _mark(matches.title.encode() + won.encode() + clock_s + play.tobytes()) if told else name
    return marks


def overlap(matches: MatchSet, learned_from: Marks) -> list[str]:
    """Ids of the matches that `learned_from` (any shape) has a mark of."""
    known = np.isin(matches.marks, learned_from)
    return [match_id for match_id, found in zip(matches.match_ids, known, strict=True) if found.any()]


def refuse_overlap(matches: MatchSet, learned_from: Marks, model: str) -> None:
    """Refuse to judge a model on what it has learned from.

    Raises:
        UsageProblem: there is an overlap; the message counts the matches and names the first.
    """
    shared = overlap(matches, learned_from)
    if shared:
        more = ", …" if len(shared) > _SHOWN else ""
        raise UsageProblem(
            f"{matches.source}: {model} has learned from {len(shared):,} of these {len(matches):,} matches "
            f"({', '.join(shared[:_SHOWN])}{more}); judge it on others, with --since or another file"
        )


def _mark(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
