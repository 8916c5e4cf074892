"""A shop and its shoppers on one machine, from click to page.

    made-up shop or clicks of a file ─► street (this process) ─► user.sessions, item.catalogue ─► recommendations
                                          ▲                                                             │
                 impressions and clicks ──┴──── watch (this process) ◄── session.recommendations ◄──────┤
                                                                        your browser ◄─ gateway: /shop ◄┘

Everything runs as a user would run it: the models are trained by `sightline train` on a file of the shop's past.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from jobs.demo_parts import DemoParts, Say, staged, write_report
from jobs.files import without_infinity
from jobs.pipelines import RECOMMENDATIONS
from jobs.shop_demo import tally, training
from jobs.shop_demo.stock import Stock, from_file, made_up, moved

if TYPE_CHECKING:
    from jobs.children import Child
    from jobs.settings import Settings
    from jobs.shop_demo.street import Street, Writing
    from streaming.kafka.publisher import Publisher
    from streaming.kafka.settings import KafkaSettings

_TELL_S = 10.0
_DRAIN_S, _DRAIN_WHEN_STOPPED_S = 30.0, 10.0
_JUDGED_S = 3_600.0  # so much of the end is read again for the report
_LATENCIES = 20_000  # of the newest answers
_OFFER = """places = 8
candidates = 40
explore = 0.05
[experiment]
name = "clicks-against-content"
[[experiment.arm]]
name = "clicks"
[[experiment.arm]]
name = "content"
recommender = "content"
"""
"""Of a made-up shop: GRU4Rec beside remembered sessions, against two towers that know categories."""


@dataclass(frozen=True)
class ShopDemoOptions:
    """What to show, and for how long. Where the pages are is a setting."""

    duration_s: float | None = None  # from when it can be looked at; None: until Ctrl-C
    report: Path | None = None
    replay: Path | None = None  # clicks; None: the made-up shop
    speed: float | None = None  # seconds of the shop a second; None: 1 of a made-up shop, 60 of a file
    seed: int = 7


def run_shop_demo(options: ShopDemoOptions, settings: Settings, say: Say) -> dict[str, Any]:
    """Run the demo to its end; the report, all of it measured.

    Raises:
        ImportProblem: the file cannot be replayed; nothing was started.
        BrokerError: the embedded broker does not start.
        DemoFailed: a part ended by itself.
    """
    began = time.monotonic()
    # A wrong file must not cost a broker.
    stock = made_up(options.seed) if options.replay is None else from_file(options.replay)

    def made(home: Path) -> ShopDemo:
        return ShopDemo(options, stock, settings, home, say, began)

    with staged(made, settings.home, say) as (demo, stopping):
        demo.launch()
        if demo.connect(stopping):
            demo.show(stopping)
            demo.drain(_DRAIN_WHEN_STOPPED_S if stopping.is_set() else _DRAIN_S)
        report = demo.report()
    if options.report is not None:
        write_report(options.report, report)
    return report


class ShopDemo(DemoParts):
    """The parts that run, and their figures.

    Args:
        options: what to show.
        stock: of the shop.
        settings: of the user.
        home: a folder of this demo's own.
        say: is told how it goes.
        began: on the monotonic clock.
    """

    def __init__(
        self, options: ShopDemoOptions, stock: Stock, settings: Settings, home: Path, say: Say, began: float
    ) -> None:
        super().__init__(settings, home, say, began)
        self._options, self._stock = options, stock
        self._speed = options.speed or (1.0 if stock.simulated else 60.0)
        self._own: Settings = settings
        self._training: dict[str, Child] = {}
        self._pipeline: Child | None = None
        self._kafka: KafkaSettings | None = None
        self._publisher: Publisher | None = None
        self._writing: Writing | None = None
        self._street: Street | None = None
        self._began_ms = 0
        self._answers = 0
        self._first_ms: float | None = None  # when the first answer came
        self._latency_ms: deque[float] = deque(maxlen=_LATENCIES)
        self._changes: list[pl.DataFrame] = []  # of the catalogue

    def launch(self) -> None:
        """Start broker and gateway, and train the models meanwhile; the pipeline comes when it has them."""
        if self._stock.simulated:
            (self.home / "offer.toml").write_text(_OFFER, "utf-8")
        self.launch_with((), self._changed)
        past = self.home / "past.csv"
        training.write_past(moved(self._stock, _now_ms()), past)
        for recipe in training.models_of(self._stock):
            words = training.train_words(recipe, past, small=self._stock.simulated)
            self._training[recipe] = self.child(recipe, words)
        sessions = self._stock.past["session_id"].n_unique()
        self._say(
            f"learning from {self._stock.past.height:,} clicks in {sessions:,} past sessions of {self._stock.origin}"
        )

    def _changed(self, settings: Settings) -> Settings:
        """As every demo's, with models and an offer of its own; who is as fast as this shop's shoppers is no bot."""
        content = self._stock.has_content
        shop: dict[str, Any] = {
            "recommenders": {"live": f"{training.CLICKS}@live"},
            "by_content": f"{training.CONTENT}@live" if content else None,
            "offer": self.home / "offer.toml" if self._stock.simulated else None,  # of a file nobody clicks on offers
            "flood_per_min": min(1_000_000, math.ceil(settings.shop.flood_per_min * self._speed)),
        }
        if self._stock.simulated:
            shop["recommenders"]["content"] = f"{training.CONTENT}@live"
        shown = {"shop": True, "shop_origin": "simulated" if self._stock.simulated else "replay"}
        self._own = settings.model_copy(
            update={
                "home": self.home,
                "models": settings.models.model_copy(update={"store": str(self.home / "models")}),
                "shop": settings.shop.model_copy(update=shop),
                "gateway": settings.gateway.model_copy(update=shown),
            }
        )
        return self._own

    def connect(self, stopping: threading.Event) -> bool:
        """Wait for the broker, make the topics and write the catalogue; False when it was stopped meanwhile."""
        from jobs.shop_demo.street import Street, Writing
        from jobs.topic_watch import TopicWatch
        from streaming import topics
        from streaming.kafka.admin import ensure_topics
        from streaming.kafka.publisher import Publisher
        from streaming.kafka.settings import KafkaSettings

        bootstrap = self.wait_for_broker(stopping)
        if bootstrap is None:
            return False
        self._kafka = KafkaSettings(bootstrap_servers=bootstrap)
        ensure_topics(self._kafka, [*topics.TOPICS, topics.state_topic(RECOMMENDATIONS)])
        self._publisher = Publisher(self._kafka)
        self._undo.callback(self._publisher.close)
        self._began_ms = _now_ms()
        self._writing = Writing(self._publisher)
        self._writing.items(moved(self._stock, self._began_ms).items)
        self._street = Street(self._stock, self._speed, self._writing)
        takers = {topics.SESSION_RECOMMENDATIONS: self._take_answers, topics.ITEM_CATALOGUE: self._changes.append}
        self._undo.callback(TopicWatch(self._kafka, takers).stop)
        self._undo.callback(self._street.stop)
        return not stopping.is_set()

    def _take_answers(self, rows: pl.DataFrame) -> None:
        now_ms = time.time() * 1e3
        self._answers += rows.height
        came_ms = rows["ingest_time_ms"].to_physical()
        # What waited for the pipeline to start says how long that took, not how long an answer takes.
        if self._first_ms is not None:
            self._latency_ms.extend((now_ms - came_ms.filter(came_ms >= self._first_ms)).to_list())
        elif self._answers:
            self._first_ms = now_ms
        assert self._street is not None
        self._street.show(rows)

    def show(self, stopping: threading.Event) -> None:
        """Until the time is over, the clicks are, or someone stops it."""
        assert self._street is not None
        last_said = time.monotonic()
        while not stopping.wait(0.1) and not self._is_time_over(self._options.duration_s):
            self.raise_if_ended()
            self._look_for_pages("/shop")
            self._go_on()
            if self._answers and "first_answer" not in self._steps_s:
                self._step("first_answer", "first answer:")
            if self._street.has_ended and "replay_over" not in self._steps_s:
                self._step("replay_over", "the clicks are over; what they showed stays on the page:")
            if time.monotonic() - last_said >= _TELL_S:
                last_said = time.monotonic()
                self._tell()
        self._why = ": told to, by Ctrl-C or SIGTERM" if stopping.is_set() else ""

    def _go_on(self) -> None:
        """Start the pipeline once there are models, and open the doors once it can answer."""
        assert self._street is not None
        if self._pipeline is None:
            if all(child.ended == 0 for child in self._training.values()):
                self._step("trained", f"{len(self._training)} models are trained:")
                self._pipeline = self.child("pipeline", ["jobs.run", RECOMMENDATIONS])
        elif "open" not in self._steps_s and self._can_answer():
            self._street.start()
            self._step("open", "the doors of the shop are open:")

    def drain(self, within_s: float) -> None:
        """Let nobody come any more, and the pipeline answer what was sent, for a while."""
        from streaming.kafka.source import KafkaSource
        from streaming.topics import USER_SESSIONS, identity

        assert self._street is not None and self._kafka is not None and self._publisher is not None
        self._street.stop()
        if not self._answers:
            return
        deadline = time.monotonic() + within_s
        self._publisher.flush(within_s)
        with closing(KafkaSource(self._kafka, USER_SESSIONS.name, identity(RECOMMENDATIONS))) as source:
            while time.monotonic() < deadline and dict(source.committed()) != dict(source.end_offsets()):
                time.sleep(0.2)

    def report(self) -> dict[str, Any]:
        """The figures, all measured from outside the pipeline, and of the last hour where it took longer."""
        from jobs.topic_rows import read_rows
        from streaming.codec import PackagedRegistry
        from streaming.experiments import figures, outcomes
        from streaming.topics import SESSION_RECOMMENDATIONS, USER_SESSIONS

        steps_s = dict(sorted(self._steps_s.items(), key=lambda step: step[1]))
        told: dict[str, Any] = {"source": self._stock.origin, "items": self._stock.items.height}
        if self._kafka is None or not self._answers:
            return told | {"steps_s": steps_s}
        since_ms = max(self._began_ms, _now_ms() - round(_JUDGED_S * 1000))
        kafka, registry = self._kafka, PackagedRegistry()
        events = read_rows(kafka, registry, USER_SESSIONS, since_ms=since_ms)
        answers = read_rows(kafka, registry, SESSION_RECOMMENDATIONS, since_ms=since_ms)
        return told | {
            "views": tally.answered(events, answers, self._own.shop.flood_per_min),
            "reasons": tally.reasons(answers),
            "catalogue": tally.withdrawn(answers, pl.concat(self._changes)),
            "models": dict(answers.group_by("model_name").len().sort("model_name").iter_rows()),
            "arms": [without_infinity(asdict(arm)) for arm in figures(outcomes(answers, events))],
            "next_click": tally.next_clicks(events, answers),
            "latency_ms": self._percentiles(),
            "steps_s": steps_s,
        }

    def _percentiles(self) -> dict[str, float | None]:
        if not self._latency_ms:
            return {"p50": None, "p99": None}
        p50, p99 = np.percentile(np.array(list(self._latency_ms)), [50, 99])
        return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}

    def _tell(self) -> None:
        if self._writing is None or "open" not in self._steps_s:
            return
        p50 = self._percentiles()["p50"]
        told = "" if p50 is None else f", from click to answer p50 {p50:.0f} ms"
        self._say(f"{self._writing.views:,} views in, {self._answers:,} answers out{told}")

    def _ended(self) -> list[Child]:
        """A training may end well; all else runs on."""
        over = list(self._training.values())
        return [child for child in super()._ended() if child.ended or child not in over]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
