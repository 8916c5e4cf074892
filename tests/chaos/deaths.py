"""Processes that die, stop, or are there twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from kafka.errors import NoOffsetForPartitionError

from streaming.kafka.clients import open_member
from streaming.kafka.member import LONGEST_PAUSE_S, SESSION_S
from streaming.runners import micro_batch
from streaming.runners.batch import Batch
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.epoch import batches
from streaming.transport import Fenced
from tests.chaos.lab import BOTH, CONTINUOUS, DELIVERIES, MICRO_BATCH, Lab
from tests.chaos.scenario import scenario
from tests.counting import Run
from tests.waiting import PATIENCE_S


@scenario(*BOTH, deliveries=DELIVERIES)
def worker_killed(lab: Lab) -> None:
    """kill -9 of a worker, or of the process of a read task, under load; the last time of the only one there is."""
    rounds = lab.pick(2, 12)
    with lab.running(workers=2) as run:
        for number in range(rounds):
            if number == rounds - 1 and isinstance(run.runner, ContinuousRunner):
                run.runner.scale(1)
                run.wait_for(lambda: len(lab.processes()) <= 1)
            with lab.load(lab.pick(400, 2_000)):
                run.wait_for(lab.some_more(50))
                victim = lab.random.choice(lab.processes())
                lab.kill(victim, "worker")
            run.wait_for(lab.caught_up, pause_s=0.1)
            assert victim.pid not in {process.pid for process in lab.processes()}, "who was killed has answered"


@scenario(*BOTH, deliveries=DELIVERIES)
def driver_killed(lab: Lab) -> None:
    """kill -9 of the driver in mid-stream, and a new one at once: what the old one left running must not harm."""
    for _ in range(lab.pick(1, 8)):
        driver = lab.driver()
        with lab.load(lab.pick(500, 2_000), over_s=8.0):
            driver.wait_for(lab.some_more(100))
            lab.inject("kill -9 driver")
            driver.kill()
    _end_with_another_driver(lab)


def _end_with_another_driver(lab: Lab) -> None:
    last = lab.driver()
    lab.stream.feed(50)  # those before it may have answered all else: it has to have run before it is ended
    last.wait_for(lab.caught_up)
    last.terminate()


@scenario(*BOTH)
def two_drivers(lab: Lab) -> None:
    """A second driver started by mistake: it takes over, and the first says that it was fenced."""
    first = Run(lab.plan.make(lab.stream))
    try:
        lab.stream.feed(200)
        first.wait_for(lab.caught_up, pause_s=0.1)
        lab.inject("second driver")
        with lab.running() as second:
            while first.failure is None:
                more = lab.some_more()  # than before the feed, whoever is how fast
                lab.stream.feed(50)
                second.wait_for(more)
            assert isinstance(first.failure, Fenced), repr(first.failure)
            first.join()
            lab.stream.feed(200)
    finally:
        first.stop()


@scenario(*BOTH, deliveries=DELIVERIES)
def broker_killed(lab: Lab) -> None:
    """kill -9 of the broker under load, and a restart."""
    with lab.running() as run:
        for _ in range(lab.pick(1, 6)):
            with lab.load(lab.pick(1_000, 4_000), over_s=4.0):
                run.wait_for(lab.some_more(100))
                lab.inject("kill -9 broker")
                lab.broker.process.kill()
                lab.wait_for(lambda: not lab.broker.status().running)
                lab.broker.start(timeout_s=PATIENCE_S)
            run.wait_for(lab.caught_up, pause_s=0.1)


@scenario(*BOTH)
def broker_paused(lab: Lab) -> None:
    """The broker stops (SIGSTOP) for 10 s, 20 s in the long form, and goes on."""
    pause_s = lab.pick(10, 20)
    with lab.running() as run, lab.load(lab.pick(1_000, 4_000), over_s=4.0):
        run.wait_for(lab.some_more(100))
        lab.inject(f"broker stopped {pause_s} s")
        pid = lab.broker.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(pause_s)
        finally:
            os.kill(pid, signal.SIGCONT)


@scenario(CONTINUOUS)
def workers_come_and_go(lab: Lab) -> None:
    """The number of workers changes under load, each time to another one."""
    workers = 2
    with lab.running(workers=workers) as run:
        runner = run.runner
        assert isinstance(runner, ContinuousRunner)
        for _ in range(lab.pick(6, 50)):
            with lab.load(100, over_s=0.5):
                workers = lab.random.choice([n for n in (1, 2, 3, 4) if n != workers])
                lab.inject("scaled")
                runner.scale(workers)
                want = sorted(4 // workers + (n < 4 % workers) for n in range(workers))
                run.wait_for(lambda want=want: sorted(map(len, runner.owned.values())) == want)  # type: ignore[misc]


@scenario(CONTINUOUS)
def rebalance_storm(lab: Lab) -> None:
    """Foreign members join the pipeline's group and leave it, under load: partitions are taken away and come back."""
    topic = lab.stream.pipeline.source.name
    with lab.running(workers=2), lab.load(lab.pick(1_000, 5_000), over_s=lab.pick(6, 60)):
        for _ in range(lab.pick(4, 40)):
            lab.inject("foreign member")
            foreign = open_member(lab.broker.settings, lab.stream.prefix, SESSION_S, LONGEST_PAUSE_S)
            foreign.subscribe([topic])
            until = time.monotonic() + lab.random.uniform(0.5, 2.0)
            while time.monotonic() < until:
                with suppress(NoOffsetForPartitionError):  # nothing is committed there yet
                    foreign.poll(timeout_ms=100)
            foreign.close()


@scenario(*BOTH, deliveries=DELIVERIES)
def sigterm_in_commit(lab: Lab) -> None:
    """SIGTERM to the driver some milliseconds after one of its commits began: it ends cleanly, and another goes on."""
    for _ in range(lab.pick(2, 15)):
        driver = lab.driver(terminate=(lab.random.randint(2, 6), lab.random.uniform(0.0, 0.01)))
        with lab.load(500, over_s=4.0):
            lab.inject("SIGTERM")
            driver.end()
    _end_with_another_driver(lab)


@scenario(*BOTH)
def disk_full(lab: Lab) -> None:
    """The broker may not make the feed's files any larger (RLIMIT_FSIZE), and dies of it; with room again it is started
    anew."""
    with lab.running() as run, lab.load(lab.pick(2_000, 8_000), over_s=4.0):
        run.wait_for(lab.some_more(200))
        process = lab.broker.process
        _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
        feed = Path(lab.broker.status().home, "data").glob(f"{lab.stream.pipeline.source.name}-*/*.log")
        lab.inject("disk full")
        process.rlimit(psutil.RLIMIT_FSIZE, (max(log.stat().st_size for log in feed) + 1, hard))
        lab.wait_for(lambda: not lab.broker.status().running)
        lab.broker.start(timeout_s=PATIENCE_S)


@scenario(MICRO_BATCH)
def epochs_turn_over(lab: Lab) -> None:
    """One Ray Data execution after another under load, two read tasks each, and one of these is killed."""
    begun: list[int] = []

    def spied(*arguments: Any) -> Iterator[Batch]:
        begun.append(len(begun))
        return batches(*arguments)

    with mock.patch.object(micro_batch, "batches", spied), lab.running(epoch_s=1.0, workers=2) as run:
        while len(begun) < lab.pick(5, 30):
            more = lab.some_more()
            lab.stream.feed(60)
            run.wait_for(more)
            if len(begun) == 2 and not lab.injected:
                lab.kill(lab.random.choice(lab.processes()), "read task")
        lab.inject(f"{len(begun)} epochs")
