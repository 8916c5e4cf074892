"""How long a start waits for its state: the changelog of 100,000 keys, read and taken over. Prints JSON.

    python tests/benchmarks/bench_restore.py [--bootstrap HOST:PORT] [--keys 100000] [--versions 10]

Nothing of the changelog has been compacted: every version of every key is read. `large` has batches of 5,000 rows, as a
backlog leaves them, `small` of 50, as live traffic does. Expected time: two minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streaming.codec import PackagedRegistry
from streaming.kafka.admin import ensure_topics, read_changelog
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.pipeline import Pipeline
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch
from streaming.runners.flow import Flow
from streaming.state import Column, StateTable
from streaming.topics import MATCH_EVENTS, MATCH_INSIGHTS, state_topic
from streaming.transport import Output

PARTITIONS, BATCHES_IN_TRANSACTION, HIDDEN = 4, 200, 64
SHAPES = {"large": 5_000, "small": 50}  # rows a batch


class Last:
    """Keeps what a recurrent model keeps: a vector a key, the clock and a name. Answers nothing."""

    name = "last"

    def new_state(self) -> StateTable:
        layout = {
            "hidden": Column(np.float32, (HIDDEN,)),
            "clock_ms": Column(np.int64),
            "attempt": Column(np.int32),
            "title": Column(str),
        }
        return StateTable(self.name, layout, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        keys = rows["match_id"].to_list()
        slots = state.slots(keys, rows["_partition"].to_numpy())
        state["hidden"][slots] = rows["version"].to_numpy()[:, None] + np.arange(HIDDEN, dtype=np.float32)
        state["clock_ms"][slots] = rows["version"].to_numpy()
        state["title"][slots] = "lol"
        state.touch(keys)
        return rows.clear()


def pipeline(name: str) -> Pipeline:
    return Pipeline(name, source=MATCH_EVENTS, transforms=(), stages=(Last(),), sink=MATCH_INSIGHTS)


def flow(name: str) -> Flow:
    def never(partition: int, offsets: object) -> Records:
        raise AssertionError("no record is refused")

    return Flow(pipeline(name), PackagedRegistry(), clock=lambda: time.time_ns() // 1_000_000, reread=never)


def write(kafka: KafkaSettings, name: str, keys: int, versions: int, in_batch: int) -> int:
    """Every key `versions` times, by a flow and a sink as in a run; how many bytes that are."""
    writing, size = flow(name), 0
    sink = KafkaSink(kafka, name, name, MATCH_EVENTS.name)
    sink.open()
    number = np.arange(keys)
    for version in range(versions):
        at_once = min(in_batch * BATCHES_IN_TRANSACTION, 40_000)
        for start in range(0, keys, at_once):
            state: list[Output] = []
            for first in range(start, min(start + at_once, keys), in_batch * PARTITIONS):
                chunk = number[first : first + in_batch * PARTITIONS]
                rows = pl.DataFrame(
                    {
                        "match_id": [f"LCK/2024/summer/{n:06d}" for n in chunk],
                        "version": np.full(len(chunk), version),
                        "_partition": chunk % PARTITIONS,
                        "_reject": pl.Series([None] * len(chunk), dtype=pl.String),
                    }
                )
                batch = Batch((OffsetRange(0, 0, 0),), rows)
                state += writing.process([batch]).state
            size += sum(output.records.values.nbytes for output in state)
            sink.commit(answers=[], dead_letters=[], state=state, offsets={0: version})
    sink.close()
    return size


def restore(kafka: KafkaSettings, name: str, keys: int, versions: int) -> dict[str, float]:
    """Read and take over, as a worker's start does."""
    resumed = flow(name)
    began, cpu = time.perf_counter(), time.process_time()
    found = resumed.restore(read_changelog(kafka, name))
    taken = {"restore_s": round(time.perf_counter() - began, 2), "restore_cpu_s": round(time.process_time() - cpu, 2)}
    table = resumed.tables[Last.name]
    if found != keys or table["clock_ms"][table.slots(table.keys())].tolist() != [versions - 1] * keys:
        sys.exit(f"restored {found} of {keys} keys, or not their last version")
    return taken


def measure(kafka: KafkaSettings, keys: int, versions: int) -> dict[str, Any]:
    """Both shapes, each in a topic of its own."""
    ensure_topics(kafka, [MATCH_EVENTS])
    result: dict[str, Any] = {"keys": keys, "records": keys * versions}
    for shape, in_batch in SHAPES.items():
        name = f"bench-{uuid.uuid4().hex[:8]}"
        ensure_topics(kafka, [replace(state_topic(name), partitions=PARTITIONS, compacted=False)])
        size = write(kafka, name, keys, versions, in_batch)
        result[shape] = {"rows_a_batch": in_batch, "mb": round(size / 1e6), **restore(kafka, name, keys, versions)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="How long a start waits for its state.")
    parser.add_argument("--bootstrap", help="host:port of a running Kafka; default: the embedded one")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--versions", type=int, default=10)
    options = parser.parse_args()
    if options.bootstrap:
        result = measure(KafkaSettings(options.bootstrap), options.keys, options.versions)
    else:
        with tempfile.TemporaryDirectory() as home:
            broker = EmbeddedBroker(Path(home))
            try:
                result = measure(KafkaSettings(str(broker.start().bootstrap_servers)), options.keys, options.versions)
            finally:
                broker.stop()
    sys.stdout.write(json.dumps({"restore": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
