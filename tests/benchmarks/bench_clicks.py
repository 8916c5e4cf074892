"""From a click to what is offered next, with reasons: through Kafka, with the model in the pipeline's process.

    python tests/benchmarks/bench_clicks.py [--events-per-s 100] [--seconds 40]                 the micro-batch runner
                                            … --workers 1 [--at-least-once]                      the continuous runner

The shop, its catalogue on its topic and its model are those of `bench_sessions`. Events come at a steady rate, each
with the time at which it was due; an answer is timed from when its view was due to when it could be read, and every
view has to have one. Prints JSON, and with the time where it goes, medians all: of an answer until its event is in the
log, until it is made, and until it is read; and of a turn of the pipeline, as the pipeline itself says after each
commit. `model` is within `recommend`; what a turn takes beyond its parts is spent on waiting for events and on reading
them. Expected time: two minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from reference_harness import ORIGIN, AnswerMeter, Received
from reference_process import run_until_sigterm
from reference_workload import continuous, micro_batch
from session_workload import (
    REGISTRY,
    SEARCH_PATH,
    catalogue_records,
    event_records,
    predictor,
    shop_events,
    train_model,
)

from jobs.children import Child
from streaming import topics
from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.pipelines.recommendations import recommendations
from streaming.runners import account
from streaming.sessions.following import CatalogueFollower
from streaming.sessions.model import Recommended, Sessions

WARM_UP_S = 15.0
TURNS = "turns.jsonl"
"""File beside the models: a line a turn, of what it took."""


class Timed:
    """A recommender that says how long its last call took."""

    def __init__(self, root: Path) -> None:
        self._predictor, self.took_ms = predictor(root), 0.0

    def __call__(self, sessions: Sessions, top_k: int) -> Recommended:
        began = time.perf_counter()
        found = self._predictor(sessions, top_k)
        self.took_ms = (time.perf_counter() - began) * 1e3
        return found


class Turns(logging.Handler):
    """Writes down what the runner says of each commit."""

    def __init__(self, path: Path, model: Timed) -> None:
        super().__init__()
        self._file, self._model = path.open("a", buffering=1), model

    def emit(self, record: logging.LogRecord) -> None:
        said = vars(record)
        if "took_ms" in said and said["answers"]:
            turn = {"at_ms": record.created * 1e3, "events": said["events"], "answers": said["answers"]}
            self._file.write(json.dumps({**turn, **said["took_ms"], "model": self._model.took_ms}) + "\n")


def run_pipeline(bootstrap: str, root: Path, workers: int, *, at_least_once: bool) -> None:
    """The process that is measured, until SIGTERM."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap)

    def pipeline() -> Pipeline:
        items, model = CatalogueFollower(KafkaSource(kafka, topics.ITEM_CATALOGUE.name, ""), REGISTRY), Timed(root)
        account.log.setLevel(logging.INFO)
        account.log.addHandler(Turns(root / TURNS, model))
        return recommendations({"live": model}, items)

    def make(processes: list[Any]) -> Any:
        if workers:
            return continuous(
                kafka, workers, pipeline, standby=processes, at_least_once=at_least_once, registry=REGISTRY
            )
        return micro_batch(kafka, pipeline, registry=REGISTRY)

    run_until_sigterm(make, workers)


def send(publisher: Publisher, events: pl.DataFrame, events_per_s: float) -> int:
    """Send events at a steady rate, restamped to when each is due; returns how many of them are views."""
    due_ms = time.time() * 1e3 + 500 + np.arange(events.height) * 1e3 / events_per_s
    stamped = events.with_columns(event_time_ms=pl.Series(due_ms.astype(np.int64)).cast(pl.Datetime("ms", "UTC")))
    keys, values = event_records(stamped)
    done = 0
    while done < len(keys):
        due = int(np.searchsorted(due_ms, time.time() * 1e3, side="right"))
        if due > done:
            publisher.send(topics.USER_SESSIONS.name, keys[done:due], values[done:due])
            done = due
        time.sleep(0.002)
    return int((events["kind"] == "view").sum())


def wait_for(meter: AnswerMeter, answers: int, child: Child, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while meter.received < answers:
        if child.ended is not None or time.monotonic() > deadline:
            sys.exit(f"{meter.received} of {answers} answers; the pipeline says: {child.last_line}")
        time.sleep(0.02)


def medians(frame: pl.DataFrame) -> dict[str, float]:
    return {name: round(float(np.median(frame[name].to_numpy())), 1) for name in frame.columns}


def answered(batches: list[Received], warm: int) -> pl.DataFrame:
    """Of every answer after the first so many, how long it took to each of its stations, in ms."""
    stations = ("event_time_ms", "ingest_time_ms", "emit_time_ms")
    every = pl.concat(
        [answers.with_columns(pl.col(stations).dt.epoch("ms"), read_ms=pl.lit(now_ms)) for now_ms, answers in batches]
    )[warm:]
    return every.select(
        whole=pl.col("read_ms") - pl.col("event_time_ms"),
        in_log=pl.col("ingest_time_ms") - pl.col("event_time_ms"),
        made=pl.col("emit_time_ms") - pl.col("ingest_time_ms"),
        read=pl.col("read_ms") - pl.col("emit_time_ms"),
    )


def turns(path: Path, seconds: float) -> dict[str, float]:
    """Medians over the turns of the last so many seconds, in ms; `whole` is from one commit to the next."""
    every = pl.read_ndjson(path).with_columns(whole=pl.col("at_ms").diff())
    return medians(every.filter(pl.col("at_ms") > every["at_ms"].max() - seconds * 1e3).drop("at_ms"))


def latency(workers: int, events_per_s: float, seconds: float, *, at_least_once: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sightline-clicks-") as folder:
        home = Path(folder)
        train_model(home / "models")
        broker = EmbeddedBroker(home / "kafka")
        kafka = KafkaSettings(bootstrap_servers=str(broker.start().bootstrap_servers))
        wanted = [topics.USER_SESSIONS, topics.USER_SESSIONS.dead_letters, topics.ITEM_CATALOGUE]
        ensure_topics(kafka, [*wanted, topics.SESSION_RECOMMENDATIONS, topics.state_topic("recommendations")])
        publisher = Publisher(kafka)
        columns = (*ORIGIN, "ingest_time_ms", "emit_time_ms")
        meter = AnswerMeter(kafka, topics.SESSION_RECOMMENDATIONS, REGISTRY, columns)
        publisher.send(topics.ITEM_CATALOGUE.name, *catalogue_records())
        publisher.flush(60)
        command = ["bench_clicks", "--pipeline", kafka.bootstrap_servers, "--models", str(home / "models")]
        environment = {"PYTHONPATH": SEARCH_PATH, "OMP_NUM_THREADS": "1"}
        command += ["--workers", str(workers), *["--at-least-once"] * at_least_once]
        child = Child("pipeline", command, environment, home / "log")
        try:
            events = shop_events(round((WARM_UP_S + seconds) * events_per_s), seed=3)
            warming = 1 + round(WARM_UP_S * events_per_s)
            views = send(publisher, events[:1], events_per_s)
            wait_for(meter, views, child)
            views += send(publisher, events[1:warming], events_per_s)
            wait_for(meter, views, child)
            warm = views
            views += send(publisher, events[warming : warming + round(seconds * events_per_s)], events_per_s)
            wait_for(meter, views, child)
        finally:
            child.stop(30)
            publisher.close()
            batches = meter.stop()
            broker.stop()
        turn = turns(home / "models" / TURNS, seconds)
    took_ms = answered(batches, warm)
    p50, p95 = np.percentile(took_ms["whole"].to_numpy(), [50, 95])
    return {
        "events_per_s": events_per_s,
        "answers": took_ms.height,
        "latency_ms": {"p50": round(float(p50), 1), "p95": round(float(p95), 1)},
        "answer_ms": medians(took_ms),
        "turn_ms": turn,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events-per-s", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--workers", type=int, default=0, help="of the continuous runner; 0: the micro-batch runner")
    parser.add_argument("--at-least-once", action="store_true", help="the continuous runner without transactions")
    parser.add_argument("--pipeline", metavar="HOST:PORT", help="be the process that is measured, at these brokers")
    parser.add_argument("--models", type=Path, help="of the pipeline: where the model is stored")
    options = parser.parse_args()
    if options.pipeline:
        run_pipeline(options.pipeline, options.models, options.workers, at_least_once=options.at_least_once)
        return
    name = f"clicks_{'plain' if options.at_least_once else 'continuous' if options.workers else 'micro_batch'}"
    how = {"at_least_once": options.at_least_once}
    result = {name: latency(options.workers, options.events_per_s, options.seconds, **how)}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
