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

_EXCEPTION, _MESSAGE, _STACKTRACE = f"{STREAMS}exception", f"{STREAMS}message", f"{STREAMS}stacktrace"
_OFFSET, _SCHEMA_ID, _RECORD_TIME_MS = f"{STREAMS}offset", f"{OURS}schema_id", f"{OURS}record_time_ms"
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
    whence = [(f"{STREAMS}topic", topic.name.encode()), (f"{STREAMS}partition", b"%d" % partition)]
    who = (f"{OURS}pipeline", pipeline.encode())
    when = (f"{OURS}time_ms", b"%d" % now_ms)
    headers: list[list[Header]] = [
        [
            *_why(error, message),
            *whence,
            (_OFFSET, b"%d" % offset),
            (_SCHEMA_ID, b"" if schema_id is None else b"%d" % schema_id),
            who,
            (_RECORD_TIME_MS, b"%d" % time_ms),
            when,
        ]
        for offset, time_ms, error, message, schema_id in zip(
            records.offsets.tolist(), records.timestamps_ms.tolist(), errors, messages, schema_ids, strict=True
        )
    ]
    letters = Records(records.keys, records.values, records.offsets, np.full(len(records), now_ms, np.int64), headers)
    return Output(topic.dead_letters.name, letters)


def _why(error: str, message: str) -> tuple[Header, Header, Header]:
    if len(message) > _MESSAGE_CHARS:
        message = f"{message[:_MESSAGE_CHARS]}… ({len(message)} characters)"
    said = message.encode()
    # Rejected by a check on columns: there is no stack to show.
    return (_EXCEPTION, error.encode()), (_MESSAGE, said), (_STACKTRACE, b"%b: %b" % (error.encode(), said))
