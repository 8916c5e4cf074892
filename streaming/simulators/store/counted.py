"""A made-up store as `streaming.store` counts it: the same cameras, zones and lines, on the same floor."""

from __future__ import annotations

from streaming.simulators.store.presets import Store
from streaming.store.plan import Camera, Floor, Line, StorePlan, Zone


def store_plan(made: Store) -> StorePlan:
    """What there is to count in it, in metres on its floor plan."""
    plan = made.plan
    return StorePlan(
        camera=tuple(Camera(camera.camera_id, camera.width_px, camera.height_px) for camera in made.cameras),
        zone=tuple(
            Zone(zone.name, tuple((float(x), float(y)) for x, y in zone.polygon.tolist())) for zone in plan.zones
        ),
        line=tuple(
            Line(line.name, (line.ax_m, line.ay_m), (line.bx_m, line.by_m), entrance=line.name == "door")
            for line in plan.lines
        ),
        floor=Floor(plan.width_m, plan.depth_m),
    )
