"""Walks on a floor with exact truth, and the sightings that cameras would make of them: for tests of the store.

A walk is a list of corners that one person goes through at 1.2 m/s. Two cameras look at the floor, 5 frames a second;
camera `cam-1` sees x < 10, `cam-2` x >= 9, so that both see the strip in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from streaming.codec import load_schema
from streaming.store.plan import StorePlan, parse_plan
from streaming.store.sightings import SIGHTING_SCHEMA

START_MS = 1_700_000_000_000
"""Begins a window of 10 s, and of a minute's 20 s."""
FRAME_MS = 200
SPEED_M_PER_S = 1.2

PLAN: dict[str, Any] = {
    "floor": {"width_m": 20.0, "depth_m": 10.0, "cell_m": 1.0},
    "camera": [
        {"name": "cam-1", "width_px": 1920, "height_px": 1080},
        {"name": "cam-2", "width_px": 1920, "height_px": 1080},
    ],
    "zone": [
        {"name": "entrance", "polygon": [[0, 0], [5, 0], [5, 10], [0, 10]]},
        {"name": "shelf", "polygon": [[5, 0], [15, 0], [15, 5], [5, 5]]},
        {"name": "till", "kind": "queue", "min_stay_s": 3.0, "polygon": [[15, 0], [20, 0], [20, 10], [15, 10]]},
    ],
    "line": [{"name": "door", "start": [2, 10], "end": [2, 0], "band": 0.3}],
    "funnel": [{"name": "buys", "zones": ["entrance", "shelf", "till"]}],
    "leave_s": 2.0,
    "gone_s": 6.0,
}


def plan(**changed: Any) -> StorePlan:
    return parse_plan({**PLAN, **changed})


@dataclass(frozen=True)
class Walk:
    """One person: where they come in, where they turn; `start_s` after the feed begins, `pause_s` at each corner."""

    corners: Sequence[tuple[float, float]]
    start_s: float = 0.0
    pause_s: float = 0.0

    @property
    def duration_s(self) -> float:
        return float(self._times()[-1])

    def at(self, time_s: np.ndarray) -> np.ndarray:
        """(N, 2) at these times of the feed; NaN before and after."""
        times, corners = self._times(), np.repeat(np.asarray(self.corners, float), 2, axis=0)[1:-1]
        since = time_s - self.start_s
        points = np.stack([np.interp(since, times, corners[:, axis]) for axis in (0, 1)], axis=-1)
        points[(since < 0) | (since > times[-1])] = np.nan
        return points

    def _times(self) -> np.ndarray:
        corners = np.asarray(self.corners, float)
        legs_s = np.linalg.norm(np.diff(corners, axis=0), axis=1) / SPEED_M_PER_S
        times = [0.0]
        for leg_s in legs_s:
            times += [times[-1] + leg_s, times[-1] + leg_s + self.pause_s]
        return np.asarray(times[: 2 * len(legs_s)])


@dataclass(frozen=True)
class Feed:
    """Cameras that look at walks."""

    walks: Sequence[Walk]
    length_s: float
    jitter_m: float = 0.0
    dropped: float = 0.0  # share of sightings that the detector misses
    seed: int = 1
    linked: bool = True  # people have identities; else only tracks
    names: dict[int, str] = field(default_factory=dict)  # identity of a walk, else `p` and its number

    def rows(self) -> pl.DataFrame:
        """Sightings in order of capture, with the runner's columns; a camera has a partition."""
        random = np.random.default_rng(self.seed)
        time_s = np.arange(0, self.length_s, FRAME_MS / 1000)
        rows: list[dict[str, Any]] = []
        points = np.array([walk.at(time_s) for walk in self.walks]).reshape(len(self.walks), len(time_s), 2)
        points = points + random.normal(0, self.jitter_m, points.shape) if self.jitter_m else points
        missed = random.random((2, *points.shape[:2])) < self.dropped
        for frame, second in enumerate(time_s.tolist()):
            for camera, sees in enumerate((points[:, frame, 0] < 10, points[:, frame, 0] >= 9)):
                there = np.flatnonzero(sees & ~missed[camera, :, frame]).tolist()
                common = {
                    "camera_id": f"cam-{camera + 1}",
                    "captured_ms": START_MS + round(second * 1000),
                    "frame": frame,
                }
                rows += [common] * (not there)
                for number in there:
                    x, y = points[number, frame].tolist()
                    name = self.names.get(number, f"p{number}") if self.linked else None
                    rows.append({**common, **person(number, x, y, name)})
        return sightings(rows)


def person(track: int, x_m: float, y_m: float, person_id: str | None = None) -> dict[str, Any]:
    box = {"x0_px": 100.0, "y0_px": 100.0, "x1_px": 160.0, "y1_px": 300.0, "score": 0.9}
    return {"track_id": track, **box, "x_m": x_m, "y_m": y_m, "person_id": person_id}


def sightings(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """A frame of sightings with the runner's columns, in this order; what a row leaves out is null."""
    times = ("captured_ms", "corrects_from_ms")
    physical = {name: pl.Int64() if name in times else dtype for name, dtype in SIGHTING_SCHEMA.items()}
    frame = pl.DataFrame([{"covered": False, **row} for row in rows], schema=physical, orient="row")
    partition = (pl.col("camera_id") == "cam-2").cast(pl.Int32)
    return frame.cast(SIGHTING_SCHEMA).with_columns(
        _partition=partition,
        _offset=pl.int_range(pl.len()).over(partition),
        _ingest_time_ms=pl.col("captured_ms").to_physical() + 50,
        _schema_id=pl.lit(7, pl.Int32),
        _reject=pl.lit(None, pl.String),
    )


ALERT_RULES = [
    {"name": "crowd", "kind": "crowding", "zone": "entrance", "people": 2, "quiet_s": 0},
    {"name": "loiterer", "kind": "loitering", "zone": "shelf", "limit_s": 6},
    {"name": "in", "kind": "line", "line": "door", "direction": "in"},
    {"name": "down", "kind": "camera_down", "limit_s": 10, "quiet_s": 0},
    {"name": "covered", "kind": "camera_covered", "limit_s": 4, "quiet_s": 0},
]
VISITS = [
    Walk([(0.5, 5), (8, 3), (18, 5)], start_s=1, pause_s=8),
    Walk([(0.5, 6), (4, 2), (0.5, 6)], start_s=2, pause_s=5),
]


def watched_rows() -> pl.DataFrame:
    """cam-2 falls silent at 25 s and is back at 45 s; cam-1 is covered from 30 s to 37 s."""
    second = (pl.col("captured_ms").to_physical() - START_MS) / 1000
    rows = Feed(VISITS, 60).rows()
    is_off = (pl.col("_partition") == 1) & second.is_between(25, 45, closed="left")
    is_covered = (pl.col("_partition") == 0) & second.is_between(30, 37, closed="left")
    return rows.filter(~is_off).with_columns(covered=is_covered)


def as_told(rows: pl.DataFrame) -> pl.DataFrame:
    """All columns of the topic: those that say how a sighting came to be said, which nothing of a store reads, are
    null."""
    names = [field["name"] for field in load_schema("person-sightings")["fields"]]
    return rows.with_columns(pl.lit(None).alias(name) for name in names if name not in rows.columns).select(names)
