"""A made-up store as the pipelines know it: how its cameras see the floor, and what there is to count on it."""

from __future__ import annotations

from streaming.features.floor import FloorView
from streaming.simulators.store.presets import Store
from streaming.store.plan import Camera, Floor, Line, StorePlan, Zone


def floor_views(made: Store) -> dict[str, FloorView]:
    """Its cameras by name, calibrated exactly."""
    return {
        camera.camera_id: FloorView(tuple(map(tuple, camera.homography.tolist())), camera.width_px, camera.height_px)
        for camera in made.cameras
    }


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
