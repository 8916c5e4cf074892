"""Cameras of the made-up store: projection by hand, boxes, who hides whom, and what a detector makes of it."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.simulators.store.backdrop import may_hide
from streaming.simulators.store.bodies import Joint, Poses, pose
from streaming.simulators.store.cameras import Camera, hang_cameras, looking_at
from streaming.simulators.store.detections import DETECTIONS_SCHEMA, FAULTLESS, DetectorErrors, detect
from streaming.simulators.store.identities import Identities, draw_identities, with_hair_styles
from streaming.simulators.store.occlusion import behind_boxes, body_points
from streaming.simulators.store.plan import Box, FloorPlan, Spot, supermarket
from streaming.simulators.store.presets import Store, store
from streaming.simulators.store.sightings import (
    GT_BOXES_SCHEMA,
    SIGHTINGS_SCHEMA,
    boxes_of,
    gt_boxes,
    poses_of,
    sightings,
    view_of,
)
from streaming.simulators.store.walks import POSITIONS_SCHEMA, Walks, walk

# 3 m up at the origin, looking along x, down by half a right angle: its axis meets the floor at (3, 0).
SLANTED = Camera("cam", 0.0, 0.0, 3.0, yaw_deg=0.0, tilt_deg=45.0, focal_px=100.0, width_px=200, height_px=100)
LEVEL = Camera("cam", 0.0, 5.0, 1.0, yaw_deg=0.0, tilt_deg=0.0, focal_px=500.0, width_px=1000, height_px=800)


@pytest.fixture(scope="module")
def world() -> tuple[Store, Walks, Identities, pl.DataFrame]:
    made = store(8)
    walks = walk(made.plan, replace(made.traffic, duration_s=100, arrivals_per_min=20), seed=2)
    people = draw_identities(made.traffic.people, seed=2)
    return made, walks, people, sightings(made.plan, made.cameras, people, walks.positions)


def standing(*places: tuple[float, float]) -> pl.DataFrame:
    """One person at each place in one frame, turned to the camera at x = 0."""
    count = len(places)
    frame = pl.DataFrame({"x_m": [x for x, _ in places], "y_m": [y for _, y in places]}).with_columns(
        step=0, time_s=0.0, visit=pl.int_range(count), person_id=pl.int_range(count), outfit=0,
        heading_rad=math.pi, gait_rad=0.0, speed_mps=0.0, activity=pl.lit("queue"),
    )  # fmt: skip
    return frame.select(pl.col(name).cast(kind) for name, kind in POSITIONS_SCHEMA.items())


def room(*boxes: Box) -> FloorPlan:
    place = Spot(0.5, 0.5, 0.0)
    return FloorPlan(20.0, 10.0, boxes, (), (), place, place, (place,), ((place,),))


@pytest.mark.parametrize(
    ("floor_m", "pixel"),
    [
        ((3.0, 0.0), (100.0, 50.0)),  # on the axis
        ((3.0, 1.0), (100.0 + 100.0 / (3.0 * math.sqrt(2)), 50.0)),  # larger y is to the right of who looks along x
        ((4.0, 0.0), (100.0, 50.0 - 100.0 / 7.0)),  # further off is higher up
        ((0.0, 0.0), (100.0, 150.0)),  # straight below: 45° under the axis
    ],
)
def test_points_of_the_floor_by_hand(floor_m: tuple[float, float], pixel: tuple[float, float]) -> None:
    x, y, w = SLANTED.homography @ [*floor_m, 1.0]
    assert (x / w, y / w) == pytest.approx(pixel)
    assert SLANTED.project(np.array([*floor_m, 0.0]))[0] == pytest.approx(pixel)


def test_heights_by_hand() -> None:
    """Level, 1 m up, 500 px: at 10 m a metre is 50 px: the floor is 50 px below the middle, 1.8 m 40 px above."""
    pixels, depth_m = LEVEL.project(np.array([[10.0, 5.0, 0.0], [10.0, 5.0, 1.8], [10.0, 7.0, 1.0], [-1.0, 5.0, 1.0]]))
    assert pixels[:3].tolist() == [[500.0, 450.0], [500.0, 360.0], [600.0, 400.0]]
    assert np.isnan(pixels[3]).all()
    assert depth_m.tolist() == [10.0, 10.0, 10.0, -1.0]


angles = st.floats(-180, 180)


@given(angles, st.floats(5, 60), st.floats(1, 9), st.floats(-0.4, 0.4))
def test_a_point_of_the_floor_is_found_again(yaw_deg: float, tilt_deg: float, ahead_m: float, aside: float) -> None:
    camera = Camera("c", 4.0, 3.0, 2.8, yaw_deg, tilt_deg, 700.0, 1280, 720)
    bearing = math.radians(yaw_deg) + aside
    floor = np.array([[4.0 + ahead_m * math.cos(bearing), 3.0 + ahead_m * math.sin(bearing)]])
    image = np.column_stack([floor, [[1.0]]]) @ camera.homography.T
    pixels, depth_m = camera.project(np.column_stack([floor, [[0.0]]]))
    if depth_m[0] > 0.5:
        assert image[:, :2] / image[:, 2:] == pytest.approx(pixels)
        assert camera.floor_point(pixels) == pytest.approx(floor, abs=1e-6)


def test_a_camera_looks_at_what_it_is_told_to() -> None:
    camera = looking_at("c", (1.0, 2.0, 3.0), (5.0, 5.0), view_deg=90.0, size_px=(800, 600))
    assert camera.project(np.array([5.0, 5.0, 1.0]))[0] == pytest.approx([400.0, 300.0])
    assert camera.focal_px == pytest.approx(400.0)  # 90°: half the width
    half = camera.scaled(400)
    assert (half.width_px, half.height_px) == (400, 300)
    assert half.project(np.array([6.0, 4.0, 1.0]))[0] * 2 == pytest.approx(camera.project(np.array([6.0, 4.0, 1.0]))[0])


@given(st.integers(0, 49), st.floats(0, 6.28), st.floats(0, 1.5))
def test_a_body_stands_on_the_floor_and_is_as_tall_as_the_person(
    person: int, gait_rad: float, speed_mps: float
) -> None:
    people = draw_identities(50, seed=1).take(np.array([person, person]))
    walks_and_stands = (np.array([gait_rad] * 2), np.array([speed_mps, 0.0]), np.zeros(2))
    joints, radii = pose(people, Poses(np.ones(2), np.zeros(2), np.zeros(2), *walks_and_stands))
    low, high = (joints[..., 2] - radii).min(axis=1), (joints[..., 2] + radii).max(axis=1)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high[1] == pytest.approx(people.height_m[1])
    assert 0.9 * people.height_m[0] < high[0] < 1.002 * people.height_m[0]
    assert np.hypot(joints[..., 0] - 1.0, joints[..., 1]).max() < 0.9


HAIR_STYLE = ("volume", "bald", "bun", "beard")


def test_people_differ_in_build_and_the_first_are_the_same_however_many_there_are() -> None:
    few, many = draw_identities(5, seed=9), draw_identities(300, seed=9)
    for name in Identities.__dataclass_fields__:
        assert np.array_equal(getattr(few, name), getattr(many, name)[:5])
        if name not in HAIR_STYLE:
            assert len(np.unique(getattr(many, name), axis=0)) > 5
    assert 1.45 < many.height_m.min() < many.height_m.max() < 2.0
    styled = with_hair_styles(many, seed=9)
    for name in HAIR_STYLE:
        assert np.array_equal(getattr(with_hair_styles(few, seed=9), name), getattr(styled, name)[:5])
        assert len(np.unique(getattr(styled, name))) > 1


def test_boxes_hold_head_and_feet(world: tuple[Store, Walks, Identities, pl.DataFrame]) -> None:
    made, _, people, seen = world
    whole = seen.filter(pl.col("visible_share") == 1.0)
    assert len(whole) > 500
    for camera in made.cameras:
        rows = whole.filter(camera_id=camera.camera_id)
        floor = rows.select("x_m", "y_m").to_numpy().astype(np.float64)
        height_m = people.height_m[rows["person_id"].to_numpy()]
        boxes = rows.select("x0_px", "y0_px", "x1_px", "y1_px").to_numpy().astype(np.float64)
        slack = 0.06 * (boxes[:, 3] - boxes[:, 1])  # a stride and a lean
        for share in (0.02, 0.5, 0.95):
            pixels, _ = camera.project(np.column_stack([floor, share * height_m]))
            assert (pixels >= boxes[:, :2] - slack[:, None]).all()
            assert (pixels <= boxes[:, 2:] + slack[:, None]).all()
        feet, head = (camera.project(np.column_stack([floor, up]))[0][:, 1] for up in (0 * height_m, height_m))
        assert (boxes[:, 3] - boxes[:, 1]) / (feet - head) == pytest.approx(1.0, abs=0.3)


def test_boxes_are_those_of_all_joints_and_nobody_in_view_is_left_out(
    world: tuple[Store, Walks, Identities, pl.DataFrame],
) -> None:
    made, walks, people, seen = world
    camera = made.cameras[0]
    rows = walks.positions.filter(pl.col("step") % 20 == 0)
    who = people.take(rows["person_id"].to_numpy())
    bodies = pose(who, poses_of(rows))
    depth_m = camera.project(bodies.joints_m)[1]
    near = depth_m.min(axis=1) > 1.0
    joints = [joint for joint in Joint if not joint.name.startswith("EYE")]
    inside = camera.in_frame(camera.project(bodies.joints_m[:, joints])[0]).all(axis=1) & near
    wanted = rows.filter(pl.Series(inside)).select(frame=pl.col("step") // 2, visit="visit")
    found = seen.filter(camera_id=camera.camera_id).join(wanted, on=["frame", "visit"], how="inner")
    points = body_points(camera, rows.select("x_m", "y_m").to_numpy(), who.height_m)
    unseen = behind_boxes(camera, points, made.plan.rectangles)
    assert len(found) >= (inside & ~unseen.all(axis=1)).sum() - 3 > 5  # but for those behind others
    boxes = pl.DataFrame(boxes_of(view_of(camera, bodies)), schema=["a", "b", "c", "d"])
    exact = pl.concat([rows.select(frame=pl.col("step") // 2, visit="visit"), boxes], how="horizontal")
    both = found.join(exact, on=["frame", "visit"])
    assert both["x0_px"].to_numpy() == pytest.approx(both["a"].clip(0, 1280).to_numpy(), abs=1e-2)
    assert both["y1_px"].to_numpy() == pytest.approx(both["d"].clip(0, 720).to_numpy(), abs=1e-2)


def visible(plan: FloorPlan, *places: tuple[float, float]) -> list[float]:
    seen = sightings(plan, [LEVEL], draw_identities(len(places), seed=0), standing(*places))
    shares = dict(seen.select("visit", "visible_share").iter_rows())
    return [round(shares.get(visit, 0.0), 3) for visit in range(len(places))]


def test_a_shelf_hides_who_is_behind_it_and_not_who_is_before_it() -> None:
    tall = Box("tall", "shelf", 6.0, 3.0, 7.0, 7.0, 2.2)
    assert visible(room(), (9.0, 5.0)) == [1.0]
    assert visible(room(tall), (9.0, 5.0)) == [0.0]
    assert visible(room(tall), (5.0, 5.0)) == [1.0]
    low = Box("low", "counter", 6.0, 3.0, 7.0, 7.0, 0.5)  # over its far edge one sees what is above 0.36 m at 9 m
    assert 0.75 < visible(room(low), (9.0, 5.0))[0] < 0.9  # feet and shins are hidden
    wall_to_the_middle = Box("half", "wall", 6.0, 3.0, 7.0, 5.0, 2.2)
    assert 0.0 < visible(room(wall_to_the_middle), (9.0, 5.0))[0] < 1.0


def test_who_is_nearer_hides_who_is_behind() -> None:
    near, far = visible(room(), (5.0, 5.0), (9.0, 5.0))
    assert near == 1.0
    assert far < 0.2
    assert visible(room(), (5.0, 5.0), (9.0, 8.0)) == [1.0, 1.0]
    reaching = standing((5.0, 5.0), (9.0, 5.5)).with_columns(
        heading_rad=pl.lit(math.pi / 2), activity=pl.lit("browse", POSITIONS_SCHEMA["activity"]), time_s=pl.lit(1.7)
    )
    arm_only = sightings(room(), [LEVEL], draw_identities(2, seed=0), reaching).sort("visit")
    near_box, far_box = (arm_only.row(visit, named=True) for visit in (0, 1))
    assert near_box["x1_px"] > (far_box["x0_px"] + far_box["x1_px"]) / 2  # the arm reaches across
    assert far_box["visible_share"] > 0.9


def test_half_out_of_the_picture_is_half_seen() -> None:
    edge = LEVEL.width_px / 2 / LEVEL.focal_px * 9.0  # metres aside of the axis, at 9 m
    assert 0.2 < visible(room(), (9.0, 5.0 - edge * 0.555))[0] <= 1.0
    seen = sightings(room(), [LEVEL], draw_identities(1, seed=0), standing((4.9, 0.11)))
    assert 0.0 < seen["visible_share"].item() < 1.0
    assert seen["x0_px"].item() == 0.0


@given(st.floats(0.5, 19.5), st.floats(0.5, 9.5), st.floats(0.5, 19.5), st.floats(0.5, 9.5))
def test_what_a_straight_line_says_is_hidden_may_be_hidden(x: float, y: float, eye_x: float, eye_y: float) -> None:
    plan = room(Box("b", "shelf", 8.0, 4.0, 12.0, 6.0, 1.6))
    camera = Camera("c", eye_x, eye_y, 2.9, 0.0, 20.0, 500.0, 640, 480)
    point = np.array([[[x, y, 0.1]]])
    if plan.is_free(np.array([x]), np.array([y])).all() and behind_boxes(camera, point, plan.rectangles).all():
        assert may_hide(plan, camera, np.array([[x, y]])).all()


def test_some_views_overlap_and_some_do_not(world: tuple[Store, Walks, Identities, pl.DataFrame]) -> None:
    _, walks, _, seen = world
    clear = seen.filter(pl.col("visible_share") > 0.5).select("camera_id", "frame", "visit")
    both = clear.join(clear, on=["frame", "visit"]).filter(pl.col("camera_id") < pl.col("camera_id_right"))
    pairs = both.select("camera_id", "camera_id_right").unique()
    assert 3 < len(pairs) < 8 * 7 / 2
    taken = walks.positions.filter(pl.col("step") % 2 == 0)
    assert clear.select("frame", "visit").n_unique() > 0.85 * len(taken)


def test_sightings_are_as_declared_and_timed(world: tuple[Store, Walks, Identities, pl.DataFrame]) -> None:
    made, walks, people, seen = world
    assert seen.schema == SIGHTINGS_SCHEMA
    assert (seen["captured_ms"] == seen["frame"] * 200).all()
    assert seen.select("camera_id", "frame", "visit").is_unique().all()
    assert seen["visible_share"].is_between(0.0, 1.0, closed="right").all()
    slow = sightings(made.plan, made.cameras[:1], people, walks.positions, fps=1, epoch_ms=5000)
    assert (slow["captured_ms"] == 5000 + slow["frame"] * 1000).all()
    same = seen.filter(pl.col("frame") % 5 == 0, camera_id=made.cameras[0].camera_id)
    assert slow.drop("frame", "captured_ms").equals(same.drop("frame", "captured_ms"))


def test_gt_boxes_are_the_table_of_the_real_clips(world: tuple[Store, Walks, Identities, pl.DataFrame]) -> None:
    made, _, _, seen = world
    table = gt_boxes(seen, made.cameras, min_visible_share=0.5)
    assert table.schema == GT_BOXES_SCHEMA
    assert table.columns == ["camera", "frame", "person_id", "x1", "y1", "x2", "y2"]
    assert len(table) == (seen["visible_share"] >= 0.5).sum()
    assert ((table["x2"] > table["x1"]) & (table["y2"] > table["y1"])).all()
    assert table["x2"].is_between(1, 1280).all()
    assert table["camera"].unique().sort().to_list() == list(range(8))


def test_nobody_in_the_store_is_no_sighting() -> None:
    empty = sightings(room(), [LEVEL], draw_identities(1, seed=0), standing())
    assert empty.schema == SIGHTINGS_SCHEMA
    assert empty.is_empty()
    assert gt_boxes(empty, [LEVEL]).is_empty()


def test_a_faultless_detector_reports_the_truth(world: tuple[Store, Walks, Identities, pl.DataFrame]) -> None:
    made, _, _, seen = world
    found = detect(seen, made.cameras, FAULTLESS, 0, frames=501, fps=5)
    assert found.schema == DETECTIONS_SCHEMA
    truth = seen.filter((pl.col("x1_px") - pl.col("x0_px") >= 1) & (pl.col("y1_px") - pl.col("y0_px") >= 1))
    keys, edges = ["camera_id", "frame", "visit"], ["x0_px", "y0_px", "x1_px", "y1_px"]
    both = truth.join(found, on=keys, how="left")
    assert len(found) == len(seen)
    for edge in edges:
        assert both[f"{edge}_right"].to_numpy() == pytest.approx(both[edge].to_numpy(), abs=1e-3)


def test_detector_errors_are_as_large_as_said(world: tuple[Store, Walks, Identities, pl.DataFrame]) -> None:
    made, _, _, seen = world
    errors = DetectorErrors(jitter=0.03, miss_share=0.1, least_visible_share=0.3, false_per_frame=0.2)
    found = detect(seen, made.cameras, errors, 4, frames=501, fps=5)
    assert found.equals(detect(seen, made.cameras, errors, 4, frames=501, fps=5))
    assert not found.equals(detect(seen, made.cameras, errors, 5, frames=501, fps=5))
    clear = seen.filter(pl.col("visible_share") == 1.0)
    keys = ["camera_id", "frame", "visit"]
    kept = clear.join(found, on=keys)
    assert len(kept) / len(clear) == pytest.approx(0.9, abs=0.03)
    inner = kept.filter(pl.col("x0_px") > 40)
    off = (inner["x0_px_right"] - inner["x0_px"]) / (inner["y1_px"] - inner["y0_px"])
    assert off.std() == pytest.approx(0.03, rel=0.1)
    assert found["person_id"].is_null().sum() / (501 * 8) == pytest.approx(0.2, abs=0.03)
    assert (found["captured_ms"] == found["frame"] * 200).all()
    hidden = seen.filter(pl.col("visible_share") < 0.3)
    assert hidden.join(found, on=keys, how="semi").is_empty()
    for edge, limit in (("x1_px", 1280), ("y1_px", 720)):
        assert found[edge].is_between(1, limit).all()


def test_one_fault_can_be_turned_up_alone(world: tuple[Store, Walks, Identities, pl.DataFrame]) -> None:
    made, _, _, seen = world
    quiet, noisy = (
        detect(seen, made.cameras, DetectorErrors(false_per_frame=rate), 4, frames=501, fps=5) for rate in (0.0, 1.0)
    )
    assert noisy.drop_nulls("person_id").equals(quiet)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: replace(SLANTED, width_px=0), "0 × 100"),
        (lambda: replace(SLANTED, focal_px=-1.0), "focal_px"),
        (lambda: replace(SLANTED, tilt_deg=90.0), "tilt_deg"),
        (lambda: hang_cameras(supermarket(2, 4.0, 1), 99), "99"),
        (lambda: sightings(room(), [LEVEL], draw_identities(1, 0), standing(), fps=3), "not 3"),
        (lambda: sightings(room(), [LEVEL, LEVEL], draw_identities(1, 0), standing()), "one camera_id"),
        (lambda: draw_identities(0, 0), "not 0"),
        (lambda: DetectorErrors(miss_share=2.0), "miss_share"),
        (lambda: DetectorErrors(jitter=-0.1), "jitter"),
    ],
)
def test_what_cannot_be_is_refused_by_name(build: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()  # type: ignore[operator]
