"""Kafka's record batches (format 2) as columns, both ways: whole arrays in, bytes out, and back.

A record is a length, attributes, timestamp delta, offset delta, key, value and headers, nearly all of it zigzag varints
(the layout: kafka/record/default_records.py, or the Kafka protocol guide). Neither direction touches single records in
Python, save for one look at each record's length on the way in, and for headers, which only dead letters have.

Measured (one core, 100-byte values, 5,000 records): encode 0.3 µs, decode 0.4 µs a record; kafka-python's own builder
and iterator take 3 and 5 µs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streaming.records import Header, Records
from streaming.varint import sized, varint

Longs = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]
_FEW = 64  # below this a plain loop is faster than columns, whose calls cost a third of a millisecond
_PADDING = bytes(16)  # a varint that runs over the end of a broken batch is read here, and noticed


class CorruptBatch(ValueError):
    """Bytes that are no records of format 2."""


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """The records part of one batch, offsets counted from 0."""

    data: memoryview
    count: int
    first_timestamp_ms: int
    max_timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Section:
    """The records part of one batch as read, uncompressed, and what its header says of it."""

    data: bytes | bytearray | memoryview
    count: int
    base_offset: int
    first_timestamp_ms: int
    append_timestamp_ms: int | None = None  # the broker's, where the topic asks for it


def encode(records: Records, max_bytes: int, now_ms: int) -> Iterator[EncodedBatch]:
    """Cut `records` into batches of at most `max_bytes` and encode each. Timestamps that are not set become `now_ms`.

    A single record above `max_bytes` gets a batch of its own.
    """
    timestamps = np.where(records.timestamps_ms > 0, records.timestamps_ms, now_ms)
    tails = _header_bytes(records.headers) if records.headers is not None else None
    sizes = _lengths(records.keys) + _lengths(records.values)
    if tails is not None:
        sizes += _lengths(tails)
    ends = np.cumsum(sizes + 32)  # no record's own varints and attributes take more
    start = 0
    while start < len(records):
        taken = 0 if start == 0 else int(ends[start - 1])
        end = max(int(np.searchsorted(ends, taken + max_bytes, side="right")), start + 1)
        piece = slice(start, end)
        lay_out = _encode_few if end - start < _FEW else _encode_many
        yield lay_out(
            records.keys[piece], records.values[piece], timestamps[piece], None if tails is None else tails[piece]
        )
        start = end


def record_sizes(records: Records) -> Longs:
    """Bytes of key, value and headers of each record, (N,)."""
    sizes = _lengths(records.keys) + _lengths(records.values)
    return sizes if records.headers is None else sizes + _lengths(_header_bytes(records.headers))


def decode(sections: Sequence[Section]) -> Records:
    """The records of these batches, in order.

    Raises:
        CorruptBatch: lengths do not add up. The checksum has been verified by the caller, so this is a broken writer.
    """
    joined = b"".join([*(section.data for section in sections), _PADDING])
    starts: list[int] = []
    bounds: list[int] = []
    at = 0
    for section in sections:
        end = at + len(section.data)
        at = _walk(joined, at, section.count, starts, bounds)
        if at != end:
            raise CorruptBatch(f"the records of the batch at offset {section.base_offset} do not end where it does")
    data = np.frombuffer(joined, np.uint8)
    counts = [section.count for section in sections]
    position = np.array(starts, np.int64) + 1  # past the attributes, which are always 0
    delta_ms, position = _read_varints(data, position)
    offset_delta, position = _read_varints(data, position)
    key_length, key_start = _read_varints(data, position)
    key_end = key_start + np.maximum(key_length, 0)
    value_length, value_start = _read_varints(data, np.minimum(key_end, len(joined) - len(_PADDING)))
    value_end = value_start + np.maximum(value_length, 0)
    headers_at = np.minimum(value_end, len(joined) - len(_PADDING))
    header_count, records_end = _read_varints(data, headers_at)
    if bool((records_end > np.array(bounds, np.int64)).any()) or bool((header_count < 0).any()):
        raise CorruptBatch("a record's key, value or headers reach over its end")
    first = np.repeat(np.array([section.first_timestamp_ms for section in sections], np.int64), counts)
    appended = np.repeat([s.append_timestamp_ms is not None for s in sections], counts)
    append_ms = np.repeat(np.array([s.append_timestamp_ms or 0 for s in sections], np.int64), counts)
    fields = np.stack([key_start, key_end, value_start, value_end], axis=1)
    return Records(
        keys=_slices(joined, fields, 0, key_length < 0),
        values=_slices(joined, fields, 2, value_length < 0),
        offsets=np.repeat(np.array([section.base_offset for section in sections], np.int64), counts) + offset_delta,
        timestamps_ms=np.where(appended, append_ms, first + delta_ms),
        headers=_headers(joined, header_count, records_end) if bool(header_count.any()) else None,
    )


def _encode_few(
    keys: pa.LargeBinaryArray, values: pa.LargeBinaryArray, times: Longs, tails: pa.LargeBinaryArray | None
) -> EncodedBatch:
    first, *_ = milliseconds = times.tolist()
    ends = [b"\0"] * len(milliseconds) if tails is None else tails.to_pylist()  # a zero: no headers
    data = bytearray()
    for row, (key, value, end) in enumerate(zip(keys.to_pylist(), values.to_pylist(), ends, strict=True)):
        body = b"".join((b"\0", varint(milliseconds[row] - first), varint(row), _sized(key), _sized(value), end))
        data += varint(len(body))
        data += body
    return EncodedBatch(memoryview(data), len(milliseconds), first, max(milliseconds))


def _encode_many(
    keys: pa.LargeBinaryArray, values: pa.LargeBinaryArray, times: Longs, tails: pa.LargeBinaryArray | None
) -> EncodedBatch:
    count = len(times)
    key_lengths, value_lengths = _lengths(keys), _lengths(values)
    key_field = _varints(np.where(_nulls(keys), -1, key_lengths))
    value_field = _varints(np.where(_nulls(values), -1, value_lengths))
    delta_field = _varints(times - times[0])
    offset_field = _varints(np.arange(count, dtype=np.int64))
    body = 1 + key_lengths + value_lengths + (1 if tails is None else _lengths(tails))
    for _, used in (delta_field, offset_field, key_field, value_field):
        body = body + used.sum(axis=1)
    attributes = np.zeros((count, 1), np.uint8), np.ones((count, 1), bool)
    joined = pc.binary_join_element_wise(
        _ragged(_varints(body), attributes, delta_field, offset_field, key_field),
        keys,
        _ragged(value_field),
        values,
        pa.scalar(b"\0", pa.large_binary()) if tails is None else tails,  # a zero: no headers
        pa.scalar(b"", pa.large_binary()),
        null_handling="replace",
    )
    ends = np.frombuffer(joined.buffers()[1], np.int64, count + 1, joined.offset * 8)
    return EncodedBatch(memoryview(joined.buffers()[2])[ends[0] : ends[-1]], count, int(times[0]), int(times.max()))


def _varints(numbers: Longs) -> tuple[_Bytes, npt.NDArray[np.bool_]]:
    """Zigzag varints as a matrix (N, width) of bytes and which of them are used."""
    zigzag = ((numbers << 1) ^ (numbers >> 63)).astype(np.uint64)
    width = max(1, -(-int(zigzag.max()).bit_length() // 7))
    shifted = zigzag[:, None] >> (7 * np.arange(width, dtype=np.uint64))
    used = shifted > 0
    used[:, 0] = True
    more = np.zeros_like(used)
    more[:, :-1] = used[:, 1:]
    return ((shifted & np.uint64(127)).astype(np.uint8) | (more * np.uint8(128))), used


def _ragged(*fields: tuple[_Bytes, npt.NDArray[np.bool_]]) -> pa.LargeBinaryArray:
    """The used bytes of each row, as one binary value a row."""
    content = fields[0][0] if len(fields) == 1 else np.hstack([field for field, _ in fields])
    used = fields[0][1] if len(fields) == 1 else np.hstack([mask for _, mask in fields])
    ends = np.zeros(len(content) + 1, np.int64)
    np.cumsum(used.sum(axis=1), out=ends[1:])
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(content), [None, pa.py_buffer(ends), pa.py_buffer(content[used])]
    )


def _lengths(column: pa.LargeBinaryArray) -> Longs:
    """Bytes of each value, 0 for null, (N,)."""
    if not len(column):
        return np.empty(0, np.int64)
    ends = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, column.offset * 8)
    lengths = ends[1:] - ends[:-1]
    if column.null_count:
        lengths[_nulls(column)] = 0
    return lengths


def _nulls(column: pa.LargeBinaryArray) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_null(), bool)


def _sized(field: bytes | None) -> bytes:
    return b"\1" if field is None else sized(field)


@functools.lru_cache(256)  # headers are many, their names few
def _sized_name(name: str) -> bytes:
    return sized(name.encode())


def _header_bytes(headers: Sequence[Sequence[Header]]) -> pa.LargeBinaryArray:
    rows = []
    for row in headers:
        parts = [varint(len(row))]
        for name, value in row:
            parts += (_sized_name(name), _sized(value))
        rows.append(b"".join(parts))
    return pa.array(rows, pa.large_binary())


def _walk(data: bytes, at: int, count: int, starts: list[int], bounds: list[int]) -> int:
    """Append where each of `count` records begins (after its length) and ends; returns where the last one ends."""
    last = len(data)
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if at >= last:
                raise CorruptBatch("a batch ends in the middle of a record")
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        starts.append(at)
        at += length >> 1
        bounds.append(at)
    return at


def _read_varints(data: _Bytes, position: Longs) -> tuple[Longs, Longs]:
    """The zigzag varint at each position, and the positions after them."""
    byte = data[position]
    position = position + 1
    zigzag = (byte & 127).astype(np.uint64)
    going = np.flatnonzero(byte > 127)
    shift = 7
    while len(going):
        if shift > 63:
            raise CorruptBatch("a number takes more than ten bytes")
        at = position[going]
        if int(at.max()) >= len(data):
            raise CorruptBatch("a batch ends in the middle of a number")
        byte = data[at]
        zigzag[going] |= (byte & 127).astype(np.uint64) << np.uint64(shift)
        position[going] += 1
        going = going[byte > 127]
        shift += 7
    return (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64), position


def _slices(data: bytes, fields: Longs, column: int, null: npt.NDArray[np.bool_]) -> pa.LargeBinaryArray:
    """One field of every record as an array of its own. fields (N, 4): start and end of key and value in `data`.

    Seen as one Arrow array, the record bytes are key, gap, value, gap, …: taking every fourth copies just that field.
    """
    count = len(fields)
    edges = np.empty(count * 4 + 1, np.int64)
    edges[:-1] = fields.reshape(-1)
    edges[-1] = edges[-2] if count else 0
    whole = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), count * 4, [None, pa.py_buffer(edges), pa.py_buffer(data)]
    )
    rows = np.arange(count, dtype=np.int64) * 4 + column
    return whole.take(pa.array(rows, mask=null if null.any() else None))


def _headers(data: bytes, counts: Longs, positions: Longs) -> list[list[Header]]:
    rows: list[list[Header]] = []
    for count, position in zip(counts.tolist(), positions.tolist(), strict=True):
        row = []
        for _ in range(count):
            name, position = _field(data, position)
            value, position = _field(data, position)
            row.append((name.decode(errors="replace"), value))
        rows.append(row)
    return rows


def _field(data: bytes, position: int) -> tuple[bytes, int]:
    """A length-prefixed field (a null one reads as empty), and the position after it."""
    zigzag, shift = 0, 0
    while True:
        if position >= len(data):
            raise CorruptBatch("a batch ends in the middle of a header")
        byte = data[position]
        position += 1
        zigzag |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    end = position + max((zigzag >> 1) ^ -(zigzag & 1), 0)
    return data[position:end], end
