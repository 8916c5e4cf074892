"""A small simulated store behind a gateway: two cameras, people who walk, exact truth, frames of paper dolls.

Sightings are the truth of the simulator, counted by the very stage that `store-metrics` runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import simplejpeg

from serve.gateway.testing import Site
from streaming.cameras.definition import Camera
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.outfits import draw_outfits
from streaming.simulators.store.presets import store
from streaming.simulators.store.sightings import sightings as truth_of
from streaming.simulators.store.walks import walk
from streaming.store.figures import StoreMetrics
from streaming.store.plan import StorePlan
from streaming.store.plan_file import to_toml
from streaming.topics import CAMERA_FRAMES, PERSON_SIGHTINGS, STORE_ALERTS, STORE_METRICS
from tests.store_walks import sightings

SEED = 5
SECONDS = 240.0
FPS = 5
LATER_S = 4.0
"""How much of the walks is left to be told."""


def table(**changed: Any) -> dict[str, Any]:
    """The plan of the simulated store."""
    made = store(2, size_px=(640, 360))
    plan = made.plan
    cameras = [{"name": c.camera_id, "width_px": c.width_px, "height_px": c.height_px} for c in made.cameras]
    zones = [
        {
            "name": zone.name,
            "kind": "queue" if zone.name.startswith("queue") else "area",
            "polygon": zone.polygon.round(2).tolist(),
        }
        for zone in plan.zones
        if zone.name != "back"
    ]
    lines = [
        {"name": line.name, "start": [line.ax_m, line.ay_m], "end": [line.bx_m, line.by_m]} for line in plan.lines[:1]
    ]
    floor = {"width_m": plan.width_m, "depth_m": plan.depth_m, "cell_m": 0.5}
    rules = [{"name": "queue-is-long", "kind": "crowding", "zone": "queue-1", "people": 3}]
    return {"gone_s": 30.0, "floor": floor, "camera": cameras, "zone": zones, "line": lines, "rule": rules} | changed


def write(folder: Path, **changed: Any) -> Path:
    """The file of that plan."""
    path = folder / "store.toml"
    path.write_text(to_toml(table(**changed)))
    return path


def configured(names: Sequence[str] = ("cam-01", "cam-02")) -> list[Camera]:
    """Cameras that state why they look."""
    return [Camera(id=name, source="/dev/null", purpose="count visitors", retention_days=7) for name in names]


class Scene:
    """Four minutes of the store, told as if they ended now."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.made = store(2, size_px=(640, 360))
        self.walks = walk(self.made.plan, replace(self.made.traffic, duration_s=seconds, arrivals_per_min=8), SEED)
        self.people = draw_identities(self.made.traffic.people, seed=SEED)
        self.epoch_ms = (time.time_ns() // 1_000_000 - round(seconds * 1000)) // 10_000 * 10_000

    @cached_property
    def sightings(self) -> pl.DataFrame:
        """Everybody in everybody's picture, with the runner's columns."""
        seen = truth_of(
            self.made.plan, self.made.cameras, self.people, self.walks.positions, fps=FPS, epoch_ms=self.epoch_ms
        ).filter(pl.col("visible_share") > 0.3)
        rows = [
            {
                **{name: row[name] for name in ("camera_id", "captured_ms", "frame", "x_m", "y_m")},
                **{name: row[name] for name in ("x0_px", "y0_px", "x1_px", "y1_px")},
                "track_id": row["visit"],
                "person_id": f"p{row['person_id']}",
                "score": 0.9,
                "link_score": 0.87,
            }
            for row in seen.iter_rows(named=True)
        ]
        times = {(row["camera_id"], row["captured_ms"]) for row in rows}
        last = max(row["captured_ms"] for row in rows)
        empty = [
            {"camera_id": camera.camera_id, "captured_ms": at, "frame": (at - self.epoch_ms) * FPS // 1000}
            for camera in self.made.cameras
            for at in range(self.epoch_ms, last + 1, 1000 // FPS)
            if (camera.camera_id, at) not in times
        ]
        return sightings(sorted([*rows, *empty], key=lambda row: (row["captured_ms"], row["camera_id"])))

    def counted(self, plan: StorePlan) -> list[dict[str, Any]]:
        """Rows of store.metrics by this plan."""
        stage = StoreMetrics(plan)
        frame = stage(self.sightings, stage.new_state()).drop("_reject", "_ingest_time_ms", "_schema_id")
        times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
        frame = frame.with_columns(pl.col(times).dt.timestamp("ms")).drop("_partition", "_offset")
        return [row | {"emit_time_ms": row["window_end_ms"]} for row in frame.iter_rows(named=True)]

    @cached_property
    def told_ms(self) -> int:
        """Up to when `tell` says who was where."""
        return int(self.sightings["captured_ms"].dt.timestamp("ms").max()) - round(1000 * LATER_S)

    def tell(self, site: Site, plan: StorePlan) -> None:
        """Counts, sightings, a picture of each camera that is so old that it may be shown, and an alert."""
        site.tell(STORE_METRICS, *self.counted(plan))
        self.tell_sightings(site, self.told_ms - 3_000, self.told_ms)
        self.tell_frames(site, self.told_ms - 2_000)
        site.tell(STORE_ALERTS, alert(event_time_ms=self.epoch_ms + 60_000), alert(state="cleared", value=2.0))

    def seen_at(self, captured_ms: int) -> pl.DataFrame:
        """Sightings of this moment."""
        return self.sightings.filter(pl.col("captured_ms").dt.timestamp("ms") == captured_ms)

    def tell_sightings(self, site: Site, after_ms: int, until_ms: int) -> None:
        """Who was where in this time."""
        shown = self.sightings.with_columns(pl.col("captured_ms").dt.timestamp("ms"))
        shown = shown.filter(pl.col("captured_ms").is_between(after_ms, until_ms, closed="right"))
        shown = shown.select([name for name in shown.columns if not name.startswith("_")])
        site.tell(PERSON_SIGHTINGS, *shown.iter_rows(named=True))

    def tell_frames(self, site: Site, captured_ms: int) -> None:
        """A picture of each camera at this moment."""
        step = (captured_ms - self.epoch_ms) // 100
        outfits = draw_outfits(len(self.walks.visits), seed=SEED)
        for camera in self.made.cameras:
            painter = FramePainter(self.made.plan, camera, self.people, outfits)
            picture = painter.draw(self.walks.positions.filter(step=step), frame=step)
            jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 85)
            size = {"width": camera.width_px, "height": camera.height_px}
            row = {"camera_id": camera.camera_id, "captured_ms": captured_ms, "frame": step // 2, **size, "jpeg": jpeg}
            site.tell(CAMERA_FRAMES, row)


def alert(**changed: Any) -> dict[str, Any]:
    """A row of store.alerts."""
    return {
        "zone_id": "queue-1",
        "rule": "queue-is-long",
        "kind": "crowding",
        "state": "raised",
        "subject": "queue-1",
        "event_time_ms": time.time_ns() // 1_000_000 - 30_000,
        "value": 4.0,
        "limit": 3.0,
    } | changed
