"""Dead letters keep the bytes and say where they came from."""

from __future__ import annotations

import pytest

from streaming.kafka.dead_letters import dead_letter_output
from streaming.records import Records
from streaming.topics import Topic

TOPIC = Topic("match.events", key="match_id", schema="match-events")


def test_a_dead_letter_has_the_raw_bytes_and_the_coordinates() -> None:
    rejected = Records.of([b"m1", None], [b"\0bad\xff", b""], offsets=[7, 12], timestamps_ms=[100, 200])
    output = dead_letter_output(
        TOPIC, 3, rejected, ["DecodeError", "ValueError"], ["no magic byte", "gold is \u2212"], [None, 4], "win", 999
    )
    assert output.topic == "match.events.dead-letters"
    assert output.partition is None
    assert output.records.keys.to_pylist() == [b"m1", None]
    assert output.records.values.to_pylist() == [b"\0bad\xff", b""]
    assert output.records.timestamps_ms.tolist() == [999, 999]  # else they would be too old to keep
    assert output.records.headers is not None
    assert dict(output.records.headers[0]) == {
        "__streams.errors.exception": b"DecodeError",
        "__streams.errors.message": b"no magic byte",
        "__streams.errors.stacktrace": b"DecodeError: no magic byte",
        "__streams.errors.topic": b"match.events",
        "__streams.errors.partition": b"3",
        "__streams.errors.offset": b"7",
        "sightline.schema_id": b"",
        "sightline.pipeline": b"win",
        "sightline.record_time_ms": b"100",
        "sightline.time_ms": b"999",
    }
    second = dict(output.records.headers[1])
    assert second["__streams.errors.offset"] == b"12"
    assert second["__streams.errors.message"] == "gold is \u2212".encode()
    assert second["sightline.schema_id"] == b"4"


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 dead letters, but 2 messages"):
        dead_letter_output(TOPIC, 0, Records.of([b"k"], [b"v"]), ["E"], ["a", "b"], [None], "win", 0)
