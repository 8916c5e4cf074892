"""Workers come and go with the lag, on real Ray and Kafka: as many as partitions when the load asks for all, few again
when it ends, and every event is answered once, in key order."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jobs.autoscaling import Autoscaler
from jobs.ray_session import ray_session
from serve.win_app import AppKeeper, WinApp
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.runners.autoscaling import AutoscalingPolicy
from streaming.runners.continuous import ContinuousRunner
from streaming.runners.progress import Progress
from streaming.runners.worker import Worker, WorkerConfig
from streaming.simulators.match import simulate
from streaming.state import Column, StateTable
from streaming.topics import Topic, state_topic

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

PATIENCE_S = 120.0
MATCHES, PARTITIONS = 11, 3
EVENT_S = 0.01  # of work an event: a worker takes 100 a second


@pytest.fixture(scope="module", autouse=True)
def own_ray() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes that it ends
        with ray_session(None, logical_cpus=4, object_store_mb=100):
            yield
        gc.collect()


class SlowCount:
    """Answers every event with itself, numbered within its match, and takes its time."""

    name = "count"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {"seen": Column(np.int64)}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        time.sleep(EVENT_S * rows.height)
        matches = rows["match_id"].to_list()
        numbers = np.empty(len(matches))
        for row, slot in enumerate(state.slots(matches, rows["_partition"].to_list())):
            state["seen"][slot] += 1
            numbers[row] = state["seen"][slot]
        state.touch(matches)
        ingested = pl.from_epoch("_ingest_time_ms", time_unit="ms").dt.replace_time_zone("UTC")
        return rows.with_columns(ingested.alias("ingest_time_ms"), clock_s=pl.Series(numbers))


@pytest.mark.kafka
def test_load_brings_workers_up_to_the_partitions_and_its_end_sends_them_away(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(kafka)
    topic = Topic(f"{topic_prefix}.in", key="match_id", schema="match-events", partitions=PARTITIONS)
    out = Topic(f"{topic_prefix}.out", key="match_id", schema="match-events", partitions=1)
    ensure_topics(settings, [topic, topic.dead_letters, out, state_topic(topic_prefix)])
    pipeline = Pipeline(topic_prefix, topic, (), (SlowCount(),), out)

    def make(number: int, progress: Progress) -> Worker:
        return Worker(
            pipeline,
            KafkaSource(settings, topic.name, topic_prefix),
            KafkaSink(settings, f"{topic_prefix}.{number}", topic_prefix, topic.name, producers=2),
            PackagedRegistry(),
            changelog=lambda owners: read_changelog(settings, topic_prefix, owners),
            config=WorkerConfig(max_commit_records=30),
            progress=progress,
        )

    runner, source = ContinuousRunner(make, 1), KafkaSource(settings, topic.name, topic_prefix)
    autoscaler = Autoscaler(
        AutoscalingPolicy(1, PARTITIONS, start_up_s=3.0, target_lag_s=2.5, quiet_s=3.0, recover_s=5.0),
        runner.progress,
        ready=lambda: sum(map(bool, runner.owned.values())),
        scale=runner.scale,
    )
    base = simulate("lol", matches=1, seed=1).events.head(1)
    publisher, encoder = Publisher(settings), Encoder(load_schema("match-events"), 1)
    written, wanted = 0, [1]
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE_S

        def look() -> None:
            assert thread.is_alive() and time.monotonic() < deadline, (wanted, runner.owned)
            now_ms = time.time_ns() // 1_000_000
            runner.progress.log_ends_at(now_ms, source.end_offsets())
            autoscaler.look()
            wanted.append(autoscaler.wanted)
            time.sleep(0.25)

        while sum(map(bool, runner.owned.values())) < PARTITIONS:  # twice what one takes, until all are there
            numbers = pl.Series(range(written, written + 50), dtype=pl.Int64)
            frame = base[np.zeros(50, np.int64)].with_columns(
                match_id=pl.Series([f"m{n % MATCHES}" for n in numbers]), sequence=numbers // MATCHES
            )
            publisher.send(topic.name, [m.encode() for m in frame["match_id"]], encoder.encode(frame).to_pylist())
            written += 50
            look()
        assert publisher.flush(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while [len(owned) for owned in runner.owned.values()] != [PARTITIONS]:
            look()
        while runner.progress.report(0)["lag_records"]:
            look()
    finally:
        runner.stop()
        thread.join(PATIENCE_S)
        publisher.close()
        source.close()
    assert max(wanted) == PARTITIONS and wanted[-1] == 1
    answers = [
        Decoder("match-events", PackagedRegistry()).decode(records).frame
        for records in read_all(settings, out.name).values()
    ]
    answered = pl.concat(answers)
    assert Counter(answered["match_id"]) == Counter(f"m{n % MATCHES}" for n in range(written))
    for (match,), mine in answered.group_by("match_id", maintain_order=True):
        assert mine["sequence"].to_list() == list(range(mine.height)), match
        assert mine["clock_s"].to_list() == [float(n + 1) for n in range(mine.height)], match


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Serve uses an old way of pydantic
def test_replicas_are_added_beside_those_that_run_and_taken_away(tmp_path: Path) -> None:
    app = WinApp("scaled", {"lol": "tsstn-lol@live"}, tmp_path)
    keeper = AppKeeper(app, look_s=0.2)
    keeper.start()

    def wait_for(replicas: int, at_least: int = 0) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while keeper.state.replicas != replicas:
            assert keeper.state.replicas >= at_least
            assert keeper.failure is None and time.monotonic() < deadline, keeper.state
            time.sleep(0.1)

    try:
        handle = keeper.loading.result(PATIENCE_S)
        wait_for(1)
        app.scale(2)
        wait_for(2, at_least=1)
        assert handle.describe.remote().result(timeout_s=PATIENCE_S)[0]["title"] == "lol"
        app.scale(1)
        wait_for(1, at_least=1)
    finally:
        keeper.stop(delete=True)
