"""The whole of Sightline on one machine: broker, Ray, model, pipeline, gateway, and matches to watch.

feed (this process) ─► Kafka ─► `jobs.run win-prediction` ─► Kafka ─► gateway ─► your browser
└─► meter (this process) ─► report

`jobs.demo_parts` has what every demo is made of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.demo_parts import DemoParts, Say, pipeline_steps_s, staged, write_report

if TYPE_CHECKING:
    import polars as pl

    from jobs.measure import InsightMeter
    from jobs.settings import Settings
    from streaming.kafka.publisher import Publisher
    from streaming.kafka.settings import KafkaSettings
    from streaming.simulators.feed import MatchFeed

_PIPELINE = "win-prediction"
_DRAIN_S, _DRAIN_WHEN_STOPPED_S = 15.0, 3.0


@dataclass(frozen=True)
class DemoOptions:
    """What to show, and for how long. Where the pages are is a setting."""

    duration_s: float | None = None  # None: until Ctrl-C
    report: Path | None = None
    replay: Path | None = None
    any_map: bool = False  # of a replay: Riot timelines of other maps than Summoner's Rift, too
    speed: float = 20.0  # game seconds per second
    matches: int = 8  # on air at a time
    titles: tuple[str, ...] = ("lol", "dota2", "hok")
    seed: int = 7
    from_start: bool = False  # nobody is to miss the beginning; of a replay nobody does


@dataclass(frozen=True)
class Parts:
    """What of a demo can be watched from outside."""

    kafka: KafkaSettings
    pids: Mapping[str, int]  # of broker, pipeline and gateway


def run_demo(
    options: DemoOptions,
    settings: Settings,
    say: Say,
    watched: Callable[[Parts], AbstractContextManager[None]] = lambda parts: nullcontext(),
) -> dict[str, Any]:
    """Run the demo to its end, the show itself within `watched`; the report, all of it measured.

    Raises:
        ImportProblem: `replay` is not readable; nothing was started.
        BrokerError: the embedded broker does not start.
        DemoFailed: a part ended by itself.
    """
    began = time.monotonic()
    replay = None if options.replay is None else replayed(options, say)  # a wrong file must not cost a broker
    with staged(lambda home: Demo(options, settings, home, say, began), settings.home, say) as (demo, stopping):
        demo.launch()
        feed = replay or _simulated(options)  # while broker, Ray and gateway start
        if demo.connect(stopping):
            with watched(demo.parts()):
                demo.show(feed, stopping)
            demo.drain(_DRAIN_WHEN_STOPPED_S if stopping.is_set() else _DRAIN_S)
        report = demo.report()
    if options.report is not None:
        write_report(options.report, report)
    return report


class Demo(DemoParts):
    """The parts that run, and their figures.

    Args:
        options: what to show.
        settings: of the user.
        home: a folder of this demo's own.
        say: is told how it goes.
        began: on the monotonic clock.
    """

    def __init__(self, options: DemoOptions, settings: Settings, home: Path, say: Say, began: float) -> None:
        super().__init__(settings, home, say, began)
        self._options = options
        self._connected: _Connected | None = None
        self._events = 0

    def launch(self, changed: Callable[[Settings], Settings] = lambda own: own) -> None:
        """Start broker, pipeline and gateway; nothing is waited for. `changed` makes their settings of those that they
        would have."""
        self.launch_with(["jobs.run", _PIPELINE], changed)

    def connect(self, stopping: threading.Event) -> bool:
        """Wait for the broker and make the topics; False when it was stopped meanwhile."""
        from jobs.measure import InsightMeter
        from streaming.kafka.admin import ensure_topics
        from streaming.kafka.publisher import Publisher
        from streaming.kafka.settings import KafkaSettings
        from streaming.kafka.source import KafkaSource
        from streaming.topics import MATCH_INSIGHTS, TOPICS, state_topic

        bootstrap = self.wait_for_broker(stopping)
        if bootstrap is None:
            return False
        kafka = KafkaSettings(bootstrap_servers=bootstrap)
        ensure_topics(kafka, [*TOPICS, state_topic(_PIPELINE)])
        publisher = Publisher(kafka)
        self._undo.callback(publisher.close)
        meter = InsightMeter(KafkaSource(kafka, MATCH_INSIGHTS.name, "sightline-demo-meter"))
        meter.start()
        self._undo.callback(meter.stop)
        self._connected = _Connected(kafka, publisher, meter)
        return not stopping.is_set()

    def parts(self) -> Parts:
        """What there is to watch, once connected."""
        assert self._connected is not None
        pids = {child.name: child.pid for child in self._children}
        if (broker := self._broker.pid) is not None:
            pids["broker"] = broker
        return Parts(self._connected.kafka, pids)

    def show(self, feed: MatchFeed, stopping: threading.Event, is_over: Callable[[], bool] = lambda: False) -> None:
        """Stream matches until the time is over, the matches are, someone stops it, or `is_over`."""
        from streaming.simulators.feed import Pacer

        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(stopping, over, is_over), name="watch", daemon=True)
        watch.start()
        try:
            if self._options.from_start or self._options.replay is not None:
                self._wait_for_answers(over)  # a match is played once: nobody should miss its beginning
            if self._options.replay is not None:
                feed.begin_at(_now_ms())
            for chunk in Pacer(feed, sleep=over.wait):
                self._publish(chunk)
                if over.is_set():
                    break
            if self._options.replay is not None and not over.is_set():
                self._say("the replay is over; its matches stay on the page")
            over.wait()
        finally:
            over.set()
            watch.join()
        self.raise_if_ended()

    def _wait_for_answers(self, over: threading.Event) -> None:
        """Until the pipeline can answer and the pages are up."""
        while not over.is_set():
            ready = pipeline_steps_s(self.home / "pipeline.log", 0.0).keys() >= {"pipeline_models", "pipeline_state"}
            if ready and "pages" in self._steps_s:
                self._say("the matches begin")
                return
            over.wait(0.2)

    def drain(self, within_s: float) -> None:
        """Let the pipeline answer what was sent, for a while; not when it has answered nothing so far."""
        from streaming.kafka.source import KafkaSource
        from streaming.topics import MATCH_EVENTS, identity

        assert self._connected is not None
        kafka, publisher, meter = self._connected.kafka, self._connected.publisher, self._connected.meter
        if not meter.received:
            return
        deadline = time.monotonic() + within_s
        publisher.flush(within_s)
        with closing(KafkaSource(kafka, MATCH_EVENTS.name, identity(_PIPELINE))) as source:
            while time.monotonic() < deadline and dict(source.committed()) != dict(source.end_offsets()):
                time.sleep(0.2)
        time.sleep(0.5)  # the meter's last poll

    def report(self) -> dict[str, Any]:
        """The figures, all measured from outside the pipeline; `steps_s` says when what was ready."""
        from streaming.kafka.source import KafkaSource
        from streaming.topics import MATCH_EVENTS

        began = time.time() - (time.monotonic() - self._began)
        steps_s = self._steps_s | pipeline_steps_s(self.home / "pipeline.log", began)
        told: dict[str, Any] = {"events_in": 0, "insights_out": 0, "dead_letters": 0, "matches": 0}
        told |= {"first_insight_s": None, "latency_ms": {"p50": None, "p99": None}}
        if self._connected is not None:
            kafka, publisher, meter = self._connected.kafka, self._connected.publisher, self._connected.meter
            measured = meter.measured()
            with closing(KafkaSource(kafka, MATCH_EVENTS.dead_letters.name, "sightline-demo-meter")) as source:
                dead = source.end_offsets()
            told = {
                "events_in": publisher.acknowledged,
                "insights_out": measured.insights,
                "dead_letters": sum(dead.values()),
                "matches": measured.matches,
                "first_insight_s": self._steps_s.get("first_insight"),
                "latency_ms": measured.percentiles(),
            }
        return told | {"steps_s": dict(sorted(steps_s.items(), key=lambda step: step[1]))}

    def _publish(self, chunk: pl.DataFrame) -> None:
        from streaming.codec import Encoder, PackagedRegistry, load_schema

        assert self._connected is not None
        if not self._events:
            self._encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
        values = self._encoder.encode(chunk).to_pylist()
        keys = [match_id.encode() for match_id in chunk["match_id"]]
        self._connected.publisher.send("match.events", keys, values)
        self._events += len(values)

    def _watch(self, stopping: threading.Event, over: threading.Event, is_over: Callable[[], bool]) -> None:
        """Say how it goes, and end the show on time, on a signal, or when a part has ended by itself."""
        assert self._connected is not None
        meter, last_said = self._connected.meter, time.monotonic()
        while not over.wait(0.1):
            if (
                stopping.is_set()
                or is_over()
                or self._is_time_over(self._options.duration_s, ("pages",))
                or self._ended()
            ):
                self._why = ": told to, by Ctrl-C or SIGTERM" if stopping.is_set() else ""
                over.set()
                return
            self._look_for_pages()
            measured = meter.measured(last=2_000)
            if measured.first_at is not None and "first_insight" not in self._steps_s:
                self._step("first_insight", "first insight:", measured.first_at)
            if time.monotonic() - last_said >= 10.0:
                last_said = time.monotonic()
                p = measured.percentiles()
                told = "" if p["p50"] is None else f", latency p50 {p['p50']:.0f} ms, p99 {p['p99']:.0f} ms"
                self._say(
                    f"{self._events:,} events in, {measured.insights:,} insights out, {measured.matches} matches{told}"
                )


@dataclass(frozen=True)
class _Connected:
    """What this process has to do with the broker."""

    kafka: KafkaSettings
    publisher: Publisher
    meter: InsightMeter


def replayed(options: DemoOptions, say: Say) -> MatchFeed:
    """Real matches as a feed; what had to be left out is said, file by file.

    Raises:
        ImportProblem: nothing can be replayed.
    """
    from streaming.importers import import_matches
    from streaming.simulators.feed import MatchFeed

    assert options.replay is not None
    imported = import_matches(options.replay, any_map=options.any_map)
    for problem in imported.skipped:
        say(f"left out: {problem}")
    if imported.skipped:
        say(f"replaying {imported.matches} matches; {len(imported.skipped)} files were left out")
    return MatchFeed([imported.events], concurrent=options.matches, speed=options.speed, epoch_ms=_now_ms())


def _simulated(options: DemoOptions) -> MatchFeed:
    from streaming.simulators.feed import live_matches

    return live_matches(
        options.titles, options.seed, concurrent=options.matches, speed=options.speed, epoch_ms=_now_ms()
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
