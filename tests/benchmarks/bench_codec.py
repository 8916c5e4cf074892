"""The codec against fastavro, on one core and in the same run. Prints JSON.

    python tests/benchmarks/bench_codec.py

Decoding: a poll of 1,000 records to a frame, against fastavro's `schemaless_reader` to dicts to a `DataFrame` of the
same types. Encoding: 1,000 rows, against fastavro's `schemaless_writer` on dicts that are already there. Both sides
take the same bytes and give the same answer, which is checked first. Times are CPU times, of the best call in each of
several rounds; the two sides take turns, so that what else the machine does meets both.
"""

from __future__ import annotations

import io
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # one core, as fastavro; before polars is imported

import fastavro
import polars as pl

from streaming.codec import Decoder, Encoder, Schema, load_schema
from streaming.records import Records

ROWS = 1000
ROUNDS, CALLS = 5, 10
SCHEMA_ID = 1
TITLES, TEAMS = ("lol", "dota2", "hok"), ("T1", "Gen.G", "Team Liquid", "Weibo Gaming")


def numeric_schema() -> Schema:
    """Match frames as numbers: id, time, clock and 23 floats, as in the reference workload."""
    fields: list[dict[str, Any]] = [
        {"name": "match", "type": "long"},
        {"name": "event_time_ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "clock_s", "type": "double"},
        *({"name": f"x{i}", "type": "float"} for i in range(23)),
    ]
    return {"type": "record", "name": "Numbers", "fields": fields}


def fixed_schema() -> Schema:
    """An answer of fixed width: a 16-byte id and 11 numbers."""
    fields: list[dict[str, Any]] = [
        {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 16}},
        *({"name": f"x{i}", "type": "double" if i < 2 else "float"} for i in range(11)),
    ]
    return {"type": "record", "name": "Answer", "fields": fields}


def numbers(schema: Schema, rng: random.Random) -> list[dict[str, Any]]:
    def value(kind: Any) -> Any:
        if kind == "long":
            return rng.randrange(10_000)
        if isinstance(kind, dict):
            return rng.randbytes(16) if kind["type"] == "fixed" else 1_700_000_000_000 + rng.randrange(10**8)
        return rng.gauss(0, 100)

    return [{field["name"]: value(field["type"]) for field in schema["fields"]} for _ in range(ROWS)]


def events(rng: random.Random) -> list[dict[str, Any]]:
    """A live mixture: eight scores to two snapshots, a start now and then."""
    return [event(i, rng) for i in range(ROWS)]


def event(i: int, rng: random.Random) -> dict[str, Any]:
    common = {
        "match_id": f"LCK-2026-{rng.randrange(200):05}",
        "sequence": i,
        "event_time_ms": 1_700_000_000_000 + 40 * i,
        "title": rng.choice(TITLES),
        "clock_s": rng.random() * 2400,
    }
    kind = rng.random()
    if kind < 0.01:
        heroes = [f"Hero{rng.randrange(160)}" for _ in range(10)]
        teams = {"team_a": rng.choice(TEAMS), "team_b": rng.choice(TEAMS), "league": "LCK", "patch": "14.3"}
        return {**common, **teams, "kind": "start", "origin": "live", "heroes_a": heroes[:5], "heroes_b": heroes[5:]}
    if kind < 0.2:
        fields = ("gold", "xp", "level", "gold_spread", "minions", "participation", "lane_top", "lane_mid", "lane_bot")
        return {**common, "kind": "snapshot", **{name: rng.gauss(0, 1000) for name in fields}}
    return {**common, "kind": "score", "side": rng.choice("AB"), "subject": rng.choice(["kills", "towers", "dragons"])}


def insights(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {field["name"]: insight(field["name"], field["type"], rng) for field in load_schema("match-insights")["fields"]}
        for _ in range(ROWS)
    ]


def insight(name: str, kind: Any, rng: random.Random) -> Any:
    if name.startswith("commentary"):
        said = rng.random() < 0.2
        return "T1 take the third dragon and are now the clear favourites, 68 to 32." if said else None
    if isinstance(kind, list):
        return None
    if kind == "string":
        return rng.choice(TEAMS)
    if kind == "boolean":
        return rng.random() < 0.1
    if kind == "int":
        return rng.randrange(100)
    if kind in ("float", "double"):
        return rng.gauss(0, 1)
    return rng.randrange(10**7) if kind == "long" else 1_700_000_000_000 + rng.randrange(10**8)


def written(schema: Any, row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, row)
    return out.getvalue()


def race(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of each: the median over the rounds of the best call of a round."""
    best: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for side, call in zip(best, (ours, theirs), strict=True):
            taken = []
            for _ in range(CALLS):
                began = time.process_time()
                call()
                taken.append(time.process_time() - began)
            side.append(min(taken))
    return statistics.median(best[0]), statistics.median(best[1])


def figures(name: str, ours_s: float, theirs_s: float) -> dict[str, float]:
    return {
        f"{name}_rows_per_s": round(ROWS / ours_s),
        f"{name}_fastavro_rows_per_s": round(ROWS / theirs_s),
        f"{name}_ratio": round(theirs_s / ours_s, 1),
    }


def decoding(name: str, schema: Schema, rows: list[dict[str, Any]], *, bad_share: float = 0.0) -> dict[str, float]:
    parsed = fastavro.parse_schema(schema)
    payloads = [written(parsed, row) for row in rows]
    prefix = b"\x00" + SCHEMA_ID.to_bytes(4, "big")
    cut = range(0, ROWS, round(1 / bad_share)) if bad_share else ()
    values = [prefix + (payload[:-1] if i in cut else payload) for i, payload in enumerate(payloads)]
    poll, decoder = Records.of([None] * ROWS, values), Decoder(schema, {SCHEMA_ID: schema})
    types = decoder.decode(poll).frame.schema

    def theirs() -> pl.DataFrame:
        dicts = []
        for value in values:
            try:
                dicts.append(fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, None))
            except EOFError:
                continue
        return pl.DataFrame(dicts, schema=types)

    assert decoder.decode(poll).frame.equals(theirs())
    return figures(f"decode_{name}", *race(lambda: decoder.decode(poll), theirs))


def encoding(name: str, schema: Schema, rows: list[dict[str, Any]]) -> dict[str, float]:
    parsed = fastavro.parse_schema(schema)
    prefix = b"\x00" + SCHEMA_ID.to_bytes(4, "big")
    values = [prefix + written(parsed, row) for row in rows]
    frame = Decoder(schema, {SCHEMA_ID: schema}).decode(Records.of([None] * ROWS, values)).frame
    encoder = Encoder(schema, SCHEMA_ID)

    def theirs() -> list[bytes]:
        return [prefix + written(parsed, row) for row in rows]

    assert encoder.encode(frame).to_pylist() == theirs()
    return figures(f"encode_{name}", *race(lambda: encoder.encode(frame), theirs))


def main() -> None:
    rng = random.Random(2026)
    numeric, fixed = numeric_schema(), fixed_schema()
    match_events, match_insights = load_schema("match-events"), load_schema("match-insights")
    result = {
        "rows_per_poll": ROWS,
        **decoding("match_events", match_events, events(rng)),
        **decoding("match_events_1_in_100_bad", match_events, events(rng), bad_share=0.01),
        **decoding("match_events_1_in_10_bad", match_events, events(rng), bad_share=0.1),
        **decoding("numeric", numeric, numbers(numeric, rng)),
        **decoding("match_insights", match_insights, insights(rng)),
        **encoding("fixed", fixed, numbers(fixed, rng)),
        **encoding("match_insights", match_insights, insights(rng)),
        **encoding("match_events", match_events, events(rng)),
    }
    sys.stdout.write(json.dumps({"codec": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
