"""Where records go that a pipeline cannot accept: their raw bytes, and in headers why and where they came from.

The headers' names are those of Kafka Streams (KIP-1034), so that its tools read them; ours are added beside them.
One that becomes too large by them is cut when it is written (`streaming.kafka.limits`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streaming.records import Header, Records
from streaming.topics import Topic
from streaming.transport import Output

STREAMS, OURS = "__streams.errors.", "sightline."
"""What the names of headers begin with."""

_MESSAGE_CHARS = 2_000  # of an error's message, in its header; some quote the value that they are about


def dead_letter_output(
    topic: Topic,
    partition: int,
    records: Records,
    errors: Sequence[str],
    messages: Sequence[str],
    schema_ids: Sequence[int | None],
    pipeline: str,
    now_ms: int,
) -> Output:
    """The dead letters of N rejected records of one partition of `topic`; keys and values stay as they were.

    The record's own time goes to a header: a letter about an old record would be older than its topic keeps any.

    errors, messages, schema_ids (N,): the error's class name, what it says, the writer's schema id where it is known.
    """
    for name, column in (("errors", errors), ("messages", messages), ("schema_ids", schema_ids)):
        if len(column) != len(records):
            raise ValueError(f"{len(records)} dead letters, but {len(column)} {name}")
    headers = [
        _headers(topic.name, partition, int(offset), int(time_ms), error, message, schema_id, pipeline, now_ms)
        for offset, time_ms, error, message, schema_id in zip(
            records.offsets, records.timestamps_ms, errors, messages, schema_ids, strict=True
        )
    ]
    letters = Records(records.keys, records.values, records.offsets, np.full(len(records), now_ms, np.int64), headers)
    return Output(topic.dead_letters.name, letters)


def _headers(
    topic: str,
    partition: int,
    offset: int,
    record_ms: int,
    error: str,
    message: str,
    schema_id: int | None,
    pipeline: str,
    now_ms: int,
) -> list[Header]:
    if len(message) > _MESSAGE_CHARS:
        message = f"{message[:_MESSAGE_CHARS]}… ({len(message)} characters)"
    told = {
        f"{STREAMS}exception": error,
        f"{STREAMS}message": message,
        f"{STREAMS}stacktrace": f"{error}: {message}",  # rejected by a check on columns: there is no stack to show
        f"{STREAMS}topic": topic,
        f"{STREAMS}partition": str(partition),
        f"{STREAMS}offset": str(offset),
        f"{OURS}schema_id": "" if schema_id is None else str(schema_id),
        f"{OURS}pipeline": pipeline,
        f"{OURS}record_time_ms": str(record_ms),
        f"{OURS}time_ms": str(now_ms),
    }
    return [(name, value.encode()) for name, value in told.items()]
