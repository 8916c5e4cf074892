"""How many cameras a core carries, and where its time goes: 16 cameras at 5 frames a second of 1080p. Prints JSON.

    python tests/benchmarks/bench_cameras.py [--weights .sightline/nanodet_g.onnx]

A made-up store of 16 cameras with all who are in it after four minutes, drawn and compressed beforehand; three seconds
of it go through the parts of `person-sightings`, all cameras' frames of two moments at a time, on one core and in one
process, without Kafka and Ray. The detector looks at every frame, but the boxes that go on are the store's truth: how
many people there are must not hang on how well it knows paper dolls. Times are CPU times a frame; the first batch warms
up and is left out. Without weights the detector is OpenCV's. Expected time: two minutes.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one core; before polars is imported

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import polars as pl
import simplejpeg
import torch
from threadpoolctl import threadpool_limits

from models.store import SHIPPED
from serve.predictors.reid import ReIDPredictor, load_reid_predictor
from streaming.codec import load_schema
from streaming.codec._schema import dtype, parse
from streaming.features import persons
from streaming.features.jpeg import Image
from streaming.features.onnx_detectors import NANODET, OnnxPersonDetector
from streaming.features.person_detectors import HogPersonDetector
from streaming.features.persons import Detect, Detections
from streaming.pipelines.person_sightings import Embedding, person_sightings
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.outfits import draw_outfits
from streaming.simulators.store.presets import store
from streaming.simulators.store.sightings import sightings
from streaming.simulators.store.walks import STEP_S, walk

CAMERAS, FPS, SIZE_PX = 16, 5, (1920, 1080)
FULL_S, MOMENTS, TOGETHER = 240.0, 16, 2
NOW_MS = 1_790_000_000_000
VISIBLE = 0.3  # of a body, for its box to count
BOX = ["x0_px", "y0_px", "x1_px", "y1_px"]


def filmed() -> tuple[pl.DataFrame, list[Detections]]:
    """Frames as the codec hands them on, by moment and camera, and who is in each."""
    made = store(CAMERAS, size_px=SIZE_PX)
    walks = walk(made.plan, replace(made.traffic, duration_s=FULL_S), seed=1)
    people, outfits = draw_identities(made.traffic.people, seed=1), draw_outfits(len(walks.visits), seed=1)
    painters = [FramePainter(made.plan, camera, people, outfits) for camera in made.cameras]
    last, every = round(FULL_S / STEP_S), round(1 / FPS / STEP_S)
    frames, truth = [], []
    for moment, step in enumerate(range(last - every * (MOMENTS - 1), last + 1, every)):
        now = walks.positions.filter(step=step)
        seen = sightings(made.plan, made.cameras, people, now).filter(pl.col("visible_share") >= VISIBLE)
        for number, (camera, painter) in enumerate(zip(made.cameras, painters, strict=True)):
            jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(painter.draw(now, moment)), 80)
            boxes = seen.filter(camera_id=camera.camera_id).select(BOX).to_numpy()
            truth.append(Detections(boxes.astype(np.float32), np.full(len(boxes), 0.9, np.float32)))
            captured_ms = NOW_MS + 1000 * moment // FPS
            frame = {"camera_id": camera.camera_id, "captured_ms": captured_ms, "frame": moment, "dropped_total": 0}
            runner = {"_partition": number, "_offset": moment, "_ingest_time_ms": captured_ms + 20, "_schema_id": 1}
            frames.append({**frame, "width": SIZE_PX[0], "height": SIZE_PX[1], "jpeg": jpeg, **runner})
    schema = {field.name: dtype(field.type) for field in parse(load_schema("camera-frames")).fields}
    runners = {"_partition": pl.Int32, "_offset": pl.Int64, "_ingest_time_ms": pl.Int64, "_schema_id": pl.Int32}
    return pl.DataFrame(frames, schema={**schema, **runners}), truth


class Stopwatch:
    """CPU seconds by part; what a part spends in another is the other's."""

    def __init__(self) -> None:
        self.spent_s: Counter[str] = Counter()
        self._open: list[str] = []

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            began = time.process_time()
            self._open.append(part)
            try:
                return work(*given)
            finally:
                took_s = time.process_time() - began
                self._open.pop()
                self.spent_s[part] += took_s
                if self._open:
                    self.spent_s[self._open[-1]] -= took_s

        return run


def measure(
    detect: Detect, predictor: ReIDPredictor, rows: pl.DataFrame, truth: Sequence[Detections]
) -> dict[str, Any]:
    watch, info = Stopwatch(), predictor.info
    look = watch.timed("detect", detect)
    told = iter(truth)

    def detect_and_know(images: Sequence[Image]) -> list[Detections]:
        look(images)
        return [next(told) for _ in images]

    def embed(crops: Any) -> Embedding:
        return Embedding(predictor.predict(crops), info.name, info.version, info.weight_hash)

    pipeline = person_sightings(embed, info.dimensions, detect=detect_and_know)
    parts = {"check": pipeline.transforms[0], "cut": pipeline.transforms[1]}
    names = {"embed": "reid", "track": "track", "identities": "match", "tell": "tell"}
    states = [(stage, stage.new_state()) for stage in pipeline.stages]
    count = CAMERAS * TOGETHER
    with patch.object(persons, "decode_jpeg", watch.timed("decode", persons.decode_jpeg)):
        for start in range(0, rows.height, count):
            if start == count:
                watch.spent_s.clear()
            batch = rows[start : start + count]
            for part, transform in parts.items():
                batch = watch.timed(part, transform)(batch)
            assert not batch["_reject"].count(), batch["_reject"].drop_nulls()[0]
            batch = batch.drop("_reject")
            for stage, state in states:
                batch = watch.timed(names[stage.name], stage)(batch, state)
    frames = rows.height - count
    whole_ms = 1e3 * watch.spent_s.total() / frames
    return {
        "cameras_a_core": round(1e3 / FPS / whole_ms, 2),
        "ms_a_frame": round(whole_ms, 2),
        "by_part_ms": {part: round(1e3 * spent / frames, 2) for part, spent in watch.spent_s.most_common()},
        "share": {part: round(spent / watch.spent_s.total(), 3) for part, spent in watch.spent_s.most_common()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path(".sightline/nanodet_g.onnx"), help="of `make detector`")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rows, truth = filmed()
    predictor = load_reid_predictor([str(SHIPPED)], "reid-small@live")
    detectors: dict[str, Detect] = {"hog": HogPersonDetector()}
    if options.weights.exists():
        detectors["nanodet_g"] = OnnxPersonDetector(options.weights, NANODET)
    with threadpool_limits(1):
        measured = {name: measure(detect, predictor, rows, truth) for name, detect in detectors.items()}
    result = {
        "cameras": CAMERAS,
        "fps": FPS,
        "size": "x".join(map(str, SIZE_PX)),
        "jpeg_kb": round(rows["jpeg"].bin.size().mean() / 1e3),
        "persons_a_frame": round(sum(len(boxes) for boxes, _ in truth) / len(truth), 2),
        "embedding": f"{predictor.info.name}@{predictor.info.version}",
        "best": list(measured)[-1],
        **measured,
    }
    sys.stdout.write(json.dumps({"cameras": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
