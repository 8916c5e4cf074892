"""Workers come and go with the lag, on real Ray and Kafka: as many as partitions when the load asks for all, few again
when it ends, and every event is answered once, in key order."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from jobs.autoscaling import Autoscaler
from serve.app import AppKeeper
from serve.win_app import WinApp
from streaming.counting import CountingStage
from streaming.kafka.settings import KafkaSettings
from streaming.runners.autoscaling import AutoscalingPolicy
from tests.counting import OnKafka, Stream, continuous, running, wall_ms
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("own_ray")]

PARTITIONS = 3
EVENT_S = 0.01  # of work an event: a worker takes 100 a second


@pytest.mark.kafka
def test_load_brings_workers_up_to_the_partitions_and_its_end_sends_them_away(kafka: str, topic_prefix: str) -> None:
    log = OnKafka(KafkaSettings(kafka))
    slow = CountingStage(lambda rows: time.sleep(EVENT_S * rows.height))
    stream = Stream(log, topic_prefix, slow, partitions=PARTITIONS)
    runner, source, wanted = continuous(stream, max_commit_records=30), stream.source(), [1]
    autoscaler = Autoscaler(
        AutoscalingPolicy(1, PARTITIONS, start_up_s=3.0, target_lag_s=2.5, quiet_s=3.0, recover_s=5.0),
        runner.progress,
        ready=lambda: sum(map(bool, runner.owned.values())),
        scale=runner.scale,
    )

    def looked(condition: Callable[[], bool]) -> bool:
        runner.progress.log_ends_at(wall_ms(), source.end_offsets())
        autoscaler.look()
        wanted.append(autoscaler.wanted)
        return condition()

    began_s = time.monotonic()

    def all_there() -> bool:
        if sum(map(bool, runner.owned.values())) >= PARTITIONS:
            return True
        # Twice what one takes, until all are there: so many a second, however long it takes to look.
        if (due := round((time.monotonic() - began_s) * 2 / EVENT_S) - stream.written) > 0:
            stream.feed(due)
        return False

    with closing(log), running(runner) as run:
        run.wait_for(lambda: looked(all_there), pause_s=0.25)
        run.wait_for(
            lambda: looked(lambda: [len(owned) for owned in runner.owned.values()] == [PARTITIONS]), pause_s=0.25
        )
        run.wait_for(lambda: looked(lambda: not run.report()["lag_records"]), pause_s=0.25)
    assert max(wanted) == PARTITIONS and wanted[-1] == 1
    stream.check()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Serve uses an old way of pydantic
def test_replicas_are_added_beside_those_that_run_and_taken_away(tmp_path: Path) -> None:
    app = WinApp("scaled", {"lol": "tsstn-lol@live"}, str(tmp_path))
    keeper = AppKeeper(app, look_s=0.2)
    keeper.start()

    def wait_for(replicas: int, at_least: int = 0) -> None:
        def has_come() -> bool:
            assert keeper.failure is None and keeper.state.replicas >= at_least, keeper.state
            return keeper.state.replicas == replicas

        wait_until(has_come, pause_s=0.1, otherwise=lambda: str(keeper.state))

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
