"""Which sightings cannot be believed, where people stand, and what a clock that is wrong does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streaming.state import StateTable
from streaming.store.clock import StoreClock
from streaming.store.memory import LAYOUT
from streaming.store.sightings import feet, validate_for
from tests.store_walks import START_MS, person, plan, sightings


def row(**changed: Any) -> dict[str, Any]:
    return {"camera_id": "cam-1", "captured_ms": START_MS, "frame": 3, **person(1, 2.0, 3.0), **changed}


def reason(**changed: Any) -> str | None:
    (said,) = validate_for(plan())(sightings([row(**changed)]))["_reject"].to_list()
    return said  # type: ignore[no-any-return]


def test_a_sighting_an_empty_frame_and_a_correction_are_good() -> None:
    nobody = dict.fromkeys(("track_id", "x0_px", "y0_px", "x1_px", "y1_px", "x_m", "y_m"))
    assert reason() is None
    assert reason(**nobody) is None
    corrects = {"corrects_from_ms": START_MS}
    assert reason(**nobody, **corrects, person_id="b", corrects_person_id="a") is None
    for old, new in ((None, "a"), ("a", None), ("a", "b")):
        assert reason(**{**nobody, "track_id": 1}, **corrects, person_id=new, corrects_person_id=old) is None
    assert reason(x_m=None, y_m=None) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"camera_id": "cam-9"}, "InvalidSighting: camera_id is 'cam-9', which the store's plan does not know"),
        ({"frame": -1}, "InvalidSighting: frame is -1, not 0 or more"),
        ({"captured_ms": -1}, "InvalidSighting: captured_ms is -1, not a time from 1970 to 2100"),
        ({"track_id": -2}, "InvalidSighting: track_id is -2, not 0 or more"),
        ({"x1_px": 100.0}, "InvalidSighting: the box (100.0, 100.0, 100.0, 300.0) has no size"),
        ({"y1_px": 90.0}, "InvalidSighting: the box (100.0, 100.0, 160.0, 90.0) has no size"),
        ({"y1_px": None}, "InvalidSighting: the box (100.0, 100.0, 160.0, missing) has a side that is no number"),
        ({"x0_px": float("nan")}, "InvalidSighting: the box (NaN, 100.0, 160.0, 300.0) has a side that is no number"),
        (
            {"x0_px": 1920.0, "x1_px": 2000.0},
            "InvalidSighting: the box (1920.0, 100.0, 2000.0, 300.0) lies outside of the picture, 1920 x 1080",
        ),
        ({"x0_px": -90.0, "x1_px": -10.0}, "lies outside of the picture"),
        ({"x_m": float("inf")}, "InvalidSighting: the feet (inf, 3.0) are no place on a floor"),
        ({"y_m": None}, "InvalidSighting: the feet (2.0, missing) are no place on a floor"),
        ({"person_id": ""}, "InvalidSighting: person_id is empty"),
        ({"person_id": "x" * 129}, "InvalidSighting: person_id has 129 bytes, more than 128"),
        ({"person_id": "cam-1#4"}, "which is ours"),
        ({"corrects_person_id": "a"}, "InvalidSighting: corrects_person_id is a without corrects_from_ms"),
        (
            {"track_id": None, "corrects_from_ms": START_MS, "corrects_person_id": "a"},
            "InvalidSighting: a correction of a to missing without track_id: it must name both",
        ),
        (
            {"track_id": None, "corrects_from_ms": START_MS, "person_id": "a"},
            "InvalidSighting: a correction of missing to a without track_id: it must name both",
        ),
        ({"corrects_from_ms": -1, "person_id": "a"}, "corrects_from_ms is -1, not a time from 1970 to 2100"),
        (
            {"corrects_from_ms": START_MS, "corrects_person_id": "a", "person_id": "a"},
            "InvalidSighting: a correction of a to itself",
        ),
        ({"corrects_from_ms": START_MS}, "InvalidSighting: a correction of missing to itself"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value(changed: dict[str, Any], said: str) -> None:
    assert said in (reason(**changed) or "")


def test_a_clock_that_is_ahead_of_the_log_is_refused() -> None:
    rows = sightings([row()])
    hour = rows.with_columns(_ingest_time_ms=rows["_ingest_time_ms"] - 3_600_000)
    (said,) = validate_for(plan())(hour)["_reject"].to_list()
    assert said.startswith(
        "SightingFromTheFuture: captured_ms is 3599950 ms after the record reached the log, 2000 are"
    )
    assert said.endswith("set the clock of camera cam-1")


def test_what_was_refused_before_keeps_its_reason() -> None:
    rows = sightings([row(), row(frame=-1)]).with_columns(_reject=np.array(["first", None]))
    assert validate_for(plan())(rows)["_reject"].to_list() == ["first", "InvalidSighting: frame is -1, not 0 or more"]


def test_feet_are_on_the_floor_or_at_the_lower_edge_within_the_picture() -> None:
    rows = sightings(
        [
            row(),
            row(x_m=None, y_m=None),
            row(x_m=None, y_m=None, x0_px=1900.0, x1_px=2000.0, y1_px=1200.0),
        ]
    )
    stand = feet(rows, plan())
    assert stand.select("_x", "_y", "_on_floor").rows() == [
        (2.0, 3.0, True),
        (130.0, 300.0, False),
        (1920.0, 1080.0, False),
    ]
    unsized = plan(camera=[{"name": "cam-1"}])
    assert feet(rows, unsized).select("_x", "_y").row(2) == (1950.0, 1200.0)


class Clocks:
    """Two cameras, waited for up to 10 s of event time; ticks are 5 s behind."""

    def __init__(self) -> None:
        self.clock = StoreClock(["cam-1", "cam-2"], hold_ms=10_000, idle_ms=5_000)
        self.state = StateTable("clock", LAYOUT)

    def see(self, *frames: tuple[str, float, int]) -> tuple[list[float], list[bool]]:
        """Frames as (camera, second, number): the store's time after each, in seconds, and which went back."""
        rows = [
            {"camera_id": name, "captured_ms": START_MS + round(second * 1000), "frame": number}
            for name, second, number in frames
        ]
        frame = sightings(rows)
        time_ms = frame["captured_ms"].to_physical()
        reached, back = self.clock.advance(frame.with_columns(_time_ms=time_ms, _is_correction=False), self.state)
        return [(ms - START_MS) / 1000 for ms in reached.tolist()], back.tolist()


def test_the_store_is_as_far_as_the_last_camera() -> None:
    reached, back = Clocks().see(
        ("cam-1", 1, 0), ("cam-2", 1, 0), ("cam-1", 3, 1), ("cam-2", 2, 1), ("cam-1", 5, 2), ("cam-2", 6, 2)
    )
    # The newest of two rows running counts, so each camera is a row behind.
    assert reached == [1, 1, 1, 1, 1, 2]
    assert back == [False] * 6


def test_a_camera_that_fell_silent_or_never_spoke_is_waited_for_and_no_longer() -> None:
    clocks = Clocks()
    reached, _ = clocks.see(*[("cam-1", second, second) for second in range(15)])
    assert reached == [0] * 12 + [11, 12, 13]


def test_a_clock_that_is_set_back_is_refused_until_it_has_caught_up() -> None:
    clocks = Clocks()
    clocks.see(("cam-1", 10, 0), ("cam-1", 11, 1), ("cam-2", 10, 0))
    _, back = clocks.see(("cam-1", -3_589, 2), ("cam-2", 11, 1), ("cam-1", 10.5, 3), ("cam-1", 11.5, 4))
    assert back == [True, False, True, False]


def test_a_row_out_of_order_is_not_a_clock_set_back_nor_is_a_camera_that_starts_anew() -> None:
    clocks = Clocks()
    _, back = clocks.see(("cam-1", 10, 50), ("cam-1", 11, 51), ("cam-1", 10, 50), ("cam-1", 12, 0), ("cam-1", 12.2, 1))
    assert back == [False] * 5


def test_the_clock_is_the_same_in_any_cut() -> None:
    frames = [(f"cam-{1 + n % 2}", 10 + n / 3 - (5 if n % 7 == 0 else 0), n) for n in range(40)]
    whole = Clocks().see(*frames)
    clocks = Clocks()
    parts = [clocks.see(frame) for frame in frames]
    assert ([at for part, _ in parts for at in part], [is_back for _, part in parts for is_back in part]) == whole
    assert sum(whole[1]) > 3


def test_a_tick_goes_on_with_the_wall_clock_for_partitions_that_are_read_to_the_end() -> None:
    clocks = Clocks()
    clocks.see(*[(name, second, second) for second in range(5) for name in ("cam-1", "cam-2")])
    last_log_ms = START_MS + 4_050
    assert clocks.clock.of_tick(last_log_ms + 5_000, [0, 1], clocks.state) == START_MS + 3_000
    assert clocks.clock.of_tick(last_log_ms + 7_000, [0, 1], clocks.state) == START_MS + 5_000
    assert clocks.clock.of_tick(last_log_ms + 7_000, [0], clocks.state) == START_MS + 3_000, "the other may have more"
