"""A promotion and a rollback under load: what answers cost meanwhile, and whether one is missing, doubled or of the
wrong version.

    python tests/benchmarks/bench_swap.py

2,000 events/s over 200 live matches, each of which gets an answer. Latency is taken for a while before the moves, and
from the moment on at which each is given, as a person gives it, by a process of its own, until some seconds after that
has ended. Prints JSON.
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
from streaming.topics import MATCH_EVENTS

NAME = "tsstn-lol"
TURNS = ("old", "new", "old")
_STEP_S = 2.0  # of load, which is made and sent so much at a time
_AFTERWARDS_S = 6.0  # of load, after the command: long enough for it to be obeyed


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
            during = _loaded_around(promoted, b, events_per_s)
            rolled_back = _Command(["rollback", NAME], environment)
            back = _loaded_around(rolled_back, b, events_per_s)
            time.sleep(1.0)  # an answer too many would come now
            answers = _answers(b.kafka)
            answered = answers.select("source_partition", "source_offset").n_unique()
            turns = _turns(answers, {str(old): "old", str(new): "new"})
            return {
                "events_per_s": events_per_s,
                "events": b.sent,
                "failed": sum(len(part) for part in read_all(b.kafka, MATCH_EVENTS.dead_letters.name).values()),
                "lost": b.sent - answered,
                "doubled": answers.height - answered,
                "of_another_version": answers.filter(~pl.col("model_version").is_in([str(old), str(new)])).height,
                "versions_by_partition": turns,
                "once_a_partition": all(its == list(TURNS) for its in turns.values()),
                "latency_ms": {"before": before, "promotion": during, "rollback": back},
                "p99_times": {"promotion": _times(before, during), "rollback": _times(before, back)},
                "first_answer_after_s": {
                    "promotion": _until_first(answers, str(new), promoted),
                    "rollback": _until_first(answers, str(old), rolled_back),
                },
            }


class _Command:
    """`sightline models …`."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._arguments, self._environment = arguments, environment
        self.began_ms = 0.0

    def give(self) -> None:
        self.began_ms = time.time() * 1e3
        command = [sys.executable, "-m", "jobs.cli", "models", *self._arguments]
        subprocess.run(command, env={**os.environ, **self._environment}, check=True, stdout=subprocess.DEVNULL)


def _loaded(b: Bench, events_per_s: float, seconds: float) -> dict[str, float | None]:
    b.meter.forget_latency()
    b.load(events_per_s, seconds)
    return _measured(b)


def _loaded_around(command: _Command, b: Bench, events_per_s: float) -> dict[str, float | None]:
    """Under load before the command, while it is obeyed, and afterwards; latency from the command on."""
    b.load(events_per_s, _STEP_S)
    given = threading.Thread(target=command.give)
    b.meter.forget_latency()
    given.start()
    while given.is_alive():
        b.load(events_per_s, _STEP_S)
    b.load(events_per_s, _AFTERWARDS_S)
    return _measured(b)


def _measured(b: Bench) -> dict[str, float | None]:
    b.flush()
    b.wait_for(b.sent)
    return b.meter.measured().percentiles()


def _answers(kafka: KafkaSettings) -> pl.DataFrame:
    decoder = Decoder("match-insights", PackagedRegistry())
    columns = ["source_partition", "source_offset", "model_version", "emit_time_ms"]
    return pl.concat(
        [decoder.decode(part).frame.select(columns) for part in read_all(kafka, "match.insights").values()]
    )


def _turns(answers: pl.DataFrame, names: dict[str, str]) -> dict[int, list[str]]:
    """The versions that answered each partition, one after another."""
    parts = answers.sort("source_partition", "source_offset").partition_by("source_partition")
    versions = {int(part["source_partition"][0]): part["model_version"].to_list() for part in parts}
    return {
        partition: [names.get(version, version) for version, _ in itertools.groupby(said)]
        for partition, said in versions.items()
    }


def _times(before: dict[str, float | None], during: dict[str, float | None]) -> float:
    return round((during["p99"] or float("nan")) / (before["p99"] or float("nan")), 2)


def _until_first(answers: pl.DataFrame, version: str, command: _Command) -> float:
    """Seconds from giving a command to the first answer by a version after it."""
    made = answers.filter(pl.col("model_version") == version)["emit_time_ms"].dt.epoch("ms").to_numpy()
    after = made[made >= command.began_ms]
    return round(float(np.min(after) - command.began_ms) / 1e3, 2) if len(after) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events-per-s", type=float, default=2_000)
    parser.add_argument("--seconds", type=float, default=30, help="of the measurement before the moves")
    options = parser.parse_args()
    sys.stdout.write(json.dumps({"swap": swap(options.events_per_s, options.seconds)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
