"""Decoding frames of cameras by the pipeline's transforms, against simplejpeg alone. Prints JSON.

    python tests/benchmarks/bench_decode.py

1080p pictures with fine structure, on one core and in the same run: `CheckFrames` and `CutPersons` with a detector that
finds nobody, against a loop over `simplejpeg.decode_jpeg` that keeps as many pictures at a time. Times are CPU times,
of the best call in each of several rounds; the two sides take turns, so that what else the machine does meets both.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one core, as simplejpeg; before polars is imported

import numpy as np
import numpy.typing as npt
import polars as pl
import simplejpeg

from streaming.codec import load_schema
from streaming.features.frames import CheckFrames
from streaming.features.jpeg import Image
from streaming.features.persons import CutPersons, Detections

FRAMES, ROUNDS, CALLS, AT_ONCE = 16, 7, 3, 4
WIDTH, HEIGHT = 1920, 1080


def pictures() -> list[bytes]:
    """Smooth shades with noise on them: about 300 KB each, as an indoor camera makes them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    made = []
    for number in range(FRAMES):
        shades = [128 + 100 * np.sin(x / (90 + 7 * c) + number) * np.cos(y / (70 + 5 * c)) for c in range(3)]
        noisy = np.stack(shades, axis=2) + rng.normal(0, 5, (HEIGHT, WIDTH, 1))
        image: npt.NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
        made.append(simplejpeg.encode_jpeg(image, 80))
    return made


def rows(jpegs: Sequence[bytes]) -> pl.DataFrame:
    """A batch as the codec hands it on."""
    from streaming.codec._schema import dtype, parse

    schema = {field.name: dtype(field.type) for field in parse(load_schema("camera-frames")).fields}
    plain = {
        "camera_id": "door",
        "captured_ms": 1_790_000_000_000,
        "width": WIDTH,
        "height": HEIGHT,
        "dropped_total": 0,
    }
    return pl.DataFrame([{**plain, "frame": i, "jpeg": data} for i, data in enumerate(jpegs)], schema=schema)


def nobody(images: Sequence[Image]) -> list[Detections]:
    """A detector that costs nothing."""
    return [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)) for _ in images]


def bare(jpegs: Sequence[bytes]) -> None:
    """simplejpeg alone."""
    for start in range(0, len(jpegs), AT_ONCE):
        [simplejpeg.decode_jpeg(data, "RGB") for data in jpegs[start : start + AT_ONCE]]


def best_s(work: Callable[[], object]) -> float:
    """CPU seconds of the best of several calls."""
    times = []
    for _ in range(CALLS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    """Measure, check and print."""
    jpegs = pictures()
    batch, check, cut = rows(jpegs), CheckFrames(), CutPersons(nobody)
    answered = cut(check(batch))
    assert answered["_reject"].null_count() == FRAMES and answered["crops"].to_list() == [b""] * FRAMES
    ratios, alone, through = [], [], []
    for _ in range(ROUNDS):
        alone.append(best_s(lambda: bare(jpegs)))
        through.append(best_s(lambda: cut(check(batch))))
        ratios.append(alone[-1] / through[-1])
    result = {
        "frames": FRAMES,
        "size": f"{WIDTH}x{HEIGHT}",
        "jpeg_kb": round(statistics.mean(map(len, jpegs)) / 1000),
        "bare_frames_per_s": round(FRAMES / min(alone), 1),
        "frames_per_s": round(FRAMES / min(through), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }
    json.dump({"decode": result}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
