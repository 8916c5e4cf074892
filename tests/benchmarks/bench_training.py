"""What Ray Train costs: the training loop on one worker of it against the same loop in this process. Prints JSON.

    python tests/benchmarks/bench_training.py [--matches 800] [--epochs 6] [--rounds 3]

Both do the same work to the same weights: learn from simulated matches of lol, look at those held out, keep a
checkpoint, report, every epoch. They take turns, so that what else the machine does falls on both; the ratio is the
median over the rounds. The clock runs from the first report to the last: the first epoch of a process is slow, and only
Ray's worker is a new one in each round. The start of Ray and of the worker is stated apart. The same is done for a
batch in pieces (`optim.accumulate`) and for products in bfloat16 (`optim.bf16`), both in this process. Expected time:
four minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jobs.checkpoints import Checkpoints
from jobs.datasets import Split, load_matches, split_by_match
from jobs.fit_on_ray import fit_on_ray
from jobs.fit_tsstn import Fitted, fit
from jobs.ray_session import ray_session
from jobs.recipes.overrides import with_overrides
from jobs.recipes.win_tsstn import WinTSSTN

_PIECES = 4


def matches_per_s(split: Split, fitted: Fitted) -> float:
    """Learned from after the first epoch, by the clock of the loop."""
    first, *others = fitted.reports
    return len(split.train) * len(others) / (others[-1].elapsed_s - first.elapsed_s)


def alone(split: Split, recipe: WinTSSTN) -> Fitted:
    """In this process."""
    with tempfile.TemporaryDirectory() as folder:
        return fit(split.train, split.held_out, recipe, checkpoints=Checkpoints(Path(folder), "bench"))


def on_ray(split: Split, recipe: WinTSSTN) -> Fitted:
    """On one worker of Ray Train; Ray is up."""
    with tempfile.TemporaryDirectory() as folder:
        return fit_on_ray(split, recipe, folder=Path(folder), subject="bench", on_epoch=lambda report: None)


def measured(matches: int, epochs: int, rounds: int) -> dict[str, object]:
    """All of it, in turns."""
    source = f"simulator:lol?matches={matches}&seed=7"
    split = split_by_match(load_matches(source), share=0.05, seed=0)
    recipe = with_overrides(WinTSSTN(data=source), [f"optim.epochs={epochs}", "scaling.workers=1"])
    pieces = with_overrides(recipe, [f"optim.accumulate={_PIECES}"])
    halves = with_overrides(recipe, ["optim.bf16=true"])
    ways: dict[str, Callable[[], Fitted]] = {
        "alone": lambda: alone(split, recipe),
        "ray": lambda: on_ray(split, recipe),
        "pieces": lambda: alone(split, pieces),
        "bf16": lambda: alone(split, halves),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    starts_s: list[float] = []
    began = time.monotonic()
    with ray_session(None, logical_cpus=2, object_store_mb=512):
        ray_start_s = time.monotonic() - began
        for _ in range(rounds):
            for name, way in ways.items():
                began = time.monotonic()
                fitted = way()
                rates[name].append(matches_per_s(split, fitted))
                if name == "ray":
                    starts_s.append(time.monotonic() - began - fitted.reports[-1].elapsed_s)
    ratio = {
        name: statistics.median(other / own for own, other in zip(rates["alone"], rates[name], strict=True))
        for name in ways
        if name != "alone"
    }
    return {
        "matches": len(split.train),
        "epochs": epochs,
        "rounds": rounds,
        "matches_per_s": {name: round(statistics.median(found)) for name, found in rates.items()},
        "ratio_to_alone": {name: round(value, 3) for name, value in ratio.items()},
        "pieces": _PIECES,
        "ray_start_s": round(ray_start_s, 1),
        "worker_start_and_end_s": round(statistics.median(starts_s), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matches", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    result = measured(options.matches, options.epochs, options.rounds)
    sys.stdout.write(json.dumps({"training": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
