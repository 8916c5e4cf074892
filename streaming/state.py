"""Keyed state: one row per key, columns in numpy, so that a stage reads and writes a whole batch of keys at once.

    layout = {"clock_s": Column(np.float64, default=-1.0), "hidden": Column(np.float32, (64,)), "team": Column(str)}
    table = StateTable("fold", layout)
    slots = table.slots(["m1", "m2"])            # (2,), new keys get the defaults
    table["clock_s"][slots] += 30.0
    table.touch(["m1", "m2"])                    # these rows go to the changelog with the next commit

`drain` hands out what changed since the last call, as Avro; decoded, `restore` takes it back. The layout decides the
Avro schema of the changelog, so that a restart with another layout is noticed instead of misread.

A key that was asked for with its rows' partitions belongs to one of them for good, and moves with it from worker to
worker; one that was not is shared by all partitions.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.varint import sized

SHARED = -1
"""In place of a partition: the key belongs to none."""

_PACKED = "packed"
_GROWTH_ROWS = 256

Slots = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """One state column: a numpy scalar type (or `str`), a shape for vectors, and what a new key starts with."""

    dtype: type
    shape: tuple[int, ...] = ()
    default: Any = 0

    @property
    def is_text(self) -> bool:
        """Whether values are strings of any length."""
        return self.dtype is str

    def empty(self, rows: int) -> npt.NDArray[Any]:
        """Storage for this many rows, filled with the default, (rows, *shape)."""
        if self.is_text:
            return np.full(rows, self.default or "", dtype=object)
        return np.full((rows, *self.shape), self.default, dtype=self.dtype)


class Changes(NamedTuple):
    """What to write to the changelog: rows by key, and keys that are gone (tombstones)."""

    keys: list[str]
    rows: list[bytes]  # in Avro, by `StateTable.schema`
    deleted: list[str]


class StateTable:
    """The rows of one stage, in memory. Not thread-safe; one owner.

    Args:
        name: the stage's.
        layout: its columns.
        partitioned: every key belongs to a partition; then the partitions may be read by as many workers.
    """

    def __init__(self, name: str, layout: Mapping[str, Column], *, partitioned: bool = False) -> None:
        for taken in ("key", _PACKED):
            if taken in layout:
                raise ValueError(f"state {name}: {taken!r} is taken, it is a field of the changelog")
        self.name = name
        self.layout = dict(layout)
        self.partitioned = partitioned
        self._texts = [column for column, spec in self.layout.items() if spec.is_text]
        self._packing = np.dtype(
            [
                (column, np.dtype(spec.dtype).newbyteorder("<"), spec.shape)
                for column, spec in self.layout.items()
                if not spec.is_text
            ]
        )
        self._columns = {column: spec.empty(_GROWTH_ROWS) for column, spec in self.layout.items()}
        self._slot_of: dict[str, int] = {}
        self._free = list(range(_GROWTH_ROWS - 1, -1, -1))
        self._partition = np.full(_GROWTH_ROWS, SHARED, np.int32)  # by slot: to which it belongs
        self._dirty: set[str] = set()
        self._deleted: dict[str, int] = {}  # with the partition to which it belonged

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, key: str) -> bool:
        return key in self._slot_of

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """The column's storage, (capacity, *shape); index it with slots. Fetch it anew after `slots` or `delete`."""
        return self._columns[column]

    @property
    def schema(self) -> dict[str, Any]:
        """Avro record schema of a changelog row: key, texts, and all that has a fixed size in one `fixed`.

        One field for dozens of columns: this is written for every batch, and costs by the column. The field's
        doc lists what is in it, as numpy's dtype: readable without this project.
        """
        fields: list[dict[str, Any]] = [{"name": name, "type": "string"} for name in ("key", *self._texts)]
        if size := self._packing.itemsize:
            fixed = {"type": "fixed", "name": f"{_PACKED}_{size}", "size": size}
            fields.append({"name": _PACKED, "type": fixed, "doc": f"numpy dtype: {self._packing.descr}"})
        return {
            "type": "record",
            "name": f"State_{self.name.replace('-', '_')}",
            "namespace": "sightline",
            "fields": fields,
        }

    @property
    def schema_id(self) -> int:
        """The schema's own id, at or above 2**30, apart from the packaged and registered ones: another layout is
        another id."""
        return (1 << 30) | (zlib.crc32(json.dumps(self.schema, sort_keys=True).encode()) & ((1 << 30) - 1))

    def keys(self) -> list[str]:
        """All keys, in no order."""
        return list(self._slot_of)

    def keys_where(self, chosen: npt.NDArray[np.bool_]) -> list[str]:
        """Keys whose slot is chosen, (capacity,); what unused slots hold does not matter."""
        if not chosen.any():
            return []
        return [key for key, slot in self._slot_of.items() if chosen[slot]]

    def slots(self, keys: Sequence[str], partitions: Sequence[int] | npt.NDArray[Any] | None = None) -> Slots:
        """The slot of each key, (N,); a key seen for the first time gets one, filled with the defaults, and belongs to
        its partition in `partitions` (N,), or to none."""
        found = [self._slot_of.get(key, -1) for key in keys]
        if -1 in found:
            for position, slot in enumerate(found):
                if slot < 0:
                    partition = SHARED if partitions is None else int(partitions[position])
                    found[position] = self._admit(keys[position], partition)
        return np.asarray(found, dtype=np.int64)

    def touch(self, keys: Sequence[str]) -> None:
        """Mark these rows as changed: they are part of the next `drain`."""
        self._dirty.update(keys)

    def delete(self, keys: Sequence[str]) -> None:
        """Forget these keys; unknown ones are ignored."""
        for key in keys:
            slot = self._slot_of.pop(key, None)
            if slot is None:
                continue
            self._free.append(slot)
            self._dirty.discard(key)
            self._deleted[key] = int(self._partition[slot])

    def forget(self, partition: int) -> int:
        """Let go of all that belongs to this partition, without a word to the changelog: it lives on elsewhere. How
        many keys that were."""
        chosen = self._partition == partition
        keys = self.keys_where(chosen)
        for key in keys:
            self._free.append(self._slot_of.pop(key))
        self._dirty.difference_update(keys)
        self._deleted = {key: owner for key, owner in self._deleted.items() if owner != partition}
        return len(keys)

    def drain(self) -> Changes:
        """All that changed since the last drain, keys sorted, and forget that it did."""
        keys = sorted(self._dirty)
        changes = Changes(keys, self._avro(keys), sorted(self._deleted))
        self._dirty.clear()
        self._deleted.clear()
        return changes

    def drain_by_partition(self) -> dict[int, Changes]:
        """As `drain`, by the partition to which keys belong, or `SHARED`."""
        owners, gone = {key: int(self._partition[self._slot_of[key]]) for key in self._dirty}, dict(self._deleted)
        keys, rows, deleted = self.drain()
        found: dict[int, Changes] = defaultdict(lambda: Changes([], [], []))
        for key, row in zip(keys, rows, strict=True):
            found[owners[key]].keys.append(key)
            found[owners[key]].rows.append(row)
        for key in deleted:
            found[gone[key]].deleted.append(key)
        return dict(sorted(found.items()))

    def restore(self, rows: pl.DataFrame, partition: int = SHARED) -> None:
        """Take rows back, the last of a key winning; marks nothing as changed.

        Args:
            rows: what `drain` handed out, decoded: key String, the layout's texts, and all else as packed Binary.
            partition: to which the keys belong.
        """
        keys = rows["key"].to_list()
        slots = self.slots(keys, np.full(len(keys), partition))
        size = self._packing.itemsize
        packed = np.frombuffer(b"".join(rows[_PACKED].to_list()) if size else b"", dtype=self._packing)
        for name, spec in self.layout.items():
            values = np.asarray(rows[name].to_list(), dtype=object) if spec.is_text else packed[name]
            self._columns[name][slots] = values

    def _admit(self, key: str, partition: int) -> int:
        if self.partitioned and partition == SHARED:
            raise ValueError(f"state {self.name} is partitioned: say to which partition {key!r} belongs")
        known = self._slot_of.get(key)  # the same new key twice in one batch
        if known is not None:
            return known
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._slot_of[key] = slot
        self._partition[slot] = partition
        if self._deleted.get(key) == partition:
            del self._deleted[key]
        for name, spec in self.layout.items():
            self._columns[name][slot] = (spec.default or "") if spec.is_text else spec.default
        return slot

    def _grow(self) -> None:
        old = len(self._slot_of)
        extra = max(_GROWTH_ROWS, old)
        for name, spec in self.layout.items():
            self._columns[name] = np.concatenate([self._columns[name], spec.empty(extra)])
        self._partition = np.concatenate([self._partition, np.full(extra, SHARED, np.int32)])
        self._free.extend(range(old + extra - 1, old - 1, -1))

    def _avro(self, keys: list[str]) -> list[bytes]:
        """The rows of these keys. Row by row: a batch has few, and columns would cost more than their content."""
        slots = np.asarray([self._slot_of[key] for key in keys], dtype=np.int64)
        texts = [self._columns[name][slots].tolist() for name in self._texts]
        heads = [b"".join(sized(text.encode()) for text in row) for row in zip(keys, *texts, strict=True)]
        size = self._packing.itemsize
        if not size:
            return heads
        rows = np.empty(len(keys), self._packing)
        for name in self._packing.fields or ():
            rows[name] = self._columns[name][slots]
        packed = rows.tobytes()
        return [head + packed[at : at + size] for head, at in zip(heads, range(0, len(packed), size), strict=True)]
