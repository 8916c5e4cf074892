"""Paper dolls and frames of the made-up store, on one core. Prints JSON.

    python tests/benchmarks/bench_dolls.py

Crops of 64×128 px in batches of 1,024, 400 people in 2,000 outfits by five cameras with cast, blur and noise. Frames
of the eight cameras with all who are in the store. Times are CPU times, the median over rounds of each one's best call.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import polars as pl

from streaming.simulators.store.cameras import DEFAULT_LOOKS
from streaming.simulators.store.crops import draw_crops
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.outfits import draw_outfits
from streaming.simulators.store.presets import store
from streaming.simulators.store.sightings import sightings
from streaming.simulators.store.walks import walk

CROPS = 1024
ROUNDS, CALLS = 3, 5


def cpu_s(call: Callable[[], object]) -> float:
    best = []
    for _ in range(ROUNDS):
        taken = []
        for _ in range(CALLS):
            began = time.process_time()
            call()
            taken.append(time.process_time() - began)
        best.append(min(taken))
    return statistics.median(best)


def crops() -> dict[str, float]:
    people, outfits = draw_identities(400, seed=1), draw_outfits(2000, seed=1)
    row = np.arange(CROPS)
    who, worn, camera = people.take(row % 400), outfits.take(row % 2000), row % len(DEFAULT_LOOKS)
    draw_crops(who, worn, camera, DEFAULT_LOOKS, 0)  # backgrounds are drawn once
    taken_s = cpu_s(lambda: draw_crops(who, worn, camera, DEFAULT_LOOKS, 0))
    return {"crops": CROPS, "crops_per_s": round(CROPS / taken_s)}


def frames(size_px: tuple[int, int]) -> dict[str, float]:
    made = store(8, size_px=size_px)
    walks = walk(made.plan, replace(made.traffic, duration_s=150), seed=1)
    people, outfits = draw_identities(made.traffic.people, seed=1), draw_outfits(len(walks.visits), seed=1)
    now = walks.positions.filter(pl.col("step") == pl.col("step").max())
    painters = [FramePainter(made.plan, camera, people, outfits) for camera in made.cameras]
    taken_s = cpu_s(lambda: [painter.draw(now, 0) for painter in painters])
    seen_s = cpu_s(lambda: sightings(made.plan, made.cameras, people, walks.positions))
    return {
        "people": len(now),
        "frames_per_s": round(len(painters) / taken_s, 1),
        "person_frames_judged_per_s": round(len(walks.positions) // 2 * len(painters) / seen_s),
    }


def main() -> None:
    cv2.setNumThreads(1)
    result = {**crops(), "frames": {f"{w}x{h}": frames((w, h)) for w, h in ((1280, 720), (1920, 1080))}}
    sys.stdout.write(json.dumps({"dolls": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
