"""Records of one topic partition as columns: the seam between Kafka and everything else.

No object per record crosses it. Keys and values are Arrow binary arrays (one buffer with offsets, and a bitmap for
nulls), so that a poll can be sliced, filtered and handed to a codec without touching single records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Offsets `[start, end)` of one partition. `end` is the next *unread* position, not the last record plus one:
    compaction and transaction markers leave holes."""

    partition: int
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.partition < 0 or self.start < 0 or self.end < self.start:
            raise ValueError(f"not an offset range: partition {self.partition}, [{self.start}, {self.end})")


@dataclass(frozen=True, slots=True)
class Records:
    """N records of one partition, in offset order."""

    keys: pa.LargeBinaryArray  # (N,), null where the record has no key
    values: pa.LargeBinaryArray  # (N,), null for a tombstone
    offsets: npt.NDArray[np.int64]  # (N,)
    timestamps_ms: npt.NDArray[np.int64]  # (N,), the broker's or producer's, UTC
    headers: Sequence[Sequence[Header]] | None = None  # (N,), only where a topic has them: dead letters

    def __post_init__(self) -> None:
        counts = {len(self.keys), len(self.values), len(self.offsets), len(self.timestamps_ms)}
        if self.headers is not None:
            counts.add(len(self.headers))
        if len(counts) != 1:
            raise ValueError(f"columns of unequal length: {sorted(counts)}")

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def of(
        cls,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        offsets: Sequence[int] | npt.NDArray[np.int64] | None = None,
        timestamps_ms: Sequence[int] | npt.NDArray[np.int64] | None = None,
        headers: Sequence[Sequence[Header]] | None = None,
    ) -> Records:
        """Columns from plain sequences. Without offsets (records yet to be written) they count from 0."""
        n = len(values)
        return cls(
            keys=pa.array(keys, pa.large_binary()),
            values=pa.array(values, pa.large_binary()),
            offsets=np.arange(n, dtype=np.int64) if offsets is None else np.asarray(offsets, np.int64),
            timestamps_ms=np.zeros(n, np.int64) if timestamps_ms is None else np.asarray(timestamps_ms, np.int64),
            headers=headers,
        )

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """These records, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.of([], [])
        headers = None
        if any(part.headers is not None for part in parts):
            headers = [row for part in parts for row in (part.headers or [()] * len(part))]
        return cls(
            keys=pa.concat_arrays([part.keys for part in parts]),
            values=pa.concat_arrays([part.values for part in parts]),
            offsets=np.concatenate([part.offsets for part in parts]),
            timestamps_ms=np.concatenate([part.timestamps_ms for part in parts]),
            headers=headers,
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Records:
        """The records at these positions, in this order."""
        index = pa.array(rows, pa.int64())
        return Records(
            keys=self.keys.take(index),
            values=self.values.take(index),
            offsets=self.offsets[rows],
            timestamps_ms=self.timestamps_ms[rows],
            headers=None if self.headers is None else [self.headers[i] for i in rows],
        )
