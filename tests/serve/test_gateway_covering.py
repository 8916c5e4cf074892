"""Heads in shown frames: whoever is confirmed late, or overlooked for a moment, is covered all the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.gateway.settings import GatewaySettings
from serve.gateway.store.board import StoreBoard
from serve.gateway.store.covering import boxes_at
from serve.gateway.store.rows import Box, Seen
from serve.gateway.store.schemas import SeenPerson
from streaming.features.blurring import heads

T0, FPS, SPAN_MS = 1_700_000_000_000, 5, 1_500
WIDTH, HEIGHT, TALL = 1_280, 720, 200.0


def at(frame: int) -> int:
    return T0 + 1000 * frame // FPS


def walker(frame: int, speed: float, growth: float) -> Box:
    """Somebody at a speed in body heights a second, who also comes nearer: `growth` in heights a second."""
    second = frame / FPS
    tall = TALL * (1 + growth * second)
    x, y = 500.0 + speed * TALL * second, 300.0
    return x - 0.2 * tall, y - tall / 2, x + 0.2 * tall, y + tall / 2


def told(frame: int, box: Box | None, found: tuple[Box, ...] = ()) -> Seen:
    person = () if box is None else (SeenPerson(track_id=1, person_id=None, link_score=None, box=box, feet=None),)
    return Seen("door", at(frame), frame, covered=False, people=person, found=found)


def is_head_covered(box: Box, boxes: list[Box]) -> bool:
    """Whether nothing of the head in this box, an eighth of a body high, is left."""
    left = np.ones((HEIGHT, WIDTH), np.bool_)
    for x0, y0, x1, y1 in heads(np.array(boxes, np.float64).reshape(-1, 4), WIDTH, HEIGHT):
        left[y0:y1, x0:x1] = False
    middle, tall = (box[0] + box[2]) / 2, box[3] - box[1]
    x0, x1 = round(middle - tall / 16), round(middle + tall / 16)
    return not left[round(box[1]) : round(box[1] + tall / 8), max(0, x0) : max(0, x1)].any()


def shown(seen: list[Seen]) -> Iterator[tuple[int, list[Box]]]:
    """Each frame with the boxes that are covered, once it may be shown."""
    board, waiting = StoreBoard(GatewaySettings(), T0), [one.frame for one in seen]
    for one in seen:
        board.apply_sightings([one], T0)
        for frame in list(waiting):
            if (boxes := board.boxes_around("door", at(frame), frame, SPAN_MS)) is not None:
                waiting.remove(frame)
                yield frame, boxes


@settings(deadline=None, max_examples=60)
@given(
    speed=st.floats(-1.2, 1.2),
    growth=st.floats(-0.1, 0.1),
    unsure=st.lists(st.floats(-0.01, 0.01), min_size=40, max_size=40),
    gap=st.integers(8, 12),
)
def test_whose_track_is_confirmed_a_second_late_or_lost_for_one_has_the_head_covered_in_every_shown_frame(
    speed: float, growth: float, unsure: list[float], gap: int
) -> None:
    """In the picture from frame 0 on; the track is told from frame 5 on, but not in five frames in its middle."""
    seen = []
    for frame in range(20):
        x0, y0, x1, y1 = walker(frame, speed, growth)
        tall = y1 - y0
        noisy = x0 + tall * unsure[frame], y0, x1, y1 + tall * unsure[20 + frame]
        seen.append(told(frame, noisy if frame >= 5 and not gap <= frame < gap + 5 else None))
    for frame, boxes in shown(seen):
        assert is_head_covered(walker(frame, speed, growth), boxes), frame


def test_a_frame_waits_until_all_of_a_second_and_a_half_after_it_was_told_and_then_is_shown() -> None:
    frames = [told(frame, walker(frame, 0.0, 0.0)) for frame in range(12)]
    assert [frame for frame, _ in shown(frames)] == [0, 1, 2, 3]


def test_whoever_is_found_and_never_confirmed_is_covered_from_the_first_frame_on() -> None:
    frames = [told(frame, None, found=(walker(frame, 1.2, 0.0),) if frame == 3 else ()) for frame in range(12)]
    by_frame = dict(shown(frames))
    assert is_head_covered(walker(3, 1.2, 0.0), by_frame[3]) and by_frame[3] == [walker(3, 1.2, 0.0)]


def test_after_a_clock_that_was_set_back_a_frame_waits_for_what_is_told_after_it() -> None:
    board = StoreBoard(GatewaySettings(), T0)
    board.apply_sightings([Seen("door", T0 + 3_600_000, 7, covered=False, people=())], T0)
    board.apply_sightings([told(0, None)], T0)
    assert board.boxes_around("door", at(0), 0, SPAN_MS) is None
    board.apply_sightings([told(8, None)], T0)
    assert board.boxes_around("door", at(0), 0, SPAN_MS) == []
    assert board.boxes_around("door", at(0), 1, SPAN_MS) is None  # another frame, stamped with the same time


def test_where_nobody_saw_a_track_it_is_on_the_straight_way() -> None:
    first, second, last = (0.0, 0.0, 20.0, 40.0), (10.0, 0.0, 30.0, 40.0), (40.0, 0.0, 60.0, 40.0)
    path = [told(0, first), told(1, second), told(4, last)]
    assert (20.0, 0.0, 40.0, 40.0) in boxes_at(path, at(2), SPAN_MS)
    assert (70.0, 0.0, 90.0, 40.0) in boxes_at(path, at(7), SPAN_MS)
    assert (-10.0, 0.0, 10.0, 40.0) in boxes_at(path[:2], at(0) - 200, SPAN_MS)
    assert boxes_at(path[:1], at(2), SPAN_MS) == [first]  # one sighting tells no speed
    assert boxes_at(path, at(50), SPAN_MS) == []


@pytest.mark.parametrize("shrinking", [(0.0, 0.0, 20.0, 40.0), (9.0, 18.0, 11.0, 22.0)])
def test_a_box_that_would_shrink_to_nothing_is_none(shrinking: Box) -> None:
    boxes = boxes_at([told(0, (0.0, 0.0, 20.0, 40.0)), told(1, shrinking)], at(6), SPAN_MS)
    assert all(x1 > x0 and y1 > y0 for x0, y0, x1, y1 in boxes)
