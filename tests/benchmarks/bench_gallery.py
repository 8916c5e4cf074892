"""How long it takes to find people among those who were seen: 64 looks against 20,000 identities. Prints JSON.

    python tests/benchmarks/bench_gallery.py [--identities 20000] [--queries 64] [--threads N]

`search` finds the most alike of all identities, exactly, `search_recent` of those of the last half hour;
`search_strangers` with looks that are like nobody's, for which bounds tell nothing; `product` is the bare product with
all of them, `build` what is prepared once for a gallery. `decide` is what the pipeline does with 64 tracks whose time
has come in one step, over a day's identities, those of the last half hour being candidates: what is known is laid side
by side, then gate by time and cameras, rates, looks, probabilities, assignment. Expected time: half a minute on two
cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from streaming.identities import IdentityStage, Rules
from streaming.identities.decisions import Decisions
from streaming.identities.gallery import Gallery
from streaming.identities.memory import DECIDED, PENDING, TRACK, Memory, track_key
from streaming.privacy.seal import Plain
from streaming.state import StateTable
from streaming.tracking.looks import unit

DAY_MS, CAMERAS = 10 * 3_600_000, 16
NOW_MS = 1_700_000_000_000


def spent_ms(ask: Callable[[], object], calls: int, before: Callable[[], object] | None = None) -> dict[str, float]:
    """Wall time of single calls, ms."""
    spent = []
    for _ in range(calls + 3):
        if before is not None:
            before()
        began = time.perf_counter()
        ask()
        spent.append((time.perf_counter() - began) * 1e3)
    return {name: round(float(np.percentile(spent[3:], at)), 2) for name, at in (("p50", 50), ("p99", 99))}


def day(identities: int, queries: int, dimensions: int) -> tuple[StateTable, Memory]:
    """A state with one track of each identity, spread over the day, and tracks that wait for a decision."""
    chance = np.random.default_rng(0)
    state = IdentityStage(dimensions).new_state()
    memory = Memory(state)
    for camera in range(CAMERAS):
        memory.camera(f"c{camera}", NOW_MS - DAY_MS)
    total = identities + queries
    camera, is_new = chance.integers(0, CAMERAS, total), np.arange(total) >= identities
    keys = [track_key(number, track) for track, number in enumerate(camera.tolist())]
    slots = state.slots(keys)
    seen_ms = np.where(is_new, NOW_MS - 1_000, NOW_MS - 20_000 - chance.integers(0, DAY_MS, total))
    looks = unit(chance.normal(size=(total, dimensions)).astype(np.float32))
    looks[is_new] = unit(looks[:queries] + 0.5 * looks[is_new])
    for column, values in (
        ("kind", TRACK),
        ("status", np.where(is_new, PENDING, DECIDED)),
        ("camera", camera),
        ("track_id", np.arange(total)),
        ("person", np.where(is_new, 0, 1 + np.arange(total))),
        ("linked", np.where(is_new, 0, 1 + np.arange(total))),
        ("number", 1 + np.arange(total)),
        ("first_ms", seen_ms),
        ("last_ms", seen_ms + 1_000),
        ("count", 5),
        ("look", Plain().seal(looks, [], NOW_MS)),
    ):
        state[column][slots] = values
    return state, memory


def measure(identities: int, queries: int, dimensions: int, calls: int) -> dict[str, Any]:
    state, memory = day(identities, queries, dimensions)
    pending = np.flatnonzero(state["status"] == PENDING)
    pending = pending[state["kind"][pending] == TRACK]
    known = memory.decided()
    looks, everybody = (Plain().open(state["look"][slots], []) for slots in (pending, known))
    strangers = unit(np.random.default_rng(1).normal(size=looks.shape).astype(np.float32))
    columns = ("status", "person", "linked", "number", "score")
    as_was = {column: state[column].copy() for column in columns}

    def again() -> None:
        for column, values in as_was.items():
            state[column][:] = values

    recent = np.flatnonzero(state["last_ms"][known] >= NOW_MS - 1_800_000)
    gallery, of_late = Gallery(everybody), Gallery(everybody[recent])
    return {
        "search_ms": spent_ms(lambda: gallery.nearest(looks), calls),
        "search_recent_ms": spent_ms(lambda: of_late.nearest(looks), calls),
        "search_strangers_ms": spent_ms(lambda: gallery.nearest(strangers), calls),
        "product_ms": spent_ms(lambda: looks @ everybody.T, calls),
        "build_ms": spent_ms(lambda: Gallery(everybody), 5),
        "decide_ms": spent_ms(
            lambda: Decisions(Rules(), Plain(), memory, NOW_MS, pending).decide(), max(5, calls // 5), before=again
        ),
        "candidates": len(recent),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=64)
    parser.add_argument("--threads", type=int, default=None, help="of the linear algebra; default: all cores")
    parser.add_argument("--calls", type=int, default=50)
    options = parser.parse_args()
    with threadpool_limits(options.threads):
        by_dimensions = {
            str(dimensions): measure(options.identities, options.queries, dimensions, options.calls)
            for dimensions in (128, 256, 512)
        }
    result = {"identities": options.identities, "queries": options.queries, "dimensions": by_dimensions}
    sys.stdout.write(json.dumps({"gallery": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
