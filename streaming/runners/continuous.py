"""The runner for low latency: long-lived workers on Ray, each a member of the pipeline's consumer group.

    driver: keeps so many workers alive, adds up what they say ─► progress
    worker (Ray actor): poll ─► stages ─► one transaction (`streaming.runners.worker`)

A worker that dies is replaced; meanwhile the group gives its partitions to the others, who take its state from the
changelog. Workers come and go while it runs (`scale`). A pipeline that shares state between partitions has one worker.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from streaming.runners.progress import Progress
from streaming.runners.restarts import Restarts

if TYPE_CHECKING:  # a process that waits for its worker loads nothing before it is told what
    from streaming.runners.flow import Clock
    from streaming.runners.worker import Worker

log = logging.getLogger(__name__)

_LOOK_S = 0.25
_REPORT_S = 0.5
_STOP_S = 20.0
_CPUS_PER_WORKER = 0.25  # logical; a worker mostly waits for the log

MakeWorker = Callable[[int, Progress], "Worker"]
"""(number, where it keeps its counters) to a worker. Travels to the worker's process, and is called there; workers of
different numbers have different transactional ids, those of the same number the same one."""


News = tuple[str, tuple[Any, ...], dict[str, Any]]  # a method of `Progress`, and its arguments


class _Told(Progress):
    """Counters of a worker that keep what the driver has not heard yet."""

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self._news: list[News] = []
        self._reasons: dict[str, str] = {}

    def resumed_at(self, *args: Any, **kwargs: Any) -> None:
        self._news.append(("resumed_at", args, kwargs))

    def committed(self, *args: Any, **kwargs: Any) -> None:
        self._news.append(("committed", args, kwargs))

    def waits(self, part: str, reason: str) -> None:
        if self._reasons.get(part, "") != reason:
            self._reasons[part] = reason
            self._news.append(("waits", (part, reason), {}))

    def news(self) -> list[News]:
        """What has been told since the last call: method, arguments."""
        news, self._news = self._news, []
        return news


class _Actor:
    """A process for one worker. Its start takes seconds, most of them imports, and so it may come before the worker."""

    def __init__(self) -> None:
        self._told = _Told(time.time_ns() // 1_000_000)
        self._worker: Worker | None = None
        self._is_stopped = False

    def load(self, load: Callable[[], None]) -> None:
        load()

    def run(self, make: MakeWorker, number: int) -> None:
        self._worker = worker = make(number, self._told)
        if not self._is_stopped:
            worker.run()

    def stop(self) -> None:
        self._is_stopped = True
        if self._worker is not None:
            self._worker.stop()

    def news(self) -> tuple[list[News], frozenset[int]]:
        return self._told.news(), frozenset() if self._worker is None else self._worker.owned


def standby(count: int, load: Callable[[], None]) -> list[Any]:
    """Processes for so many workers, which get ready while the caller prepares what a worker needs.

    Args:
        count: how many.
        load: called there at once; imports what takes long.
    """
    actors = [_started() for _ in range(count)]
    for actor in actors:
        actor.load.remote(load)
    return actors


def _started() -> Any:
    actor: Any = ray.remote(_Actor)
    return actor.options(num_cpus=_CPUS_PER_WORKER, max_concurrency=3).remote()  # it runs, is asked, and is stopped


@dataclass
class _Running:
    """A worker as the driver sees it."""

    number: int
    actor: Any
    run: Any  # reference to the end of its run
    since_s: float = field(default_factory=time.monotonic)
    news: Any = None  # reference to an answer that is awaited
    owned: frozenset[int] = field(default_factory=frozenset)


class ContinuousRunner:
    """Runs one pipeline until `stop`. Ray must be connected; `run` blocks.

    Args:
        make: makes a worker, in its own process.
        workers: how many.
        standby: processes that are there already, for the first of them.
        clock: milliseconds, UTC.
    """

    def __init__(
        self,
        make: MakeWorker,
        workers: int = 1,
        *,
        standby: Sequence[Any] = (),
        clock: Clock = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if workers < 1:
            raise ValueError(f"a runner needs 1 worker or more, not {workers}")
        self._make, self._wanted = make, workers
        self._standby = list(standby)
        self._running: dict[int, _Running] = {}
        self._leaving: list[_Running] = []
        self._restarts = Restarts()
        self._due: dict[int, float] = {}  # number of a worker that died → when its successor starts
        self._stop = threading.Event()
        self.progress = Progress(clock())

    @property
    def owned(self) -> dict[int, frozenset[int]]:
        """The partitions of each worker, as last heard."""
        return {number: running.owned for number, running in sorted(self._running.items())}

    @property
    def actors(self) -> dict[int, Any]:
        """The Ray actor of each worker."""
        return {number: running.actor for number, running in sorted(self._running.items())}

    def stop(self) -> None:
        """Let every worker finish its transaction, and return from `run`. Safe from a signal handler."""
        self._stop.set()

    def scale(self, workers: int) -> None:
        """So many workers from now on; those that are too many finish their transaction and leave."""
        if workers < 1:
            raise ValueError(f"a runner needs 1 worker or more, not {workers}")
        self._wanted = workers

    def run(self) -> None:
        """Keep the workers alive until `stop`.

        Raises:
            Fenced, OffsetsExpired, LogCorrupt, CommitRefused, StateCorrupt, StateLayoutChanged, StateTooLarge: as
                `Worker.run`; whatever a worker cannot get over, the others would meet as well.
        """
        next_report = 0.0
        try:
            while not self._stop.is_set():
                self._staff()
                if runs := [running.run for running in self._everyone()]:
                    ray.wait(runs, num_returns=1, timeout=_LOOK_S)
                else:
                    self._stop.wait(_LOOK_S)  # the successor of the only one is not due yet
                self._bury()
                if time.monotonic() >= next_report:
                    self._listen()
                    next_report = time.monotonic() + _REPORT_S
        finally:
            self._dismiss()

    def _everyone(self) -> list[_Running]:
        return [*self._running.values(), *self._leaving]

    def _staff(self) -> None:
        """Start who is missing, and ask who is too many to leave."""
        for number in range(self._wanted):
            if number not in self._running and time.monotonic() >= self._due.get(number, 0.0):
                actor = self._standby.pop() if self._standby else _started()
                self._running[number] = _Running(number, actor, actor.run.remote(self._make, number))
        for number in [number for number in self._running if number >= self._wanted]:
            running = self._running.pop(number)
            running.actor.stop.remote()
            self._leaving.append(running)

    def _bury(self) -> None:
        """Look who has come to an end, and how."""
        for running in self._everyone():
            if not ray.wait([running.run], timeout=0)[0]:
                continue
            try:
                ray.get(running.run)
            except RayTaskError as failure:
                raise failure.cause from failure
            except RayError as death:
                if self._running.get(running.number) is running:
                    self._plan_successor(running, death)
            if running in self._leaving:
                self._leaving.remove(running)
                ray.kill(running.actor)

    def _plan_successor(self, dead: _Running, death: RayError) -> None:
        now_s = time.monotonic()
        self._due[dead.number] = now_s + self._restarts.pause_s(dead.number, now_s - dead.since_s)
        del self._running[dead.number]
        log.warning("worker %d died (%s) and is replaced", dead.number, str(death).splitlines()[0])

    def _listen(self) -> None:
        """Take in what the workers have told, and ask again; nobody is waited for."""
        for running in self._running.values():
            if running.news is not None and ray.wait([running.news], timeout=0)[0]:
                self._take_in(running)
            if running.news is None:
                running.news = running.actor.news.remote()

    def _take_in(self, running: _Running) -> None:
        try:
            news, owned = ray.get(running.news)
        except RayError:
            return  # it died; `_bury` hears of it as well
        finally:
            running.news = None
        if owned != running.owned:
            running.owned = owned
            log.info("worker %d reads the partitions %s", running.number, sorted(owned))
        for method, args, kwargs in news:
            if method == "waits":
                if args[1]:
                    log.warning("worker %d waits: %s", running.number, args[1])
                args = (f"worker {running.number}: {args[0]}", args[1])
            getattr(self.progress, method)(*args, **kwargs)

    def _dismiss(self) -> None:
        """All leave; whoever does not within the time is ended, which loses nothing that was committed."""
        everyone = self._everyone()
        for running in everyone:
            running.actor.stop.remote()
        runs = [running.run for running in everyone]
        if runs:
            ray.wait(runs, num_returns=len(runs), timeout=_STOP_S)
        for running in everyone:
            running.news = running.actor.news.remote()
        if everyone:
            ray.wait([running.news for running in everyone], num_returns=len(everyone), timeout=2.0)
        for running in everyone:
            if ray.wait([running.news], timeout=0)[0]:
                self._take_in(running)
            ray.kill(running.actor)
        self._running.clear()
        self._leaving.clear()
