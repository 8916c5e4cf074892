"""What a pipeline leans on is slow, silent, wrong or gone: network, model, registry, clock; and its records."""

from __future__ import annotations

import time

import polars as pl
from kafka import TopicPartition

from streaming.codec import Encoder
from streaming.kafka.clients import open_admin
from streaming.records import Records
from streaming.transport import OffsetsExpired
from tests.chaos.faults import SECOND_ID, second_schema
from tests.chaos.lab import BOTH, DELIVERIES, Lab
from tests.chaos.scenario import scenario
from tests.counting import Run, encoded, events

_HOUR_MS = 3_600_000.0


def _of_second_writer(frame: pl.DataFrame) -> Records:
    return encoded(frame.with_columns(referee=pl.lit("r")), Encoder(second_schema(), SECOND_ID))


@scenario(*BOTH)
def network_slow(lab: Lab) -> None:
    """Every piece between runner and broker takes 30 ms longer, each way."""
    with lab.running(log=lab.over_proxy()) as run, lab.broker.proxy.slow(0.03):
        lab.inject("30 ms each way")
        with lab.load(lab.pick(1_000, 5_000)):
            run.wait_for(lab.some_more(100))
        run.wait_for(lab.caught_up)


@scenario(*BOTH, deliveries=DELIVERIES)
def network_cut(lab: Lab) -> None:
    """All connections between runner and broker are reset and new ones refused; then nothing arrives at all."""
    proxy = lab.broker.proxy
    with lab.running(log=lab.over_proxy()) as run:
        for _ in range(lab.pick(1, 6)):
            with lab.load(lab.pick(600, 2_000), over_s=8.0):
                for kind, away, seconds in (("refused", proxy.refusing, 2.0), ("silent", proxy.silent, 7.0)):
                    run.wait_for(lab.some_more(20))
                    lab.inject(f"network {kind}")
                    with away():
                        time.sleep(seconds + lab.random.random())
            run.wait_for(lab.caught_up)


@scenario(*BOTH)
def model_fails(lab: Lab) -> None:
    """The model takes up to 20 ms a call, and every third call fails."""
    lab.switches.on("model", 1 / 3)
    lab.inject("model slow and away")
    with lab.running(), lab.load(lab.pick(1_500, 8_000)):
        pass


@scenario(*BOTH)
def registry_away(lab: Lab) -> None:
    """The schema registry is away when the first record of a new writer comes: that is no bad record."""
    with lab.running() as run:
        lab.stream.feed(200)
        run.wait_for(lab.caught_up)
        lab.switches.on("registry")
        lab.inject("registry away")
        lab.stream.feed(100, _of_second_writer)
        run.wait_for(lambda: "registry is away" in str(run.report()["reason"]))
        with lab.load(200):
            lab.switches.off("registry")


@scenario(*BOTH)
def schema_change(lab: Lab) -> None:
    """Two writers with schemas of different ids, by turns, so that polls have both."""
    with lab.running():
        for number in range(lab.pick(40, 400)):
            lab.inject("schema changed")
            lab.stream.feed(10, _of_second_writer if number % 2 else encoded)


@scenario(*BOTH)
def poison_one_in_10(lab: Lab) -> None:
    """Every tenth record is poison."""
    _poison(lab, 10, lab.pick(2_000, 20_000))


@scenario(*BOTH)
def poison_one_in_10000(lab: Lab) -> None:
    """One record of 10,000 is poison."""
    _poison(lab, 10_000, lab.pick(10_000, 50_000))


def _poison(lab: Lab, one_in: int, records: int) -> None:
    with lab.running():
        while lab.stream.written < records:
            piece = min(one_in, 500)
            bad = int((lab.stream.written + piece) % one_in == 0)
            lab.stream.feed(piece - bad)
            lab.stream.feed_poison(bad)
            if bad:
                lab.inject("poison")


@scenario(*BOTH)
def clock_jumps(lab: Lab) -> None:
    """The runner's clock goes back an hour, then forward by two."""
    with lab.running() as run:
        for jump_ms in (0.0, -_HOUR_MS, _HOUR_MS) * lab.pick(1, 5):
            lab.switches.on("clock", jump_ms)
            lab.inject("clock jump")
            with lab.load(300, over_s=1.0):
                run.wait_for(lab.some_more(20))


@scenario(*BOTH)
def offsets_expire(lab: Lab) -> None:
    """Records are deleted before they were read: the run stops and says so, and nothing was answered wrongly."""
    with lab.running(), lab.load(400):
        pass
    lab.stream.feed(400)
    lab.judge_as(lab.stream.inputs(), whole=False)
    source = lab.stream.source()
    begins, ends = source.committed(), source.end_offsets()
    partition = lab.random.choice([p for p, end in ends.items() if end > begins[p] + 1])
    lab.inject(f"records of partition {partition} deleted")
    with open_admin(lab.broker.settings) as admin:
        admin.delete_records({TopicPartition(lab.stream.pipeline.source.name, partition): ends[partition] - 1})
    run = Run(lab.plan.make(lab.stream))
    try:
        run.join()
        assert isinstance(run.failure, OffsetsExpired), repr(run.failure)
    finally:
        run.stop()


@scenario(*BOTH)
def topic_grown(lab: Lab) -> None:
    """The topic gets two partitions more under load; matches that begin later lie there, and a restart reads them."""
    topic = lab.stream.pipeline.source.name
    with lab.running() as run, lab.load(lab.pick(500, 3_000)):
        run.wait_for(lab.some_more(50))
        with open_admin(lab.broker.settings) as admin:
            lab.inject("2 partitions more")
            admin.create_partitions({topic: 6})
    lab.reconnect()
    lab.stream.log.append(topic, encoded(events(0, 400, name="later")))
    assert max(lab.stream.source().partitions()) == 5
    with lab.running():
        pass
