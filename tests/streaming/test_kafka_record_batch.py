"""Record batches as columns, held against kafka-python's own builder and iterator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from streaming.kafka.record_batch import CorruptBatch, EncodedBatch, Section, decode, encode
from streaming.records import Header, Records

NOW_MS = 1_700_000_000_000
field = st.none() | st.binary(max_size=9) | st.integers(0, 400).map(lambda n: b"x" * n)
header = st.tuples(st.text(max_size=5), st.binary(max_size=5))
record = st.tuples(field, field, st.integers(1, 4_000_000_000_000), st.lists(header, max_size=3))


Row = tuple[bytes | None, bytes | None, int, list[Header]]


def columns(rows: list[Row], with_headers: bool = True) -> Records:
    return Records.of(
        [row[0] for row in rows],
        [row[1] for row in rows],
        timestamps_ms=[row[2] for row in rows],
        headers=[row[3] for row in rows] if with_headers else None,
    )


def section(batch: EncodedBatch, base_offset: int = 0) -> Section:
    return Section(batch.data, batch.count, base_offset, batch.first_timestamp_ms)


def built_by_kafka_python(records: Records) -> bytes:
    """The records part of the batch that kafka-python's builder makes of the same records."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    pairs = zip(records.keys.to_pylist(), records.values.to_pylist(), strict=True)
    for row, (key, value) in enumerate(pairs):
        headers = [] if records.headers is None else list(records.headers[row])
        assert builder.append(row, int(records.timestamps_ms[row]), key, value, headers) is not None
    return bytes(builder.build()[DefaultRecordBatch.HEADER_STRUCT.size :])


@settings(max_examples=150, deadline=None)
@given(st.lists(record, min_size=1, max_size=8), st.sampled_from([1, 7, 40]), st.booleans())
def test_bytes_equal_those_of_kafka_pythons_builder(rows: list[Row], times: int, with_headers: bool) -> None:
    records = columns(rows * times, with_headers)
    (batch,) = encode(records, max_bytes=1 << 30, now_ms=NOW_MS)
    assert bytes(batch.data) == built_by_kafka_python(records)
    assert batch.count == len(records)
    assert batch.first_timestamp_ms == records.timestamps_ms[0]
    assert batch.max_timestamp_ms == records.timestamps_ms.max()


@settings(max_examples=150, deadline=None)
@given(st.lists(record, min_size=1, max_size=30), st.integers(1, 3000), st.sampled_from([1, 5]))
def test_what_was_encoded_decodes_to_itself_however_it_was_cut(rows: list[Row], max_bytes: int, times: int) -> None:
    records = columns(rows * times)
    sections, offset = [], 10
    for batch in encode(records, max_bytes, NOW_MS):
        assert batch.count == 1 or len(batch.data) <= max_bytes
        sections.append(section(batch, offset))
        offset += batch.count
    found = decode(sections)
    assert found.keys.equals(records.keys)
    assert found.values.equals(records.values)
    assert found.offsets.tolist() == list(range(10, 10 + len(records)))
    assert found.timestamps_ms.tolist() == records.timestamps_ms.tolist()
    headers = [list(row) for row in found.headers or [()] * len(records)]
    assert headers == [list(row) for row in records.headers or ()]


def test_varint_widths_change_where_they_should() -> None:
    # offset deltas 63/64 and 8191/8192, lengths 63/64, time differences of both signs and up to 36 bits
    records = Records.of(
        [b"k" * (60 + i % 8) for i in range(8200)],
        [b"v" * (i % 130) for i in range(8200)],
        timestamps_ms=[NOW_MS + (-1) ** i * (1 << (i % 36)) for i in range(8200)],
    )
    (batch,) = encode(records, 1 << 30, NOW_MS)
    assert bytes(batch.data) == built_by_kafka_python(records)
    assert decode([section(batch)]).values.equals(records.values)


def test_a_record_by_hand() -> None:
    # length 8 (zigzag 16), attributes 0, time 0, offset 0, key length 1 (2) "k", value length 1 (2) "v", 0 headers
    (batch,) = encode(Records.of([b"k"], [b"v"], timestamps_ms=[5]), 1000, NOW_MS)
    assert bytes(batch.data) == b"\x10\x00\x00\x00\x02k\x02v\x00"
    (tombstone,) = encode(Records.of([None], [None]), 1000, NOW_MS)
    assert bytes(tombstone.data) == b"\x0c\x00\x00\x00\x01\x01\x00"
    assert tombstone.first_timestamp_ms == NOW_MS


def test_the_brokers_time_wins_where_the_topic_asks_for_it() -> None:
    (batch,) = encode(Records.of([b"k", b"k"], [b"a", b"b"], timestamps_ms=[5, 9]), 1000, NOW_MS)
    stamped = Section(batch.data, batch.count, 0, batch.first_timestamp_ms, append_timestamp_ms=77)
    assert decode([stamped, section(batch, 2)]).timestamps_ms.tolist() == [77, 77, 5, 9]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_broken_batches_are_refused_or_give_as_many_records_as_they_claim(data: st.DataObject) -> None:
    records = columns([(b"key", b"value %d" % i, NOW_MS, []) for i in range(6)], with_headers=False)
    (batch,) = encode(records, 1 << 20, NOW_MS)
    broken = bytearray(batch.data)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    try:
        found = decode([Section(bytes(broken[:cut]), batch.count, 0, NOW_MS)])
    except CorruptBatch:
        return
    assert len(found) == batch.count
    assert found.values.validate(full=True) is None


def test_records_are_taken_from_the_middle_of_arrow_arrays() -> None:
    records = columns([(b"k%d" % i, b"v%d" % i, NOW_MS + i, []) for i in range(200)], with_headers=False)
    part = Records(records.keys[90:190], records.values[90:190], records.offsets[90:190], records.timestamps_ms[90:190])
    (batch,) = encode(part, 1 << 20, NOW_MS)
    assert decode([section(batch)]).values.equals(part.values)
    assert np.array_equal(decode([section(batch)]).timestamps_ms, part.timestamps_ms)


def test_nothing_makes_no_batch() -> None:
    assert list(encode(Records.of([], []), 1000, NOW_MS)) == []
    with pytest.raises(CorruptBatch, match="do not end"):
        decode([Section(b"", 1, 0, 0)])
