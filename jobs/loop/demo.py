"""The loop, for a person to watch: a patch makes the model wrong, and a better one takes its place by itself.

    matches in fast motion ─► Kafka ─► pipeline ─► answers ─────────────────► told here, step by step
                                │         └─► sightline.status: drift ─► `schedule run`
                                └─► Ray job `retrain`: set, training, gate, promotion ─► sightline.control ─► hot swap

Everything runs as a user would run it: the scheduler starts `sightline retrain` as a Ray job because its settings say
so, and nothing here takes part in it. The model store, the schedule and the Ray cluster are the demo's own.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from jobs.demo import Demo, DemoOptions
from jobs.demo_parts import DemoFailed, Say, staged, write_report
from jobs.errors import UsageProblem
from jobs.loop.report import report_of
from jobs.loop.story import Cast, Step, Story
from jobs.loop.watch import Answers, Watch
from jobs.ray_session import ENVIRONMENT, ROOT
from jobs.schedule.definition import Schedule
from models.store import SHIPPED, ModelStore
from streaming.features.match_fold import fold_events
from streaming.ports import free_ports
from streaming.simulators.feed import MatchFeed, season_with_patch
from streaming.simulators.titles import FIRST_PATCH, Patch

if TYPE_CHECKING:
    from jobs.settings import Settings

_SCHEDULE = "on-drift"
_RAY_S = 90.0
_RAY_CPUS = 12  # logical: the pipeline's actors mostly wait, and a job wants some
_STILL_S = 15.0
_DAYS_MS = 7 * 86_400_000  # event time passes quickly, and should not come to lie in the future


@dataclass(frozen=True)
class LoopOptions:
    """The scenario; by default a few minutes on two cores."""

    title: str = "hok"  # the shortest matches
    gold: float = 0.2  # of the second patch: see `streaming.simulators.titles.Patch`
    seed: int = 11  # not that of the matches which the weights that ship were trained on
    on_air: int = 160  # matches at a time
    time_lapse: float = 120.0
    matches: int = 200  # to judge on, at each of the stages and by the gate
    epochs: int = 8  # of the training
    patience_s: float = 300.0  # from each step to the next
    report: Path | None = None


def run_loop(options: LoopOptions, settings: Settings, say: Say) -> dict[str, Any]:
    """Run the scenario to its end; the report, with `passed`.

    Raises:
        UsageProblem: not started in the folder of Sightline.
        BrokerError: the embedded broker does not start.
        DemoFailed: a part ended by itself, or it was stopped before there was anything to tell.
    """
    if Path.cwd() != ROOT:
        raise UsageProblem(f"--loop sends the folder of Sightline along with its jobs: start it in {ROOT}")
    began = time.monotonic()
    shown = DemoOptions(from_start=True)
    with (
        staged(lambda home: Demo(shown, settings, home, say, began), settings.home, say) as (demo, stopping),
        _ray_head(demo) as head,
    ):
        report = _Loop(options, demo, head, say, began).run(stopping)
        demo.stop_children()  # before their cluster
    if options.report is not None:
        write_report(options.report, report)
    return report


@dataclass(frozen=True)
class _Head:
    address: str
    jobs: str  # of the Jobs API


@contextmanager
def _ray_head(demo: Demo) -> Iterator[_Head]:
    """A Ray cluster that takes jobs, which a Ray in the pipeline's own process does not."""
    # Ray puts sockets below its folder, whose whole path must stay short.
    folder = Path(tempfile.mkdtemp(prefix="sl-ray-", dir="/tmp"))  # nosec B108
    port, dashboard, client, agent, agent_grpc = free_ports(5)
    words = [
        "ray.scripts.scripts", "start", "--head", "--block", f"--num-cpus={_RAY_CPUS}", f"--temp-dir={folder}",
        f"--port={port}", "--include-dashboard=true", f"--dashboard-port={dashboard}",
        f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={agent_grpc}", "--object-store-memory=300000000",
        "--disable-usage-stats",
    ]  # fmt: skip
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"  # jobs are to find this Python
    demo.child("ray", words, {**ENVIRONMENT, "RAY_ADDRESS": None, "PATH": path, "RAY_AUTH_MODE": "disabled"})
    try:
        deadline = time.monotonic() + _RAY_S
        while not (_answers(dashboard) and _answers(port)):
            demo.raise_if_ended()
            if time.monotonic() > deadline:
                raise DemoFailed("Ray's head did not answer in time")
            time.sleep(0.2)
        yield _Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}")
    finally:
        demo.stop_children()
        shutil.rmtree(folder, ignore_errors=True)


class _Loop:
    """The scenario, with the parts that it needs."""

    def __init__(self, options: LoopOptions, demo: Demo, head: _Head, say: Say, began: float) -> None:
        self._options, self._demo, self._home, self._head = options, demo, demo.home, head
        self._say, self._began = say, began
        self._sent: list[pl.DataFrame] = []

    def run(self, stopping: threading.Event) -> dict[str, Any]:
        self._demo.launch(self._own)
        self._demo.child("scheduler", ["jobs.cli", "schedule", "run", "--jobs", self._head.jobs])
        if not self._demo.connect(stopping):
            raise DemoFailed("stopped before it began")
        story = Story(self._cast())
        kafka = self._demo.parts().kafka
        with closing(Answers(kafka)) as answers:
            watch = Watch(story, kafka, self._home, answers, _SCHEDULE, self._tell, self._options.patience_s)
            with watch:
                self._demo.show(self._feed(), stopping, watch.is_over)
            self._demo.drain(_STILL_S)
            answers.wait_still()
            if not self._sent:
                raise DemoFailed("stopped before it began")
            return self._report(story, watch.why, answers.frame())

    def _own(self, settings: Settings) -> Settings:
        """As the demo's, with a store, a schedule and a cluster of its own."""
        options = self._options
        command = (
            f"retrain {options.title} --patch latest --hold-back 0.4 --min-matches {options.matches} --promote "
            f"--workers 0 --set optim.epochs={options.epochs} --set sizes.home=false"
        )
        schedule = Schedule(command=command, drift="win-prediction", cool_down_s=2.0, time_limit_s=options.patience_s)
        (self._home / "models").mkdir()
        models = {options.title: f"tsstn-{options.title}@live"}
        update = {
            "home": self._home,
            "schedule": {_SCHEDULE: schedule},
            "models": settings.models.model_copy(update={"store": str(self._home / "models"), "titles": models}),
            "ray": settings.ray.model_copy(update={"address": self._head.address}),
        }
        return settings.model_copy(update=update)

    def _cast(self) -> Cast:
        title = self._options.title
        _, version = ModelStore(SHIPPED).resolve(f"tsstn-{title}@live")
        return Cast(title, (FIRST_PATCH.name, self._patch().name), str(version), self._options.matches)

    def _patch(self) -> Patch:
        return Patch("scarce gold" if self._options.gold < 1 else "rich gold", self._options.gold)

    def _feed(self) -> MatchFeed:
        options = self._options
        calm = options.matches + options.on_air
        season = season_with_patch(options.title, options.seed, patch=self._patch(), after=calm)
        return _Remembered(
            self._sent,
            season,
            concurrent=options.on_air,
            speed=options.time_lapse,
            epoch_ms=time.time_ns() // 1_000_000 - _DAYS_MS,
            gap_s=0.2,
            head_start=True,
            time_lapse=options.time_lapse,
        )

    def _tell(self, step: Step) -> None:
        self._say(f"[{step.at_s - self._began:6.1f} s] {step.name}: {step.words}")

    def _report(self, story: Story, why: str, answers: pl.DataFrame) -> dict[str, Any]:
        frames = fold_events(pl.concat(self._sent))
        store = ModelStore(self._home / "models", SHIPPED)
        return report_of(story, why, frames, answers, store, self._began) | {"demo": self._demo.report()}


class _Remembered(MatchFeed):
    """A feed that keeps what was taken from it."""

    def __init__(self, taken: list[pl.DataFrame], *of: Any, **how: Any) -> None:
        super().__init__(*of, **how)
        self._taken = taken

    def take(self, until_s: float) -> pl.DataFrame:
        self._taken.append(super().take(until_s))
        return self._taken[-1]


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
