"""The default runner: Ray Data reads, decodes and transforms on the cluster; the driver answers in partition order.

    epoch thread(s) ─► inbox ─► release in order ─► stages (Flow) ─► committer thread ─► planner hears of it
         Ray Data                 driver thread                        one transaction

About once a second partitions that are quiet (`ticking`) take the way from the stages on.
Exactly once: a commit holds answers, dead letters, state and offsets; a crash before it leaves nothing visible, and a
restart goes on from the last one. The commit of one batch overlaps the stages of the next.
"""

from __future__ import annotations

import gc
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from streaming.changelog import Lanes
from streaming.codec import SchemaRegistry
from streaming.pipeline import DependencyUnavailable, Pipeline
from streaming.records import Records
from streaming.runners.account import account
from streaming.runners.batch import Batch
from streaming.runners.epoch import EpochSource, Preprocess, ReadLimits, batches, cause_of
from streaming.runners.flow import Clock, Commit, Flow, reread
from streaming.runners.order import ReleaseOrder
from streaming.runners.planner import Planner
from streaming.runners.preprocess import source_decoder
from streaming.runners.progress import Progress
from streaming.runners.ticking import Ticker
from streaming.state import StateLimits
from streaming.transport import Fenced, Sink, Source, TransportUnavailable

log = logging.getLogger(__name__)

_STOP_S = 15.0
_RETRY_S = 1.0


@dataclass(frozen=True)
class MicroBatchConfig:
    """How the stream is cut, and how much may be under way."""

    epoch_s: float = 120.0  # one Ray Data execution lasts this long; Ray keeps 1.5 KB a batch until its end
    read_tasks: int = 1  # of a pipeline that shares state between partitions always one
    cpus_per_task: float = 0.25  # logical; a read task mostly waits
    limits: ReadLimits = field(default_factory=ReadLimits)
    max_commit_records: int = 5_000  # more than this is not gathered into one transaction
    max_unanswered_records: int = 50_000  # read but not committed: bounds memory
    state: StateLimits = field(default_factory=StateLimits)


class MicroBatchRunner:
    """Runs one pipeline until `stop`. Ray must be connected; `run` blocks and belongs on the main thread."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        sink: Sink,
        registry: SchemaRegistry,
        *,
        changelog: Callable[[], Lanes],
        config: MicroBatchConfig | None = None,
        clock: Clock = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pipeline = pipeline
        self._source = source
        self._sink = sink
        self._config = config or MicroBatchConfig()
        self._clock = clock
        self._changelog = changelog
        self._decoder = source_decoder(pipeline, registry)
        self.progress = Progress(clock())
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._inbox: queue.Queue[Batch | _EpochEnd] = queue.Queue()
        self._to_commit: queue.Queue[Commit | None] = queue.Queue(maxsize=1)
        self._flow = Flow(
            pipeline,
            registry,
            clock=clock,
            reread=self._reread,
            on_wait=lambda reason: self.progress.waits("stages", reason),
            keep_waiting=lambda: not self._is_over,
            limits=self._config.state,
        )

    def stop(self) -> None:
        """Finish the transaction under way and return from `run`. Safe from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Restore, then read, answer and commit until `stop`.

        Raises:
            Fenced: another instance of this pipeline took over.
            OffsetsExpired: records were deleted before they were read.
            LogCorrupt: records cannot be read; all before them are answered.
            CommitRefused: Kafka takes no answers, or not these.
            StateCorrupt, StateLayoutChanged: the changelog cannot be taken over.
            StateTooLarge: a stage keeps more than it may.
        """
        try:
            start = self._connect()
        except BaseException:
            self._sink.close()
            raise
        if start is None:
            self._sink.close()
            return
        order = ReleaseOrder(start)
        # Beside the driver: Ray would put it anywhere, and another node that dies would take the plan with it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        remote: Any = ray.remote(num_cpus=0)(Planner)
        planner = remote.options(scheduling_strategy=here).remote(start, self._config.max_unanswered_records)
        committer = threading.Thread(target=self._commit_all, args=(planner,), name="committer", daemon=True)
        committer.start()
        # Only one reader has the partitions in the order of their time, which stages that gather from several rely on.
        tasks = 1 if self._pipeline.shared else max(1, min(self._config.read_tasks, len(start)))
        read = self._new_epoch(planner, sorted(start), tasks)
        epochs = _Epochs(read, planner, self._inbox, self._config.epoch_s, tasks)
        ticker = Ticker(self._pipeline, self._source, self._clock)
        try:
            epochs.begin()
            troubles = _Troubles(planner, self.progress)
            garbage = _Garbage()
            while not self._is_over:
                gathered = self._gather(order, epochs)
                troubles.look()
                if gathered:
                    self._to_commit.put(self._flow.process(gathered))
                    garbage.collect()
                tick = ticker.due(order.positions)
                if tick is not None and (commit := self._flow.tick(tick)) is not None:
                    self._to_commit.put(commit)
        except DependencyUnavailable:
            if not self._is_over:
                raise
        finally:
            self._finish(committer, epochs, planner)
            ticker.close()
        # What a stop left uncommitted because the log was away is read again at the next start.
        if self._failure is not None and not isinstance(self._failure, TransportUnavailable):
            raise self._failure

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is to be begun, nor waited for."""
        return self._stop.is_set() or self._failure is not None

    def _connect(self) -> dict[int, int] | None:
        """Fence older instances, restore the state, and say where to read on. Waits while the log is away; None when
        it was stopped before."""
        while not self._stop.is_set():
            try:
                self._sink.open()
                keys = self._flow.restore(self._changelog())
                start = dict(self._source.committed())
                self.progress.resumed_at(start)
                self.progress.waits("start", "")
                log.info("pipeline %s: %d keys of state, reading on from %s", self._pipeline.name, keys, start)
                return start
            except TransportUnavailable as away:
                self.progress.waits("start", str(away))
                log.warning("pipeline %s waits to start: %s", self._pipeline.name, away)
                self._stop.wait(_RETRY_S)
        return None

    def _new_epoch(self, planner: Any, partitions: Sequence[int], tasks: int) -> Callable[[int], Iterable[Batch]]:
        assignment = [tuple(partitions[task::tasks]) for task in range(tasks)]

        def read(epoch: int) -> Iterable[Batch]:
            source = EpochSource(self._source, planner, epoch, assignment, self._config.limits)
            preprocess = Preprocess(self._decoder, self._pipeline.transforms, planner, self._pipeline.shedding)
            return batches(source, preprocess, tasks, self._config.cpus_per_task)

        return read

    def _gather(self, order: ReleaseOrder, epochs: _Epochs) -> list[Batch]:
        """All batches that have come and are in order, up to the size of one commit; waits a little for the first."""
        gathered: list[Batch] = []
        records = 0
        while records < self._config.max_commit_records:
            try:
                item = self._inbox.get(timeout=0.0 if gathered else 0.25)
            except queue.Empty:
                break
            if isinstance(item, _EpochEnd):
                self._failure = self._failure or epochs.ended(item)
                if self._failure is not None:
                    return gathered  # what it read before it broke is answered all the same
                continue
            for batch in order.push(item):
                gathered.append(batch)
                records += batch.records
        epochs.turn_over()
        return gathered

    def _commit_all(self, planner: Any) -> None:
        """The committer thread: one commit after another, each tried until it is visible or someone else took over."""
        untold, often = 0, self._config.max_unanswered_records // 10
        while (commit := self._to_commit.get()) is not None:
            try:
                self._commit(commit)
            except BaseException as failure:
                self._failure = self._failure or failure
                while self._to_commit.get() is not None:
                    pass  # let the driver thread go on to its end
                return
            untold += commit.records
            if untold >= often:  # not every time: a call costs 2 ms, and nine tenths of the room are enough
                planner.commit.remote(untold)
                untold = 0

    def _commit(self, commit: Commit) -> None:
        began = time.perf_counter()
        while True:
            try:
                self._sink.commit(
                    answers=commit.answers,
                    dead_letters=commit.dead_letters,
                    state=commit.state,
                    offsets=commit.offsets,
                )
                break
            except TransportUnavailable as away:
                if self._stop.is_set():
                    raise
                self.progress.waits("commit", str(away))
                time.sleep(0.5)
        self.progress.waits("commit", "")
        account(self._pipeline, self.progress, commit, (time.perf_counter() - began) * 1e3, self._clock())

    def _finish(self, committer: threading.Thread, epochs: _Epochs, planner: Any) -> None:
        """What was answered is committed; what was only read stays on the log for the next start."""
        self._stop.set()  # a commit that waits for the log gives up: its records are read again
        self._to_commit.put(None)
        committer.join(_STOP_S)
        epochs.close()
        ray.kill(planner)
        if not isinstance(self._failure, Fenced):
            self._sink.close()

    def _reread(self, partition: int, offsets: Sequence[int]) -> Records:
        reader = self._source.open({partition: offsets[0]})
        try:
            return reread(reader.read, partition, offsets)
        finally:
            reader.close()


class _Garbage:
    """Looks for cycles of objects in time, and without looking at the million objects of modules.

    Python looks for them among old objects only when these have grown by a quarter: the few dozen that every batch
    leaves behind would pile up to some twenty megabytes before, and the search then holds everything up. So what is
    there by the first commit is taken out of the search, which then takes milliseconds, and is made every few seconds.
    """

    _PERIOD_S = 5.0

    def __init__(self) -> None:
        self._due_at: float | None = None

    def collect(self) -> None:
        now = time.monotonic()
        if self._due_at is None:
            gc.freeze()
        elif now < self._due_at:
            return
        gc.collect()
        log.debug("looked for garbage in %.1f ms", (time.monotonic() - now) * 1e3)
        self._due_at = now + self._PERIOD_S


@dataclass(frozen=True)
class _EpochEnd:
    """All batches of an epoch are in the inbox; or the epoch broke."""

    epoch: int
    failure: BaseException | None = None


class _Troubles:
    """What the read tasks wait for, asked of the planner now and then without waiting for the answer."""

    _PERIOD_S = 1.0

    def __init__(self, planner: Any, progress: Progress) -> None:
        self._planner, self._progress = planner, progress
        self._asked: Any = planner.troubles.remote()
        self._next = 0.0

    def look(self) -> None:
        now = time.monotonic()
        if now < self._next or not ray.wait([self._asked], timeout=0)[0]:
            return
        self._progress.waits("read", "; ".join(ray.get(self._asked)))
        self._asked = self._planner.troubles.remote()
        self._next = now + self._PERIOD_S


class _Epochs:
    """One Ray Data execution after another. One is closed when its time is over and all tasks of the next have come to
    wait for that; on a busy cluster they take long, and nobody would read meanwhile."""

    _WARM_UP_S = 3.0
    _OVERDUE_S = 60.0  # a cluster without room for both gets it then

    def __init__(
        self,
        read: Callable[[int], Iterable[Batch]],
        planner: Any,
        inbox: queue.Queue[Batch | _EpochEnd],
        epoch_s: float,
        tasks: int,
    ) -> None:
        self._read, self._planner, self._inbox, self._epoch_s = read, planner, inbox, epoch_s
        self._tasks = tasks
        self._threads: dict[int, threading.Thread] = {}
        self._current = 0
        self._next_started = False
        self._closes_at = 0.0

    def begin(self) -> None:
        self._start(0)
        self._closes_at = time.monotonic() + self._epoch_s

    def turn_over(self) -> None:
        """Start the next epoch a little ahead, and close the current one on time."""
        now = time.monotonic()
        if not self._next_started and now >= self._closes_at - self._WARM_UP_S:
            self._start(self._current + 1)
            self._next_started = True
        if now >= self._closes_at and (self._next_has_come() or now >= self._closes_at + self._OVERDUE_S):
            ray.get(self._planner.close.remote(self._current))
            self._current += 1
            self._next_started = False
            self._closes_at = now + self._epoch_s

    def _next_has_come(self) -> bool:
        return int(ray.get(self._planner.come.remote(self._current + 1))) >= self._tasks

    def ended(self, end: _EpochEnd) -> BaseException | None:
        """An epoch's execution is over; returns why the run is, too, if that was not planned."""
        self._threads.pop(end.epoch).join()
        if end.failure is not None:
            return end.failure
        if end.epoch >= self._current:
            return RuntimeError(f"epoch {end.epoch} ended before it was closed")
        self._planner.forget.remote(end.epoch)
        return None

    def close(self) -> None:
        """Close all epochs and wait for their threads; what they still hand over is dropped."""
        for epoch in list(self._threads):
            self._planner.close.remote(epoch)
        deadline = time.monotonic() + _STOP_S
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self, epoch: int) -> None:
        thread = threading.Thread(target=self._run, args=(epoch,), name=f"epoch-{epoch}", daemon=True)
        self._threads[epoch] = thread
        thread.start()

    def _run(self, epoch: int) -> None:
        failure: BaseException | None = None
        try:
            for batch in self._read(epoch):
                self._inbox.put(batch)
        except BaseException as broken:
            failure = cause_of(broken)
        self._inbox.put(_EpochEnd(epoch, failure))
