"""How long it takes to find people among those who were seen: 64 looks against 20,000 identities. Prints JSON.

    python tests/benchmarks/bench_gallery.py [--identities 20000] [--queries 64] [--threads N]

`match` is what the pipeline asks of looks: what those of 64 tracks say for each of all identities being them, the mean
look of everybody gathered first; `match_recent` for those of the last half hour, who are its candidates; `product` is
the bare product with all of them, `open` what is prepared once a step: looks opened, and what cameras add taken away.
`decide` is what the pipeline does with 64 tracks whose time has come in one step, over a day's identities, those of the
last half hour being candidates: what is known is laid side by side, then gate by time and cameras, rates, looks,
probabilities, assignment. Expected time: half a minute on two cores.
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
from streaming.identities.memory import DECIDED, PENDING, TRACK, Memory, track_key
from streaming.identities.past import Past
from streaming.identities.track_looks import TrackLooks
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
    looks, everybody = (Plain().open(state["look"][slots], []) for slots in (pending, memory.decided()))
    columns = ("status", "person", "linked", "number", "moved", "score")
    as_was = {column: state[column].copy() for column in columns}

    def again() -> None:
        for column, values in as_was.items():
            state[column][:] = values

    rules = Rules()

    def matches(memory_s: float) -> tuple[Callable[[], object], int]:
        past = Past(memory, NOW_MS - round(1000 * memory_s), NOW_MS, pending)
        looks, known, units = TrackLooks(memory, Plain(), past), past.known(), past.rows(pending)[:, None]
        return lambda: looks.log_ratio(rules.appearance, list(units), known), len(known.persons)

    (all_of_them, persons), (recent, candidates) = matches(rules.retention_s), matches(rules.memory_s)
    if persons != identities:
        raise SystemExit(f"{persons} identities are compared, not {identities}")
    everything = Past(memory, 0, NOW_MS, pending)
    return {
        "match_ms": spent_ms(all_of_them, calls),
        "match_recent_ms": spent_ms(recent, calls),
        "product_ms": spent_ms(lambda: looks @ everybody.T, calls),
        "open_ms": spent_ms(lambda: TrackLooks(memory, Plain(), everything), 5),
        "decide_ms": spent_ms(
            lambda: Decisions(rules, Plain(), memory, NOW_MS, pending).decide(), max(5, calls // 5), before=again
        ),
        "candidates": candidates,
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
