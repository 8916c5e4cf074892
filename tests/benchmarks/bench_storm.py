"""A storm of bad records: what one bad record in ten costs the good ones.

    python tests/benchmarks/bench_storm.py                 both live runners
    python tests/benchmarks/bench_storm.py --workers 1     the continuous runner alone; 0: micro-batch

One pipeline process, warm, drains the same 90,000 good frames of the reference workload again and again, by turns:
alone, with 10,000 bad records spread evenly among them, and with those in clusters of 1,000. All of a turn becomes
visible at once, by a transaction. The bad ones are of four kinds: another wire format, a schema that the registry does
not know, a record cut off, noise. What the pipeline does not know is asked of a registry over HTTP, which counts. Every
good frame must have one answer, and every bad record one dead letter of its kind. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from reference_harness import Bench, Received, answered_after, bench, require_each_once
from reference_process import run_until_sigterm
from reference_workload import (
    FRAMES,
    ReferenceRegistry,
    continuous,
    frames,
    micro_batch,
)

from streaming.codec import ConfluentRegistry, Encoder, Schema, UnknownSchema, load_schema
from streaming.kafka.admin import read_all
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.records import Records
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.micro_batch import MicroBatchRunner
from streaming.transport import Output

GOOD_TO_BAD = 9
CLUSTER = 1_000
UNKNOWN_ID = 4_711
ROUNDS = 5
WARM_UP = 0.1  # of a turn: the rate is that of what comes after it
PATIENCE_S = 120.0

Keyed = list[tuple[bytes, bytes]]
"""Keys and values of records."""


class StormRegistry(ReferenceRegistry):
    """What the workload does not know is asked of a registry."""

    def __init__(self, url: str) -> None:
        self._other = ConfluentRegistry(url)

    def schema(self, schema_id: int) -> Schema:
        try:
            return super().schema(schema_id)
        except UnknownSchema:
            return self._other.schema(schema_id)


class KnowsNothing(ThreadingHTTPServer):
    """A registry that has no schema, and counts who asked for which."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _KnowsNothing)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _KnowsNothing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, KnowsNothing)
        self.server.asked.append(self.path)
        body = b'{"error_code": 40403, "message": "Schema not found"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """In silence."""


@contextmanager
def registry() -> Iterator[KnowsNothing]:
    server = KnowsNothing()
    thread = threading.Thread(target=server.serve_forever, name="registry", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def good_records(count: int) -> Keyed:
    made = frames(0, count, np.full(count, time.time_ns() // 1_000_000))
    values = Encoder(load_schema(str(FRAMES.schema)), 1).encode(made).to_pylist()
    return [(match_id.encode(), value) for match_id, value in zip(made["match_id"], values, strict=True)]


def bad_records(good: Keyed) -> tuple[Keyed, Counter[str]]:
    """A bad one for every nine good ones, of each kind in turn, and how many dead letters of which error they make."""
    chance, bad, errors = np.random.default_rng(0), [], Counter[str]()
    for number in range(len(good) // GOOD_TO_BAD):
        key, value = good[number * 7 % len(good)]  # of all matches
        match number % 4:
            case 0:
                value = b"{" + value[1:]
            case 1:
                value = b"\0" + UNKNOWN_ID.to_bytes(4, "big") + value[5:]
            case 2:
                value = value[: 6 + number % (len(value) - 7)]
            case _:
                value = chance.bytes(len(value))
        errors["BadFraming" if value[0] else "CorruptRecord" if number % 4 == 2 else "UnknownSchema"] += 1
        bad.append((key, value))
    return bad, errors


def mixed(good: Keyed, bad: Keyed, cluster: int) -> Keyed:
    """Both, in their order: so many bad ones together, and nine times as many good ones before them."""
    together: Keyed = []
    for turn in range(-(-len(bad) // cluster)):
        together += good[turn * cluster * GOOD_TO_BAD : (turn + 1) * cluster * GOOD_TO_BAD]
        together += bad[turn * cluster : (turn + 1) * cluster]
    return together


def storm(workers: int, events: int) -> dict[str, Any]:
    good = good_records(events // (GOOD_TO_BAD + 1) * GOOD_TO_BAD)
    bad, errors = bad_records(good)
    turns = {"clean": good, "spread": mixed(good, bad, 1), "clustered": mixed(good, bad, CLUSTER)}
    rates: dict[str, list[float]] = {name: [] for name in turns}
    with registry() as asked, bench(["bench_storm", "--workers", str(workers), "--registry", asked.url]) as b:
        b.start_pipeline()
        with closing(Feed(b.kafka)) as feed:
            for number in range(ROUNDS + 1):
                for name, records in turns.items():
                    batches = _drain(b, feed, records, len(good))
                    if number:  # not the first: everything is warm then
                        answers, seconds = answered_after(batches, int(len(good) * WARM_UP))
                        rates[name].append(answers / seconds)
        letters = _letters(b.kafka, 2 * (ROUNDS + 1) * len(bad))
        batches = b.stop()
    require_each_once(batches, (ROUNDS + 1) * len(turns) * len(good))
    _require_letters(letters, {error: 2 * (ROUNDS + 1) * count for error, count in errors.items()})
    return {
        "good": len(good),
        "bad": len(bad),
        "clean_per_s": round(statistics.median(rates["clean"])),
        **{
            name: {
                "good_per_s": round(statistics.median(rates[name])),
                "ratio": round(statistics.median(_ratios(rates, name)), 3),
                "ratio_lowest": round(min(_ratios(rates, name)), 3),
            }
            for name in ("spread", "clustered")
        },
        "registry": {"asked": len(asked.asked), "of_schemas": len(set(asked.asked))},
    }


class Feed:
    """Writes all of a turn in one transaction."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._sink = KafkaSink(kafka, "storm-feed", "storm-feed", FRAMES.name, commit_timeout_s=60.0)
        self._sink.open()

    def send(self, records: Keyed) -> None:
        output = Output(FRAMES.name, Records.of([key for key, _ in records], [value for _, value in records]))
        self._sink.commit(answers=[output], dead_letters=[], state=[], offsets={})

    def close(self) -> None:
        self._sink.close()


def _drain(b: Bench, feed: Feed, records: Keyed, good: int) -> Sequence[Received]:
    """The answers to one turn."""
    before = len(b.meter.batches)
    feed.send(records)
    b.sent += good
    b.wait_for(b.sent, timeout_s=PATIENCE_S)
    return b.meter.batches[before:]


def _ratios(rates: dict[str, list[float]], name: str) -> list[float]:
    return [stormy / clean for stormy, clean in zip(rates[name], rates["clean"], strict=True)]


def _letters(kafka: KafkaSettings, wanted: int) -> Counter[tuple[str, str, str]]:
    """(error, partition, offset) of all dead letters, when all have come or no more do."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        parts = read_all(kafka, FRAMES.dead_letters.name).values()
        told = [dict(headers) for part in parts for headers in part.headers or ()]
        if len(told) >= wanted or time.monotonic() > deadline:
            names = [f"__streams.errors.{name}" for name in ("exception", "partition", "offset")]
            return Counter((h[names[0]].decode(), h[names[1]].decode(), h[names[2]].decode()) for h in told)
        time.sleep(0.5)


def _require_letters(letters: Counter[tuple[str, str, str]], wanted: dict[str, int]) -> None:
    """One of each bad record, of its kind."""
    found = Counter(error for error, _, _ in letters.elements())
    if found != Counter(wanted) or len({origin[1:] for origin in letters}) != letters.total():
        sys.exit(f"dead letters wanted: {wanted}, found: {dict(found)} of {len(letters)} records")


def run_pipeline(bootstrap: str, workers: int, registry_url: str) -> None:
    kafka, known = KafkaSettings(bootstrap_servers=bootstrap), StormRegistry(registry_url)

    def make(processes: list[Any]) -> ContinuousRunner | MicroBatchRunner:
        if not workers:
            return micro_batch(kafka, registry=known)
        return continuous(kafka, workers, standby=processes, registry=known)

    run_until_sigterm(make, workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, help="of the continuous runner; 0: micro-batch; default: both runners")
    parser.add_argument("--events", type=int, default=100_000, help="of a turn with bad ones")
    parser.add_argument("--bootstrap", help="be the process that is measured, on these brokers")
    parser.add_argument("--registry", help="URL of its registry")
    options = parser.parse_args()
    if options.bootstrap:
        run_pipeline(options.bootstrap, options.workers, options.registry)
        return
    names = {0: "micro_batch", 1: "continuous"}
    wanted = [0, 1] if options.workers is None else [options.workers]
    result = {names.get(workers, f"continuous_{workers}"): storm(workers, options.events) for workers in wanted}
    sys.stdout.write(json.dumps({"storm": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
