"""Confluent framing: a zero byte, the schema id as four bytes, big-endian, then the Avro data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FRAME_BYTES = 5
_NONE = np.zeros(0, np.int64)
_PAD = np.zeros(16, np.uint8)  # lets a reader look a word ahead of the last byte

Rows = npt.NDArray[np.int64]


class Framed(NamedTuple):
    """N values seen as framed records."""

    values: pa.LargeBinaryArray  # (N,), as given
    data: npt.NDArray[np.uint8]  # the bytes of all values, and 16 more
    starts: Rows  # (N,), where each value begins in `data`
    ends: Rows  # (N,)
    ids: npt.NDArray[np.int64]  # (N,), the writer's schema; -1 where the value is not framed


def frame_prefix(schema_id: int) -> bytes:
    """The five bytes in front of every record of this schema."""
    if not 0 <= schema_id < 1 << 31:
        raise ValueError(f"schema id {schema_id}: a registry's ids are 0 to 2147483647")
    return b"\x00" + schema_id.to_bytes(4, "big")


def split(values: pa.LargeBinaryArray) -> Framed:
    """Look at the frames of all values at once."""
    if values.null_count:
        values = values.fill_null(b"")
    if not len(values):  # Arrow may leave the buffers out then
        return Framed(values, _PAD, _NONE, _NONE, _NONE)
    _, offsets, buffer = values.buffers()
    ends = np.frombuffer(offsets, np.int64, count=values.offset + len(values) + 1)[values.offset :]
    data = np.concatenate([np.frombuffer(buffer, np.uint8) if buffer else _PAD[:0], _PAD])
    starts, ends = ends[:-1], ends[1:]
    words = np.ndarray((len(data) - 7,), ">u8", data, strides=(1,))[starts]  # past a short value, which is no harm
    framed = (ends - starts >= FRAME_BYTES) & (words >> 56 == 0)
    return Framed(values, data, starts, ends, np.where(framed, (words >> 24).astype(np.int64), -1))


def unframed(value: bytes) -> tuple[int | None, bytes]:
    """The writer's schema id and the record behind it; None and the value itself where it is not framed."""
    schema_id = int(split(pa.array([value], pa.large_binary())).ids[0])
    return (None, value) if schema_id < 0 else (schema_id, value[FRAME_BYTES:])


def frame_fault(value: bytes | None) -> str:
    """Why a value is not framed."""
    if value is None:
        return "the value is null: a tombstone where a record is expected"
    if len(value) < FRAME_BYTES:
        return f"{len(value)} bytes: too short for magic byte and schema id"
    return f"magic byte {value[0]}, not 0: not in Confluent framing"
