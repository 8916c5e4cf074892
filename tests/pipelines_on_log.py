"""A pipeline as runners execute it, over a log in memory: records as bytes in, answers as bytes out, cut and started
anew at will."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streaming.codec import PackagedRegistry
from streaming.pipeline import Pipeline
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch
from streaming.runners.flow import Commit, Flow
from streaming.runners.preprocess import preprocess, source_decoder
from streaming.runners.ticking import Tick
from streaming.testing import MemoryLog, lanes


class OnLog:
    """One pipeline over the records that its source holds."""

    def __init__(self, pipeline: Pipeline, log: MemoryLog, now_ms: int) -> None:
        self.pipeline, self.log, self.now_ms = pipeline, log, now_ms
        self.commits: list[Commit] = []
        self.at = [0] * log.partition_count(pipeline.source.name)
        self.flow = self.started()

    @property
    def is_done(self) -> bool:
        """Whether everything was answered."""
        return all(at == len(self._all(partition)) for partition, at in enumerate(self.at))

    def started(self) -> Flow:
        """As after a crash: nothing but what was committed is known."""
        flow = Flow(self.pipeline, PackagedRegistry(), clock=lambda: self.now_ms, reread=self.read)
        state = [out.records for commit in self.commits for out in commit.state]
        flow.restore(lanes([Records.joined([Records.of([], []), *state])]))
        return flow

    def read(self, partition: int, offsets: Sequence[int]) -> Records:
        records = self._all(partition)
        return records.take(np.flatnonzero(np.isin(records.offsets, offsets)))

    def process(self, counts: int | Sequence[int]) -> None:
        """The next records, so many of each partition, as one commit."""
        counts = [counts] * len(self.at) if isinstance(counts, int) else counts
        wanted = []
        for partition, (start, count) in enumerate(zip(self.at, counts, strict=True)):
            self.at[partition] = min(start + count, len(self._all(partition)))
            wanted.append(OffsetRange(partition, start, self.at[partition]))
        self.step(self.batch(wanted))

    def batch(self, wanted: Sequence[OffsetRange]) -> Batch:
        """These ranges, as the stages get them."""
        fetched = [(one, self.read(one.partition, range(one.start, one.end))) for one in wanted]
        return preprocess(fetched, source_decoder(self.pipeline, PackagedRegistry()), self.pipeline.transforms)

    def tick(self, now_ms: int) -> None:
        """Time has come to this, and what was answered is all there is."""
        self.step(Tick(now_ms, dict(enumerate(self.at))))

    def step(self, step: Batch | Tick) -> None:
        """As one commit, if anything comes of it."""
        commit = self.flow.tick(step) if isinstance(step, Tick) else self.flow.process([step])
        if commit is not None:
            self.commits.append(commit)

    def run(self, counts: Sequence[int] = (10_000,), *, restarts: bool = False) -> OnLog:
        """One commit for each count; `restarts`: with a crash after each."""
        for count in counts:
            self.process(count)
            if restarts:
                self.flow = self.started()
        return self

    def answers(self) -> list[Records]:
        """In the order in which they were committed."""
        return [out.records for commit in self.commits for out in commit.answers]

    def rejected(self) -> list[tuple[str, str]]:
        """Of all commits."""
        return [letter for commit in self.commits for letter in commit.rejected]

    def _all(self, partition: int) -> Records:
        return self.log.records(self.pipeline.source.name, partition)
