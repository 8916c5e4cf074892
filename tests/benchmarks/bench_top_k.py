"""How long an exact top-20 over a million vectors takes on one core, beside faiss Flat where it is installed. JSON.

    python tests/benchmarks/bench_top_k.py [--items 1000000] [--dim 128] [--k 20] [--queries 1,8,32,128] [--calls 5]

Both search the same vectors by inner product with the same queries, by turns, and the best of so many calls counts,
in processor time. Faiss is no dependency of the project: `pip install faiss-cpu` adds its rows. Arithmetic decides:
128 queries are 33 GFLOP, one query is 512 MB of memory to be read. Expected time: a minute, and 1.5 GB. On a 2.6 GHz
EPYC core, ours and faiss 1.15.1, by turns: 17 to 19 ms and the same (1.00 to 1.05 of it) for one query, 30 and 34 for
two, 49 and 129 for 8.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from models.top_k import top_k


def spent_ms(searches: dict[str, Callable[[], object]], calls: int) -> dict[str, float]:
    """Of each search the best of some calls, which take turns; the first call of each does not count."""
    best = dict.fromkeys(searches, float("inf"))
    for call in range(calls + 1):
        for name, search in searches.items():
            began = time.process_time()
            search()
            if call:
                best[name] = min(best[name], (time.process_time() - began) * 1e3)
    return {name: round(value, 1) for name, value in best.items()}


def measure(items: int, dim: int, k: int, queries: list[int], calls: int) -> dict[str, Any]:
    chance = torch.Generator().manual_seed(0)
    vectors = torch.randn(items, dim, generator=chance)
    flat = None
    try:
        import faiss
    except ImportError:
        faiss = None
    if faiss is not None:
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(dim)
        flat.add(vectors.numpy())
    found: dict[str, Any] = {}
    for count in queries:
        asked = torch.randn(count, dim, generator=chance)
        searches: dict[str, Callable[[], object]] = {"ours_ms": lambda asked=asked: top_k(asked, vectors, k)}
        if flat is not None:
            searches["faiss_flat_ms"] = lambda asked=asked: flat.search(asked.numpy(), k)
        found[str(count)] = spent_ms(searches, calls)
        if flat is not None:
            same = top_k(asked, vectors, k).items.numpy() == flat.search(asked.numpy(), k)[1]
            found[str(count)]["same"] = round(float(np.mean(same)), 4)
    return {"items": items, "dim": dim, "k": k, "faiss": getattr(faiss, "__version__", None), "queries": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--queries", default="1,8,32,128")
    parser.add_argument("--calls", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        counts = [int(count) for count in options.queries.split(",")]
        result = measure(options.items, options.dim, options.k, counts, options.calls)
    sys.stdout.write(json.dumps({"top_k": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
