"""The pipeline from frames to sightings as runners execute it: bytes on a log in memory, a network of three lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import simplejpeg

from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.floor import FloorView, overlapping
from streaming.features.persons import Detections, is_covered
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
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch
from streaming.runners.flow import Commit, Flow
from streaming.runners.preprocess import preprocess
from streaming.store.plan import parse_plan
from streaming.store.rules import parse_rules
from streaming.testing import MemoryLog, lanes
from tests.camera_frames import SCHEMA

NOW_MS = 1_790_000_000_000
WIDTH, HEIGHT = 160, 120
CAMERAS = ("door", "till")
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}
# A camera that looks straight down: ten pixels a metre.
FLAT = FloorView(((10.0, 0.0, 0.0), (0.0, 10.0, 0.0), (0.0, 0.0, 1.0)), WIDTH, HEIGHT)


def by_colour(crops: npt.NDArray[np.uint8]) -> Embedding:
    """A look is the crop's colour."""
    colour = crops.reshape(len(crops), CROP_PX[0] * CROP_PX[1], 3).mean(axis=1) - 128.0
    vectors = np.pad(colour, ((0, 0), (0, 1)), constant_values=1.0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embedding(vectors.astype(np.float32), "by-colour", "3", "abc")


def picture(people: Sequence[tuple[str, int]]) -> npt.NDArray[np.uint8]:
    """A room with people, each a rectangle with its left edge."""
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    image[: HEIGHT // 2] = 60
    for colour, left in people:
        image[30:90, left : left + 24] = COLOURS[colour]
    return image


def seen_by_colour(images: Sequence[npt.NDArray[np.uint8]]) -> list[Detections]:
    found = []
    for image in images:
        bright = (image[60].max(axis=1).astype(int) - image[60].min(axis=1)) > 80
        edges = np.flatnonzero(np.diff(np.pad(bright, 1).astype(int)))
        boxes = [[left, 30, right, 90] for left, right in zip(edges[::2], edges[1::2], strict=True)]
        found.append(Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32)))
    return found


def visit(until_s: float = 16.0) -> list[dict[str, Any]]:
    """Two people come in at the door, red before blue, and turn up at the till some seconds later."""
    rows: list[dict[str, Any]] = []
    for number in range(round(until_s * 5)):
        second = number / 5
        for camera in CAMERAS:
            there = [
                (colour, round(10 + 20 * (second - start)))
                for colour, start in (("red", 0.0), ("blue", 2.0))
                if camera == "door" and start <= second < start + 4
            ]
            there += [
                (colour, round(10 + 20 * (second - start)))
                for colour, start in (("red", 7.0), ("blue", 10.0))
                if camera == "till" and start <= second < start + 4
            ]
            rows.append(frame(camera, number, picture(there)))
    return rows


def frame(camera: str, number: int, image: npt.NDArray[np.uint8], **changed: Any) -> dict[str, Any]:
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(image), 90, colorsubsampling="444")
    plain = {"camera_id": camera, "captured_ms": NOW_MS + 200 * number, "frame": number, "dropped_total": 0}
    return {**plain, "width": WIDTH, "height": HEIGHT, "jpeg": jpeg, "detections": None, **changed}


class OnLog:
    """The pipeline over frames in memory, a camera a partition."""

    def __init__(self, rows: Sequence[dict[str, Any]], pipeline: Pipeline | None = None) -> None:
        self.pipeline = pipeline or person_sightings(by_colour, 4, detect=seen_by_colour)
        self.log, self.commits, self.at = MemoryLog(), list[Commit](), [0, 0]
        name, schema = self.pipeline.source.name, self.pipeline.source.schema or ""
        self.log.create(name, len(CAMERAS))
        encoder = Encoder(load_schema(schema), PackagedRegistry().id_of(schema))
        for partition, camera in enumerate(CAMERAS):
            mine = [row for row in rows if row["camera_id"] == camera]
            columns = pl.DataFrame(mine, schema=SCHEMA)
            values = encoder.encode(columns).to_pylist()
            times = [row["captured_ms"] + 20 for row in mine]
            self.log.append(name, Records.of([camera.encode()] * len(mine), values, timestamps_ms=times), partition)
        self.flow = self.started()

    def started(self) -> Flow:
        """As after a crash: nothing but what was committed is known."""
        flow = Flow(self.pipeline, PackagedRegistry(), clock=lambda: NOW_MS, reread=self.read)
        state = [out.records for commit in self.commits for out in commit.state]
        flow.restore(lanes([Records.joined([Records.of([], []), *state])]))
        return flow

    def read(self, partition: int, offsets: Sequence[int]) -> Records:
        records = self.log.records(self.pipeline.source.name, partition)
        return records.take(np.flatnonzero(np.isin(records.offsets, offsets)))

    def batch(self, count: int) -> Batch:
        """The next frames of every camera, so many of each."""
        fetched = []
        for partition, start in enumerate(self.at):
            end = min(start + count, len(self.log.records(self.pipeline.source.name, partition)))
            fetched.append((OffsetRange(partition, start, end), self.read(partition, range(start, end))))
            self.at[partition] = end
        decoder = Decoder(self.pipeline.source.schema or "", PackagedRegistry())
        return preprocess(fetched, decoder, self.pipeline.transforms)

    def run(self, counts: Sequence[int] = (20,) * 5, *, restarts: bool = False) -> OnLog:
        for count in counts:
            self.commits.append(self.flow.process([self.batch(count)]))
            if restarts:
                self.flow = self.started()
        return self

    def told(self) -> pl.DataFrame:
        decoder = Decoder(self.pipeline.sink.schema or "", PackagedRegistry())
        return pl.concat([decoder.decode(out.records).frame for commit in self.commits for out in commit.answers])


def test_every_frame_is_answered_and_people_keep_their_names_from_camera_to_camera() -> None:
    rows = visit()
    told = OnLog(rows).run().told()
    sighted = told.filter(pl.col("corrects_from_ms").is_null())
    assert sighted.select("camera_id", "frame").unique().height == len(rows)
    assert not sighted.select("camera_id", "frame", "track_id").is_duplicated().any()
    final = {
        (camera, track): person
        for camera, track, person in told.filter(pl.col("corrects_from_ms").is_not_null())
        .select("camera_id", "track_id", "person_id")
        .rows()
    }
    assert final == {("door", 1): "P1", ("door", 2): "P2", ("till", 1): "P1", ("till", 2): "P2"}
    assert told["model_name"].unique().to_list() == ["by-colour"]
    assert told["weight_hash"].null_count() == 0
    assert told.select("source_topic", "source_partition").unique().sort("source_partition").rows() == [
        ("camera.frames", 0), ("camera.frames", 1)
    ]  # fmt: skip
    assert set(told["source_offset"]) == set(range(len(rows) // 2))


@pytest.mark.parametrize("counts", [(7, 1, 30, 60), (100,)])
def test_cuts_and_restarts_change_nothing(counts: Sequence[int]) -> None:
    rows = visit(12.0)
    steady = OnLog(rows).run((3,) * 20, restarts=True).told()
    # Cameras are read in turn, so which is ahead differs with the cut; what is said of a camera does not.
    other = OnLog(rows).run(counts, restarts=True).told()
    for camera in CAMERAS:
        plain = [part.filter(pl.col("corrects_from_ms").is_null(), camera_id=camera) for part in (steady, other)]
        shown = [part.select("frame", "track_id", "x0_px", "x_m", "covered", "model_name") for part in plain]
        assert shown[0].equals(shown[1])


def test_a_frame_is_counted_once_however_many_people_it_shows() -> None:
    done = OnLog(visit(3.0))
    batch = done.batch(100)
    assert batch.records == batch.rows.height == 30


def test_calibrated_cameras_say_where_people_stand() -> None:
    pipeline = person_sightings(by_colour, 4, store=Store({"door": FLAT}), detect=seen_by_colour)
    told = OnLog(visit(6.0), pipeline).run((100,)).told().drop_nulls("x0_px")
    door, till = told.filter(camera_id="door"), told.filter(camera_id="till")
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
    assert np.allclose(places[1], [-4.5, 7.5])
    # The same frame at twice the size shows the same place.
    assert np.allclose(tilted.places(2 * boxes, 2 * WIDTH, 2 * HEIGHT)[1], places[1])


def test_cameras_overlap_where_they_see_the_same_floor() -> None:
    beside = FloorView(((10.0, 0.0, -100.0), (0.0, 10.0, 0.0), (0.0, 0.0, 1.0)), WIDTH, HEIGHT)
    elsewhere = FloorView(((10.0, 0.0, -200.0), (0.0, 10.0, 0.0), (0.0, 0.0, 1.0)), WIDTH, HEIGHT)
    assert overlapping({"a": FLAT, "b": beside, "c": elsewhere}) == {frozenset("ab"), frozenset("bc")}


def test_what_cannot_be_believed_is_counted_and_not_kept() -> None:
    bad = [frame("door", 900, picture([]), jpeg=b"GIF89a"), frame("till", 901, picture([]), width=WIDTH + 1)]
    rows = visit(3.0)
    dirty, clean = OnLog([*rows, *bad]).run((100,)), OnLog(rows).run((100,))
    assert dirty.told().equals(clean.told())
    assert [reason.partition(":")[0] for commit in dirty.commits for _, reason in commit.rejected] == [
        "InvalidFrame"
    ] * 2
    assert dirty.commits[0].dead_letters == []


def test_another_network_is_refused_once_people_are_remembered() -> None:
    done = OnLog(visit(3.0)).run((5,))

    def other(crops: npt.NDArray[np.uint8]) -> Embedding:
        return Embedding(by_colour(crops).vectors, "by-colour", "4", "def")

    done.pipeline = person_sightings(other, 4, detect=seen_by_colour)
    done.flow = done.started()
    with pytest.raises(EmbeddingChanged, match=r"by-colour@3.*by-colour@4.*sightline.state.person-sightings"):
        done.run((5,))


def test_an_embedding_of_another_length_is_refused() -> None:
    rows = OnLog(visit(1.0)).batch(5).rows
    stage = PersonEmbedding(by_colour, 8, {})
    with pytest.raises(ValueError, match=r"not \(N, 8\)"):
        stage(rows, stage.new_state())


def test_all_crops_of_a_batch_are_asked_for_at_once() -> None:
    asked: list[tuple[int, ...]] = []

    def counting(crops: npt.NDArray[np.uint8]) -> Embedding:
        asked.append(crops.shape)
        return by_colour(crops)

    OnLog(visit(3.0), person_sightings(counting, 4, detect=seen_by_colour)).run((100,))
    assert asked == [(20, *CROP_PX, 3)]


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
    sightings = OnLog(rows).run((150,)).told()
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
