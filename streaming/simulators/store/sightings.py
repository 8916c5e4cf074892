"""Who is in which camera's picture, and where: the truth that detectors, trackers and identities are judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from streaming.simulators.store.bodies import Bodies, Joint, Poses, pose
from streaming.simulators.store.cameras import Camera
from streaming.simulators.store.dolls import View
from streaming.simulators.store.identities import Identities
from streaming.simulators.store.occlusion import behind_boxes, behind_people, body_points, share_of_body
from streaming.simulators.store.plan import Floats, FloorPlan
from streaming.simulators.store.walks import STEP_S

NEAREST_M = 0.8  # who comes nearer to a camera, along its line of sight, is not drawn
SIGHTINGS_SCHEMA = pl.Schema(
    {
        "camera_id": pl.String(),
        "captured_ms": pl.Int64(),
        "frame": pl.Int64(),
        "visit": pl.Int64(),
        "person_id": pl.Int64(),
        "outfit": pl.Int64(),
        "x0_px": pl.Float32(),  # of the box, cut to the picture
        "y0_px": pl.Float32(),
        "x1_px": pl.Float32(),
        "y1_px": pl.Float32(),
        "x_m": pl.Float32(),
        "y_m": pl.Float32(),
        "visible_share": pl.Float32(),  # of the body: in the picture, before shelves and people
    }
)
GT_BOXES_SCHEMA = pl.Schema({name: pl.Int64() for name in ("camera", "frame", "person_id", "x1", "y1", "x2", "y2")})


def poses_of(positions: pl.DataFrame) -> Poses:
    """Poses of people at `walks.POSITIONS_SCHEMA`; who browses reaches for the shelf now and then."""
    columns = {name: positions[name].to_numpy() for name in ("x_m", "y_m", "heading_rad", "gait_rad", "speed_mps")}
    browses = (positions["activity"] == "browse").to_numpy()
    sway = np.sin(0.9 * positions["time_s"].to_numpy() + positions["visit"].to_numpy())
    return Poses(**columns, reach=np.where(browses, np.clip(1.6 * sway, 0.0, 1.0), 0.0))


def view_of(camera: Camera, bodies: Bodies) -> View:
    """Bodies in a camera's picture; what is behind the camera is not a number."""
    pixels, depth_m = camera.project(bodies.joints_m)
    return View(pixels, bodies.radii_m * camera.focal_px / np.where(depth_m > 0, depth_m, np.nan), depth_m)


_BODY = [joint for joint in Joint if joint not in (Joint.EYE_R, Joint.EYE_L)]


def boxes_of(view: View) -> Floats:
    """The boxes around bodies: x0, y0, x1, y1 (N, 4), not cut to the picture."""
    joints, radii = view.joints_px[:, _BODY], view.radii_px[:, _BODY, None]
    return np.concatenate([(joints - radii).min(axis=1), (joints + radii).max(axis=1)], axis=1)


def in_view(camera: Camera, positions: pl.DataFrame, people: Identities) -> pl.DataFrame:
    """The rows of `positions` whose person may be in the picture: none is left out that is."""
    xy = positions.select("x_m", "y_m").to_numpy()
    height_m = people.height_m[positions["person_id"].to_numpy()]
    ends = np.stack([np.column_stack([xy, np.zeros(len(xy))]), np.column_stack([xy, height_m])], axis=1)
    pixels, depth_m = camera.project(ends)
    aside = camera.focal_px * 0.75 / np.maximum(depth_m.min(axis=1), 1e-3)
    low, high = pixels.min(axis=1) - aside[:, None], pixels.max(axis=1) + aside[:, None]
    meets = (high > 0).all(axis=1) & (low[:, 0] < camera.width_px) & (low[:, 1] < camera.height_px)
    return positions.filter(pl.Series((depth_m.min(axis=1) > NEAREST_M) & meets))


def sightings(
    plan: FloorPlan,
    cameras: Sequence[Camera],
    people: Identities,
    positions: pl.DataFrame,
    *,
    fps: int = 5,
    epoch_ms: int = 0,
) -> pl.DataFrame:
    """Everybody whom a camera sees any part of, a row a camera, frame and person.

    Args:
        plan: what stands between them.
        cameras: all take their frames at the same moments.
        people: row i is person i.
        positions: as `walks.walk` gives them.
        fps: frames per second, a divisor of 10.
        epoch_ms: UTC time of the first step.

    Returns:
        `SIGHTINGS_SCHEMA`, sorted by camera, frame and visit. Frames count from 0 at the first step.

    Raises:
        ValueError: `fps` does not divide the walks' 10 steps a second, or two cameras have one name.
    """
    stride = steps_per_frame(fps)
    if len({camera.camera_id for camera in cameras}) < len(cameras):
        raise ValueError("two cameras have one camera_id")
    taken = positions.filter(pl.col("step") % stride == 0).with_columns(frame=pl.col("step") // stride)
    seen = [_seen_by(camera, plan, people, taken.sort("frame", "visit")) for camera in cameras]
    interval_ms = round(stride * STEP_S * 1000)
    return (
        pl.concat(seen)
        .with_columns(captured_ms=epoch_ms + pl.col("frame") * interval_ms)
        .select(pl.col(name).cast(kind) for name, kind in SIGHTINGS_SCHEMA.items())
        .sort("camera_id", "frame", "visit")
    )


def steps_per_frame(fps: int) -> int:
    """Steps of a walk from one frame to the next.

    Raises:
        ValueError: not a whole number.
    """
    per_s = round(1 / STEP_S)
    if fps < 1 or per_s % fps:
        raise ValueError(f"cameras of a made-up store take 1, 2, 5 or {per_s} frames a second, not {fps}")
    return per_s // fps


def _seen_by(camera: Camera, plan: FloorPlan, people: Identities, positions: pl.DataFrame) -> pl.DataFrame:
    rows = in_view(camera, positions, people)
    who = people.take(rows["person_id"].to_numpy())
    boxes = boxes_of(view_of(camera, pose(who, poses_of(rows))))
    points = body_points(camera, rows.select("x_m", "y_m").to_numpy(), who.height_m)
    pixels, depth_m = camera.project(points)
    hidden = ~camera.in_frame(pixels)
    hidden |= behind_boxes(camera, points, plan.rectangles)
    hidden |= behind_people(rows["frame"].to_numpy(), depth_m.mean(axis=1), boxes, pixels)
    cut = np.clip(boxes, 0.0, [camera.width_px, camera.height_px] * 2)
    return rows.select(
        pl.lit(camera.camera_id).alias("camera_id"),
        "frame",
        "visit",
        "person_id",
        "outfit",
        "x_m",
        "y_m",
        *(pl.Series(name, cut[:, i]) for i, name in enumerate(("x0_px", "y0_px", "x1_px", "y1_px"))),
        pl.Series("visible_share", share_of_body(~hidden).clip(0.0, 1.0).round(3)),
    ).filter(pl.col("visible_share") > 0.0)


def gt_boxes(seen: pl.DataFrame, cameras: Sequence[Camera], *, min_visible_share: float = 0.0) -> pl.DataFrame:
    """Sightings as the table that ClonedPerson's clips come with: `GT_BOXES_SCHEMA`, whole pixels, cameras by index.

    Args:
        seen: `SIGHTINGS_SCHEMA`.
        cameras: their order gives the index.
        min_visible_share: leave out whom one sees less of.
    """
    index = pl.DataFrame({"camera_id": [camera.camera_id for camera in cameras], "camera": range(len(cameras))})
    return (
        seen.filter(pl.col("visible_share") >= min_visible_share)
        .join(index, on="camera_id", how="inner")
        .select(
            "camera",
            "frame",
            "person_id",
            x1=pl.col("x0_px").floor(),
            y1=pl.col("y0_px").floor(),
            x2=pl.col("x1_px").ceil(),
            y2=pl.col("y1_px").ceil(),
        )
        .cast(GT_BOXES_SCHEMA)
        .sort("camera", "frame", "person_id")
    )
