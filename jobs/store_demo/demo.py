"""A store and its cameras on one machine, from camera process to page.

    made-up store ─► named pipes ─► `camera run`, one a camera ─► camera.frames ─► person-sightings ─► person.sightings
    or clips ───────────────────────┘                                          store-metrics, store-alerts ◄─┘
                                               your browser ◄─ gateway: /store ◄──┴─► watch (this process) ─► report

Everything runs as a user would run it, in a home, with keys and a settings file of the demo's own.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.camera_book import FILE
from jobs.demo_parts import DemoParts, Say, staged, write_report
from jobs.ray_session import ROOT
from jobs.store_demo.cameras import (
    Broadcast,
    cameras_of_clips,
    cameras_of_scene,
    last_status,
    plan_of_clips,
    write_book,
)
from streaming.cameras.definition import Camera

if TYPE_CHECKING:
    from jobs.children import Child
    from jobs.settings import Settings
    from jobs.store_demo.scene import Scene
    from jobs.store_demo.tally import Tally
    from streaming.kafka.settings import KafkaSettings

DETECTOR = ROOT / ".sightline" / "nanodet_g.onnx"
"""Where `make detector` puts it."""

_TELL_S = 10.0
_STOP_S = 15.0
_DRAIN_S, _DRAIN_WHEN_STOPPED_S = 20.0, 3.0
_CLIP_AGE_S = 86_400.0  # every frame of a clip is answered, however long it has waited


@dataclass(frozen=True)
class StoreDemoOptions:
    """What to show, and for how long. Where the pages are is a setting."""

    duration_s: float | None = None  # from when it can be looked at; None: until Ctrl-C
    report: Path | None = None
    replay: tuple[Path, ...] = ()  # clips; none: the made-up store
    seed: int = 7


def run_store_demo(options: StoreDemoOptions, settings: Settings, say: Say) -> dict[str, Any]:
    """Run the demo to its end; the report, all of it measured.

    Raises:
        BadSource: a clip cannot be read; nothing was started.
        BadDetector: the detector that is set cannot be used; nothing was started.
        BrokerError: the embedded broker does not start.
        DemoFailed: a part ended by itself.
    """
    began = time.monotonic()
    clips = cameras_of_clips(options.replay)  # a wrong file must not cost a broker
    with staged(lambda home: StoreDemo(options, settings, home, say, began), settings.home, say) as (demo, stopping):
        demo.launch(clips)
        if demo.connect(stopping):
            demo.show(stopping)
            demo.drain(_DRAIN_WHEN_STOPPED_S if stopping.is_set() else _DRAIN_S)
        report = demo.report()
    if options.report is not None:
        write_report(options.report, report)
    return report


class StoreDemo(DemoParts):
    """The parts that run, and their figures.

    Args:
        options: what to show.
        settings: of the user.
        home: a folder of this demo's own.
        say: is told how it goes.
        began: on the monotonic clock.
    """

    def __init__(self, options: StoreDemoOptions, settings: Settings, home: Path, say: Say, began: float) -> None:
        super().__init__(settings, home, say, began)
        self._options = options
        self._detector = ""  # in words
        self._scene: Scene | None = None
        self._broadcast: Broadcast | None = None
        self._cameras: tuple[Camera, ...] = ()
        self._filming: dict[str, Child] = {}
        self._kafka: KafkaSettings | None = None
        self._tally: Tally | None = None
        self._report: dict[str, Any] = {}

    def launch(self, clips: tuple[Camera, ...]) -> None:
        """Start broker, pipelines and gateway over these clips, or over the made-up store, which is made meanwhile."""
        from jobs.store_demo.scene import Scene
        from streaming.store.plan_file import to_toml

        if clips:
            self._cameras, table = clips, plan_of_clips(clips)
        else:
            self._scene = Scene(self._options.seed)
            self._cameras, table = cameras_of_scene(self._scene, self.home), self._scene.plan_table()
        write_book(self.home / FILE, self._cameras)
        (self.home / "store.toml").write_text(to_toml(table), "utf-8")
        self.launch_with(["jobs.store_demo.pipelines"], self._own)
        self._say(self._detector)

    def _own(self, settings: Settings) -> Settings:
        """As every demo's, with a plan, cameras and keys of its own."""
        from jobs.settings import PrivacySection

        update: dict[str, Any] = {"plan": self.home / "store.toml", "cameras": self.home / FILE}
        if self._scene is not None:
            self._detector = (
                "the cameras are made up, and send boxes of their own: the truth's, jittered, 3 % left out, a few false"
            )
        else:
            found = settings.store.detector or (DETECTOR if DETECTOR.is_file() else None)
            update |= {"detector": found, "max_age_s": _CLIP_AGE_S}
            self._detector = (
                f"people are found by {found.name}"
                if found is not None
                else "people are found by OpenCV's detector, which misses many; `make detector` fetches a better one"
            )
        shown = {
            "show_frames": True,  # the book states a purpose for each camera
            "store_origin": "replay" if self._scene is None else "simulated",
            "audit": self.home / "audit.jsonl",
        }
        return settings.model_copy(
            update={
                "home": self.home,
                "privacy": PrivacySection(keys=self.home / "keys"),
                "store": settings.store.model_copy(update=update),
                "gateway": settings.gateway.model_copy(update=shown),
            }
        )

    def connect(self, stopping: threading.Event) -> bool:
        """Wait for the broker, and make the topics; False when it was stopped meanwhile."""
        from jobs.pipelines import PERSON_SIGHTINGS, STORE_ALERTS, STORE_METRICS
        from jobs.store_demo.tally import Tally
        from jobs.topic_watch import TopicWatch
        from streaming import topics
        from streaming.kafka.admin import ensure_topics
        from streaming.kafka.settings import KafkaSettings

        bootstrap = self.wait_for_broker(stopping)
        if bootstrap is None:
            return False
        self._kafka = KafkaSettings(bootstrap_servers=bootstrap)
        names = (PERSON_SIGHTINGS, STORE_METRICS, STORE_ALERTS)
        ensure_topics(self._kafka, [*topics.TOPICS, *(topics.state_topic(name) for name in names)])
        tally = self._tally = Tally()
        takers = {
            topics.PERSON_SIGHTINGS: lambda rows: tally.take_sightings(rows, time.time() * 1e3),
            topics.STORE_METRICS: tally.take_metrics,
            topics.STORE_ALERTS: tally.take_alerts,
        }
        self._undo.callback(TopicWatch(self._kafka, takers).stop)
        return not stopping.is_set()

    def _film_when_ready(self) -> None:
        """Start the cameras once the pipelines can answer: what waits for longer than a few seconds is passed over."""
        if self._filming or not self._can_answer():
            return
        for camera in self._cameras:
            words = ["jobs.cli", "camera", "run", camera.id, "--json"]
            self._filming[camera.id] = self.child(f"camera-{camera.id}", words)
        self._step("cameras", f"{len(self._cameras)} cameras:")
        if self._scene is not None:
            self._broadcast = Broadcast(self._scene, self._cameras)
            self._undo.callback(self._broadcast.stop)

    def show(self, stopping: threading.Event) -> None:
        """Until the time is over, or someone stops it."""
        last_said = time.monotonic()
        while not stopping.wait(0.1) and not self._is_time_over(self._options.duration_s):
            self.raise_if_ended()
            self._look_for_pages("/store")
            self._film_when_ready()
            self._look_for_firsts()
            if self._scene is None and "replay_over" not in self._steps_s and self._are_clips_over():
                self._step("replay_over", "the clips are over and answered; what they showed stays on the page:")
            if time.monotonic() - last_said >= _TELL_S:
                last_said = time.monotonic()
                self._tell()
        self._why = ": told to, by Ctrl-C or SIGTERM" if stopping.is_set() else ""

    def drain(self, within_s: float) -> None:
        """Stop the cameras, and let the pipelines answer what was sent, for a while."""
        from jobs.pipelines import STORE_ALERTS, STORE_METRICS
        from streaming.kafka.source import KafkaSource
        from streaming.topics import PERSON_SIGHTINGS, identity

        assert self._tally is not None and self._kafka is not None
        for child in self._filming.values():
            child.stop(_STOP_S)
        if not self._tally.frames:
            return
        deadline, sent = time.monotonic() + within_s, self._of_cameras()["sent"]
        while time.monotonic() < deadline and self._tally.frames < sent:
            time.sleep(0.2)
        for name in (STORE_METRICS, STORE_ALERTS):
            with closing(KafkaSource(self._kafka, PERSON_SIGHTINGS.name, identity(name))) as source:
                while time.monotonic() < deadline and dict(source.committed()) != dict(source.end_offsets()):
                    time.sleep(0.2)
        time.sleep(0.5)  # the watch's last poll

    def report(self) -> dict[str, Any]:
        """The figures, all measured from outside the pipelines; null where nothing was measured."""
        steps_s = dict(sorted(self._steps_s.items(), key=lambda step: step[1]))
        told: dict[str, Any] = {"source": "clips" if self._scene is None else "made-up store"}
        told |= {"detector": self._detector, "cameras": len(self._cameras)}
        if self._tally is None:
            return told | {"steps_s": steps_s}
        tally = self._tally
        return told | {
            "frames": self._of_cameras() | {"answered": tally.frames},
            "sightings": tally.sightings,
            "corrections": tally.corrections,
            "people": {"names": tally.people, "visits_counted": tally.visits, "visitors_in_truth": self._visitors()},
            "alerts": tally.alerts,
            "latency_ms": tally.latency_ms,
            "steps_s": steps_s,
        }

    def _visitors(self) -> int | None:
        """How many the truth has up to where the store has counted; None where nobody knows, or nothing is counted."""
        assert self._tally is not None
        until_ms = self._tally.counted_until_ms
        opened_ms = self._broadcast.opened_ms if self._broadcast is not None else None
        if self._scene is None or until_ms is None or opened_ms is None:
            return None
        return self._scene.visitors((until_ms - opened_ms) / 1000) if until_ms > opened_ms else 0

    def _look_for_firsts(self) -> None:
        assert self._tally is not None
        tally = self._tally
        come = {"answer": tally.frames, "sighting": tally.sightings, "counts": tally.counted_until_ms}
        for name, so_far in {**come, "alert": tally.alerts}.items():
            if so_far and (step := f"first_{name}") not in self._steps_s:
                self._step(step, f"first {name}:")
                if self._broadcast is not None and name == "answer":
                    self._broadcast.open_doors()
                    self._say("the doors of the store are open")

    def _tell(self) -> None:
        assert self._tally is not None
        tally, frames = self._tally, self._of_cameras()
        p50 = tally.latency_ms["p50"]
        told = "" if p50 is None else f", from frame to sighting p50 {p50:.0f} ms"
        self._say(
            f"{frames['sent']:,} frames in, {frames['dropped']:,} dropped, {tally.frames:,} answered, "
            f"{tally.sightings:,} sightings, {tally.visits} visits counted, {tally.alerts} alerts{told}"
        )

    def _of_cameras(self) -> dict[str, int]:
        """What the camera processes say of themselves, added up."""
        said = [last_status(child.log) for child in self._filming.values()]
        return {name: sum(int(each.get(name, 0)) for each in said) for name in ("sent", "dropped", "unusable")}

    def _are_clips_over(self) -> bool:
        assert self._tally is not None
        ended = all(child.ended is not None for child in self._filming.values())
        return bool(self._filming) and ended and self._tally.frames >= self._of_cameras()["sent"] > 0

    def _ended(self) -> list[Child]:
        """A camera of a clip may end; all else runs on."""
        over = list(self._filming.values()) if self._scene is None else []
        return [child for child in super()._ended() if child.ended or child not in over]
