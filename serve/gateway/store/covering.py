"""Where heads may be in a frame, by all that was told around it. Pure.

A detector overlooks people, and a track is told only once it has been seen some times. So a head is covered wherever
somebody was found shortly before or after; and where somebody would be who walks on, before a track's first sighting,
after its last and in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from serve.gateway.store.rows import Box, Seen

_PACES = (0.5, 0.75, 1.0, 1.25, 1.5)  # of the speed at which a track was seen: people slow down and hurry
_SPEED_OVER_MS = 600  # boxes are not exact: two that follow one another tell no speed


def boxes_at(seen: Iterable[Seen], captured_ms: int, span_ms: int) -> list[Box]:
    """Boxes of all who may be in a frame.

    Args:
        seen: who was in frames of its camera.
        captured_ms: when it was taken.
        span_ms: those taken so long before or after count.
    """
    around = [one for one in seen if abs(one.captured_ms - captured_ms) <= span_ms]
    boxes = [box for one in around for box in one.found]
    tracks: dict[int, dict[int, Box]] = {}
    for one in around:
        for person in one.people:
            tracks.setdefault(person.track_id, {})[one.captured_ms] = person.box
    for sightings in tracks.values():
        path = sorted(sightings.items())
        boxes += [box for _, box in path]
        boxes += _on_the_way(path, captured_ms)
    return boxes


def _on_the_way(path: Sequence[tuple[int, Box]], captured_ms: int) -> Iterator[Box]:
    """Where a track was at a moment at which nobody saw it."""
    first_ms, last_ms = path[0][0], path[-1][0]
    if captured_ms < first_ms:
        yield from _beyond(path, captured_ms)
    elif captured_ms > last_ms:
        yield from _beyond(path[::-1], captured_ms)
    else:
        for (before_ms, before), (after_ms, after) in pairwise(path):
            if before_ms < captured_ms < after_ms:
                yield _moved(before, after, (captured_ms - before_ms) / (after_ms - before_ms))


def _beyond(path: Sequence[tuple[int, Box]], captured_ms: int) -> Iterator[Box]:
    """Beyond the end of a path that stands first in it, straight on."""
    (end_ms, end), *inner = path
    near = [one for one in inner if abs(one[0] - end_ms) <= _SPEED_OVER_MS] or inner[:1]
    for inner_ms, box in near[-1:]:
        share = (captured_ms - end_ms) / (end_ms - inner_ms)
        for pace in _PACES:
            x0, y0, x1, y1 = _moved(box, end, 1.0 + pace * share)
            if x1 > x0 and y1 > y0:
                yield x0, y0, x1, y1


def _moved(start: Box, end: Box, share: float) -> Box:
    """So far on the way from one box to another."""
    x0, y0, x1, y1 = (a + share * (b - a) for a, b in zip(start, end, strict=True))
    return x0, y0, x1, y1
