"""From frame to sighting through Kafka, Ray Data, Serve and Kafka, as a user runs it, from outside. Prints JSON.

    python tests/benchmarks/bench_sightings.py [--weights .sightline/nanodet_g.onnx] [--seconds 60]

Four cameras of a made-up store at 5 frames a second of 720p, one after another within each fifth of a second; ten
seconds of it are drawn and compressed beforehand and go forth and back. First with the boxes that a smart camera sends,
then with pictures alone, in which the detector finds what it can. From the moment at which a frame is captured to the
receipt of its sightings, p50 and p95 of all frames, and the mean of it by part:

    publish   until the frame is on Kafka
    read      until the stages begin: what gathers, Ray Data, decoding, the detector, crops
    reid …    each stage of the pipeline; `reid` asks Ray Serve
    commit    answers, state and offsets encoded and in one transaction
    receive   until the reader has them

A frame that is not answered fails the run. Expected time: four minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import simplejpeg
from reference_harness import AnswerMeter, Received

from jobs.children import Child
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.codec._schema import dtype, parse
from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.outfits import draw_outfits
from streaming.simulators.store.presets import store
from streaming.simulators.store.sightings import sightings
from streaming.simulators.store.walks import STEP_S, walk
from streaming.topics import CAMERA_FRAMES, PERSON_SIGHTINGS, TOPICS, state_topic

STORE, CAMERAS, FPS, SIZE_PX = 8, 4, 5, (1280, 720)
FULL_S, LOOP_S, WARM_UP_S = 240.0, 10.0, 20.0
VISIBLE = 0.3  # of a body, for its box to count
PERSON = ("x0_px", "y0_px", "x1_px", "y1_px", "score")
TIMES = ("captured_ms", "ingest_time_ms", "emit_time_ms")
STAGES = {"embed": "reid", "track": "track", "identities": "match", "tell": "tell"}


def filmed() -> list[list[dict[str, Any]]]:
    """By camera, its frames forth and back: picture, and who is in it."""
    made = store(STORE, size_px=SIZE_PX)
    walks = walk(made.plan, replace(made.traffic, duration_s=FULL_S), seed=1)
    people, outfits = draw_identities(made.traffic.people, seed=1), draw_outfits(len(walks.visits), seed=1)
    cameras = made.cameras[:CAMERAS]
    painters = [FramePainter(made.plan, camera, people, outfits) for camera in cameras]
    last, every = round(FULL_S / STEP_S), round(1 / FPS / STEP_S)
    frames: list[list[dict[str, Any]]] = [[] for _ in painters]
    for moment, step in enumerate(range(last - every * round(LOOP_S * FPS) + every, last + 1, every)):
        now = walks.positions.filter(step=step)
        seen = sightings(made.plan, cameras, people, now).filter(pl.col("visible_share") >= VISIBLE)
        for camera, painter, mine in zip(cameras, painters, frames, strict=True):
            boxes = seen.filter(camera_id=camera.camera_id).with_columns(score=0.9).select(PERSON)
            picture = np.ascontiguousarray(painter.draw(now, moment))
            persons = [person | {"crop": None} for person in boxes.iter_rows(named=True)]
            mine.append({"jpeg": simplejpeg.encode_jpeg(picture, 80), "detections": persons})
    return [[*mine, *mine[-2:0:-1]] for mine in frames]


class Bench:
    """A broker, the pipeline in a process of its own, cameras and a reader."""

    def __init__(self, home: Path, bootstrap: str, weights: Path | None) -> None:
        self._kafka = KafkaSettings(bootstrap_servers=bootstrap)
        ensure_topics(self._kafka, [*TOPICS, state_topic("person-sightings")])
        self._publisher, self._film = Publisher(self._kafka), filmed()
        schema = load_schema(str(CAMERA_FRAMES.schema))
        self._columns = {field.name: dtype(field.type) for field in parse(schema).fields}
        self._encoder = Encoder(schema, PackagedRegistry().id_of(str(CAMERA_FRAMES.schema)))
        origin = ("source_partition", "source_offset")
        self.meter = AnswerMeter(self._kafka, PERSON_SIGHTINGS, PackagedRegistry(), (*TIMES, *origin))
        self._number = 0
        given = {"KAFKA__BOOTSTRAP_SERVERS": bootstrap, "HOME": str(home), "MODELS__STORE": str(home / "models")}
        given["STORE__MAX_AGE_S"] = "3600"  # none is passed over: what waits too long shows in the figures
        given |= {} if weights is None else {"STORE__DETECTOR": str(weights.absolute())}
        environment = {f"SIGHTLINE_{name}": value for name, value in given.items()} | {"OMP_NUM_THREADS": "1"}
        self.pipeline = Child("pipeline", ["jobs.run", "person-sightings"], environment, home / "log")

    @property
    def persons_a_frame(self) -> float:
        return float(np.mean([len(frame["detections"]) for camera in self._film for frame in camera]))

    def load(self, seconds: float, *, with_boxes: bool) -> int:
        """Every camera's frames, each captured and sent on time; how many. They are made before."""
        count = round(seconds * FPS)
        begin_ms = time.time() * 1e3 + 1_000 + CAMERAS * count
        due_ms = begin_ms + np.arange(count * CAMERAS) * (1e3 / FPS / CAMERAS)
        values = self._encoded(due_ms, with_boxes=with_boxes)
        for number, (at_ms, value) in enumerate(zip(due_ms.tolist(), values, strict=True)):
            time.sleep(max(0.0, at_ms / 1e3 - time.time()))
            self._publisher.send(CAMERA_FRAMES.name, [f"cam-{number % CAMERAS}".encode()], [value])
        self._publisher.flush(30)
        return len(values)

    def _encoded(self, due_ms: Any, *, with_boxes: bool) -> list[bytes]:
        rows = []
        for number, at_ms in enumerate(due_ms.tolist()):
            moment, camera = self._number + number // CAMERAS, number % CAMERAS
            frame = self._film[camera][moment % len(self._film[camera])]
            plain = {"camera_id": f"cam-{camera}", "captured_ms": round(at_ms), "frame": moment, "dropped_total": 0}
            size = {"width": SIZE_PX[0], "height": SIZE_PX[1]}
            rows.append({**plain, **size, **frame, "detections": frame["detections"] if with_boxes else None})
        self._number += len(rows) // CAMERAS
        values: list[bytes] = self._encoder.encode(pl.DataFrame(rows, schema=self._columns)).to_pylist()
        return values

    def wait_for(self, frames: int, timeout_s: float = 180.0) -> list[Received]:
        """What was received once so many frames are answered."""
        deadline = time.monotonic() + timeout_s
        while answered(batches := self.meter.batches).height < frames:
            if self.pipeline.ended is not None:
                sys.exit(f"the pipeline ended: {self.pipeline.last_line}")
            if time.monotonic() > deadline:
                sys.exit(f"{answered(batches).height} of {frames} frames are answered after {timeout_s:.0f} s")
            time.sleep(0.2)
        return batches

    def commits(self) -> pl.DataFrame:
        """From the pipeline's log: which records each commit answers for, and how long its parts took."""
        rows = []
        for line in self.pipeline.log.read_text(errors="replace").splitlines():
            if '"committed"' not in line:
                continue
            said = json.loads(line)
            for span in said["ranges"]:
                partition, _, ends = span.rpartition("/")[2].partition("[")
                start, end = (int(offset) for offset in ends.rstrip(")").split(","))
                rows += [
                    {"source_partition": int(partition), "source_offset": offset, **said["took_ms"]}
                    for offset in range(start, end)
                ]
        return pl.DataFrame(rows, infer_schema_length=None).with_columns(
            pl.col("source_partition").cast(pl.Int32), pl.col(pl.Float64).fill_null(0.0)
        )

    def stop(self) -> None:
        self.pipeline.stop(30)
        self._publisher.close()
        self.meter.stop()


@contextmanager
def bench(weights: Path | None) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder:
        home = Path(folder)
        broker, running = EmbeddedBroker(home / "kafka"), None
        try:
            running = Bench(home, str(broker.start().bootstrap_servers), weights)
            yield running
        finally:
            if running is not None:
                running.stop()
            broker.stop()


def answered(batches: Sequence[Received]) -> pl.DataFrame:
    """Each frame that was answered, with its times and when its first row was received."""
    if not batches:
        return pl.DataFrame()
    told = [rows.with_columns(received_ms=pl.lit(now_ms)) for now_ms, rows in batches]
    of_frames = pl.concat(told).drop_nulls("source_offset")  # a name that a tick has decided is of none
    # Before a frame's own sightings stand those of earlier ones that are told with it.
    return of_frames.unique(["source_partition", "source_offset"], keep="last", maintain_order=True)


def split(frames: pl.DataFrame, commits: pl.DataFrame) -> Mapping[str, float]:
    """The mean ms of a frame by part; together they are the mean of the whole."""
    both = frames.join(commits, on=["source_partition", "source_offset"], how="inner").with_columns(
        pl.col(TIMES).cast(pl.Datetime("ms")).cast(pl.Int64)
    )
    if both.height != frames.height:
        sys.exit(f"{frames.height - both.height} of {frames.height} frames are in no commit of the log")
    stages = pl.sum_horizontal(*STAGES)
    parts = both.select(
        publish=pl.col("ingest_time_ms") - pl.col("captured_ms"),
        read=pl.col("emit_time_ms") - pl.col("ingest_time_ms") - stages,
        **{name: pl.col(stage) for stage, name in STAGES.items()},
        commit=pl.col("encode") + pl.col("commit"),
        receive=pl.col("received_ms") - pl.col("emit_time_ms") - pl.col("encode") - pl.col("commit"),
    )
    return {name: round(float(parts[name].mean()), 1) for name in parts.columns}  # type: ignore[arg-type]


def figures(frames: pl.DataFrame, commits: pl.DataFrame) -> dict[str, Any]:
    whole = frames["received_ms"] - frames["captured_ms"].cast(pl.Datetime("ms")).cast(pl.Int64)
    p50, p95 = np.percentile(whole.to_numpy(), [50, 95])
    by_part = split(frames, commits)
    return {
        "frames": frames.height,
        "latency_ms": {"p50": round(float(p50)), "p95": round(float(p95)), "mean": round(float(whole.mean()))},  # type: ignore[arg-type]
        "mean_ms_by_part": dict(by_part),
    }


def measure(weights: Path | None, seconds: float) -> dict[str, Any]:
    result: dict[str, Any] = {"cameras": CAMERAS, "fps": FPS, "size": "x".join(map(str, SIZE_PX))}
    result["detector"] = "OpenCV's" if weights is None else weights.stem
    with bench(weights) as b:
        result["persons_a_frame"] = round(b.persons_a_frame, 2)
        sent, rounds = b.load(1.0, with_boxes=True), {}
        b.wait_for(sent)
        for name, with_boxes in (("boxes", True), ("detected", False)):
            sent += b.load(WARM_UP_S, with_boxes=with_boxes)
            b.wait_for(sent)
            before = sent
            sent += b.load(seconds, with_boxes=with_boxes)
            rounds[name] = (before, sent, b.wait_for(sent))
        b.pipeline.stop(30)  # so that all of its log is written
        commits = b.commits()
        for name, (before, after, batches) in rounds.items():
            frames = answered(batches)
            if frames.height != after:
                sys.exit(f"{after} frames were sent, and {frames.height} answered")
            result[name] = figures(frames[before:], commits)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path(".sightline/nanodet_g.onnx"), help="of `make detector`")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of the two")
    options = parser.parse_args()
    measured = measure(options.weights if options.weights.exists() else None, options.seconds)
    sys.stdout.write(json.dumps({"sightings": measured}, indent=2) + "\n")


if __name__ == "__main__":
    main()
