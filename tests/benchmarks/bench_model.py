"""The win model without Kafka and Ray: a frame's whole answer, contributions included, on one core and on a GPU.

    python tests/benchmarks/bench_model.py [--model tsstn-lol] [--rows 4096]

`alone` is one frame a call, the worst case of a quiet evening; `batched` is many matches at once. Both go through the
predictor that Ray Serve runs (arrays in, arrays out) and through the bare network. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.store import SHIPPED, ModelStore, StoredModel
from models.tsstn import TSSTN
from serve.predictors.win import WinPredictor

MATCHES = 200
WARM_UP = 20


def requests(predictor: WinPredictor, rows: int, matches: int) -> dict[str, npt.NDArray[Any]]:
    """Frames of live matches round robin, a tenth of the values not known."""
    chance = np.random.default_rng(0)
    features = chance.normal(0, 500, (rows, len(predictor.features))).astype(np.float32)
    features[chance.random(features.shape) < 0.1] = np.nan
    return {
        "features": features,
        "clock_s": (30.0 * (1 + np.arange(rows) // matches)).astype(np.float32),
        "match": np.arange(rows, dtype=np.int64) % matches,
        "hidden": np.zeros((matches, predictor.state_floats), np.float32),
    }


def alone_ms(ask: Callable[[], object], calls: int) -> dict[str, float]:
    """Wall time of single calls, ms."""
    for _ in range(WARM_UP):
        ask()
    spent = []
    for _ in range(calls):
        began = time.perf_counter()
        ask()
        spent.append((time.perf_counter() - began) * 1e3)
    return {name: round(float(np.percentile(spent, at)), 3) for name, at in (("p50", 50), ("p99", 99))}


def frames_per_s(ask: Callable[[], object], rows: int, seconds: float) -> int:
    """How many rows a second go through calls of `rows` each, the median of single calls."""
    ask()
    spent: list[float] = []
    while sum(spent) < seconds:
        began = time.perf_counter()
        ask()
        spent.append(time.perf_counter() - began)
    return round(rows / float(np.median(spent)))


def measure(stored: StoredModel, device: str, rows: int, calls: int, seconds: float) -> dict[str, Any]:
    predictor = WinPredictor(stored, device)
    model = stored.build_as(TSSTN).to(device)
    one, many = requests(predictor, 1, 1), requests(predictor, rows, MATCHES)

    def bare(request: dict[str, npt.NDArray[Any]]) -> Callable[[], object]:
        names = ("features", "clock_s", "match", "hidden")
        features, clock_s, match, hidden_before = (torch.from_numpy(request[name]).to(device) for name in names)

        def ask() -> object:
            estimate, hidden = model.step(features, clock_s, match, hidden_before)
            return estimate.contributions.cpu(), hidden.cpu()  # on the CPU, or a GPU would still be at work

        return ask

    length = max(1, rows // MATCHES)
    whole = [
        torch.from_numpy(many["features"][: length * MATCHES]).reshape(MATCHES, length, -1).to(device),
        torch.from_numpy(many["clock_s"][: length * MATCHES]).reshape(MATCHES, length).to(device),
        torch.ones(MATCHES, length, dtype=torch.bool, device=device),
    ]

    @torch.inference_mode()
    def matches() -> object:
        return model(*whole).contributions.cpu()

    return {
        "alone_ms": {
            "predictor": alone_ms(lambda: predictor.predict(one), calls),
            "network": alone_ms(bare(one), calls),
        },
        "frames_per_s": {
            "predictor": frames_per_s(lambda: predictor.predict(many), rows, seconds),
            "network": frames_per_s(bare(many), rows, seconds),
            "whole_matches": frames_per_s(matches, length * MATCHES, seconds),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tsstn-lol", help="NAME, NAME@ALIAS or NAME@VERSION, of those that ship")
    parser.add_argument("--rows", type=int, default=4_096, help="frames in a batch")
    parser.add_argument("--calls", type=int, default=2_000, help="calls of a single frame")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to repeat a batch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stored = ModelStore(SHIPPED).load(options.model)
    how = (options.rows, options.calls, options.seconds)
    gpu: dict[str, Any] = {"skipped": "torch finds no CUDA device"}
    if torch.cuda.is_available():
        gpu = {"device": torch.cuda.get_device_name(), **measure(stored, "cuda", *how)}
    result = {
        "model": f"{stored.name}@{stored.version}",
        "rows": options.rows,
        "cpu": {"threads": 1, **measure(stored, "cpu", *how)},
        "gpu": gpu,
    }
    sys.stdout.write(json.dumps({"model": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
