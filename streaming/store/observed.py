"""What cameras saw, by track: how each moves off, and how far it is from where other cameras show somebody."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from streaming.event_time import Ints
from streaming.store.geometry import Floats

Track = tuple[str, int]
"""A camera and its number for somebody."""

_LOOKED_AT_MS = (400, 1_000)  # for so long it is looked how a track moves off
_LEAST_MOMENTS = 2  # at which both are seen


class Observed(NamedTuple):
    """Where M sightings put people, in the line's units, ascending by time, camera and track."""

    at_ms: Ints  # (M,)
    camera: list[str]
    track: Ints  # (M,)
    person: list[str]
    points: Floats  # (M, 2)


class Tracks:
    """Sightings by their tracks."""

    def __init__(self, seen: Observed) -> None:
        self._seen = seen
        rows: dict[Track, list[int]] = {}
        for row, track in enumerate(zip(seen.camera, seen.track.tolist(), strict=True)):
            rows.setdefault(track, []).append(row)
        self._rows = {track: np.array(numbers) for track, numbers in rows.items()}
        self._last_ms = {track: int(seen.at_ms[numbers[-1]]) for track, numbers in rows.items()}

    def frames(self) -> Iterator[Ints]:
        """Rows of one camera at one moment after another."""
        if len(self._seen.at_ms):
            moment = np.array(list(zip(self._seen.at_ms.tolist(), self._seen.camera, strict=True)), dtype=object)
            yield from np.split(np.arange(len(moment)), np.flatnonzero((moment[1:] != moment[:-1]).any(axis=1)) + 1)

    def goes_on(self, track: Track, now_ms: int) -> bool:
        """Whether it is seen now or later."""
        return self._last_ms.get(track, -1) >= now_ms

    def speeds(self) -> Floats:
        """(M, 2) per second, by where the same track is seen a moment later; NaN where it is not."""
        speeds = np.full(self._seen.points.shape, np.nan)
        for rows in self._rows.values():
            at_ms = self._seen.at_ms[rows]
            later = np.searchsorted(at_ms, at_ms + _LOOKED_AT_MS[1], side="right") - 1
            passed_ms = at_ms[later] - at_ms
            known = passed_ms >= _LOOKED_AT_MS[0]
            moved = self._seen.points[rows[later]] - self._seen.points[rows]
            speeds[rows[known]] = moved[known] / (passed_ms[known, None] / 1000)
        return speeds

    def apart(self, track: Track, others: Collection[Track], now_ms: int) -> float:
        """How far a track is from where others are at the same moments, on average over the next second: one sighting
        is off by some, a camera sees the feet of whoever comes into its picture last. NaN where that is not known."""
        mine = self._places(track, now_ms)
        theirs: dict[int, list[Floats]] = {}
        for other in others:
            for at_ms, place in self._places(other, now_ms).items():
                theirs.setdefault(at_ms, []).append(place)
        both = [mine[at_ms] - np.mean(places, axis=0) for at_ms, places in theirs.items() if at_ms in mine]
        return float(np.hypot(*np.mean(both, axis=0))) if len(both) >= _LEAST_MOMENTS else np.nan

    def _places(self, track: Track, now_ms: int) -> dict[int, Floats]:
        """By time, from now on for as long as is looked."""
        rows = self._rows[track]
        first, end = np.searchsorted(self._seen.at_ms[rows], [now_ms, now_ms + _LOOKED_AT_MS[1] + 1])
        soon = rows[first:end]
        return dict(zip(self._seen.at_ms[soon].tolist(), self._seen.points[soon], strict=True))
