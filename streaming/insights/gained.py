"""What each camp gained from one match frame to the next: towers, dragons, kills and so on, as far as frames tell.

Frames carry the lead of each count, A minus B. What a lead grows by, camp A gained, at least; what it shrinks by,
camp B. Where both camps gain the same thing between two frames the smaller gain stays unseen. Monsters come back too
slowly for that, but towers are traded: counted so, 0 of 771 Roshans and 1,285 of 3,758 towers of the 399 Dota 2 matches
in the public data would get a wrong number. So only monsters are numbered ("second dragon"), and only in a match that
was followed from its start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.catalogue import GROUPS, title_spec, titles
from streaming.features.match_fold import MOMENTS
from streaming.insights.commentary import Event

NUMBERED = ("barons", "roshans", "dragons", "heralds")
"""Subjects of which a camp's gains are all seen."""

MAJOR = ("barons", "roshans", "inhibitors")
"""Subjects worth a line where others are not."""

_IS_NUMBERED = np.array([subject in NUMBERED for subject in MOMENTS])
_IS_MAJOR = np.array([subject in MAJOR for subject in MOMENTS])
_TITLES = {title: row for row, title in enumerate(titles())}
_SIGN = np.array([1, -1])
_PLACE = {f"{side}:{subject}": (i, sign) for i, subject in enumerate(MOMENTS) for side, sign in (("A", 1), ("B", -1))}
_NOWHERE = len(GROUPS)


def _group_of(title: str, subject: str) -> int:
    for number, group in enumerate(GROUPS):
        if subject in title_spec(title).groups.get(group, ()):
            return number
    return _NOWHERE


_GROUP = np.array([[_group_of(title, subject) for subject in MOMENTS] for title in titles()])  # (titles, S)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Leads(NamedTuple):
    """The counts of N frames; S = len(MOMENTS)."""

    title: Ints  # (N,) index into titles()
    lead: Floats  # (N, S) A minus B, NaN where unknown
    named: npt.NDArray[np.int8]  # (N, S) +1 or -1 where the frame's `moment` says that A or B gained it

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Leads:
        """Of match frames."""
        named = np.zeros((len(rows), len(MOMENTS)), np.int8)
        for row, moment in enumerate(rows["moment"].to_list()):
            if place := _PLACE.get(moment):
                named[row, place[0]] = place[1]
        title = np.array([_TITLES[title] for title in rows["title"].to_list()], dtype=np.int64)
        return cls(title, rows[MOMENTS].to_numpy().astype(np.float32), named)

    def gained(self, now: Ints, before: Floats, from_start: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
        """How many of what each camp gained since the frame before, (R, 2, S).

        Args:
            now: (R,) frames.
            before: (R, S) their matches' leads at the frame before.
            from_start: (R,) whether the match is known from its start: then what is unknown before was level.
        """
        lead = self.lead[now]
        unknown = np.isnan(lead) | (np.isnan(before) & ~from_start[:, None])
        before = np.where(np.isnan(before) & from_start[:, None], np.float32(0), before)
        change = np.nan_to_num(lead - before).astype(np.int32)
        change = np.where(unknown, self.named[now], change)
        by_camp: npt.NDArray[np.int32] = np.maximum(change[:, None, :] * _SIGN[:, None], 0).astype(np.int32)
        return by_camp


class Gained(NamedTuple):
    """The one gain of each camp in each of R frames that moved the log-odds most, by its own group."""

    subject: Ints  # (R, 2) index into MOMENTS, -1 for none
    number: npt.NDArray[np.int32]  # (R, 2)
    nth: npt.NDArray[np.int32]  # (R, 2) 0 where unknown
    worth: npt.NDArray[np.float64]  # (R, 2) log-odds of its group in this frame, for the camp
    major: Ints  # (R, 2) the weightiest major gain, index into MOMENTS, -1 for none
    major_nth: npt.NDArray[np.int32]  # (R, 2)

    @classmethod
    def of(
        cls,
        title: Ints,
        gained: npt.NDArray[np.int32],
        so_far: npt.NDArray[np.int32],
        change: Floats,
        from_start: npt.NDArray[np.bool_],
    ) -> Gained:
        """Choose among gains.

        Args:
            title: (R,) index into titles().
            gained: (R, 2, S) in these frames.
            so_far: (R, 2, S) in all, with these.
            change: (R, G) of contributions in these frames.
            from_start: (R,) whether `so_far` is complete.
        """
        by_group = np.concatenate([change, np.zeros((len(change), 1), np.float32)], axis=1)
        own = np.take_along_axis(by_group, _GROUP[title], axis=1)[:, None, :] * _SIGN[:, None]  # (R, 2, S)
        worth = np.where((gained > 0) & (own > 0), own, 0.0)
        best = worth.argmax(axis=2)  # of equals the weightiest: MOMENTS is sorted so

        def chosen(values: npt.NDArray[np.int32] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.take_along_axis(values, best[:, :, None], axis=2)[:, :, 0].astype(np.float64)

        value = chosen(worth)
        known = from_start[:, None, None] & _IS_NUMBERED & (gained == 1)
        nth = np.where(known, so_far, 0).astype(np.int32)
        is_major = (gained > 0) & _IS_MAJOR
        major = is_major.argmax(axis=2)
        return cls(
            subject=np.where(value > 0, best, -1),
            number=chosen(gained).astype(np.int32),
            nth=chosen(nth).astype(np.int32),
            worth=value,
            major=np.where(is_major.any(axis=2), major, -1),
            major_nth=np.take_along_axis(nth, major[:, :, None], axis=2)[:, :, 0],
        )

    def where(self, chosen: npt.NDArray[np.bool_]) -> Gained:
        """Of these frames only, (R,)."""
        return Gained(*[part[chosen] for part in self])  # type: ignore[arg-type]  # of a tuple's parts, each its own

    def texts(self, side: int) -> list[str]:
        """Each frame's gain of this camp as state text: `towers:2:0` is subject, number, how-manyth."""
        return _texts(self.subject[:, side], self.number[:, side], self.nth[:, side])

    def major_texts(self, side: int) -> list[str]:
        """The same of its major gain, of which one is named however many there are."""
        return _texts(self.major[:, side], np.ones(len(self.major), np.int32), self.major_nth[:, side])


def _texts(subject: Ints, number: npt.NDArray[np.int32], nth: npt.NDArray[np.int32]) -> list[str]:
    columns = zip(subject.tolist(), number.tolist(), nth.tolist(), strict=True)
    return [f"{MOMENTS[s]}:{n}:{which}" if s >= 0 else "" for s, n, which in columns]


def parse_event(text: str, *, is_cause: bool = True) -> Event | None:
    """The event of a state text, None for ""."""
    if not text:
        return None
    feature, number, nth = text.split(":")
    return Event(feature, int(number), int(nth), is_cause)
