"""What travels through Ray Data: one batch as one row, whatever its size.

Ray Data re-cuts blocks of many rows by size and holds remainders back (measured: 160-490 ms); a block of one row is
handed on at once. So a batch is packed into a single row: good rows as Arrow IPC bytes, rejected records as they came.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from streaming.records import OffsetRange, Records


@dataclass(frozen=True, slots=True)
class Rejected:
    """Records of one partition that did not get through, each with the reason."""

    partition: int
    records: Records  # N
    errors: Sequence[str]  # (N,) class names
    messages: Sequence[str]  # (N,)
    schema_ids: Sequence[int | None]  # (N,)


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one yield of a read task answers for."""

    ranges: tuple[OffsetRange, ...]  # at most one per partition
    rows: pl.DataFrame  # good rows, with the `_partition`, `_offset`, ... columns of `streaming.pipeline`
    rejected: tuple[Rejected, ...] = ()
    shed: int = 0  # records of the ranges that were passed over

    @property
    def records(self) -> int:
        """How many records it answers for, good and bad, and those that were shed."""
        return self.rows.height + sum(len(r.records) for r in self.rejected) + self.shed


RAW = pa.schema(
    [
        ("partition", pa.int32()),
        ("key", pa.large_binary()),
        ("value", pa.large_binary()),
        ("offset", pa.int64()),
        ("timestamp_ms", pa.int64()),
    ]
)
PACKED = pa.schema([("batch", pa.large_binary())])


def pack_raw(fetched: Sequence[tuple[OffsetRange, Records]]) -> pa.Table:
    """Fetched ranges as one row: what a read task yields. Empty ranges are kept, they move the position."""
    sink = pa.BufferOutputStream()
    ranges = json.dumps([[r.partition, r.start, r.end] for r, _ in fetched])
    with pa.ipc.new_stream(sink, RAW.with_metadata({"ranges": ranges})) as writer:
        for wanted, records in fetched:
            n = len(records)
            columns = [
                pa.array(np.full(n, wanted.partition, np.int32)),
                records.keys,
                records.values,
                pa.array(records.offsets),
                pa.array(records.timestamps_ms),
            ]
            writer.write_batch(pa.record_batch(columns, schema=RAW))
    return pa.table([pa.array([sink.getvalue().to_pybytes()], pa.large_binary())], schema=PACKED)


def unpack_raw(block: pa.Table) -> list[tuple[OffsetRange, Records]]:
    """The ranges of `pack_raw`, in their order."""
    with pa.ipc.open_stream(pa.py_buffer(block["batch"][0].as_py())) as reader:
        ranges = [OffsetRange(*numbers) for numbers in json.loads(reader.schema.metadata[b"ranges"])]
        batches = list(reader)
    return [
        (wanted, Records(raw.column(1), raw.column(2), raw.column(3).to_numpy(), raw.column(4).to_numpy()))
        for wanted, raw in zip(ranges, batches, strict=True)
    ]


def pack(batch: Batch) -> pa.Table:
    """A batch as one row."""
    rows = io.BytesIO()
    batch.rows.write_ipc_stream(rows)
    rejected = [
        {
            "partition": part.partition,
            "keys": part.records.keys.to_pylist(),
            "values": part.records.values.to_pylist(),
            "offsets": part.records.offsets.tolist(),
            "timestamps_ms": part.records.timestamps_ms.tolist(),
            "errors": list(part.errors),
            "messages": list(part.messages),
            "schema_ids": list(part.schema_ids),
        }
        for part in batch.rejected
    ]
    row = {
        "ranges": [[r.partition, r.start, r.end] for r in batch.ranges],
        "rows": rows.getvalue(),
        "rejected": rejected,
        "shed": batch.shed,
    }
    return pa.table({name: pa.array([row[name]], _BATCH.field(name).type) for name in _BATCH.names}, schema=_BATCH)


def unpack(block: pa.Table) -> Batch:
    """The batch of `pack`."""
    ranges = tuple(OffsetRange(*numbers) for numbers in block["ranges"][0].as_py())
    rejected = tuple(
        Rejected(
            partition=part["partition"],
            records=Records.of(part["keys"], part["values"], part["offsets"], part["timestamps_ms"]),
            errors=part["errors"],
            messages=part["messages"],
            schema_ids=part["schema_ids"],
        )
        for part in block["rejected"][0].as_py()
    )
    return Batch(ranges, pl.read_ipc_stream(block["rows"][0].as_py()), rejected, block["shed"][0].as_py())


_BATCH = pa.schema(
    [
        ("ranges", pa.list_(pa.list_(pa.int64()))),
        ("rows", pa.large_binary()),
        (
            "rejected",
            pa.list_(
                pa.struct(
                    [
                        ("partition", pa.int32()),
                        ("keys", pa.list_(pa.large_binary())),
                        ("values", pa.list_(pa.large_binary())),
                        ("offsets", pa.list_(pa.int64())),
                        ("timestamps_ms", pa.list_(pa.int64())),
                        ("errors", pa.list_(pa.string())),
                        ("messages", pa.list_(pa.string())),
                        ("schema_ids", pa.list_(pa.int64())),
                    ]
                )
            ),
        ),
        ("shed", pa.int64()),
    ]
)
