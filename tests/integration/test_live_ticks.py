"""Both live runners on a real broker, with partitions gone quiet: windows close by the clock, once, and a restart knows
it. Read by Ray Data, and by a member of the group with and without transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from streaming.kafka.plain_sink import KafkaPlainSink
from streaming.kafka.settings import KafkaSettings
from streaming.runners.worker import Worker
from streaming.transport import Sink
from tests.counting import OnKafka, Runner, micro_batch, running, wall_ms
from tests.windowed import WINDOW_MS, WindowedStream

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("own_ray"),
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
]

HOUR_MS = 3_600_000
MATCHES = "abcdef"


class World(WindowedStream):
    """Windows as late as can be believed now, so that a slow machine does not see them end, and a clock that can be an
    hour ahead."""

    def __init__(self, log: OnKafka, prefix: str) -> None:
        super().__init__(log, prefix, partitions=2)
        self.kafka, self.ahead_ms = log, 0
        soon_ms = wall_ms() + 50_000
        self.start_ms = soon_ms - soon_ms % WINDOW_MS

    def now_ms(self) -> int:
        return wall_ms() + self.ahead_ms

    def plain_sink(self) -> Sink:
        return KafkaPlainSink(self.kafka.settings, self.prefix, self.pipeline.source.name)

    def worker(self, sink: Sink) -> Worker:
        return Worker(
            self.pipeline,
            self.source(),
            sink,
            self.registry,
            changelog=lambda owners: self.log.changelog(self.prefix, owners),
            clock=self.now_ms,
        )


@pytest.fixture
def world(kafka: str, topic_prefix: str) -> Iterator[World]:
    with closing(OnKafka(KafkaSettings(kafka))) as log:
        yield World(log, topic_prefix)


RUNNERS: dict[str, Callable[[World], Runner]] = {
    "micro_batch": lambda world: micro_batch(world, clock=world.now_ms),
    "continuous": lambda world: world.worker(world.sink()),
    "continuous, at least once": lambda world: world.worker(world.plain_sink()),
}


@pytest.mark.parametrize("make", RUNNERS.values(), ids=RUNNERS)
def test_what_has_gone_quiet_is_closed_by_the_clock_once(world: World, make: Callable[[World], Runner]) -> None:
    world.feed_rows([(match, number / 10, 0.0) for match in MATCHES for number in range(3)], world.start_ms)
    source = world.source()
    ends = dict(source.end_offsets())
    assert min(ends.values()) > 0, "both partitions have matches"
    with running(make(world)) as run:
        run.wait_for(lambda: source.committed() == ends)
        assert run.report()["answers_total"] == 0
        world.ahead_ms = HOUR_MS
        run.wait_for(lambda: run.report()["answers_total"] == len(MATCHES))
    assert source.committed() == ends, "no further, and not back"
    with running(make(world)) as run:
        world.feed_rows([(match, 0.5, 0.0) for match in MATCHES], world.start_ms)
        run.wait_for(lambda: run.report()["answers_total"] == len(MATCHES))
    told = world.windows(world.start_ms).select("match_id", "rows", "closed_by", "how", "number")
    assert sorted(told.rows()) == sorted(
        row for match in MATCHES for row in [(match, 3, "tick", "on time", 1.0), (match, 1, "nothing", "late", 2.0)]
    )
