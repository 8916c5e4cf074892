"""From boxes to counts: what the tracker believes late is counted as if it had been believed at once, and what it never
believes is counted nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.store.figures import StoreMetrics
from streaming.store.plan import Camera, Floor, Line, StorePlan, Zone
from streaming.tracking import ByteTrack, TrackStage

START_MS = 1_700_000_000_000
FRAME_MS = 200
PX_PER_M = 100.0
PLAN = StorePlan(
    camera=(Camera("cam", 1_000, 600),),
    zone=(Zone("inside", ((2.0, 0.0), (10.0, 0.0), (10.0, 6.0), (2.0, 6.0))),),
    line=(Line("door", (2.0, 6.0), (2.0, 0.0)),),  # in is towards larger x
    floor=Floor(10.0, 6.0),
)
SECONDS = 60  # longer than all visits, so that windows close


def frames(boxes: dict[int, list[tuple[float, float]]]) -> pl.DataFrame:
    """Rows as the tracking stage takes them, of people who stand at (x, y) in m by frame, seen from above."""
    rows: list[dict[str, Any]] = []
    for number in range(SECONDS * 1000 // FRAME_MS):
        frame = {"camera_id": "cam", "captured_ms": START_MS + number * FRAME_MS, "frame": number, "_offset": number}
        here = [
            {
                "x0_px": PX_PER_M * x - 30, "x1_px": PX_PER_M * x + 30, "y0_px": PX_PER_M * y - 120,
                "y1_px": PX_PER_M * y, "score": 0.9, "x_m": x, "y_m": y,
            }
            for x, y in boxes.get(number, ())
        ]  # fmt: skip
        rows += [frame | box for box in here] or [frame]
    floats = dict.fromkeys(("x0_px", "y0_px", "x1_px", "y1_px", "score", "x_m", "y_m"), pl.Float32)
    return pl.DataFrame(rows, schema_overrides=floats, infer_schema_length=None).with_columns(
        pl.col("captured_ms").cast(pl.Datetime("ms", "UTC")),
        _partition=pl.lit(0, pl.Int32),
        _ingest_time_ms=pl.col("captured_ms"),
        _schema_id=pl.lit(0, pl.Int32),
        _reject=pl.lit(None, pl.String),
    )


def counted(boxes: dict[int, list[tuple[float, float]]], confirm_hits: int = 2) -> dict[str, tuple[int, ...]]:
    """(people, in, out) by zone and line, over all windows."""
    tracks, metrics = TrackStage(ByteTrack(confirm_hits=confirm_hits)), StoreMetrics(PLAN)
    nobody = dict.fromkeys(("person_id", "corrects_person_id"), pl.lit(None, pl.String))
    told = tracks(frames(boxes), tracks.new_state()).with_columns(
        pl.col("_ingest_time_ms").to_physical(),
        corrects_from_ms=pl.lit(None, pl.Datetime("ms", "UTC")),
        covered=pl.lit(False),
        **nobody,
    )
    said = metrics(told, metrics.new_state()).sort("revision")
    latest = said.unique(("zone_id", "window_start_ms"), keep="last")
    figures = latest.group_by("zone_id").agg(pl.col("people", "crossed_in", "crossed_out").sum())
    return {row[0]: row[1:] for row in figures.iter_rows()}


walks = st.lists(
    st.tuples(
        st.booleans(),
        st.floats(0.5, 5.5),  # where across the door
        st.floats(0.25, 0.6),  # how far beyond the line they come into sight
        st.integers(0, 1_000),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(walks, st.integers(1, 3))
def test_who_comes_into_sight_right_before_the_line_is_counted_however_late_the_track_is_believed(
    visits: list[tuple[bool, float, float, int]], confirm_hits: int
) -> None:
    """One after another, .2 m a frame, in and back out or in alone; each is overlooked in one frame on the way."""
    boxes: dict[int, list[tuple[float, float]]] = {}
    for number, (comes_back, y, before_m, seed) in enumerate(visits):
        random = np.random.default_rng(seed)
        way = np.arange(2.0 - before_m, 5.0, 0.2)
        way = np.concatenate([way, way[::-1]]) if comes_back else way
        overlooked = int(random.integers(4, len(way) - 4))
        for step, x in enumerate(way.tolist()):
            if step != overlooked:
                noise = random.normal(0, 0.02, 2)
                boxes.setdefault(number * 60 + step, []).append((x + noise[0], y + noise[1]))
    _, came, went = counted(boxes, confirm_hits)["door"]
    assert (came, went) == (len(visits), sum(comes_back for comes_back, *_ in visits))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 9.5), st.floats(1.3, 5.8)), min_size=1, max_size=20))
def test_boxes_that_no_track_is_believed_of_count_nowhere(places: list[tuple[float, float]]) -> None:
    """Now and then a box somewhere: at the door, in the zone, on both sides of the line; none is seen again in time."""
    boxes = {5 + 9 * number: [place] for number, place in enumerate(places)}
    assert set(counted(boxes).values()) == {(0, 0, 0)}
