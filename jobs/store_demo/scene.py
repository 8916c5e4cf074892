"""A made-up store for a demo: what each camera shows at a moment, in its own boxes, and how many visitors had come.

    walks ─► boxes, with the errors of a detector ─┐
         └─► pictures ────────────────────────────┴─► lines of a smart camera

Half an hour is made before it begins, and then begins anew; it starts when there are people in the store already. While
the doors are closed the store is shown empty.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import simplejpeg

from streaming.simulators.store.cameras import Camera
from streaming.simulators.store.counted import store_plan
from streaming.simulators.store.detections import DetectorErrors, detect
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.outfits import draw_outfits
from streaming.simulators.store.presets import store
from streaming.simulators.store.sightings import sightings, steps_per_frame
from streaming.simulators.store.walks import walk

FPS = 5
SIZE_PX = (640, 360)
BEGIN_S = 60.0  # of the walks: by then some are in the store
_CAMERAS = 2
_QUALITY = 85  # of JPEG
_BOX = ("x0_px", "y0_px", "x1_px", "y1_px")


class Scene:
    """The store with its people.

    Args:
        seed: of people, clothes, ways and the errors of detection.
        duration_s: so much is made; more than `BEGIN_S`.
    """

    def __init__(self, seed: int, duration_s: float = 1800.0) -> None:
        made = store(_CAMERAS, size_px=SIZE_PX)
        self.made = made._replace(traffic=replace(made.traffic, duration_s=duration_s))
        walks = walk(made.plan, self.made.traffic, seed)
        people, outfits = draw_identities(made.traffic.people, seed), draw_outfits(len(walks.visits), seed)
        self._frames, self._begin = round(duration_s * FPS), round(BEGIN_S * FPS)
        seen = sightings(made.plan, made.cameras, people, walks.positions, fps=FPS)
        told = detect(seen, made.cameras, DetectorErrors(), seed, frames=self._frames, fps=FPS)
        self._boxes = {
            (str(camera), int(frame)): part
            for (camera, frame), part in told.partition_by("camera_id", "frame", as_dict=True).items()
        }
        self._positions = {
            int(step): part for (step,), part in walks.positions.partition_by("step", as_dict=True).items()
        }
        self._nobody = walks.positions.clear()
        self._arrived_s = walks.visits["arrived_s"].drop_nulls().to_numpy()
        self._left_s = walks.visits.drop_nulls("arrived_s")["left_s"].fill_null(np.inf).to_numpy()
        self._painters = {
            camera.camera_id: FramePainter(made.plan, camera, people, outfits, seed) for camera in made.cameras
        }

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """Those that look at it."""
        return self.made.cameras

    def line(self, camera_id: str, captured_ms: int, since_opening: int | None) -> bytes:
        """One frame as a smart camera tells it, `streaming.cameras.smart`.

        Args:
            camera_id: of which camera.
            captured_ms: when, UTC.
            since_opening: how many frames after the doors were opened; None: they are closed.
        """
        number = None if since_opening is None else self._number(since_opening)
        positions, boxes = self._nobody, None
        if number is not None:
            positions = self._positions.get(number * steps_per_frame(FPS), self._nobody)
            boxes = self._boxes.get((camera_id, number))
        picture = self._painters[camera_id].draw(positions, captured_ms * FPS // 1000)
        persons = [] if boxes is None else boxes.select(*_BOX, "score").iter_rows()
        said: dict[str, Any] = {"captured_ms": captured_ms, "width": SIZE_PX[0], "height": SIZE_PX[1]}
        said["detections"] = [{"box": person[:4], "score": person[4]} for person in persons]
        said["jpeg"] = base64.b64encode(simplejpeg.encode_jpeg(picture, _QUALITY)).decode()
        return json.dumps(said).encode() + b"\n"

    def visitors(self, elapsed_s: float) -> int:
        """How many visits there were between the opening and so many seconds after it, those under way at either end
        among them."""
        length_s = self._frames / FPS
        laps, end_s = divmod(BEGIN_S + max(elapsed_s, 0.0), length_s)
        if not laps:
            return self._present(BEGIN_S, end_s)
        return (
            self._present(BEGIN_S, length_s)
            + round(laps - 1) * self._present(0.0, length_s)
            + self._present(0.0, end_s)
        )

    def _present(self, from_s: float, to_s: float) -> int:
        return int(((self._arrived_s <= to_s) & (self._left_s > from_s)).sum())

    def _number(self, since_opening: int) -> int:
        return (self._begin + since_opening) % self._frames

    def plan_table(self) -> dict[str, Any]:
        """Its plan and rules of alerts, as `streaming.store.plan_file` writes them."""
        plan = store_plan(self.made)
        zones = [
            {
                "name": zone.name,
                "kind": "queue" if zone.name.startswith("queue") else "area",
                "polygon": np.round(zone.corners, 2).tolist(),
            }
            for zone in plan.zone
        ]
        return {
            "camera": [vars(camera) for camera in plan.camera],
            "floor": vars(plan.floor),
            "zone": zones,
            "line": [
                {"name": line.name, "start": [*line.start], "end": [*line.end], "entrance": line.entrance}
                for line in plan.line
            ],
            "funnel": [{"name": "buys", "zones": ["entrance", "queue-1"]}],
            "rule": [
                {"name": "somebody-came-in", "kind": "line", "line": "door", "direction": "in"},
                {"name": "queue-is-long", "kind": "crowding", "zone": "queue-1", "people": 3, "for_s": 5},
                {"name": "many-in-the-store", "kind": "crowding", "zone": "store", "people": 6, "for_s": 5},
                {"name": "camera-down", "kind": "camera_down", "limit_s": 20},
                {"name": "camera-covered", "kind": "camera_covered", "limit_s": 10},
            ],
        }
