"""Both pipelines as runners execute them: sightings as bytes on a log in memory, answers as bytes, state restored."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from streaming import topics
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.identities import Appearance, IdentityStage
from streaming.identities import Rules as IdentityRules
from streaming.pipeline import Pipeline
from streaming.pipelines.store_alerts import store_alerts
from streaming.pipelines.store_metrics import store_metrics
from streaming.records import Records
from streaming.store.rules import parse_rules
from streaming.testing import MemoryLog
from tests.pipelines_on_log import OnLog
from tests.store_walks import START_MS, Feed, Walk, as_told, person, plan, sightings

SCHEMA = "person-sightings"
WALKS = [
    Walk([(0.5, 5), (8, 3), (18, 5), (8, 8), (0.5, 5)], start_s=1, pause_s=3),
    Walk([(0.5, 6), (12, 2)], start_s=3, pause_s=4),
]
RULES = [
    {"name": "in", "kind": "line", "line": "door", "direction": "in"},
    {"name": "down", "kind": "camera_down", "limit_s": 20},
]


def metrics() -> Pipeline:
    return store_metrics(plan())


def alerts() -> Pipeline:
    return store_alerts(plan(), parse_rules(RULES, plan()))


def bad_rows() -> pl.DataFrame:
    """A box without size, one out of the picture, a camera that nobody knows, a clock an hour ahead."""
    good = {"camera_id": "cam-1", "captured_ms": START_MS + 5_000, "frame": 25, **person(99, 3.0, 3.0, "ghost")}
    rows = sightings(
        [
            {**good, "x1_px": 100.0},
            {**good, "y0_px": 2_000.0, "y1_px": 2_100.0},
            {**good, "camera_id": "cam-7"},
            {**good, "captured_ms": START_MS + 3_600_000},
        ]
    )
    return rows.with_columns(_ingest_time_ms=pl.lit(START_MS + 5_000, pl.Int64))


def on_log(pipeline: Pipeline, rows: pl.DataFrame) -> OnLog:
    """Over a source that got these rows, each in its partition and at its time."""
    log = MemoryLog()
    log.create(pipeline.source.name, 2)
    encoder = Encoder(load_schema(SCHEMA), PackagedRegistry().id_of(SCHEMA))
    for part in rows.partition_by("_partition", maintain_order=True):
        keys = [camera.encode() for camera in part["camera_id"]]
        values = encoder.encode(as_told(part)).to_pylist()
        records = Records.of(keys, values, timestamps_ms=part["_ingest_time_ms"].to_list())
        log.append(pipeline.source.name, records, partition=int(part.item(0, "_partition")))
    return OnLog(pipeline, log, START_MS)


def answers(done: OnLog) -> pl.DataFrame:
    decoder = Decoder(done.pipeline.sink.schema or "", PackagedRegistry())
    return pl.concat([decoder.decode(records).frame for records in done.answers()])


@pytest.mark.parametrize("pipeline", [metrics, alerts])
def test_a_restart_after_every_commit_changes_no_answer(pipeline: Any) -> None:
    rows = Feed(WALKS, 60).rows()
    counts = [90, 37, 60, 1, 200, 500]
    steady, restarted = on_log(pipeline(), rows).run(counts), on_log(pipeline(), rows).run(counts, restarts=True)
    assert answers(restarted).equals(answers(steady))
    assert answers(steady).height >= 2


def test_answers_say_where_they_came_from_and_are_keyed_by_zone() -> None:
    done = on_log(metrics(), Feed(WALKS, 25).rows()).run()
    said = answers(done)
    assert set(said["source_topic"]) == {topics.PERSON_SIGHTINGS.name}
    assert said["window_start_ms"].dt.timestamp("ms").unique().sort().to_list() == [START_MS, START_MS + 10_000]
    keys = [key for commit in done.commits for out in commit.answers for key in out.records.keys.to_pylist()]
    assert [key.decode() for key in keys] == said["zone_id"].to_list()
    assert said.filter(zone_id="door")["crossed_in"].sum() == 2


@pytest.mark.parametrize("pipeline", [metrics, alerts])
def test_what_cannot_be_is_dead_and_counted_and_changes_nothing_else(pipeline: Any) -> None:
    rows = Feed(WALKS, 30).rows()
    clean, dirty = (
        on_log(pipeline(), rows).run(),
        on_log(pipeline(), pl.concat([rows, bad_rows()]).sort("_ingest_time_ms", maintain_order=True)).run(),
    )
    origin = ("source_offset", "source_partition", "ingest_time_ms")
    assert answers(dirty).drop(origin).equals(answers(clean).drop(origin))
    reasons = sorted(reason for _, reason in dirty.rejected())
    assert [reason.partition(": ")[0] for reason in reasons] == ["InvalidSighting"] * 3 + ["SightingFromTheFuture"]
    assert dirty.commits[0].records == rows.height + 4


def test_a_clock_that_is_set_back_is_dead_with_its_reason() -> None:
    rows = Feed(WALKS, 30).rows()
    second = (pl.col("captured_ms").to_physical() - START_MS) // 1000
    jumps = (pl.col("_partition") == 0) & second.is_between(10, 11)
    back = rows.with_columns(
        captured_ms=pl.when(jumps).then(pl.col("captured_ms") - pl.duration(hours=1)).otherwise("captured_ms")
    )
    reasons = [reason for _, reason in on_log(metrics(), back).run().rejected()]
    assert len(reasons) == rows.filter(jumps).height
    assert all(reason.startswith("CameraClockWentBack: captured_ms is") for reason in reasons)


def test_ticks_close_windows_and_find_a_camera_down_and_survive_a_restart() -> None:
    rows = Feed(WALKS, 12).rows()
    counting, watching = on_log(metrics(), rows).run(), on_log(alerts(), rows).run()
    for done in (counting, watching):
        done.flow = done.started()
        for second in (20, 29, 60, 61):
            done.tick(START_MS + second * 1000)
    closed = answers(counting).filter(zone_id="store")
    assert closed["closed_by"].to_list() == ["tick", "tick"]
    down = answers(watching).filter(rule="down")
    assert down.select("state", "subject").rows() == [("raised", "cam-1"), ("raised", "cam-2")]


def test_late_rows_are_counted() -> None:
    rows = Feed(WALKS, 40).rows()
    late = rows.filter(pl.col("captured_ms").to_physical() < START_MS + 1_000)
    done = on_log(metrics(), pl.concat([rows, late])).run([180, 1_000])
    assert [commit.counts.get("late", 0) for commit in done.commits] == [0, late.height]


DIMENSIONS = 8


def identified(walks: dict[int, tuple[float, list[tuple[float, float]]]], until_s: float) -> pl.DataFrame:
    """What the identity stage says of tracks (x in metres, [from, to) in seconds) who all look the same, in cam-1."""
    look = np.eye(DIMENSIONS, dtype="<f4")[0].tobytes()
    rows: list[dict[str, Any]] = []
    for frame in range(round(until_s * 5)):
        second = frame / 5
        for camera in ("cam-1", "cam-2"):
            shared = {"camera_id": camera, "captured_ms": START_MS + 200 * frame, "frame": frame}
            seen = [
                {**shared, **person(track, x_m, 3.0)}
                for track, (x_m, spans) in walks.items()
                if camera == "cam-1" and any(start <= second < end for start, end in spans)
            ]
            rows += seen or [shared]
    stage = IdentityStage(DIMENSIONS, IdentityRules(appearance=Appearance(0.7, 8.0)))
    seen_rows = sightings(rows).with_columns(
        embedding=pl.when(pl.col("track_id") > 0).then(pl.lit(look)),
        _offset=pl.col("frame"),  # what was seen in a frame stands in one record
    )
    told = stage(seen_rows, stage.new_state())
    by_camera = (pl.col("camera_id") == "cam-2").cast(pl.Int32)
    return told.with_columns(_partition=by_camera, covered=pl.col("covered").fill_null(False))


def latest(told: pl.DataFrame) -> pl.DataFrame:
    """Each window and thing as issued last, without when and why it was."""
    newest = told.sort("revision", maintain_order=True).unique(
        ("window_start_ms", "zone_id", "kind"), keep="last", maintain_order=True
    )
    figures = [name for name in newest.columns if not name.startswith(("source_", "ingest_", "emit_"))]
    return newest.select(figures).drop("revision", "closed_by", "schema_id").sort("window_start_ms", "zone_id", "kind")


@pytest.mark.parametrize("back_s", [26.0, 26.8])  # the latter as a window closes
def test_what_the_identities_take_back_is_counted_again(back_s: float) -> None:
    # Track 1 hides, track 2 is taken for the same person, until 1 comes back when the first windows have long closed.
    told = identified({1: (3.0, [(0, 4), (back_s, 40)]), 2: (3.5, [(5, 40)])}, 60)
    corrections = told.filter(pl.col("corrects_from_ms").is_not_null() & (pl.col("track_id") == 2))
    assert corrections.select("corrects_person_id", "person_id").rows() == [(None, "P1"), ("P1", None), (None, "P2")]
    sighted = told.filter(pl.col("corrects_from_ms").is_null())
    right = sighted.with_columns(person_id="P" + pl.col("track_id").cast(pl.String))
    pipeline = store_metrics(plan(), window_s=2.0)
    corrected, expected = (on_log(pipeline, rows).run([10] * 50) for rows in (told, right))
    assert latest(answers(corrected)).equals(latest(answers(expected)))
    sixth = (
        answers(corrected)
        .filter(zone_id="store")
        .filter(pl.col("window_start_ms").dt.timestamp("ms") == START_MS + 12_000)
    )
    assert sixth.select("revision", "longest_s").rows() == [(0, 14.0), (1, 9.0)]
    assert corrected.rejected() == []


def test_somebody_who_gets_a_name_is_alerted_of_once() -> None:
    rules = [{"name": "stays", "kind": "loitering", "zone": "entrance", "limit_s": 1.0}]
    told = identified({1: (3.0, [(0.6, 9)])}, 14)
    done = on_log(store_alerts(plan(), parse_rules(rules, plan())), told).run()
    assert answers(done).select("state", "subject").rows() == [("raised", "P1")]
