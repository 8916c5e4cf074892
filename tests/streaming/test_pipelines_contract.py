"""What every pipeline of the project promises, whatever it is about: the same input gives the same answers, byte for
byte, however it is cut into batches, spread over partitions, interrupted, and shared out among workers."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import streaming.pipelines
from streaming.codec import PackagedRegistry
from streaming.pipeline import Pipeline
from streaming.records import Records
from streaming.runners.worker import Worker, WorkerConfig
from streaming.testing import MemoryLog
from streaming.topics import state_topic
from tests.counting import InMemory, JoinedSource
from tests.pipeline_cases import CASES, NOW_MS, PipelineCase
from tests.pipelines_on_log import OnLog

DRAWN = (Phase.explicit, Phase.reuse, Phase.generate)  # a smaller seed is not a simpler case
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_every_pipeline_has_a_case() -> None:
    files = {module.name for module in pkgutil.iter_modules(streaming.pipelines.__path__)}
    assert files == set(CASES)


def fed(case: PipelineCase, pipeline: Pipeline, partitions: int) -> MemoryLog:
    log = MemoryLog()
    log.create(pipeline.source.name, partitions)
    log.append(pipeline.source.name, case.records())
    return log


def whole(case: PipelineCase) -> pl.DataFrame:
    """What a run without any trouble says."""
    pipeline = case.pipeline()
    done = OnLog(pipeline, fed(case, pipeline, 1), NOW_MS).run()
    assert done.is_done and not done.rejected()
    return case.answers(done.answers())


def differing(case: PipelineCase, parts: Sequence[Records]) -> list[str]:
    """Columns in which these answers are not those of `whole`."""
    expected, found = whole(case), case.answers(parts)
    assert found.height == expected.height >= case.least
    places = [name for name in ("source_partition", "source_offset", "value") if name in expected.columns]
    return [name for name in expected.columns if name not in places and not found[name].equals(expected[name])]


@every_case
@settings(max_examples=5, deadline=None, phases=DRAWN, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1))
def test_cuts_and_crashes_change_no_byte(case: PipelineCase, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pipeline = case.pipeline()
    steady = OnLog(pipeline, fed(case, pipeline, 1), NOW_MS).run()
    cut = OnLog(pipeline, fed(case, pipeline, 1), NOW_MS)
    while not cut.is_done:
        cut.process(int(rng.choice([1, 7, 40, 200])))
        if rng.random() < 0.3:
            cut.flow = cut.started()
    assert case.answers(cut.answers()).equals(case.answers(steady.answers()))


@every_case
@pytest.mark.parametrize("partitions", [2, 5])
def test_partitions_and_how_far_each_is_read_change_no_answer(case: PipelineCase, partitions: int) -> None:
    rng = np.random.default_rng(partitions)
    pipeline, log = case.pipeline(), MemoryLog()
    log.create(pipeline.source.name, partitions)
    spread = OnLog(pipeline, log, NOW_MS)
    for wave in case.waves():
        log.append(pipeline.source.name, wave)
        while not spread.is_done:
            spread.process(rng.integers(0, 20, partitions).tolist())
    assert differing(case, spread.answers()) == []


class Workforce:
    """Workers of the continuous runner over a log in memory, which come and go: one at a time where state is shared."""

    def __init__(self, case: PipelineCase) -> None:
        self.memory, self.pipeline, self._hired = InMemory(), case.pipeline(), 0
        self.memory.create([self.pipeline.source, self.pipeline.source.dead_letters, self.pipeline.sink])
        self.memory.create([state_topic(self.pipeline.name)])
        self.members: dict[Worker, JoinedSource] = {}
        self.most = 1 if self.pipeline.shared else 3

    def hire(self) -> None:
        name, source_topic = self.pipeline.name, self.pipeline.source.name
        self._hired += 1
        source = JoinedSource(self.memory.log, source_topic, name)
        worker = Worker(
            self.pipeline,
            source,
            self.memory.sink(f"{name}.{self._hired}", name, source_topic),
            PackagedRegistry(),
            changelog=lambda owners: self.memory.changelog(name, owners),
            config=WorkerConfig(max_commit_records=10, idle_poll_s=0.0, overlap_records=20),
            clock=lambda: NOW_MS,
        )
        self.members[worker] = source

    def dismiss(self, worker: Worker, *, is_dead: bool) -> None:
        """It leaves, or the group takes it for dead and it is never heard of again."""
        source = self.members.pop(worker)
        if not is_dead:
            worker.leave()
        elif source.member is not None:
            self.memory.log.evict(source.member)

    @property
    def is_done(self) -> bool:
        source = self.memory.source(self.pipeline.source.name, self.pipeline.name)
        return source.committed() == source.end_offsets()


@every_case
@pytest.mark.parametrize("seed", [1, 2])
def test_workers_that_come_and_go_change_no_answer(case: PipelineCase, seed: int) -> None:
    rng = np.random.default_rng(seed)
    force = Workforce(case)
    for wave in case.waves():
        force.memory.append(force.pipeline.source.name, wave)
        while not force.is_done:
            if not force.members or (len(force.members) < force.most and rng.random() < 0.2):
                force.hire()
            worker = list(force.members)[rng.integers(len(force.members))]
            worker.step()
            if rng.random() < 0.05:
                force.dismiss(worker, is_dead=bool(rng.random() < 0.5))
    for worker in list(force.members):
        force.dismiss(worker, is_dead=False)
    assert differing(case, force.memory.all_of(force.pipeline.sink.name)) == []


@every_case
def test_a_backlog_is_answered_as_what_comes_bit_by_bit(case: PipelineCase) -> None:
    force = Workforce(case)
    force.memory.append(force.pipeline.source.name, case.records())
    force.hire()
    (worker,) = force.members
    while not force.is_done:
        worker.step()
    force.dismiss(worker, is_dead=False)
    assert differing(case, force.memory.all_of(force.pipeline.sink.name)) == []
