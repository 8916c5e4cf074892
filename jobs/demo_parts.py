"""What every demo is made of: an embedded broker, processes that end with it, settings of its own, a gateway.

Broker, pipelines and gateway start at the same time, each waiting for those that it needs.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jobs.demo_home import demo_home
from jobs.files import json_text, write_json
from jobs.signals import signals_set

if TYPE_CHECKING:
    from jobs.children import Child
    from jobs.settings import Settings
    from streaming.kafka.broker import EmbeddedBroker

_LOGS = "last-demo"  # in the home folder: what a demo that failed has left to read

Say = Callable[[str], None]


class DemoFailed(RuntimeError):
    """A part of the demo ended by itself; the message names it, its last words, and where the rest of them are."""


class DemoParts:
    """The processes of one demo, and when each step of its start was reached.

    Args:
        settings: of the user.
        home: a folder of this demo's own.
        say: is told how it goes.
        began: on the monotonic clock.
    """

    def __init__(self, settings: Settings, home: Path, say: Say, began: float) -> None:
        self._settings, self.home, self._say, self._began = settings, home, say, began
        self._children: list[Child] = []
        self._undo = ExitStack()
        self._why = ""  # of its end, where nobody sees it otherwise
        self._steps_s: dict[str, float] = {}
        self._environment: Mapping[str, str | None] = {}  # of children, once settings are written

    def launch_with(self, pipeline: Sequence[str], changed: Callable[[Settings], Settings]) -> None:
        """Start broker, pipeline (a module and its arguments; none: it comes later) and gateway; nothing is waited for.
        `changed` makes their settings of those that they would have."""
        from jobs.settings import to_toml
        from streaming.kafka.broker import EmbeddedBroker
        from streaming.ports import free_ports

        port = self._settings.kafka.port or free_ports(1)[0]  # known before the broker runs: the others are told it
        self._broker = BrokerStart(EmbeddedBroker(self.home / "kafka", port=port), self._say)
        self._undo.callback(self._broker.stop)
        file = self.home / "settings.toml"
        own = changed(settings_of_children(self._settings, f"127.0.0.1:{port}", self.home / "gateway.url"))
        file.write_text(to_toml(own), "utf-8")
        self._environment = environment_of_children(file)
        if pipeline:
            self.child("pipeline", pipeline)
        self.child("gateway", ["jobs.cli", "gateway"])

    def wait_for_broker(self, stopping: threading.Event) -> str | None:
        """Its address; None when the demo was stopped meanwhile. Raises DemoFailed where a child ends by itself."""
        bootstrap = self._broker.wait(stopping, self.raise_if_ended)
        if bootstrap is not None:
            self._step("broker", f"Kafka: {bootstrap}")
        return bootstrap

    def child(self, name: str, module: Sequence[str], environment: Mapping[str, str | None] | None = None) -> Child:
        """Start a process that ends with this demo, and ends it where it ends by itself; by default in the environment
        of the others."""
        from jobs.children import Child

        own = self._environment if environment is None else environment
        started = Child(name, module, own, self.home / f"{name}.log")
        self._children.append(started)
        return started

    def stop(self) -> None:
        """Stop all that was started, last first, and leave nothing behind."""
        self._say(f"stopping{self._why}")
        self.stop_children()
        self._undo.close()

    def stop_children(self) -> None:
        """Stop the processes, last first."""
        while self._children:
            self._children.pop().stop(timeout_s=20.0)

    def _look_for_pages(self, page: str = "") -> None:
        if "pages" in self._steps_s:
            return
        with suppress(FileNotFoundError):
            if url := (self.home / "gateway.url").read_text("utf-8").strip():
                self._step("pages", f"pages: {url}")
                self._say(f"open {url.rstrip('/')}{page}" if page else f"open {url}")

    def _can_answer(self) -> bool:
        """Whether the pipeline has come so far that what is sent now is answered soon."""
        by_ray_data = self._settings.pipeline.runner == "micro_batch"
        awaited = {"pipeline_models", "pipeline_state"} if by_ray_data else {"pipeline_topics"}
        return pipeline_steps_s(self.home / "pipeline.log", 0.0).keys() >= awaited

    def _is_time_over(self, duration_s: float | None, begin: Sequence[str] = ("pages", "first_answer")) -> bool:
        """A show lasts as long as it was asked to from when it could be looked at, which is from these steps on."""
        begin_s = [self._steps_s[step] for step in begin if step in self._steps_s]
        if duration_s is None or len(begin_s) < len(begin):
            return False
        return time.monotonic() - self._began >= max(begin_s) + duration_s

    def _ended(self) -> list[Child]:
        return [child for child in self._children if child.ended is not None]

    def raise_if_ended(self) -> None:
        """Raise DemoFailed where a child has ended by itself."""
        for child in self._ended():
            raise DemoFailed(f"the {child.name} ended by itself: {child.last_line}{self._kept(child)}")

    def _kept(self, child: Child) -> str:
        """Save the log of a child from the end of this demo's folder, in the user's own."""
        try:
            kept = self._settings.home / _LOGS / f"{child.name}.log"
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(child.log, kept)
        except OSError as failure:
            return f" (its log could not be kept: {failure.strerror})"
        return f" (its log: {kept})"

    def _step(self, name: str, words: str, at: float | None = None) -> None:
        self._steps_s[name] = round((time.monotonic() if at is None else at) - self._began, 2)
        self._say(f"{words} after {self._steps_s[name]:.1f} s")


AnyDemo = TypeVar("AnyDemo", bound=DemoParts)


@contextmanager
def staged(make: Callable[[Path], AnyDemo], homes: Path, say: Say) -> Iterator[tuple[AnyDemo, threading.Event]]:
    """A demo, made for a folder of its own below `homes`, and an event that Ctrl-C and SIGTERM set. After the body its
    processes have ended, and the folder is gone."""
    stopping = threading.Event()
    with signals_set(stopping), demo_home(homes, say) as home:
        demo = make(home)
        try:
            yield demo, stopping
        finally:
            demo.stop()


class BrokerStart:
    """The embedded broker, started in a thread: fetching its jars may take a minute, and can be given up."""

    def __init__(self, broker: EmbeddedBroker, say: Say) -> None:
        self._broker, self._say = broker, say
        self._given_up = threading.Event()
        self._bootstrap: str | None = None
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._thread.start()

    def wait(self, stopping: threading.Event, check: Callable[[], None]) -> str | None:
        """The address once it answers; None when it is time to stop before that. `check` may raise meanwhile."""
        while self._thread.is_alive() and not stopping.is_set():
            self._thread.join(0.05)
            check()
        if self._failure is not None:
            raise self._failure
        return self._bootstrap

    @property
    def pid(self) -> int | None:
        """Of its process, if it runs."""
        return self._broker.status().pid

    def stop(self) -> None:
        """Stop it, whether it runs, starts, or was about to."""
        self._given_up.set()
        while self._thread.is_alive():
            self._broker.stop()  # the process, if there is one already: `start` waits for it
            self._thread.join(0.1)
        self._broker.stop()

    def _run(self) -> None:
        try:
            self._bootstrap = self._broker.start(on_progress=self._progress).bootstrap_servers
        except Exception as failure:
            self._failure = failure

    def _progress(self, words: str) -> None:
        if self._given_up.is_set():
            raise InterruptedError("given up")
        self._say(words)


def pipeline_steps_s(log: Path, began: float) -> dict[str, float]:
    """When each step of the pipeline's start was reached, in seconds after `began` (Unix time), from its log."""
    steps_s: dict[str, float] = {}
    with suppress(OSError), log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.startswith("{"):
                continue
            with suppress(ValueError, KeyError):
                told = json.loads(line)
                first_commit = told["message"] == "committed"
                name = "first_commit" if first_commit else told["step"]
                moment = datetime.fromisoformat(told["time"]).timestamp()
                steps_s.setdefault(f"pipeline_{name}", round(moment - began, 2))
                if first_commit:
                    break
    return steps_s


def settings_of_children(settings: Settings, bootstrap: str, ready_file: Path) -> Settings:
    """The effective settings, but with the embedded broker, the packaged schemas and a Ray of the demo's own: whatever
    is set about a real cluster, a demo must not reach it."""
    from jobs.settings import KafkaSection, RegistrySection

    return settings.model_copy(
        update={
            "kafka": KafkaSection(bootstrap_servers=bootstrap),
            "registry": RegistrySection(),
            "ray": settings.ray.model_copy(update={"address": None}),
            "gateway": settings.gateway.model_copy(update={"ready_file": ready_file}),
        }
    )


def environment_of_children(file: Path) -> dict[str, str | None]:
    """So that this settings file alone counts; None takes a variable away."""
    from jobs.settings import PREFIX

    ours: dict[str, str | None] = {name: None for name in os.environ if name.upper().startswith(PREFIX)}
    return ours | {"RAY_ADDRESS": None, "SIGHTLINE_CONFIG": str(file), "OMP_NUM_THREADS": "1"}


def write_report(path: Path, report: dict[str, Any]) -> None:
    """As JSON, to a file or, for "-", to stdout."""
    if str(path) == "-":
        sys.stdout.write(json_text(report))
    else:
        write_json(path, report)
