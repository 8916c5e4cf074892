"""Throughput and latency of the Kafka transport, columns beside kafka-python's own calls in the same run. Prints JSON.

    python tests/benchmarks/bench_transport.py [--bootstrap HOST:PORT] [--records 200000]

Without an address it starts the embedded broker in a temporary folder. Expected time: half a minute on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.records import Records
from streaming.topics import Topic
from streaming.transport import Output

PARTITIONS, IN_TRANSACTION, VALUE_BYTES, SMALL_TRANSACTIONS = 4, 5000, 100, 300


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput and latency of the Kafka transport.")
    parser.add_argument("--bootstrap", help="host:port of a running Kafka; default: the embedded one")
    parser.add_argument("--records", type=int, default=200_000)
    options = parser.parse_args()
    if options.bootstrap:
        result = measure(KafkaSettings(options.bootstrap), options.records)
    else:
        with tempfile.TemporaryDirectory() as home:
            broker = EmbeddedBroker(Path(home))
            began = time.perf_counter()
            address = broker.start().bootstrap_servers
            started_s = time.perf_counter() - began
            try:
                result = measure(KafkaSettings(str(address)), options.records)
                result["broker_first_start_s"] = round(started_s, 2)
                broker.stop()
                began = time.perf_counter()
                broker.start()
                result["broker_start_s"] = round(time.perf_counter() - began, 2)
            finally:
                broker.stop()
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


def measure(settings: KafkaSettings, count: int) -> dict[str, Any]:
    """All figures; each topic is new, so nothing is counted twice."""
    run = uuid.uuid4().hex[:8]
    topics = {name: f"bench-{run}-{name}" for name in ("columns", "send", "small")}
    ensure_topics(settings, [Topic(t, key="k", schema=None, partitions=PARTITIONS) for t in topics.values()])
    rounds = count // IN_TRANSACTION
    keys: list[bytes | None] = [b"match-%06d" % (i % 200) for i in range(IN_TRANSACTION)]
    values: list[bytes | None] = [os.urandom(VALUE_BYTES) for _ in range(IN_TRANSACTION)]
    batch = Records.of(keys, values)
    sink = KafkaSink(settings, f"bench-{run}", f"bench-{run}", topics["columns"])
    sink.open()

    def commit(to: str, records: Records, offset: int) -> None:
        sink.commit(answers=[Output(to, records)], dead_letters=[], state=[], offsets={0: offset})

    producer = KafkaProducer(
        **settings.client_options(), transactional_id=f"bench-{run}-send", linger_ms=5, batch_size=1 << 18
    )
    producer.init_transactions()

    def send(round_number: int) -> None:
        producer.begin_transaction()
        for key, value in zip(keys, values, strict=True):
            producer.send(topics["send"], value=value, key=key)
        producer.commit_transaction()

    commit(topics["columns"], batch.take(np.arange(10)), 0)
    send(0)
    columns = timed(lambda n: commit(topics["columns"], batch, n), rounds)
    sends = timed(send, rounds)
    small = batch.take(np.arange(10))
    latencies = latencies_ms(lambda n: commit(topics["small"], small, n), SMALL_TRANSACTIONS)
    sink.close()
    producer.close()
    return {
        "records": rounds * IN_TRANSACTION,
        "value_bytes": VALUE_BYTES,
        "records_in_a_transaction": IN_TRANSACTION,
        "produce_columns": columns,
        "produce_send": sends,
        "small_transactions_ms": latencies,
        "poll_columns": read_columns(settings, topics["columns"]),
        "poll_kafka_python": read_objects(settings, topics["columns"]),
    }


def timed(action: Callable[[int], None], rounds: int) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(rounds):
        action(number)
    return rates(rounds * IN_TRANSACTION, time.perf_counter() - wall, time.process_time() - cpu)


def rates(records: int, wall_s: float, cpu_s: float) -> dict[str, float]:
    return {"records_per_s": round(records / wall_s), "cpu_us_per_record": round(cpu_s / records * 1e6, 2)}


def latencies_ms(action: Callable[[int], None], rounds: int) -> dict[str, float]:
    taken = []
    for number in range(rounds):
        began = time.perf_counter()
        action(number)
        taken.append((time.perf_counter() - began) * 1000)
    p50, p99 = np.percentile(taken, [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


def read_columns(settings: KafkaSettings, topic: str) -> dict[str, float]:
    source = KafkaSource(settings, topic, "")
    end = source.end_offsets()
    reader = source.open(dict.fromkeys(end, 0))
    position, count = dict.fromkeys(end, 0), 0
    wall, cpu = time.perf_counter(), time.process_time()
    while position != end:
        fetched = reader.poll(5.0, 10_000)
        assert fetched is not None
        position[fetched.range.partition] = fetched.range.end
        count += len(fetched.records)
    result = rates(count, time.perf_counter() - wall, time.process_time() - cpu)
    reader.close()
    source.close()
    return result


def read_objects(settings: KafkaSettings, topic: str) -> dict[str, float]:
    consumer = KafkaConsumer(
        **settings.client_options(), group_id=None, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(partitions)
    end, count = consumer.end_offsets(partitions), 0
    wall, cpu = time.perf_counter(), time.process_time()
    while any(consumer.position(partition) < end[partition] for partition in partitions):
        count += sum(map(len, consumer.poll(timeout_ms=1000, max_records=10_000).values()))
    result = rates(count, time.perf_counter() - wall, time.process_time() - cpu)
    consumer.close()
    return result


if __name__ == "__main__":
    main()
