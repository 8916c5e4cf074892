"""The pipeline from frames to sightings as runners execute it: bytes on a log in memory, a network of three lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.floor import FOOT_M, FloorView, overlapping
from streaming.features.frames import CheckFrames
from streaming.features.persons import is_covered
from streaming.pipeline import Pipeline
from streaming.pipelines.person_sightings import (
    CROP_PX,
    Embedding,
    EmbeddingChanged,
    PersonEmbedding,
    Store,
    person_sightings,
)
from streaming.pipelines.store_alerts import store_alerts
from streaming.privacy.folder import KeyFolder
from streaming.privacy.keyring import Retention
from streaming.records import Records
from streaming.releases import Release, ReleaseLost
from streaming.simulators.store.counted import floor_views
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.presets import store
from streaming.simulators.store.sightings import sightings
from streaming.simulators.store.walks import walk
from streaming.store.plan import parse_plan
from streaming.store.rules import parse_rules
from streaming.testing import MemoryLog
from tests.person_frames import (
    CAMERAS,
    HEIGHT,
    NOW_MS,
    WIDTH,
    as_frames,
    by_colour,
    frame,
    picture,
    seen_by_colour,
    visit,
)
from tests.pipelines_on_log import OnLog

# A camera that looks straight down: ten pixels a metre.
FLAT = FloorView(((10.0, 0.0, 0.0), (0.0, 10.0, 0.0), (0.0, 0.0, 1.0)), WIDTH, HEIGHT)


def on_log(rows: Sequence[dict[str, Any]], pipeline: Pipeline | None = None, partitions: int = 2) -> OnLog:
    """The pipeline over a log that got these frames; with two partitions a camera has its own."""
    pipeline = pipeline or by_colours()
    log, schema = MemoryLog(), pipeline.source.schema or ""
    log.create(pipeline.source.name, partitions)
    encoder = Encoder(load_schema(schema), PackagedRegistry().id_of(schema))
    frames = as_frames(rows)
    for camera in CAMERAS if partitions > 1 else (None,):
        mine = frames if camera is None else frames.filter(camera_id=camera)
        keys, values = [name.encode() for name in mine["camera_id"]], encoder.encode(mine).to_pylist()
        times = (mine["captured_ms"].to_physical() + 20).to_list()
        partition = 0 if camera is None else CAMERAS.index(camera)
        log.append(pipeline.source.name, Records.of(keys, values, timestamps_ms=times), partition=partition)
    return OnLog(pipeline, log, NOW_MS)


def by_colours(**given: Any) -> Pipeline:
    return person_sightings(by_colour, 4, detect=seen_by_colour, **given)


def told(done: OnLog) -> pl.DataFrame:
    decoder = Decoder(done.pipeline.sink.schema or "", PackagedRegistry())
    return pl.concat([decoder.decode(records).frame for records in done.answers()])


EVENLY = (20,) * 5


def test_every_frame_is_answered_and_people_keep_their_names_from_camera_to_camera() -> None:
    rows = visit()
    said = told(on_log(rows).run(EVENLY))
    sighted = said.filter(pl.col("corrects_from_ms").is_null())
    assert sighted.select("camera_id", "frame").unique().height == len(rows)
    assert not sighted.select("camera_id", "frame", "track_id").is_duplicated().any()
    final = {
        (camera, track): person
        for camera, track, person in said.filter(pl.col("corrects_from_ms").is_not_null())
        .select("camera_id", "track_id", "person_id")
        .rows()
    }
    assert final == {("door", 1): "P1", ("door", 2): "P2", ("till", 1): "P1", ("till", 2): "P2"}
    assert said["model_name"].unique().to_list() == ["by-colour"]
    assert said["weight_hash"].null_count() == 0
    assert said.select("source_topic", "source_partition").unique().sort("source_partition").rows() == [
        ("camera.frames", 0), ("camera.frames", 1)
    ]  # fmt: skip
    assert set(said["source_offset"]) == set(range(len(rows) // 2))


def test_a_frame_says_once_where_anybody_was_found_confirmed_or_not() -> None:
    said = told(on_log(visit(3.0)).run((7, 20))).filter(camera_id="door").sort("frame", "track_id")
    first, later = said.filter(frame=0), said.filter(frame=12)
    assert first["found_px"].to_list() == [[10.0, 30.0, 34.0, 90.0], None]  # the track is confirmed in a later frame
    assert first["track_id"].to_list() == [None, 1] and later["track_id"].to_list() == [1, 2]
    assert later["found_px"].to_list() == [[18.0, 30.0, 42.0, 90.0, 58.0, 30.0, 82.0, 90.0], None]


def test_a_frame_is_counted_once_however_many_people_it_shows() -> None:
    done = on_log(visit(3.0)).run((100,))
    assert done.commits[0].records == 30 < done.commits[0].answered


def test_calibrated_cameras_say_where_people_stand() -> None:
    done = on_log(visit(6.0), by_colours(store=Store({"door": FLAT}))).run((100,))
    seen = told(done).drop_nulls("x0_px")
    door, till = seen.filter(camera_id="door"), seen.filter(camera_id="till")
    middle = (door["x0_px"] + door["x1_px"]) / 20
    assert np.allclose(door["x_m"], middle, atol=1e-3)
    assert np.allclose(door["y_m"], 9.0)
    assert till["x_m"].null_count() == till.height


def test_feet_below_the_picture_and_beyond_the_horizon_are_nowhere() -> None:
    # 3 m up, level, focal length 100 px: from the middle of the picture up there is no floor.
    tilted = FloorView(((100.0, 80.0, 0.0), (0.0, 60.0, 300.0), (0.0, 1.0, 0.0)), WIDTH, HEIGHT)
    boxes = np.array([[10, 10, 30, 119.5], [10, 10, 30, 100], [10, 10, 30, 40]], float)
    places = tilted.places(boxes, WIDTH, HEIGHT)
    assert np.isnan(places[[0, 2]]).all()
    # The lower edge is at (-4.5, 7.5), seen from above the origin; those who stand there are a little farther away.
    assert np.allclose(places[1], np.array([-4.5, 7.5]) * (1 + FOOT_M / np.hypot(4.5, 7.5)))
    # The same frame at twice the size shows the same place.
    assert np.allclose(tilted.places(2 * boxes, 2 * WIDTH, 2 * HEIGHT)[1], places[1])


def test_of_whom_the_picture_cuts_the_feet_the_head_tells() -> None:
    # The same camera: 1.68 m up, at 4 m from it, is 100 · (3 - 1.68) / 4 px below the horizon.
    tilted = FloorView(((100.0, 80.0, 0.0), (0.0, 60.0, 300.0), (0.0, 1.0, 0.0)), WIDTH, HEIGHT)
    cut = np.array([[70, 60 + 33.0, 90, HEIGHT]], float)
    for sign in (1.0, -1.0):  # a homography may be scaled either way
        same = FloorView(tuple(tuple(sign * v for v in row) for row in tilted.homography), WIDTH, HEIGHT)
        np.testing.assert_allclose(same.places(cut, WIDTH, HEIGHT), [[0.0, 4.0]], atol=1e-9)
    assert np.isnan(tilted.places(np.array([[70, 0.0, 90, HEIGHT]], float), WIDTH, HEIGHT)).all()  # no head either
    assert np.isnan(FLAT.places(np.array([[70, 60.0, 90, HEIGHT]], float), WIDTH, HEIGHT)).all()  # no such camera


def test_a_box_that_all_but_reaches_the_lower_edge_is_cut_as_far_as_a_detector_can_tell() -> None:
    tilted = FloorView(((100.0, 80.0, 0.0), (0.0, 60.0, 300.0), (0.0, 1.0, 0.0)), WIDTH, HEIGHT)
    low = np.array([[70, 120 - 4.0 - 100, 90, 120 - 4.0], [70, 120 - 8.0 - 100, 90, 120 - 8.0]], float)
    cut = low.copy()
    cut[:, 3] = HEIGHT
    same = tilted.places(low, WIDTH, HEIGHT) == tilted.places(cut, WIDTH, HEIGHT)
    both_nowhere = np.isnan(tilted.places(low, WIDTH, HEIGHT)) & np.isnan(tilted.places(cut, WIDTH, HEIGHT))
    assert (same | both_nowhere).all(axis=1).tolist() == [True, False]


def test_people_of_a_made_up_store_stand_where_cameras_place_them_on_average() -> None:
    """Bodies with feet: without a foot's length they would all be placed a tenth of a metre too near."""
    made = store(8, size_px=(640, 360))
    walks = walk(made.plan, replace(made.traffic, duration_s=60.0), seed=3)
    people = draw_identities(made.traffic.people, seed=3)
    seen = sightings(made.plan, made.cameras, people, walks.positions, fps=2).filter(pl.col("visible_share") > 0.9)
    too_far = list[float]()
    views = floor_views(made)
    for camera in made.cameras:
        mine = seen.filter(camera_id=camera.camera_id)
        boxes = mine.select("x0_px", "y0_px", "x1_px", "y1_px").to_numpy().astype(float)
        there = mine.select("x_m", "y_m").to_numpy()
        away = there - [camera.x_m, camera.y_m]
        off = ((views[camera.camera_id].places(boxes, 640, 360) - there) * away).sum(axis=1) / np.hypot(*away.T)
        too_far += off[~np.isnan(off)].tolist()
    assert len(too_far) > 500
    assert abs(np.mean(too_far)) < 0.04


def test_cameras_overlap_where_they_see_the_same_floor() -> None:
    beside = FloorView(((10.0, 0.0, -100.0), (0.0, 10.0, 0.0), (0.0, 0.0, 1.0)), WIDTH, HEIGHT)
    elsewhere = FloorView(((10.0, 0.0, -200.0), (0.0, 10.0, 0.0), (0.0, 0.0, 1.0)), WIDTH, HEIGHT)
    assert overlapping({"a": FLAT, "b": beside, "c": elsewhere}) == {frozenset("ab"), frozenset("bc")}


def test_what_cannot_be_believed_is_counted_and_not_kept() -> None:
    bad = [frame("door", 900, picture([]), jpeg=b"GIF89a"), frame("till", 901, picture([]), width=WIDTH + 1)]
    rows = visit(3.0)
    dirty, clean = on_log([*rows, *bad]).run((100,)), on_log(rows).run((100,))
    assert told(dirty).equals(told(clean))
    assert [reason.partition(":")[0] for commit in dirty.commits for _, reason in commit.rejected] == [
        "InvalidFrame"
    ] * 2
    assert dirty.commits[0].dead_letters == []


@pytest.mark.parametrize("restarts", [False, True])
def test_who_is_seen_last_is_named_by_a_tick_when_no_frame_follows(restarts: bool) -> None:
    rows = [row for row in visit(8.2) if row["camera_id"] == "till" or row["captured_ms"] < NOW_MS + 5_000]
    done = on_log(rows).run((100,), restarts=restarts)
    at_till = told(done).filter(camera_id="till").drop_nulls("track_id")
    assert (at_till["track_id"].unique().to_list(), at_till["person_id"].unique().to_list()) == ([1], [None])
    end_ms = NOW_MS + 8_200
    before = told(done).height
    done.tick(end_ms)
    assert told(done).height == before
    done.tick(end_ms + 6_000)
    (named,) = told(done)[before:].iter_rows(named=True)
    assert (named["camera_id"], named["track_id"], named["person_id"]) == ("till", 1, "P1")
    assert named["corrects_from_ms"] is not None and named["source_offset"] is None and named["found_px"] is None
    assert (named["model_name"], named["model_version"], named["weight_hash"]) == ("by-colour", "3", "abc")


def test_another_network_is_refused_once_people_are_remembered() -> None:
    done = on_log(visit(3.0)).run((5,))

    def other(crops: npt.NDArray[np.uint8]) -> Embedding:
        return Embedding(by_colour(crops).vectors, "by-colour", "4", "def")

    done.pipeline = person_sightings(other, 4, detect=seen_by_colour)
    done.flow = done.started()
    with pytest.raises(EmbeddingChanged, match=r"by-colour@3.*by-colour@4.*sightline.state.person-sightings"):
        done.run((5,))


def test_an_embedding_of_another_length_is_refused() -> None:
    rows = by_colours().transforms[1](CheckFrames()(as_frames(visit(1.0)))).with_columns(_partition=0)
    stage = PersonEmbedding(by_colour, 8, {})
    with pytest.raises(ValueError, match=r"not \(N, 8\)"):
        stage(rows, stage.new_state())


def test_all_crops_of_a_batch_are_asked_for_at_once() -> None:
    asked: list[tuple[int, ...]] = []

    def counting(crops: npt.NDArray[np.uint8]) -> Embedding:
        asked.append(crops.shape)
        return by_colour(crops)

    done = on_log(visit(3.0), person_sightings(counting, 4, detect=seen_by_colour)).run((100,))
    persons = told(done).drop_nulls("x0_px").height
    assert len(asked) == 1
    assert asked[0][0] >= persons > 10
    assert asked[0][1:] == (*CROP_PX, 3)


@pytest.mark.parametrize(
    ("image", "covered"),
    [
        (picture([]), False),
        (np.full((HEIGHT, WIDTH, 3), 127, np.uint8), True),
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), True),
        (np.random.default_rng(0).integers(100, 140, (HEIGHT, WIDTH, 3)).astype(np.uint8), True),  # noise is no place
        (np.full((3, 3, 3), 9, np.uint8), True),
    ],
)
def test_a_picture_that_shows_no_place_is_covered(image: npt.NDArray[np.uint8], covered: bool) -> None:
    assert is_covered(image) is covered


def test_a_hand_before_a_camera_becomes_an_alert() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    rows = [
        frame(camera, number, grey if camera == "till" and number >= 50 else picture([]))
        for number in range(150)
        for camera in CAMERAS
    ]
    sightings = told(on_log(rows).run((150,)))
    assert sightings.filter("covered").select("camera_id", "frame").rows() == [("till", n) for n in range(50, 150)]
    plan = parse_plan({"camera": [{"name": camera} for camera in CAMERAS]})
    rules = [{"name": "hand", "kind": "camera_covered", "limit_s": 5}]
    stages, seen = store_alerts(plan, parse_rules(rules, plan)).stages, sightings
    seen = sightings.with_columns(
        _partition=(pl.col("camera_id") == "till").cast(pl.Int32),
        _offset=pl.int_range(pl.len(), dtype=pl.Int64),
        _ingest_time_ms=pl.col("captured_ms").to_physical(),
        _schema_id=pl.lit(11, pl.Int32),
        _reject=pl.lit(None, pl.String),
    ).sort("captured_ms", maintain_order=True)
    for stage in stages:
        seen = stage(seen, stage.new_state())
    (alert,) = seen.iter_rows(named=True)
    assert (alert["kind"], alert["state"], alert["subject"]) == ("camera_covered", "raised", "till")
    after_s = (alert["event_time_ms"].timestamp() * 1000 - NOW_MS) / 1000
    assert 15 <= after_s <= 18


class Networks:
    """Colours by two networks that see them on other axes; `live` is what the alias means."""

    def __init__(self, version: int = 3, moves: int = 1) -> None:
        self.live = Release("by-colour@live", moves, version)
        self.lost: set[int] = set()

    def offered(self) -> Release:
        return self.live

    def alerts(self) -> tuple[str, ...]:
        return ()

    def __call__(self, crops: npt.NDArray[np.uint8], release: Release) -> Embedding:
        if release.version in self.lost:
            raise ReleaseLost(release, "its files are gone")
        found = by_colour(crops).vectors
        vectors = found if release.version == 3 else -np.roll(found, 1, axis=1)
        return Embedding(vectors, "by-colour", str(release.version), f"weights-{release.version}")


def swapped(keys: KeyFolder, *, restarts: bool = False) -> tuple[OnLog, Networks]:
    """Nine seconds by one network, when red is named at the till and blue is out of sight, and then by another."""
    networks = Networks()
    done = on_log(visit(), person_sightings(networks, 4, detect=seen_by_colour, keys=keys))
    done.run((15, 15, 15), restarts=restarts)
    networks.live = Release("by-colour@live", 2, 4)
    return done.run(EVENLY, restarts=restarts), networks


def test_another_network_takes_over_between_two_batches_and_who_is_on_screen_keeps_the_name(tmp_path: Path) -> None:
    done, _ = swapped(KeyFolder(tmp_path, Retention({}), lambda: NOW_MS))
    said = told(done)
    assert said.group_by("frame").agg(pl.col("model_version").n_unique())["model_version"].unique().to_list() == [1]
    assert said.filter(pl.col("frame") < 45)["model_version"].unique().to_list() == ["3"]
    assert said.filter(pl.col("frame") >= 45)["model_version"].unique().to_list() == ["4"]
    red = said.filter(
        (pl.col("camera_id") == "till") & (pl.col("track_id") == 1) & pl.col("corrects_from_ms").is_null()
    )
    later = red.filter(pl.col("frame").is_between(45, 54))
    assert later["person_id"].unique().to_list() == ["P1"] and later.height == 10, "no new name, no new track"
    counts = [commit.counts.get("looks forgotten", 0) for commit in done.commits]
    assert sum(counts[:3]) == 0 and counts[3] > 0, "looks of the old network open for the new one no more"
    assert any("by-colour@4 tells people apart since" in alert for alert in done.commits[3].alerts)
    assert not any("tells people apart" in alert for commit in done.commits[:3] for alert in commit.alerts)


def test_a_swap_is_the_same_after_crashes_and_is_never_taken_back_by_a_late_worker(tmp_path: Path) -> None:
    kept = KeyFolder(tmp_path, Retention({}), lambda: NOW_MS)
    (once, networks), (crashed, _) = swapped(kept), swapped(kept, restarts=True)
    assert told(once).equals(told(crashed))
    networks.live = Release("by-colour@live", 1, 3)  # as a worker offers that has not heard of the promotion
    on_log_again = OnLog(once.pipeline, once.log, NOW_MS)
    on_log_again.commits, on_log_again.flow = list(once.commits), once.started()
    on_log_again.process((30, 30))
    assert told(on_log_again)[-1:]["model_version"].to_list() == ["4"]
    networks.live, networks.lost = Release("by-colour@live", 3, 3), {4}
    on_log_again.process((10, 10))  # a rollback, to a version that means nothing to what was learned meanwhile
    assert told(on_log_again)[-1:]["model_version"].to_list() == ["3"]


def test_releases_without_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="needs keys"):
        person_sightings(Networks(), 4, detect=seen_by_colour)
