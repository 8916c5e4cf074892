"""The whole of Sightline on one machine: broker, Ray, model, pipeline, gateway, and matches to watch.

feed (this process) ─► Kafka ─► `jobs.run win-prediction` ─► Kafka ─► gateway ─► your browser
└─► meter (this process) ─► report
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from jobs.signals import signals_set

if TYPE_CHECKING:
    import polars as pl

    from jobs.children import Child
    from jobs.measure import InsightMeter
    from jobs.settings import Settings
    from streaming.simulators.feed import MatchFeed

_PREFIX = "demo-"
_DRAIN_S = 15.0
_GATEWAY_GROUP = "sightline-gateway"

Say = Callable[[str], None]


class DemoFailed(RuntimeError):
    """A part of the demo ended by itself; the message names it, its last words, and where the rest of them are."""


@dataclass(frozen=True)
class DemoOptions:
    """What to show, for how long, and where."""

    duration_s: float | None = None  # None: until Ctrl-C
    report: Path | None = None
    port: int = 8600  # 0 takes a free one
    replay: Path | None = None
    speed: float = 20.0  # game seconds per second
    matches: int = 8  # on air at a time
    titles: tuple[str, ...] = ("lol", "dota2", "hok")
    seed: int = 7


def run_demo(options: DemoOptions, settings: Settings, say: Say) -> dict[str, Any]:
    """Run the demo to its end; the report, all of it measured.

    Raises:
        ImportProblem: `replay` is not readable; nothing was started.
        BrokerError: the embedded broker does not start.
        DemoFailed: a part ended by itself.
    """
    began = time.monotonic()
    feed = _feed(options)  # first: a wrong file must not cost a broker
    stopping = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(signals_set(stopping))
        home = stack.enter_context(_home(settings.home))
        demo = _Demo(options, settings, home, feed, say, began)
        stack.callback(demo.stop)
        demo.start(stopping)
        demo.show(stopping)
        demo.drain()
        report = demo.report()
    if options.report is not None:
        _write(options.report, report)
    return report


class _Demo:
    """The parts that run, and their figures."""

    def __init__(
        self, options: DemoOptions, settings: Settings, home: Path, feed: MatchFeed, say: Say, began: float
    ) -> None:
        self._options, self._settings, self._home, self._feed = options, settings, home, feed
        self._say, self._began = say, began
        self._children: list[Child] = []
        self._undo = ExitStack()
        self._meter: InsightMeter | None = None
        self._events = 0

    def start(self, stopping: threading.Event) -> None:
        """Bring everything up, and return when the first page can be looked at."""
        from jobs.measure import InsightMeter
        from streaming.kafka.admin import ensure_topics
        from streaming.kafka.broker import EmbeddedBroker
        from streaming.kafka.publisher import Publisher
        from streaming.kafka.settings import KafkaSettings
        from streaming.kafka.source import KafkaSource
        from streaming.topics import MATCH_INSIGHTS, TOPICS, state_topic

        broker = EmbeddedBroker(self._home / "kafka")
        self._undo.callback(broker.stop)
        bootstrap = str(broker.start(on_progress=self._say).bootstrap_servers)
        self._step("Kafka", bootstrap)
        kafka = KafkaSettings(bootstrap_servers=bootstrap)
        environment = {
            "SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "SIGHTLINE_GATEWAY__PORT": str(self._options.port),
            "SIGHTLINE_GATEWAY__READY_FILE": str(self._home / "gateway.url"),
            "OMP_NUM_THREADS": "1",
        }
        self._child("pipeline", ["jobs.run", "win-prediction"], environment)
        ensure_topics(kafka, [*TOPICS, state_topic("win-prediction")])
        self._child("gateway", ["jobs.cli", "gateway"], environment)
        self._kafka = kafka
        self._publisher = Publisher(kafka)
        self._undo.callback(self._publisher.close)
        self._meter = InsightMeter(KafkaSource(kafka, MATCH_INSIGHTS.name, "sightline-demo-meter"))
        self._meter.start()
        self._undo.callback(self._meter.stop)
        url = self._wait_for_gateway(stopping)
        if url:
            self._step("pages", url)
            self._say(f"open {url}")

    def show(self, stopping: threading.Event) -> None:
        """Stream matches until the time is over, the matches are, or someone stops it."""
        from streaming.simulators.feed import Pacer

        ends_at = None if self._options.duration_s is None else time.monotonic() + self._options.duration_s
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(stopping, over, ends_at), name="watch", daemon=True)
        watch.start()
        try:
            for chunk in Pacer(self._feed, sleep=over.wait):
                if over.is_set():
                    break
                self._publish(chunk)
            if self._options.replay is not None and not over.is_set():
                self._say("the replay is over; its matches stay on the page")
            over.wait()
        finally:
            over.set()
            watch.join()
        self._raise_if_ended()

    def drain(self) -> None:
        """Let the pipeline answer what was sent, for a while."""
        from streaming.kafka.source import KafkaSource
        from streaming.topics import MATCH_EVENTS

        self._publisher.flush(5.0)
        deadline = time.monotonic() + _DRAIN_S
        with closing(KafkaSource(self._kafka, MATCH_EVENTS.name, self._settings.pipeline.group)) as source:
            while time.monotonic() < deadline and dict(source.committed()) != dict(source.end_offsets()):
                time.sleep(0.2)
        time.sleep(0.5)  # the meter's last poll

    def report(self) -> dict[str, Any]:
        """The figures, all measured from outside the pipeline."""
        from streaming.kafka.source import KafkaSource
        from streaming.topics import MATCH_EVENTS

        assert self._meter is not None
        measured = self._meter.measured()
        with closing(KafkaSource(self._kafka, MATCH_EVENTS.dead_letters.name, "sightline-demo-meter")) as source:
            dead = source.end_offsets()
        return {
            "events_in": self._publisher.acknowledged,
            "insights_out": measured.insights,
            "dead_letters": sum(dead.values()),
            "matches": measured.matches,
            "first_insight_s": None if measured.first_at is None else round(measured.first_at - self._began, 2),
            "latency_ms": measured.percentiles(),
        }

    def stop(self) -> None:
        """Stop all that was started, last first, and leave nothing behind."""
        self._say("stopping")
        for child in reversed(self._children):
            child.stop(timeout_s=20.0)
        self._undo.close()

    def _child(self, name: str, module: Sequence[str], environment: dict[str, str]) -> None:
        from jobs.children import Child

        self._children.append(Child(name, module, environment, self._home / f"{name}.log"))

    def _publish(self, chunk: pl.DataFrame) -> None:
        from streaming.codec import Encoder, PackagedRegistry, load_schema

        if not self._events:
            self._encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
        values = self._encoder.encode(chunk).to_pylist()
        keys = [match_id.encode() for match_id in chunk["match_id"]]
        self._publisher.send("match.events", keys, values)
        self._events += len(values)

    def _wait_for_gateway(self, stopping: threading.Event) -> str:
        ready = self._home / "gateway.url"
        while not stopping.is_set():
            self._raise_if_ended()
            if ready.exists() and (url := ready.read_text().strip()):
                return url
            stopping.wait(0.1)
        return ""

    def _watch(self, stopping: threading.Event, over: threading.Event, ends_at: float | None) -> None:
        """Say how it goes, and end the show on time, on a signal, or when a part has ended by itself."""
        assert self._meter is not None
        said_first = False
        last_said = time.monotonic()
        while not over.wait(0.2):
            now = time.monotonic()
            if stopping.is_set() or (ends_at is not None and now >= ends_at) or self._ended():
                over.set()
                return
            measured = self._meter.measured(last=2_000)
            if measured.first_at is not None and not said_first:
                said_first = True
                self._step("first insight", f"after {measured.first_at - self._began:.1f} s")
            if now - last_said >= 10.0:
                last_said = now
                p = measured.percentiles()
                self._say(
                    f"{self._events:,} events in, {measured.insights:,} insights out, {measured.matches} matches, "
                    f"latency p50 {p['p50']:.0f} ms, p99 {p['p99']:.0f} ms"
                )

    def _ended(self) -> list[Child]:
        return [child for child in self._children if child.ended is not None]

    def _raise_if_ended(self) -> None:
        for child in self._ended():
            kept = Path(tempfile.gettempdir()) / f"sightline-{child.name}.log"
            shutil.copyfile(child.log, kept)
            raise DemoFailed(f"the {child.name} ended by itself: {child.last_line} (its log: {kept})")

    def _step(self, what: str, detail: str) -> None:
        self._say(f"{what}: {detail} ({time.monotonic() - self._began:.1f} s)")


def _feed(options: DemoOptions) -> MatchFeed:
    from streaming.simulators.feed import MatchFeed, live_matches

    now_ms = time.time_ns() // 1_000_000
    if options.replay is None:
        return live_matches(
            options.titles, options.seed, concurrent=options.matches, speed=options.speed, epoch_ms=now_ms
        )
    from streaming.importers import import_matches

    imported = import_matches(options.replay)
    return MatchFeed([imported.events], concurrent=options.matches, speed=options.speed, epoch_ms=now_ms)


@contextmanager
def _home(parent: Path) -> Iterator[Path]:
    """A folder of this demo's own; those of demos that were killed are cleared, with their brokers."""
    from streaming.kafka.broker import EmbeddedBroker

    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*"):
        owner = left / "owner.pid"
        if owner.exists() and not psutil.pid_exists(int(owner.read_text())):
            EmbeddedBroker(left / "kafka").stop()
            shutil.rmtree(left, ignore_errors=True)
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    (home / "owner.pid").write_text(str(os.getpid()))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _write(path: Path, report: dict[str, Any]) -> None:
    text = json.dumps(report, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)
