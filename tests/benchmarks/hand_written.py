"""The reference workload as one would write it by hand on kafka-python: a peer in the same run of the benchmark.

One loop: poll, read each record with fastavro, one batch for the model, `send` each answer and each match's state, the
offsets in the same transaction. State lies in memory, and on a changelog that nothing restores; no bad record is set
aside, no failure is handled. What this does less than a runner is what a runner costs.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import fastavro
import numpy as np
import torch
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from torch import Tensor

from streaming.codec import frame_prefix, load_schema
from streaming.topics import Topic

GROUP = "by-hand"
_POLL_MS = 250

Net = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]  # as `bench_reference.ReferenceNet`


class HandWritten:
    """The loop, until `stop` is set.

    Args:
        bootstrap: brokers.
        net: the model.
        values: fields of a frame that it reads.
        state_floats: hidden values of a match.
        topics: frames in, answers out, and state.
        answer_id: id of the answers' schema.
    """

    def __init__(
        self,
        bootstrap: str,
        net: Net,
        values: list[str],
        state_floats: int,
        topics: tuple[Topic, Topic, Topic],
        answer_id: int,
    ) -> None:
        self._net, self._values, self._topics = net, values, topics
        self._hidden: dict[str, Tensor] = {}
        self._new = torch.zeros(state_floats)
        self._reader = fastavro.parse_schema(load_schema(str(topics[0].schema)))
        self._writer = fastavro.parse_schema(load_schema(str(topics[1].schema)))
        self._prefix = frame_prefix(answer_id)
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
        )
        self._consumer.assign([TopicPartition(topics[0].name, p) for p in range(topics[0].partitions)])
        self._producer: Any = KafkaProducer(
            bootstrap_servers=bootstrap, transactional_id=GROUP, acks="all", linger_ms=0
        )
        self._producer.init_transactions()

    def run(self, stop: threading.Event) -> None:
        """Answer until then."""
        while not stop.is_set():
            polled = self._consumer.poll(timeout_ms=_POLL_MS, max_records=5_000)
            if polled:
                self._turn(polled)
        self._producer.close()
        self._consumer.close()

    def _turn(self, polled: dict[TopicPartition, list[Any]]) -> None:
        records = [record for part in polled.values() for record in part]
        rows: list[Any] = [fastavro.schemaless_reader(io.BytesIO(record.value[5:]), self._reader) for record in records]
        matches = sorted({row["match_id"] for row in rows})
        slot, seen, turn = {match: n for n, match in enumerate(matches)}, Counter[str](), []
        for row in rows:
            turn.append(seen[row["match_id"]])
            seen[row["match_id"]] += 1
        hidden = torch.stack([self._hidden.get(match, self._new) for match in matches])
        contributions = self._net(
            torch.tensor([[row[name] for name in self._values] for row in rows], dtype=torch.float32),
            torch.tensor([row["clock_s"] for row in rows], dtype=torch.float32),
            torch.tensor(turn),
            torch.tensor([slot[row["match_id"]] for row in rows]),
            hidden,
        ).numpy()
        chances = 1.0 / (1.0 + np.exp(-contributions.sum(axis=1, dtype=np.float64)))
        _, answers, state = (topic.name for topic in self._topics)
        self._producer.begin_transaction()
        for record, row, parts, p in zip(records, rows, contributions.tolist(), chances.tolist(), strict=True):
            answer = {
                "match_id": row["match_id"],
                "event_time_ms": row["event_time_ms"],
                "p": p,
                **{f"contribution_{n}": value for n, value in enumerate(parts)},
                "source_partition": record.partition,
                "source_offset": record.offset,
            }
            out = io.BytesIO()
            fastavro.schemaless_writer(out, self._writer, answer)
            self._producer.send(answers, key=record.key, value=self._prefix + out.getvalue())
        for match, row in zip(matches, hidden, strict=True):
            self._hidden[match] = row
            self._producer.send(state, key=match.encode(), value=row.numpy().tobytes())
        offsets = {where: OffsetAndMetadata(part[-1].offset + 1, "", -1) for where, part in polled.items()}
        self._producer.send_offsets_to_transaction(offsets, self._consumer.group_metadata())
        self._producer.commit_transaction()
