"""Which partition a key belongs to: murmur2 as in Kafka's default partitioner, so that every producer agrees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from kafka.partitioner.default import murmur2

_REMEMBERED_KEYS = 100_000


class Partitioner:
    """Remembers the hash of keys it has seen: streams repeat their keys, and the hash is slow in Python."""

    def __init__(self) -> None:
        self._hashes: dict[bytes, int] = {}
        self._keyless_turn = 0

    def partitions(self, keys: pa.LargeBinaryArray, count: int) -> npt.NDArray[np.int64]:
        """The partition, 0 to `count` - 1, of each record, (N,).

        Records without a key share one partition per call, another one with every call.
        """
        distinct = pc.dictionary_encode(keys)
        if len(self._hashes) > _REMEMBERED_KEYS:
            self._hashes.clear()
        hashes = np.array([self._hash(key) for key in distinct.dictionary.to_pylist()] or [0], np.int64)
        index = distinct.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        found: npt.NDArray[np.int64] = hashes[index] % count
        if keys.null_count:
            self._keyless_turn += 1
            found[index < 0] = self._keyless_turn % count
        return found

    def _hash(self, key: bytes) -> int:
        if key not in self._hashes:
            self._hashes[key] = murmur2(key) & 0x7FFFFFFF
        return self._hashes[key]
