"""A user's request to be forgotten, as records: one for every partition, since sessions of the user may lie in any.

The pipeline obeys when it reads them: the user's sessions, and what the user bought, are erased from memory and, by
tombstones, from the changelog, whose segments Kafka compacts. Events and answers as such stay on their topics until
their retention ends (`streaming.topics`: seven days, dead letters too); what comes of the user after the request is
remembered as a stranger's.
"""

from __future__ import annotations

import numpy as np

from streaming import topics
from streaming.codec import Encoder, SchemaRegistry, load_schema
from streaming.records import Records
from streaming.sessions.events import events_frame, validate_events
from streaming.transport import Output


def forgetting(
    user_id: str, request_id: str, now_ms: int, partitions: int, registry: SchemaRegistry
) -> tuple[Output, ...]:
    """The request, to be written to `user.sessions` of so many partitions.

    Raises:
        ValueError: an id cannot be one; the message says why.
    """
    topic = topics.USER_SESSIONS
    assert topic.schema is not None
    row = {"session_id": request_id, "event_time_ms": now_ms, "kind": "forget", "user_id": user_id}
    frame = events_frame([row]).with_columns(_ingest_time_ms=now_ms)
    if (reason := validate_events(frame)["_reject"][0]) is not None:
        raise ValueError(reason)
    encoder = Encoder(load_schema(topic.schema), registry.id_of(topic.schema))
    values = encoder.encode(frame.drop("_ingest_time_ms")).to_pylist()
    records = Records.of([request_id.encode()], values, timestamps_ms=np.array([now_ms], np.int64))
    return tuple(Output(topic.name, records, partition=partition) for partition in range(partitions))
