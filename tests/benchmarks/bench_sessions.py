"""What to offer next, for every view: how many events of sessions a second, with the model in the process.

    python tests/benchmarks/bench_sessions.py [--sessions 8000] [--batch 2048]

The shop is simulated, its catalogue has 65,000 items. GRU4Rec beside remembered sessions is trained on 100,000 of its
visits (one epoch: only the rate depends on that), and other visits are then answered: decoded and checked, folded into
sessions, every view answered with 20 of 60 candidates, by rules and MMR, with two reasons for each and without reasons,
and encoded. A figure in processor time is what a core does; two processes have half of the sessions each. Prints JSON.
Expected time: four minutes on two cores.

On one 2.6 GHz EPYC core that others used as well: 4,800 events/s without reasons (3,000 answers/s) and 1,390 with
(870 answers/s), of which the model takes .86 and .96, rules and MMR .08 and .03: every answer scores 48,600 items,
and for the reasons every distinct click of its session once more, 4.4 on the average. All but the model would do
33,000 events/s. The limit is arithmetic: a product of 32 sessions with all items takes 1.5 ms at 190 GFLOP/s, so
products alone would allow 21,000 scored sessions a second, and an answer with reasons has five of them. Two processes
there do no more than one: they share what multiplies and the way to memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from session_workload import (
    REGISTRY,
    SEARCH_PATH,
    catalogue_records,
    event_records,
    predictor,
    shop_events,
    train_model,
)

from streaming.codec import Decoder, Encoder, load_schema
from streaming.pipelines.recommendations import recommendations
from streaming.records import OffsetRange, Records
from streaming.runners.preprocess import preprocess
from streaming.sessions.catalogue import Catalogue
from streaming.sessions.events import validate_events
from streaming.sessions.model import Recommended, Sessions

SETTLED = 2
"""Batches that do not count, at first."""


class Timed:
    """A recommender that adds up its processor time."""

    def __init__(self, root: Path, reasons: int) -> None:
        self._predictor, self.spent_s = predictor(root, reasons), 0.0

    def __call__(self, sessions: Sessions, top_k: int) -> Recommended:
        at = time.process_time()
        found = self._predictor(sessions, top_k)
        self.spent_s += time.process_time() - at
        return found


def own_part(root: Path, part: int, parts: int, sessions: int, batch: int, reasons: int) -> dict[str, Any]:
    """Answer this process's share of the sessions, batch by batch."""
    catalogue, live = Catalogue(REGISTRY), Timed(root, reasons)
    keys, values = catalogue_records()
    now_ms = np.full(len(keys), time.time_ns() // 1_000_000)  # a record of 1970 would tell of an item from the future
    catalogue.apply(OffsetRange(0, 0, len(keys)), Records.of(keys, values, timestamps_ms=now_ms))
    if len(catalogue.index) < len(keys):
        sys.exit(f"the catalogue has {len(catalogue.index)} of {len(keys)} items: {dict(catalogue.refused)}")
    events = shop_events(sessions, seed=2)
    events = events.filter(pl.col("session_id").str.tail(6).cast(pl.Int64) % parts == part)
    fold, recommend = recommendations({"live": live}, catalogue).stages
    state, known = fold.new_state(), recommend.new_state()
    decoder = Decoder("user-sessions", REGISTRY)
    answers = Encoder(load_schema("session-recommendations"), REGISTRY.id_of("session-recommendations"))
    names = [field["name"] for field in load_schema("session-recommendations")["fields"]]
    keys, values = event_records(events)
    time_ms = events["event_time_ms"].to_physical().to_numpy()
    spent: Counter[str] = Counter()
    counted = views = 0
    began = time.perf_counter()
    for number, start in enumerate(range(0, len(keys) - batch + 1, batch)):
        if number == SETTLED:
            spent.clear()
            counted, views, live.spent_s, began = 0, 0, 0.0, time.perf_counter()
        rows = slice(start, start + batch)
        records = Records.of(keys[rows], values[rows], timestamps_ms=time_ms[rows].tolist())
        laps = [time.process_time()]
        frame = preprocess([(OffsetRange(0, start, start + batch), records)], decoder, (validate_events,)).rows
        laps.append(time.process_time())
        asked = fold(frame, state)
        laps.append(time.process_time())
        before_s = live.spent_s
        made = recommend(asked, known)
        laps.append(time.process_time())
        now = pl.lit(int(time_ms[start])).cast(pl.Datetime("ms", "UTC"))
        answers.encode(made.with_columns(emit_time_ms=now, source_topic=pl.lit("user.sessions")).select(names))
        laps.append(time.process_time())
        decode_s, fold_s, answer_s, encode_s = np.diff(laps).tolist()
        model_s = live.spent_s - before_s
        spent.update(decode=decode_s, fold=fold_s, model=model_s, rank=answer_s - model_s, encode=encode_s)
        counted, views = counted + batch, views + made.height
    total_s = sum(spent.values())
    return {
        "events": counted,
        "views": views,
        "events_per_s": round(counted / (time.perf_counter() - began)),
        "events_per_core_s": round(counted / total_s),
        "views_per_core_s": round(views / total_s),
        "share": {name: round(value / total_s, 3) for name, value in spent.items()},
    }


def in_processes(root: Path, parts: int, *more: str) -> list[dict[str, Any]]:
    """`own_part` in so many processes of one thread each, at once."""
    threads = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
        "PYTHONPATH": SEARCH_PATH,
    }
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--models", str(root), "--part", f"{part}/{parts}", *more],
            env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True,
        )
        for part in range(parts)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("a process failed")
    return [json.loads(text) for text in said]


def stages(sessions: int, batch: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sightline-sessions-") as folder:
        root = Path(folder)
        trained = train_model(root)
        found: dict[str, Any] = {"model": vars(trained), "batch": batch}
        for reasons, name in ((2, "with_reasons"), (0, "without_reasons")):
            how = ("--sessions", str(sessions), "--batch", str(batch), "--reasons", str(reasons))
            (alone,) = in_processes(root, 1, *how)
            both = in_processes(root, 2, *how)
            found[name] = {**alone, "two_processes_events_per_s": sum(one["events_per_s"] for one in both)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=8_000)
    parser.add_argument("--batch", type=int, default=2_048, help="events at a time")
    parser.add_argument("--part", help="one of the processes: its number of how many, such as 0/2")
    parser.add_argument("--models", type=Path, help="of a part: where the model is stored")
    parser.add_argument("--reasons", type=int, help="of a part")
    options = parser.parse_args()
    if options.part:
        part, _, parts = options.part.partition("/")
        result = own_part(options.models, int(part), int(parts), options.sessions, options.batch, options.reasons)
    else:
        result = {"sessions": stages(options.sessions, options.batch)}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
