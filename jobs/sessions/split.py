"""The split in time of Hidasi et al. (arXiv:1511.06939), §4: the last day is held back, whole sessions only.

A session belongs to the day of its last click. Nothing that is learned from ends after the held-out day begins. Items
are numbered anew: those of the training part by falling clicks, then those that only the held-out part has, which no
model can know but by their content. Both ways to judge them are kept apart:

    all        every next click is judged. One on an unseen item can be foretold by content alone, and else is a miss.
    filtered   clicks on unseen items are taken out of the held-out sessions, and so are sessions of one click that this
               leaves: the papers' protocol, whose figures are higher for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from jobs.errors import UsageProblem
from jobs.sessions.clicks import ClickSet

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Protocol = Literal["all", "filtered"]
DAY_S = 86_400.0
NO_ITEM = -1


@dataclass(frozen=True)
class DaySplit:
    """Two sets of clicks that share one numbering of items.

    Attributes:
        train: what to learn from.
        held_out: the day that is judged.
        seen: items 0 … seen - 1 are in `train`, the most clicked first; the others are not.
    """

    train: ClickSet
    held_out: ClickSet
    seen: int

    @property
    def clicks(self) -> Ints:
        """(seen,) in training, of each item."""
        return np.bincount(self.train.item, minlength=self.seen)


@dataclass(frozen=True)
class Queries:
    """Q moments of a held-out session, of each of which the next click is known.

    Attributes:
        context: (Q, L) the clicks so far, the latest in the last column; `NO_ITEM` before the first.
        target: (Q,) the next click.
        session: (Q,) 0 … sessions - 1.
        now_s: (Q,) Unix time of the latest click.
        sessions: how many there are.
    """

    context: Ints
    target: Ints
    session: Ints
    now_s: Floats
    sessions: int

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: npt.NDArray[np.bool_]) -> Queries:
        """Some of them; sessions keep their numbers."""
        return replace(
            self,
            context=self.context[rows],
            target=self.target[rows],
            session=self.session[rows],
            now_s=self.now_s[rows],
        )


def split_last_day(clicks: ClickSet, *, days: float = 1.0) -> DaySplit:
    """Hold back the sessions that end in the last 24 hours of the data, or so many days.

    Raises:
        UsageProblem: either part is empty.
    """
    last_s = clicks.time_s[clicks.starts[1:] - 1]
    late = last_s >= clicks.time_s.max() - days * DAY_S
    if late.all():
        raise UsageProblem(
            f"{clicks.source}: all {clicks.sessions:,} sessions end within {days:g} day(s) of the last click, and none "
            "is left to learn from; give data of more days"
        )
    held = late[clicks.session]
    return _numbered(clicks, held)


def whole(clicks: ClickSet) -> DaySplit:
    """Nothing held out: what goes live has learned from the latest day too."""
    return _numbered(clicks, np.zeros(len(clicks), bool))


def queries(split: DaySplit, protocol: Protocol = "all", *, length: int = 50) -> Queries:
    """Every click of the held-out day that another one follows.

    Args:
        split: as of `split_last_day`.
        protocol: see above.
        length: L; earlier clicks of a session are forgotten.

    Raises:
        UsageProblem: nothing is left to judge.
    """
    held = split.held_out
    kept = np.ones(len(held), bool) if protocol == "all" else held.item < split.seen
    session, item, time_s = held.session[kept], held.item[kept], held.time_s[kept]
    followed = np.flatnonzero(session[:-1] == session[1:])
    if not len(followed):
        raise UsageProblem(f"{held.source}: no session of the last day has two clicks on items seen before it")
    back = np.arange(length - 1, -1, -1)
    rows = followed[:, None] - back
    own = (rows >= 0) & (session[np.maximum(rows, 0)] == session[followed][:, None])
    numbered, number = np.unique(session[followed], return_inverse=True)
    return Queries(
        context=np.where(own, item[np.maximum(rows, 0)], NO_ITEM),
        target=item[followed + 1],
        session=number.astype(np.int64),
        now_s=time_s[followed],
        sessions=len(numbered),
    )


def _numbered(clicks: ClickSet, held: npt.NDArray[np.bool_]) -> DaySplit:
    """Both parts, with items by falling clicks in training; of equals, and of those it lacks, what came first."""
    counts = np.bincount(clicks.item[~held], minlength=len(clicks.items))
    order = np.argsort(-counts, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    items = tuple(clicks.items[each] for each in order.tolist())
    train, held_out = (
        replace(
            clicks,
            session=np.unique(clicks.session[rows], return_inverse=True)[1].astype(np.int64),
            item=place[clicks.item[rows]],
            time_s=clicks.time_s[rows],
            items=items,
        )
        for rows in (~held, held)
    )
    return DaySplit(train, held_out, int((counts > 0).sum()))
