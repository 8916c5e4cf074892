"""Crops embedded a second by what serves embeddings, on one core and on a GPU, against the bare network. Prints JSON.

    python tests/benchmarks/bench_reid.py [--model reid-small] [--crops 512]

The predictor takes crops as bytes, scales them to the network's size, and computes padded pieces of 32, so that no
embedding depends on the rest of its batch; the bare network takes as many crops as floats that lie on its device
already, all at once or 32 at a time, whichever is faster. All take turns; a figure is the median of single calls.
Expected time: a minute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from models.bnneck import PersonEmbedder
from models.layers.rows import PIECE
from models.store import SHIPPED, ModelStore, StoredModel
from serve.predictors.reid import ReIDPredictor

CROP_PX = (128, 64)  # as the pipeline of sightings cuts them


def spent_s(ask: Callable[[], object], device: str) -> float:
    began = time.perf_counter() if device == "cuda" else time.process_time()
    ask()
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter() - began
    return time.process_time() - began


def measure(stored: StoredModel, device: str, crops: int, seconds: float) -> dict[str, Any]:
    predictor = ReIDPredictor(stored, device)
    network = stored.build_as(PersonEmbedder).to(device).eval()
    given = np.random.default_rng(0).integers(0, 256, (crops, *CROP_PX, 3), np.uint8)
    floats = torch.rand(crops, 3, network.height_px, network.width_px, device=device)

    def bare(pieces: tuple[torch.Tensor, ...]) -> object:
        with torch.inference_mode():
            return [network(piece) for piece in pieces]

    whole, parts = (floats,), torch.split(floats, PIECE)
    asks: dict[str, Callable[[], object]] = {
        "served": lambda: predictor.predict(given),
        "whole": lambda: bare(whole),
        "parts": lambda: bare(parts),
    }
    spent: dict[str, list[float]] = {name: [] for name in asks}
    for ask in asks.values():
        ask(), ask()  # the first calls of a size prepare it
    while sum(map(sum, spent.values())) < seconds or len(spent["served"]) < 3:
        for name, ask in asks.items():
            spent[name].append(spent_s(ask, device))
    rate = {name: crops / statistics.median(times) for name, times in spent.items()}
    forward = max(rate["whole"], rate["parts"])
    return {
        "crops_per_s": round(rate["served"]),
        "bare_crops_per_s": round(forward),
        "ratio": round(rate["served"] / forward, 3),
        "calls": len(spent["served"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reid-small", help="NAME, NAME@ALIAS or NAME@VERSION, of those that ship")
    parser.add_argument("--crops", type=int, default=512, help="in a call")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to repeat")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stored = ModelStore(SHIPPED).load(options.model)
    gpu: dict[str, Any] = {"skipped": "torch finds no CUDA device"}
    if torch.cuda.is_available():
        gpu = {"device": torch.cuda.get_device_name(), **measure(stored, "cuda", options.crops, options.seconds)}
    result = {
        "model": f"{stored.name}@{stored.version}",
        "crops": options.crops,
        "cpu": {"threads": 1, **measure(stored, "cpu", options.crops, options.seconds)},
        "gpu": gpu,
    }
    sys.stdout.write(json.dumps({"reid": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
