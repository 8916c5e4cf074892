"""How well detectors of persons find them in real pictures, and how long they take, on one core. Prints JSON.

    python tests/benchmarks/bench_detection.py [.sightline/nanodet_g.onnx]

- `walk_in`: every 16th frame of a clip of six people who come in one after another, seen from above (768 x 432, CC BY).
  Nobody has labelled it: a person is where a frame differs from the first one, which is empty; frames with less than a
  seventh of the largest person in them, a foot at the edge, are left out.
- `far_0`, `far_1`: every 12th frame of two drawn clips with labels, 1080p: people of 30 to 158 pixels.

Recall and precision at an overlap of half, at the score from which the tracker begins a track, and at the least score
that detectors report; average precision over all scores. Times are CPU times. Expected time: a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.onnx_detectors import NANODET, OnnxPersonDetector
from streaming.features.person_detectors import HogPersonDetector
from streaming.features.persons import Detect, Detections
from streaming.tracking import ByteTrack
from streaming.tracking.association import overlaps

DATA = Path(os.environ.get("SIGHTLINE_DATA", Path(__file__).parents[3] / "shared" / "data"))
CLIP, FAR = DATA / "video" / "intel_one_by_one_person.mp4", DATA / "reid" / "clonedperson_scene99"

Boxes = npt.NDArray[np.float64]
Truth = list[tuple[npt.NDArray[np.uint8], Boxes]]


def frames(path: Path, every: int, first: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == first:
                yield number, frame.to_ndarray(format="rgb24")


def walk_in() -> Truth:
    pictures = [picture for _, picture in frames(CLIP, 16, 0)]
    found, most = [], 0
    for picture in pictures:
        changed = (np.abs(picture.astype(int) - pictures[0]).max(axis=2) > 45).astype(np.uint8)
        solid = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((3, 3)))
        solid = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((25, 25)))
        _, _, parts, _ = cv2.connectedComponentsWithStats(solid)
        large = parts[1:][parts[1:, cv2.CC_STAT_AREA] > 400]
        found.append((picture, large))
        most = max(most, *large[:, cv2.CC_STAT_AREA].tolist(), 0)
    whole = [(picture, parts) for picture, parts in found if (parts[:, cv2.CC_STAT_AREA] > most / 7).all()]
    return [(picture, np.c_[part[:, :2], part[:, :2] + part[:, 2:4]].astype(float)) for picture, part in whole]


def far(camera: int) -> Truth:
    labels = pl.read_csv(FAR / "gt_boxes.csv").filter(camera=camera)
    return [
        (picture, labels.filter(frame=number).select("x1", "y1", "x2", "y2").to_numpy().astype(float))
        for number, picture in frames(FAR / f"camera{camera}.mp4", 12, 6)
    ]


def hits(found: Detections, truth: Boxes) -> npt.NDArray[np.bool_]:
    """Whose box is right, best score first: each person counts once."""
    order = np.argsort(-found.scores, kind="stable")
    alike = overlaps(found.boxes[order].astype(np.float64), truth)
    right, free = np.zeros(len(order), bool), np.ones(len(truth), bool)
    for row in range(len(order)) if len(truth) else ():
        best = int(np.where(free, alike[row], -1.0).argmax())
        right[row] = free[best] and alike[row, best] >= 0.5
        free[best] &= not right[row]
    return right


def measure(detect: Detect, truth: Truth) -> dict[str, Any]:
    spent_ms, scores, right = [], [], []
    for picture, boxes in truth:
        began = time.process_time()
        (found,) = detect([picture])
        spent_ms.append(1e3 * (time.process_time() - began))
        scores.append(-np.sort(-found.scores, kind="stable"))
        right.append(hits(found, boxes))
    score, hit = np.concatenate(scores), np.concatenate(right)
    persons = sum(len(boxes) for _, boxes in truth)
    order = np.argsort(-score, kind="stable")
    recall = np.cumsum(hit[order]) / persons
    precision = np.cumsum(hit[order]) / (1 + np.arange(len(order)))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    sure = score >= ByteTrack().good_score
    return {
        "average_precision": round(float(np.sum(np.diff(recall, prepend=0.0) * best)), 3),
        **{
            name: {
                "recall": round(float(hit[chosen].sum() / persons), 3),
                "precision": round(float(hit[chosen].mean()), 3) if chosen.any() else None,
            }
            for name, chosen in (("begins_tracks", sure), ("all", np.ones(len(score), bool)))
        },
        "ms": round(statistics.median(spent_ms), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="?", help="of `make detector`; default: OpenCV's detector alone")
    options = parser.parse_args()
    if not CLIP.exists() or not FAR.exists():
        sys.exit(f"the clips are not in {DATA} (SIGHTLINE_DATA says where)")
    cv2.setNumThreads(1)
    detectors: dict[str, Detect] = {"hog": HogPersonDetector()}
    if options.weights is not None:
        detectors["nanodet_g"] = OnnxPersonDetector(options.weights, NANODET)
        detectors["nanodet_g_640"] = OnnxPersonDetector(options.weights, replace(NANODET, side_px=640))
    made: dict[str, Callable[[], Truth]] = {"walk_in": walk_in, "far_0": lambda: far(0), "far_1": lambda: far(1)}
    result: dict[str, Any] = {}
    for name, truth_of in made.items():
        truth = truth_of()
        told = {kind: measure(detect, truth) for kind, detect in detectors.items()}
        result[name] = {"frames": len(truth), "persons": sum(len(boxes) for _, boxes in truth), **told}
    sys.stdout.write(json.dumps({"detection": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
