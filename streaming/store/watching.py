"""What alerts are about, as it was in each short window: a stage of its own, so that rules are judged on few rows.

    sightings (validated) ─► StoreWatch ─► observations

An observation is one of

    occupancy   how many people are in a zone           zone_id, value
    stay        how long one has been in a zone, s      zone_id, subject, value
    crossed     one crossed a line, 1 in, -1 out        zone_id, subject, value
    camera      seconds since a camera's last frame     subject, value (null: never seen), covered, camera_partition
    renamed     an identity became another              zone_id (the old one), subject (the new one)

`event_time_ms` is when it was so: of a crossing its own, else the window's end. Windows are of 2 s and are not
corrected: an alert cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from streaming.state import StateTable
from streaming.store.clock import camera_key
from streaming.store.counting import Counted
from streaming.store.folding import Closed, Folding, Row
from streaming.store.plan import STORE, StorePlan
from streaming.store.stage import ORIGIN_SCHEMA, TIME, FoldingStage, with_origin

OBSERVED_SCHEMA = pl.Schema(
    {
        "event_time_ms": TIME,
        "window_end_ms": pl.Int64(),
        "what": pl.String(),
        "zone_id": pl.String(),
        "subject": pl.String(),
        "value": pl.Float64(),
        "covered": pl.Boolean(),
        "camera_partition": pl.Int32(),
        **ORIGIN_SCHEMA,
    }
)


class StoreWatch(FoldingStage):
    """The stage."""

    name = "watch"
    schema = OBSERVED_SCHEMA

    def __init__(
        self,
        plan: StorePlan,
        *,
        window_s: float = 2.0,
        lateness_s: float = 1.0,
        hold_s: float = 10.0,
        idle_s: float = 3.0,
    ) -> None:
        self._cameras = [camera.name for camera in plan.camera]
        super().__init__(
            Folding.of(
                plan,
                report_for(plan),
                window_s=window_s,
                lateness_s=lateness_s,
                horizon_s=0.0,
                hold_s=hold_s,
                idle_s=idle_s,
            )
        )

    def _rows(self, closed: Sequence[Closed], state: StateTable) -> list[Row]:
        rows: list[Row] = []
        for window in closed:
            end_ms = window.counted.end_ms
            renamed = [
                _row("renamed", end_ms, rename.old, rename.new) for rename in window.renames
            ]  # before all else, so that the window's other rows are the new one's
            told = with_origin([*renamed, *window.rows], window.origin)
            rows += [{**row, "window_end_ms": end_ms} for row in told]
        partitions = {
            name: int(state["of_partition"][state.slots([camera_key(name)])[0]])
            for name in self._cameras
            if camera_key(name) in state
        }
        for row in rows:
            row["camera_partition"] = partitions.get(row["subject"]) if row["what"] == "camera" else None
        return rows


def report_for(plan: StorePlan) -> Callable[[Counted], list[Row]]:
    """Observations of a window."""
    names = [*(zone.name for zone in plan.zone), STORE]
    cameras = [camera.name for camera in plan.camera]

    def report(counted: Counted) -> list[Row]:
        stays, carry, end_ms = counted.stays, counted.carry, counted.end_ms
        last = stays.occupancy[-1].tolist()
        rows = [_row("occupancy", end_ms, zone, zone, float(people)) for zone, people in zip(names, last, strict=True)]
        for name, person in sorted(stays.people_after.items()):
            # Who has left for a moment is still there until the stay is over.
            rows += [
                _row("stay", end_ms, zone, name, (end_ms - stay.since_ms) / 1000)
                for zone, stay in sorted(person.stays.items())
                if stay.counts
            ]
        rows += [_row("crossed", c.time_ms, c.line, c.person, float(c.direction)) for c in counted.crossings]
        for camera in cameras:
            silence_s = (end_ms - carry.cameras[camera]) / 1000 if camera in carry.cameras else None
            rows.append(_row("camera", end_ms, camera, camera, silence_s, camera in counted.covered))
        return rows

    return report


def _row(
    what: str, time_ms: int, zone: str, subject: str, value: float | None = None, covered: bool = False
) -> dict[str, Any]:
    return {
        "event_time_ms": time_ms,
        "what": what,
        "zone_id": zone,
        "subject": subject,
        "value": value,
        "covered": covered,
    }
