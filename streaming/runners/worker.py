"""One worker of the continuous runner: a member of the consumer group that reads, answers and commits in one loop.

    poll ─► partitions given away are forgotten, those taken restored from their changelog
         ─► decode, transforms ─► stages (Flow) ─► one transaction, with the member's identity

Nothing is under way while the group moves partitions, for that happens within `poll`: what was read is committed by
then, or was not looked at. When the outcome of anything is in doubt (the log was away, the group took this worker for
dead), it begins anew from what is committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from streaming.codec import SchemaRegistry
from streaming.pipeline import DependencyUnavailable, Pipeline
from streaming.records import Records
from streaming.runners.account import account
from streaming.runners.flow import Clock, Flow, reread
from streaming.runners.preprocess import collect, preprocess, shed, source_decoder
from streaming.runners.progress import Progress
from streaming.transport import Fetched, GroupSource, Member, NoLongerOwned, Sink, TransportUnavailable

log = logging.getLogger(__name__)

_RETRY_S = 0.5


@dataclass(frozen=True)
class WorkerConfig:
    """How the stream is cut."""

    max_commit_records: int = 5_000
    idle_poll_s: float = 0.25


@dataclass(frozen=True)
class _Membership:
    """From joining the group to leaving it: the state here is that of the partitions owned."""

    member: Member
    flow: Flow
    owned: set[int] = field(default_factory=set)


class Worker:
    """Answers the partitions that the group gives it, until `stop`.

    Args:
        pipeline: what to do.
        source: whose group to join.
        sink: its own, with a transactional id that no other worker has.
        registry: of schemas.
        changelog: (partition) to what the state's changelog holds of it, and maybe of others.
        config: how the stream is cut.
        progress: where its counters are kept.
        clock: milliseconds, UTC.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: GroupSource,
        sink: Sink,
        registry: SchemaRegistry,
        *,
        changelog: Callable[[int], Iterable[Records]],
        config: WorkerConfig | None = None,
        progress: Progress | None = None,
        clock: Clock = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pipeline, self._source, self._sink, self._registry = pipeline, source, sink, registry
        self._changelog, self._config, self._clock = changelog, config or WorkerConfig(), clock
        self._decoder = source_decoder(pipeline, registry)
        self._stop = threading.Event()
        self._membership: _Membership | None = None
        self.progress = progress or Progress(clock())

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that it answers now."""
        return frozenset() if self._membership is None else frozenset(self._membership.owned)

    def stop(self) -> None:
        """Finish the transaction under way, leave the group, and return from `run`."""
        self._stop.set()

    def run(self) -> None:
        """Join, restore, read, answer and commit until `stop`.

        Raises:
            Fenced: another worker has this one's transactional id.
            OffsetsExpired: records were deleted before they were read.
            LogCorrupt: records cannot be read; all before them are answered.
            CommitRefused: the log takes no answers, or not these.
            StateLayoutChanged: the changelog is of another layout.
        """
        try:
            while not self._stop.is_set():
                if not self.step():
                    self._stop.wait(_RETRY_S)
        except DependencyUnavailable:
            if not self._stop.is_set():
                raise
        finally:
            self.leave()

    def step(self) -> bool:
        """Take what comes next, wherever this worker stands; False if that is in doubt, and it will begin anew."""
        try:
            if self._membership is None:
                self._membership = self._begin()
            self._turn(self._membership)
        except (TransportUnavailable, NoLongerOwned) as doubt:
            self.leave()
            self.progress.waits("log", str(doubt))
            log.warning("pipeline %s begins anew: %s", self._pipeline.name, doubt)
            return False
        return True

    def leave(self) -> None:
        """Leave the group; what was not committed is as if it had never been read."""
        if self._membership is not None:
            self._membership.member.close()
            self._sink.close()
            self._membership = None

    def _begin(self) -> _Membership:
        self._sink.open()
        member = self._source.join()
        flow = Flow(
            self._pipeline,
            self._registry,
            clock=self._clock,
            reread=partial(reread, member.read),
            on_wait=lambda reason: self.progress.waits("stages", reason),
            keep_waiting=lambda: not self._stop.is_set(),
        )
        return _Membership(member, flow)

    def _turn(self, membership: _Membership) -> None:
        fetched = collect(membership.member.poll, self._config.idle_poll_s, self._config.max_commit_records)
        self._move(membership)
        mine = [part for part in fetched if part.range.partition in membership.owned]
        if mine:
            self._answer(membership, mine)

    def _move(self, membership: _Membership) -> None:
        member, flow = membership.member, membership.flow
        given, taken = member.moved()
        for partition in given:
            flow.forget(partition)
            membership.owned.discard(partition)
        for partition in taken:
            start = member.begin(partition)
            keys = flow.restore(self._changelog(partition), only=partition)
            membership.owned.add(partition)
            self.progress.resumed_at({partition: start})
            log.info("pipeline %s: partition %d from %d, %d keys", self._pipeline.name, partition, start, keys)
        self.progress.waits("log", "")

    def _answer(self, membership: _Membership, fetched: Sequence[Fetched]) -> None:
        kept, passed_over = shed(fetched, self._pipeline.shedding, self._clock())
        batch = preprocess(kept, self._decoder, self._pipeline.transforms, self._report, passed_over)
        commit = membership.flow.process([batch])
        began = time.perf_counter()
        self._sink.commit(
            answers=commit.answers,
            dead_letters=commit.dead_letters,
            state=commit.state,
            offsets=commit.offsets,
            member=membership.member.identity(),
        )
        account(self._pipeline, self.progress, commit, (time.perf_counter() - began) * 1e3, self._clock())

    def _report(self, trouble: str) -> None:
        self.progress.waits("read", trouble)
