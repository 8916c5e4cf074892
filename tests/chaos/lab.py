"""One experiment: a counting pipeline under load on a real broker and real Ray, with what it takes to break things."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import ray

from streaming.counting import CountingStage
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.settings import KafkaSettings
from streaming.ports import free_ports
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.micro_batch import MicroBatchRunner
from streaming.transport import TransportUnavailable
from tests.chaos import faults
from tests.chaos.proxy import Proxy
from tests.counting import (
    AT_LEAST_ONCE,
    EXACTLY_ONCE,
    OnKafka,
    Run,
    Stream,
    continuous,
    micro_batch,
    running,
)
from tests.delivery import Verdict
from tests.waiting import PATIENCE_S

CONTINUOUS, MICRO_BATCH = "continuous", "micro_batch"
BOTH = (CONTINUOUS, MICRO_BATCH)
DELIVERIES = (EXACTLY_ONCE, AT_LEAST_ONCE)

ray.cloudpickle.register_pickle_by_value(faults)  # type: ignore[no-untyped-call]  # untyped in Ray

_PIECE = 50  # records that the feed writes at once
_PROXIED = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port},PROXIED://127.0.0.1:{own}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
"""


class LabBroker(EmbeddedBroker):
    """A broker with a second way in that leads through a proxy."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.proxy = Proxy()
        (self.proxy.target,) = free_ports(1)

    def properties(self, port: int, controller_port: int) -> str:
        ports = {"port": port, "controller_port": controller_port, "own": self.proxy.target, "proxy": self.proxy.port}
        return super().properties(port, controller_port) + _PROXIED.format(**ports)

    @property
    def settings(self) -> KafkaSettings:
        address = self.status().bootstrap_servers
        assert address is not None
        return KafkaSettings(address)

    @property
    def proxied(self) -> KafkaSettings:
        return KafkaSettings(f"127.0.0.1:{self.proxy.port}")

    @property
    def process(self) -> psutil.Process:
        pid = self.status().pid
        assert pid is not None, "the broker is gone"
        return psutil.Process(pid)


@dataclass(frozen=True)
class Plan:
    """All that an experiment in another process needs to know of this one."""

    runner: str
    kafka: str
    prefix: str
    folder: str
    seed: int
    delivery: str

    @property
    def switches(self) -> faults.Switches:
        return faults.Switches(Path(self.folder) / "switches")

    @property
    def pids(self) -> Path:
        return Path(self.folder) / "pids"

    def stream(self) -> Stream:
        self.pids.mkdir(parents=True, exist_ok=True)
        at_least_once = self.delivery == AT_LEAST_ONCE
        return Stream(
            OnKafka(KafkaSettings(self.kafka), self.delivery),
            self.prefix,
            CountingStage(faults.Model(self.switches, self.seed), drops_repeats=at_least_once),
            [faults.NoteProcess(self.pids)],
            registry=faults.Registry(self.switches),
            repeats_allowed=at_least_once,
        )

    def make(
        self, stream: Stream, log: OnKafka | None = None, workers: int = 1, **config: Any
    ) -> ContinuousRunner | MicroBatchRunner:
        clock = faults.SkewedClock(self.switches)
        if self.runner == CONTINUOUS:
            return continuous(stream, workers, log=log, clock=clock, max_commit_records=50)
        return micro_batch(stream, log=log, clock=clock, **{"epoch_s": 300.0, "read_tasks": workers, **config})


class Lab:
    """One scenario's tools.

    Args:
        broker: started.
        runner: `CONTINUOUS` or `MICRO_BATCH`.
        seed: of all that is left to chance here; what the machine adds is not.
        folder: for switches and logs.
        long: more rounds and more records.
        delivery: one of `DELIVERIES`.
    """

    def __init__(
        self, broker: LabBroker, runner: str, seed: int, folder: Path, *, long: bool, delivery: str = EXACTLY_ONCE
    ) -> None:
        self.broker, self.runner, self.long = broker, runner, long
        self.random = random.Random(seed)
        prefix = f"lab-{uuid.uuid4().hex[:10]}"
        self.plan = Plan(runner, broker.settings.bootstrap_servers, prefix, str(folder / prefix), seed, delivery)
        self.switches = self.plan.switches
        self.stream = self.plan.stream()
        self.injected: list[str] = []
        self.verdict: Callable[[], Verdict] = self.stream.verdict
        self._source = self.stream.source()
        self._drivers: list[Driver] = []
        self._logs: list[OnKafka] = []

    def pick(self, short: int, long: int) -> int:
        return long if self.long else short

    def inject(self, fault: str) -> None:
        """Note what is about to be done."""
        self.injected.append(fault)

    @contextmanager
    def running(self, log: OnKafka | None = None, **config: Any) -> Iterator[Run]:
        """The runner in this process; it has answered all by the end of the `with`, and ends without failure."""
        with running(self.plan.make(self.stream, log, **config)) as run:
            yield run
            run.wait_for(self.caught_up, pause_s=0.1)

    @contextmanager
    def load(self, records: int, over_s: float = 2.0) -> Iterator[None]:
        """The feed writes meanwhile; all is on the log by the end of the `with`."""
        failure: list[BaseException] = []

        def feed() -> None:
            try:
                for piece in _pieces(records):
                    self.stream.feed(piece)
                    time.sleep(over_s * piece / records)
            except BaseException as broken:
                failure.append(broken)

        thread = threading.Thread(target=feed, name="feed")
        thread.start()
        try:
            yield
        finally:
            thread.join()
        if failure:
            raise failure[0]

    def caught_up(self) -> bool:
        """Whether all that is on the log is answered."""
        try:
            return dict(self._source.committed()) == dict(self._source.end_offsets())
        except TransportUnavailable:
            return False

    def committed(self) -> int:
        """Records, over all partitions; those of now, or later."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return sum(self._source.committed().values())
            except TransportUnavailable:
                assert time.monotonic() < deadline, "the broker does not come back"

    def some_more(self, records: int = 1) -> Callable[[], bool]:
        """Whether so many have been answered since this call."""
        before = self.committed()
        return lambda: self.committed() >= before + records

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it is stuck"
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """Those that have read for this pipeline, and live."""
        numbers = sorted(int(path.name) for path in self.plan.pids.iterdir())
        return [psutil.Process(pid) for pid in numbers if psutil.pid_exists(pid)]

    def kill(self, process: psutil.Process, what: str) -> None:
        self.inject(f"kill -9 {what}")
        process.kill()
        (self.plan.pids / str(process.pid)).unlink(missing_ok=True)

    def driver(self, **options: Any) -> Driver:
        """The runner in a process of its own."""
        self._drivers.append(Driver(self.plan, len(self._drivers), **options))
        return self._drivers[-1]

    def ask(self, before: Callable[[pl.DataFrame], None]) -> None:
        """Let the stage ask this before it answers."""
        self.stream.pipeline = replace(self.stream.pipeline, stages=(CountingStage(before),))

    def over_proxy(self) -> OnKafka:
        """The same topics, reached through the proxy."""
        self._logs.append(OnKafka(self.broker.proxied, self.plan.delivery))
        return self._logs[-1]

    def reconnect(self) -> None:
        """Let the feed and the questions about offsets see the topics anew."""
        self.close()
        self.stream.log = OnKafka(self.broker.settings, self.plan.delivery)
        self._source = self.stream.source()

    def judge_as(self, inputs: pl.DataFrame, *, whole: bool) -> None:
        """Let these be the inputs, where the log no longer has them all."""
        self.verdict = lambda: self.stream.verdict(inputs, whole=whole)

    def close(self) -> None:
        for driver in self._drivers:
            driver.kill()
        self._source.close()
        assert isinstance(self.stream.log, OnKafka)
        for log in (self.stream.log, *self._logs):
            log.close()


class Driver:
    """`tests/chaos/driver.py`: a runner's driver that can be killed."""

    def __init__(self, plan: Plan, number: int, **options: Any) -> None:
        address = ray.get_runtime_context().gcs_address
        spec = {"plan": vars(plan) | {}, "ray": address, **options}
        self.log = Path(plan.folder) / f"driver-{number}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("driver.py")), json.dumps(spec)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                start_new_session=True,
            )

    def require_alive(self) -> bool:
        assert self.process.poll() is None, f"the driver ended: {self.log.read_text()[-2_000:]}"
        return True

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self.require_alive()
            assert time.monotonic() < deadline, "it is stuck"
            time.sleep(0.05)

    def end(self) -> None:
        """Wait for its end, which must be clean."""
        code = self.process.wait(PATIENCE_S)
        assert code == 0, f"exit code {code}: {self.log.read_text()[-2_000:]}"

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.end()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _pieces(records: int) -> Sequence[int]:
    return [min(_PIECE, records - at) for at in range(0, records, _PIECE)]
