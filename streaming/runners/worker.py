"""One worker of the continuous runner: a member of the consumer group that reads, answers and commits in one loop.

    poll ─► partitions given away are forgotten, those taken restored from their changelog
         ─► decode, transforms ─► stages (Flow) ─► one transaction, with the member's identity
         ─► about once a second: partitions that are quiet (`ticking`) ─► the same

While a large transaction is under way, the next records are read and answered; theirs begins when that one has ended.
Before the group moves partitions, which happens within `poll`, it is waited for, so that nothing is under way then.
When the outcome of anything is in doubt (the log was away, the group took this worker for dead), it begins anew from
what is committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from streaming.changelog import Lanes
from streaming.codec import SchemaRegistry
from streaming.pipeline import DependencyUnavailable, Pipeline
from streaming.runners.account import account
from streaming.runners.flow import Clock, Commit, Flow, reread
from streaming.runners.preprocess import collect, preprocess, shed, source_decoder
from streaming.runners.progress import Progress
from streaming.runners.ticking import Ticker
from streaming.state import SHARED, StateLimits
from streaming.transport import Fetched, GroupSource, Member, NoLongerOwned, Sink, TransportUnavailable

log = logging.getLogger(__name__)

_RETRY_S = 0.5


@dataclass(frozen=True)
class WorkerConfig:
    """How the stream is cut."""

    max_commit_records: int = 5_000
    idle_poll_s: float = 0.25
    overlap_records: int = 500
    """The commit of so many, or more, goes on while the next are answered. That of fewer is waited for: the two would
    only slow each other down (one interpreter; at 500 records/s 47 ms at the median, not 34). A worker that falls
    behind has more to commit at once, and so overlaps."""
    state: StateLimits = field(default_factory=StateLimits)


@dataclass(frozen=True)
class _Membership:
    """From joining the group to leaving it: the state here is that of the partitions owned."""

    member: Member
    flow: Flow
    ticker: Ticker
    positions: dict[int, int] = field(default_factory=dict)  # next offset to answer, of every partition owned


class Worker:
    """Answers the partitions that the group gives it, until `stop`.

    Args:
        pipeline: what to do.
        source: whose group to join.
        sink: its own, with a transactional id that no other worker has.
        registry: of schemas.
        changelog: (owners) to what the state's changelog holds of these partitions, or `SHARED`, and maybe of others.
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
        changelog: Callable[[Collection[int]], Lanes],
        config: WorkerConfig | None = None,
        progress: Progress | None = None,
        clock: Clock = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pipeline, self._source, self._sink, self._registry = pipeline, source, sink, registry
        self._changelog, self._config, self._clock = changelog, config or WorkerConfig(), clock
        self._decoder = source_decoder(pipeline, registry)
        self._stop = threading.Event()
        self._membership: _Membership | None = None
        self._committer = ThreadPoolExecutor(1, "commit")
        self._under_way: Future[Mapping[int, int]] | None = None  # a commit, to its offsets
        self.progress = progress or Progress(clock())

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that it answers now."""
        return frozenset() if self._membership is None else frozenset(self._membership.positions)

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
            StateCorrupt, StateLayoutChanged: the changelog cannot be taken over.
            StateTooLarge: a stage keeps more than it may.
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
        membership, self._membership = self._membership, None
        if membership is None:
            return
        try:
            self._settle(membership)
        except Exception as failure:  # whatever it is, the next to read these records meets it as well
            log.warning("pipeline %s: the last commit failed: %s", self._pipeline.name, failure)
        membership.member.close()
        self._sink.close()
        membership.ticker.close()
        self._source.close()

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
            limits=self._config.state,
        )
        return _Membership(member, flow, Ticker(self._pipeline, self._source, self._clock))

    def _turn(self, membership: _Membership) -> None:
        if membership.member.is_moving():
            self._settle(membership)
        fetched = collect(membership.member.poll, self._config.idle_poll_s, self._config.max_commit_records)
        self._move(membership)
        mine = [part for part in fetched if part.range.partition in membership.positions]
        if mine:
            self._answer(membership, mine)
        else:
            self._settle(membership)
        if (tick := membership.ticker.due(membership.positions)) is not None:
            self._hand_on(membership, membership.flow.tick(tick))

    def _move(self, membership: _Membership) -> None:
        member, flow = membership.member, membership.flow
        given, taken = member.moved()
        if given or taken:
            self._settle(membership)  # they may have moved unannounced
        for partition in given:
            flow.forget(partition)
            membership.positions.pop(partition, None)
        if taken:
            starts = {partition: member.begin(partition) for partition in taken}
            is_first = not membership.positions and bool(self._pipeline.shared)
            owners = {*taken, SHARED} if is_first else set(taken)
            keys = flow.restore(self._changelog(owners), only=owners)
            membership.positions.update(starts)
            self.progress.resumed_at(starts)
            log.info("pipeline %s: partitions from %s, %d keys", self._pipeline.name, starts, keys)
        self.progress.waits("log", "")

    def _answer(self, membership: _Membership, fetched: Sequence[Fetched]) -> None:
        kept, passed_over = shed(fetched, self._pipeline.shedding, self._clock())
        batch = preprocess(kept, self._decoder, self._pipeline.transforms, self._report, passed_over)
        commit = membership.flow.process([batch])
        membership.positions.update(commit.offsets)
        self._hand_on(membership, commit)

    def _hand_on(self, membership: _Membership, commit: Commit | None) -> None:
        """To the committer, when the one before has been committed."""
        if commit is not None:
            self._settle(membership)
            self._under_way = self._committer.submit(self._commit, commit, membership.member.identity())
            if commit.records < self._config.overlap_records:
                self._settle(membership)

    def _settle(self, membership: _Membership) -> None:
        """Wait for the commit under way; raises what came of it."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            offsets = under_way.result()
            if not self._sink.transactional:
                membership.member.commit(offsets)

    def _commit(self, commit: Commit, identity: object) -> Mapping[int, int]:
        began = time.perf_counter()
        self._sink.commit(
            answers=commit.answers,
            dead_letters=commit.dead_letters,
            state=commit.state,
            offsets=commit.offsets,
            member=identity,
        )
        account(self._pipeline, self.progress, commit, (time.perf_counter() - began) * 1e3, self._clock())
        return commit.offsets

    def _report(self, trouble: str) -> None:
        self.progress.waits("read", trouble)
