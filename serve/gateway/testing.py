"""Rows, a log and a clock for tests of the gateway and of what stands on it: no Kafka, no codec.

    log = RowLog()
    log.append("match.insights", insight_row("m1", frame=0, p=0.6))
    gateway = Gateway(log.feeds(), GatewaySettings(port=0))

Rows travel as JSON; `RowLog.feeds` brings the matching decoders. `Site` is all of it at an address, for browsers.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from serve.gateway.board import TOPICS, Board
from serve.gateway.reader import Feed, Feeds, ShopFeeds, StoreFeeds
from serve.gateway.rows import FAMILIES, Offsets, answer_rows, event_rows
from serve.gateway.run import Gateway
from serve.gateway.settings import GatewaySettings
from serve.gateway.store.service import StoreFiles
from serve.gateway.streams import now_ms
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.catalogue import GROUPS
from streaming.features.match import EVENT_SCHEMA
from streaming.records import OffsetRange, Records
from streaming.topics import (
    CAMERA_FRAMES,
    ITEM_CATALOGUE,
    MATCH_EVENTS,
    MATCH_INSIGHTS,
    PERSON_SIGHTINGS,
    PIPELINE_STATUS,
    SESSION_RECOMMENDATIONS,
    STORE_ALERTS,
    STORE_METRICS,
    USER_SESSIONS,
    Topic,
)
from streaming.transport import Fetched, TransportUnavailable

Row = dict[str, Any]
T0_MS = 1_700_000_000_000
CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run",
    "--disable-component-update",
)  # fmt: skip
_START_S = 20.0


def find_chromium() -> str | None:
    """The browser that is installed here, whatever it is called; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path is not None), None)


def insight_row(match_id: str, frame: int, p: float = 0.5, **changed: Any) -> Row:
    """A row of match.insights, half a minute of game a frame."""
    row: Row = {
        "match_id": match_id, "title": "lol", "attempt": 0, "frame": frame, "clock_s": 30.0 * frame,
        "event_time_ms": T0_MS + 30_000 * frame, "ingest_time_ms": T0_MS, "emit_time_ms": T0_MS + 30_000 * frame,
        "status": "live", "origin": "live", "team_a": "Northwind", "team_b": "Sundogs",
        "league": "Test", "patch": "14.1",
        "p": p, "logit": 0.0, "delta_p": 0.0,
        "gold": 0.0, "kills": 0.0, "towers": 0.0, "top_reason": "gold", "key_moment": False, "moment": "",
        "commentary_en": None, "commentary_zh": None, "winner": None, "flags": "",
        "source_topic": "match.events", "source_partition": 0, "source_offset": frame, "schema_id": 1,
        "model_name": "tsstn-lol", "model_version": "1", "weight_hash": "abc",
    }  # fmt: skip
    row |= {f"{family}_{group}": 0.0 for family in FAMILIES for group in GROUPS}
    return row | changed


def event_row(match_id: str, sequence: int, kind: str = "score", **changed: Any) -> Row:
    """A row of match.events: a dragon for camp A unless said otherwise."""
    scored = kind == "score"
    row: Row = {
        "match_id": match_id, "sequence": sequence, "event_time_ms": T0_MS + 1000 * sequence, "title": "lol",
        "kind": kind, "clock_s": float(sequence), "side": "A" if scored else None,
        "subject": "dragons" if scored else None, "count": 1.0,
        "team_a": None, "team_b": None, "league": None, "patch": None, "origin": None,
    }  # fmt: skip
    return row | changed


def status_row(time_ms: int, **changed: Any) -> Row:
    """A row of sightline.status: a pipeline that runs and has nothing left to answer."""
    model = {"title": "lol", "name": "tsstn-lol", "version": "1", "weight_hash": "abc", "trained_on": "simulator"}
    row: Row = {
        "pipeline": "win-prediction", "time_ms": time_ms, "started_ms": T0_MS, "state": "running", "reason": "",
        "source_topic": "match.events", "events_total": 100, "answers_total": 90, "dead_letters_total": 2,
        "late_total": 3, "shed_total": 4, "results_late_total": 1,
        "batches_total": 10, "broken_total": 0, "events_per_s": 10.0, "answers_per_s": 5.0,
        "lag_records": 0, "lag_s": 0.0, "latency_p50_ms": 40.0, "latency_p99_ms": 90.0,
        "partitions": [{"partition": 0, "committed": 100, "end": 100, "lag_s": 0.0}],
        "models": [model],
        "replicas": 1, "ray_nodes": 1, "errors": [],
    }  # fmt: skip
    return row | changed


def frame_of(rows: Sequence[Row]) -> pl.DataFrame:
    """Rows as the codec hands them over: columns that are null in all rows get text."""
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    if {"match_id", "sequence"} <= set(frame.columns):  # events: the codec fills in what a record leaves out
        known = {name: dtype for name, dtype in EVENT_SCHEMA.items() if name in frame.columns}
        left_out = [pl.lit(None, dtype).alias(name) for name, dtype in EVENT_SCHEMA.items() if name not in known]
        numbers = [name for name, dtype in known.items() if dtype.is_float()]
        frame = frame.with_columns(*left_out, pl.col(numbers).cast(pl.Float64))
    frame = frame.with_columns(pl.col(pl.Null).cast(pl.String))
    times = [name for name in frame.columns if name.endswith("_time_ms") or name in ("time_ms", "started_ms")]
    return frame.with_columns(pl.col(times).cast(pl.Datetime("ms", "UTC")))


def ready_board(settings: GatewaySettings, *match_ids: str) -> Board:
    """A board that has read all there is: three answers and an event of each match, `m1` unless others are named."""
    board = Board(settings, now_ms())
    for topic in TOPICS:
        board.broker.read(topic, now_ms())
        board.broker.caught_up(topic)
    for partition, match_id in enumerate(match_ids or ("m1",)):
        answers = [insight_row(match_id, frame, 0.6, emit_time_ms=now_ms()) for frame in range(3)]
        board.apply_insights(answer_rows(frame_of(answers), partition, np.arange(3)), now_ms())
        events = event_rows(frame_of([event_row(match_id, 1)]), partition, np.arange(1))
        board.apply_events(events, now_ms(), now_ms())
    return board


class DecodedRows(NamedTuple):
    """What `decode_rows` makes of records."""

    frame: pl.DataFrame
    rows: Offsets
    bad: Sequence[Any]


def decode_rows(records: Records) -> DecodedRows:
    """The JSON rows of some records; whatever is no JSON is bad."""
    rows: list[Row] = []
    good: list[int] = []
    bad: list[int] = []
    for position, value in enumerate(records.values.to_pylist()):
        try:
            rows.append(json.loads(value))
            good.append(position)
        except ValueError:
            bad.append(position)
    return DecodedRows(frame_of(rows), np.array(good, np.int64), bad)


def encoded(topic: Topic, rows: Sequence[Row]) -> list[bytes]:
    """Rows as a pipeline writes them; what a row leaves out is the schema's default, else zero or empty."""
    assert topic.schema is not None
    schema, columns = load_schema(topic.schema), _decoder(topic).decode(Records.of([], [])).frame.schema
    defaults = {field["name"]: field["default"] for field in schema["fields"] if "default" in field}
    physical = {name: pl.Int64() if isinstance(kind, pl.Datetime) else kind for name, kind in columns.items()}
    empty = {name: "" if kind == pl.String else 0 for name, kind in physical.items()}
    frame = pl.DataFrame([empty | defaults | row for row in rows], schema=physical, orient="row").cast(columns)
    values: list[bytes] = Encoder(schema, PackagedRegistry().id_of(topic.schema)).encode(frame).to_pylist()
    return values


def _decoder(topic: Topic) -> Decoder:
    assert topic.schema is not None
    return Decoder(topic.schema, PackagedRegistry())


class RowLog:
    """Topics of JSON rows in memory. Thread-safe. `away` makes every call fail as if the broker were gone."""

    def __init__(self) -> None:
        self.away: str | None = None
        self._lock = threading.Condition()
        self._values: dict[tuple[str, int], list[tuple[bytes | None, bytes | None, int]]] = {}

    def append(self, topic: str, *rows: Row | bytes, partition: int = 0, time_ms: int | None = None) -> int:
        """Write rows (or raw bytes) at a record time, now unless given; returns the offset of the last."""
        stamp_ms = time.time_ns() // 1_000_000 if time_ms is None else time_ms
        with self._lock:
            values = self._values.setdefault((topic, partition), [])
            values += [(None, row if isinstance(row, bytes) else json.dumps(row).encode(), stamp_ms) for row in rows]
            self._lock.notify_all()
            return len(values) - 1

    def append_keyed(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Write raw records with their keys now; one without a value deletes what its key has."""
        stamp_ms = time.time_ns() // 1_000_000
        with self._lock:
            kept = self._values.setdefault((topic, 0), [])
            kept += [(key, value, stamp_ms) for key, value in zip(keys, values, strict=True)]
            self._lock.notify_all()

    def write_events(self, keys: Sequence[bytes], values: Sequence[bytes]) -> list[bool]:
        """As `streaming.sessions.publishing.KafkaEvents` does."""
        if self.away is None:
            self.append_keyed(USER_SESSIONS.name, keys, values)
        return [self.away is None] * len(keys)

    def feeds(self) -> Feeds:
        """The topics, each of two partitions; those of store and shop hold what the codec writes (`Site.tell`)."""
        insights, events, status = (
            Feed(RowSource(self, topic.name), decode_rows) for topic in (MATCH_INSIGHTS, MATCH_EVENTS, PIPELINE_STATUS)
        )
        topics = (STORE_METRICS, STORE_ALERTS, PERSON_SIGHTINGS, CAMERA_FRAMES)
        store = StoreFeeds(*(Feed(RowSource(self, topic.name), _decoder(topic).decode) for topic in topics))
        answers, shoppers = (
            Feed(RowSource(self, topic.name), _decoder(topic).decode)
            for topic in (SESSION_RECOMMENDATIONS, USER_SESSIONS)
        )
        catalogue = RowSource(self, ITEM_CATALOGUE.name)
        shop = ShopFeeds(catalogue, answers, shoppers, PackagedRegistry(), self.write_events)
        return Feeds(insights, events, status, store, shop)

    def check(self) -> None:
        """Raise what the broker's absence raises."""
        if self.away is not None:
            raise TransportUnavailable(self.away)

    def end(self, topic: str, partition: int) -> int:
        """The next offset to be written."""
        return len(self._values.get((topic, partition), []))

    def slice(self, topic: str, wanted: OffsetRange) -> Records:
        """The records of this range."""
        with self._lock:
            found = self._values.get((topic, wanted.partition), [])[wanted.start : wanted.end]
        return Records.of(
            keys=[key for key, _, _ in found],
            values=[value for _, value, _ in found],
            offsets=range(wanted.start, wanted.start + len(found)),
            timestamps_ms=[stamp for _, _, stamp in found],
        )

    def wait(self, timeout_s: float) -> None:
        """Until something is written."""
        with self._lock:
            self._lock.wait(timeout_s)


class RowSource:
    """One topic of a `RowLog`."""

    def __init__(self, log: RowLog, topic: str) -> None:
        self._log, self.topic = log, topic

    def partitions(self) -> Sequence[int]:
        """Always two."""
        self._log.check()
        return (0, 1)

    def committed(self) -> Mapping[int, int]:
        """The earliest: a gateway commits nothing."""
        return dict.fromkeys(self.partitions(), 0)

    def end_offsets(self) -> Mapping[int, int]:
        """One past the last record."""
        return {partition: self._log.end(self.topic, partition) for partition in self.partitions()}

    def open(self, start: Mapping[int, int], gather_s: float = 0.0) -> RowReader:
        """A reader from these offsets."""
        self._log.check()
        return RowReader(self._log, self.topic, start)

    def close(self) -> None:
        """Nothing to let go of."""


class RowReader:
    """Reads one topic of a `RowLog`."""

    def __init__(self, log: RowLog, topic: str, start: Mapping[int, int]) -> None:
        self.reads = 0
        self._log, self._topic, self._next = log, topic, dict(start)

    def poll(self, timeout_s: float, max_records: int) -> Fetched | None:
        """The next records of the first partition that has some."""
        for waited in (False, True):
            self._log.check()
            for partition, start in self._next.items():
                end = min(self._log.end(self._topic, partition), start + max_records)
                if end > start:
                    self._next[partition] = end
                    span = OffsetRange(partition, start, end)
                    return Fetched(span, self._log.slice(self._topic, span))
            if not waited:
                self._log.wait(timeout_s)
        return None

    def read(self, wanted: OffsetRange) -> Records:
        """The records of this range."""
        self._log.check()
        self.reads += 1
        return self._log.slice(self._topic, wanted)

    def seek(self, partition: int, offset: int) -> None:
        """Go on from here."""
        self._next[partition] = offset

    def pause(self, partitions: frozenset[int]) -> None:
        """A gateway never asks for it."""

    def close(self) -> None:
        """Nothing to let go of."""


class Site:
    """A gateway over topics in memory, which can go away and come back at the same address. A context manager."""

    def __init__(self, store: StoreFiles | None = None, **settings: Any) -> None:
        self.log = RowLog()
        self.port = 0
        self._store = store
        self._settings = {"history_s": 1e12} | settings
        self.start()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, at the port of the last time."""
        listening = threading.Event()

        def on_listening(address: str) -> None:
            self.port = int(address.rsplit(":", 1)[1])
            listening.set()

        settings = GatewaySettings(port=self.port, **self._settings)
        self._gateway = Gateway(self.log.feeds(), settings, on_listening, self._store)
        self._thread = threading.Thread(target=self._gateway.serve)
        self._thread.start()
        if not listening.wait(_START_S):
            raise TimeoutError(f"the gateway does not listen after {_START_S:g} s")

    def stop(self) -> None:
        """Go away; the topics stay."""
        self._gateway.stop()
        self._thread.join(_START_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the gateway still runs after {_START_S:g} s")

    def url(self, path: str) -> str:
        """The address of a page."""
        return f"http://127.0.0.1:{self.port}{path}"

    def tell(self, topic: Topic, *rows: Row, partition: int = 0) -> None:
        """Rows of a topic of the store."""
        self.log.append(topic.name, *encoded(topic, rows), partition=partition)

    def say(self, frame: int, logit: float, match_id: str = "m1", **changed: Any) -> None:
        """One answer: gold gives three quarters of the logit, towers the rest."""
        p = 1 / (1 + math.exp(-logit))
        parts = {"contribution_gold": 0.75 * logit, "contribution_tower": 0.25 * logit, "change_tower": 0.1}
        self.log.append(MATCH_INSIGHTS.name, insight_row(match_id, frame, p=p, logit=logit, **(parts | changed)))

    def play(self, match_id: str, frames: int, seed: int, *, first: int = 0, **changed: Any) -> None:
        """A stretch of a match of all reasons, with swings that have a sentence; the same for the same seed. `changed`
        holds for all its answers; its teams, league and origin are told by the start as well."""
        chance = random.Random(seed)  # nosec B311  # a play, to be repeated
        heading = {name: changed[name] for name in ("team_a", "team_b", "league", "origin", "title") if name in changed}
        if first == 0:
            self.log.append(MATCH_EVENTS.name, event_row(match_id, 0, kind="start", **heading))
        parts, before = dict.fromkeys(GROUPS, 0.0), 0.5
        for frame in range(first, first + frames):
            moves = {group: chance.gauss(0.0, 0.08) for group in GROUPS}
            moment = frame % 9 == 5
            if moment:
                moves["wild"] += chance.choice((-0.8, 0.8))
            parts = {group: parts[group] + moves[group] for group in GROUPS}
            top = max(GROUPS, key=lambda group: abs(moves[group]))
            side, name = ("A", "Blue") if moves[top] > 0 else ("B", "Red")
            logit = sum(parts.values())
            p = 1 / (1 + math.exp(-logit))
            told: Row = {"side": side, "clock_s": 30.0 * frame, "event_time_ms": T0_MS + 30_000 * frame}
            if frame % 2:
                self.log.append(MATCH_EVENTS.name, event_row(match_id, frame + 1, **told, **heading))
            said = {
                "p": p, "logit": logit, "delta_p": p - before, "top_reason": top, "key_moment": moment,
                "moment": f"{side}:dragons" if moment else "", "emit_time_ms": time.time_ns() // 1_000_000,
                "commentary_en": f"{name}'s dragon flips it. Objectives give two thirds." if moment else None,
                "commentary_zh": "小龙扭转局势。" if moment else None,
            }  # fmt: skip
            said |= {f"contribution_{group}": value for group, value in parts.items()}
            said |= {f"change_{group}": value for group, value in moves.items()}
            self.log.append(MATCH_INSIGHTS.name, insight_row(match_id, frame, **(said | changed)))
            before = p
