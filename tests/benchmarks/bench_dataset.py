"""How fast a training set is built from a topic: `sightline dataset build` as a user runs it. Prints JSON.

    python tests/benchmarks/bench_dataset.py [--events 1000000] [--tasks 2] [--stages]

Simulated matches of lol on four partitions, 256 side by side in event time. The clock runs from the first record that a
task reads to the set in its place; the start of Ray is stated apart. `--stages` also says where the time goes, on one
core without Ray. Expected time: two minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl

from jobs.settings import load_settings
from jobs.stream_set.build import Progress, build, planned
from jobs.trials import cores
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.deferred_form import FormLedger
from streaming.features.labels import Labeller, LabelRule
from streaming.features.match_fold import MatchFold
from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipelines.win_prediction import TRANSFORMS
from streaming.records import OffsetRange, Records
from streaming.runners.preprocess import preprocess
from streaming.simulators.match import simulate
from streaming.topics import MATCH_EVENTS
from streaming.transport import Output

SEASON_MATCHES, TOGETHER, IN_TRANSACTION = 1_024, 256, 20_000


def season() -> pl.DataFrame:
    """A season's events by event time, `TOGETHER` matches at a time."""
    events = simulate("lol", SEASON_MATCHES, seed=7).events
    order = events.select("match_id").unique(maintain_order=True).with_row_index("number")
    events = events.join(order, on="match_id", maintain_order="left")
    begins = pl.col("event_time_ms").min().over("match_id")
    wave, place = pl.col("number") // TOGETHER, pl.col("number") % TOGETHER
    wave_ms = pl.duration(hours=wave, seconds=place, time_unit="ms")
    moved = (pl.col("event_time_ms") - begins) + pl.col("event_time_ms").min() + wave_ms
    return events.with_columns(event_time_ms=moved).drop("number").sort("event_time_ms", maintain_order=True)


def fill(kafka: KafkaSettings, count: int) -> int:
    """Write seasons, one after another, until there are `count` events; how many there are."""
    ensure_topics(kafka, [MATCH_EVENTS])
    one, written, number = season(), 0, 0
    span = pl.duration(hours=SEASON_MATCHES // TOGETHER + 1, time_unit="ms")
    encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
    sink = KafkaSink(kafka, "bench-dataset", "bench-dataset", MATCH_EVENTS.name)
    sink.open()
    while written < count:
        events = one.with_columns(
            match_id=pl.format("{}-{}", "match_id", pl.lit(number)),
            event_time_ms=pl.col("event_time_ms") + span * number,
        )
        for chunk in events.iter_slices(IN_TRANSACTION):
            keys = [match.encode() for match in chunk["match_id"].to_list()]
            records = Records.of(keys, encoder.encode(chunk).to_pylist())
            sink.commit(answers=[Output(MATCH_EVENTS.name, records)], dead_letters=[], state=[], offsets={})
        written, number = written + len(events), number + 1
    sink.close()
    return written


def built(bootstrap: str, home: Path, tasks: int) -> dict[str, Any]:
    """One build."""
    settings = load_settings({"kafka.bootstrap_servers": (bootstrap, "bench")}).settings
    plan = planned(settings, MATCH_EVENTS, None, None, None)
    marks: list[tuple[float, Progress]] = []
    began = time.perf_counter()
    manifest = build(
        plan,
        settings,
        MATCH_EVENTS,
        home / "set",
        tasks=tasks,
        on_progress=lambda done: marks.append((time.perf_counter() - began, done)),
    )
    first_s, first = marks[0]
    read_s = next(at for at, done in marks if done.finishing)
    # The first report comes when its chunk is done; what it took is as much as the chunks after it did.
    chunk_s = (read_s - first_s) * first.records / max(manifest.records - first.records, 1)
    whole_s = manifest.took_s
    working_s = whole_s - (first_s - chunk_s)
    return {
        "events": manifest.records,
        "rows": manifest.rows,
        "matches": manifest.matches["lol"]["matches"],
        "tasks": tasks,
        "events_per_s": round(manifest.records / working_s),
        "ray_start_s": round(first_s - chunk_s, 1),
        "read_and_fold_s": round(read_s - first_s + chunk_s, 1),
        "finish_s": round(whole_s - read_s, 1),
        "whole_s": whole_s,
    }


def stages(kafka: KafkaSettings, count: int = 200_000) -> dict[str, float]:
    """Microseconds of this process's CPU an event, by step, on one partition."""
    source = KafkaSource(kafka, MATCH_EVENTS.name, "")
    assert MATCH_EVENTS.schema is not None
    decoder, spent, events = Decoder(MATCH_EVENTS.schema, PackagedRegistry()), defaultdict[str, float](float), 0
    fold, labeller = MatchFold(ratings=FormLedger()), Labeller(LabelRule())
    state, reader = fold.new_state(), source.open({0: 0})
    end = min(source.end_offsets()[0], count)
    position = 0
    while position < end:
        parts, at = [], time.process_time()
        while position < end and sum(map(len, parts)) < IN_TRANSACTION:
            if (fetched := reader.poll(0.5, IN_TRANSACTION)) is not None:
                position = fetched.range.end
                parts.append(fetched.records)
        records = Records.joined(parts)
        at = _lap(spent, "fetch", at)
        batch = preprocess([(OffsetRange(0, 0, position), records)], decoder, ())
        at = _lap(spent, "decode", at)
        rows = batch.rows.with_columns(_reject=pl.lit(None, pl.String))
        for transform in TRANSFORMS:
            rows = transform(rows)
        at = _lap(spent, "validate", at)
        frames = fold(rows.drop("_reject"), state)
        at = _lap(spent, "fold", at)
        labelled = labeller.add(frames)
        at = _lap(spent, "label", at)
        with tempfile.TemporaryFile() as file:
            labelled.write_ipc(file)
        _lap(spent, "stage", at)
        events += len(records)
    reader.close()
    source.close()
    return {name: round(seconds / events * 1e6, 2) for name, seconds in spent.items()}


def _lap(spent: dict[str, float], name: str, since: float) -> float:
    now = time.process_time()
    spent[name] += now - since
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--tasks", type=int, default=cores())
    parser.add_argument("--stages", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as home:
        broker = EmbeddedBroker(Path(home) / "kafka")
        bootstrap = str(broker.start().bootstrap_servers)
        try:
            fill(KafkaSettings(bootstrap), options.events)
            result = built(bootstrap, Path(home), options.tasks)
            if options.stages:
                result["cpu_us_an_event"] = stages(KafkaSettings(bootstrap))
        finally:
            broker.stop()
    sys.stdout.write(json.dumps({"dataset": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
