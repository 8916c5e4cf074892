"""A promotion and a rollback under load: what answers cost meanwhile, and whether one is missing, doubled or of the
wrong version.

    python tests/benchmarks/bench_swap.py

2,000 events/s over 200 live matches. Latency is taken before the moves, and over the seconds around each. Prints JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np
import polars as pl
from bench_pipeline import MATCHES, Bench, bench

from models.store import SHIPPED, ModelStore
from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka.admin import read_all
from streaming.kafka.settings import KafkaSettings

NAME = "tsstn-lol"
_UNDER_WAY_S = 2.0  # of the load, before the command


def swap(events_per_s: float, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sightline-bench-models-") as folder:
        store = ModelStore(folder, SHIPPED)
        shipped = ModelStore(SHIPPED).load(f"{NAME}@live")
        words = dict.fromkeys(("trained_on", "data_fingerprint", "code_version"), "bench")
        old, new = (
            store.save(NAME, shipped.build(), shipped.config, metrics={}, title="lol", **words).version
            for _ in range(2)
        )
        store.set_alias(NAME, "live", old)
        with bench(SIGHTLINE_MODELS__STORE=folder) as b:
            b.start_pipeline()
            b.publish(MATCHES)
            b.wait_for(MATCHES)
            b.load(events_per_s, 15)  # warm-up
            b.wait_for(b.sent)
            before = _loaded(b, events_per_s, seconds)
            environment = {"SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS": b.kafka.bootstrap_servers}
            environment["SIGHTLINE_MODELS__STORE"] = folder
            promoted = _Command(["promote", f"{NAME}@{new}", "--force", "--reason", "bench"], environment)
            during = _loaded(b, events_per_s, seconds, promoted)
            rolled_back = _Command(["rollback", NAME], environment)
            back = _loaded(b, events_per_s, seconds, rolled_back)
            time.sleep(1.0)  # an answer too many would come now
            answers = _answers(b.kafka)
            return {
                "events_per_s": events_per_s,
                "events": b.sent,
                "lost": b.sent - answers.select("source_partition", "source_offset").n_unique(),
                "doubled": answers.height - answers.select("source_partition", "source_offset").n_unique(),
                "without_version": answers.filter(pl.col("model_version") == "").height,
                "versions_by_partition": _turns(answers),
                "latency_ms": {"before": before, "promotion": during, "rollback": back},
                "first_answer_after_s": {
                    "promotion": _until_first(answers, str(new), promoted),
                    "rollback": _until_first(answers, str(old), rolled_back),
                },
            }


class _Command:
    """`sightline models …`, given in mid-load, as a person gives it."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._arguments, self._environment = arguments, environment
        self.began_ms = 0.0

    def give(self) -> None:
        time.sleep(_UNDER_WAY_S)
        self.began_ms = time.time() * 1e3
        command = [sys.executable, "-m", "jobs.cli", "models", *self._arguments]
        subprocess.run(command, env={**os.environ, **self._environment}, check=True, stdout=subprocess.DEVNULL)


def _loaded(b: Bench, events_per_s: float, seconds: float, command: _Command | None = None) -> dict[str, float | None]:
    b.meter.forget_latency()
    given = threading.Thread(target=command.give) if command is not None else None
    if given is not None:
        given.start()
    b.load(events_per_s, seconds)
    b.flush()
    if given is not None:
        given.join()
    b.wait_for(b.sent)
    return b.meter.measured().percentiles()


def _answers(kafka: KafkaSettings) -> pl.DataFrame:
    decoder = Decoder("match-insights", PackagedRegistry())
    columns = ["source_partition", "source_offset", "model_version", "emit_time_ms"]
    return pl.concat(
        [decoder.decode(part).frame.select(columns) for part in read_all(kafka, "match.insights").values()]
    )


def _turns(answers: pl.DataFrame) -> dict[int, list[str]]:
    parts = answers.sort("source_partition", "source_offset").partition_by("source_partition")
    return {
        int(part.item(0, 0)): [version for version, _ in itertools.groupby(part["model_version"].to_list())]
        for part in parts
    }


def _until_first(answers: pl.DataFrame, version: str, command: _Command) -> float:
    """Seconds from giving a command to the first answer by a version after it."""
    made = answers.filter(pl.col("model_version") == version)["emit_time_ms"].dt.epoch("ms").to_numpy()
    after = made[made >= command.began_ms]
    return round(float(np.min(after) - command.began_ms) / 1e3, 2) if len(after) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events-per-s", type=float, default=2_000)
    parser.add_argument("--seconds", type=float, default=10, help="of each of the three measurements")
    options = parser.parse_args()
    sys.stdout.write(json.dumps({"swap": swap(options.events_per_s, options.seconds)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
