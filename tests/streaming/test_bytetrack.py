"""ByteTrack on walks drawn by hand: who is told, and as whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from streaming.tracking.bytetrack import ByteTrack, Tracks

STEP_MS = 200
Box = tuple[float, float, float, float]


def person(x: float, y: float = 100.0, width: float = 40.0, height: float = 100.0) -> Box:
    return (x, y, x + width, y + height)


class Camera:
    """Frames into the tracker, one after another."""

    def __init__(self, rules: ByteTrack | None = None) -> None:
        self.rules, self.tracks, self.next_id, self.now_ms = rules or ByteTrack(), Tracks.none(), 1, 0

    def see(
        self,
        boxes: Sequence[Box],
        scores: Sequence[float] | None = None,
        after_ms: int = STEP_MS,
        looks: Sequence[Sequence[float]] | None = None,
    ) -> list[int]:
        self.now_ms += after_ms
        given = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        scored = np.array(scores if scores is not None else [0.9] * len(boxes))
        seen = None if looks is None else np.array(looks, dtype=np.float32)
        self.tracks, told, _ = self.rules.step(self.tracks, self.next_id, self.now_ms, given, scored, seen)
        self.next_id = max(self.next_id, int(self.tracks.track_id.max(initial=0)) + 1)
        return [int(number) for number in told]


def test_an_id_is_told_at_the_third_sight() -> None:
    camera = Camera()
    assert [camera.see([person(10.0 * n)]) for n in range(4)] == [[0], [0], [1], [1]]


def test_flickering_boxes_are_never_believed() -> None:
    camera = Camera()
    for n in range(60):
        assert camera.see([person(400.0 * (n % 7), 300.0 * (n % 3))]) == [0]
    assert len(camera.tracks) <= 7  # and are forgotten


def test_a_box_twice_in_three_seconds_is_not_believed_however_often() -> None:
    camera = Camera()
    told = [camera.see([person(0.0)] if n % 15 < 2 else []) for n in range(90)]
    assert not any(number for frame in told for number in frame)


def test_a_doubtful_box_keeps_a_track_and_begins_none() -> None:
    camera = Camera()
    for n in range(4):
        camera.see([person(10.0 * n)])
    assert camera.see([person(40.0), person(400.0)], [0.3, 0.3]) == [1, 0]
    assert camera.see([person(50.0), person(400.0)], [0.3, 0.3]) == [1, 0]
    assert camera.see([person(60.0), person(400.0)], [0.05, 0.3]) == [0, 0]  # below the least score it is nothing
    assert len(camera.tracks) == 1


def test_a_doubtful_box_does_not_bring_back_what_was_lost() -> None:
    camera = Camera()
    for n in range(4):
        camera.see([person(10.0 * n)])
    camera.see([])
    assert camera.see([person(50.0)], [0.3]) == [0]
    assert camera.see([person(60.0)], [0.9]) == [1]  # a good one does


def test_people_who_cross_keep_their_ids() -> None:
    camera = Camera()
    told = [camera.see([person(30.0 * n), person(600.0 - 30.0 * n)]) for n in range(21)]
    assert told[2:] == [[1, 2]] * 19


def test_people_who_cross_behind_one_another_keep_their_ids() -> None:
    camera, hidden = Camera(), range(9, 12)
    for n in range(21):
        boxes = [person(24.0 * n), person(480.0 - 24.0 * n, y=90.0, width=36.0, height=90.0)]  # the one further away
        told = camera.see(boxes[:1] if n in hidden else boxes)
        if n > 2:
            assert told == ([1] if n in hidden else [1, 2])


def test_a_walk_behind_a_shelf_is_one_track() -> None:
    camera = Camera()
    for n in range(10):
        camera.see([person(20.0 * n)])
    for _ in range(5):
        camera.see([])
    # found again where the walk has led meanwhile
    assert [camera.see([person(20.0 * (15 + n))]) for n in range(3)] == [[1]] * 3


@pytest.mark.parametrize(("gap", "same"), [(13, True), (16, False)])
def test_who_is_hidden_for_three_seconds_is_lost(gap: int, same: bool) -> None:
    camera = Camera()
    for _ in range(10):
        camera.see([person(300.0)])
    for _ in range(gap):
        camera.see([])
    assert [camera.see([person(300.0)]) for _ in range(3)] == ([[1]] * 3 if same else [[0], [0], [2]])


def test_a_box_that_looks_like_somebody_else_is_not_a_tracks() -> None:
    camera, red, blue = Camera(), [1.0, 0.0], [0.0, 1.0]
    camera.tracks = Tracks.none(dimensions=2)
    for _ in range(4):
        camera.see([person(300.0)], looks=[red])
    # somebody else steps in front, in the same place: the one behind is not taken for him, and is found again
    assert [camera.see([person(302.0)], looks=[blue]) for _ in range(3)] == [[0], [0], [2]]
    assert camera.see([person(300.0)], looks=[red]) == [1]
    assert camera.see([person(300.0)], looks=[[0.0, 0.0]]) == [1]  # of a box without a look nothing is known


def test_a_neighbours_box_is_not_taken_for_ones_own() -> None:
    # Two stand side by side, less than a width apart; a third comes where the first one was, who is hidden meanwhile.
    camera = Camera()
    for _ in range(6):
        camera.see([person(300.0), person(335.0)])
    assert camera.see([person(335.0)]) == [2]
    assert camera.see([person(336.0), person(338.0, y=120.0)]) == [2, 0]


def test_dropped_frames_lose_nobody() -> None:
    camera, chance = Camera(), np.random.default_rng(0)
    seen, last = 0, 0
    for n in range(100):
        if n > 8 and chance.random() < 0.5:
            continue
        told = camera.see([person(12.0 * n)], after_ms=STEP_MS * (n - last))
        seen, last = seen + 1, n
        assert told == ([1] if seen > 2 else [0])


def test_a_camera_that_was_away_finds_nobody_again() -> None:
    camera = Camera()
    for n in range(5):
        camera.see([person(10.0 * n)])
    assert camera.see([person(50.0)], after_ms=4_000) == [0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"good_score": 0.2, "least_score": 0.3}, "scores"),
        ({"min_iou": 0.0}, "min_iou"),
        ({"min_cosine": 1.0}, "min_cosine"),
        ({"confirm_hits": 0}, "confirm_hits"),
        ({"trial_s": 4.0}, "gaps"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ByteTrack(**given)  # type: ignore[arg-type]
